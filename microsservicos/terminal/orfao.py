"""O que um serviço deve a orquestracao.py, se foi ele quem o iniciou."""

import os


def morrer_com_o_lancador() -> None:
    """Se orquestracao.py foi morto com kill -9, os serviços que ele iniciou não ficam órfãos.

    Levanta KeyboardInterrupt se era ele o pai deste processo, e já não é.
    """
    lancador = os.environ.get("LOJA_LANCADOR")
    if lancador and os.getppid() != int(lancador):
        raise KeyboardInterrupt
