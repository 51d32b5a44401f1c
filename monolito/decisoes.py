"""O log do coordenador: a única prova de que uma transação foi decidida.

Só CONFIRMAR precisa estar aqui: sem decisão no log, é aborto (presunção de aborto, de
Mohan, Lindsay e Obermarck, "Transaction Management in the R* Distributed Database
Management System", ACM TODS 11(4), 1986). Mas o silêncio só vale como resposta se este
log é mesmo o da transação. Por isso cada execução se registra nele antes do primeiro
pedido: um log apagado, trocado, ou restaurado de uma cópia antiga não a conhece.
"""

from __future__ import annotations

from pathlib import Path

from disco.arquivo import Arquivo

CONFIRMAR, ABORTAR = "CONFIRMAR", "ABORTAR"
NOME = "coordenador.db"
TABELAS = """
CREATE TABLE execucoes (execucao TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE decisoes (
    transacao TEXT PRIMARY KEY, execucao TEXT NOT NULL, pedido TEXT NOT NULL,
    decisao TEXT NOT NULL DEFAULT 'CONFIRMAR') WITHOUT ROWID
"""


class LogDeDecisoes:
    """O arquivo coordenador.db. Levanta Falha se não pode ser aberto."""

    def __init__(self, pasta: Path):
        self.arquivo = Arquivo(pasta / NOME, TABELAS)

    def registrar(self, execucao: str) -> None:
        """Antes do primeiro pedido: daqui em diante este log responde por esta execução."""
        with self.arquivo.gravacao(forcada=True) as banco:
            banco.execute("INSERT INTO execucoes VALUES (?)", (execucao,))

    def decidir(self, transacoes: list, esquecer: list[str]) -> None:
        """O ponto sem volta: ao voltar daqui, o CONFIRMAR de cada transação está no disco.

        esquecer: transações encerradas, cujas decisões saem de carona na mesma gravação.
        """
        with self.arquivo.gravacao(forcada=True) as banco:
            banco.executemany("DELETE FROM decisoes WHERE transacao = ?", [(nome,) for nome in esquecer])
            banco.executemany("INSERT INTO decisoes (transacao, execucao, pedido) VALUES (?, ?, ?)",
                              [(t.nome, t.execucao, t.pedido["pedido"]) for t in transacoes])

    def decisao(self, transacao: str) -> str:
        """CONFIRMAR se está escrito; se não está, ABORTAR. Só vale se o log conhece a execução."""
        linha = self.arquivo.banco.execute("SELECT decisao FROM decisoes WHERE transacao = ?", (transacao,)).fetchone()
        return linha[0] if linha else ABORTAR

    def conhece(self, execucao: str) -> bool:
        """Só se sim o silêncio do log quer dizer aborto."""
        return self.arquivo.banco.execute("SELECT 1 FROM execucoes WHERE execucao = ?", (execucao,)).fetchone() is not None

    def execucoes(self) -> list[str]:
        return [nome for nome, in self.arquivo.banco.execute("SELECT execucao FROM execucoes ORDER BY execucao")]

    def esquecer(self, execucao: str) -> None:
        """O registro de fim: nada desta execução está em dúvida, e todo efeito dela está no disco."""
        with self.arquivo.gravacao(forcada=False) as banco:
            banco.execute("DELETE FROM decisoes WHERE execucao = ?", (execucao,))
            banco.execute("DELETE FROM execucoes WHERE execucao = ?", (execucao,))
