"""A plateia: mostra na tela cada evento da saga, e não diz nada a ninguém.

Ouve por uma fila só sua, que some com ela; os serviços nem sabem se há alguém assistindo.
"""

from __future__ import annotations

import shutil
import sys
import time

from comum.diagrama import Diagrama
from comum.falha import Falha
from comum.tela import dizer
from palco.desenho import Desenho
from rabbitmq.canal import Plateia
from rabbitmq.conexao import onde
from rabbitmq.reconexao import CONEXAO, Reconexao
from terminal.narracao import Limitador


class Espectador:
    """Mostra os eventos; se a ligação com o broker cai, abre outra.

    loja: a identidade dela. diagrama: onde mais anotar os eventos, ou None.
    """

    def __init__(self, loja: str, diagrama: Diagrama | None = None):
        self.loja, self.desenho, self.limitador = loja, Desenho(diagrama), Limitador()
        self.plateia: Plateia | None = None
        self.proxima, self.guardadas = 0.0, []
        self.desde_o_cabecalho: int | None = None  # linhas; None: ele ainda não apareceu

    def abrir(self) -> None:
        """Senta-se: daqui em diante nenhum evento passa sem ser visto. Sem broker, tenta depois."""
        self.proxima = time.monotonic() + 1
        try:
            self.plateia = Plateia(self.loja)
        except Falha:
            pass  # os serviços já dizem que o broker caiu

    def guardar(self) -> None:
        """Recebe o que já chegou, para mostrar depois; o broker não espera por quem se cala."""
        if self.plateia:
            self.guardadas += self._receber(0)

    def mostrar(self, espera: float) -> None:
        """Mostra os eventos dos próximos instantes, até `espera` segundos."""
        if not self.plateia and time.monotonic() >= self.proxima:
            self.abrir()
        if not self.plateia:
            time.sleep(espera)
            return
        recebidas = [*self.guardadas, *self._receber(0 if self.guardadas else espera)]
        self.guardadas.clear()
        self.desenhar(recebidas)

    def desenhar(self, recebidas: list) -> None:
        """As linhas destes eventos; os nomes das raias voltam antes de saírem da tela."""
        for linha in self.limitador.passar(self.desenho.recebidas(recebidas)):
            cabem = shutil.get_terminal_size().lines - 4 if sys.stdout.isatty() else sys.maxsize
            if self.desde_o_cabecalho is None or self.desde_o_cabecalho >= cabem:
                dizer()
                dizer(self.desenho.cabecalho(), "forte")
                self.desde_o_cabecalho = 0
            dizer(linha)
            self.desde_o_cabecalho += 1

    def _receber(self, espera: float) -> list:
        try:
            return self.plateia.receber(espera)
        except Falha:
            self.fechar()
            return []

    def fechar(self) -> None:
        if self.plateia:
            self.plateia.fechar()
            self.plateia = None


class Assistencia(Reconexao):
    """A plateia sozinha num terminal: ninguém mais diria que o broker caiu, ou que voltou."""

    def assistir(self, espectador: Espectador) -> None:
        """Até Ctrl-C. Levanta a Falha que impede a primeira conexão."""
        self.manter(lambda plateia: espectador.desenhar(plateia.receber(0.2)),
                    abrir=lambda nome, reconexao: Plateia(reconexao.loja))

    def pronto(self) -> None:
        self.ditos.pop(CONEXAO, None)
        dizer(f"assistindo em {onde()}; Ctrl-C encerra")
