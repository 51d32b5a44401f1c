"""Pagamentos: guarda o saldo de cada cliente.

Trava:       cliente/NOME
Prepara:     cobrar: confere o saldo; nada sai dele ainda
Confirma:    tira o total do saldo e anota a cobrança
Aborta:      nada a desfazer

Leia lado a lado com microsservicos/servico_pagamentos.py: as mesmas tabelas do
negócio, o mesmo verbo.
"""

from comum.loja import CLIENTE_DESCONHECIDO, SALDO_INSUFICIENTE
from participante import Negocio, Recusa

TABELAS = """
CREATE TABLE clientes (
    cliente TEXT PRIMARY KEY, inicial INTEGER NOT NULL,
    saldo INTEGER NOT NULL CHECK (saldo >= 0)) STRICT;
CREATE TABLE cobrancas (
    pedido TEXT PRIMARY KEY, cliente TEXT NOT NULL,
    total INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO clientes VALUES
    ('ana', 1000000, 1000000), ('bruno', 10000, 10000), ('carla', 100000, 100000)
"""
VALE = "SELECT max('cobrado de ' || cliente) FROM cobrancas WHERE pedido = ?"


def travar(pedido):
    return [f"cliente/{pedido['cliente']}"]


def cobrar(banco, pedido):
    """Fase 1: o cliente existe e o saldo dá para o total."""
    saldo = banco.execute("SELECT saldo FROM clientes WHERE cliente = ?",
                          (pedido["cliente"],)).fetchone()
    if saldo is None:
        raise Recusa(CLIENTE_DESCONHECIDO)
    if saldo[0] < pedido["total"]:
        raise Recusa(SALDO_INSUFICIENTE)
    return pedido


def confirmar(banco, pedido):
    """Fase 2: a trava garantiu que ninguém mexeu no saldo desde o voto."""
    banco.execute("UPDATE clientes SET saldo = saldo - :total WHERE cliente = :cliente",
                  {"total": pedido["total"], "cliente": pedido["cliente"]})
    banco.execute("INSERT INTO cobrancas VALUES (?, ?, ?)",
                  (pedido["pedido"], pedido["cliente"], pedido["total"]))


NEGOCIO = Negocio("Pagamentos", "pagamentos", TABELAS, VALE, travar, preparar=cobrar,
                  confirmar=confirmar)
