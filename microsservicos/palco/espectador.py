"""A plateia: mostra na tela cada evento da saga, e não diz nada a ninguém.

Ouve por uma fila só sua, que some com ela; os serviços nem sabem se há alguém assistindo.
"""

import shutil
import sys
import time

from comum.diagrama import Diagrama
from comum.tela import alertar, dizer
from palco.desenho import Desenho
from rabbitmq.acesso import BrokerFora, onde
from rabbitmq.canal import Plateia


class Espectador:
    """Mostra os eventos; se a ligação com o broker cai, diz isso uma vez, e abre outra.

    loja: a identidade dela. diagrama: onde mais anotar os eventos, ou None.
    """

    def __init__(self, loja: str, diagrama: Diagrama | None = None):
        self.loja, self.desenho = loja, Desenho(diagrama)
        self.plateia: Plateia | None = None
        self.proxima, self.dito, self.guardadas = 0.0, "", []
        self.desenhadas = 0  # linhas

    def guardar(self, segundos: float = 0) -> None:
        """Recebe os eventos que chegarem em até tantos segundos, para mostrar depois.

        Sem ligação, abre outra, uma vez por segundo: daí em diante nenhum passa sem ser visto.
        Levanta Falha se o broker recusa a plateia.
        """
        try:
            if not self.plateia and time.monotonic() >= self.proxima:
                self.proxima = time.monotonic() + 1
                self.plateia, self.dito = Plateia(self.loja), ""
                dizer(f"plateia: assistindo em {onde()}")
            if self.plateia:
                self.guardadas += self.plateia.receber(segundos)
        except BrokerFora as falha:
            self.fechar()
            if self.dito != str(falha):
                self.dito = str(falha)
                alertar(f"plateia: {falha}; continuo tentando (Ctrl-C encerra)")
        if not self.plateia:
            time.sleep(segundos)

    def mostrar(self, segundos: float) -> None:
        """Mostra os eventos dos próximos instantes; os nomes das raias não saem da tela."""
        self.guardar(0 if self.guardadas else segundos)
        recebidas, self.guardadas = self.guardadas, []
        cabem = max(shutil.get_terminal_size().lines - 5, 8) if sys.stdout.isatty() else sys.maxsize
        for linha in self.desenho.recebidas(recebidas):
            if self.desenhadas % cabem == 0:
                dizer()
                dizer(self.desenho.cabecalho(), "forte")
            dizer(linha)
            self.desenhadas += 1

    def fechar(self) -> None:
        if self.plateia:
            self.plateia.fechar()
            self.plateia = None
