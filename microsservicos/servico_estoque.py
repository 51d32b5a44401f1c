"""Estoque: guarda o que pode ser vendido.

Fila:     estoque
Ouve:     pedido.criado                             -> reservar
          pagamento.recusado, pagamento.estornado   -> liberar (compensação)
Publica:  estoque.reservado ou estoque.recusado; estoque.liberado
Desfaz:   a reserva, devolvendo as unidades (somadas ao que houver, nunca "como estava antes":
          entre a reserva e a devolução, outros pedidos mexeram no mesmo produto)

Leia lado a lado com monolito/estoque.py: as mesmas tabelas do negócio, o mesmo verbo.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # o Python já o faz, menos com PYTHONSAFEPATH

from comum.loja import ESTOQUE_INSUFICIENTE
from servico import ouvir

TABELAS = """
CREATE TABLE produtos (
    produto TEXT PRIMARY KEY, inicial INTEGER NOT NULL,
    quantidade INTEGER NOT NULL CHECK (quantidade >= 0)) STRICT;
CREATE TABLE reservas (
    pedido TEXT, produto TEXT, quantidade INTEGER NOT NULL,
    PRIMARY KEY (pedido, produto)) STRICT, WITHOUT ROWID;
CREATE TABLE respostas (pedido TEXT PRIMARY KEY, resposta TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO produtos VALUES
    ('livro', 100, 100), ('caneca', 50, 50), ('teclado', 10, 10), ('notebook', 2, 2)
"""


def reservar(banco, evento):
    """pedido.criado: reserva todos os itens, ou nenhum."""
    pedido = evento.pedido
    if resposta_dada(banco, pedido) == "liberado":
        return []  # a compensação chegou antes: este pedido já acabou
    for item in evento.dados["itens"]:
        separadas = banco.execute(
            "UPDATE produtos SET quantidade = quantidade - :quantidade "
            "WHERE produto = :produto AND quantidade >= :quantidade", item).rowcount
        if not separadas:
            devolver(banco, pedido)
            responder(banco, pedido, "recusado")
            return [("estoque.recusado", {"pedido": pedido, "motivo": ESTOQUE_INSUFICIENTE})]
        banco.execute("INSERT INTO reservas VALUES (?, ?, ?)",
                      (pedido, item["produto"], item["quantidade"]))
    responder(banco, pedido, "reservado")
    return [("estoque.reservado", evento.dados)]


def liberar(banco, evento):
    """pagamento.recusado ou pagamento.estornado: devolve o que o pedido reservou."""
    if resposta_dada(banco, evento.pedido) == "recusado":
        return []  # nada foi reservado, e pedidos já sabe disso
    devolver(banco, evento.pedido)
    responder(banco, evento.pedido, "liberado")
    return [("estoque.liberado", evento.dados)]


def devolver(banco, pedido):
    """Apaga as reservas do pedido e soma as unidades ao que pode ser vendido."""
    banco.execute("UPDATE produtos SET quantidade = produtos.quantidade + r.quantidade "
                  "FROM reservas r WHERE r.pedido = ? AND r.produto = produtos.produto", (pedido,))
    banco.execute("DELETE FROM reservas WHERE pedido = ?", (pedido,))


def resposta_dada(banco, pedido):
    """A última resposta deste serviço ao pedido: 'reservado', 'recusado', 'liberado' ou None."""
    linha = banco.execute("SELECT resposta FROM respostas WHERE pedido = ?", (pedido,)).fetchone()
    return linha and linha[0]


def responder(banco, pedido, resposta):
    """Lembra a resposta. 'liberado' sem reserva é a lápide que barra uma ação atrasada."""
    banco.execute("INSERT OR REPLACE INTO respostas VALUES (?, ?)", (pedido, resposta))


OUVE = {
    "pedido.criado": reservar,
    "pagamento.recusado": liberar,
    "pagamento.estornado": liberar,
}


if __name__ == "__main__":
    ouvir("estoque", TABELAS, OUVE,
          "Serviço de estoque: reserva, e libera quando a saga volta atrás.")
