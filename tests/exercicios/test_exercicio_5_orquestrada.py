"""Exercício 5: a mesma saga, orquestrada: um serviço manda, os outros obedecem e respondem.

    EXERCICIO=5 python -m pytest tests/exercicios
    EXERCICIO=5 python -m pytest tests/exercicios -m longo      com RabbitMQ e cinco processos
"""

from __future__ import annotations

import pytest

from quinto_servico import *  # noqa: F403
from quinto_servico import A_PEDIDO, Quinto, conferir, exigir, exigir_o_servico, passou
from verbos import INICIAL, M, banco_em_memoria, pedido

NOME = "orquestrador"
MENSAGENS = {  # quem publica, quem ouve, o que leva
    "pedido.criado": ("pedidos", (NOME,), "pedido"),
    "estoque.reservar": (NOME, ("estoque",), "pedido"), "estoque.reservado": ("estoque", (NOME,), "pedido"),
    "estoque.recusado": ("estoque", (NOME,), "motivo"),
    "estoque.liberar": (NOME, ("estoque",), "motivo"), "estoque.liberado": ("estoque", (NOME,), "motivo"),
    "pagamento.cobrar": (NOME, ("pagamentos",), "pedido"), "pagamento.aprovado": ("pagamentos", (NOME,), "pedido"),
    "pagamento.recusado": ("pagamentos", (NOME,), "motivo"),
    "pagamento.estornar": (NOME, ("pagamentos",), "motivo"), "pagamento.estornado": ("pagamentos", (NOME,), "motivo"),
    "envio.despachar": (NOME, ("envio",), "pedido"), "envio.despachado": ("envio", (NOME,), "pedido"),
    "envio.recusado": ("envio", (NOME,), "motivo"),
    "pedido.concluir": (NOME, ("pedidos",), "pedido"), "pedido.concluido": ("pedidos", (), "pedido"),
    "pedido.cancelar": (NOME, ("pedidos",), "motivo"), "pedido.cancelado": ("pedidos", (), "motivo"),
    "pedido.cancelamento_solicitado": ("pedidos", (NOME,), "motivo"),
}
ATE_O_ESTOQUE = ["pedido.criado", "estoque.reservar", "estoque.reservado"]
ATE_O_PAGAMENTO = [*ATE_O_ESTOQUE, "pagamento.cobrar", "pagamento.aprovado"]
VOLTA_DO_ESTOQUE = ["estoque.liberar", "estoque.liberado", "pedido.cancelar", "pedido.cancelado"]
CAMINHOS = {  # cenário: tudo o que passa pelo broker, em ordem
    "sucesso": [*ATE_O_PAGAMENTO, "envio.despachar", "envio.despachado", "pedido.concluir", "pedido.concluido"],
    "sem-estoque": ["pedido.criado", "estoque.reservar", "estoque.recusado", "pedido.cancelar", "pedido.cancelado"],
    "pagamento-recusado": [*ATE_O_ESTOQUE, "pagamento.cobrar", "pagamento.recusado", *VOLTA_DO_ESTOQUE],
    "envio-recusado": [*ATE_O_PAGAMENTO, "envio.despachar", "envio.recusado", "pagamento.estornar", "pagamento.estornado",
                       *VOLTA_DO_ESTOQUE],
}


QUINTO = Quinto(NOME, MENSAGENS, CAMINHOS, ("pedido.concluir", "pedido.cancelar"))


def o_que_se_pede():
    exigir_o_servico(QUINTO)
    sobram = set(M.coreografia.EVENTOS) - set(MENSAGENS)
    exigir(not sobram, f"tirar {', '.join(sorted(sobram))} de EVENTOS, em microsservicos/coreografia.py")


def passo(maquete, id: str = "p-1") -> str:
    """Onde a saga está, lido do banco do orquestrador, e de nenhum outro lugar."""
    [(achado,)] = maquete.ligados[NOME].banco.execute("SELECT passo FROM sagas WHERE pedido = ?", (id,)).fetchall()
    return achado


# --- quem manda ---

@pytest.mark.parametrize("parado, comando", [
    ("estoque", "estoque.reservar"), ("pagamentos", "pagamento.cobrar"), ("envio", "envio.despachar"), ("pedidos", "pedido.concluir")])
def test_o_banco_do_orquestrador_diz_onde_cada_saga_esta(parado, comando, maquete):
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer(f"desligar {parado}")
    maquete.fazer("andar")
    assert passo(maquete) == comando, "sagas.passo é o último comando mandado"
    maquete.fazer(f"ligar {parado}")
    maquete.fazer("andar")
    conferir(maquete, QUINTO, {"p-1": ("concluido", None)})


def test_resposta_que_ninguem_espera_nao_move_a_saga():
    """Um despacho de que não se mandou despachar: um defeito de alguém, e não um motivo para concluir."""
    banco, dados = banco_em_memoria(NOME), {**pedido("p-1"), "total": 10000}
    evento = lambda tipo: M.coreografia.Evento(tipo, "p-1", dados)
    assert M.servico_orquestrador.OUVE["pedido.criado"](banco, evento("pedido.criado")) == [("estoque.reservar", dados)]
    try:
        assert M.servico_orquestrador.OUVE["envio.despachado"](banco, evento("envio.despachado")) == []
    except ValueError:
        pass  # recusar com um erro também serve: a mensagem acaba nas mortas, com o motivo
    assert banco.execute("SELECT passo FROM sagas").fetchall() == [("estoque.reservar",)]


# --- cancelar ---

@pytest.mark.parametrize("parado, caminho", [
    ("estoque", [*ATE_O_ESTOQUE, *VOLTA_DO_ESTOQUE]),
    ("pagamentos", [*ATE_O_PAGAMENTO, "pagamento.estornar", "pagamento.estornado", *VOLTA_DO_ESTOQUE])])
def test_cancelar_antes_do_despacho_desfaz_so_o_que_foi_feito(parado, caminho, maquete):
    """O orquestrador espera a resposta que falta, e dali volta: nenhum comando desfaz o que ainda está para ser feito."""
    maquete.fazer(f"desligar {parado}")
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("andar")
    maquete.fazer("cancelar p-1")
    maquete.fazer("andar")
    assert maquete.pendentes() == ["p-1"], "o comando em andamento ainda não foi respondido"
    maquete.fazer(f"ligar {parado}")
    maquete.fazer("andar")
    assert [tipo for tipo in passou(maquete) if tipo != "pedido.cancelamento_solicitado"] == caminho
    conferir(maquete, QUINTO, {"p-1": ("cancelado", A_PEDIDO)})
    estado = M.veredito.estado(maquete.pasta)
    assert estado["produtos"] == INICIAL["produtos"] and estado["clientes"] == INICIAL["clientes"]


def test_depois_de_mandar_despachar_e_tarde_para_cancelar(maquete):
    """O pivô é o comando, e não a resposta: o orquestrador não sabe se Envio já despachou, e não adivinha."""
    maquete.fazer("desligar envio")
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("enviar p-2 envio-recusado")
    maquete.fazer("andar")
    maquete.fazer("cancelar p-1")
    maquete.fazer("cancelar p-2")
    maquete.fazer("andar")
    maquete.fazer("ligar envio")
    maquete.fazer("andar")
    conferir(maquete, QUINTO, {"p-1": ("concluido", None), "p-2": ("cancelado", "CEP fora da área de entrega")})
