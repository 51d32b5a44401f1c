"""Dois pytest dividem os arquivos de teste; o pytest não faz isso sozinho.

Quase todo teste daqui espera por processos e pelo disco, e um núcleo só passaria a maior parte
do tempo parado. O segundo pytest é um processo comum, com a sua sessão, o seu RabbitMQ e o seu
fim: o primeiro só o inicia, mostra os resultados dele como se fossem seus, e lhe passa o Ctrl-C.
Cada um pega o próximo arquivo que ninguém pegou; o resumo do fim é um só, o do primeiro.

    python -m pytest --processos 1      um de cada vez (para depurar; -s, -x e --pdb também)
"""

from __future__ import annotations

import argparse
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pytest

# Começam primeiro, para que no fim ninguém espere por um só.
DEMORADOS = ("test_orquestracao", "test_saga_quedas", "test_servicos_processos", "test_readme",
             "test_caos")
POUCOS = 4  # com menos arquivos que isso, iniciar outro processo não compensa


def pytest_addoption(parser):
    parser.addoption("--processos", type=int, default=min(2, os.cpu_count() or 1),
                     help="quantos processos rodam os testes (1 ou 2)")
    parser.addoption("--sou-o-segundo", metavar="PASTA", type=Path, help=argparse.SUPPRESS)


def pytest_configure(config):
    """Um terminal fechado e um SIGTERM encerram como um Ctrl-C: com o fim de cada fixture."""
    for nome in ("SIGTERM", "SIGHUP"):
        sinal = getattr(signal, nome, None)
        if sinal and signal.getsignal(sinal) == signal.SIG_DFL:  # sob nohup, SIGHUP é ignorado
            signal.signal(sinal, interromper)


def interromper(sinal, quadro):
    raise KeyboardInterrupt


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    opcoes = session.config.option
    depurando = opcoes.usepdb or opcoes.capture == "no" or opcoes.collectonly or opcoes.maxfail
    if depurando or session.testsfailed:  # um arquivo de testes que não se pôde carregar
        return None  # o laço comum do pytest
    if opcoes.sou_o_segundo:
        return rodar_como_segundo(session, opcoes.sou_o_segundo)
    arquivos = {item.path for item in session.items}
    if opcoes.processos < 2 or os.name == "nt" or len(arquivos) < POUCOS:
        return None
    with tempfile.TemporaryDirectory(prefix="pytest-", ignore_cleanup_errors=True) as pasta:
        return rodar_com_um_segundo(session, Path(pasta))


# --- a fila, a mesma para os dois ---

def testes_que_ninguem_pegou(session, pasta: Path, escolhidos: set[str]):
    """Os testes, um arquivo inteiro de cada vez; pegar um arquivo é conseguir criar uma pasta."""
    arquivos: dict[Path, list] = {}
    for item in session.items:
        if item.nodeid in escolhidos:
            arquivos.setdefault(item.path, []).append(item)
    em_ordem = sorted(arquivos, key=lambda arquivo: (arquivo.stem not in DEMORADOS, arquivo))
    for n, arquivo in enumerate(em_ordem):
        try:
            (pasta / f"{n}.pego").mkdir()
        except FileExistsError:
            continue
        yield from arquivos[arquivo]


def com_o_seguinte(itens):
    """Cada um com o que vem depois dele (ou None): é por ele que o pytest sabe o que desfazer."""
    anterior = None
    for item in itens:
        if anterior:
            yield anterior, item
        anterior = item
    if anterior:
        yield anterior, None


def rodar(session, itens, depois_de_cada_arquivo) -> None:
    for item, seguinte in com_o_seguinte(itens):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=seguinte)
        if seguinte is None or seguinte.path != item.path:
            depois_de_cada_arquivo()
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)


# --- o segundo: anota o que acontece ---

