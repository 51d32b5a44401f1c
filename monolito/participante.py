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

import json
import sqlite3
import time
from pathlib import Path
from typing import Callable, NamedTuple

from comum.banco import abrir, conferir_arquivos, transacao
from comum.falha import Falha, em_portugues
from comum.tela import alertar
from decisoes import CONFIRMAR, Decisao

PACIENCIA = 5.0  # segundos de insistência com um banco que não aceita uma decisão
PAUSA = 0.1  # segundos entre uma tentativa e outra
TABELAS = """
CREATE TABLE preparadas (  -- travas: as linhas que ela segura até a decisão, separadas por \\n
    transacao TEXT PRIMARY KEY, execucao TEXT NOT NULL, pedido TEXT NOT NULL,
    travas TEXT NOT NULL, registro TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE no_disco (execucao TEXT NOT NULL) STRICT;  -- uma linha, só para forçar as outras
CREATE TABLE heuristicas (
    transacao TEXT PRIMARY KEY, execucao TEXT NOT NULL, pedido TEXT NOT NULL, decisao TEXT NOT NULL,
    quando TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) STRICT, WITHOUT ROWID
"""
SIM, NAO, TRAVADO = "SIM", "NÃO", "TRAVADO"


class Recusa(Exception):
    """O NÃO de um negócio; o texto é o motivo. Deve vir antes de qualquer escrita."""


class Voto(NamedTuple):
    """O que um participante responde a «preparar».

    SIM      pedido: o que segue adiante (Pedidos lhe dá o preço); linhas: as que travou
    NAO      motivo
    TRAVADO  ainda não é um voto; linhas: só a que está com a transação `com`, do pedido `do_pedido`
    """

    qual: str
    motivo: str | None = None
    pedido: dict | None = None
    linhas: list[str] = []
    com: str | None = None
    do_pedido: str | None = None


class Negocio(NamedTuple):
    """O que um dono de dados diz sobre si; a última coisa do arquivo de cada um.

    nome: a raia na tela. arquivo: o nome do banco, sem .db. tabelas: o SQL do negócio.
    vale: o SQL que diz, em palavras, o efeito que já vale de um pedido (NULL: nenhum).
    travar(pedido): os nomes das linhas que o pedido trava; quem as trava é o Participante.
    preparar(banco, pedido): confere; devolve o pedido que segue adiante, ou levanta Recusa.
    confirmar(banco, pedido): faz o efeito. Nunca recusa: já votou SIM.
    abortar(banco, pedido, motivo): encerra o que preparar escreveu (None: não escreveu nada).
    anotar_recusa(banco, pedido, motivo): anota um pedido que nem chegou a ser preparado aqui.
    """

    nome: str
    arquivo: str
    tabelas: str
    vale: str
    travar: Callable
    preparar: Callable
    confirmar: Callable
    abortar: Callable | None = None
    anotar_recusa: Callable | None = None


