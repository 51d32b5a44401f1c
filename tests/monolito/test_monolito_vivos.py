"""Quem vive e quem morreu: apagar um arquivo nunca transforma uma execução viva numa morta.

E se mesmo assim a recuperação se enganar, a cerca no log faz com que uma das duas pare.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from itertools import count

import pytest

if not hasattr(os, "fork"):
    pytest.skip("estes testes usam processos filhos feitos com fork", allow_module_level=True)

from conftest import esperar
from monolito_apoio import (DONOS, MONOLITO, M, Filho, Retrato, abrir, atender, cair_no_passo, conferir_repouso,
                            consultar, copiar, no_filho, nova_pasta, pedido, so_recuperar)
from test_monolito_protocolo import operar
from test_monolito_quedas import rapida  # noqa: F401


@pytest.fixture
def pasta(rapida):  # noqa: F811
    return nova_pasta(rapida / "dados com espaço e ação")


def parado(pasta, ponto="antes-da-decisao"):
    """Um processo que conduz p-1 e parou em `ponto`; `soltar()` o deixa terminar e devolve o que ele disse."""
    canos = pasta.parent
    for nome in ("avisar", "ouvir"):
        (canos / nome).unlink(missing_ok=True)
        os.mkfifo(canos / nome)
    filho = Filho(parar_no_meio, pasta, canos, ponto)
    (canos / "avisar").read_bytes()
    filho.soltar = lambda: ((canos / "ouvir").write_bytes(b"x"), filho.esperar().saida)[1]
    return filho


def parar_no_meio(pasta, canos, ponto):
    def parar(nome):
        if nome == ponto:
            (canos / "avisar").write_bytes(b"x")
            (canos / "ouvir").read_bytes()

    M.quedas.ponto, M.arquivo.PACIENCIA = parar, 0.2
    coordenador = abrir(pasta)
    try:
        coordenador.executar(pedido("p-1"))
        coordenador.encerrar()
    except (M.falha.Falha, sqlite3.Error) as erro:
        return str(M.falha.em_portugues(erro))
    finally:  # como app.py: o que SQLite faz ao fechar também conta
        for arquivo in [*(p.arquivo for p in coordenador.participantes), coordenador.log.arquivo]:
            arquivo.fechar()


@pytest.fixture
def vivo(pasta):
    filho = parado(pasta)
    yield filho
    if not hasattr(filho, "morto"):
        filho.matar()
        filho.esperar()


def recuperar_ouvindo(pasta):
    """A recuperação, e o que ela disse em voz alta."""
    avisos = []
    M.recuperacao.alertar = M.app.alertar = avisos.append
    M.vizinhos.PRAZO = 0.05
    try:
        so_recuperar(pasta)
    except M.falha.Falha as falha:
        avisos.append(str(falha))
    return "\n".join(avisos)


def prova(pasta):
    (arquivo,) = pasta.glob(".execucao-*.db")
    return arquivo


def test_recuperacao_nao_toca_no_que_outro_processo_conduz(pasta, vivo):
    transacao = Retrato(pasta).preparadas["pedidos"]["p-1"]
    no_filho(so_recuperar, pasta)
    assert Retrato(pasta).esperando("p-1") == set(DONOS)
    assert "está viva" in no_filho(operar, pasta, f"{transacao}=abortar").saida
    no_filho(atender, pasta, [pedido("p-2")])
    assert Retrato(pasta).motivos["p-2"] == f"livro travado pela transação {transacao}"
    vivo.soltar()
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": "concluido", "p-2": "cancelado"}


# --- a prova de vida apagada ---

def apagar(pasta):
    prova(pasta).unlink()


def apagar_tudo(pasta):
    prova(pasta).unlink()
    (pasta / ".presenca").unlink()


def trocar(pasta):
    arquivo = prova(pasta)
    arquivo.unlink()
    arquivo.touch()


def devolver_uma_copia(pasta):
    arquivo = prova(pasta)
    shutil.copy2(arquivo, pasta.parent / "copia")
    arquivo.unlink()
    shutil.move(pasta.parent / "copia", arquivo)


SUMICOS = [apagar, apagar_tudo, trocar, devolver_uma_copia]


@pytest.mark.parametrize("sumir", SUMICOS)
def test_prova_de_vida_apagada_nao_da_por_morto_quem_vive(sumir, pasta, vivo):
    transacao = Retrato(pasta).preparadas["pedidos"]["p-1"]
    sumir(pasta)
    avisos = no_filho(recuperar_ouvindo, pasta).saida
    assert "FICA EM DÚVIDA" in avisos and "Não se sabe se a execução" in avisos and transacao in avisos
    for escolha in ("confirmar", "abortar"):
        assert "não se sabe se a execução" in no_filho(operar, pasta, f"{transacao}={escolha}").saida
    assert Retrato(pasta).esperando("p-1") == set(DONOS)
    assert vivo.soltar() is None
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": "concluido"}
    assert not list(pasta.glob(".execucao-*"))


@pytest.mark.parametrize("sumir", SUMICOS)
def test_sem_a_prova_de_vida_um_morto_e_resolvido_por_quem_esta_sozinho(sumir, pasta, vivo):
    sumir(pasta)
    vivo.matar()
    assert vivo.esperar().morto
    assert no_filho(recuperar_ouvindo, pasta).saida == ""
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": "cancelado"}


def test_quem_vive_poe_a_prova_de_volta_ao_decidir(pasta, tmp_path):
    filho = parado(pasta, "depois-da-decisao")
    try:
        registrada = consultar(pasta, "coordenador", "SELECT prova FROM execucoes")
        apagar(pasta)
        assert no_filho(decidir_outro, pasta).saida == 2
        assert consultar(pasta, "coordenador", "SELECT prova FROM execucoes") == registrada
    finally:
        assert filho.soltar() is None
    conferir_repouso(pasta)


def decidir_outro(pasta):
    """Dois pedidos, e a prova apagada entre eles: devolve quantas provas diferentes houve."""
    coordenador = abrir(pasta, recuperar=False)
    provas = set()
    for p in (pedido("a", "carla", "caneca"), pedido("b", "carla", "caneca")):
        coordenador.executar(p)
        arquivo = pasta / M.execucao.arquivo(coordenador.execucao.nome)
        provas |= {coordenador.log.prova(coordenador.execucao.nome)}
        assert coordenador.log.prova(coordenador.execucao.nome) == M.execucao._qual(arquivo)
        arquivo.unlink()
        arquivo.touch()  # o número do que foi apagado não se repete enquanto alguém o tem aberto
    coordenador.execucao.prova()
    coordenador.encerrar()
    return len(provas)


# --- a cerca no log ---

def recuperar_enganado(pasta, passo):
    """Uma recuperação que dá qualquer execução por morta, e que morre no `passo`."""
    @contextmanager
    def morta(*_):
        yield M.execucao.MORTA

    M.recuperacao.julgada = morta
    cair_no_passo(passo)
    so_recuperar(pasta)


@pytest.mark.parametrize("ponto, estado", [
    ("antes-da-decisao", "cancelado"), ("entre-confirmacoes", "concluido"),
    pytest.param("entre-votos", "cancelado", marks=pytest.mark.longo),
    pytest.param("depois-da-decisao", "concluido", marks=pytest.mark.longo)])
def test_recuperacao_que_se_engana_e_quem_ela_deu_por_morto_chegam_ao_mesmo(ponto, estado, pasta):
    """A recuperação morre em cada passo dela, e o vivo continua de onde estava: nunca um de cada lado."""
    modelo = pasta
    for passo in count(1):
        pasta = copiar(modelo, modelo.with_name(f"dados-{passo}"))
        filho = parado(pasta, ponto)
        morreu = no_filho(recuperar_enganado, pasta, passo).morto
        dito = filho.soltar()
        Retrato(pasta).conferir_promessas()
        no_filho(so_recuperar, pasta)
        conferir_repouso(pasta)
        if not morreu:
            break
    assert passo > 5
    assert Retrato(pasta).pedidos == {"p-1": estado}
    if estado == "cancelado":
        assert "foi dada como morta por outra" in dito


def test_quem_foi_encerrado_para_e_nao_comeca_outro_pedido(pasta):
    ditas, pedidos = no_filho(continuar_depois_de_encerrado, pasta).saida
    assert all("foi dada como morta por outra" in dita for dita in ditas) and len(ditas) == 2
    assert pedidos == {"p-1": "cancelado", "p-2": "cancelado"}


def continuar_depois_de_encerrado(pasta):
    coordenador, ditas = abrir(pasta), []
    coordenador.log.encerrar(coordenador.execucao.nome)
    for p in (pedido("p-1"), pedido("p-2")):
        try:
            coordenador.executar(p)
        except M.falha.Falha as falha:
            ditas.append(str(falha))
    return ditas, Retrato(pasta).pedidos


def test_o_que_foi_decidido_enquanto_a_recuperacao_se_engana_nao_e_esquecido(pasta):
    assert no_filho(decidir_na_ultima_hora, pasta).saida == {"p-0": "cancelado", "p-1": "concluido"}
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)


def decidir_na_ultima_hora(pasta):
    """A recuperação dá por morto quem vive, e ele ainda decide p-1 antes que ela feche a cerca; e morre."""
    coordenador = abrir(pasta)
    log, normal = coordenador.log, coordenador.log.encerrar
    coordenador._fase_1([coordenador.nova(pedido("p-0", "carla", "caneca"))])
    coordenador._fase_2 = lambda decididas: None

    def encerrar(execucao):
        coordenador.rodada([coordenador.nova(pedido("p-1"))])
        return normal(execucao)

    log.encerrar = encerrar
    M.recuperacao._resolver(coordenador.execucao.nome, coordenador.participantes, log, None)
    return Retrato(pasta).pedidos


def test_partida_sem_nada_a_encerrar_nao_forca_gravacao_nenhuma(pasta):
    no_filho(atender, pasta, [pedido("p-1")])
    assert no_filho(forcadas_na_recuperacao, pasta).saida == 0


def forcadas_na_recuperacao(pasta):
    participantes = [M.participante.Participante(negocio, pasta) for negocio in M.app.NEGOCIOS]
    log = M.decisoes.LogDeDecisoes(pasta)
    M.recuperacao.recuperar(pasta, participantes, log)
    return log.arquivo.forcadas + sum(p.arquivo.forcadas for p in participantes)


# --- o programa de verdade ---

def test_prova_apagada_com_o_programa_parado_e_outro_partindo(pasta, tmp_path):
    """SIGSTOP no meio dos pedidos, a prova some, outro programa parte, e o primeiro continua."""
    dados = tmp_path / "dados"
    comando = [sys.executable, MONOLITO / "app.py", "--dados", dados]
    subprocess.run([*comando, "--estado"], check=True, capture_output=True)
    fartura(dados / "monolito")
    with subprocess.Popen([*comando, "--pedidos", "100000"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as um:
        try:
            for volta in range(3):
                antes = quantos(dados)
                esperar(lambda: quantos(dados) > antes, que="mais pedidos")
                um.send_signal(signal.SIGSTOP)
                for arquivo in (dados / "monolito").glob(".execucao-*" if volta % 2 else ".*"):
                    arquivo.unlink()
                outro = subprocess.run([*comando, "--cliente", "carla", "--produto", "caneca", "--id", f"o-{volta}",
                                        "--espera", "0.1"], capture_output=True, encoding="utf-8")
                um.send_signal(signal.SIGCONT)
                assert "FALHOU" not in outro.stdout and "Traceback" not in outro.stderr, outro.stdout + outro.stderr
        finally:
            um.send_signal(signal.SIGCONT)
            um.send_signal(signal.SIGINT)
            saida = um.communicate(timeout=30)[0].decode()
    assert um.returncode == 130 and "em dúvida: 0" in saida and "FALHOU" not in saida, saida
    fim = subprocess.run([*comando, "--id", "fim"], capture_output=True, encoding="utf-8")
    assert fim.returncode == 0 and "em dúvida: 0" in fim.stdout, fim.stdout + fim.stderr
    conferir_repouso(dados / "monolito")


def fartura(pasta):
    for banco, sql in (("estoque", "UPDATE produtos SET inicial = inicial + 9999999, quantidade = quantidade + 9999999"),
                       ("pagamentos", "UPDATE clientes SET inicial = inicial + 1e12, saldo = saldo + 1e12")):
        with closing(sqlite3.connect(pasta / f"{banco}.db")) as conexao, conexao:
            conexao.execute(sql)


def quantos(dados) -> int:
    return consultar(dados / "monolito", "pedidos", "SELECT count(*) FROM pedidos WHERE estado <> 'pendente'")[0][0]
