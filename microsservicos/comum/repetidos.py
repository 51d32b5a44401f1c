"""O mesmo id outra vez: o mesmo pedido, e nada se faz de novo; ou outro, que não é atendido."""

import sqlite3

from comum.loja import conteudo
from comum.tela import dizer

POUCOS = 4  # até tantos pedidos, uma linha para cada um


def de_outro_conteudo(banco: sqlite3.Connection, pedidos: list[dict]) -> list[str]:
    """Os ids destes pedidos que no banco já são de um pedido com outro cliente, itens ou CEP.

    banco: com as tabelas pedidos, itens e enderecos. pedidos: já validados.
    """
    outros = []
    for pedido in pedidos:
        cliente_e_cep = banco.execute("SELECT cliente, cep FROM pedidos JOIN enderecos "
                                      "USING (pedido) WHERE pedido = :pedido", pedido).fetchone()
        itens = banco.execute("SELECT produto, quantidade FROM itens WHERE pedido = :pedido "
                              "ORDER BY produto", pedido)
        if cliente_e_cep and (*cliente_e_cep, *itens) != conteudo(pedido):
            outros.append(pedido["pedido"])
    return outros


def dizer_repetidos(iguais: list[str], outros: list[str], margem: str = "") -> None:
    """Uma linha para cada um, se são poucos; se são muitos, quantos. margem: antes da linha."""
    for ids, um, muitos in (
            (iguais, "já existia: nada foi feito de novo", "já existiam: nada foi feito de novo"),
            (outros, "já existe com outro conteúdo: este não foi atendido",
             "já existem com outro conteúdo: estes não foram atendidos")):
        muitos = [f"{len(ids)} pedidos {muitos}"] if len(ids) > POUCOS else []
        for linha in muitos or [f"{id} {um}" for id in ids]:
            dizer(margem + linha)
