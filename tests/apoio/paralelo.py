"""Alguns processos dividem os arquivos de teste; o pytest não faz isso sozinho.

Quase todo teste daqui espera por processos e pelo disco: dois por núcleo ainda se dão bem. Depois
de a coleta acabar, o pytest faz uns forks: cada processo pega o próximo arquivo que ninguém pegou,
com as suas fixtures; só o RabbitMQ é de todos. Os outros contam ao primeiro o que aconteceu; quem escreve na
tela, e faz o resumo, é só o primeiro. Morto ele, o próximo relato dos outros não tem a quem ir, e
eles acabam, com o que ligaram.

    python -m pytest --processos 1      um de cada vez (para depurar; -s, -x e --pdb também)
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import tempfile
import threading
import warnings

import pytest

# Começam primeiro, para que no fim ninguém espere por um só.
DEMORADOS = ("test_readme", "test_orquestracao", "test_orquestracao_fim", "test_rastro", "test_broker_recusa", "test_saga_quedas",
             "test_monolito_quedas", "test_uma_linha", "test_no_privado", "test_exercicios", "test_servicos_processos", "test_caos")
POUCOS = 4  # com menos arquivos que isso, outro processo não compensa


def pytest_addoption(parser):
    parser.addoption("--processos", type=int, default=min(4, 2 * (os.cpu_count() or 1)), help="quantos processos rodam os testes")


def pytest_configure(config):
    """Um terminal fechado e um SIGTERM encerram como um Ctrl-C: com o fim de cada fixture."""
    for nome in ("SIGTERM", "SIGHUP"):
        sinal = getattr(signal, nome, None)
        if sinal and signal.getsignal(sinal) == signal.SIG_DFL:
            signal.signal(sinal, signal.default_int_handler)
        elif sinal and signal.getsignal(sinal) == signal.SIG_IGN:
            # Sob nohup continua sem efeito aqui, e os programas iniciados pelos testes não o herdam.
            signal.signal(sinal, lambda *_: None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    opcoes = session.config.option
    depurando = opcoes.usepdb or opcoes.capture == "no" or opcoes.collectonly or opcoes.maxfail
    arquivos = por_arquivo(session.items)
    if (depurando or opcoes.basetemp or session.testsfailed or opcoes.processos < 2
            or len(arquivos) < POUCOS or not hasattr(os, "fork")):
        return None  # o laço comum do pytest
    fila, por_na_fila = os.pipe()
    os.write(por_na_fila, bytes(range(len(arquivos))))  # um byte por arquivo: quem o lê fica com ele
    os.close(por_na_fila)
    outros = {}
    with tempfile.TemporaryDirectory(prefix="pytest-", ignore_cleanup_errors=True) as pasta:
        os.environ["PASTA_DE_TODOS"] = pasta
        for _ in range(opcoes.processos - 1):
            do_outro, ao_primeiro = multiprocessing.Pipe(duplex=False)
            outros[do_outro] = multiprocessing.get_context("fork").Process(
                target=ser_um_dos_outros, args=(session, arquivos, fila, ao_primeiro, outros, pasta))
            outros[do_outro].start()
            ao_primeiro.close()
        ser_o_primeiro(session, arquivos, fila, outros)
    return True


def por_arquivo(itens) -> list[list]:
    arquivos: dict = {}
    for item in itens:
        arquivos.setdefault(item.path, []).append(item)
    return sorted(arquivos.values(), key=lambda itens: itens[0].path.stem not in DEMORADOS)


def rodar(session, arquivos, fila: int):
    """Roda os arquivos que ninguém pegou, até a fila acabar; a cada um, quem chamou faz o que quiser."""
    while numero := os.read(fila, 1):
        itens = arquivos[numero[0]]
        # O seguinte só diz o que desfazer: depois do último do arquivo, o que é dele e da pasta.
        pasta = itens[0].path.parent
        de_fora = [outros[0] for outros in arquivos if outros[0].path.parent != pasta]
        for item, seguinte in zip(itens, [*itens[1:], (de_fora or arquivos[numero[0] - 1])[0]]):
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=seguinte)
            if session.shouldfail or session.shouldstop:
                raise session.Interrupted(session.shouldfail or session.shouldstop)
        yield


# --- os outros: contam o que acontece ---

class Contador:
    def __init__(self, config, ao_primeiro):
        self.config, self.ao_primeiro = config, ao_primeiro

    def pytest_runtest_logreport(self, report):
        self.ao_primeiro.send(self.config.hook.pytest_report_to_serializable(
            config=self.config, report=report))

    def pytest_warning_recorded(self, warning_message, when, nodeid, location):
        texto = warnings.WarningMessage(str(warning_message.message), warning_message.category,
                                        warning_message.filename, warning_message.lineno)
        self.ao_primeiro.send({"warning_message": texto, "when": when, "nodeid": nodeid,
                               "location": location})


def ser_um_dos_outros(session, arquivos, fila, ao_primeiro, outros, pasta: str) -> None:
    """Um Ctrl-C do terminal só chega a ele pelo primeiro."""
    os.setsid()
    for do_outro in outros:
        do_outro.close()  # só o primeiro os escuta
    os.environ["PYTEST_DEBUG_TEMPROOT"] = pasta
    plugins = session.config.pluginmanager
    plugins.unregister(name="terminalreporter")
    plugins.register(Contador(session.config, ao_primeiro))
    captura = plugins.getplugin("capturemanager")
    captura.stop_global_capturing()  # os arquivos dela são os do primeiro
    captura.start_global_capturing()
    try:
        for _ in rodar(session, arquivos, fila):
            pass
    except KeyboardInterrupt:
        pass  # foi o primeiro que o quis
    finally:
        session.config.hook.pytest_sessionfinish(session=session, exitstatus=0)  # cada fixture
        captura.stop_global_capturing()


# --- o primeiro: mostra também o que os outros contam ---

def ser_o_primeiro(session, arquivos, fila, outros: dict) -> None:
    """outros: {por onde cada um conta: o processo}."""
    contados: list = []

    def ouvir() -> None:
        ligados = list(outros)
        while ligados:
            for um in multiprocessing.connection.wait(ligados):
                try:
                    contados.append(um.recv())
                except (EOFError, OSError):
                    ligados.remove(um)

    ouvinte = threading.Thread(target=ouvir, daemon=True)
    ouvinte.start()
    try:
        for _ in rodar(session, arquivos, fila):
            mostrar(session.config, contados)
        while ouvinte.is_alive():
            ouvinte.join(0.5)
            mostrar(session.config, contados)
    except BaseException:
        for outro in outros.values():
            outro.terminate()  # ele ainda desliga o que ligou
        raise
    finally:
        for outro in outros.values():
            outro.join()
        ouvinte.join()
        mostrar(session.config, contados)
    if status := [outro.exitcode for outro in outros.values() if outro.exitcode]:
        pytest.exit(f"um dos processos dos testes acabou com status {status[0]}", 1)


def mostrar(config, contados: list) -> None:
    """O que os outros contaram desde a última vez, como se tivesse sido aqui."""
    while contados:
        dados = contados.pop(0)
        if "warning_message" in dados:
            config.hook.pytest_warning_recorded.call_historic(kwargs=dados)
            continue
        relato = config.hook.pytest_report_from_serializable(config=config, data=dados)
        quem = {"nodeid": relato.nodeid, "location": relato.location}
        if relato.when == "setup":
            config.hook.pytest_runtest_logstart(**quem)
        config.hook.pytest_runtest_logreport(report=relato)
        if relato.when == "teardown":
            config.hook.pytest_runtest_logfinish(**quem)
