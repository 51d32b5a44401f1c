"""Exercício 5: a mesma saga, orquestrada: um serviço manda, os outros obedecem e respondem.

    EXERCICIO=5 python -m pytest tests/exercicios
    EXERCICIO=5 python -m pytest tests/exercicios -m longo      com RabbitMQ e cinco processos
"""

from __future__ import annotations

import pytest

import maquete as maquetes
import test_saga_ordens
from conftest import carregar
from enunciado import enunciado, exigir, modulo, test_o_que_o_enunciado_pede_esta_no_lugar  # noqa: F401
from test_saga_ordens import Rede
from verbos import CENARIOS, INICIAL, M, MODULOS, banco_em_memoria, cenario, pedido, rodar

NOME, A_PEDIDO = "orquestrador", "cancelado a pedido do cliente"
DONOS = ("estoque", "pagamentos", "envio", "pedidos")
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


def o_que_se_pede():
    modulo(M, "microsservicos", "servico_orquestrador", "TABELAS", "OUVE", "main")
    exigir(NOME in M.coreografia.SERVICOS, "orquestrador em SERVICOS, em microsservicos/coreografia.py")
    for tipo, quem in MENSAGENS.items():
        exigir(M.coreografia.EVENTOS.get(tipo) == quem, f"{tipo} ser {quem}, em EVENTOS de microsservicos/coreografia.py")
    sobram = set(M.coreografia.EVENTOS) - set(MENSAGENS)
    exigir(not sobram, f"tirar {', '.join(sorted(sobram))} de EVENTOS, em microsservicos/coreografia.py")
    for nome, servico in {**MODULOS, NOME: M.servico_orquestrador}.items():
        ouve = set(M.coreografia.o_que_ouve(nome))
        exigir(set(servico.OUVE) == ouve, f"OUVE de servico_{nome}.py ter exatamente {', '.join(sorted(ouve))}")


@pytest.fixture(autouse=True)
def cinco_servicos(enunciado, monkeypatch):  # noqa: F811
    """A maquete e a rede de brinquedo do projeto, agora com o orquestrador."""
    monkeypatch.setitem(MODULOS, NOME, getattr(M, "servico_orquestrador", None))
    for palco in (maquetes, test_saga_ordens):
        monkeypatch.setattr(palco, "SERVICOS", M.coreografia.SERVICOS)


@pytest.fixture
def maquete(tmp_path):
    return maquetes.Maquete(tmp_path)


def passou(maquete, id: str = "p-1") -> list[str]:
    return [mensagem.split(":")[1] for mensagem in maquete.publicadas if mensagem.startswith(f"{id}:")]


def passo(maquete, id: str = "p-1") -> str:
    """Onde a saga está, lido do banco do orquestrador, e de nenhum outro lugar."""
    [(achado,)] = maquete.ligados[NOME].banco.execute("SELECT passo FROM sagas WHERE pedido = ?", (id,)).fetchall()
    return achado


def conferir(maquete, **fins) -> None:
    """Tudo entregue, nada nas mortas, as promessas de sempre, e cada pedido no seu fim."""
    assert not any(maquete.filas.values()) and not any(maquete.mortas.values())
    assert not any(M.veredito.violacoes(maquete.pasta).values())
    achados = {id: (fim["estado"], fim["motivo"]) for id, fim in M.veredito.estado(maquete.pasta)["pedidos"].items()}
    assert achados == {id.replace("_", "-"): fim for id, fim in fins.items()}


# --- quem manda ---

@pytest.mark.parametrize("nome", CENARIOS)
def test_cada_cenario_e_uma_conversa_com_o_orquestrador(nome, maquete):
    """Um comando, uma resposta, e só então o comando seguinte; a volta desfaz do último para o primeiro."""
    maquete.fazer(f"enviar p-1 {nome}")
    maquete.fazer("andar")
    assert passou(maquete) == CAMINHOS[nome]
    conferir(maquete, p_1=CENARIOS[nome][1:])


def test_sem_o_orquestrador_nada_anda_e_com_ele_tudo_continua(maquete):
    maquete.fazer(f"desligar {NOME}")
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("andar")
    assert passou(maquete) == ["pedido.criado"], "alguém andou sem que o orquestrador mandasse"
    [lugar] = M.rastro.onde_espera(maquete.pasta, "p-1")
    assert "pedido.criado, na fila «orquestrador»" in lugar
    maquete.fazer(f"ligar {NOME}")
    maquete.fazer("andar")
    conferir(maquete, p_1=("concluido", None))


@pytest.mark.parametrize("parado, comando", [
    ("estoque", "estoque.reservar"), ("pagamentos", "pagamento.cobrar"), ("envio", "envio.despachar"), ("pedidos", "pedido.concluir")])
def test_o_banco_do_orquestrador_diz_onde_cada_saga_esta(parado, comando, maquete):
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer(f"desligar {parado}")
    maquete.fazer("andar")
    assert passo(maquete) == comando, "sagas.passo é o último comando mandado"
    maquete.fazer(f"ligar {parado}")
    maquete.fazer("andar")
    conferir(maquete, p_1=("concluido", None))


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
    assert M.veredito.pendentes(maquete.pasta) == ["p-1"], "o comando em andamento ainda não foi respondido"
    maquete.fazer(f"ligar {parado}")
    maquete.fazer("andar")
    assert [tipo for tipo in passou(maquete) if tipo != "pedido.cancelamento_solicitado"] == caminho
    conferir(maquete, p_1=("cancelado", A_PEDIDO))
    estado = M.veredito.estado(maquete.pasta)
    assert estado["produtos"] == INICIAL["produtos"] and estado["clientes"] == INICIAL["clientes"]


