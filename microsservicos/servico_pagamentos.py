"""Pagamentos: guarda o saldo de cada cliente.

Fila:     pagamentos
Ouve:     estoque.reservado   -> cobrar
          envio.recusado      -> estornar (compensação)
Publica:  pagamento.aprovado ou pagamento.recusado; pagamento.estornado
Desfaz:   a cobrança, somando o valor de volta ao saldo

Leia lado a lado com monolito/pagamentos.py: as mesmas tabelas do negócio, o mesmo verbo.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # o Python já o faz, menos com PYTHONSAFEPATH

from comum.loja import CLIENTE_DESCONHECIDO, SALDO_INSUFICIENTE
from servico import ouvir

TABELAS = """
CREATE TABLE clientes (
    cliente TEXT PRIMARY KEY, inicial INTEGER NOT NULL,
    saldo INTEGER NOT NULL CHECK (saldo >= 0)) STRICT;
CREATE TABLE cobrancas (
    pedido TEXT PRIMARY KEY, cliente TEXT NOT NULL, total INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE respostas (pedido TEXT PRIMARY KEY, resposta TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO clientes VALUES
    ('ana', 1000000, 1000000), ('bruno', 10000, 10000), ('carla', 100000, 100000)
"""


def cobrar(banco, evento):
    """estoque.reservado: tira o total do saldo, se houver saldo."""
    pedido, cliente, total = evento.pedido, evento.dados["cliente"], evento.dados["total"]
    if resposta_dada(banco, pedido) == "estornado":
        return []  # a compensação chegou antes: este pedido já acabou
    cobrado = banco.execute(
        "UPDATE clientes SET saldo = saldo - :total "
        "WHERE cliente = :cliente AND saldo >= :total",
        {"cliente": cliente, "total": total}).rowcount
    if not cobrado:
        conhecido = banco.execute("SELECT 1 FROM clientes WHERE cliente = ?", (cliente,)).fetchone()
        motivo = SALDO_INSUFICIENTE if conhecido else CLIENTE_DESCONHECIDO
        responder(banco, pedido, "recusado")
        return [("pagamento.recusado", {"pedido": pedido, "motivo": motivo})]
    banco.execute("INSERT INTO cobrancas VALUES (?, ?, ?)", (pedido, cliente, total))
    responder(banco, pedido, "aprovado")
    return [("pagamento.aprovado", evento.dados)]


def estornar(banco, evento):
    """envio.recusado: devolve o que o pedido pagou."""
    if resposta_dada(banco, evento.pedido) == "recusado":
        return []  # nada foi cobrado, e o estoque já está compensando
    devolver(banco, evento.pedido)
    responder(banco, evento.pedido, "estornado")
    return [("pagamento.estornado", evento.dados)]


def devolver(banco, pedido):
    """Apaga a cobrança do pedido e soma o valor ao saldo do cliente."""
    banco.execute("UPDATE clientes SET saldo = saldo + b.total "
                  "FROM cobrancas b WHERE b.pedido = ? AND b.cliente = clientes.cliente", (pedido,))
    banco.execute("DELETE FROM cobrancas WHERE pedido = ?", (pedido,))


def resposta_dada(banco, pedido):
    """A última resposta deste serviço ao pedido: 'aprovado', 'recusado', 'estornado' ou None."""
    linha = banco.execute("SELECT resposta FROM respostas WHERE pedido = ?", (pedido,)).fetchone()
    return linha and linha[0]


def responder(banco, pedido, resposta):
    """Lembra a resposta. 'estornado' sem cobrança é a lápide que barra uma ação atrasada."""
    banco.execute("INSERT OR REPLACE INTO respostas VALUES (?, ?)", (pedido, resposta))


OUVE = {
    "estoque.reservado": cobrar,
    "envio.recusado": estornar,
}


if __name__ == "__main__":
    ouvir("pagamentos", TABELAS, OUVE,
          "Serviço de pagamentos: cobra, e estorna quando a saga volta atrás.")
