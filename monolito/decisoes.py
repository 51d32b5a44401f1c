"""O log do coordenador: a única prova de que uma transação foi decidida, e a trava da pasta.

Só CONFIRMAR precisa estar aqui: sem decisão no log, é aborto (presunção de aborto, de Mohan,
Lindsay e Obermarck, "Transaction Management in the R* Distributed Database Management System",
ACM TODS 11(4), 1986). Mas o silêncio só vale como resposta se este log é mesmo o da transação.
Por isso cada execução se registra nele antes do primeiro pedido: um log apagado, trocado, ou
restaurado de uma cópia antiga não a conhece.

Quem tem o log aberto decide, e mais ninguém: o arquivo é aberto só para este processo, e o
sistema operacional solta a trava quando ele acaba, seja como for. Um programa de cada vez, e o
que está em dúvida no início é sempre de quem já morreu. Nada além do SQLite pode abrir este
arquivo neste processo: fechá-lo por fora soltaria a trava (manual do SQLite, "How To Corrupt An
SQLite Database File", seção 2.2).
"""

import random
import sqlite3
import time
import uuid
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Iterator, NamedTuple

from comum.banco import EmUso, abrir, conferir_arquivos, lendo, transacao
from comum.falha import Falha, em_portugues

CONFIRMAR, ABORTAR = "CONFIRMAR", "ABORTAR"
ARQUIVO = "coordenador.db"
ESPERA_PELO_LOG = 5.0  # segundos que um segundo programa espera pelo log antes de desistir
TABELAS = """
CREATE TABLE execucoes (execucao TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE decisoes (
    transacao TEXT PRIMARY KEY, execucao TEXT NOT NULL, pedido TEXT NOT NULL,
    decisao TEXT NOT NULL DEFAULT 'CONFIRMAR') STRICT, WITHOUT ROWID
"""
SEM_SABER = ("não sei se a decisão ficou, e não aviso ninguém: "
             "o que estava em andamento fica em dúvida até o próximo início")


class Decisao(NamedTuple):
    """O que um participante deve fazer com uma transação.

    qual: CONFIRMAR ou ABORTAR. motivo: o de um ABORTAR.
    pedido: só num ABORTAR do coordenador, para quem anota também os que não chegou a preparar.
    """

    transacao: str
    qual: str
    motivo: str | None = None
    pedido: dict | None = None


class NaoGravada(Exception):
    """A decisão não foi gravada, e isso é certo."""


class LogDeDecisoes:
    """O arquivo coordenador.db, aberto só para este processo até o fim dele.

    espera: segundos por quem o tem agora. Levanta EmUso se não o larga; Falha se não pode
    ser aberto.
    """

    def __init__(self, pasta: Path, loja: str, espera: float = ESPERA_PELO_LOG):
        prazo = time.monotonic() + espera
        while True:
            try:
                self.banco = abrir(pasta / ARQUIVO, TABELAS, loja, exclusivo=True)
                break
            except EmUso as erro:
                if time.monotonic() >= prazo:
                    raise EmUso(f"outro programa conduz pedidos em {pasta} agora, e só um de cada "
                                "vez pode: espere que ele acabe, ou encerre-o (Ctrl-C), e rode de "
                                "novo", 2) from erro
            # De dois que começam juntos, os dois podem desistir; o acaso os separa.
            time.sleep(random.uniform(0.005, 0.03))

    def registrar(self) -> str:
        """Começa uma execução, e devolve o nome dela: daqui em diante este log responde por ela.

        Chame-o antes de ler o que outra execução decidiu: quem morreu entre gravar e forçar
        deixou uma decisão que se lê e que o disco pode não ter. O WAL é gravado em ordem, e esta
        gravação forçada leva consigo as anteriores.
        """
        execucao = uuid.uuid4().hex[:8]
        with transacao(self.banco, forcada=True):
            self.banco.execute("INSERT INTO execucoes VALUES (?)", (execucao,))
        return execucao

    @contextmanager
    def decidindo(self) -> Iterator[None]:
        """O bloco em que se anotam decisões; ao fim dele, o COMMIT forçado que as torna sem volta.

        Levanta NaoGravada se é certo que nada ficou (faltou lugar no disco); e Falha se o COMMIT
        falhou de outro jeito, e pode ter ficado: ninguém sabe, e ninguém deve ser avisado.
        """
        try:
            with transacao(self.banco, forcada=True):
                yield
        except sqlite3.Error as erro:
            if "is full" in str(erro):
                raise NaoGravada from erro
            raise Falha(f"{em_portugues(erro, ARQUIVO)}; {SEM_SABER}") from erro

    def anotar(self, execucao: str, transacoes: list) -> None:
        """Dentro de decidindo(): CONFIRMAR cada transação."""
        self.banco.executemany(
            "INSERT INTO decisoes (transacao, execucao, pedido) VALUES (?, ?, ?)",
            [(t.nome, execucao, t.id) for t in transacoes])

    def decisao(self, transacao: str) -> str:
        """CONFIRMAR se está escrito; se não está, ABORTAR. Só vale se ele conhece a execução."""
        linha = self.banco.execute("SELECT decisao FROM decisoes WHERE transacao = ?",
                                   (transacao,)).fetchone()
        return linha[0] if linha else ABORTAR

    def execucoes(self) -> list[str]:
        """As que este log conhece; das outras, o silêncio dele não quer dizer aborto."""
        return [nome for nome, in self.banco.execute("SELECT execucao FROM execucoes")]

    def esquecer(self, execucoes: list[str]) -> None:
        """O registro de fim: nada delas está em dúvida, e todo efeito delas está no disco."""
        with transacao(self.banco, forcada=True):
            for tabela in ("decisoes", "execucoes"):
                self.banco.executemany(f"DELETE FROM {tabela} WHERE execucao = ?",
                                       [(execucao,) for execucao in execucoes])
        conferir_arquivos(self.banco)


# --- para quem só olha ---

def conduzindo(pasta: Path) -> bool:
    """Se algum programa tem o log agora. Só pergunta: nada se escreve, nem ao lado dele."""
    uri = f"{(pasta / ARQUIVO).resolve().as_uri()}?mode=ro&readonly_shm=1"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=0)) as banco:
            banco.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as erro:
        return "locked" in str(erro)
    return False


def o_que_diz(pasta: Path, transacao: str, execucao: str) -> tuple[str, str | None]:
    """(o que o log diz, o que o próximo início fará); None se o log não o deixa fazer nada.

    Para quem só olha: não abre o log para si, nem escreve nada.
    """
    if not (pasta / ARQUIVO).exists():
        return "não está nesta pasta", None
    try:
        with lendo(pasta, [Path(ARQUIVO).stem]) as log:
            conhece, decidiu = log.execute(
                "SELECT ? IN (SELECT execucao FROM execucoes), "
                "? IN (SELECT transacao FROM decisoes)", (execucao, transacao)).fetchone()
    except (Falha, sqlite3.Error) as erro:
        return f"não pôde ser lido: {em_portugues(erro, str(pasta / ARQUIVO))}", None
    if not conhece:
        return f"não conhece a execução {execucao}: não é o log desta transação", None
    if decidiu:
        return "tem CONFIRMAR", "confirma em quem falta"
    return "conhece a execução, e não tem decisão: aborto presumido", "aborta em quem preparou"
