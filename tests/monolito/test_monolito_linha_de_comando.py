"""python monolito/app.py como uma pessoa o usa: o que aparece na tela, o status de saída, e os erros que ela pode causar."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from conftest import esperar
from monolito_apoio import MONOLITO, app

APP = MONOLITO / "app.py"


def estado(dados) -> dict:
    return json.loads(app(dados, "--estado").tela)


@pytest.fixture
def dados(tmp_path):
    return tmp_path / "dados com espaço e ação"


def test_limpar_sozinho_so_limpa(dados):
    app(dados, "--id", "p-1")
    feito = app(dados, "--limpar", "--sim")
    assert feito.returncode == 0 and "linhas iniciais" in feito.tela and "preparar" not in feito.tela
    assert estado(dados)["pedidos"] == {}
    app(dados, "--limpar", "--sim", "--id", "p-2")
    assert list(estado(dados)["pedidos"]) == ["p-2"]


# --- o mesmo id de novo ---

def linha(id, cliente="ana", quantidade=1) -> str:
    return json.dumps({"pedido": id, "cliente": cliente, "itens": [{"produto": "livro", "quantidade": quantidade}],
                       "cep": "01310-100"})


def test_o_mesmo_id_com_outro_conteudo_nao_e_atendido(dados):
    app(dados, "--id", "r-1")
    antes = estado(dados)
    for opcoes in (["--cliente", "carla"], ["--produto", "caneca"], ["--quantidade", "3"], ["--cep", "20040-002"]):
        feito = app(dados, "--id", "r-1", *opcoes)
        assert feito.returncode == 1 and "r-1 já existe com outro conteúdo: este não foi atendido" in feito.tela
    assert estado(dados) == antes


@pytest.mark.parametrize("quantos, diz, diz_do_outro", [
    (2, "p-1 já existia", "r-0 já existe com outro conteúdo"),
    (20, "20 pedidos já existiam: nada foi feito de novo", "20 pedidos já existem com outro conteúdo")])
@pytest.mark.parametrize("paralelos", [1, 8])
def test_ids_repetidos_num_arquivo_poucos_ou_muitos(quantos, diz, diz_do_outro, paralelos, dados):
    def enviar(*linhas):
        return app(dados, "--arquivo", "-", "--paralelos", paralelos, entrada="\n".join(linhas))

    iguais = [linha(f"p-{n}") for n in range(quantos)]
    dois = enviar(*iguais, *iguais)  # no mesmo arquivo, igual: vale uma vez
    assert dois.returncode == 0 and diz in dois.tela and len(estado(dados)["pedidos"]) == quantos
    enviar(*(linha(f"r-{n}") for n in range(quantos)))
    antes = estado(dados)
    outra = enviar(*iguais, *(linha(f"r-{n}", "carla", 2) for n in range(quantos)), linha("novo", "carla"))
    assert outra.returncode == 1 and diz in outra.tela and diz_do_outro in outra.tela
    depois = estado(dados)
    assert depois["pedidos"].pop("novo")["estado"] == "concluido" and depois["pedidos"] == antes["pedidos"]


# --- sem pedido, devagar, em paralelo ---

def test_sem_pedido_recupera_ou_nao_e_acaba(dados):
    app(dados, "--id", "p-1", "--cair-em", "depois-da-decisao")
    olhada = app(dados, "--sem-pedido", "--sem-recuperar")
    assert olhada.returncode == 1 and "em dúvida: 1" in olhada.tela and "confirmar" not in olhada.tela
    fim = app(dados, "--sem-pedido")
    assert fim.returncode == 0 and "o log tem CONFIRMAR" in fim.tela and "em dúvida: 0" in fim.tela
    assert len(fim.tela.splitlines()) <= 24, "cabe numa tela"
    assert list(estado(dados)["pedidos"]) == ["p-1"]


def test_dois_pedidos_do_mesmo_produto_ao_mesmo_tempo_sao_desenhados_juntos(dados):
    pedidos = "\n".join(json.dumps({"pedido": f"p-{n}", "cliente": cliente, "cep": "01310-100",
                                    "itens": [{"produto": "notebook", "quantidade": 1}]})
                        for n, cliente in ((1, "ana"), (2, "carla")))
    tela = app(dados, "--arquivo", "-", "--paralelos", "2", entrada=pedidos).tela
    passos = [passo.split() for passo in tela.splitlines() if passo.startswith("p-")]
    assert [passo[0] for passo in passos[:2]] == ["p-1", "p-2"], "os dois começam antes que um termine"
    assert "espera notebook, com p-1" in tela
    assert "gravações forçadas:" not in tela and "s, 3.00 gravações forçadas por pedido" in tela


def test_devagar_da_tempo_de_matar_a_mao_no_meio_do_protocolo(dados):
    with subprocess.Popen([sys.executable, APP, "--dados", dados, "--id", "p-1", "--devagar", "0.2"],
                          stdout=subprocess.PIPE, text=True) as processo:
        for passo in processo.stdout:
            if "trava livro" in passo:
                break
        processo.kill()
    assert "em dúvida: 1" in app(dados, "--em-duvida").tela
    assert app(dados, "--sem-pedido").returncode == 0
    assert estado(dados)["pedidos"]["p-1"]["estado"] == "cancelado"


def test_sem_participante_para_anotar_a_recusa_nao_ha_nada_em_duvida(dados):
    recusado = app(dados, "--sem-participante", "pedidos", "--id", "p-1")
    assert "o pedido recusado não foi anotado" in recusado.erro and "em dúvida" not in recusado.erro
    assert app(dados, "--em-duvida").tela.startswith("em dúvida: 0")


def test_limpar_nao_apaga_debaixo_de_quem_trabalha(dados):
    with subprocess.Popen([sys.executable, APP, "--dados", dados, "--pedidos", "100000"], stdout=subprocess.PIPE) as outro:
        try:
            esperar(lambda: dados.exists() and estado(dados)["pedidos"], que="o primeiro pedido")
            feito = app(dados, "--limpar", "--sim", "--estado")
            assert feito.returncode == 2 and "há programas usando" in feito.erro
        finally:
            outro.send_signal(signal.SIGINT)
            outro.communicate(timeout=20)


@pytest.mark.parametrize("opcoes, status, diz", [
    (["--cenario", "sem-estoque", "--cair-em", "depois-da-decisao"], 0, "nenhum pedido passou"),
    (["--cair-em", "antes-do-aborto"], 0, "--cenario envio-recusado"),
    (["--cair-em", "na-recuperacao"], 0, "antes, --cair-em antes-da-decisao"),
    (["--diagrama", "não/existe"], 2, "não/existe")])
def test_o_que_nao_se_pode_fazer_e_dito(opcoes, status, diz, dados):
    feito = app(dados, *opcoes)
    assert feito.returncode == status and diz in feito.erro


@pytest.mark.parametrize("sinal", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_termina_a_rodada_em_andamento_e_nada_fica_em_duvida(sinal, dados):
    with subprocess.Popen([sys.executable, APP, "--dados", dados, "--pedidos", "100000", "--paralelos", "3"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as processo:
        esperar(lambda: dados.exists() and estado(dados)["pedidos"], que="o primeiro pedido")
        processo.send_signal(sinal)
        saida, erro = processo.communicate(timeout=20)
    assert processo.returncode == 130 and b"Traceback" not in erro and "em dúvida: 0" in saida.decode()
    assert app(dados, "--em-duvida").tela.strip() == "em dúvida: 0"


@pytest.mark.parametrize("ambiente", [{"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "cp850", "PYTHONUTF8": "0"},
                                      {"NO_COLOR": "1"}])
def test_qualquer_codificacao_serve(ambiente, dados):
    feito = app(dados, "--cenario", "todos", **ambiente)
    assert feito.returncode == 0 and b"\x1b" not in feito.stdout


def test_quem_le_a_saida_pode_ir_embora(dados):
    """Um `| head -1`: acaba quieto, e o status não diz que um veredito foi visto."""
    um = subprocess.Popen([sys.executable, APP, "--dados", dados, "--cenario", "todos"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    um.stdout.readline()
    um.stdout.close()
    assert um.stderr.read() == b"" and um.wait(30) == 130
    um.stderr.close()
