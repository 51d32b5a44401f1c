"""Fidelidade: guarda os pontos de cada cliente, um por real cheio.

Fila:     fidelidade
Ouve:     pagamento.aprovado   -> creditar
          envio.recusado       -> estornar (compensação)
Publica:  pontos.creditados; pontos.estornados
Desfaz:   o crédito, tirando os pontos do pedido do saldo que houver
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # o Python já o faz, menos com PYTHONSAFEPATH

from servico import ouvir

TABELAS = """
CREATE TABLE pontos (
    cliente TEXT PRIMARY KEY, saldo INTEGER NOT NULL CHECK (saldo >= 0)) STRICT, WITHOUT ROWID;
CREATE TABLE creditos (
    pedido TEXT PRIMARY KEY, cliente TEXT NOT NULL, pontos INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE respostas (pedido TEXT PRIMARY KEY, resposta TEXT NOT NULL) STRICT, WITHOUT ROWID
"""
CENTAVOS_POR_PONTO = 100


def creditar(banco, evento):
    """pagamento.aprovado: soma os pontos do pedido ao saldo do cliente."""
    pedido, cliente = evento.pedido, evento.dados["cliente"]
    pontos = evento.dados["total"] // CENTAVOS_POR_PONTO
    if resposta_dada(banco, pedido) == "estornado":
        return []  # a compensação chegou antes: este pedido já acabou
    banco.execute("INSERT INTO pontos VALUES (?, ?) "
                  "ON CONFLICT (cliente) DO UPDATE SET saldo = saldo + excluded.saldo",
                  (cliente, pontos))
    banco.execute("INSERT INTO creditos VALUES (?, ?, ?)", (pedido, cliente, pontos))
    responder(banco, pedido, "creditado")
    return [("pontos.creditados", evento.dados)]


def estornar(banco, evento):
    """envio.recusado: tira os pontos que o pedido deu."""
    banco.execute("UPDATE pontos SET saldo = saldo - c.pontos "
                  "FROM creditos c WHERE c.pedido = ? AND c.cliente = pontos.cliente",
                  (evento.pedido,))
    banco.execute("DELETE FROM creditos WHERE pedido = ?", (evento.pedido,))
    responder(banco, evento.pedido, "estornado")
    return [("pontos.estornados", evento.dados)]


def resposta_dada(banco, pedido):
    """A última resposta deste serviço sobre o pedido: 'creditado', 'estornado' ou None."""
    linha = banco.execute("SELECT resposta FROM respostas WHERE pedido = ?", (pedido,)).fetchone()
    return linha and linha[0]


def responder(banco, pedido, resposta):
    """Lembra a resposta. 'estornado' sem crédito é a lápide que barra uma ação atrasada."""
    banco.execute("INSERT OR REPLACE INTO respostas VALUES (?, ?)", (pedido, resposta))


OUVE = {
    "pagamento.aprovado": creditar,
    "envio.recusado": estornar,
}


if __name__ == "__main__":
    ouvir("fidelidade", TABELAS, OUVE,
          "Serviço de fidelidade: dá pontos, e os tira quando a saga volta atrás.")
