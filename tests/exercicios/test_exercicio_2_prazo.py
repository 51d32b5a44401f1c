"""Exercício 2: um pedido pendente há tempo demais é cancelado por quem o recebeu, sem passar por cima do pivô.

    EXERCICIO=2 python -m pytest tests/exercicios
"""

from __future__ import annotations

import inspect
import math
import sys
import time
from types import SimpleNamespace

import pytest

from conftest import carregar
from enunciado import enunciado, exigir, modulo, test_o_que_o_enunciado_pede_esta_no_lugar  # noqa: F401
from maquete import Maquete
from test_saga_ordens import Rede
from verbos import CENARIOS, M, banco_em_memoria, cenario, pedido

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


def test_antes_do_pivo_o_prazo_devolve_tudo(tmp_path):
    maquete = Maquete(tmp_path)
    maquete.fazer("desligar pagamentos")
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("andar")
    maquete.entrar(PEDIDOS.vencer_prazos, SEMPRE)
    maquete.fazer("andar")
    maquete.fazer("ligar pagamentos")
    maquete.fazer("andar")
    estado = M.veredito.estado(maquete.pasta)
    assert (estado["pedidos"]["p-1"]["estado"], estado["pedidos"]["p-1"]["motivo"]) == ("cancelado", MOTIVO)
    assert estado["produtos"]["livro"] == 100 and estado["clientes"]["ana"] == 1000000 and not estado["envios"]


@pytest.mark.parametrize("nome", CENARIOS)
def test_o_prazo_corre_contra_a_saga_e_contra_o_cliente(nome):
    fins = set()
    for semente in range(60):
        rede, p = Rede(semente), cenario(nome)
        rede.enviar(p)
        for vez in rede.acaso.sample((vencer, cancelar), 2):
            for _ in range(rede.acaso.randrange(5)):
                if rede.sacola:
                    rede.passo()
            vez(rede.bancos["pedidos"], *["p-1"] * (vez is cancelar))
            rede.esvaziar("pedidos")
        rede.ate_o_fim()
        rede.conferir([p])
        fins.add(rede.tabela("pedidos", "SELECT estado, motivo FROM pedidos").popitem())
    assert ("cancelado", MOTIVO) in fins and ("cancelado", A_PEDIDO) in fins


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

class SemFila:
    """Um canal em que não chega nada; `solicitados` são as horas dos cancelamentos publicados.

    ate(canal): quando o serviço recebe um Ctrl-C. morrer: se ele vem no meio da primeira publicação.
    """

    def __init__(self, ate, morrer: bool = False):
        self.ate, self.morrer, self.solicitados, self.voltas = ate, morrer, [], 0

    def __call__(self, *_) -> SemFila:
        return self

    __enter__ = lambda self: self
    __exit__ = lambda self, *_: None
    em_pausa = lambda self: ()

    def receber(self, espera: float) -> list:
        self.voltas += 1
        if self.ate(self):
            raise KeyboardInterrupt
        time.sleep(0.01)
        return []

    def publicar(self, eventos, mortas, ate_entrega) -> set:
        novos = [time.time() for _, tipo, *_ in eventos if tipo == SOLICITADO]
        self.solicitados += novos
        if novos and self.morrer:
            raise KeyboardInterrupt
        return set()  # o broker não recusou nada


def servir(monkeypatch, dados, canal: SemFila, *opcoes) -> list[float]:
    """Roda servico_pedidos.py de verdade, sem fila; devolve a hora de cada cancelamento que publicou."""
    monkeypatch.setattr(M.reconexao, "Canal", canal)
    monkeypatch.setattr(sys, "argv", ["servico_pedidos.py", "--dados", str(dados), "--sem-pedido", *opcoes])
    PEDIDOS.main()
    return canal.solicitados


def voltas(quantas: int):
    return lambda canal: canal.voltas > quantas


def um_cancelamento(canal: SemFila) -> bool:
    return bool(canal.solicitados) or canal.voltas > 500


@pytest.fixture
def recebido(tmp_path):
    """Um pedido que acaba de ser recebido, e a hora em que foi."""
    pasta, agora = M.servico.pasta_dos_dados(tmp_path), time.time()
    banco = M.banco.abrir(pasta / "pedidos.db", PEDIDOS.TABELAS + ";" + M.servico.TABELAS, M.identidade.identidade(pasta))
    receber(banco, "p-1")
    banco.close()
    return agora


def test_o_servico_espera_o_prazo_e_cancela_uma_vez(recebido, tmp_path, monkeypatch):
    [quando] = servir(monkeypatch, tmp_path, SemFila(um_cancelamento), "--prazo", "1")
    assert 0.9 < quando - recebido < 4
    assert servir(monkeypatch, tmp_path, SemFila(voltas(20)), "--prazo", "1") == [], "cancelou outra vez"


def test_o_prazo_conta_da_chegada_do_pedido_mesmo_que_o_servico_morra(recebido, tmp_path, monkeypatch):
    time.sleep(max(0, recebido + 1.1 - time.time()))  # o prazo passa com o serviço desligado
    assert servir(monkeypatch, tmp_path, SemFila(voltas(10))) == [], "sem --prazo, ninguém cancela"
    assert servir(monkeypatch, tmp_path, SemFila(voltas(10)), "--prazo", "3600") == []
    inicio = time.time()
    [quando] = servir(monkeypatch, tmp_path, SemFila(um_cancelamento, morrer=True), "--prazo", "1")
    assert quando - inicio < 0.9, "o prazo já tinha passado quando o serviço começou"
    [_] = servir(monkeypatch, tmp_path, SemFila(um_cancelamento))  # quem morreu sem a resposta do broker publica de novo
