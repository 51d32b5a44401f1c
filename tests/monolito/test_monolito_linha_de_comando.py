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


# --- o mesmo id de novo ---

def linha(id, cliente="ana", quantidade=1) -> str:
    return json.dumps({"pedido": id, "cliente": cliente, "itens": [{"produto": "livro", "quantidade": quantidade}],
                       "cep": "01310-100"})


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


def test_depois_de_recuperar_muitas_sem_desenho_nenhuma_raia_fica_grossa(dados):
    app(dados, "--pedidos", "6", "--paralelos", "6", "--cair-em", "antes-da-decisao")
    fim = app(dados, "--id", "p-7")
    assert "6 sem decisão no log: aborto presumido" in fim.tela and "┃" not in next(
        linha for linha in fim.tela.splitlines() if "● trava p-7" in linha)


# --- sozinho, interrompido, com quem lê que vai embora ---

@pytest.mark.parametrize("sinal", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_termina_a_rodada_em_andamento_e_nada_fica_em_duvida(sinal, dados):
    """E --limpar não apaga debaixo de quem trabalha."""
    assert app(dados, "--em-duvida").tela.strip() == "em dúvida: 0" and not dados.exists()
    with subprocess.Popen([sys.executable, APP, "--dados", dados, "--pedidos", "100000", "--paralelos", "3"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as processo:
        esperar(lambda: dados.exists() and estado(dados)["pedidos"], que="o primeiro pedido")
        recusa = app(dados, "--limpar", "--sim", "--estado")
        processo.send_signal(sinal)
        saida, erro = processo.communicate(timeout=120)
    assert recusa.returncode == 2 and "há programas usando" in recusa.erro
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
