"""Exercício 4: um quinto serviço entra na coreografia, e a compensação passa por ele.

    EXERCICIO=4 python -m pytest tests/exercicios
    EXERCICIO=4 python -m pytest tests/exercicios -m longo      com RabbitMQ e cinco processos
"""

from __future__ import annotations


import pytest

import maquete as maquetes
import test_saga_ordens
from conftest import carregar
from enunciado import enunciado, exigir, modulo, test_o_que_o_enunciado_pede_esta_no_lugar  # noqa: F401
from test_saga_ordens import Rede
from verbos import CENARIOS, M, MODULOS, banco_em_memoria, cenario, pedido, rodar, total

Evento, NOME = M.coreografia.Evento, "fidelidade"
NOVOS = {  # evento: (quem publica, quem ouve, o que leva)
    "pagamento.aprovado": ("pagamentos", ("fidelidade",), "pedido"), "pontos.creditados": ("fidelidade", ("envio",), "pedido"),
    "envio.recusado": ("envio", ("fidelidade",), "motivo"), "pontos.estornados": ("fidelidade", ("pagamentos",), "motivo"),
}


def o_que_se_pede():
    modulo(M, "microsservicos", "servico_fidelidade", "TABELAS", "OUVE", "main")
    exigir(NOME in M.coreografia.SERVICOS, "fidelidade em SERVICOS, em microsservicos/coreografia.py")
    for tipo, quem in NOVOS.items():
        exigir(M.coreografia.EVENTOS.get(tipo) == quem, f"{tipo} ser {quem}, em EVENTOS de microsservicos/coreografia.py")
    for nome, servico in {**MODULOS, NOME: M.servico_fidelidade}.items():
        ouve = set(M.coreografia.o_que_ouve(nome))
        exigir(set(servico.OUVE) == ouve, f"OUVE de servico_{nome}.py ter exatamente {', '.join(sorted(ouve))}")


@pytest.fixture(autouse=True)
def cinco_servicos(enunciado, monkeypatch):  # noqa: F811
    """A maquete e a rede de brinquedo do projeto, agora com o serviço novo."""
    monkeypatch.setitem(MODULOS, NOME, getattr(M, "servico_fidelidade", None))
    for palco in (maquetes, test_saga_ordens):
        monkeypatch.setattr(palco, "SERVICOS", M.coreografia.SERVICOS)


@pytest.fixture
def maquete(tmp_path):
    return maquetes.Maquete(tmp_path)


@pytest.fixture
def banco():
    return banco_em_memoria(NOME)


def pontos(banco) -> dict:
    return dict(banco.execute("SELECT cliente, saldo FROM pontos WHERE saldo <> 0"))


def ouvir(banco, tipo: str, dados: dict) -> list[tuple]:
    return M.servico_fidelidade.OUVE[tipo](banco, Evento(tipo, dados["pedido"], dados))


def aprovado(id: str, cliente: str = "ana", valor: int = 10000) -> dict:
    return {**pedido(id, cliente), "total": valor}


def volta(id: str) -> dict:
    return {"pedido": id, "motivo": "por algum motivo"}


def conferir(maquete, esperados: dict) -> None:
    """Tudo entregue, nada nas mortas, as promessas de sempre, e os pontos que cada cliente tem de ter."""
    assert not any(maquete.filas.values()) and not any(maquete.mortas.values())
    assert not any(M.veredito.violacoes(maquete.pasta).values()) and not M.veredito.pendentes(maquete.pasta)
    assert pontos(maquete.ligados[NOME].banco) == esperados


# --- o serviço sozinho ---

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


# --- na saga ---

def test_a_ida_passa_por_fidelidade_antes_do_pivo(maquete):
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("andar")
    assert list(maquete.publicadas) == [f"p-1:{tipo}" for tipo in (
        "pedido.criado", "estoque.reservado", "pagamento.aprovado", "pontos.creditados", "envio.despachado", "pedido.concluido")]
    conferir(maquete, {"ana": 100})


def test_a_volta_passa_por_fidelidade_de_tras_para_a_frente(maquete):
    maquete.fazer("enviar p-1 envio-recusado")
    maquete.fazer("andar")
    assert list(maquete.publicadas)[3:] == [f"p-1:{tipo}" for tipo in (
        "pontos.creditados", "envio.recusado", "pontos.estornados", "pagamento.estornado", "estoque.liberado", "pedido.cancelado")]
    conferir(maquete, {})


def test_eventos_repetidos_nao_mudam_os_pontos(maquete):
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("enviar p-2 envio-recusado")
    maquete.fazer("andar")
    for tipo, id in (("pagamento.aprovado", "p-1"), ("pagamento.aprovado", "p-2"), ("envio.recusado", "p-2")):
        maquete.fazer(f"repetir {tipo} {id}")
        maquete.fazer("andar")
    conferir(maquete, {"ana": 100})


