"""O que aconteceu com um pedido, no monolito: o que os bancos dos donos e o log permitem dizer.

Fica ao lado de microsservicos/rastro.py, com o mesmo desenho. Lá, os passos ficaram nas caixas
de entrada; aqui, um pedido encerrado só deixa o efeito, e um em dúvida, o que cada um prometeu.
Só lê: não roda a recuperação, e não precisa do log (sem ele, diz o que não se pode saber).
"""

from __future__ import annotations

import shlex
import sqlite3
from pathlib import Path
from typing import NamedTuple

from comum.diagrama import Diagrama
from comum.falha import Falha, em_portugues
from comum.leitura import lendo
from comum.loja import id_valido
from comum.raias import Raias
from comum.tela import curto, dizer, reais, visivel
from palco.narracao import RAIAS

LOG = "coordenador.db"
CORES = {"concluido": "verde", "cancelado": "roxo"}
DADOS = Path(__file__).resolve().parents[2] / "dados"
DONOS = {"pedidos": "Pedidos", "estoque": "Estoque", "pagamentos": "Pagamentos", "envio": "Envio"}
# O que vale neste instante em cada negócio; NULL se nada.
VALE = {
    "estoque": "SELECT group_concat(quantidade || ' ' || produto, ', ') FROM reservas "
               "WHERE pedido = ?",
    "pagamentos": "SELECT max('cobrado de ' || cliente) FROM cobrancas WHERE pedido = ?",
    "envio": "SELECT max(situacao) FROM envios WHERE pedido = ?",
}


class Preparada(NamedTuple):
    """O que um dono prometeu, e ainda não sabe se faz."""

    dono: str
    transacao: str
    execucao: str
    travas: list[str]


class Historia:
    """Tudo o que os bancos dizem sobre um pedido; bancos: {dono: conexão}."""

    def __init__(self, bancos: dict, pedido: str):
        self.pedido, self.preparadas, self.fatos, self.notas = pedido, [], [], []
        self.registro = bancos["pedidos"].execute(
            "SELECT cliente, total, estado, motivo FROM pedidos_db.pedidos WHERE pedido = ?",
            (pedido,)).fetchone()
        if self.registro:
            cliente, total, estado, _ = self.registro
            self.fatos.append(("pedidos.db", f"pedido de {cliente}, {reais(total)}, {estado}"))
        for dono, banco in bancos.items():
            self._ler(dono, banco)

    def _ler(self, dono: str, banco: sqlite3.Connection) -> None:
        def anotar(texto: str, na_raia: str) -> None:
            self.fatos.append((f"{dono}.db", texto))
            self.notas.append((DONOS[dono], na_raia))

        if dono == "pedidos" and self.registro and self.registro[2] != "pendente":
            _, _, estado, motivo = self.registro
            self.notas.append(("Pedidos", f"{estado}{f': {motivo}' if motivo else ''}"))
        for transacao, execucao in banco.execute(
                f"SELECT transacao, execucao FROM {dono}_db.preparadas WHERE pedido = ?", (self.pedido,)):
            travas = [linha for linha, in banco.execute(
                f"SELECT linha FROM {dono}_db.travas WHERE transacao = ? ORDER BY linha", (transacao,))]
            self.preparadas.append(Preparada(dono, transacao, execucao, travas))
            preparada = f"preparada; trava {', '.join(travas)}"
            anotar(f"transação {transacao} {preparada}", preparada)
        for decisao, quando in banco.execute(
                f"SELECT decisao, quando FROM {dono}_db.heuristicas WHERE pedido = ?", (self.pedido,)):
            anotar(f"uma pessoa forçou {decisao} em {quando} (UTC)", f"forçada a {decisao}")
        vale = dono in VALE and banco.execute(VALE[dono], (self.pedido,)).fetchone()[0]
        if vale:
            anotar(f"vale agora: {vale}", vale)


def perguntar_ao_log(pasta: Path, transacao: str, execucao: str) -> tuple[str, str | None]:
    """(o que o log diz, o que a próxima partida fará); None se o log não a deixa fazer nada."""
    if not (pasta / LOG).exists():
        return "não está nesta pasta", None
    try:
        with lendo(pasta, [Path(LOG).stem]) as bancos:
            log = bancos
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


