"""O evento em que o próprio serviço falhou: tentado de novo e, por fim, mandado às mortas.

São TENTATIVAS vezes, com pausas que dobram, sem segurar os outros eventos. Até lá ele mora numa
tabela, gravada na mesma transação que trata o lote: a fila já pode esquecê-lo. Uma mensagem que
não se entende vai direto para a fila de mensagens mortas, pela mesma tabela.
Aqui não se sabe o que é RabbitMQ nem produto.
"""

import json
import sqlite3
import time
from typing import Callable, Iterable, NamedTuple

from comum.tela import curto, visivel

# AUTOINCREMENT: um número já usado não volta. Sem ele, uma cópia do serviço que apaga tarde "o 3"
# apagaria outra mensagem, que ainda não foi a lugar nenhum.
TABELAS = """
CREATE TABLE tentativas (  -- o que falhou; restam=0: vai para a fila de mensagens mortas
    ordem INTEGER PRIMARY KEY AUTOINCREMENT, mensagem TEXT UNIQUE, corpo BLOB NOT NULL,
    propriedades TEXT NOT NULL CHECK (json_type(propriedades) = 'object'),
    restam INTEGER NOT NULL, motivo TEXT NOT NULL) STRICT;
CREATE TABLE mortas (  -- os eventos que já foram para ela, e por quê: é lá que está o corpo
    mensagem TEXT PRIMARY KEY, motivo TEXT NOT NULL) STRICT, WITHOUT ROWID
"""
TENTATIVAS = 5  # quantas vezes se tenta de novo um evento em que o serviço falhou
PRIMEIRA_PAUSA = 0.2  # segundos antes da primeira; dobra a cada vez
MORTAS_POR_LOTE = 50  # ficam inteiras na memória
PROBLEMAS_DA_MAQUINA = ("locked", "is full", "disk I/O", "readonly", "unable to open")


class Guardada(NamedTuple):
    """Uma mensagem guardada para outra tentativa."""

    ordem: int
    corpo: bytes
    propriedades: dict
    restam: int


class Tentativas:
    """As mensagens em que um serviço falhou, no banco dele. Quem chama abre a transação.

    servico: o nome dele. avisar(texto): como se conta o que houve.
    """

    def __init__(self, banco: sqlite3.Connection, servico: str, avisar: Callable[[str], None]):
        self.banco, self.servico, self.avisar = banco, servico, avisar
        self.quando: dict[int, float] = {}  # ordem -> instante (monotônico) da próxima tentativa

    def falhou(self, mensagem, erro: Exception) -> None:
        """Guarda a mensagem para outra tentativa, ou para as mortas, e conta o que houve.

        mensagem: com corpo e propriedades; uma Guardada já é outra tentativa. Levanta o próprio
        erro se ele é da máquina, e não deste evento: então nada do lote vale, e a fila o
        entrega de novo.
        """
        if da_maquina(erro):
            raise erro
        motivo, props = visivel(f"{type(erro).__name__}: {erro}"[:300]), mensagem.propriedades
        restam = mensagem.restam - 1 if isinstance(mensagem, Guardada) else TENTATIVAS
        self.guardar(mensagem.corpo, props, motivo, props["message_id"], restam)
        de_quem, evento = f"{curto(props['correlation_id']):12}", props["type"]
        if restam:
            self.avisar(f"{de_quem} falhei em {evento} ({erro}); tento de novo em "
                        f"{em_segundos(pausa(restam))} (restam {restam})")
        else:
            self.avisar(f"{de_quem} desisti de {evento}, vai para {self.servico}.mortas: {motivo}")

    def desistir(self, mensagem, motivo: str) -> None:
        """Manda às mortas, sem tentar de novo, uma mensagem que não se entende."""
        self.guardar(mensagem.corpo, mensagem.propriedades, visivel(motivo))
        self.avisar(f"não entendi uma mensagem, vai para {self.servico}.mortas: {motivo}")

    def guardar(self, corpo: bytes, propriedades: dict, motivo: str, mensagem: str | None = None,
                restam: int = 0) -> None:
        """Guarda uma mensagem que não deu certo, para tentar de novo ou (restam=0) para as mortas.

        mensagem: o id do evento; repetido, não recomeça a contagem. None: nem isso se entendeu.
        """
        self.banco.execute(
            "INSERT INTO tentativas (mensagem, corpo, propriedades, restam, motivo) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (mensagem) DO UPDATE "
            "SET restam = min(restam, excluded.restam), motivo = excluded.motivo",
            (mensagem, corpo, json.dumps(propriedades, default=str), restam, motivo))

    def deu_certo(self, mensagem) -> None:
        """Se esta estava guardada, já não precisa de outra tentativa."""
        if isinstance(mensagem, Guardada):
            self.banco.execute("DELETE FROM tentativas WHERE ordem = ?", (mensagem.ordem,))

    def vencidas(self) -> list[Guardada]:
        """As mensagens cuja pausa já passou; as de uma execução anterior esperam uma inteira."""
        agora, vencidas = time.monotonic(), []
        for ordem, corpo, propriedades, restam in self.banco.execute(
                "SELECT ordem, corpo, propriedades, restam FROM tentativas WHERE restam > 0"):
            if self.quando.setdefault(ordem, agora + pausa(restam)) <= agora:
                del self.quando[ordem]  # se falhar de novo, outra pausa
                vencidas.append(Guardada(ordem, corpo, json.loads(propriedades), restam))
        return vencidas

    def esgotadas(self) -> list[tuple]:
        """Um lote das que não têm mais tentativas: [(ordem, corpo, propriedades, motivo)]."""
        return [(ordem, corpo, json.loads(propriedades), motivo)
                for ordem, corpo, propriedades, motivo in self.banco.execute(
                    "SELECT ordem, corpo, propriedades, motivo FROM tentativas "
                    "WHERE restam <= 0 ORDER BY ordem LIMIT ?", (MORTAS_POR_LOTE,))]

    def marcar_mortas(self, ordens: Iterable[int]) -> None:
        """O broker guardou estas na fila de mensagens mortas.

        Só estas: outra cópia do serviço pode ter acabado de esgotar as tentativas de uma mais
        antiga, e apagar "até a última" a perderia. Do evento de um pedido fica o motivo.
        """
        ordens = [(n,) for n in ordens]
        self.banco.executemany("INSERT OR REPLACE INTO mortas SELECT mensagem, motivo "
                               "FROM tentativas WHERE ordem = ? AND mensagem IS NOT NULL", ordens)
        self.banco.executemany("DELETE FROM tentativas WHERE ordem = ?", ordens)


def pausa(restam: int) -> float:
    """Segundos antes da próxima tentativa."""
    return PRIMEIRA_PAUSA * 2 ** (TENTATIVAS - restam)


def em_segundos(segundos: float) -> str:
    return f"{segundos:.1f} s".replace(".", ",")


def da_maquina(erro: Exception) -> bool:
    """Se o que falhou foi o banco, e não o tratamento de um evento.

    Um SQL errado também é uma falha do evento. Um arquivo corrompido chega como o DatabaseError
    puro; os filhos dele são erros de quem escreveu o SQL.
    """
    da_maquina = any(trecho in str(erro) for trecho in PROBLEMAS_DA_MAQUINA)
    return (type(erro) is sqlite3.DatabaseError
            or isinstance(erro, sqlite3.OperationalError) and da_maquina)

