"""O log do coordenador: a única prova de que uma transação foi decidida.

Só CONFIRMAR precisa estar aqui: sem decisão no log, é aborto (presunção de aborto, de
Mohan, Lindsay e Obermarck, "Transaction Management in the R* Distributed Database
Management System", ACM TODS 11(4), 1986). Mas o silêncio só vale como resposta se este
log é mesmo o da transação. Por isso cada execução se registra nele antes do primeiro
pedido: um log apagado, trocado, ou restaurado de uma cópia antiga não a conhece.

E o silêncio só vale se não puder mais ser quebrado. Por isso a recuperação, antes de ler o
que uma execução decidiu, a encerra aqui; e nenhuma execução encerrada decide mais nada, mesmo
que a tenham dado por morta por engano. As duas gravações são neste arquivo: uma vem antes.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from itertools import takewhile
from pathlib import Path

from comum.falha import Falha
from disco.arquivo import Arquivo
from disco.execucao import Execucao

CONFIRMAR, ABORTAR = "CONFIRMAR", "ABORTAR"
NOME = "coordenador.db"
TABELAS = """
CREATE TABLE execucoes (
    execucao TEXT PRIMARY KEY, prova TEXT NOT NULL,
    encerrada INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE decisoes (
    transacao TEXT PRIMARY KEY, execucao TEXT NOT NULL, pedido TEXT NOT NULL,
    decisao TEXT NOT NULL DEFAULT 'CONFIRMAR') WITHOUT ROWID
"""
NAO_GRAVADA = "a decisão não pôde ser gravada"
ENCERRADA = "outra execução encerrou esta"


class LogDeDecisoes:
    """O arquivo coordenador.db. Levanta Falha se não pode ser aberto."""

    def __init__(self, pasta: Path):
        self.arquivo = Arquivo(pasta / NOME, TABELAS)
        self._execucao: Execucao | None = None
        self._pode_decidir = True
        self._encerradas: deque = deque()

    def registrar(self, execucao: Execucao) -> None:
        """Antes do primeiro pedido: daqui em diante este log responde por esta execução."""
        self._execucao = execucao
        with self.arquivo.gravacao(forcada=True) as banco:
            banco.execute("INSERT INTO execucoes (execucao, prova) VALUES (?, ?)",
                          (execucao.nome, execucao.prova()))

    def decidir(self, transacoes: list) -> str | None:
        """O ponto sem volta: ao voltar daqui, o CONFIRMAR de cada transação está no disco.

        Devolve None; ou por que não decidiu, e então nada ficou no log: é aborto, e não há dúvida.
        Levanta Falha se o COMMIT pode ter ficado, e o disco não respondeu por ele: ninguém sabe.
        As decisões que já podem ser esquecidas saem de carona na mesma gravação.
        """
        esquecer = self._ja_no_disco()
        try:
            prova = self._execucao.prova()
            with self.arquivo.gravacao(forcada=True) as banco:
                self._pode_decidir = self._renovar(banco, prova)
                if not self._pode_decidir:
                    return ENCERRADA
                banco.executemany("DELETE FROM decisoes WHERE transacao = ?",
                                  [(nome,) for nomes, _ in esquecer for nome in nomes])
                banco.executemany(
                    "INSERT INTO decisoes (transacao, execucao, pedido) VALUES (?, ?, ?)",
                    [(t.nome, t.execucao, t.pedido["pedido"]) for t in transacoes])
        except sqlite3.Error as erro:
            self.arquivo.queixar(erro)
            return NAO_GRAVADA
        self.arquivo.garantir()
        for _ in esquecer:
            self._encerradas.popleft()
        return None

    def anotar_fim(self, nomes: list[str], arquivos: list[Arquivo]) -> None:
        """Todos foram avisados destas; cada arquivo tem a confirmação, mas talvez não o disco."""
        self._encerradas.append((nomes, [(arquivo, arquivo.gravadas) for arquivo in arquivos]))

    def _ja_no_disco(self) -> list:
        """As encerradas cujas confirmações uma gravação posterior já forçou, em cada arquivo."""
        return list(takewhile(lambda fim: all(arquivo.no_disco >= ate for arquivo, ate in fim[1]),
                              self._encerradas))

    def _renovar(self, banco, prova: str) -> bool:
        """False se outra encerrou esta execução. Uma prova posta de volta passa a ser a certa."""
        linha = banco.execute("SELECT prova, encerrada FROM execucoes WHERE execucao = ?",
                              (self._execucao.nome,)).fetchone()
        if linha is None or linha[1]:
            return False
        if linha[0] != prova:
            banco.execute("UPDATE execucoes SET prova = ? WHERE execucao = ?",
                          (prova, self._execucao.nome))
        return True

    def conferir_se_ainda_decide(self) -> None:
        """Levanta Falha se outra encerrou esta execução: não há por que começar mais pedidos."""
        if not self._pode_decidir:
            raise Falha(f"a execução {self._execucao.nome} foi dada como morta por outra, que "
                        "resolveu o que estava em dúvida: abortei o que conduzia, e paro; "
                        "rode de novo o que faltou")

    def encerrar(self, execucao: str) -> bool:
        """A execução não decide mais nada neste log. False se ele não a conhece."""
        with self.arquivo.gravacao(forcada=True) as banco:
            banco.execute("UPDATE execucoes SET encerrada = 1 WHERE execucao = ? AND NOT encerrada",
                          (execucao,))
        return self.conhece(execucao)

    def decisao(self, transacao: str) -> str:
        """CONFIRMAR se está escrito; se não está, ABORTAR. Só vale se o log encerrou a execução."""
        linha = self.arquivo.banco.execute("SELECT decisao FROM decisoes WHERE transacao = ?",
                                           (transacao,)).fetchone()
        return linha[0] if linha else ABORTAR

    def conhece(self, execucao: str) -> bool:
        """Só se sim o silêncio do log quer dizer aborto."""
        return self.prova(execucao) is not None

    def prova(self, execucao: str) -> str | None:
        """Que arquivo prova que a execução vive; None se este log não a conhece."""
        linha = self.arquivo.banco.execute("SELECT prova FROM execucoes WHERE execucao = ?",
                                           (execucao,)).fetchone()
        return linha and linha[0]

    def execucoes(self) -> list[str]:
        return [nome for nome, in
                self.arquivo.banco.execute("SELECT execucao FROM execucoes ORDER BY execucao")]

    def esquecer(self, execucao: str) -> None:
        """O registro de fim: nada dela está em dúvida, e todo efeito dela está no disco."""
        with self.arquivo.gravacao(forcada=False) as banco:
            banco.execute("DELETE FROM decisoes WHERE execucao = ?", (execucao,))
            banco.execute("DELETE FROM execucoes WHERE execucao = ?", (execucao,))
