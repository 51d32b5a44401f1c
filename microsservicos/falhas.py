"""O que falhou num serviço: tentar de novo, e por fim enterrar.

Uma mensagem que não se entende vai direto para a fila de mensagens mortas; um evento em que o
próprio serviço falhou é tentado de novo TENTATIVAS vezes, com pausas que dobram, sem segurar os
outros. Até lá ele mora numa tabela, gravada na mesma transação que trata o lote: a fila já pode
esquecê-lo. Aqui não se sabe o que é RabbitMQ nem produto.
"""

from __future__ import annotations

import json
import sqlite3
import time
from typing import Callable, Iterable, NamedTuple

from comum.tela import curto, visivel

TABELAS = """
-- O que falhou: tentativas que restam (0: vai para a fila de mensagens mortas).
CREATE TABLE falhas (
    ordem INTEGER PRIMARY KEY AUTOINCREMENT, mensagem TEXT UNIQUE, corpo BLOB NOT NULL,
    propriedades TEXT NOT NULL, restam INTEGER NOT NULL, motivo TEXT NOT NULL);

-- Os eventos que já foram para a fila de mensagens mortas, e por quê: é lá que está o corpo.
CREATE TABLE enterradas (mensagem TEXT PRIMARY KEY, motivo TEXT NOT NULL) WITHOUT ROWID
"""
TENTATIVAS = 5  # quantas vezes se tenta de novo um evento em que o serviço falhou
PRIMEIRA_PAUSA = 0.2  # segundos antes da primeira; dobra a cada vez
MAIOR_ENTERRO = 8 * 1024 * 1024  # bytes de mensagens mortas publicadas de uma vez


class Falhou(NamedTuple):
    """Uma mensagem guardada para outra tentativa."""

    ordem: int
    corpo: bytes
    propriedades: dict
    restam: int