class Anotador:
    """Guarda os relatos e os avisos, e entrega os de um arquivo de testes de cada vez."""

    def __init__(self, config, pasta: Path):
        self.config, self.pasta = config, pasta
        self.relatos, self.avisos, self.entregues = [], [], 0

    def pytest_runtest_logreport(self, report):
        self.relatos.append(self.config.hook.pytest_report_to_serializable(
            config=self.config, report=report))

    def pytest_warning_recorded(self, warning_message, when, nodeid, location):
        if when == "runtest":  # os de carregar os testes, o primeiro viu também
            aviso = warnings.WarningMessage(str(warning_message.message), warning_message.category,
                                            warning_message.filename, warning_message.lineno)
            self.avisos.append({"warning_message": aviso, "when": when, "nodeid": nodeid,
                                "location": location})

    def entregar(self) -> None:
        # pickle, e não JSON: nos relatos há tuplas, e o pytest conta com elas.
        pronto = self.pasta / f"{self.entregues}.relatos"
        pronto.with_suffix(".novo").write_bytes(pickle.dumps((self.relatos, self.avisos)))
        pronto.with_suffix(".novo").rename(pronto)
        self.relatos, self.avisos, self.entregues = [], [], self.entregues + 1

    def pytest_sessionfinish(self):
        self.entregar()  # o que um Ctrl-C deixou pela metade


def rodar_como_segundo(session, pasta: Path) -> bool:
    primeiro = os.getppid()
    anotador = Anotador(session.config, pasta)
    session.config.pluginmanager.register(anotador)

    def depois_de_cada_arquivo():
        anotador.entregar()
        if os.getppid() != primeiro:
            session.shouldstop = "o primeiro processo dos testes morreu"

    escolhidos = set((pasta / "escolhidos").read_text(encoding="utf-8").splitlines())
    rodar(session, testes_que_ninguem_pegou(session, pasta, escolhidos), depois_de_cada_arquivo)
    return True


# --- o primeiro: inicia o segundo e mostra o que ele anota ---

class Segundo:
    """O outro pytest, com as mesmas opções; o que um pytest grava, este grava à parte."""

    def __init__(self, config, pasta: Path):
        self.config, self.pasta, self.mostrados = config, pasta, 0
        de_quem_chamou = config.invocation_params
        self.tela = pasta / "tela"
        with self.tela.open("wb") as tela:
            # start_new_session: o Ctrl-C do terminal chega a ele uma vez só, por `interromper`.
            self.processo = subprocess.Popen(
                [sys.executable, "-m", "pytest", *map(str, de_quem_chamou.args),
                 # Com "=": um valor solto seria, para o pytest, uma pasta de testes.
                 f"--sou-o-segundo={pasta}", f"--basetemp={pasta / 'tmp'}", "-o",
                 f"cache_dir={pasta / 'cache'}", f"--junitxml={pasta / 'junit.xml'}"],
                cwd=de_quem_chamou.dir, stdin=subprocess.DEVNULL, stdout=tela, stderr=tela,
                start_new_session=True)

    def mostrar(self) -> None:
        """O que ele entregou desde a última vez."""
        hook = self.config.hook
        while (pronto := self.pasta / f"{self.mostrados}.relatos").exists():
            relatos, avisos = pickle.loads(pronto.read_bytes())
            for anotado in relatos:
                relato = hook.pytest_report_from_serializable(config=self.config, data=anotado)
                quem = {"nodeid": relato.nodeid, "location": relato.location}
                if relato.when == "setup":
                    hook.pytest_runtest_logstart(**quem)
                hook.pytest_runtest_logreport(report=relato)
                if relato.when == "teardown":
                    hook.pytest_runtest_logfinish(**quem)
            for aviso in avisos:
                hook.pytest_warning_recorded.call_historic(kwargs=aviso)
            self.mostrados += 1

    def esperar(self) -> int:
        while self.processo.poll() is None:
            self.mostrar()
            time.sleep(0.1)
        self.mostrar()
        return self.processo.returncode

    def interromper(self) -> None:
        """Ele ainda desliga o que ligou; só então se volta."""
        self.processo.terminate()
        self.processo.wait()
        self.mostrar()


def rodar_com_um_segundo(session, pasta: Path) -> bool:
    escolhidos = {item.nodeid for item in session.items}
    (pasta / "escolhidos").write_text("\n".join(escolhidos), encoding="utf-8")
    segundo = Segundo(session.config, pasta)
    try:
        rodar(session, testes_que_ninguem_pegou(session, pasta, escolhidos), segundo.mostrar)
        status = segundo.esperar()
    except BaseException:
        segundo.interromper()
        raise
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED,
                      pytest.ExitCode.NO_TESTS_COLLECTED):
        tela = segundo.tela.read_text(encoding="utf-8", errors="replace")
        pytest.exit(f"o segundo processo dos testes acabou com status {status}:\n{tela[-3000:]}", 1)
    return True
