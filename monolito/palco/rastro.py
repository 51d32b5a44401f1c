"""O que aconteceu com um pedido, no monolito: o que os bancos dos donos e o log permitem dizer.

Fica ao lado de microsservicos/rastro.py, com o mesmo desenho. Lá, cada serviço guardou os passos;
aqui, um pedido encerrado só deixa o efeito, e um em dúvida, o que cada um prometeu. Só lê: não
roda a recuperação, e não precisa do log (sem ele, diz o que não se pode saber).
"""

from __future__ import annotations

import shlex
import sqlite3
from pathlib import Path
from typing import NamedTuple

from comum.diagrama import Diagrama
from comum.falha import Falha, em_portugues
from comum.leitura import lendo
from comum.loja import id_pelo_comeco
from comum.raias import Raias
from comum.tela import curto, dizer, reais
from decisoes import NOME as LOG
from decisoes import conduzindo
from palco.narracao import EU, LEGENDA, RAIAS

CORES = {"concluido": "verde", "cancelado": "roxo"}
DADOS = Path(__file__).resolve().parents[2] / "dados"


class Preparada(NamedTuple):
    """O que um dono prometeu, e ainda não sabe se faz."""

    raia: str
    transacao: str
    execucao: str


class Historia:
    """Tudo o que os bancos dizem sobre um pedido; donos: os Negocio, na ordem da votação."""

    def __init__(self, bancos: sqlite3.Connection, donos: list, pedido: str):
        self.pedido, self.preparadas, self.fatos, self.notas = pedido, [], [], []
        self.registro = bancos.execute("SELECT cliente, total, estado, motivo FROM pedidos "
                                       "WHERE pedido = ?", (pedido,)).fetchone()
        if self.registro:
            cliente, total, estado, motivo = self.registro
            self.fatos.append(("pedidos.db", f"pedido de {cliente}, {reais(total)}, {estado}"))
            if estado != "pendente":
                self.notas.append(("Pedidos", f"{estado}{f': {motivo}' if motivo else ''}"))
        for dono in donos:
            self._ler(bancos, dono)

    def _ler(self, bancos: sqlite3.Connection, dono) -> None:
        def anotar(texto: str, na_raia: str) -> None:
            self.fatos.append((f"{dono.arquivo}.db", texto))
            self.notas.append((dono.nome, na_raia))

        banco = f"{dono.arquivo}_db"
        for transacao, execucao in bancos.execute(
                f"SELECT transacao, execucao FROM {banco}.preparadas WHERE pedido = ?",
                (self.pedido,)).fetchall():
            travas = ", ".join(linha for linha, in bancos.execute(
                f"SELECT linha FROM {banco}.travas WHERE transacao = ? ORDER BY linha",
                (transacao,)))
            self.preparadas.append(Preparada(dono.nome, transacao, execucao))
            anotar(f"transação {transacao} preparada; trava {travas}", "preparada")
        for decisao, quando in bancos.execute(
                f"SELECT decisao, quando FROM {banco}.heuristicas WHERE pedido = ?",
                (self.pedido,)):
            anotar(f"uma pessoa forçou {decisao} em {quando} (UTC)", f"forçada a {decisao}")
        vale = bancos.execute(dono.vale, (self.pedido,)).fetchone()[0]
        if vale and dono.nome != "Pedidos":  # o dele já foi dito
            anotar(f"vale agora: {vale}", vale)


def perguntar_ao_log(pasta: Path, transacao: str, execucao: str) -> tuple[str, str | None]:
    """(o que o log diz, o que o próximo início fará); None se o log não o deixa fazer nada."""
    if not (pasta / LOG).exists():
        return "não está nesta pasta", None
    try:
        with lendo(pasta, [Path(LOG).stem]) as log:
            conhece = log.execute("SELECT 1 FROM execucoes WHERE execucao = ?",
                                  (execucao,)).fetchone()
            decidiu = log.execute("SELECT 1 FROM decisoes WHERE transacao = ? "
                                  "AND decisao = 'CONFIRMAR'", (transacao,)).fetchone()
    except (Falha, sqlite3.Error) as erro:
        return f"não pôde ser lido: {em_portugues(erro, str(pasta / LOG))}", None
    if not conhece:
        return f"não conhece a execução {execucao}: não é o log desta transação", None
    if decidiu:
        return "tem CONFIRMAR", "confirma em quem falta"
    return "conhece a execução, e não tem decisão: aborto presumido", "aborta em quem preparou"


