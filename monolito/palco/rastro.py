"""O que aconteceu com um pedido, no monolito: o que os bancos dos donos e o log permitem dizer.

Fica ao lado de microsservicos/rastro.py, com o mesmo desenho. Lá, cada serviço guardou os passos;
aqui, um pedido encerrado só deixa o efeito, e um em dúvida, o que cada um prometeu. Só lê: não
roda a recuperação, e não precisa do log (sem ele, diz o que não se pode saber).
"""

import sqlite3
from pathlib import Path
from typing import Iterator

from comum.diagrama import Diagrama
from comum.leitura import lendo
from comum.loja import id_pelo_comeco
from comum.relato import relatar, relatar_espera
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
    em_uso = bool(historia.preparadas) and conduzindo(pasta)
    ditos = {} if em_uso else {transacao: o_que_diz(pasta, transacao, execucao)
                               for _, transacao, execucao in historia.preparadas}
    narrador = Narrador(True, diagrama)
    for raia, _, _ in historia.preparadas:
        narrador.reter(raia, historia.pedido)
    fatos = historia.fatos + [(ARQUIVO, log, COORDENADOR, f"o log {log}")
                              for log, _ in ditos.values()]
    for _, _, raia, nota in fatos:
        narrador.nota(historia.pedido, raia, nota)
    relatar([fato[:2] for fato in fatos], historia.pedido,
            historia.estado + ", em dúvida" * bool(ditos), historia.motivo)
    if em_uso:
        relatar_espera("o programa que conduz pedidos nesta pasta agora; ele o termina", [], pasta)
    for transacao, (_, fara) in ditos.items():
        espera, comando = f"a recuperação; o próximo início {fara}", "--sem-pedido"
        if not fara:
            espera = ("o log certo; sem ele, todo início a deixa em dúvida, e quem sabe a resposta "
                      "pode forçá-la, com confirmar ou com abortar")
            comando = f"--forcar {transacao}=confirmar"
        relatar_espera(espera, [f"monolito/app.py {comando}"], pasta.parent)


def rastrear(pasta: Path, ditos: list[str], donos: list, arquivo: str | None) -> int:
    """pasta: a dos bancos do monolito, ou a de uma cópia. arquivo: o do diagrama, ou None.

    ditos: ids de pedidos, ou o começo deles. donos: os Negocio. Levanta Falha (código 2) se ninguém
    conhece um deles, ou se faltam bancos.
    """
    with lendo(pasta, [dono.arquivo for dono in donos]) as bancos:
        conhecidos = [id for id, in bancos.execute("SELECT pedido FROM pedidos" + "".join(
            f" UNION SELECT pedido FROM {dono.arquivo}_db.preparadas" for dono in donos))]
        ids = dict.fromkeys(id_pelo_comeco(dito, conhecidos) for dito in ditos)
        historias = [Historia(bancos, donos, id) for id in ids]
    diagrama = Diagrama(arquivo, RAIAS, len(historias)) if arquivo else None
    for historia in historias:
        dizer()
        mostrar(historia, pasta, diagrama)
    return 0
