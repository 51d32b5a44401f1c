"""python monolito/app.py como uma pessoa o usa: o que aparece na tela, o status de saída, e os erros que ela pode causar."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from conftest import carregar, esperar

APP = Path(__file__).resolve().parents[2] / "monolito" / "app.py"
PONTOS = carregar("monolito", "quedas").PONTOS


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


def test_todos_os_cenarios(dados):
    feito = rodar(dados, "--cenario", "todos", "--id", "t")
    assert feito.returncode == 0
    assert {id: (p["estado"], p["motivo"], p["total"]) for id, p in estado(dados)["pedidos"].items()} == {
        "t-1": ("concluido", None, 10000), "t-2": ("cancelado", "estoque insuficiente", 1350000),
        "t-3": ("cancelado", "saldo insuficiente", 20000), "t-4": ("cancelado", "CEP fora da área de entrega", 2500)}


def test_estado_de_uma_pasta_nova_tem_as_linhas_iniciais(dados):
    assert estado(dados) == {"clientes": {"ana": 1000000, "bruno": 10000, "carla": 100000}, "envios": {}, "pedidos": {},
                             "produtos": {"livro": 100, "caneca": 50, "teclado": 10, "notebook": 2}}


def test_produto_desconhecido_e_cliente_desconhecido(dados):
    rodar(dados, "--produto", "fogão", "--id", "a")
    rodar(dados, "--cliente", "zé", "--id", "b")
    assert estado(dados)["pedidos"] == {"a": {"estado": "cancelado", "motivo": "produto desconhecido", "total": 0},
                                        "b": {"estado": "cancelado", "motivo": "cliente desconhecido", "total": 10000}}


def test_limpar_volta_as_linhas_iniciais(dados):
    rodar(dados, "--id", "p-1")
    assert rodar(dados, "--limpar", "--sim", "--estado").returncode == 0
    assert estado(dados)["pedidos"] == {}


MORRE_NA_LIMPEZA = """
import os, pathlib, runpy, signal, sys
sys.argv, apagar = sys.argv[1:], pathlib.Path.unlink
def morrer(caminho, **opcoes):
    apagar(caminho, **opcoes)
    os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path.unlink = morrer
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_limpar_morto_no_meio_e_dito_ate_que_termine(dados):
    """Metade dos bancos nova e metade antiga: toda promessa pareceria quebrada, e ninguém saberia por quê."""
    rodar(dados, "--id", "p-1")
    morto = subprocess.run([sys.executable, "-c", MORRE_NA_LIMPEZA, APP, "--dados", dados, "--limpar", "--sim", "--estado"])
    assert morto.returncode == -signal.SIGKILL
    for opcoes in ([], ["--estado"], ["--em-duvida"], ["--rastro", "p-1"]):
        recusa = rodar(dados, *opcoes)
        assert recusa.returncode == 2 and "termine com  python monolito/app.py --limpar" in recusa.erro
    assert rodar(dados, "--limpar", "--sim", "--id", "p-2").returncode == 0
    assert list(estado(dados)["pedidos"]) == ["p-2"]


def test_pedidos_pela_entrada_padrao_e_limpar_juntos(dados):
    linha = '{"pedido": "a", "cliente": "ana", "itens": [{"produto": "livro", "quantidade": 1}], "cep": "01310100"}'
    assert rodar(dados, "--arquivo", "-", "--limpar", entrada=linha).returncode == 0


def test_sem_participante_para_anotar_a_recusa_nao_ha_nada_em_duvida(dados):
    recusado = rodar(dados, "--sem-participante", "pedidos", "--id", "p-1")
    assert "o pedido recusado não foi anotado" in recusado.erro and "em dúvida" not in recusado.erro
    assert rodar(dados, "--em-duvida").tela.startswith("em dúvida: 0")


