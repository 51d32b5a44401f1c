"""Cada função de negócio sozinha, num banco em memória: sem fila, sem relógio, sem processo.

É o que se ganha por uma função receber o banco e o evento e devolver eventos: toda ordem
de chegada, por estranha que seja, cabe em poucas linhas.
"""

from __future__ import annotations

import itertools
import sqlite3

import pytest

from verbos import INICIAL, M, MODULOS, SERVICOS, banco_em_memoria, pedido, total

Evento = M.coreografia.Evento


class Caso:
    """Um serviço e o seu banco; `ouvir` chama a função do evento, como a coreografia manda."""

    def __init__(self, nome: str):
        self.nome, self.banco, self.ouve = nome, banco_em_memoria(nome), MODULOS[nome].OUVE

    def ouvir(self, tipo: str, dados: dict) -> list[tuple]:
        return self.ouve[tipo](self.banco, Evento(tipo, dados["pedido"], dados))

    def linhas(self, sql: str) -> list:
        return self.banco.execute(sql).fetchall()


def com_total(*args, **mais) -> dict:
    dados = pedido(*args, **mais)
    return {**dados, "total": total(dados)}


def volta(id: str, motivo: str = "por algum motivo") -> dict:
    return {"pedido": id, "motivo": motivo}


# --- a coreografia é a do contrato ---

CONTRATO = {  # evento: (quem publica, quem ouve), copiado do contrato e não do programa
    "pedido.criado": ("pedidos", ("estoque",)), "estoque.reservado": ("estoque", ("pagamentos",)),
    "estoque.recusado": ("estoque", ("pedidos",)), "pagamento.aprovado": ("pagamentos", ("envio",)),
    "pagamento.recusado": ("pagamentos", ("estoque",)), "envio.despachado": ("envio", ("pedidos",)),
    "envio.recusado": ("envio", ("pagamentos",)), "pagamento.estornado": ("pagamentos", ("estoque",)),
    "estoque.liberado": ("estoque", ("pedidos",)), "pedido.concluido": ("pedidos", ()),
    "pedido.cancelado": ("pedidos", ()), "pedido.cancelamento_solicitado": ("pedidos", ("envio",)),
}


def test_quem_publica_e_quem_ouve_e_o_que_o_contrato_diz():
    assert {tipo: (de, para) for tipo, (de, para, _) in M.coreografia.EVENTOS.items()} == CONTRATO


@pytest.mark.parametrize("nome", SERVICOS)
def test_nenhum_servico_publica_evento_alheio(nome):
    banco = banco_em_memoria(nome)
    for tipo, (dono, _) in CONTRATO.items():
        if dono != nome:
            with pytest.raises(ValueError):
                M.caixas.guardar(banco, nome, [(tipo, volta("p-1"))])
    assert banco.execute("SELECT count(*) FROM caixa_saida WHERE enviado = 0").fetchone() == (0,)


# --- o que cada evento faz: o que se publica, e como ficam as tabelas ---

# O que também se vê de fora (o preço, a última unidade, o último centavo) está em test_contrato.py.
UM, DOIS = com_total("p-1"), com_total("p-2", "ana", "livro", 7)  # dois livros, sete livros
VARIOS = [("livro", 10), ("caneca", 50), ("notebook", 3)]  # só falta notebook
REPOSTO = "UPDATE produtos SET inicial = inicial + 5, quantidade = quantidade + 5 WHERE produto = 'livro'"
QUANTIDADES, RESERVAS = "SELECT produto, quantidade FROM produtos", "SELECT * FROM reservas"
SALDOS, COBRANCAS = "SELECT cliente, saldo FROM clientes", "SELECT pedido FROM cobrancas"
ENVIOS = "SELECT * FROM envios"


def mudou(tabela: str, **o_que) -> list[tuple]:
    return sorted((INICIAL[tabela] | o_que).items())


