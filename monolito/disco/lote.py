"""Gravação em grupo: quem chega enquanto uma rodada espera pelo disco entra na próxima.

Não há thread própria. A thread que encontra o lugar vazio lidera: conduz, junto com a sua,
as transações de todas as que esperam, e assim dez pedidos custam os fsyncs de um. Quem
chega sozinho lidera logo, e não paga nenhuma troca de thread. (A ideia é o "group commit"
de DeWitt et al., "Implementation Techniques for Main Memory Database Systems", SIGMOD 1984.)
"""

from __future__ import annotations

import threading
import time

MAIOR = 256  # transações numa rodada: um limite para o tempo que a primeira espera pela última
CARONA = 0.0003  # segundos que o líder dá a quem acabou de ser atendido para voltar com outro pedido
PAUSA = 0.002  # segundos entre duas olhadas numa trava que não é nossa


class Lote:
    """rodada(transacoes): leva todas adiante e devolve as que terminaram."""

    def __init__(self, rodada):
        self._rodada = rodada
        self._mutex = threading.Lock()
        self._presentes: list = []
        self._ha_lider = False
        self._tamanho = 0

    def conduzir(self, transacao) -> None:
        """Volta quando a transação terminou; levanta o erro que interrompeu a rodada dela."""
        transacao.vez.acquire()
        with self._mutex:
            self._presentes.append(transacao)
            lidera, self._ha_lider = not self._ha_lider, True
        if not lidera:
            transacao.vez.acquire()  # acorda terminada, ou com a vez de liderar
        while transacao in self._presentes:
            self._liderar(transacao)
        if transacao.erro:
            raise transacao.erro

    def _liderar(self, minha) -> None:
        if self._tamanho > 1:
            time.sleep(CARONA)
        with self._mutex:
            lote = self._presentes[:MAIOR]
        self._tamanho = len(lote)
        terminadas = lote
        try:
            terminadas = self._rodada(lote)
        except BaseException as erro:
            for transacao in lote:
                transacao.erro = erro
        with self._mutex:
            fora = set(terminadas)
            self._presentes = [t for t in self._presentes if t not in fora]
            if minha in fora:
                self._passar_a_vez()
        for transacao in terminadas:
            if transacao is not minha:
                transacao.vez.release()
        if not terminadas:
            time.sleep(PAUSA)

    def _passar_a_vez(self) -> None:
        if self._presentes:
            self._presentes[0].vez.release()
        else:
            self._ha_lider = False