def test_cancelamento_que_ultrapassa_o_pedido_nao_deixa_reservar(maquete):
    maquete.fazer(f"desligar {NOME}")
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("cancelar p-1")
    maquete.filas[NOME].reverse()
    maquete.fazer(f"ligar {NOME}")
    maquete.fazer("andar")
    assert "estoque.reservar" not in passou(maquete)
    conferir(maquete, p_1=("cancelado", A_PEDIDO))


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
    conferir(maquete, p_1=("concluido", None), p_2=("cancelado", "CEP fora da área de entrega"))


# --- mortes, repetições e desordem ---

@pytest.mark.parametrize("vitima", [NOME, *DONOS])
def test_um_servico_morre_em_cada_mensagem(vitima, maquete):
    """Grava, e morre antes de publicar e antes do ack: publica na partida seguinte, e reconhece a mensagem que volta."""
    for n, nome in enumerate(CENARIOS):
        maquete.fazer(f"enviar p-{n} {nome}")
    mortes = 0
    for _ in range(30):  # voltas de sobra
        maquete.fazer("andar " + " ".join(nome for nome in MODULOS if nome != vitima))
        for _ in range(len(maquete.filas[vitima])):
            maquete.fazer(f"morrer {vitima}")
            maquete.fazer(f"ligar {vitima}")
            maquete.tratar(vitima)  # a que voltou à fila
            maquete.publicar(vitima)
            mortes += 1
    maquete.fazer("andar")
    assert mortes >= 2 + 2 * (vitima == NOME)
    conferir(maquete, **{f"p_{n}": CENARIOS[nome][1:] for n, nome in enumerate(CENARIOS)})


def test_cada_mensagem_repetida_no_fim_nao_muda_nem_publica_nada(maquete):
    for n, nome in enumerate(CENARIOS):
        maquete.fazer(f"enviar p-{n} {nome}")
    maquete.fazer("andar")
    antes, chegar, publicadas = M.veredito.estado(maquete.pasta), maquete.chegar, []
    maquete.chegar = lambda exchange, chave, mensagem: publicadas.append(chave)
    for id, mensagem in list(maquete.publicadas.items()):
        chegar("loja", id.split(":")[1], mensagem)
        maquete.fazer("andar")
    assert M.veredito.estado(maquete.pasta) == antes and not publicadas
    conferir(maquete, **{f"p_{n}": CENARIOS[nome][1:] for n, nome in enumerate(CENARIOS)})


@pytest.mark.parametrize("nome", CENARIOS)
def test_com_repeticoes_quedas_e_cancelamento_em_qualquer_ordem(nome):
    fins = set()
    for semente in range(60):
        rede, p = Rede(semente), cenario(nome)
        rede.enviar(p)
        for _ in range(rede.acaso.randrange(9)):
            if rede.sacola:
                rede.passo()
        rede.cancelar("p-1")
        rede.ate_o_fim()
        rede.conferir([p])
        fins.add(rede.tabela("pedidos", "SELECT estado, motivo FROM pedidos").popitem())
    assert fins <= {CENARIOS[nome][1:], ("cancelado", A_PEDIDO)} and ("cancelado", A_PEDIDO) in fins


@pytest.mark.parametrize("semente", range(8))
def test_muitos_pedidos_disputando_o_mesmo_estoque_e_saldo(semente):
    rede = Rede(semente)
    enviados = [pedido(f"p-{n:02}", rede.acaso.choice(["ana", "bruno", "carla", "zé"]),
                       rede.acaso.choice(["livro", "caneca", "teclado", "notebook"]), rede.acaso.randint(1, 6),
                       rede.acaso.choice(["01310-100", "69900-062"])) for n in range(30)]
    for p in enviados:
        rede.enviar(p)
        if rede.acaso.random() < 0.3:
            rede.cancelar(p["pedido"])
        for _ in range(rede.acaso.randrange(4)):
            if rede.sacola:
                rede.passo()
    rede.ate_o_fim()
    rede.conferir(enviados)


@pytest.mark.parametrize("nome", ["sucesso+cancelamento", "pagamento-recusado+cancelamento", "envio-recusado+cancelamento"])
def test_em_toda_ordem_possivel(nome, monkeypatch):
    explorador = carregar("microsservicos", "explorador")
    monkeypatch.setitem(explorador.MODULOS, NOME, M.servico_orquestrador)
    monkeypatch.setattr(explorador, "SE_DESMENTEM", (*explorador.SE_DESMENTEM, ("pedido.concluir", "pedido.cancelar")))
    visita = explorador.Explorador(*explorador.ROTEIROS[nome]).explorar()
    assert {motivo for (_, _, motivo), in visita.fins} == {CENARIOS[nome.split("+")[0]][2], A_PEDIDO}


# --- os programas ---

def test_o_servico_e_o_lancador_conhecem_o_orquestrador(tmp_path):
    assert rodar("microsservicos/servico_orquestrador.py", "--help").processo.returncode == 0
    lancador = rodar("orquestracao.py", "--estado", "--dados", tmp_path)
    assert lancador.processo.returncode == 0, lancador.texto
    assert (tmp_path / "microsservicos" / "orquestrador.db").exists(), "orquestracao.py não criou o banco do orquestrador"


@pytest.mark.longo
def test_com_rabbitmq_os_cinco_processos_atendem_os_quatro_cenarios(url, tmp_path):
    fim = rodar("orquestracao.py", "--cenario", "todos", "--id", "p", "--ate-concluir", "--dados", tmp_path, url=url)
    assert fim.processo.returncode == 0 and fim.disse("orquestrador: pronto"), fim.texto
    achados = [(fim["estado"], fim["motivo"]) for fim in M.veredito.estado(tmp_path / "microsservicos")["pedidos"].values()]
    assert achados == [tuple(fim[1:]) for fim in CENARIOS.values()]
