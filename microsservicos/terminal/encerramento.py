"""Encerrar com calma: quem pede o fim de um programa, e em que instante ele vale.

Um Ctrl-C vira KeyboardInterrupt na linha em que o programa estiver: no meio de um passo do pika,
ou entre o COMMIT e o ack. Nada se perderia, mas a fila entregaria de novo o que já foi tratado.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager

CALMA = 3.0  # segundos que um lote tem para acabar, depois do primeiro Ctrl-C


class Encerramento:
    """O primeiro Ctrl-C (ou SIGTERM, ou a janela fechada) espera o lote em mãos; o segundo, não.

    O segundo é o mesmo sinal outra vez. No terminal de orquestracao.py um Ctrl-C chega a todos, e
    o SIGTERM com que ele encerra os serviços vem logo depois: não é insistência de ninguém.
    """

    def __init__(self):
        self.em_maos, self.pedido, self.relogio = False, None, None
        for sinal in sinais_de_fim():
            signal.signal(sinal, self._ao_chegar)

    @contextmanager
    def depois_deste_lote(self):
        """Dentro do bloco, um pedido de fim espera uns CALMA segundos pela última linha dele."""
        self.em_maos = True
        try:
            yield
        finally:
            self.em_maos = False
            if self.pedido:
                if self.relogio:
                    self.relogio.cancel()
                raise KeyboardInterrupt

    @contextmanager
    def sem_esperar_o_lote(self):
        """Dentro do bloco, que está dentro de um lote, um pedido de fim vale na hora."""
        if self.pedido:
            raise KeyboardInterrupt
        self.em_maos = False
        yield
        self.em_maos = True

    def _ao_chegar(self, sinal, quadro) -> None:
        insistiu = self.pedido == sinal
        if self.pedido and not insistiu:
            return
        self.pedido = sinal
        if insistiu or not self.em_maos:
            raise KeyboardInterrupt
        self.relogio = threading.Timer(CALMA, _insistir, [sinal])
        self.relogio.daemon = True
        self.relogio.start()


def _insistir(sinal: int) -> None:
    """O mesmo sinal, na thread que trabalha: ela pode estar presa numa escrita que ninguém lê."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident, sinal)
    else:  # Windows
        signal.raise_signal(sinal)


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
    if lancador and os.name != "nt" and os.getppid() != int(lancador):
        raise KeyboardInterrupt
