"""Gravação em grupo: quem chega enquanto uma rodada espera pelo disco entra na próxima.

Fica por fora do protocolo: dá ao coordenador rodadas de muitos, e ele não sabe. Não há thread
própria. A thread que encontra o lugar vazio lidera: conduz, junto com a sua, as transações
de todas as que esperam, e assim dez pedidos custam os fsyncs de um. Quem chega sozinho lidera
logo, e não paga nenhuma troca de thread. (A ideia é o "group commit" de DeWitt et al.,
"Implementation Techniques for Main Memory Database Systems", SIGMOD 1984.)
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress

MAIOR = 256  # transações numa rodada: um limite para o tempo que a primeira espera pela última
CARONA = 0.0003  # segundos que o líder dá a quem acabou de ser atendido para voltar com outro
PAUSA = 0.002  # segundos entre duas olhadas nas travas, quando todas as transações esperam por uma


class Cliente:
    """Uma thread e a transação dela. acordar: fechada até que haja algo a fazer."""

    __slots__ = ("transacao", "acordar", "atendido", "erro")

    def __init__(self, transacao):
        self.transacao, self.acordar = transacao, threading.Lock()
        self.atendido, self.erro = False, None
        self.acordar.acquire()


class Lote:
    """O `executar` de um coordenador, para muitas threads ao mesmo tempo."""

    def __init__(self, coordenador):
        self._coordenador = coordenador
        self._mutex = threading.Lock()
        self._presentes: list[Cliente] = []
        self._lider: Cliente | None = None
        self._atendidos = 0  # na última rodada

    def executar(self, pedido: dict) -> None:
        """Volta quando o pedido terminou; levanta o erro que interrompeu a rodada dele."""
        eu = Cliente(self._coordenador.nova(pedido))
        try:
            with self._mutex:
                self._presentes.append(eu)
                self._lider = self._lider or eu
            if self._lider is not eu:
                eu.acordar.acquire()  # volta atendido, ou com a vez de liderar
            while not eu.atendido:
                self._conduzir_rodada()
        finally:
            try:
                self._sair(eu)
            except BaseException:  # um Ctrl-C, e os outros esperariam para sempre
                self._sair(eu)
                raise
        if eu.erro:
            raise eu.erro

    def _conduzir_rodada(self) -> None:
        if self._atendidos > 1:
            time.sleep(CARONA)
        lote = self._reunir()
        try:
            terminadas = set(self._coordenador.rodada([cliente.transacao for cliente in lote]))
            self._dispensar([cliente for cliente in lote if cliente.transacao in terminadas])
        except BaseException as erro:
            for cliente in lote:
                if not cliente.atendido:
                    cliente.erro = erro
            self._dispensar(lote)

    def _reunir(self) -> list[Cliente]:
        """Quem entra na rodada: de todos os que esperam pela mesma linha, só o primeiro da fila."""
        lote, linhas = [], set()
        with self._mutex:
            for cliente in self._presentes[:MAIOR]:
                linha = cliente.transacao.parada_em
                if linha is None or linha not in linhas:
                    lote.append(cliente)
                    linhas.add(linha)
        return lote

    def _dispensar(self, atendidos: list[Cliente]) -> None:
        self._atendidos = len(atendidos)
        if not atendidos:
            time.sleep(PAUSA)
        for cliente in atendidos:
            cliente.atendido = True
        with self._mutex:
            self._presentes = [c for c in self._presentes if not c.atendido]
        for cliente in atendidos:
            _acordar(cliente)

    def _sair(self, eu: Cliente) -> None:
        """Sai da fila e, se liderava, passa a vez a quem espera há mais tempo. Pode repetir."""
        with self._mutex:
            if not eu.atendido:
                self._presentes = [cliente for cliente in self._presentes if cliente is not eu]
            if self._lider is eu:
                proximo = self._presentes[0] if self._presentes else None
                if proximo:
                    _acordar(proximo)
                self._lider = proximo


def _acordar(cliente: Cliente) -> None:
    with suppress(RuntimeError):  # já estava: um Ctrl-C interrompeu quem o acordava
        cliente.acordar.release()
