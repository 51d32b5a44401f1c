"""Exercício 4: um quinto serviço entra na coreografia, e a compensação passa por ele.

    EXERCICIO=4 python -m pytest tests/exercicios
    EXERCICIO=4 python -m pytest tests/exercicios -m longo      com RabbitMQ e cinco processos
"""

from __future__ import annotations

from collections import Counter

import pytest

from quinto_servico import *  # noqa: F403
from quinto_servico import Quinto, exigir_o_servico
from verbos import M, banco_em_memoria, pedido, total

IDA = ["pedido.criado", "estoque.reservado", "pagamento.aprovado", "pontos.creditados"]


def os_pontos_devidos(banco, concluidos: list[dict]) -> None:
    devidos = Counter()
    for p in concluidos:
        devidos[p["cliente"]] += total(p) // 100
    assert pontos(banco) == devidos


QUINTO = Quinto(
    "fidelidade",
    {"pagamento.aprovado": ("pagamentos", ("fidelidade",), "pedido"), "pontos.creditados": ("fidelidade", ("envio",), "pedido"),
     "envio.recusado": ("envio", ("fidelidade",), "motivo"), "pontos.estornados": ("fidelidade", ("pagamentos",), "motivo")},
    {"sucesso": [*IDA, "envio.despachado", "pedido.concluido"],
     "sem-estoque": ["pedido.criado", "estoque.recusado", "pedido.cancelado"],
     "pagamento-recusado": [*IDA[:2], "pagamento.recusado", "estoque.liberado", "pedido.cancelado"],
     "envio-recusado": [*IDA, "envio.recusado", "pontos.estornados", "pagamento.estornado", "estoque.liberado", "pedido.cancelado"]},
    ("envio.despachado", "pontos.estornados"), os_pontos_devidos)


def o_que_se_pede():
    exigir_o_servico(QUINTO)


@pytest.fixture
def banco():
    return banco_em_memoria("fidelidade")


def pontos(banco) -> dict:
    return dict(banco.execute("SELECT cliente, saldo FROM pontos WHERE saldo <> 0"))


def ouvir(banco, tipo: str, dados: dict) -> list[tuple]:
    return M.servico_fidelidade.OUVE[tipo](banco, M.coreografia.Evento(tipo, dados["pedido"], dados))


def aprovado(id: str, valor: int = 10000) -> dict:
    return {**pedido(id, "ana"), "total": valor}


def volta(id: str) -> dict:
    return {"pedido": id, "motivo": "por algum motivo"}


def test_um_ponto_por_real_cheio(banco):
    dados = aprovado("p-1", valor=1999)
    assert ouvir(banco, "pagamento.aprovado", dados) == [("pontos.creditados", dados)]
    assert pontos(banco) == {"ana": 19}


def test_estornar_tira_so_os_pontos_do_pedido(banco):
    """Entre o crédito e o estorno, outros pedidos do mesmo cliente deram pontos: não se volta ao número de antes."""
    ouvir(banco, "pagamento.aprovado", aprovado("p-1"))
    ouvir(banco, "pagamento.aprovado", aprovado("p-2", valor=500))
    assert ouvir(banco, "envio.recusado", volta("p-1")) == [("pontos.estornados", volta("p-1"))]
    assert pontos(banco) == {"ana": 5}


def test_estorno_antes_do_credito_deixa_uma_lapide(banco):
    """O cliente cancelou, e a recusa de Envio ultrapassou o pagamento: o crédito que chegar depois não vale."""
    assert ouvir(banco, "envio.recusado", volta("p-1")) == [("pontos.estornados", volta("p-1"))]
    assert ouvir(banco, "pagamento.aprovado", aprovado("p-1")) == []
    assert pontos(banco) == {}


def test_o_desenho_tem_a_raia_nova_e_a_compensacao_anda_para_tras():
    assert "fidelidade" in [nome.lower() for nome in M.desenho.NOMES]
    assert "pontos.estornados" in M.coreografia.COMPENSACOES
    for tipo, (_, _, leva) in QUINTO.eventos.items():
        dados = volta("p-1") if leva == "motivo" else aprovado("p-1")
        assert all(len(linha) <= 80 for linha in M.desenho.Desenho().evento(tipo, "p-1", dados))
