"""A plateia: mostra na tela cada evento da saga, e não diz nada a ninguém.

Ouve por uma fila só sua, que some com ela; os serviços nem sabem se há alguém assistindo.
"""

import shutil
import sys
import time

from comum.raias import Diagrama
from comum.tela import alertar, dizer
from palco.desenho import Desenho
from rabbitmq.acesso import BrokerFora, onde
from rabbitmq.canal import Plateia


class Espectador:
    """Mostra os eventos; se a ligação com o broker cai, diz isso uma vez, e abre outra.

    loja: a identidade dela. diagrama: onde mais anotar os eventos, ou None.
    """

    def __init__(self, loja: str, diagrama: Diagrama | None):
        self.loja, self.desenho = loja, Desenho(diagrama)
        self.plateia: Plateia | None = None
        self.dito, self.desenhadas = "", 0  # desenhadas: linhas

    def abrir(self) -> None:
        """Daqui em diante nenhum evento passa sem ser visto, nem antes de mostrar(). Pode repetir.

        Levanta BrokerFora se ninguém responde, e Falha se o broker recusa a plateia.
        """
        if not self.plateia:
            self.plateia, self.dito = Plateia("plateia", self.loja), ""
            dizer(f"plateia: assistindo em {onde()}")

    def mostrar(self, segundos: float) -> None:
        """Mostra os eventos dos próximos instantes; os nomes das raias não saem da tela.

        Sem ligação, abre outra. Levanta Falha se o broker recusa a plateia.
        """
        try:
            self.abrir()
            recebidas = self.plateia.receber(segundos)
        except BrokerFora as falha:
            self.fechar()
            if self.dito != str(falha):
                self.dito = str(falha)
                alertar(f"plateia: {falha}; continuo tentando (Ctrl-C encerra)")
            time.sleep(segundos)
            return
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
