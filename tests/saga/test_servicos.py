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

    def tabela(self, sql: str) -> dict:
        return dict(self.banco.execute(sql))

    def linhas(self, sql: str) -> list:
        return self.banco.execute(sql).fetchall()


@pytest.fixture
def estoque():
    caso = Caso("estoque")
    caso.quantidades = lambda: caso.tabela("SELECT produto, quantidade FROM produtos")
    return caso


@pytest.fixture
def pagamentos():
    caso = Caso("pagamentos")
    caso.saldos = lambda: caso.tabela("SELECT cliente, saldo FROM clientes")
    return caso


@pytest.fixture
def envio():
    caso = Caso("envio")
    caso.envios = lambda: caso.tabela("SELECT pedido, situacao FROM envios")
    return caso


@pytest.fixture
def pedidos():
    caso = Caso("pedidos")
    caso.estado = lambda id: caso.linhas(f"SELECT estado, motivo, total FROM pedidos WHERE pedido = '{id}'")
    return caso


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
def test_cada_servico_tem_uma_funcao_para_cada_evento_que_ouve(nome):
    assert set(MODULOS[nome].OUVE) == {tipo for tipo, (_, ouvintes) in CONTRATO.items() if nome in ouvintes}


@pytest.mark.parametrize("nome", SERVICOS)
def test_nenhum_servico_publica_evento_alheio(nome):
    banco = banco_em_memoria(nome)
    for tipo, (dono, _) in CONTRATO.items():
        if dono != nome:
            with pytest.raises(ValueError):
                M.caixas.guardar(banco, nome, [(tipo, volta("p-1"))])
    assert banco.execute("SELECT count(*) FROM caixa_saida WHERE enviado = 0").fetchone() == (0,)


# --- estoque ---

def test_reservar_tira_do_que_pode_ser_vendido(estoque):
    dados = com_total("p-1", caneca=3)
    assert estoque.ouvir("pedido.criado", dados) == [("estoque.reservado", dados)]
    assert estoque.quantidades() == {**INICIAL["produtos"], "livro": 98, "caneca": 47}
    assert estoque.linhas("SELECT * FROM reservas") == [("p-1", "caneca", 3), ("p-1", "livro", 2)]


@pytest.mark.parametrize("ordem", list(itertools.permutations(["livro", "caneca", "notebook"])))
def test_um_item_que_falta_nao_reserva_nenhum(estoque, ordem):
    quantas = {"livro": 10, "caneca": 50, "notebook": 3}  # só falta notebook
    itens = [{"produto": produto, "quantidade": quantas[produto]} for produto in ordem]
    dados = {**com_total("p-1"), "itens": itens}
    assert estoque.ouvir("pedido.criado", dados) == [("estoque.recusado", volta("p-1", "estoque insuficiente"))]
    assert estoque.quantidades() == INICIAL["produtos"]
    assert estoque.linhas("SELECT * FROM reservas") == []


def test_a_ultima_unidade_se_vende_e_a_seguinte_nao(estoque):
    assert estoque.ouvir("pedido.criado", com_total("p-1", "ana", "notebook", 2))[0][0] == "estoque.reservado"
    assert estoque.ouvir("pedido.criado", com_total("p-2", "ana", "notebook", 1))[0][0] == "estoque.recusado"
    assert estoque.quantidades()["notebook"] == 0


def test_produto_que_o_estoque_nao_tem_e_recusado(estoque):
    assert estoque.ouvir("pedido.criado", com_total("p-1", "ana", "foguete", 1))[0][0] == "estoque.recusado"
    assert estoque.quantidades() == INICIAL["produtos"]


@pytest.mark.parametrize("tipo", ["pagamento.recusado", "pagamento.estornado"])
def test_liberar_soma_de_volta_sem_apagar_o_que_os_outros_fizeram(estoque, tipo):
    estoque.ouvir("pedido.criado", com_total("p-1", "ana", "livro", 10))
    estoque.ouvir("pedido.criado", com_total("p-2", "ana", "livro", 7))  # no meio do caminho, outro pedido
    assert estoque.ouvir(tipo, volta("p-1")) == [("estoque.liberado", volta("p-1"))]
    assert estoque.quantidades()["livro"] == 93
    assert estoque.linhas("SELECT * FROM reservas") == [("p-2", "livro", 7)]


def test_liberar_respeita_a_reposicao_feita_no_meio(estoque):
    estoque.ouvir("pedido.criado", com_total("p-1", "ana", "livro", 10))
    estoque.banco.execute("UPDATE produtos SET inicial = inicial + 5, quantidade = quantidade + 5 WHERE produto = 'livro'")
    estoque.ouvir("pagamento.recusado", volta("p-1"))
    assert estoque.quantidades()["livro"] == 105


# --- pagamentos ---

def test_cobrar_tira_o_total_do_saldo(pagamentos):
    dados = com_total("p-1")
    assert pagamentos.ouvir("estoque.reservado", dados) == [("pagamento.aprovado", dados)]
    assert pagamentos.saldos() == {**INICIAL["clientes"], "ana": 990000}


def test_saldo_que_da_exato_paga_e_um_centavo_a_menos_nao(pagamentos):
    dados = {**com_total("p-1", "bruno"), "total": 10001}
    assert pagamentos.ouvir("estoque.reservado", dados) == [("pagamento.recusado", volta("p-1", "saldo insuficiente"))]
    assert pagamentos.saldos() == INICIAL["clientes"]
    assert pagamentos.ouvir("estoque.reservado", {**dados, "pedido": "p-2", "total": 10000})[0][0] == "pagamento.aprovado"
    assert pagamentos.saldos()["bruno"] == 0


