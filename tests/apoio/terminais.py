"""Terminais de mentira, para rodar o roteiro de aula do README exatamente como está impresso.

Um experimento é um bloco de código; as convenções são as que o próprio README explica:

    # terminal N      as linhas seguintes são deste terminal
    # => texto        o que aparece nele; … no meio é qualquer texto, e sozinho, quaisquer linhas
    # Ctrl-C          interrompe o programa deste terminal, e espera que ele acabe
    # Ctrl-\\          mata-o na hora, sem que ele possa fazer nada
    # outro texto     um comentário
    o resto           comandos do shell
"""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress

import pytest

from conftest import PRAZO
from verbos import Programa

# O que só olha pode olhar de novo, como uma pessoa faria, até ver o que está impresso.
SO_OLHA = re.compile(r"(sqlite3 \S+ \"SELECT|python -c |diff |python \S+ --estado$"
                     r"|python microsservicos/(mortas\.py$|rastro\.py))")
# Só acaba com Ctrl-C.
SO_OUVE = re.compile(r"servico_\w+\.py|orquestracao\.py(?!.*(--ate-concluir|--estado))")


class Divergencia(AssertionError):
    """O que apareceu não é o que está impresso."""


class Terminal:
    """Um terminal: um comando de cada vez, e o que ele deve mostrar."""

    def __init__(self, nome: str, pasta, ambiente: dict, normalizar):
        self.nome, self.pasta, self.ambiente, self.normalizar = nome, pasta, ambiente, normalizar
        self.programa: Programa | None = None
        self.comando, self.esperado = "", []

    def digitar(self, comando: str) -> None:
        self.terminar()
        self.comando, self.esperado = comando, []
        self.rodar()

    def rodar(self) -> None:
        self.programa = Programa("-c", self.comando, url=self.ambiente["RABBITMQ_URL"], ambiente=self.ambiente,
                                 python=("bash",), pasta=self.pasta)

    @property
    def texto(self) -> str:
        return "".join(f"{linha.rstrip()}\n" for linha in self.normalizar(self.programa.texto).splitlines())

    def esperar(self) -> None:
        """Espera que apareça tudo o que está impresso até aqui."""
        limite = time.monotonic() + PRAZO
        while not padrao(self.esperado).fullmatch(self.texto):
            acabou = self.programa.acabou()
            if time.monotonic() > limite:
                self.divergir(f"passaram {PRAZO:.0f} s")
            if acabou and not padrao(self.esperado).fullmatch(self.texto):
                if not SO_OLHA.match(self.comando):
                    self.divergir("acabou")
                self.rodar()
            time.sleep(0.02)

    def terminar(self) -> None:
        """Espera o programa acabar sozinho, e confere tudo o que ele mostrou."""
        if self.programa:
            self.esperar()
            self.programa.fim(PRAZO)
            self.esperar()
            self.programa = None

    def sinal(self, qual: int) -> None:
        """O sinal que a tecla manda a tudo o que roda neste terminal."""
        self.esperar()
        os.killpg(self.programa.pid, qual)
        self.programa.fim(PRAZO)

    def fechar(self) -> None:
        """Com calma, se for possível: quem ligou um nó privado tem de desligá-lo."""
        if self.programa:
            for sinal, prazo in ((signal.SIGINT, PRAZO), (signal.SIGKILL, PRAZO)):
                with suppress(ProcessLookupError, pytest.fail.Exception):
                    os.killpg(self.programa.pid, sinal)
                    self.programa.fim(prazo)

    def divergir(self, como: str) -> None:
        def como_no_roteiro(linhas: list[str]) -> str:
            return "".join(f"# => {linha}".rstrip() + "\n" for linha in linhas)
        raise Divergencia(f"terminal {self.nome}, {como}: {self.comando}\n"
                          f"--- impresso:\n{como_no_roteiro(self.esperado)}"
                          f"--- apareceu:\n{como_no_roteiro(self.texto.splitlines())}")


def padrao(esperado: list[str]) -> re.Pattern:
    """As linhas impressas como uma expressão regular: só as reticências são especiais."""
    def de(linha: str) -> str:
        if linha == "…":
            return r"(?:[^\n]*\n)*?"
        return re.escape(linha).replace("…", r"[^\n]*") + r"\n"
    return re.compile("".join(map(de, esperado)))


def executar(bloco: str, pasta, ambiente: dict, normalizar) -> None:
    """Roda um experimento inteiro; levanta Divergencia na primeira diferença.

    bloco: o texto impresso. pasta, ambiente: onde e com que variáveis. normalizar(texto): o que
    muda de uma máquina para outra.
    """
    terminais: dict[str, Terminal] = {}
    atual, comando = None, []

    def terminal(nome: str) -> Terminal:
        return terminais.setdefault(nome, Terminal(nome, pasta, ambiente, normalizar))

    def enviar() -> None:
        if comando:
            terminal(atual).digitar("\n".join(comando))
            comando.clear()

    def conferir() -> None:
        enviar()
        if atual in terminais and terminais[atual].programa:
            terminais[atual].esperar()

    try:
        atual = "1"
        for linha in bloco.splitlines():
            if troca := re.fullmatch(r"# terminal (\d+)(:.*)?", linha):
                conferir()
                atual = troca[1]
            elif linha in ("# Ctrl-C", "# Ctrl-\\"):
                conferir()
                terminais[atual].sinal(signal.SIGINT if linha == "# Ctrl-C" else signal.SIGQUIT)
            elif linha == "# =>" or linha.startswith("# => "):
                enviar()
                terminais[atual].esperado.append(linha[5:].rstrip())
            elif linha.startswith("#") or not linha.strip():
                continue
            else:
                comando.append(linha)
        conferir()
        for aberto in terminais.values():
            aberto.esperar() if SO_OUVE.search(aberto.comando) else aberto.terminar()
    finally:
        for aberto in terminais.values():
            aberto.fechar()
