"""Exercício 1: um limite por pedido, o mesmo nas duas arquiteturas.

    EXERCICIO=1 python -m pytest tests/exercicios
"""

from __future__ import annotations

import monolito_apoio as monolito
from conftest import carregar
from enunciado import enunciado, exigir, modulo, test_o_que_o_enunciado_pede_esta_no_lugar  # noqa: F401
from maquete import Maquete
from verbos import M, cenario, pedido

MOTIVO = "acima do limite por pedido"
NO_LIMITE = pedido("no-limite", "ana", "notebook", 2, teclado=2, livro=2)  # R$ 9.500,00
ACIMA = pedido("acima", "ana", "notebook", 2, teclado=2, livro=2, caneca=1)  # R$ 9.525,00; Ana tem R$ 10.000,00
SEM_SALDO = {**ACIMA, "pedido": "sem-saldo", "cliente": "bruno"}
DESCONHECIDO = {**ACIMA, "pedido": "desconhecido", "cliente": "zé"}
TODOS = [ACIMA, SEM_SALDO, DESCONHECIDO, cenario("pagamento-recusado", "comum"), NO_LIMITE]
FINS = {"acima": ("cancelado", MOTIVO), "sem-saldo": ("cancelado", MOTIVO), "desconhecido": ("cancelado", "cliente desconhecido"),
        "comum": ("cancelado", "saldo insuficiente"), "no-limite": ("concluido", None)}


def o_que_se_pede():
    for ala, pasta, pagamentos in ((monolito.M, "monolito", "pagamentos"), (M, "microsservicos", "servico_pagamentos")):
        exigir(MOTIVO in vars(modulo(ala, pasta, "loja")).values(), f"o motivo {MOTIVO!r}, em {pasta}/comum/loja.py")
        limite = getattr(modulo(ala, pasta, pagamentos, "LIMITE_POR_PEDIDO"), "LIMITE_POR_PEDIDO")
        exigir(limite == 950_000, f"LIMITE_POR_PEDIDO = 950000 centavos, em {pasta}/{pagamentos}.py (está {limite!r})")


def na_saga(pasta, *pedidos) -> Maquete:
    maquete = Maquete(pasta)
    for p in pedidos:
        maquete.entrar(M.servico_pedidos.receber, M.loja.validar(p))
        maquete.fazer("andar")
    assert not any(maquete.mortas.values()), "alguma mensagem foi parar nas mortas"
    return maquete


def na_2pc(pasta, *pedidos):
    monolito.no_filho(monolito.atender, pasta, [monolito.M.loja.validar(p) for p in pedidos])
    monolito.conferir_repouso(pasta)
    return monolito.M.veredito.estado(pasta)


def test_as_duas_arquiteturas_recusam_pelo_motivo_certo_e_chegam_ao_mesmo_estado(tmp_path):
    estado = na_2pc(tmp_path / "2pc", *TODOS)
    assert {id: (fim["estado"], fim["motivo"]) for id, fim in estado["pedidos"].items()} == FINS
    assert M.veredito.estado(na_saga(tmp_path / "saga", *TODOS).pasta) == estado


def test_na_saga_o_que_foi_reservado_e_devolvido(tmp_path):
    maquete = na_saga(tmp_path, ACIMA)
    assert list(maquete.publicadas) == [f"acima:{tipo}" for tipo in (
        "pedido.criado", "estoque.reservado", "pagamento.recusado", "estoque.liberado", "pedido.cancelado")]
    assert not any(M.veredito.violacoes(maquete.pasta).values())


def test_na_2pc_quem_recusa_nao_grava_nem_trava(tmp_path):
    coordenador = monolito.abrir(tmp_path)
    assert monolito.conduzir(coordenador, [monolito.M.loja.validar(ACIMA)]) == 2, "só Pedidos e Estoque prometeram algo: um NÃO não espera pelo disco"
    retrato = monolito.Retrato(tmp_path, log=False)
    assert not any(retrato.preparadas.values()) and not any(retrato.travas.values())


def test_em_toda_ordem_possivel_ate_com_o_cliente_cancelando():
    """Quem recusou lembra que recusou: o cancelamento que chega depois não estorna o que não foi cobrado."""
    explorador = carregar("microsservicos", "explorador")
    visita = explorador.Explorador([ACIMA], {"acima"}).explorar()
    assert {motivo for (_, _, motivo), in visita.fins} == {MOTIVO, "cancelado a pedido do cliente"}
