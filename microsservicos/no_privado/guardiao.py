"""O pai de um nó privado e do epmd dele: acaba com os dois quando ninguém mais usa o nó.

    python guardiao.py SERVIDOR PORTA TRAVA    (na pasta do nó, com o ambiente dele)

Cada lançador que usa o nó tem a trava compartilhada do arquivo `uso`, e o sistema operacional a
solta quando ele morre, seja como for. Quem consegue a exclusiva sabe que não há mais ninguém: de
vez em quando este processo a pede. TRAVA é o descritor, herdado, da trava exclusiva do arquivo
`guardiao`; os filhos a herdam também, e por isso ela só se solta quando o último deles morre.

E se é este processo que morre? Um shell do mesmo grupo lê um pipe que só este processo tem para
escrever: quando o pipe se fecha, ele mata o grupo inteiro. É também assim que tudo acaba bem.
"""

import fcntl
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress

PASSO = 0.1          # segundos entre duas perguntas "ainda há alguém?"
PRAZO_PARADA = 30.0  # segundos até trocar o pedido gentil pelo SIGKILL; medido: 1 a 6


def travar(arquivo, como: int) -> bool:
    """Pede a trava do arquivo aberto, sem esperar (manual do sistema: flock(2)).

    como: LOCK_EX, a exclusiva; LOCK_SH, a compartilhada; LOCK_UN solta a que se tem. Quem troca uma
    pela outra solta a primeira, consiga ou não. Levanta OSError num disco que não tem travas.
    """
    try:
        fcntl.flock(arquivo, fcntl.LOCK_NB | como)
    except BlockingIOError:
        return False
    return True


def main() -> None:
    servidor, porta, trava = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    herdam = {"stdin": subprocess.PIPE, "pass_fds": [trava]}
    fim = subprocess.Popen(["sh", "-c", "read fim; kill -9 0"], **herdam)  # noqa: F841
    with open("uso", "rb+") as uso:
        epmd = subprocess.Popen(["epmd"], **herdam)  # o endereço e a porta estão no ambiente
        while not responde(int(os.environ["ERL_EPMD_PORT"])):
            if epmd.poll() is not None or travar(uso, fcntl.LOCK_EX):
                sys.exit("epmd: eaddrinuse")  # no.py o lê
            time.sleep(0.02)
        no = subprocess.Popen([servidor], **herdam)
        while no.poll() is None and not travar(uso, fcntl.LOCK_EX):
            time.sleep(PASSO)
        if responde(porta):  # a meio caminho, ele não atende o pedido, e nada há a perder
            no.terminate()
            with suppress(subprocess.TimeoutExpired):
                no.wait(PRAZO_PARADA)


def responde(porta: int) -> bool:
    with socket.socket() as tentativa:
        return tentativa.connect_ex(("127.0.0.1", porta)) == 0


if __name__ == "__main__":
    main()
