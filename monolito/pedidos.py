"""Pedidos: recebe o pedido, dá o preço e guarda como ele terminou.

Trava:       pedido/ID
Prepara:     receber: dá o preço e abre o pedido, pendente
Confirma:    o pedido fica concluido
Aborta:      o pedido fica cancelado, com o motivo

Leia lado a lado com microsservicos/servico_pedidos.py: as mesmas tabelas do negócio, o mesmo verbo.
"""

from comum.loja import PRODUTO_DESCONHECIDO, de_outro_conteudo
from participante import Negocio, Recusa

TABELAS = """
CREATE TABLE pedidos (
    pedido TEXT PRIMARY KEY, cliente TEXT NOT NULL, total INTEGER NOT NULL CHECK (total >= 0),
    estado TEXT NOT NULL CHECK (estado IN ('pendente', 'concluido', 'cancelado')),
    motivo TEXT) STRICT;
CREATE TABLE itens (
    pedido TEXT, produto TEXT, quantidade INTEGER NOT NULL,
    PRIMARY KEY (pedido, produto)) STRICT, WITHOUT ROWID;
CREATE TABLE enderecos (pedido TEXT PRIMARY KEY, cep TEXT NOT NULL) STRICT, WITHOUT ROWID
"""
VALE = "SELECT max(estado) FROM pedidos WHERE pedido = ? AND estado = 'concluido'"
PRECOS = {"livro": 5000, "caneca": 2500, "teclado": 20000, "notebook": 450000}  # centavos


def travar(pedido):
    return [f"pedido/{pedido['pedido']}"]


def receber(banco, pedido):
    """Fase 1: um pedido novo ganha preço e fica pendente. Um id que já existe não muda nada."""
    if existe(banco, pedido):
        raise Recusa("este pedido já existe")
    total = preco(pedido)
    if total is None:
        raise Recusa(PRODUTO_DESCONHECIDO)
    gravar(banco, pedido, total, "pendente", None)
    return {**pedido, "total": total}


def concluir(banco, pedido):
    """Fase 2: o pedido deu certo."""
    banco.execute("UPDATE pedidos SET estado = 'concluido' WHERE pedido = ?", (pedido["pedido"],))


def cancelar(banco, pedido, motivo):
    """Fase 2 de um ABORTAR, seja de quem for, depois do SIM daqui."""
    banco.execute("UPDATE pedidos SET estado = 'cancelado', motivo = ? WHERE pedido = ?",
                  (motivo, pedido["pedido"]))


def anotar_recusa(banco, pedido, motivo):
    """Fase 2 de um pedido que não foi preparado aqui: guarda que existiu, e o motivo da recusa."""
    if not existe(banco, pedido):
        gravar(banco, pedido, preco(pedido) or 0, "cancelado", motivo)


def gravar(banco, pedido, total, estado, motivo):
    banco.execute("INSERT INTO pedidos VALUES (?, ?, ?, ?, ?)",
                  (pedido["pedido"], pedido["cliente"], total, estado, motivo))
    banco.executemany("INSERT INTO itens VALUES (?, ?, ?)",
                      [(pedido["pedido"], item["produto"], item["quantidade"])
                       for item in pedido["itens"]])
    banco.execute("INSERT INTO enderecos VALUES (?, ?)", (pedido["pedido"], pedido["cep"]))


def separar(banco, chegados):
    """Os pedidos novos, na ordem; os ids que já existiam; e os que existem com outro conteúdo."""
    novos, iguais, outros = {}, [], set(de_outro_conteudo(banco, chegados))
    for pedido in chegados:
        if pedido["pedido"] in novos or existe(banco, pedido):
            iguais.append(pedido["pedido"])
        else:
            novos[pedido["pedido"]] = pedido
    return [*novos.values()], [id for id in iguais if id not in outros], sorted(outros)


def existe(banco, pedido):
    return banco.execute("SELECT 1 FROM pedidos WHERE pedido = :pedido", pedido).fetchone()


def preco(pedido):
    """O total em centavos, ou None se algum produto não está à venda."""
    if not all(item["produto"] in PRECOS for item in pedido["itens"]):
        return None
    return sum(PRECOS[item["produto"]] * item["quantidade"] for item in pedido["itens"])


NEGOCIO = Negocio("Pedidos", "pedidos", TABELAS, VALE, travar, preparar=receber,
                  confirmar=concluir, abortar=cancelar, anotar_recusa=anotar_recusa)
