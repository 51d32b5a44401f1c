"""Exercício 2: um pedido pendente há tempo demais é cancelado por quem o recebeu, sem passar por cima do pivô.

    EXERCICIO=2 python -m pytest tests/exercicios
"""

from __future__ import annotations

import inspect
import math
import time
from types import SimpleNamespace

import pytest

from conftest import carregar, esperar
from enunciado import enunciado, exigir, modulo, test_o_que_o_enunciado_pede_esta_no_lugar  # noqa: F401
from maquete import Maquete
from verbos import CENARIOS, M, banco_em_memoria, cenario, loja, pedido  # noqa: F401

PEDIDOS = M.servico_pedidos
MOTIVO, A_PEDIDO = "prazo esgotado", "cancelado a pedido do cliente"
SOLICITADO = "pedido.cancelamento_solicitado"
SEMPRE = math.inf  # recebido até quando: qualquer hora serve


def o_que_se_pede():
    modulo(M, "microsservicos", "servico_pedidos", "vencer_prazos")
    exigir(list(inspect.signature(PEDIDOS.vencer_prazos).parameters) == ["banco", "limite"],
           "vencer_prazos receber (banco, limite), em microsservicos/servico_pedidos.py")
    exigir("--prazo" in inspect.getsource(PEDIDOS), "a opção --prazo, em microsservicos/servico_pedidos.py")


def receber(banco, *ids: str) -> None:
    PEDIDOS.entrar_na_saga(banco, PEDIDOS.receber, [M.loja.validar(pedido(id)) for id in ids])


def vencer(banco, limite: float = SEMPRE) -> None:
    PEDIDOS.entrar_na_saga(banco, PEDIDOS.vencer_prazos, [limite])


def cancelar(banco, id: str) -> None:
    PEDIDOS.entrar_na_saga(banco, PEDIDOS.solicitar_cancelamento, [id])


def solicitados(banco) -> list[tuple]:
    """(pedido, corpo) de cada pedido de cancelamento na caixa de saída."""
    return [(id, corpo) for _, tipo, id, corpo, _ in M.caixas.a_enviar(banco, M.coreografia.EVENTOS, 100) if tipo == SOLICITADO]


@pytest.fixture
def banco():
    return banco_em_memoria("pedidos")


# --- a função ---

def test_so_vence_o_que_foi_recebido_ate_o_limite(banco):
    antes = time.time()
    receber(banco, "p-1")
    vencer(banco, antes - 60)
    assert not solicitados(banco), "um pedido de agora venceu junto com os de um minuto atrás"
    vencer(banco, time.time() + 1)
    assert [id for id, _ in solicitados(banco)] == ["p-1"]
    assert MOTIVO in solicitados(banco)[0][1]


def test_um_pedido_vence_uma_vez_so_ate_noutro_processo(tmp_path):
    for _ in range(3):  # cada volta é um serviço novo: o que ele lembrasse fora do banco estaria perdido
        banco = M.banco.abrir(tmp_path / "pedidos.db", PEDIDOS.TABELAS + ";" + M.servico.TABELAS)
        receber(banco, "p-1")
        vencer(banco)
        assert [id for id, _ in solicitados(banco)] == ["p-1"]
        banco.close()


@pytest.mark.parametrize("tipo", ["envio.despachado", "estoque.liberado"])
def test_pedido_encerrado_nao_vence(banco, tipo):
    receber(banco, "p-1", "p-2")
    PEDIDOS.OUVE[tipo](banco, M.coreografia.Evento(tipo, "p-1", {"pedido": "p-1", "motivo": "outro"}))
    vencer(banco)
    assert [id for id, _ in solicitados(banco)] == ["p-2"]


@pytest.mark.parametrize("ordem", [(cancelar, vencer), (vencer, cancelar)], ids=["o cliente antes", "o prazo antes"])
def test_quem_pede_primeiro_da_o_motivo(banco, ordem):
    """As duas mensagens teriam o mesmo id; então têm de dizer o mesmo."""
    receber(banco, "p-1")
    for quem in ordem:
        quem(banco, "p-1") if quem is cancelar else quem(banco)
    corpos = {corpo for _, corpo in solicitados(banco)}
    assert len(corpos) == 1 and (A_PEDIDO if ordem[0] is cancelar else MOTIVO) in corpos.pop()


# --- a saga ---

def test_depois_do_pivo_o_prazo_nao_desfaz_nada(tmp_path):
    """Para Pedidos ele ainda está pendente; para Envio, já saiu. Quem sabe é Envio."""
    maquete = Maquete(tmp_path)
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("desligar pedidos")
    maquete.fazer("andar")
    maquete.entrar(PEDIDOS.vencer_prazos, SEMPRE)
    maquete.fazer("ligar pedidos")
    maquete.fazer("andar")
    assert f"p-1:{SOLICITADO}" in maquete.publicadas
    assert M.veredito.estado(maquete.pasta)["pedidos"]["p-1"]["estado"] == "concluido"
    assert not any(M.veredito.violacoes(maquete.pasta).values())


@pytest.mark.parametrize("nome", ["sucesso+cancelamento", "envio-recusado+cancelamento"])
def test_em_toda_ordem_possivel(nome, monkeypatch):
    """O explorador sabe cancelar a qualquer instante; aqui, quem cancela é o prazo."""
    explorador = carregar("microsservicos", "explorador")
    monkeypatch.setattr(explorador, "servico_pedidos", SimpleNamespace(
        receber=PEDIDOS.receber, entrar_na_saga=PEDIDOS.entrar_na_saga,
        solicitar_cancelamento=lambda banco, _: PEDIDOS.vencer_prazos(banco, SEMPRE)))
    visita = explorador.Explorador(*explorador.ROTEIROS[nome]).explorar()
    assert {motivo for (_, _, motivo), in visita.fins} == {CENARIOS[nome.split("+")[0]][2], MOTIVO}


# --- o serviço ---

def test_o_servico_cancela_uma_vez_e_o_prazo_conta_da_chegada_do_pedido(loja):  # noqa: F811
    """Sem --prazo ninguém cancela; o tempo em que o serviço esteve morto também conta."""
    pedidos_de = lambda: loja.consultar("pedidos", "SELECT corpo FROM caixa_saida WHERE tipo = ?", SOLICITADO)
    loja.enviar(cenario("sucesso"))
    recebido = time.monotonic()
    for opcoes in ([], ["--prazo", "3600"]):
        loja.lancar("pedidos", "--sem-pedido", *opcoes).esperar_dizer(": pronto")
        esperar(lambda: not loja.a_enviar("pedidos"), que="o pedido sair")
        loja.matar("pedidos")
    time.sleep(max(0, recebido + 6.1 - time.monotonic()))  # o prazo passa com o serviço morto
    assert not pedidos_de()
    for _ in range(2):
        loja.lancar("pedidos", "--sem-pedido", "--prazo", "6").esperar_dizer(": pronto")
        inicio = time.monotonic()
        esperar(lambda: pedidos_de() and not loja.a_enviar("pedidos"), que="o cancelamento ser pedido")
        assert time.monotonic() - inicio < 5.5, "o prazo já tinha passado quando o serviço começou"
        loja.matar("pedidos")
    [(corpo,)] = pedidos_de()
    assert MOTIVO in corpo
