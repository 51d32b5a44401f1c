"""O que todo participante faz: preparar, travar, confirmar, abortar.

  preparar    confere, grava o que vai fazer e as travas (uma gravação forçada), e só então vota SIM
  confirmar   faz o que o registro preparado diz e solta as travas (gravação não forçada)
  abortar     esquece o registro e solta as travas; o efeito nunca chegou a existir

Entre o voto SIM e o aviso do coordenador, o participante está em dúvida: não pode
mais desistir, e não sabe se confirma. É o preço da 2PC.

Confirmar e abortar valem uma vez só: sem registro preparado não há o que fazer, e por
isso um aviso repetido não muda nada. Cada negócio diz o que confere, trava e grava;
este arquivo não sabe o que é um produto, um cliente ou um CEP.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Callable, NamedTuple

from disco.arquivo import Arquivo
from disco.execucao import viva

TABELAS = """
CREATE TABLE preparadas (
    transacao TEXT PRIMARY KEY, execucao TEXT NOT NULL, pedido TEXT NOT NULL,
    registro TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE travas (linha TEXT PRIMARY KEY, transacao TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE heuristicas (
    transacao TEXT PRIMARY KEY, execucao TEXT NOT NULL, pedido TEXT NOT NULL, decisao TEXT NOT NULL,
    quando TEXT DEFAULT CURRENT_TIMESTAMP, log_dizia TEXT,
    reconhecida INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID
"""
em_json = json.JSONEncoder(ensure_ascii=False).encode


class Recusa(Exception):
    """O voto NÃO de um negócio; o texto é o motivo. Deve vir antes de qualquer escrita."""


class Travada(Exception):
    """Ainda não é um voto: a linha está com outra transação, a dona da trava."""

    def __init__(self, linha: str, dona: str):
        super().__init__(linha, dona)
        self.linha, self.o_que, self.dona = linha, linha.split("/", 1)[1], dona


class SemResposta(Recusa):
    """Ninguém votou: o participante não respondeu, e o coordenador conta isso como um NÃO."""


class Negocio(NamedTuple):
    """O que um dono de dados diz sobre si; a última coisa do arquivo de cada um.

    nome: a raia na tela. arquivo: o banco. tabelas: o SQL do negócio.
    travar(pedido): os nomes das linhas de que o pedido precisa só para ele.
    preparar(banco, pedido): confere; devolve o pedido que segue adiante, ou levanta Recusa.
    confirmar(banco, pedido): faz o efeito. Nunca recusa: já votou SIM.
    abortar(banco, pedido, motivo): desfaz o que preparar escreveu (None: não escreveu nada).
    recusado(banco, pedido, motivo): anota um pedido que nem chegou a ser preparado aqui.
    """

    nome: str
    arquivo: str
    tabelas: str
    travar: Callable
    preparar: Callable
    confirmar: Callable
    abortar: Callable | None = None
    recusado: Callable | None = None


class Duvida(NamedTuple):
    """Um registro preparado que espera uma decisão."""

    transacao: str
    execucao: str
    pedido: str


class Participante:
    """Um negócio com o seu banco, e o lado dele no protocolo."""

    def __init__(self, negocio: Negocio, pasta: Path):
        self.negocio, self.nome = negocio, negocio.nome
        self.arquivo = Arquivo(pasta / f"{negocio.arquivo}.db", negocio.tabelas + ";" + TABELAS)

    # --- fase 1 ---

    def preparar(self, transacoes: list) -> dict:
        """Vota em cada transação do lote, numa gravação forçada só.

        Devolve {nome da transação: o pedido que segue (SIM), Recusa (NÃO) ou Travada}.
        Ao voltar, todo SIM já está no disco. Levanta Falha se não se sabe se está.
        """
        try:
            with self.arquivo.gravacao(forcada=True) as banco:
                return {t.nome: self._votar(banco, t) for t in transacoes}
        except sqlite3.Error as erro:
            # Quem não conseguiu gravar não prometeu nada.
            self.arquivo.queixar(erro)
            return {t.nome: Recusa(f"{self.nome} não conseguiu gravar") for t in transacoes}

    def _votar(self, banco, transacao):
        antes = banco.total_changes
        try:
            linhas = self.negocio.travar(transacao.pedido)
            self._conferir_travas(banco, linhas)
            pedido = self.negocio.preparar(banco, transacao.pedido)
        except (Recusa, Travada) as voto:
            # Um NÃO não deixa rastro: quem recusa ainda não escreveu nada.
            assert banco.total_changes == antes, f"{self.nome} escreveu antes de recusar"
            return voto
        banco.executemany("INSERT INTO travas VALUES (?, ?)",
                          [(linha, transacao.nome) for linha in linhas])
        banco.execute("INSERT INTO preparadas VALUES (?, ?, ?, ?)",
                      (transacao.nome, transacao.execucao, pedido["pedido"], em_json(pedido)))
        return pedido

    @staticmethod
    def _conferir_travas(banco, linhas: list) -> None:
        for linha in linhas:
            dona = banco.execute("SELECT transacao FROM travas WHERE linha = ?",
                                 (linha,)).fetchone()
            if dona:
                raise Travada(linha, dona[0])

    def recusa_da_trava(self, trava: Travada) -> Recusa:
        """O NÃO de quem já esperou demais; a dona que não está viva está em dúvida."""
        execucao = trava.dona.rsplit("-", 1)[0]
        duvida = "" if viva(self.arquivo.caminho.parent, execucao) else " em dúvida"
        return Recusa(f"{trava.o_que} travado pela transação {trava.dona}{duvida}")

    def promessas_no_lugar(self) -> bool:
        """Se o arquivo em que os SIM foram gravados ainda é o que está na pasta."""
        try:
            self.arquivo.conferir()
            return True
        except sqlite3.Error as erro:
            self.arquivo.queixar(erro)
            return False

    # --- fase 2 ---

    def encerrar(self, decididas: list) -> None:
        """Aplica a decisão de cada transação. Não força: o log a guarda enquanto for preciso.

        decididas: [(nome da transação, pedido, motivo)]; motivo None é confirmar.
        """
        with self.arquivo.gravacao(forcada=False) as banco:
            for transacao, pedido, motivo in decididas:
                if motivo is None:
                    self.confirmar(banco, transacao)
                else:
                    self.abortar(banco, transacao, pedido, motivo)

    def confirmar(self, banco, transacao: str) -> None:
        registro = self._registro(banco, transacao)
        if registro is not None:
            self.negocio.confirmar(banco, registro)
            self._esquecer(banco, transacao, registro)

    def abortar(self, banco, transacao: str, pedido: dict | None, motivo: str) -> None:
        """pedido: o original, que só interessa a quem anota os que não preparou."""
        registro = self._registro(banco, transacao)
        if registro is not None:
            if self.negocio.abortar:
                self.negocio.abortar(banco, registro, motivo)
            self._esquecer(banco, transacao, registro)
        elif pedido and self.negocio.recusado:
            self.negocio.recusado(banco, pedido, motivo)

    @staticmethod
    def _registro(banco, transacao: str) -> dict | None:
        linha = banco.execute("SELECT registro FROM preparadas WHERE transacao = ?",
                              (transacao,)).fetchone()
        return linha and json.loads(linha[0])

    def _esquecer(self, banco, transacao: str, registro: dict) -> None:
        banco.executemany("DELETE FROM travas WHERE linha = ? AND transacao = ?",
                          [(linha, transacao) for linha in self.negocio.travar(registro)])
        banco.execute("DELETE FROM preparadas WHERE transacao = ?", (transacao,))

    # --- o que está em dúvida ---

    def em_duvida(self) -> list[Duvida]:
        return [Duvida(*linha) for linha in self.arquivo.banco.execute(
            "SELECT transacao, execucao, pedido FROM preparadas ORDER BY transacao")]

    def travas(self, transacao: str) -> list[str]:
        return [linha for linha, in self.arquivo.banco.execute(
            "SELECT linha FROM travas WHERE transacao = ? ORDER BY linha", (transacao,))]

    def forcar(self, duvida: Duvida, decisao: str, motivo: str | None) -> None:
        """A decisão heurística de uma pessoa, lembrada para quando o log aparecer."""
        with self.arquivo.gravacao(forcada=True) as banco:
            if motivo is None:
                self.confirmar(banco, duvida.transacao)
            else:
                self.abortar(banco, duvida.transacao, None, motivo)
            banco.execute("INSERT INTO heuristicas (transacao, execucao, pedido, decisao) "
                          "VALUES (?, ?, ?, ?)", (*duvida, decisao))


class ForaDoAr(Participante):
    """Um participante com quem não se fala, como se o banco dele estivesse fora do ar."""

    def preparar(self, transacoes: list) -> dict:
        return {t.nome: SemResposta(f"{self.nome} não responde") for t in transacoes}

    def encerrar(self, decididas: list) -> None:
        raise sqlite3.OperationalError(f"{self.nome} não responde")
