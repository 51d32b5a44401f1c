"""Envio: despacha, e com isso a saga passa do ponto em que ainda se volta atrás (o pivô).

Fila:     envio
Ouve:     pagamento.aprovado               -> despachar
          pedido.cancelamento_solicitado   -> recusar, se ainda não despachou
Publica:  envio.despachado ou envio.recusado
Desfaz:   nada: é o último a agir, e o que foi despachado não volta

Leia lado a lado com monolito/envio.py: as mesmas tabelas do negócio, o mesmo verbo.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # o Python já o faz, menos com PYTHONSAFEPATH

from comum.loja import CEP_FORA_DA_AREA
from servico import ouvir

TABELAS = """
CREATE TABLE envios (
    pedido TEXT PRIMARY KEY, cep TEXT NOT NULL, situacao TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE respostas (pedido TEXT PRIMARY KEY, resposta TEXT NOT NULL) STRICT, WITHOUT ROWID
"""
SEM_ENTREGA = "69"  # a transportadora simulada não chega aos CEPs que começam assim


def despachar(banco, evento):
    """pagamento.aprovado: despacha, se a transportadora chega ao CEP."""
    pedido, cep = evento.pedido, evento.dados["cep"]
    if resposta_dada(banco, pedido) == "recusado":
        return []  # o cancelamento chegou antes: este pedido já acabou
    if cep.startswith(SEM_ENTREGA):
        responder(banco, pedido, "recusado")
        return [("envio.recusado", {"pedido": pedido, "motivo": CEP_FORA_DA_AREA})]
    banco.execute("INSERT INTO envios VALUES (?, ?, 'despachado')", (pedido, cep))
    responder(banco, pedido, "despachado")
    return [("envio.despachado", evento.dados)]


def recusar(banco, evento):
    """pedido.cancelamento_solicitado: recusa o que ainda não saiu; o que saiu, saiu."""
    if resposta_dada(banco, evento.pedido):
        return []
    responder(banco, evento.pedido, "recusado")
    return [("envio.recusado", evento.dados)]


def resposta_dada(banco, pedido):
    """A resposta deste serviço sobre o pedido: 'despachado', 'recusado' ou None."""
    linha = banco.execute("SELECT resposta FROM respostas WHERE pedido = ?", (pedido,)).fetchone()
    return linha and linha[0]


def responder(banco, pedido, resposta):
    """Lembra a resposta. 'recusado' antes da hora é a lápide que barra um despacho atrasado."""
    banco.execute("INSERT OR REPLACE INTO respostas VALUES (?, ?)", (pedido, resposta))


OUVE = {
    "pagamento.aprovado": despachar,
    "pedido.cancelamento_solicitado": recusar,
}


if __name__ == "__main__":
    ouvir("envio", TABELAS, OUVE,
          "Serviço de envio: despacha, ou recusa antes de despachar.")
