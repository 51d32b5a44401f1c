"""Os pedidos que chegaram, conduzidos em rodadas: um de cada vez, ou K em andamento.

Uma rodada leva todos os que estão em andamento até onde cada um pode ir, e eles dividem as
gravações forçadas. O que para numa trava espera pela próxima; o que termina dá lugar a outro.
"""

import time
from collections import deque

from comum.encerramento import adiando_o_fim
from comum.tela import Progresso, dizer
from coordenador import Coordenador
from palco.narracao import COORDENADOR

POUCOS = 4  # até tantos pedidos, o protocolo é desenhado; acima disso, uma barra de progresso
PAUSA = 0.002  # segundos até olhar de novo, se todos esperam por travas


class Atendimento:
    """novos: pedidos que ainda não existem. paralelos: quantos em andamento ao mesmo tempo."""

    def __init__(self, coordenador: Coordenador, novos: list[dict], paralelos: int):
        self.coordenador, self.paralelos, self.total = coordenador, paralelos, len(novos)
        self.fila, self.em_andamento, self.feitos = deque(novos), [], []
        self.progresso = Progresso(self.total, "pedidos") if self.total > POUCOS else None
        self.inicio = time.monotonic()
        self.antes = self.forcadas = coordenador.forcadas()

    def conduzir(self) -> list[dict]:
        """Devolve os pedidos que foram até o fim.

        Ctrl-C (ou SIGTERM) não interrompe um pedido no meio: termina os que estão em andamento e
        não começa outros. Um segundo, sim; e então a recuperação termina, no próximo início.
        """
        with adiando_o_fim() as fim:
            while self.em_andamento or (self.fila and not fim.sinal):
                while self.fila and not fim.sinal and len(self.em_andamento) < self.paralelos:
                    self.em_andamento.append(self.coordenador.nova(self.fila.popleft()))
                terminadas = self.coordenador.rodada(self.em_andamento)
                self._contar(terminadas)
                self.em_andamento = [t for t in self.em_andamento if not t.decisao]
                if not terminadas:
                    time.sleep(PAUSA)
        self._resumir()
        return self.feitos

    def _contar(self, terminadas: list) -> None:
        self.feitos += [t.pedido for t in terminadas]
        if self.paralelos == 1 and terminadas:  # com vários, a rodada é de todos: só há a média
            antes, self.forcadas = self.forcadas, self.coordenador.forcadas()
            self.coordenador.narrador.nota(terminadas[0].id, COORDENADOR, "gravações forçadas: "
                                           f"{self.forcadas - antes}", "fraco")
        if self.progresso:
            self.progresso.mostrar(len(self.feitos), self._ritmo())

    def _ritmo(self) -> str:
        return f"{len(self.feitos) / max(time.monotonic() - self.inicio, 1e-6):.0f}/s"

    def _resumir(self) -> None:
        media = (self.coordenador.forcadas() - self.antes) / max(len(self.feitos), 1)
        if self.progresso or (self.paralelos > 1 and self.feitos):
            dizer(f"{len(self.feitos)} pedidos, {self._ritmo()}, "
                  f"{media:.2f} gravações forçadas por pedido")
