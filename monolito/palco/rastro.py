"""O que aconteceu com um pedido, no monolito: o que os bancos dos donos e o log permitem dizer.

Fica ao lado de microsservicos/rastro.py, com o mesmo desenho. Lá, cada serviço guardou os passos;
aqui, um pedido encerrado só deixa o efeito, e um em dúvida, o que cada um prometeu. Só lê: não
roda a recuperação, e não precisa do log (sem ele, diz o que não se pode saber). --em-duvida é o
rastro de todos os que esperam uma decisão.
"""

import sqlite3
from pathlib import Path
from typing import Iterator

from comum.banco import lendo
from comum.loja import id_pelo_comeco
from comum.raias import Diagrama, relatar, relatar_espera
from comum.tela import dizer, reais
from decisoes import ARQUIVO, conduzindo, o_que_diz
from palco.narracao import COORDENADOR, RAIAS, Narrador


class Historia:
    """O que os bancos dizem de um pedido; donos: os Negocio, na ordem da votação.

    fatos: [(banco, o que ele diz, raia, o mesmo em poucas palavras)].
    preparadas: [(raia, transação, execução)], de quem prometeu e ainda não sabe se faz.
    """

    def __init__(self, bancos: sqlite3.Connection, donos: list, pedido: str):
        self.pedido, self.fatos, self.preparadas = pedido, [], []
        self.estado, self.motivo = "pedidos.db não o conhece", None
        for cliente, total, self.estado, self.motivo in bancos.execute(
                "SELECT cliente, total, estado, motivo FROM pedidos WHERE pedido = ?", (pedido,)):
            nota = f"{self.estado}: {self.motivo}" if self.motivo else self.estado
            self.fatos.append(("pedidos.db", f"pedido de {cliente}, {reais(total)}, {self.estado}",
                               "Pedidos", nota))
        for dono in donos:
            self.fatos += [(f"{dono.arquivo}.db", texto, dono.nome, nota)
                           for texto, nota in self._ler(bancos, dono, f"{dono.arquivo}_db")]

    def _ler(self, bancos: sqlite3.Connection, dono, banco: str) -> Iterator[tuple[str, str]]:
        for transacao, execucao, travas in bancos.execute(
                "SELECT transacao, execucao, replace(travas, char(10), ', ') "
                f"FROM {banco}.preparadas WHERE pedido = ?", (self.pedido,)):
            self.preparadas.append((dono.nome, transacao, execucao))
            yield f"transação {transacao} preparada; trava {travas}", "preparada"
        for decisao, quando in bancos.execute(
                f"SELECT decisao, quando FROM {banco}.heuristicas WHERE pedido = ?",
                (self.pedido,)):
            yield f"uma pessoa forçou {decisao} em {quando} (UTC)", f"forçada a {decisao}"
        vale = bancos.execute(dono.vale, (self.pedido,)).fetchone()[0]
        if vale and dono.nome != "Pedidos":  # o dele já foi dito
            yield f"vale agora: {vale}", vale


def mostrar(historia: Historia, pasta: Path, diagrama: Diagrama | None) -> None:
    """As raias, o que cada banco diz, e o resultado ou o que o pedido espera."""
    narrador, estado, espera, comandos = Narrador(True, diagrama), historia.estado, None, []
    for raia, transacao, execucao in historia.preparadas:
        narrador.reter(raia, historia.pedido)
    if historia.preparadas and conduzindo(pasta):
        espera = "o programa que conduz pedidos nesta pasta agora; ele o termina"
    elif historia.preparadas:  # em todos, a mesma transação
        log, fara = o_que_diz(pasta, transacao, execucao)
        historia.fatos.append((ARQUIVO, log, COORDENADOR, f"o log {log}"))
        estado = f"{historia.estado}, em dúvida"
        espera, opcao = f"a recuperação; o próximo início {fara}", "--sem-pedido"
        if not fara:
            espera = ("o log certo; sem ele, todo início a deixa em dúvida, e quem sabe a resposta "
                      "pode forçá-la, com confirmar ou com abortar")
            opcao = f"--forcar {transacao}=confirmar"
        comandos = [f"monolito/app.py {opcao}"]
    for _, _, raia, nota in historia.fatos:
        narrador.nota(historia.pedido, raia, nota)
    relatar([fato[:2] for fato in historia.fatos], historia.pedido, estado, historia.motivo)
    if espera:
        relatar_espera(espera, comandos, pasta.parent)


def rastrear(pasta: Path, ditos: list[str] | None, donos: list, arquivo: str | None) -> None:
    """pasta: a dos bancos do monolito, ou a de uma cópia. arquivo: o do diagrama, ou None.

    ditos: ids de pedidos, ou o começo deles; None: todos os que esperam uma decisão. donos: os
    Negocio. Levanta Falha (código 2) se ninguém conhece um deles, ou se faltam bancos.
    """
    if not (ditos or any(pasta.glob("*.db"))):
        return dizer("em dúvida: 0")  # nada rodou nesta pasta
    esperam = " UNION ".join(f"SELECT pedido FROM {dono.arquivo}_db.preparadas" for dono in donos)
    with lendo(pasta, [dono.arquivo for dono in donos]) as bancos:
        ids = [id for id, in bancos.execute(esperam)]
        if ditos:
            conhecidos = {*ids, *(id for id, in bancos.execute("SELECT pedido FROM pedidos"))}
            ids = dict.fromkeys(id_pelo_comeco(dito, conhecidos) for dito in ditos)
        else:
            dizer("um programa conduz pedidos nesta pasta agora, e termina o que está preparado"
                  if conduzindo(pasta) else f"em dúvida: {len(ids)}")
        historias = [Historia(bancos, donos, id) for id in ids]
    diagrama = Diagrama(arquivo, RAIAS, len(historias)) if arquivo else None
    for historia in historias:
        dizer()
        mostrar(historia, pasta, diagrama)