# o que se faz antes (eventos, ou SQL); o evento; o que ele publica; uma consulta, e o que ela acha
CASOS = {
    "um produto que o estoque não tem": (
        [], ("pedido.criado", com_total("p-1", "ana", "foguete", 1)), ("estoque.recusado", volta("p-1", "estoque insuficiente")),
        {QUANTIDADES: mudou("produtos")}),
    **{f"um item que falta não reserva nenhum: {' '.join(produto for produto, _ in ordem)}": (
        [], ("pedido.criado", {**UM, "itens": [{"produto": p, "quantidade": q} for p, q in ordem]}),
        ("estoque.recusado", volta("p-1", "estoque insuficiente")), {QUANTIDADES: mudou("produtos"), RESERVAS: []})
       for ordem in itertools.permutations(VARIOS)},
    **{f"liberar por {tipo} não apaga o que os outros fizeram, nem a reposição": (
        [("pedido.criado", UM), ("pedido.criado", DOIS), REPOSTO], (tipo, volta("p-1")), ("estoque.liberado", volta("p-1")),
        {QUANTIDADES: mudou("produtos", livro=98), RESERVAS: [("p-2", "livro", 7)]})
       for tipo in ("pagamento.recusado", "pagamento.estornado")},
    "estornar não apaga o que os outros fizeram": (
        [("estoque.reservado", UM), ("estoque.reservado", DOIS)], ("envio.recusado", volta("p-1")),
        ("pagamento.estornado", volta("p-1")), {SALDOS: mudou("clientes", ana=965000), COBRANCAS: [("p-2",)]}),
    **{f"{cep} está fora da área": (
        [], ("pagamento.aprovado", com_total("p-1", cep=cep)), ("envio.recusado", volta("p-1", "CEP fora da área de entrega")),
        {ENVIOS: []}) for cep in ("69000-000", "69900-062", "69999-999")},
    **{f"{cep}, vizinho da área, é entregue": (
        [], ("pagamento.aprovado", com_total("p-1", cep=cep)), ("envio.despachado", com_total("p-1", cep=cep)),
        {ENVIOS: [("p-1", cep, "despachado")]}) for cep in ("68999-999", "70000-000", "06900-000")},
    "cancelar depois do despacho não muda nada": (
        [("pagamento.aprovado", UM)], ("pedido.cancelamento_solicitado", volta("p-1")), None,
        {ENVIOS: [("p-1", "01310-100", "despachado")]}),
}


@pytest.mark.parametrize("caso", CASOS)
def test_cada_evento_publica_e_grava_o_que_deve(caso):
    antes, evento, publica, depois = CASOS[caso]
    servico = Caso(CONTRATO[evento[0]][1][0])
    for um in antes:
        servico.banco.execute(um) if isinstance(um, str) else servico.ouvir(*um)
    assert servico.ouvir(*evento) == ([publica] if publica else [])
    for consulta, achado in depois.items():
        assert sorted(servico.linhas(consulta)) == achado


def test_pedido_encerrado_nao_muda_mais():
    pedidos = Caso("pedidos")
    M.servico_pedidos.receber(pedidos.banco, pedido("p-1"))
    pedidos.ouvir("envio.despachado", UM)
    with pytest.raises(ValueError, match="p-1"):
        pedidos.ouvir("estoque.liberado", volta("p-1"))
    assert pedidos.linhas("SELECT estado, motivo FROM pedidos") == [("concluido", None)]


# --- nada negativo, nem que a função errasse, nem que alguém o escrevesse com o sqlite3 ---

A_SAIDA = "INSERT INTO caixa_saida (tipo, pedido, corpo, causa) VALUES ('pedido.criado', "
TENTATIVA = "INSERT INTO tentativas (corpo, propriedades, restam, motivo) VALUES "


@pytest.mark.parametrize("nome, sql", [
    ("estoque", "UPDATE produtos SET quantidade = -1 WHERE produto = 'livro'"),
    ("estoque", "UPDATE produtos SET quantidade = '10.000,00'"),
    ("pagamentos", "UPDATE clientes SET saldo = -1 WHERE cliente = 'ana'"),
    ("pedidos", "INSERT INTO pedidos VALUES ('p-1', 'ana', -1, 'pendente', NULL)"),
    ("pedidos", "INSERT INTO pedidos VALUES ('p-1', 'ana', 1, 'talvez', NULL)"),
    ("pedidos", A_SAIDA + "printf('%070d', 1), '{}', NULL)"), ("pedidos", A_SAIDA + "'z', printf('%070000d', 1), NULL)"),
    ("pedidos", A_SAIDA + "'v', x'fffe', NULL)"), ("pedidos", A_SAIDA + "'w', '{}', printf('%0300d', 1))"),
    ("pedidos", TENTATIVA + "(x'00', 'isto não é JSON', 0, '')"), ("pedidos", TENTATIVA + "(x'00', '[1]', 0, '')"),
    ("pedidos", TENTATIVA + "(x'00', '{}', 'muitas', '')"), ("pedidos", TENTATIVA + "(5, '{}', 0, '')")])
def test_o_proprio_banco_recusa_o_impossivel(nome, sql):
    with pytest.raises(sqlite3.Error, match="constraint failed|cannot store|malformed JSON"):
        banco_em_memoria(nome).execute(sql)
