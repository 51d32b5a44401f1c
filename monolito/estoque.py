"""Estoque: guarda o que pode ser vendido.

Trava:       produto/NOME, cada produto do pedido
Prepara:     reservar: confere se há tudo; nada sai da prateleira ainda
Confirma:    tira as unidades e anota a reserva
Aborta:      nada a desfazer

Leia lado a lado com microsservicos/servico_estoque.py: as mesmas tabelas do negócio, o mesmo verbo.
"""

from comum.loja import ESTOQUE_INSUFICIENTE
from participante import Negocio, Recusa

TABELAS = """
CREATE TABLE produtos (
    produto TEXT PRIMARY KEY, inicial INTEGER NOT NULL,
    quantidade INTEGER NOT NULL CHECK (quantidade >= 0)) STRICT;
CREATE TABLE reservas (
    pedido TEXT, produto TEXT, quantidade INTEGER NOT NULL,
    PRIMARY KEY (pedido, produto)) STRICT, WITHOUT ROWID;
INSERT INTO produtos VALUES
    ('livro', 100, 100), ('caneca', 50, 50), ('teclado', 10, 10), ('notebook', 2, 2)
"""
VALE = "SELECT group_concat(quantidade || ' ' || produto, ', ') FROM reservas WHERE pedido = ?"


def travar(pedido):
    return [f"produto/{item['produto']}" for item in pedido["itens"]]


def reservar(banco, pedido):
    """Fase 1: há todos os itens, ou nenhum serve."""
    for item in pedido["itens"]:
        if not banco.execute("SELECT 1 FROM produtos WHERE produto = :produto "
                             "AND quantidade >= :quantidade", item).fetchone():
            raise Recusa(ESTOQUE_INSUFICIENTE)
    return pedido


def confirmar(banco, pedido):
    """Fase 2: a trava garantiu que ninguém mexeu no produto desde o voto."""
    for item in pedido["itens"]:
        banco.execute("UPDATE produtos SET quantidade = quantidade - :quantidade "
                      "WHERE produto = :produto", item)
        banco.execute("INSERT INTO reservas VALUES (?, ?, ?)",
                      (pedido["pedido"], item["produto"], item["quantidade"]))


NEGOCIO = Negocio("Estoque", "estoque", TABELAS, VALE, travar, preparar=reservar,
                  confirmar=confirmar)
