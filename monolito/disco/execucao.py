"""Uma execução do monolito: um nome, e uma prova de que ainda vive.

Cada transação leva o nome da execução que a conduz. Enquanto a execução vive, a
transação é assunto dela; quando morre, a transação fica em dúvida, e a recuperação
de qualquer outra execução pode resolvê-la. A prova de vida é uma trava que o sistema
operacional solta sozinho quando o processo acaba, seja como for.
"""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager
from pathlib import Path

from comum.presenca import Presenca
from comum.falha import Falha

TENTATIVAS = 10


class Execucao:
    """Esta execução, viva até fechar() ou até o processo acabar."""

    def __init__(self, pasta: Path):
        self.nome = uuid.uuid4().hex[:8]
        self._vida = Presenca(pasta, arquivo(self.nome))
        self._vida.entrar()
        self._transacoes = 0

    def nova_transacao(self) -> str:
        self._transacoes += 1
        return f"{self.nome}-{self._transacoes}"

    def fechar(self) -> None:
        self._vida.apagar()


def arquivo(execucao: str) -> str:
    return f".execucao-{execucao}.db"


@contextmanager
def morta(pasta: Path, execucao: str):
    """Dá True se a execução morreu; até o fim do bloco, ninguém mais mexe no que ela deixou."""
    vida = _prova_de_vida(pasta, execucao)
    morreu = vida.sozinho()
    try:
        yield morreu
    finally:
        vida.apagar() if morreu else vida.fechar()


def viva(pasta: Path, execucao: str) -> bool:
    if not (pasta / arquivo(execucao)).exists():
        return False
    vida = _prova_de_vida(pasta, execucao)
    morreu = vida.sozinho()
    vida.fechar()
    return not morreu


def _prova_de_vida(pasta: Path, execucao: str) -> Presenca:
    # Outra recuperação pode apagar o arquivo enquanto o abrimos; na vez seguinte ele é outro.
    for _ in range(TENTATIVAS - 1):
        try:
            return Presenca(pasta, arquivo(execucao))
        except Falha:
            time.sleep(0.01)
    return Presenca(pasta, arquivo(execucao))