class Falhas:
    """As falhas de um serviço, no banco dele. Quem chama abre a transação.

    servico: o nome dele. avisar(texto): como se conta o que houve.
    """

    def __init__(self, banco: sqlite3.Connection, servico: str, avisar: Callable[[str], None]):
        self.banco, self.servico, self.avisar = banco, servico, avisar
        self.vez: dict[int, float] = {}  # falha -> instante (monotônico) da próxima tentativa

    # --- cada mensagem falha sozinha ---

    def de(self, mensagem) -> Falhas:
        """`with falhas.de(mensagem):` se o bloco falha, a mensagem é guardada, e o lote segue.

        mensagem: com corpo e propriedades; um Falhou é mais uma tentativa. Do bloco só sai o erro
        que é da máquina: então nada do lote vale, e a fila o entrega de novo.
        """
        self.em_maos = mensagem
        return self

    def __enter__(self):
        if type(self.em_maos) is Falhou:
            del self.vez[self.em_maos.ordem]

    def __exit__(self, tipo, erro, rastro) -> bool:
        de_novo = type(self.em_maos) is Falhou
        if erro is None:
            if de_novo:
                self.banco.execute("DELETE FROM falhas WHERE ordem = ?", (self.em_maos.ordem,))
        elif not isinstance(erro, Exception) or da_maquina(erro):
            return False
        elif de_novo:
            self.falhou_de_novo(self.em_maos, explicar(erro))
        else:
            self.falhou(self.em_maos, erro)
        return True

    def falhou(self, mensagem, erro: Exception) -> None:
        corpo, propriedades = mensagem.corpo, mensagem.propriedades
        if getattr(erro, "sem_conserto", False):
            self.enterrar("não entendi uma mensagem", corpo, propriedades, visivel(str(erro)))
            return
        self.avisar(f"{curto(propriedades['correlation_id']):12} falhei em {propriedades['type']} "
                    f"({erro}); tento de novo")
        self.guardar(corpo, propriedades, explicar(erro), propriedades["message_id"], TENTATIVAS)

    def falhou_de_novo(self, falhou: Falhou, motivo: str) -> None:
        self.banco.execute("UPDATE falhas SET restam = ?, motivo = ? WHERE ordem = ?",
                           (falhou.restam - 1, motivo, falhou.ordem))
        if falhou.restam <= 1:
            self.avisar(f"desisti de uma mensagem, vai para {self.servico}.mortas: {motivo}")

    def guardar(self, corpo: bytes, propriedades: dict, motivo: str, mensagem: str | None = None,
                restam: int = 0) -> None:
        """Guarda uma mensagem que não deu certo, para tentar de novo ou (restam=0) para as mortas.

        mensagem: o id do evento; repetido, não recomeça a contagem. None: nem isso se entendeu.
        """
        self.banco.execute(
            "INSERT INTO falhas (mensagem, corpo, propriedades, restam, motivo) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (mensagem) DO NOTHING",
            (mensagem, corpo, json.dumps(propriedades, default=str), restam, motivo))

    # --- tentar de novo ---

    def vencidas(self) -> list[Falhou]:
        """As falhas cuja pausa já passou; as de uma execução anterior esperam uma pausa inteira."""
        agora, vencidas = time.monotonic(), []
        for ordem, corpo, propriedades, restam in self.banco.execute(
                "SELECT ordem, CAST(corpo AS BLOB), propriedades, CAST(restam AS INTEGER) "
                "FROM falhas WHERE restam > 0"):
            if self.vez.setdefault(ordem, agora + self.pausa(restam)) <= agora:
                vencidas.append(Falhou(ordem, corpo, _ler(propriedades), restam))
        return vencidas

    @staticmethod
    def pausa(restam: int) -> float:
        """Segundos antes da próxima tentativa."""
        return PRIMEIRA_PAUSA * 2 ** max(TENTATIVAS - restam, 0)

    # --- enterrar ---

    def enterrar(self, o_que: str, corpo: bytes, propriedades: dict, motivo: str) -> None:
        """Manda esta para as mensagens mortas, sem tentar de novo; e conta o_que houve."""
        self.avisar(f"{o_que}, vai para {self.servico}.mortas: {motivo}")
        self.guardar(corpo, propriedades, motivo)

    def a_enterrar(self, limite: int) -> list[tuple]:
        """As que não têm mais tentativas: [(ordem, corpo, propriedades, motivo)].

        Até `limite`, e menos se os corpos são grandes: o lote inteiro fica na memória.
        """
        lote, tamanho = [], 0
        for ordem, corpo, propriedades, motivo in self.banco.execute(
                "SELECT ordem, CAST(corpo AS BLOB), propriedades, motivo FROM falhas "
                "WHERE restam <= 0 ORDER BY ordem LIMIT ?", (limite,)):
            lote.append((ordem, corpo, _ler(propriedades), motivo))
            tamanho += len(corpo)
            if tamanho > MAIOR_ENTERRO:
                break
        return lote

    def enterradas(self, ordens: Iterable[int]) -> None:
        """O broker guardou estas na fila de mensagens mortas.

        Só estas: outra cópia do serviço pode ter acabado de esgotar as tentativas de uma mais
        antiga, e apagar "até a última" a perderia. Do evento de um pedido fica o motivo.
        """
        ordens = [(n,) for n in ordens]
        self.banco.executemany("INSERT OR REPLACE INTO enterradas SELECT mensagem, motivo "
                               "FROM falhas WHERE ordem = ? AND mensagem IS NOT NULL", ordens)
        self.banco.executemany("DELETE FROM falhas WHERE ordem = ?", ordens)


def _ler(texto: str) -> dict:
    """As propriedades como foram guardadas; vazias se alguém mexeu nelas e não se leem mais."""
    try:
        lidas = json.loads(texto)
    except (ValueError, TypeError, RecursionError):
        return {}
    return lidas if isinstance(lidas, dict) else {}


PROBLEMAS_DA_MAQUINA = ("locked", "is full", "disk I/O", "readonly", "unable to open", "was moved")


def da_maquina(erro: Exception) -> bool:
    """Se o que falhou foi o banco, e não o tratamento de um evento.

    Um SQL errado também é uma falha do evento. Um arquivo corrompido chega como o DatabaseError
    puro; os filhos dele são erros de quem escreveu o SQL.
    """
    codigo = getattr(erro, "sqlite_errorcode", None)  # o Python o conta desde o 3.11
    sql_errado = codigo == 1 if codigo is not None else not any(  # 1: SQLITE_ERROR
        trecho in str(erro) for trecho in PROBLEMAS_DA_MAQUINA)
    return type(erro) is sqlite3.DatabaseError or (isinstance(erro, sqlite3.OperationalError)
                                                   and not sql_errado)


def explicar(erro: Exception) -> str:
    """O motivo que vai com a mensagem morta: o nome do erro e o texto dele."""
    return visivel(f"{type(erro).__name__}: {erro}"[:300])
