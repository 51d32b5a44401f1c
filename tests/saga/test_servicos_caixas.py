"""As caixas e as tentativas: o que falhou não deixa rastro, e o que alguém deixou não para os outros.

Que o mesmo evento age uma vez só, e que só sai da caixa o que o broker guardou: test_explorador.py.
"""

from __future__ import annotations

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


def test_evento_que_nao_publica_nada_tambem_e_lembrado(banco):
    tratar(banco, Evento("pagamento.recusado", "p-1", volta("p-1")))
    assert tratar(banco, CRIADO) == []
    assert tratar(banco, CRIADO) is None


def test_funcao_que_falha_nao_deixa_nada_nem_desfaz_os_vizinhos_da_mesma_transacao(banco):
    def falha(b, evento):
        MODULOS["estoque"].reservar(b, evento)
        raise RuntimeError("de propósito")

    um, outro, vizinho = (Evento("pedido.criado", id, com_total(id)) for id in ("p-1", "p-2", "p-3"))
    tabelas = "caixa_entrada", "caixa_saida", "reservas", "respostas"
    contar = lambda: [banco.execute(f"SELECT count(*) FROM {tabela}").fetchone()[0] for tabela in tabelas]
    with M.banco.transacao(banco):
        tratar(banco, um)
        with pytest.raises(RuntimeError):
            tratar(banco, outro, falha)
        tratar(banco, vizinho)
    assert contar() == [2, 2, 2, 2]
    assert [e.tipo for e in tratar(banco, outro)] == ["estoque.reservado"], "a nova tentativa foi tomada por repetição"
    assert banco.execute("SELECT quantidade FROM produtos WHERE produto = 'livro'").fetchone() == (94,)


def test_o_que_outra_versao_deixou_na_caixa_espera_por_ela_e_nao_para_os_outros(banco):
    for tipo in ("fidelidade.pontuada", "pagamento.aprovado", ""):
        banco.execute("INSERT INTO caixa_saida (tipo, pedido, corpo) VALUES (?, 'x', '{}')", (tipo,))
    tratar(banco, CRIADO)
    assert [linha[1] for linha in caixas.a_enviar(banco, M.coreografia.o_que_publica("estoque"), 1)] == ["estoque.reservado"]


def test_linha_estranha_na_caixa_de_saida_nao_deixa_o_lote_sem_ack(tmp_path):
    """O ack do lote sai na mesma volta: num Ctrl-C logo depois, a fila o entregaria de novo."""
    servico = M.servico.Servico("estoque", MODULOS["estoque"].TABELAS, MODULOS["estoque"].OUVE, tmp_path)
    servico.banco.execute("INSERT INTO caixa_saida (tipo, pedido, corpo) VALUES ('fidelidade.pontuada', 'x', '{}')")
    saiu: list = []

    class Saida:
        def publicar(self, eventos, mortas, ate_entrega) -> set:
            saiu.append((eventos, mortas, ate_entrega))
            return set()

    servico.publicar(Saida(), [M.canal.Recebida(7, b"", {})])
    servico.banco.close()
    assert saiu == [([], [], 7)]


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
    for restam in (2, 5):
        Tentativas(banco, "estoque", print).guardar(b"um", {}, "motivo", "p-1:pedido.criado", restam)
    assert banco.execute("SELECT restam FROM tentativas").fetchall() == [(2,)]


@pytest.mark.parametrize("propriedades", [{"headers": {"quando": object()}}, {"message_id": b"\xff"}, {"headers": {"x": b"\xff"}}])
def test_propriedade_que_nao_cabe_em_json_nao_derruba_ninguem(banco, propriedades):
    Tentativas(banco, "estoque", print).guardar(b"x", propriedades, "motivo")
    assert len(Tentativas(banco, "estoque", print).esgotadas()) == 1
