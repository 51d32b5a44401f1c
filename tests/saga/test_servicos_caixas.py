"""As caixas de entrada e de saída: o mesmo evento age uma vez, e o que falhou não deixa rastro."""

from __future__ import annotations

import json

import pytest

from test_servicos import com_total, volta
from verbos import M, MODULOS, banco_em_memoria

Evento, caixas, Tentativas = M.coreografia.Evento, M.caixas, M.tentativas.Tentativas
CRIADO = Evento("pedido.criado", "p-1", com_total("p-1"))


@pytest.fixture
def banco():
    return banco_em_memoria("estoque")


def tratar(banco, evento, funcao=None):
    return caixas.tratar(banco, "estoque", funcao or MODULOS["estoque"].OUVE[evento.tipo], evento)


def contar(banco, tabela):
    return banco.execute(f"SELECT count(*) FROM {tabela}").fetchone()[0]


def livros(banco):
    return banco.execute("SELECT quantidade FROM produtos WHERE produto = 'livro'").fetchone()[0]


def test_evento_repetido_age_uma_vez_so(banco):
    assert [e.tipo for e in tratar(banco, CRIADO)] == ["estoque.reservado"]
    assert tratar(banco, CRIADO) is None
    assert livros(banco) == 98 and contar(banco, "caixa_saida") == 1 and contar(banco, "caixa_entrada") == 1


def test_evento_que_nao_publica_nada_tambem_e_lembrado(banco):
    tratar(banco, Evento("pagamento.recusado", "p-1", volta("p-1")))
    assert tratar(banco, CRIADO) == []
    assert tratar(banco, CRIADO) is None


def test_funcao_que_falha_nao_deixa_nem_a_caixa_de_entrada(banco):
    def falha(b, evento):
        MODULOS["estoque"].reservar(b, evento)
        raise RuntimeError("de propósito")

    with pytest.raises(RuntimeError):
        tratar(banco, CRIADO, falha)
    assert livros(banco) == 100
    assert [contar(banco, t) for t in ("caixa_entrada", "caixa_saida", "reservas", "respostas")] == [0, 0, 0, 0]
    assert [e.tipo for e in tratar(banco, CRIADO)] == ["estoque.reservado"], "a nova tentativa foi tomada por repetição"


def test_falha_num_evento_nao_desfaz_os_vizinhos_da_mesma_transacao(banco):
    def falha(b, evento):
        raise RuntimeError("de propósito")

    with M.banco.transacao(banco):
        tratar(banco, CRIADO)
        with pytest.raises(RuntimeError):
            tratar(banco, Evento("pedido.criado", "p-2", com_total("p-2")), falha)
        tratar(banco, Evento("pedido.criado", "p-3", com_total("p-3")))
    assert livros(banco) == 96 and contar(banco, "caixa_entrada") == 2 and contar(banco, "caixa_saida") == 2


def test_evento_de_outro_dono_nao_sai_e_desfaz_o_efeito(banco):
    with pytest.raises(ValueError, match="estoque não publica pagamento.aprovado"):
        tratar(banco, CRIADO, lambda b, e: MODULOS["estoque"].reservar(b, e) and [("pagamento.aprovado", e.dados)])
    assert livros(banco) == 100 and contar(banco, "caixa_saida") == 0


def test_caixa_de_saida_guarda_a_causa_e_o_corpo(banco):
    tratar(banco, CRIADO)
    [(ordem, tipo, pedido, corpo, causa)] = caixas.a_enviar(banco, M.coreografia.EVENTOS, 10)
    assert (tipo, pedido, causa) == ("estoque.reservado", "p-1", "p-1:pedido.criado")
    assert json.loads(corpo) == CRIADO.dados


def test_so_sai_da_caixa_o_que_o_broker_respondeu(banco):
    for n in range(5):
        tratar(banco, Evento("pedido.criado", f"p-{n}", com_total(f"p-{n}")))
    caixas.marcar_enviados(banco, [linha[0] for linha in caixas.a_enviar(banco, M.coreografia.EVENTOS, 3)])
    assert [linha[2] for linha in caixas.a_enviar(banco, M.coreografia.EVENTOS, 10)] == ["p-3", "p-4"]


def test_o_que_outra_versao_deixou_na_caixa_espera_por_ela_e_nao_para_os_outros(banco):
    banco.execute("INSERT INTO caixa_saida (tipo, pedido, corpo) VALUES ('fidelidade.pontuada', 'x', '{}')")
    tratar(banco, CRIADO)
    assert [linha[1] for linha in caixas.a_enviar(banco, M.coreografia.o_que_publica("estoque"), 1)] == ["estoque.reservado"]


def test_falha_que_esgota_enquanto_outra_copia_enterra_nao_some(banco):
    """Duas cópias do serviço: enquanto uma publica a morta 2, a outra esgota as tentativas da 1."""
    falhas = Tentativas(banco, "estoque", print)
    falhas.guardar(b"um", {}, "motivo", "p-1:pedido.criado", 1)
    falhas.guardar(b"dois", {}, "motivo", "p-2:pedido.criado", 0)
    lidas = falhas.esgotadas()
    assert [linha[1] for linha in lidas] == [b"dois"]
    banco.execute("UPDATE tentativas SET restam = 0 WHERE mensagem = 'p-1:pedido.criado'")
    falhas.marcar_mortas(linha[0] for linha in lidas)
    assert [linha[1] for linha in falhas.esgotadas()] == [b"um"], "uma mensagem morta se perdeu"


def test_falha_repetida_do_mesmo_evento_nao_recomeca_a_contagem(banco):
    Tentativas(banco, "estoque", print).guardar(b"um", {}, "motivo", "p-1:pedido.criado", 5)
    banco.execute("UPDATE tentativas SET restam = 2")
    Tentativas(banco, "estoque", print).guardar(b"um", {}, "motivo", "p-1:pedido.criado", 5)
    assert banco.execute("SELECT restam FROM tentativas").fetchall() == [(2,)]


@pytest.mark.parametrize("propriedades", [{"headers": {"quando": object()}}, {"message_id": b"\xff"}, {"headers": {"x": b"\xff"}}])
def test_propriedade_que_nao_cabe_em_json_nao_derruba_ninguem(banco, propriedades):
    Tentativas(banco, "estoque", print).guardar(b"x", propriedades, "motivo")
    assert len(Tentativas(banco, "estoque", print).esgotadas()) == 1
