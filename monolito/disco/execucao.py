"""Uma execução do monolito: um nome, e uma prova de que ainda vive.

Cada transação leva o nome da execução que a conduz. Enquanto a execução vive, a transação é
assunto dela; quando morre, fica em dúvida, e a recuperação de qualquer outra pode resolvê-la.

A prova de vida é um arquivo travado: o sistema operacional solta a trava sozinho quando o
processo acaba, seja como for. Mas um arquivo pode ser apagado por engano, e então a trava que
falta não diz nada. Por isso o log guarda que arquivo era (o número dele no disco, que outro
não tem enquanto o primeiro está aberto), e só se crê na morte de uma execução se a trava está
livre nesse mesmo arquivo, ou se ninguém mais tem os bancos abertos.
"""

from __future__ import annotations

import itertools
import os
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

from comum.falha import Falha
from disco.presenca import Presenca

TENTATIVAS = 10
VIVA, MORTA, NAO_SE_SABE = "viva", "morta", "não se sabe"


class Execucao:
    """Esta execução, viva até fechar() ou até o processo acabar."""

    def __init__(self, pasta: Path):
        self.nome, self._pasta = uuid.uuid4().hex[:8], pasta
        self._contador = itertools.count(1)
        self._travar()

    def _travar(self) -> None:
        self._vida = Presenca(self._pasta, arquivo(self.nome))
        self._vida.entrar()
        self._prova = _qual(self._vida.caminho)

    def prova(self) -> str | None:
        """Que arquivo prova que esta execução vive; se o apagaram ou trocaram, é posto de volta."""
        if _qual(self._vida.caminho) != self._prova and self._pasta.exists():
            antiga = self._vida
            self._travar()
            antiga.fechar()  # só agora: fechada antes, o disco daria o número dela ao arquivo novo
        return self._prova

    def nova_transacao(self) -> str:
        return f"{self.nome}-{next(self._contador)}"

    def fechar(self) -> None:
        """Acabou, e nada ficou em dúvida: a prova não serve mais para ninguém."""
        self._vida.apagar()

    def __enter__(self) -> Execucao:
        return self

    def __exit__(self, *_) -> None:
        """Sem fechar() antes, é como a morte: a trava cai, e a prova fica para a recuperação."""
        self._vida.fechar()


def arquivo(execucao: str) -> str:
    return f".execucao-{execucao}.db"


def _qual(caminho: Path) -> str | None:
    try:
        achado = os.stat(caminho)
    except FileNotFoundError:
        return None
    return f"{achado.st_dev}:{achado.st_ino}"


@contextmanager
def julgada(pasta: Path, execucao: str, prova: str | None, sozinho):
    """Dá VIVA, MORTA ou NAO_SE_SABE; até o fim do bloco, ninguém mais mexe no que uma MORTA deixou.

    prova: o arquivo que o log registrou para ela (None: o log não a conhece).
    sozinho(): se nenhum outro processo tem os bancos abertos. Só se pergunta se a prova não basta.
    """
    caminho, vida = pasta / arquivo(execucao), None
    livre = False
    if caminho.exists():
        vida = _abrir(pasta, execucao)
        livre = vida.sozinho()
    try:
        if vida and not livre:
            yield VIVA
        elif (livre and _qual(caminho) == prova) or sozinho():
            yield MORTA
        else:
            yield NAO_SE_SABE
    finally:
        if vida:
            vida.fechar()


def viva(pasta: Path, execucao: str) -> bool:
    """Se a prova de vida dela está travada: com certeza vive. False é não saber, ou morta."""
    if not (pasta / arquivo(execucao)).exists():
        return False
    vida = _abrir(pasta, execucao)
    try:
        return not vida.sozinho()
    except Falha:  # o disco cheio nem deixa perguntar
        return False
    finally:
        vida.fechar()


def apagar_prova(pasta: Path, execucao: str) -> None:
    """Tudo o que ela deixou foi resolvido."""
    with suppress(OSError):  # no Windows, quem a julga ainda a tem aberta; --limpar a leva
        (pasta / arquivo(execucao)).unlink(missing_ok=True)


def _abrir(pasta: Path, execucao: str) -> Presenca:
    # Outra recuperação pode apagar o arquivo enquanto o abrimos; na vez seguinte ele é outro.
    for _ in range(TENTATIVAS - 1):
        try:
            return Presenca(pasta, arquivo(execucao))
        except Falha:
            time.sleep(0.01)
    return Presenca(pasta, arquivo(execucao))
