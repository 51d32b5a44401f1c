"""Antifraude: sabe de quem a loja não aceita pedidos.

Trava:       cliente/NOME, só enquanto lê
Prepara:     conferir: o cliente não está bloqueado; é tudo, e o voto é LEITURA
Confirma:    nada: vai embora depois do voto
Aborta:      nada

Vota por último: quando solta a sua linha, a transação já tem todas as outras (duas fases de travamento).
"""

from participante import Negocio, Recusa

TABELAS = """
CREATE TABLE bloqueados (cliente TEXT PRIMARY KEY) STRICT, WITHOUT ROWID
"""
VALE = "SELECT nullif(?1, ?1)"  # nenhum efeito
CLIENTE_BLOQUEADO = "cliente bloqueado"


def travar(pedido):
    return [f"cliente/{pedido['cliente']}"]


def conferir(banco, pedido):
    """Fase 1: a única."""
    if banco.execute("SELECT 1 FROM bloqueados WHERE cliente = ?", (pedido["cliente"],)).fetchone():
        raise Recusa(CLIENTE_BLOQUEADO)
    return pedido


NEGOCIO = Negocio("Antifraude", "antifraude", TABELAS, VALE, travar, preparar=conferir,
                  confirmar=None)
