"""Dois processos dividem os arquivos de teste; o pytest não faz isso sozinho.

Quase todo teste daqui espera por processos e pelo disco, e um núcleo só passaria a maior parte
do tempo parado. Cada processo pega o próximo arquivo que ninguém pegou e tem o seu RabbitMQ. O
filho anota os resultados num arquivo; o pai os mostra, e o resumo do fim é um só.

    python -m pytest --processos 1      um de cada vez (para depurar; -s, -x e --pdb também)
"""

from __future__ import annotations

import json
import os
import sys
from itertools import groupby
from pathlib import Path

import pytest

DEMORADOS = ("test_orquestracao", "test_saga_quedas", "test_servicos_processos", "test_readme", "test_caos")


def pytest_addoption(parser):
    parser.addoption("--processos", type=int, default=min(2, os.cpu_count() or 1), help="quantos processos rodam os testes")


class Fila:
    """Os arquivos que ninguém pegou ainda, vista por todos os processos: pegar um é criar uma pasta."""

    def __init__(self, session, pasta: Path):
        self.pasta = pasta
        self.lotes = [list(itens) for _, itens in groupby(session.items, key=lambda item: item.path)]
        # Os demorados primeiro, para que no fim ninguém espere por um só.
        self.lotes.sort(key=lambda lote: lote[0].path.stem not in DEMORADOS)

    def itens(self):
        """Cada item e o que vem depois dele (None no último), como o pytest os quer."""
        anterior = None
        for n, lote in enumerate(self.lotes):
            try:
                (self.pasta / str(n)).mkdir()
            except FileExistsError:
                continue
            for item in lote:
                if anterior:
                    yield anterior, item
                anterior = item
        if anterior:
            yield anterior, None


class Anotador:
    """No filho: guarda os resultados, em vez de mostrá-los."""

    def __init__(self, config, arquivo: Path):
        self.config, self.saida = config, arquivo.open("w", encoding="utf-8")

    def pytest_runtest_logreport(self, report):
        anotado = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.saida.write(json.dumps(anotado, default=str) + "\n")
        self.saida.flush()


def rodar(session, fila: Fila, entre=lambda: None) -> None:
    for item, depois in fila.itens():
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=depois)
        if depois is None or depois.path != item.path:
            entre()
        if session.shouldfail or session.shouldstop:
            break


def no_filho(session, fila: Fila, resultados: Path) -> None:
    """Roda a sua parte e some, sem passar pelo fim da sessão, que é do pai."""
    config, status = session.config, 1
    try:
        config.pluginmanager.unregister(name="terminalreporter")
        config.pluginmanager.register(Anotador(config, resultados))
        rodar(session, fila)
        status = 0
    finally:
        os._exit(status)


class Leitor:
    """No pai: mostra os resultados do filho, um arquivo de testes inteiro por vez."""

    def __init__(self, config, arquivo: Path):
        self.config, self.arquivo, self.lidos = config, arquivo, 0

    def mostrar(self, acabou: bool = False) -> None:
        linhas = self.arquivo.read_text(encoding="utf-8").splitlines(keepends=True) if self.arquivo.exists() else []
        novos = [json.loads(linha) for linha in linhas[self.lidos:] if linha.endswith("\n")]
        arquivo = lambda anotado: anotado["nodeid"].split("::")[0]
        if not acabou:  # o último arquivo ainda está pela metade
            novos = [n for n in novos if arquivo(n) != arquivo(novos[-1])]
        for anotado in novos:
            report = self.config.hook.pytest_report_from_serializable(config=self.config, data=anotado)
            self.config.hook.pytest_runtest_logreport(report=report)
        self.lidos += len(novos)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    opcoes = session.config.option
    depurando = opcoes.usepdb or opcoes.capture == "no" or opcoes.collectonly or opcoes.maxfail
    if opcoes.processos < 2 or depurando or not hasattr(os, "fork") or len({item.path for item in session.items}) < 4:
        return None  # o laço comum do pytest
    if session.testsfailed:
        raise session.Interrupted("erros ao carregar os testes")
    pasta = session.config._tmp_path_factory.mktemp("paralelo")
    fila, resultados = Fila(session, pasta), pasta / "resultados"
    sys.stdout.flush()
    filho = os.fork()
    if not filho:
        no_filho(session, fila, resultados)
    leitor = Leitor(session.config, resultados)
    try:
        rodar(session, fila, leitor.mostrar)
        status = os.waitpid(filho, 0)[1]
    except BaseException:
        os.kill(filho, 2)
        os.waitpid(filho, 0)
        raise
    leitor.mostrar(acabou=True)
    if status:
        pytest.exit(f"o segundo processo dos testes morreu (status {status})", 1)
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    return True
