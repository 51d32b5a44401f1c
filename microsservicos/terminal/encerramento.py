"""Encerrar com calma: quem pede o fim de um programa, e em que instante ele vale.

Um Ctrl-C vira KeyboardInterrupt na linha em que o programa estiver: no meio de um passo do pika,
ou entre o COMMIT e o ack. Nada se perderia, mas a fila entregaria de novo o que já foi tratado.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

CALMA = 3  # segundos que um lote tem para acabar, depois do primeiro Ctrl-C


class Encerramento:
    """O primeiro Ctrl-C (ou SIGTERM, ou a janela fechada) espera o lote em mãos; o segundo, não.

    O segundo é o mesmo sinal outra vez. No terminal de orquestracao.py um Ctrl-C chega a todos, e
    o SIGTERM com que ele encerra os serviços vem logo depois: não é insistência de ninguém.
    """

    def __init__(self):
        self.em_maos, self.pedido = False, None
        for sinal in sinais_de_fim():
            signal.signal(sinal, self._ao_chegar)
        if hasattr(signal, "SIGALRM"):  # o despertador da calma; o Windows não tem
            signal.signal(signal.SIGALRM, signal.default_int_handler)

    @contextmanager
    def depois_deste_lote(self):
        """Dentro do bloco, um pedido de fim espera uns CALMA segundos pela última linha dele."""
        self.em_maos = True
        try:
            yield
        finally:
            self.em_maos = False
            if self.pedido:
                _despertar_em(0)
                raise KeyboardInterrupt

    @contextmanager
    def sem_esperar_o_lote(self):
        """Dentro deste, que está dentro do outro, um pedido de fim vale na hora."""
        if self.pedido:
            raise KeyboardInterrupt
        self.em_maos = False
        yield
        self.em_maos = True

    def _ao_chegar(self, sinal, quadro) -> None:
        if self.pedido not in (None, sinal):
            return
        vale_ja = self.pedido or not self.em_maos
        self.pedido = sinal
        if vale_ja:
            raise KeyboardInterrupt
        _despertar_em(CALMA)  # o lote pode estar preso numa escrita que ninguém lê


def _despertar_em(segundos: int) -> None:
    if hasattr(signal, "alarm"):
        signal.alarm(segundos)


def encerrar_uma_vez_so() -> None:
    """O primeiro Ctrl-C (ou SIGTERM, ou a janela fechada) interrompe; outro não corta a limpeza."""
    sinais = sinais_de_fim()

    def ao_chegar(sinal, quadro):
        for s in sinais:
            signal.signal(s, signal.SIG_IGN)
        raise KeyboardInterrupt
    for sinal in sinais:
        signal.signal(sinal, ao_chegar)


def sinais_de_fim() -> list[int]:
    """Os que hoje interrompem este programa: não os que o nohup, por exemplo, mandou ignorar."""
    return [s for nome in ("SIGINT", "SIGTERM", "SIGHUP") if (s := getattr(signal, nome, None))
            and signal.getsignal(s) is signal.default_int_handler]


def morrer_com_o_lancador() -> None:
    """Se orquestracao.py foi morto com kill -9, os serviços que ele iniciou não ficam órfãos.

    Levanta KeyboardInterrupt se era ele o pai deste processo, e já não é.
    """
    lancador = os.environ.get("LOJA_LANCADOR")
    if lancador and os.getppid() != int(lancador):
        raise KeyboardInterrupt
