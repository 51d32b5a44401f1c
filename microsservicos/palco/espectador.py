"""A plateia: mostra na tela cada evento da saga, e não diz nada a ninguém.

Ouve por uma fila só sua, que some com ela; os serviços nem sabem se há alguém assistindo.
"""

import shutil
import sys
import time

from comum.diagrama import Diagrama
from comum.falha import Falha
from comum.tela import dizer
from palco.desenho import Desenho
from rabbitmq.canal import Plateia
from rabbitmq.conexao import onde
from rabbitmq.erros import Passageira
from terminal.narracao import Limitador


class Espectador:
    """Mostra os eventos; se a ligação com o broker cai, abre outra.

    loja: a identidade dela. diagrama: onde mais anotar os eventos, ou None. sozinho: se ninguém
    mais neste terminal diria que o broker caiu, ou que voltou; aí, se ele o recusa, levanta Falha.
    """

    def __init__(self, loja: str, diagrama: Diagrama | None = None, sozinho: bool = False):
        self.loja, self.desenho, self.limitador = loja, Desenho(diagrama), Limitador()
        self.plateia: Plateia | None = None
        self.sozinho, self.dito = sozinho, ""
        self.proxima, self.guardadas = 0.0, []
        self.desenhadas = 0  # linhas

    def guardar(self, segundos: float = 0) -> None:
        """Recebe os eventos que chegarem em até tantos segundos, para mostrar depois.

        Sem ligação, abre outra, uma vez por segundo: daí em diante nenhum passa sem ser visto.
        """
        try:
            if not self.plateia and time.monotonic() >= self.proxima:
                self.proxima = time.monotonic() + 1
                self.plateia = Plateia(self.loja)
                self.avisar(f"assistindo em {onde()}; Ctrl-C encerra")
            if self.plateia:
                self.guardadas += self.plateia.receber(segundos)
        except Falha as falha:
            self.fechar()
            if self.sozinho and not isinstance(falha, Passageira):
                raise
            self.avisar(f"{falha}; continuo tentando (Ctrl-C encerra)")
        if not self.plateia:
            time.sleep(segundos)

    def avisar(self, texto: str) -> None:
        """Uma vez cada aviso; e só se não há serviços ao lado que já o digam."""
        if self.sozinho and texto != self.dito:
            dizer(texto)
        self.dito = texto

    def mostrar(self, segundos: float) -> None:
        """Mostra os eventos dos próximos instantes; os nomes das raias não saem da tela."""
        self.guardar(0 if self.guardadas else segundos)
        recebidas, self.guardadas = self.guardadas, []
        cabem = max(shutil.get_terminal_size().lines - 5, 8) if sys.stdout.isatty() else sys.maxsize
        for linha in self.limitador.passar(self.desenho.recebidas(recebidas)):
            if self.desenhadas % cabem == 0:
                dizer()
                dizer(self.desenho.cabecalho(), "forte")
            dizer(linha)
            self.desenhadas += 1

    def fechar(self) -> None:
        if self.plateia:
            self.plateia.fechar()
            self.plateia = None