def mostrar(historia: Historia, pasta: Path, diagrama: Diagrama | None) -> None:
    """As raias, o que cada banco diz, e o resultado ou o que o pedido espera."""
    em_uso = bool(historia.preparadas) and conduzindo(pasta)
    ditos = {} if em_uso else {p.transacao: perguntar_ao_log(pasta, p.transacao, p.execucao)
                               for p in historia.preparadas}
    do_log = [log for log, _ in ditos.values()]
    desenhar(historia, do_log, diagrama)
    for banco, fato in [*historia.fatos, *((LOG, log) for log in do_log)]:
        dizer(f"  {banco:14} {fato}")
    estado, motivo = "pedidos.db não o conhece", None
    if historia.registro:
        estado, motivo = historia.registro[2:]
    dizer(f"  {curto(historia.pedido)}: {estado}{', em dúvida' if ditos else ''}"
          f"{f': {motivo}' if motivo else ''}",
          "vermelho" if ditos else CORES.get(estado, "vermelho"))
    if em_uso:
        dizer("  espera: o programa que conduz pedidos nesta pasta agora; ele o termina")
    for transacao, (_, fara) in ditos.items():
        mostrar_espera(pasta, transacao, fara)


def desenhar(historia: Historia, do_log: list[str], diagrama: Diagrama | None) -> None:
    raias = Raias(RAIAS)
    desenhos = [raias, diagrama] if diagrama else [raias]
    for preparada in historia.preparadas:
        for desenho in desenhos:
            desenho.reter(preparada.raia, historia.pedido)
    dizer(raias.legenda(LEGENDA), "fraco")
    dizer(raias.cabecalho(), "forte")
    for raia, texto in [*historia.notas, *((EU, f"o log {log}") for log in do_log)]:
        dizer(raias.nota(historia.pedido, raia, texto))
        if diagrama:
            diagrama.nota(historia.pedido, raia, texto)
    dizer()


def mostrar_espera(pasta: Path, transacao: str, fara: str | None) -> None:
    outra = "" if pasta.parent.resolve() == DADOS else f" --dados {shlex.quote(str(pasta.parent))}"
    if fara:
        dizer(f"  espera: a recuperação; o próximo início {fara}:")
        dizer(f"      python monolito/app.py --sem-pedido{outra}")
    else:
        dizer("  espera: o log certo; sem ele, todo início a deixa em dúvida, e quem sabe a "
              "resposta pode forçá-la, com confirmar ou com abortar:")
        dizer(f"      python monolito/app.py --forcar {transacao}=confirmar{outra}")


def rastrear(pasta: Path, ditos: list[str], donos: list, arquivo: str | None) -> int:
    """pasta: a dos bancos do monolito, ou a de uma cópia. arquivo: o do diagrama, ou None.

    ditos: ids de pedidos, ou o começo deles. donos: os Negocio. Levanta Falha (código 2) se um id
    não serve, se ninguém o conhece, ou se faltam bancos.
    """
    with lendo(pasta, [dono.arquivo for dono in donos]) as bancos:
        conhecidos = [id for id, in bancos.execute(" UNION ".join(
            ["SELECT pedido FROM pedidos",
             *(f"SELECT pedido FROM {dono.arquivo}_db.preparadas" for dono in donos)]))]
        ids = dict.fromkeys(id_pelo_comeco(dito, conhecidos) for dito in ditos)
        historias = [Historia(bancos, donos, id) for id in ids]
    diagrama = Diagrama(arquivo, RAIAS, len(historias)) if arquivo else None
    for historia in historias:
        if historia is not historias[0]:
            dizer()
        mostrar(historia, pasta, diagrama)
    return 0
