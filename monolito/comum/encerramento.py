"""O pedido de fim (Ctrl-C, SIGTERM, a janela fechada): quando vale, e quando espera.

Ele vira KeyboardInterrupt na linha em que o programa estiver. No meio de um lote nada se perderia,
mas o trabalho seria repetido: ali ele só fica anotado, e quem trabalha o vê ao acabar.
"""

import signal
from contextlib import contextmanager
from typing import Iterator


class Fim:
    """sinal: o que pediu o fim deste programa; None, nenhum."""

    sinal: int | None = None


@contextmanager
def adiando_o_fim() -> Iterator[Fim]:
    """Dentro do bloco, um pedido de fim só fica anotado no Fim que ele dá; o mesmo outra vez, não.

    No terminal de orquestracao.py um Ctrl-C chega a todos, e o SIGTERM com que ele encerra os
    serviços vem logo depois: não é insistência de ninguém.
    """
    fim = Fim()

    def anotar(sinal, quadro):
        if fim.sinal == sinal:
            raise KeyboardInterrupt
        fim.sinal = fim.sinal or sinal
    antes = {sinal: signal.signal(sinal, anotar) for sinal in sinais_de_fim()}
    try:
        yield fim
    finally:
        for sinal, tratador in antes.items():
            signal.signal(sinal, tratador)


def encerrar_uma_vez_so() -> None:
    """O primeiro pedido de fim interrompe o programa; outro não corta a limpeza."""
    sinais = sinais_de_fim()

    def ao_chegar(sinal, quadro):
        for um in sinais:
            signal.signal(um, signal.SIG_IGN)
        raise KeyboardInterrupt
    for sinal in sinais:
        signal.signal(sinal, ao_chegar)


def sinais_de_fim() -> list[int]:
    """Os que interrompem este programa: não os que o nohup, por exemplo, mandou ignorar."""
    todos = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [sinal for sinal in todos if signal.getsignal(sinal) != signal.SIG_IGN]
