"""O que as duas arquiteturas têm igual: esta pasta existe, byte por byte, nas duas alas."""

import os
import sys


def _sem_traceback(tipo, erro, rastro, antes=sys.excepthook):
    if tipo is KeyboardInterrupt:
        return
    if issubclass(tipo, ImportError) and erro.name in ("_sqlite3", "_ssl"):
        # Um Python compilado sem as bibliotecas dele; sem isto, nada mais aqui se importa.
        print(f"este Python ({sys.executable}) foi compilado sem o módulo {erro.name[1:]}: use o "
              "python3 do sistema, ou instale libsqlite3-dev e libssl-dev e compile-o de novo",
              file=sys.stderr, flush=True)
        os._exit(2)
    antes(tipo, erro, rastro)


# Um Ctrl-C enquanto o programa ainda se importa (um quarto de segundo) também não é um traceback.
sys.excepthook = _sem_traceback
