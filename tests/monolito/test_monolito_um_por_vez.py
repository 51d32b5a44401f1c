"""Um programa de cada vez: o log é a trava. Quem chega espera ou diz que não pode, e quem morre a solta.

E os arquivos que somem debaixo de um programa vivo: nunca duas respostas para um pedido, nada do que foi dito se perde.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

if not hasattr(os, "fork"):
    pytest.skip("estes testes usam processos filhos feitos com fork", allow_module_level=True)

from conftest import esperar
from monolito_apoio import (MONOLITO, M, Filho, Retrato, abrir, app, atender, cenario, conduzir, conferir_repouso, consultar,
                            cair_em, no_filho, nova_pasta, pedido, so_recuperar)
from test_monolito_quedas import rapida  # noqa: F401


# --- os que começam juntos ---

def na_largada(pasta, largada, id, espera):
    """Só começa quando todos os outros também; devolve o que disse, se não pôde."""
    while not largada.exists():
        pass
    M.decisoes.LogDeDecisoes.__init__.__defaults__ = (espera,)
    try:
        atender(pasta, [pedido(id, produto="caneca", quantidade=1)])
    except M.falha.Falha as falha:
        return str(falha)


def test_programas_iniciados_no_mesmo_instante_um_conduz_e_os_outros_esperam_ou_o_dizem(rapida):  # noqa: F811
    """Metade não espera nada; desde a criação dos bancos, ou com algo em dúvida para recuperar."""
    recusados = 0
    for vez in range(24):
        pasta, largada = rapida / f"d{vez}", rapida / f"largada{vez}"
        if vez % 3:
            nova_pasta(pasta)
        if vez % 3 == 2:
            no_filho(cair_em, pasta, "depois-da-decisao", pedido("antes"))
        filhos = {f"p-{n}": Filho(na_largada, pasta, largada, f"p-{n}", 30 * (n % 2)) for n in range(4)}
        largada.touch()
        ditos = {id: filho.esperar().saida for id, filho in filhos.items()}
        no_filho(so_recuperar, pasta)
        conferir_repouso(pasta)
        feitos = Retrato(pasta).pedidos
        for id, dito in ditos.items():
            assert feitos.get(id) == (None if dito else "concluido"), (id, dito, feitos)
            assert not dito or "outro programa conduz pedidos" in dito
        assert ditos["p-1"] is ditos["p-3"] is None, "quem espera acaba entrando"
        assert feitos.get("antes") == ("concluido" if vez % 3 == 2 else None)
        recusados += sum(map(bool, ditos.values()))
    assert recusados, "nenhum encontrou o log com outro: não começaram juntos"


# --- o que morre com o log na mão ---

def martelar(pasta, semente, dito):
    """Espera a sua vez e pede sem parar, até ser morto; cada resultado que o programa deu vai para o arquivo `dito`."""
    M.decisoes.LogDeDecisoes.__init__.__defaults__ = (600.0,)
    acaso, coordenador = random.Random(semente), abrir(pasta)
    dito.with_name("conduz").write_text(str(os.getpid()))
    vistos = os.open(dito, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    banco = coordenador.participantes[0].banco
    for n in range(10**6):
        # De vez em quando repete um id já usado: um pedido vale uma vez.
        ids = [f"{semente}-{m}" for m in range(n * 3, n * 3 + 3)] + [f"{semente}-{acaso.randrange(n * 3 + 1)}"]
        conduzir(coordenador, [cenario(acaso.choice(["sucesso", "sucesso", *M.loja.CENARIOS]), id) for id in ids], 4)
        for id in ids:
            estado, = banco.execute("SELECT estado FROM pedidos WHERE pedido = ?", (id,)).fetchone()
            os.write(vistos, f"{id} {estado}\n".encode())


def repor(pasta):
    """Como um professor: soma o mesmo às duas colunas, com o programa no ar."""
    for banco, sql in (("estoque", "UPDATE produtos SET inicial = inicial + 50, quantidade = quantidade + 50"),
                       ("pagamentos", "UPDATE clientes SET inicial = inicial + 900000, saldo = saldo + 900000")):
        with closing(sqlite3.connect(pasta / f"{banco}.db", timeout=30)) as conexao, conexao:
            conexao.execute(sql)


@pytest.mark.parametrize("segundos", [6, pytest.param(60, marks=pytest.mark.longo)])
def test_quem_conduz_morre_ao_acaso_com_uma_fila_de_outros_esperando(segundos, tmp_path, capsys):
    pasta, dito = nova_pasta(tmp_path / "d"), tmp_path / "dito.txt"
    acaso, mortes = random.Random(42), 0
    filhos = [Filho(martelar, pasta, f"f{n}", dito) for n in range(3)]
    fim = time.monotonic() + segundos
    # Numa máquina ocupada, até haver o que conferir.
    while time.monotonic() < fim or (mortes < 1000 and (not dito.exists() or dito.read_text().count("concluido") <= 50)):
        quem = esperar(lambda: (tmp_path / "conduz").exists() and (tmp_path / "conduz").read_text(), que="um que conduza")
        time.sleep(acaso.uniform(0, 0.1))  # o instante da morte é o acaso que se quer
        # Quase sempre o que conduz; às vezes um que espera.
        vitima = next(f for f in filhos if f.pid == int(quem)) if acaso.random() < 0.8 else acaso.choice(filhos)
        if vitima.pid == int(quem):
            (tmp_path / "conduz").unlink()
        vitima.matar()
        assert vitima.esperar().morto
        mortes += 1
        filhos[filhos.index(vitima)] = Filho(martelar, pasta, f"f-{mortes}", dito)
        repor(pasta)
    for filho in filhos:
        filho.matar()
        filho.esperar()
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    retrato = Retrato(pasta)
    ditos = [linha.split() for linha in dito.read_text().splitlines()]
    assert all(retrato.pedidos[id] == estado for id, estado in ditos), "o que foi dito mudou"
    concluidos = sum(estado == "concluido" for estado in retrato.pedidos.values())
    assert mortes > 5 and concluidos > 50
    with capsys.disabled():
        print(f"\n  {mortes} mortes, {len(retrato.pedidos)} pedidos, {concluidos} concluídos, {len(ditos)} respostas")


# --- o log que some e volta debaixo de quem vive ---

PARA_EM_VEZ_DE_MORRER = """
import runpy, signal, sys
sys.argv, signal.SIGKILL = sys.argv[1:], signal.SIGSTOP
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Parado:
    """O programa de verdade, parado (SIGSTOP) num ponto do protocolo; `soltar()` o deixa terminar."""

    def __init__(self, dados: Path, ponto: str, *opcoes: str):
        self.processo = subprocess.Popen(
            [sys.executable, "-c", PARA_EM_VEZ_DE_MORRER, MONOLITO / "app.py", "--dados", dados, "--cair-em", ponto, *opcoes],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        estado = Path(f"/proc/{self.processo.pid}/stat")
        esperar(lambda: estado.read_text().rsplit(")", 1)[1].split()[0] == "T", que="a parada")

    def soltar(self) -> str:
        self.processo.send_signal(signal.SIGCONT)
        self.erro = self.processo.communicate(timeout=120)[1]
        assert "Traceback" not in self.erro
        return self.erro


@pytest.fixture
def dados(rapida):  # noqa: F811
    return rapida / "dados com espaço e ação"


DEVOLVIDO, DE_ANTES = "apagado e devolvido", "trocado pelo de antes"


def sumir_com_o_log(sumico, dados, log):
    (dados / "guardado").mkdir()
    for arquivo in log.parent.glob("coordenador.db*"):
        arquivo.rename(dados / "guardado" / arquivo.name)
    if sumico == DE_ANTES:  # uma cópia de antes desta execução, que não a conhece
        shutil.copy(dados / "de-antes.db", log)


def devolver_o_log(dados, log):
    for arquivo in log.parent.glob("coordenador.db*"):
        arquivo.unlink()
    for arquivo in (dados / "guardado").iterdir():
        arquivo.rename(log.parent / arquivo.name)


@pytest.mark.parametrize("ponto", ["entre-votos", "antes-da-decisao", "depois-da-decisao", "entre-confirmacoes"])
@pytest.mark.parametrize("sumico", ["apagado", DEVOLVIDO, DE_ANTES])
def test_o_log_some_debaixo_de_quem_vive_e_nunca_ha_duas_respostas(sumico, ponto, dados):
    """Outro programa entra com o log que achou, recupera, e atende; só então o primeiro continua."""
    app(dados, "--id", "p-0")
    pasta, log = dados / "monolito", dados / "monolito" / "coordenador.db"
    shutil.copy(log, dados / "de-antes.db")
    vivo = Parado(dados, ponto, "--id", "p-1")
    sumir_com_o_log(sumico, dados, log)
    outro = app(dados, "--id", "p-2", "--cliente", "carla", "--produto", "caneca")
    assert "FICA EM DÚVIDA" in outro.erro and "coordenador.db não conhece a execução" in outro.erro.replace("\n", " ")
    if sumico == DEVOLVIDO:
        devolver_o_log(dados, log)
    dito = vivo.soltar()
    fim = app(dados, "--sem-pedido")
    retrato = Retrato(pasta, log=False)
    retrato.conferir_promessas()
    assert retrato.pedidos["p-0"] == retrato.pedidos["p-2"] == "concluido"
    if sumico == DEVOLVIDO:
        assert (retrato.pedidos["p-1"], fim.returncode) == ("concluido", 0) and not retrato.esperando("p-1")
    elif ponto in ("depois-da-decisao", "entre-confirmacoes"):  # já decidido, no log que ainda estava ali
        assert retrato.pedidos["p-1"] == "concluido" and not retrato.esperando("p-1")
        assert "coordenador.db foi trocado ou apagado" in dito.replace("\n", " ")
    else:
        assert retrato.esperando("p-1") and not retrato.efeitos("p-1"), "sem o log ninguém responde por ele"
        assert "coordenador.db foi trocado ou apagado" in dito.replace("\n", " ") and "FICA EM DÚVIDA" in fim.erro


# --- os outros arquivos ---

@pytest.mark.parametrize("como", ["apagado", "trocado"])
@pytest.mark.parametrize("nome", ["estoque.db", "pedidos.db", "coordenador.db", "estoque.db-wal", "estoque.db-shm", "coordenador.db-wal"])
def test_um_arquivo_some_debaixo_de_quem_vive_e_nada_do_que_foi_dito_se_perde(nome, como, dados):
    """O vivo nota antes de decidir (o -shm, antes do COMMIT seguinte), salva o que pode, diz uma linha e para."""
    do_indice = nome.endswith("-shm")
    assert app(dados, "--id", "p-1", "--cair-em", "antes-do-fim").returncode == -signal.SIGKILL  # só está nos -wal
    vivo = Parado(dados, "depois-da-decisao" if do_indice else "antes-da-decisao", "--id", "p-2", "--cliente", "carla", "--produto", "caneca")
    arquivo, guardado = dados / "monolito" / nome, dados / "guardado"
    os.link(arquivo, guardado)
    arquivo.unlink()
    if como == "trocado":  # pelo mesmo conteúdo: quem só olha o conteúdo não nota
        shutil.copy(guardado, arquivo)
    if do_indice:
        repor(dados / "monolito")  # no sqlite3, sem saber que o programa no ar já não vê este -wal
    dito = vivo.soltar()
    assert vivo.processo.returncode == 2 and f"{nome} foi trocado ou apagado" in dito.replace("\n", " ")
    if nome.endswith(".db"):  # volta o de antes, e o -wal, que não era do que veio no lugar e foi guardado, com ele
        guardado.rename(arquivo)
        for wal in arquivo.parent.glob(f"{nome}-wal.*"):
            wal.rename(arquivo.with_name(f"{nome}-wal"))
    fim = app(dados, "--sem-pedido")
    assert fim.returncode == 0, fim.tudo
    conferir_repouso(dados / "monolito")
    assert Retrato(dados / "monolito").pedidos == {"p-1": "concluido", "p-2": "concluido" if do_indice else "cancelado"}
    livros = consultar(dados / "monolito", "estoque", "SELECT inicial, quantidade FROM produtos WHERE produto = 'livro'")
    assert livros == ([(150, 148)] if do_indice else [(100, 98)])


def test_uma_copia_feita_com_o_programa_no_ar_e_dita_pelo_veredito(dados):
    """Cada banco copiado num instante diferente: eles se desmentem, e a pessoa fica sabendo por quê."""
    app(dados, "--id", "p-0")
    (dados / "copia" / "monolito").mkdir(parents=True)
    vivo = Parado(dados, "antes-do-fim", "--id", "p-1")
    try:
        for arquivo in (dados / "monolito").iterdir():
            if not arquivo.name.startswith("estoque"):
                shutil.copy(arquivo, dados / "copia" / "monolito")
    finally:
        vivo.soltar()
    app(dados, "--id", "p-2")
    shutil.copy(dados / "monolito" / "estoque.db", dados / "copia" / "monolito")
    feito = app(dados / "copia", "--id", "p-3")
    assert feito.returncode == 1 and "se esta pasta é uma cópia, foi feita com um programa no ar" in feito.tela


@pytest.mark.parametrize("dono, sql", [
    ("pagamentos", "UPDATE clientes SET saldo = '10.000,00'"), ("estoque", "UPDATE produtos SET quantidade = 'dez'"),
    ("pedidos", "INSERT INTO pedidos VALUES ('x', 'ana', '1,50', 'concluido', NULL)")])
def test_valor_de_outro_tipo_escrito_a_mao_e_recusado_pelo_banco(dono, sql, dados):
    app(dados, "--estado")
    with pytest.raises(sqlite3.IntegrityError, match="cannot store TEXT"):
        consultar(dados / "monolito", dono, sql)