def test_cliente_desconhecido_e_recusado(pagamentos):
    assert pagamentos.ouvir("estoque.reservado", com_total("p-1", "zé")) == [
        ("pagamento.recusado", volta("p-1", "cliente desconhecido"))]
    assert pagamentos.saldos() == INICIAL["clientes"]


def test_estornar_soma_de_volta_sem_apagar_o_que_os_outros_fizeram(pagamentos):
    pagamentos.ouvir("estoque.reservado", com_total("p-1"))
    pagamentos.ouvir("estoque.reservado", com_total("p-2", "ana", "caneca", 2))
    assert pagamentos.ouvir("envio.recusado", volta("p-1")) == [("pagamento.estornado", volta("p-1"))]
    assert pagamentos.saldos()["ana"] == 995000
    assert pagamentos.linhas("SELECT pedido FROM cobrancas") == [("p-2",)]


# --- envio, o pivô ---

def test_despachar_registra_o_envio(envio):
    dados = com_total("p-1")
    assert envio.ouvir("pagamento.aprovado", dados) == [("envio.despachado", dados)]
    assert envio.linhas("SELECT * FROM envios") == [("p-1", "01310-100", "despachado")]


@pytest.mark.parametrize("cep", ["69000-000", "69900-062", "69999-999"])
def test_cep_fora_da_area_e_recusado(envio, cep):
    assert envio.ouvir("pagamento.aprovado", com_total("p-1", cep=cep)) == [
        ("envio.recusado", volta("p-1", "CEP fora da área de entrega"))]
    assert envio.envios() == {}


@pytest.mark.parametrize("cep", ["68999-999", "70000-000", "06900-000"])
def test_cep_vizinho_da_area_recusada_e_entregue(envio, cep):
    assert envio.ouvir("pagamento.aprovado", com_total("p-1", cep=cep))[0][0] == "envio.despachado"


def test_cancelar_depois_do_despacho_nao_muda_nada(envio):
    envio.ouvir("pagamento.aprovado", com_total("p-1"))
    assert envio.ouvir("pedido.cancelamento_solicitado", volta("p-1")) == []
    assert envio.envios() == {"p-1": "despachado"}


# --- pedidos ---

def test_receber_da_o_preco_e_abre_a_saga(pedidos):
    dados = pedido("p-1", caneca=3)
    assert M.servico_pedidos.receber(pedidos.banco, dados) == [("pedido.criado", {**dados, "total": 17500})]
    assert pedidos.estado("p-1") == [("pendente", None, 17500)]


def test_receber_duas_vezes_o_mesmo_id_nao_muda_nada(pedidos):
    M.servico_pedidos.receber(pedidos.banco, pedido("p-1"))
    assert M.servico_pedidos.receber(pedidos.banco, pedido("p-1", "carla", "notebook", 9)) == []
    assert pedidos.estado("p-1") == [("pendente", None, 10000)]
    assert pedidos.linhas("SELECT * FROM itens") == [("p-1", "livro", 2)]


def test_produto_desconhecido_cancela_na_entrada_sem_abrir_saga(pedidos):
    assert M.servico_pedidos.receber(pedidos.banco, pedido("p-1", foguete=1)) == [
        ("pedido.cancelado", volta("p-1", "produto desconhecido"))]
    assert pedidos.estado("p-1") == [("cancelado", "produto desconhecido", 0)]


def test_envio_despachado_conclui(pedidos):
    M.servico_pedidos.receber(pedidos.banco, pedido("p-1"))
    dados = com_total("p-1")
    assert pedidos.ouvir("envio.despachado", dados) == [("pedido.concluido", dados)]
    assert pedidos.estado("p-1") == [("concluido", None, 10000)]


@pytest.mark.parametrize("tipo", ["estoque.recusado", "estoque.liberado"])
def test_o_fim_do_caminho_de_volta_cancela_com_o_motivo(pedidos, tipo):
    M.servico_pedidos.receber(pedidos.banco, pedido("p-1"))
    assert pedidos.ouvir(tipo, volta("p-1", "saldo insuficiente")) == [
        ("pedido.cancelado", volta("p-1", "saldo insuficiente"))]
    assert pedidos.estado("p-1") == [("cancelado", "saldo insuficiente", 10000)]


def test_pedido_encerrado_nao_muda_mais(pedidos):
    M.servico_pedidos.receber(pedidos.banco, pedido("p-1"))
    pedidos.ouvir("envio.despachado", com_total("p-1"))
    with pytest.raises(ValueError, match="p-1"):
        pedidos.ouvir("estoque.liberado", volta("p-1"))
    assert pedidos.estado("p-1") == [("concluido", None, 10000)]


def test_solicitar_cancelamento_so_de_um_pedido_pendente(pedidos):
    M.servico_pedidos.receber(pedidos.banco, pedido("p-1"))
    assert M.servico_pedidos.solicitar_cancelamento(pedidos.banco, "p-1") == [
        ("pedido.cancelamento_solicitado", volta("p-1", "cancelado a pedido do cliente"))]
    pedidos.ouvir("envio.despachado", com_total("p-1"))
    assert M.servico_pedidos.solicitar_cancelamento(pedidos.banco, "p-1") == []
    assert M.servico_pedidos.solicitar_cancelamento(pedidos.banco, "p-9") == []


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
