"""Desliga um nó privado que ficou sem ninguém: quem o usava foi morto com SIGKILL.

Roda ao lado do nó, fora do terminal de quem o ligou, e acaba com ele.

    python vigia.py PASTA PORTA
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from no_privado.compartilhado import NoCompartilhado

PASSO = 0.25  # segundos entre duas perguntas "ainda há alguém?"


def main() -> None:
    no = NoCompartilhado(sys.argv[1], int(sys.argv[2]))
    while no.vivo() and not no.desligar_se_ninguem_usa(0):
        time.sleep(PASSO)


if __name__ == "__main__":
    main()
