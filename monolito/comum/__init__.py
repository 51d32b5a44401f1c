"""O que as duas arquiteturas têm igual: esta pasta existe, byte por byte, nas duas alas."""

import sys


def _sem_ctrl_c(tipo, erro, rastro, antes=sys.excepthook):
    if tipo is not KeyboardInterrupt:
        antes(tipo, erro, rastro)


# Um Ctrl-C enquanto o programa ainda se importa (um quarto de segundo) também não é um traceback.
sys.excepthook = _sem_ctrl_c