def test_fidelidade_morre_em_cada_mensagem(maquete):
    """Gravou e morreu antes do ack: a mensagem volta, e a caixa de entrada a reconhece."""
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("enviar p-2 envio-recusado")
    mortes = 0
    for _ in range(30):  # voltas de sobra
        maquete.fazer("andar " + " ".join(nome for nome in MODULOS if nome != NOME))
        if maquete.filas[NOME]:
            maquete.fazer(f"morrer {NOME}")
            maquete.fazer(f"ligar {NOME}")
            maquete.fazer(f"andar {NOME}")
            mortes += 1
    assert mortes >= 2
    maquete.fazer("andar")
    conferir(maquete, {"ana": 100})


def test_com_fidelidade_desligado_o_pedido_espera_e_da_para_ver_onde(maquete):
    maquete.fazer(f"desligar {NOME}")
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("andar")
    [lugar] = M.rastro.onde_espera(maquete.pasta, "p-1")
    assert "pagamento.aprovado, na fila «fidelidade»" in lugar and "fidelidade.db" in lugar
    M.espera.olhar(maquete.pasta, ["p-1"])  # --paciencia também olha o banco novo
    maquete.fazer(f"ligar {NOME}")
    maquete.fazer("andar")
    assert M.rastro.onde_espera(maquete.pasta, "p-1") == []
    conferir(maquete, {"ana": 100})


def test_o_desenho_tem_a_raia_nova_e_a_compensacao_anda_para_tras():
    assert NOME in [nome.lower() for nome in M.desenho.NOMES]
    assert "pontos.estornados" in M.coreografia.COMPENSACOES
    for tipo in NOVOS:
        dados = volta("p-1") if tipo in ("envio.recusado", "pontos.estornados") else aprovado("p-1")
        assert all(len(linha) <= 80 for linha in M.desenho.Desenho().evento(tipo, "p-1", dados))


# --- em qualquer ordem ---

def conferir_pontos(rede, enviados: list[dict]) -> None:
    rede.conferir(enviados)
    estados, devidos = rede.estados(), {}
    for p in enviados:
        if estados[p["pedido"]] == "concluido":
            devidos[p["cliente"]] = devidos.get(p["cliente"], 0) + total(p) // 100
    assert pontos(rede.bancos[NOME]) == devidos


@pytest.mark.parametrize("nome", CENARIOS)
def test_com_repeticoes_quedas_e_cancelamento_em_qualquer_ordem(nome):
    fins = set()
    for semente in range(80):
        rede, p = Rede(semente), cenario(nome)
        rede.enviar(p)
        for _ in range(rede.acaso.randrange(7)):
            if rede.sacola:
                rede.passo()
        rede.cancelar("p-1")
        rede.ate_o_fim()
        conferir_pontos(rede, [p])
        fins.add(rede.estados()["p-1"])
    assert fins == {"concluido", "cancelado"} if nome == "sucesso" else fins == {"cancelado"}


@pytest.mark.parametrize("semente", range(8))
def test_muitos_pedidos_disputando_tudo(semente):
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
    conferir_pontos(rede, enviados)


@pytest.mark.parametrize("nome", ["sucesso+cancelamento", "envio-recusado+cancelamento"])
def test_em_toda_ordem_possivel(nome, monkeypatch):
    explorador = carregar("microsservicos", "explorador")
    monkeypatch.setitem(explorador.MODULOS, NOME, M.servico_fidelidade)
    monkeypatch.setattr(explorador, "SE_DESMENTEM", (*explorador.SE_DESMENTEM, ("envio.despachado", "pontos.estornados")))
    visita = explorador.Explorador(*explorador.ROTEIROS[nome]).explorar()
    for [(_, estado, _)], i in visita.fins.items():
        servico, local = visita.servicos[-1], visita.locais[-1].conteudos[visita.estados[i][-2]]
        assert {saldo for _, saldo in servico.tabela(local, "pontos") if saldo} == ({100} if estado == "concluido" else set())


# --- os programas ---

def test_o_servico_e_o_lancador_conhecem_fidelidade(tmp_path):
    assert rodar("microsservicos/servico_fidelidade.py", "--help").processo.returncode == 0
    lancador = rodar("orquestracao.py", "--estado", "--dados", tmp_path)
    assert lancador.processo.returncode == 0, lancador.texto
    assert (tmp_path / "microsservicos" / "fidelidade.db").exists(), "orquestracao.py não criou o banco do serviço novo"


@pytest.mark.longo
def test_com_rabbitmq_os_cinco_processos_atendem_os_quatro_cenarios(url, tmp_path):
    fim = rodar("orquestracao.py", "--cenario", "todos", "--id", "p", "--ate-concluir", "--dados", tmp_path, url=url)
    assert fim.processo.returncode == 0, fim.texto
    assert fim.disse("fidelidade: pronto") and fim.disse("pontos.credit") and fim.disse("pontos.estorn"), fim.texto
    banco = M.banco.abrir(tmp_path / "microsservicos" / "fidelidade.db", "")
    assert pontos(banco) == {"ana": 100}
