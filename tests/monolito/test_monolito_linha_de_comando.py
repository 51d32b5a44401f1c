"""python monolito/app.py como uma pessoa o usa: o que aparece na tela, o status de saída, e os erros que ela pode causar."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import esperar

APP = Path(__file__).resolve().parents[2] / "monolito" / "app.py"


def rodar(dados, *opcoes, entrada="", **ambiente):
    """Roda app.py e devolve o processo terminado; nunca pode haver um traceback."""
    feito = subprocess.run([sys.executable, APP, "--dados", dados, *map(str, opcoes)], input=entrada.encode(),
                           capture_output=True, env={**os.environ, "PYTHONUTF8": "1", **ambiente}, timeout=60)
    feito.tela, feito.erro = feito.stdout.decode("utf-8", "replace"), feito.stderr.decode("utf-8", "replace")
    assert "Traceback" not in feito.erro + feito.tela, feito.erro
    return feito


def estado(dados) -> dict:
    return json.loads(rodar(dados, "--estado").tela)


@pytest.fixture
def dados(tmp_path):
    return tmp_path / "dados com espaço e ação"


def test_sem_opcoes_e_o_cenario_sucesso(dados):
    feito = rodar(dados, "--id", "p-1")
    assert feito.returncode == 0 and feito.erro == ""
    for esperado in ("preparar", "SIM", "CONFIRMAR, forçado ao log", "confirmar", "gravações forçadas: 5", "em dúvida: 0"):
        assert esperado in feito.tela
    assert all(len(linha) <= 80 for linha in feito.tela.splitlines())
    assert estado(dados) == {"clientes": {"ana": 990000, "bruno": 10000, "carla": 100000}, "envios": {"p-1": "despachado"},
                             "pedidos": {"p-1": {"estado": "concluido", "motivo": None, "total": 10000}},
                             "produtos": {"livro": 98, "caneca": 50, "teclado": 10, "notebook": 2}}


def test_limpar_sozinho_so_limpa(dados):
    rodar(dados, "--id", "p-1")
    feito = rodar(dados, "--limpar", "--sim")
    assert feito.returncode == 0 and "linhas iniciais" in feito.tela and "preparar" not in feito.tela
    assert estado(dados)["pedidos"] == {}
    rodar(dados, "--limpar", "--sim", "--id", "p-2")
    assert list(estado(dados)["pedidos"]) == ["p-2"]


# --- o mesmo id de novo ---

def linha(id, cliente="ana", quantidade=1) -> str:
    return json.dumps({"pedido": id, "cliente": cliente, "itens": [{"produto": "livro", "quantidade": quantidade}],
                       "cep": "01310-100"})


def test_o_mesmo_id_de_novo_e_dito_numa_linha_e_nada_e_desenhado(dados):
    rodar(dados, "--id", "p-1")
    antes = estado(dados)
    feito = rodar(dados, "--id", "p-1")
    assert feito.returncode == 0 and "p-1 já existia: nada foi feito de novo" in feito.tela
    assert "ABORTAR" not in feito.tela and "preparar" not in feito.tela and "concluido" in feito.tela
    assert estado(dados) == antes


@pytest.mark.parametrize("opcoes", [["--cliente", "carla"], ["--produto", "caneca"], ["--quantidade", "3"],
                                    ["--cep", "20040-002"]])
def test_o_mesmo_id_com_outro_conteudo_nao_e_atendido(opcoes, dados):
    rodar(dados, "--id", "r-1")
    antes = estado(dados)
    feito = rodar(dados, "--id", "r-1", *opcoes)
    assert feito.returncode == 1 and "r-1 já existe com outro conteúdo: este não foi atendido" in feito.tela
    assert estado(dados) == antes


@pytest.mark.parametrize("quantos, diz, diz_do_outro", [
    (2, "p-1 já existia", "r-0 já existe com outro conteúdo"),
    (20, "20 pedidos já existiam: nada foi feito de novo", "20 pedidos já existem com outro conteúdo")])
@pytest.mark.parametrize("paralelos", [1, 8])
def test_ids_repetidos_num_arquivo_poucos_ou_muitos(quantos, diz, diz_do_outro, paralelos, dados):
    def enviar(*linhas):
        return rodar(dados, "--arquivo", "-", "--paralelos", paralelos, entrada="\n".join(linhas))

    iguais = [linha(f"p-{n}") for n in range(quantos)]
    dois = enviar(*iguais, *iguais)  # no mesmo arquivo, igual: vale uma vez
    assert dois.returncode == 0 and diz in dois.tela and len(estado(dados)["pedidos"]) == quantos
    enviar(*(linha(f"r-{n}") for n in range(quantos)))
    antes = estado(dados)
    outra = enviar(*iguais, *(linha(f"r-{n}", "carla", 2) for n in range(quantos)), linha("novo", "carla"))
    assert outra.returncode == 1 and diz in outra.tela and diz_do_outro in outra.tela
    depois = estado(dados)
    assert depois["pedidos"].pop("novo")["estado"] == "concluido" and depois["pedidos"] == antes["pedidos"]


def test_o_mesmo_id_com_outro_conteudo_num_arquivo_so_e_um_arquivo_malformado(dados):
    feito = rodar(dados, "--arquivo", "-", entrada="\n".join([linha("a"), linha("b"), linha("a", "carla")]))
    assert feito.returncode == 2 and "linha 3: a já está na linha 1, com outro conteúdo" in feito.erro
    assert estado(dados)["pedidos"] == {}


# --- sem pedido, devagar, em paralelo ---

def test_sem_pedido_recupera_ou_nao_e_acaba(dados):
    rodar(dados, "--id", "p-1", "--cair-em", "depois-da-decisao")
    olhada = rodar(dados, "--sem-pedido", "--sem-recuperar")
    assert olhada.returncode == 1 and "em dúvida: 1" in olhada.tela and "confirmar" not in olhada.tela
    fim = rodar(dados, "--sem-pedido")
    assert fim.returncode == 0 and "o log tem CONFIRMAR" in fim.tela and "em dúvida: 0" in fim.tela
    assert len(fim.tela.splitlines()) <= 24, "cabe numa tela"
    assert list(estado(dados)["pedidos"]) == ["p-1"]


def test_uma_raia_e_grossa_do_sim_ate_a_decisao_chegar(dados):
    """Morto antes da decisão, as quatro são; e continuam, no desenho de outro pedido, até a recuperação."""
    morto = rodar(dados, "--id", "p-1", "--cair-em", "antes-da-decisao").tela.splitlines()
    assert [passo.count("┃") for passo in morto if "● trava " in passo or "trava p-1 ●" in passo] == [0, 1, 2, 3]
    outro = rodar(dados, "--sem-recuperar", "--cliente", "carla", "--id", "p-2", "--espera", "0").tela.splitlines()
    assert [passo.count("┃") for passo in outro if "espera livro" in passo] == [2], "a de Pagamentos está sob o texto"
    fim = rodar(dados, "--sem-pedido").tela.splitlines()
    assert [passo.count("┃") for passo in fim if "aborto presumido" in passo or " abortar " in passo] == [2, 1, 1, 1, 1]


def test_dois_pedidos_do_mesmo_produto_ao_mesmo_tempo_sao_desenhados_juntos(dados):
    pedidos = "\n".join(json.dumps({"pedido": f"p-{n}", "cliente": cliente, "cep": "01310-100",
                                    "itens": [{"produto": "notebook", "quantidade": 1}]})
                        for n, cliente in ((1, "ana"), (2, "carla")))
    tela = rodar(dados, "--arquivo", "-", "--paralelos", "2", entrada=pedidos).tela
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
    assert "em dúvida: 1" in rodar(dados, "--em-duvida").tela
    assert rodar(dados, "--sem-pedido").returncode == 0
    assert estado(dados)["pedidos"]["p-1"]["estado"] == "cancelado"


def test_sem_participante_para_anotar_a_recusa_nao_ha_nada_em_duvida(dados):
    recusado = rodar(dados, "--sem-participante", "pedidos", "--id", "p-1")
    assert "o pedido recusado não foi anotado" in recusado.erro and "em dúvida" not in recusado.erro
    assert rodar(dados, "--em-duvida").tela.startswith("em dúvida: 0")


def test_limpar_nao_apaga_debaixo_de_quem_trabalha(dados):
    with subprocess.Popen([sys.executable, APP, "--dados", dados, "--pedidos", "100000"], stdout=subprocess.PIPE) as outro:
        try:
            esperar(lambda: dados.exists() and estado(dados)["pedidos"], que="o primeiro pedido")
            feito = rodar(dados, "--limpar", "--sim", "--estado")
            assert feito.returncode == 2 and "há programas usando" in feito.erro
        finally:
            outro.send_signal(signal.SIGINT)
            outro.communicate(timeout=20)


def test_arquivo_e_entrada_padrao(dados, tmp_path):
    linhas = [{"pedido": "a", "cliente": "ana", "itens": [{"produto": "livro", "quantidade": 1}], "cep": "01310100"},
              {"pedido": "b", "cliente": "bruno", "itens": [{"produto": "teclado", "quantidade": 1}], "cep": "01310-100"}]
    texto = "\n".join(map(json.dumps, linhas))
    (tmp_path / "pedidos.jsonl").write_text(texto)
    assert rodar(dados, "--limpar", "--arquivo", tmp_path / "pedidos.jsonl").returncode == 0
    primeiro = estado(dados)
    assert rodar(dados, "--arquivo", "-", entrada=texto).returncode == 0
    assert estado(dados) == primeiro, "os mesmos ids não mudam nada"
    assert {id: p["estado"] for id, p in primeiro["pedidos"].items()} == {"a": "concluido", "b": "cancelado"}


def test_muitos_pedidos_com_progresso_e_em_paralelo(dados):
    for opcoes in (["--pedidos", 20], ["--pedidos", 20, "--paralelos", 8]):
        feito = rodar(dados, *opcoes)
        assert feito.returncode == 0 and "gravações forçadas por pedido" in feito.tela
    assert estado(dados)["produtos"]["livro"] == 100 - 2 * 40


@pytest.mark.parametrize("opcoes, falta", [
    (["--cenario", "sem-estoque", "--cair-em", "depois-da-decisao"], ""),
    (["--cair-em", "antes-do-aborto"], "--cenario envio-recusado"),
    (["--cair-em", "na-recuperacao"], "antes, --cair-em antes-da-decisao")])
def test_ponto_que_nao_foi_alcancado_e_dito(opcoes, falta, dados):
    feito = rodar(dados, *opcoes)
    assert feito.returncode == 0 and "nenhum pedido passou" in feito.erro and falta in feito.erro


def test_diagrama_mermaid(dados, tmp_path):
    assert rodar(dados, "--id", "p-1", "--diagrama", tmp_path / "d.mmd").returncode == 0
    linhas = (tmp_path / "d.mmd").read_text(encoding="utf-8").splitlines()
    assert linhas[0] == "sequenceDiagram" and "    Coordenador->>Pedidos: preparar (p-1)" in linhas
    assert linhas.count("    activate Estoque") == linhas.count("    deactivate Estoque") == 1
    assert rodar(dados, "--diagrama", tmp_path / "não" / "existe").returncode == 2


@pytest.mark.parametrize("sinal", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_termina_a_rodada_em_andamento_e_nada_fica_em_duvida(sinal, dados):
    with subprocess.Popen([sys.executable, APP, "--dados", dados, "--pedidos", "100000", "--paralelos", "3"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as processo:
        esperar(lambda: dados.exists() and estado(dados)["pedidos"], que="o primeiro pedido")
        processo.send_signal(sinal)
        saida, erro = processo.communicate(timeout=20)
    assert processo.returncode == 130 and b"Traceback" not in erro and "em dúvida: 0" in saida.decode()
    assert rodar(dados, "--em-duvida").tela.strip() == "em dúvida: 0"


@pytest.mark.parametrize("ambiente", [{"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "cp850", "PYTHONUTF8": "0"},
                                      {"NO_COLOR": "1"}])
def test_qualquer_codificacao_serve(ambiente, dados):
    feito = rodar(dados, "--cenario", "todos", **ambiente)
    assert feito.returncode == 0 and b"\x1b" not in feito.stdout


def test_quem_le_a_saida_pode_ir_embora(dados):
    """Um `| head -1`: acaba quieto, e o status não diz que um veredito foi visto."""
    um = subprocess.Popen([sys.executable, APP, "--dados", dados, "--cenario", "todos"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    um.stdout.readline()
    um.stdout.close()
    assert um.stderr.read() == b"" and um.wait(30) == 130
    um.stderr.close()
