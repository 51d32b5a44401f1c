"""Envio: despacha o que foi vendido.

Trava:       pedido/ID
Prepara:     despachar: confere se a transportadora chega ao CEP; nada sai ainda
Confirma:    anota o despacho
Aborta:      nada a desfazer

Leia lado a lado com microsservicos/servico_envio.py: as mesmas tabelas do negócio, o mesmo verbo.
"""

from comum.loja import CEP_FORA_DA_AREA
from participante import Negocio, Recusa

TABELAS = """
CREATE TABLE envios (
    pedido TEXT PRIMARY KEY, cep TEXT NOT NULL, situacao TEXT NOT NULL) STRICT, WITHOUT ROWID
"""
VALE = "SELECT max(situacao) FROM envios WHERE pedido = ?"
SEM_ENTREGA = "69"  # a transportadora simulada não chega aos CEPs que começam assim


def travar(pedido):
    return [f"pedido/{pedido['pedido']}"]


def despachar(banco, pedido):
    """Fase 1: a transportadora chega ao CEP."""
    if pedido["cep"].startswith(SEM_ENTREGA):
        raise Recusa(CEP_FORA_DA_AREA)
    return pedido


def confirmar(banco, pedido):
    """Fase 2: sai para a entrega."""
    banco.execute("INSERT INTO envios VALUES (?, ?, 'despachado')",
                  (pedido["pedido"], pedido["cep"]))


NEGOCIO = Negocio("Envio", "envio", TABELAS, VALE, travar, preparar=despachar,
                  confirmar=confirmar)
