"""De onde nascem os filhos dos testes do monolito: um processo só para fazer fork, a pedido.

Um fork copia o processo inteiro, e o do pytest tem threads, que o fork não leva consigo (o Python
3.12 avisa). Este não tem nenhuma e é pequeno: carrega os módulos uma vez, e cada filho já nasce com eles.

    python bercario.py DESCRITOR PASTA...     quem o inicia, e fala com ele, é monolito_apoio.Filho
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

NASCER, ESPERAR = b"n", b"e"


def servir(cano: Connection) -> None:
    """Atende um pedido por vez, até quem pede ir embora; os filhos que ninguém esperou vão junto."""
    vivos = set()
    while True:
        try:
            pedido = cano.recv_bytes()
        except (EOFError, OSError):
            for pid in vivos:
                os.kill(pid, signal.SIGKILL)
            return
        if pedido[:1] == ESPERAR:
            pid, status = os.waitpid(int(pedido[1:]), 0)
            vivos.discard(pid)
            cano.send(status)
        elif pid := os.fork():
            vivos.add(pid)
            cano.send(pid)
        else:
            cano.close()
            viver(pedido[1:])


def viver(pedido: bytes) -> None:
    """No filho: faz o que se pediu, deixa o resultado no arquivo combinado, e acaba sem fechar nada."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no berçário é ignorado: quem decide é o pytest
    status, resultado = 1, None
    try:
        funcao, argumentos, resultado, preparar = pickle.loads(pedido)
        preparar()
        texto = pickle.dumps(funcao(*argumentos))
        status = 0
    except BaseException:
        texto = pickle.dumps(traceback.format_exc()[-4000:])
    finally:
        if resultado:
            Path(resultado).write_bytes(texto)
        os._exit(status)


def main() -> None:
    # Na ordem de quem pede: os mesmos nomes, os mesmos módulos.
    sys.path[:] = [*sys.argv[2:], *sys.path]
    importlib.import_module("monolito_apoio")
    for teste in (Path(__file__).resolve().parents[1] / "monolito").glob("test_*.py"):
        importlib.import_module(teste.stem)
    mudo = os.open(os.devnull, os.O_RDWR)
    for saida in (0, 1, 2):
        os.dup2(mudo, saida)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # um Ctrl-C no terminal chega a todos
    servir(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