def mostrar(historia: Historia, pasta: Path, viva, diagrama: Diagrama | None) -> None:
    """As raias, o que cada banco diz, e o resultado ou o que o pedido espera."""
    ditos = {(p.transacao, p.execucao): perguntar_ao_log(pasta, p.transacao, p.execucao)
             for p in historia.preparadas}
    do_log = [log for log, _ in ditos.values()]
    raias = Raias(RAIAS)
    dizer(raias.cabecalho(), "forte")
    for raia, texto in [*historia.notas, *(("Coordenador", f"o log {log}") for log in do_log)]:
        dizer(raias.nota(historia.pedido, raia, texto))
        if diagrama:
            diagrama.nota(historia.pedido, raia, texto)
    dizer()
    for banco, fato in [*historia.fatos, *((LOG, log) for log in do_log)]:
        dizer_em_colunas(f"  {banco:14} ", fato)
    estado, motivo = "pedidos.db não o conhece", None
    if historia.registro:
        estado, motivo = historia.registro[2:]
    dizer_em_colunas(f"  {curto(historia.pedido)}: ",
                     f"{estado}{', em dúvida' if ditos else ''}{f': {motivo}' if motivo else ''}",
                     "vermelho" if ditos else CORES.get(estado, "vermelho"))
    for (transacao, execucao), (_, fara) in ditos.items():
        mostrar_espera(pasta, transacao, execucao, fara, viva)


def mostrar_espera(pasta: Path, transacao: str, execucao: str, fara: str | None, viva) -> None:
    outra = "" if pasta.parent.resolve() == DADOS else f" --dados {shlex.quote(str(pasta.parent))}"
    if ainda_conduz(pasta, execucao, viva):
        texto = f"a execução {execucao}, que está viva e ainda conduz a transação {transacao}"
        comando = None
    elif fara:
        texto = ("a recuperação; a próxima partida, com qualquer pedido e nenhum outro programa "
                 f"no ar, {fara}:")
        comando = f"python monolito/app.py{outra}"
    else:
        texto = ("o log certo; sem ele, toda partida a deixa em dúvida, e quem sabe a resposta "
                 "pode forçá-la, com confirmar ou com abortar:")
        comando = f"python monolito/app.py --forcar {transacao}=confirmar{outra}"
    dizer_em_colunas("  espera: ", texto)
    if comando:
        dizer(f"      {comando}", inteira=True)


def ainda_conduz(pasta: Path, execucao: str, viva) -> bool:
    try:
        return viva(pasta, execucao)
    except Falha:  # uma pasta em que não se pode escrever: é uma cópia
        return False


def dizer_em_colunas(comeco: str, texto: str, cor: str | None = None) -> None:
    dizer(comeco + visivel(texto), cor, recuo=len(comeco))


def rastrear(pasta: Path, ids: list[str], arquivo: str | None, viva) -> int:
    """pasta: a dos bancos do monolito, ou a de uma cópia. arquivo: o do diagrama, ou None.

    viva(pasta, execucao): se ela com certeza ainda trabalha (a de disco/execucao.py).
    Levanta Falha (código 2) se um id não serve, se ninguém o conhece, ou se faltam bancos.
    """
    for id in ids:
        if not id_valido(id):
            raise Falha(f"--rastro: {visivel(id[:64])!r} não é um id de pedido: "
                        "use de 1 a 64 caracteres entre A-Z a-z 0-9 . _ -", 2)
    with lendo(pasta, DONOS) as bancos:
        historias = [Historia(dict.fromkeys(DONOS, bancos), id) for id in dict.fromkeys(ids)]
    for historia in historias:
        if not historia.fatos:
            raise Falha(f"--rastro: nenhum banco de {pasta} conhece o pedido {historia.pedido}", 2)
    diagrama = Diagrama(arquivo, RAIAS, len(historias)) if arquivo else None
    for historia in historias:
        if historia is not historias[0]:
            dizer()
        mostrar(historia, pasta, viva, diagrama)
    return 0