class Participante:
    """Um negócio com o seu banco, e o lado dele no protocolo.

    incertas: as execuções em que uma gravação daqui falhou, e o que se contou como NÃO pode ter
    ficado preparado.
    """

    responde = True

    def __init__(self, negocio: Negocio, pasta: Path, loja: str):
        self.negocio, self.nome = negocio, negocio.nome
        self.banco = abrir(pasta / f"{negocio.arquivo}.db", f"{negocio.tabelas};{TABELAS}", loja)
        self.incertas: set[str] = set()

    # --- fase 1 ---

    def preparar(self, transacoes: list) -> list[Voto]:
        """Vota em cada Transacao (coordenador.py), na ordem delas, numa gravação forçada só.

        Ao voltar, todo SIM já está no disco.
        """
        try:
            with transacao(self.banco, forcada=True):
                travadas = self._travadas()
                return [self._votar(t, travadas) for t in transacoes]
        except sqlite3.Error as erro:
            # Conta como NÃO. Se algo ficou gravado, ficou só preparado: o log não terá decisão
            # para isso, e o próximo início o aborta.
            if not self.incertas:  # diz por quê uma vez, e não a cada pedido recusado
                alertar(str(em_portugues(erro, f"{self.negocio.arquivo}.db")))
            self.incertas |= {t.execucao for t in transacoes}
            return [Voto(NAO, f"{self.nome} não conseguiu gravar")] * len(transacoes)

    def _travadas(self) -> dict[str, tuple]:
        """{linha: (a transação que a tem, o pedido dela)}; só as preparadas seguram alguma."""
        return {linha: (com, pedido) for travas, com, pedido in self.banco.execute(
            "SELECT travas, transacao, pedido FROM preparadas") for linha in travas.split("\n")}

    def _votar(self, t, travadas: dict[str, tuple]) -> Voto:
        linhas = self.negocio.travar(t.pedido)
        for linha in linhas:
            if linha in travadas:
                com, do_pedido = travadas[linha]
                return Voto(TRAVADO, linhas=[linha], com=com, do_pedido=do_pedido)
        try:
            pedido = self.negocio.preparar(self.banco, t.pedido)
        except Recusa as recusa:
            return Voto(NAO, str(recusa))
        self.banco.execute("INSERT INTO preparadas VALUES (?, ?, ?, ?, ?)",
                           (t.nome, t.execucao, t.id, "\n".join(linhas), json.dumps(pedido)))
        travadas.update(dict.fromkeys(linhas, (t.nome, t.id)))
        return Voto(SIM, pedido=pedido, linhas=linhas)

    # --- fase 2 ---

    def aplicar(self, decisoes: list[Decisao]) -> None:
        """Faz o que foi decidido. Não força: o log guarda a decisão enquanto for preciso."""
        with transacao(self.banco, forcada=False):
            for decisao in decisoes:
                self._aplicar(decisao)

    def insistir(self, decisoes: list[Decisao], preparadas: list[str]) -> None:
        """Aplica; se falha, de novo e de novo, por PACIENCIA segundos; e então levanta Falha.

        preparadas: as transações que aqui ficam em dúvida até que se consiga.
        """
        prazo = None
        while True:
            try:
                return self.aplicar(decisoes)
            except sqlite3.Error as erro:
                falha = em_portugues(erro, f"{self.negocio.arquivo}.db")
            if prazo is None:
                prazo = time.monotonic() + PACIENCIA
                alertar(f"{falha}; insisto por {PACIENCIA:.0f} s")
            elif time.monotonic() > prazo:
                raise Falha(f"{falha}; " + (
                    f"{', '.join(preparadas)} em dúvida: a recuperação termina no próximo início"
                    if preparadas else
                    "o pedido recusado não foi anotado, e nada mais foi mexido"))
            time.sleep(PAUSA)

    def _aplicar(self, decisao: Decisao) -> None:
        preparada = self.banco.execute("SELECT registro FROM preparadas WHERE transacao = ?",
                                       (decisao.transacao,)).fetchone()
        if preparada is None:  # já aplicada; ou nunca preparada aqui
            if decisao.pedido and self.negocio.anotar_recusa:
                self.negocio.anotar_recusa(self.banco, decisao.pedido, decisao.motivo)
            return
        if decisao.qual == CONFIRMAR:
            self.negocio.confirmar(self.banco, json.loads(preparada[0]))
        elif self.negocio.abortar:
            self.negocio.abortar(self.banco, json.loads(preparada[0]), decisao.motivo)
        self.banco.execute("DELETE FROM preparadas WHERE transacao = ?", (decisao.transacao,))

    def forcar_ao_disco(self, execucao: str) -> None:
        """Uma gravação forçada: leva ao disco o que foi aplicado antes, por quem quer que fosse."""
        with transacao(self.banco, forcada=True):
            self.banco.execute("REPLACE INTO no_disco (rowid, execucao) VALUES (1, ?)", (execucao,))
        conferir_arquivos(self.banco)

    # --- o que está em dúvida ---

    def em_aberto(self) -> set[str]:
        """As execuções que o log ainda não esquece: algo espera, pode esperar, ou foi forçado."""
        return self.incertas | {execucao for execucao, in self.banco.execute(
            "SELECT execucao FROM preparadas UNION SELECT execucao FROM heuristicas")}

    def decidir_sem_log(self, execucao: str, pedido: str, decisao: Decisao) -> None:
        """A decisão heurística de uma pessoa, lembrada para quando o log aparecer."""
        with transacao(self.banco, forcada=True):
            self._aplicar(decisao)
            self.banco.execute("INSERT INTO heuristicas (transacao, execucao, pedido, decisao) "
                               "VALUES (?, ?, ?, ?)",
                               (decisao.transacao, execucao, pedido, decisao.qual))
        conferir_arquivos(self.banco)


class ForaDoAr(Participante):
    """Um participante que não responde, nem ao voto nem ao aviso, como um banco fora do ar."""

    responde = False  # o NÃO que o coordenador conta não veio de ninguém: não é uma seta

    def preparar(self, transacoes: list) -> list[Voto]:
        return [Voto(NAO, f"{self.nome} não responde")] * len(transacoes)

    def aplicar(self, decisoes: list[Decisao]) -> None:
        raise sqlite3.OperationalError(f"{self.nome} não responde")


def em_duvida(participantes: list[Participante]) -> dict[str, tuple]:
    """{transação: (execução, pedido, [participantes que esperam])}."""
    achadas: dict[str, tuple] = {}
    for participante in participantes:
        for nome, execucao, pedido in participante.banco.execute(
                "SELECT transacao, execucao, pedido FROM preparadas ORDER BY transacao"):
            achadas.setdefault(nome, (execucao, pedido, []))[2].append(participante)
    return achadas