SEM_MAIS_THREADS = """
import runpy, sys, threading
sys.argv, iniciar, havia = sys.argv[1:], threading.Thread.start, [3]
def recusar(thread):
    havia[0] -= 1
    if havia[0] < 0:
        raise RuntimeError("can't start new thread")
    iniciar(thread)
threading.Thread.start = recusar
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_sem_mais_threads_atende_com_as_que_ha(dados):
    feito = subprocess.run([sys.executable, "-c", SEM_MAIS_THREADS, APP, "--dados", dados, "--pedidos", "40",
                            "--paralelos", "20"], capture_output=True, text=True, timeout=60)
    assert feito.returncode == 0 and not feito.stderr, feito.stderr
    assert len(estado(dados)["pedidos"]) == 40


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
    assert rodar(dados, "--arquivo", tmp_path / "pedidos.jsonl").returncode == 0
    primeiro = estado(dados)
    assert rodar(dados, "--arquivo", "-", entrada=texto).returncode == 0
    assert estado(dados) == primeiro, "os mesmos ids não mudam nada"
    assert {id: p["estado"] for id, p in primeiro["pedidos"].items()} == {"a": "concluido", "b": "cancelado"}


def test_muitos_pedidos_com_progresso_e_em_paralelo(dados):
    for opcoes in (["--pedidos", 20], ["--pedidos", 20, "--paralelos", 8]):
        feito = rodar(dados, *opcoes)
        assert feito.returncode == 0 and "gravações forçadas por pedido" in feito.tela
    assert estado(dados)["produtos"]["livro"] == 100 - 2 * 40


@pytest.mark.parametrize("ponto", PONTOS)
def test_cair_em_mata_de_verdade_e_a_partida_seguinte_resolve(ponto, dados):
    if ponto == "na-recuperacao":
        rodar(dados, "--cair-em", "depois-da-decisao", "--id", "p-0")
    cenario = "envio-recusado" if ponto == "antes-do-aborto" else "sucesso"
    assert rodar(dados, "--cenario", cenario, "--id", "p-1", "--cair-em", ponto).returncode == -signal.SIGKILL
    feito = rodar(dados, "--id", "p-2")
    assert feito.returncode == 0 and "em dúvida: 0" in feito.tela
    assert rodar(dados, "--em-duvida").tela.strip() == "em dúvida: 0"


def test_ponto_que_nao_foi_alcancado_e_dito(dados):
    feito = rodar(dados, "--cenario", "sem-estoque", "--cair-em", "depois-da-decisao")
    assert feito.returncode == 0 and "nenhum pedido passou" in feito.erro


def test_a_aula_do_bloqueio(dados):
    """Morrer antes da decisão, ver as travas, ver quem é barrado e quem passa, e recuperar."""
    rodar(dados, "--id", "p-1", "--cair-em", "antes-da-decisao")
    lista = rodar(dados, "--em-duvida").tela
    for esperado in ("em dúvida: 1", "pedido p-1", "trava produto/livro", "trava cliente/ana", "aborto presumido"):
        assert esperado in lista
    with closing(sqlite3.connect(dados / "monolito" / "estoque.db")) as banco:
        (linha, transacao), = banco.execute("SELECT linha, transacao FROM travas")
    assert linha == "produto/livro" and transacao in lista
    barrado = rodar(dados, "--sem-recuperar", "--cliente", "carla", "--id", "p-2", "--espera", "0.1")
    assert f"livro travado pela transação {transacao} em dúvida" in barrado.tela and barrado.returncode == 1
    passa = rodar(dados, "--sem-recuperar", "--cliente", "carla", "--produto", "caneca", "--id", "p-3")
    assert "em dúvida: 1" in passa.tela
    fim = rodar(dados, "--id", "p-4")
    assert fim.returncode == 0 and "o log não tem decisão: aborto presumido" in fim.tela
    assert {id: p["estado"] for id, p in estado(dados)["pedidos"].items()} == {
        "p-1": "cancelado", "p-2": "cancelado", "p-3": "concluido", "p-4": "concluido"}


def test_log_apagado_a_pessoa_decide(dados):
    rodar(dados, "--id", "p-1", "--cair-em", "depois-da-decisao")
    for arquivo in (dados / "monolito").glob("coordenador.db*"):
        arquivo.unlink()
    partida = rodar(dados, "--cliente", "carla", "--produto", "caneca", "--id", "p-2")
    assert partida.returncode == 1 and "FICA EM DÚVIDA" in partida.erro
    transacao = partida.erro.split("transação ")[1].split(",")[0]
    assert rodar(dados, "--forcar", f"{transacao}=confirmar").returncode == 0
    assert estado(dados)["pedidos"]["p-1"]["estado"] == "concluido"
    assert rodar(dados, "--id", "p-3").returncode == 0


def test_diagrama_mermaid(dados, tmp_path):
    assert rodar(dados, "--id", "p-1", "--diagrama", tmp_path / "d.mmd").returncode == 0
    linhas = (tmp_path / "d.mmd").read_text(encoding="utf-8").splitlines()
    assert linhas[0] == "sequenceDiagram" and "    Coordenador->>Pedidos: preparar (p-1)" in linhas
    assert rodar(dados, "--diagrama", tmp_path / "não" / "existe").returncode == 2


@pytest.mark.parametrize("opcoes, dito", [
    (["--nada"], "não conheço --nada"), (["--cenario", "x"], "escolha entre"), (["--pedidos", "0"], "número inteiro"),
    (["--pedidos", "x"], "número inteiro"), (["--espera", "-1"], "--espera"), (["--espera", "nan"], "segundos"),
    (["--cair-em", "x"], "escolha entre"), (["--cep", "123"], "cep"), (["--quantidade", "2000"], "quantidade"),
    (["--id", "á"], "--id"), (["--pedidos", "2", "--cenario", "todos"], "use só um"), (["--arquivo", "/não/existe"], "não existe"),
    (["--forcar", "x"], "TRANSACAO=confirmar"), (["--forcar", "x=confirmar"], "nenhuma transação"),
    (["--reconhecer", "x"], "nenhuma decisão"), (["sobra"], "não conheço sobra"),
])
def test_mau_uso_e_uma_linha_e_status_2(opcoes, dito, dados):
    feito = rodar(dados, *opcoes)
    assert feito.returncode == 2 and dito in feito.erro and len(feito.erro.splitlines()) == 1


def test_pedido_ruim_no_arquivo_barra_todos(dados):
    feito = rodar(dados, "--arquivo", "-", entrada='{"pedido":"a","cliente":"ana","itens":[{"produto":"livro",'
                  '"quantidade":1}],"cep":"01310100"}\n{"pedido":"b"}\n')
    assert feito.returncode == 2 and "linha 2" in feito.erro and len(feito.erro.splitlines()) == 1
    assert estado(dados)["pedidos"] == {}


@pytest.mark.parametrize("banco", ["pedidos", "estoque", "pagamentos", "envio", "coordenador"])
def test_banco_com_lixo_ou_de_outra_versao(banco, dados):
    rodar(dados, "--id", "p-1")
    arquivo = dados / "monolito" / f"{banco}.db"
    certo = arquivo.read_bytes()
    with closing(sqlite3.connect(arquivo)) as conexao:
        conexao.execute("PRAGMA user_version=99")
    feito = rodar(dados, "--id", "p-2")
    assert feito.returncode == 2 and "versão" in feito.erro and len(feito.erro.splitlines()) == 1
    arquivo.write_bytes(b"lixo " * 1000)
    feito = rodar(dados, "--id", "p-2")
    assert feito.returncode == 2 and "não é um banco SQLite" in feito.erro and len(feito.erro.splitlines()) == 1
    arquivo.write_bytes(certo)
    assert rodar(dados, "--id", "p-2").returncode == 0


def test_dados_num_arquivo_e_nao_numa_pasta(tmp_path):
    (tmp_path / "x").write_text("")
    feito = rodar(tmp_path / "x")
    assert feito.returncode == 2 and "pasta" in feito.erro and len(feito.erro.splitlines()) == 1


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="para quem é root, nenhuma permissão falta")
def test_sem_permissao(dados):
    rodar(dados, "--id", "p-1")
    pasta = dados / "monolito"
    pasta.chmod(0o500)
    try:
        feito = rodar(dados, "--id", "p-2")
        assert feito.returncode in (1, 2) and feito.erro
    finally:
        pasta.chmod(0o700)


def test_ctrl_c_termina_o_pedido_em_andamento_e_nada_fica_em_duvida(dados):
    with subprocess.Popen([sys.executable, APP, "--dados", dados, "--pedidos", "100000", "--paralelos", "3"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as processo:
        esperar(lambda: dados.exists() and estado(dados)["pedidos"], que="o primeiro pedido")
        processo.send_signal(signal.SIGINT)
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


def test_duas_execucoes_ao_mesmo_tempo_na_mesma_pasta(dados):
    """Os mesmos dados, desde a criação dos bancos; cada veredito vale, embora a outra esteja no meio."""
    processos = [subprocess.Popen([sys.executable, APP, "--dados", dados, "--pedidos", "40"],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for processo in processos:
        saida, erro = processo.communicate(timeout=60)
        assert processo.returncode == 0, saida.decode() + erro.decode()
    final = estado(dados)
    assert len(final["pedidos"]) == 120
    assert final["produtos"]["livro"] == 100 - 2 * sum(p["estado"] == "concluido" for p in final["pedidos"].values()) == 0
