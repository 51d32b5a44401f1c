"""Os arquivos dos bancos: atrás de um link, apagados com o programa no ar, de volta de uma cópia.

Nada se grava no que já não tem nome, e o que se diz forçado está no disco.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sqlite3
from contextlib import closing

import pytest

if not hasattr(os, "fork"):
    pytest.skip("estes testes usam processos filhos feitos com fork", allow_module_level=True)

from monolito_apoio import (BANCOS, DONOS, Disco, M, Retrato, abrir, atender, conferir_repouso, consultar, copiar,
                            no_filho, nova_pasta, pedido, so_recuperar)
from test_monolito_quedas import rapida  # noqa: F401
from test_monolito_vivos import parado, prova, recuperar_ouvindo


@pytest.fixture
def pasta(rapida):  # noqa: F811
    return nova_pasta(rapida / "dados com espaço e ação")


# --- links ---

def link_de_arquivo(pasta, fora):
    for banco in BANCOS:
        shutil.move(pasta / f"{banco}.db", fora)
        (pasta / f"{banco}.db").symlink_to(fora / f"{banco}.db")


def corrente_de_links_relativos(pasta, fora):
    for banco in BANCOS:
        shutil.move(pasta / f"{banco}.db", fora / f"{banco}.outro-nome")
        (fora / banco).symlink_to(f"{banco}.outro-nome")
        (pasta / f"{banco}.db").symlink_to(os.path.relpath(fora / banco, pasta))


def link_de_pasta(pasta, fora):
    shutil.copytree(pasta, fora / "dados")
    shutil.rmtree(pasta)
    pasta.symlink_to(fora / "dados")


@pytest.mark.parametrize("ligar", [link_de_arquivo, corrente_de_links_relativos, link_de_pasta])
def test_atras_de_um_link_as_gravacoes_forcadas_estao_no_disco(ligar, pasta, rapida):  # noqa: F811
    """A energia cai depois da decisão, e o disco só guarda o que foi forçado: os votos e a decisão."""
    (rapida / "outro disco").mkdir()
    ligar(pasta, rapida / "outro disco")
    disco = Disco()
    assert no_filho(decidir_e_morrer, pasta, disco).morto
    assert set(disco.forcado()) == set(BANCOS), "cada banco tem algo forçado"
    disco.cortar(pasta, BANCOS)
    retrato = Retrato(pasta)
    assert retrato.esperando("p-1") == set(DONOS) and retrato.decididos() == {"p-1"}
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": "concluido"}


def decidir_e_morrer(pasta, disco):
    disco.vigiar()
    M.quedas.armar("depois-da-decisao")
    atender(pasta, [pedido("p-1")])


# --- a recuperação e a energia ---

def test_a_energia_cai_assim_que_a_recuperacao_faz_o_log_esquecer(pasta):
    """As confirmações da recuperação têm de estar no disco antes: sem a decisão, ninguém as refaz."""
    assert no_filho(decidir_e_morrer, pasta, Disco()).morto
    disco = Disco()
    assert no_filho(recuperar_e_morrer_ao_esquecer, pasta, disco).morto
    for cortados in ([*DONOS], ["estoque"], [*BANCOS]):
        cortada = copiar(pasta, pasta.with_name("cortada"))
        disco.cortar(cortada, [b for b in cortados if b in disco.restos(cortada)])
        no_filho(so_recuperar, cortada)
        conferir_repouso(cortada)
        assert Retrato(cortada).pedidos == {"p-1": "concluido"}


def recuperar_e_morrer_ao_esquecer(pasta, disco):
    disco.vigiar()
    esquecer = M.decisoes.LogDeDecisoes.esquecer

    def esquecer_e_morrer(self, execucao):
        esquecer(self, execucao)
        M.quedas.morrer()

    M.decisoes.LogDeDecisoes.esquecer = esquecer_e_morrer
    so_recuperar(pasta)


# --- de volta de uma cópia ---

@pytest.mark.parametrize("quais", [["estoque"], BANCOS])
def test_copia_que_volta_sem_o_wal_volta_a_ter_wal(quais, pasta):
    for banco in quais:
        with closing(sqlite3.connect(pasta / f"{banco}.db", isolation_level=None)) as conexao:
            conexao.execute("VACUUM INTO ?", (str(pasta / "copia"),))
        os.replace(pasta / "copia", pasta / f"{banco}.db")
        assert consultar(pasta, banco, "PRAGMA journal_mode") == [("delete",)]
    no_filho(atender, pasta, [pedido("p-1")])
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": "concluido"}
    assert [consultar(pasta, banco, "PRAGMA journal_mode") for banco in BANCOS] == [[("wal",)]] * 5


# --- apagados com o programa no ar ---

def apagar_prova(pasta):
    prova(pasta).unlink()


def apagar_presenca(pasta):
    (pasta / ".presenca").unlink()


def apagar_log(pasta):
    for arquivo in pasta.glob("coordenador.db*"):
        arquivo.unlink()


def apagar_wal(pasta):
    (pasta / "estoque.db-wal").unlink(missing_ok=True)


def apagar_shm(pasta):
    (pasta / "estoque.db-shm").unlink(missing_ok=True)


ORDENS = list(itertools.permutations([apagar_prova, apagar_presenca, apagar_log, apagar_wal, apagar_shm]))
POUCAS = random.Random(2026).sample(ORDENS, 8)


def em_toda_ordem() -> list:
    casos = []
    for ordem in ORDENS:
        marcas = [] if ordem in POUCAS else [pytest.mark.longo]
        casos.append(pytest.param(ordem, marks=marcas, id=" ".join(f.__name__.removeprefix("apagar_") for f in ordem)))
    return casos


@pytest.mark.parametrize("ponto", ["antes-da-decisao", "depois-da-decisao"])
@pytest.mark.parametrize("ordem", em_toda_ordem())
def test_apagar_arquivos_em_qualquer_ordem_nao_desfaz_num_dono_o_que_outro_aplicou(ordem, ponto, pasta):
    """Depois de cada arquivo apagado, outro programa parte e recupera; no fim, o primeiro continua."""
    filho = parado(pasta, ponto)
    for apagar in ordem:
        apagar(pasta)
        no_filho(recuperar_ouvindo, pasta)
    filho.soltar()
    no_filho(recuperar_ouvindo, pasta)
    retrato = Retrato(pasta, log=False)
    retrato.conferir_promessas()
    aplicado, esperando = retrato.efeitos("p-1"), retrato.esperando("p-1")
    assert aplicado in (set(), set(DONOS)) or aplicado | esperando == set(DONOS), (aplicado, esperando)
    if retrato.pedidos["p-1"] == "cancelado":
        assert not aplicado


@pytest.mark.parametrize("ponto, estado", [("antes-da-decisao", "concluido"), ("depois-da-decisao", "concluido"),
                                           ("entre-votos", "concluido"), ("entre-confirmacoes", "concluido")])
@pytest.mark.parametrize("apagar", [apagar_wal, apagar_shm])
def test_wal_apagado_com_o_programa_no_ar_e_salvo_por_quem_ainda_o_ve(apagar, ponto, estado, pasta):
    filho = parado(pasta, ponto)
    apagar(pasta)
    assert filho.soltar() is None
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": estado}


@pytest.mark.parametrize("apagar", [apagar_wal, apagar_shm])
def test_quem_parte_nao_abre_um_banco_cujo_wal_foi_apagado_debaixo_de_outro(apagar, pasta):
    """Abriria outro WAL, e um dos dois programas apagaria o que o outro gravou."""
    filho = parado(pasta)
    apagar(pasta)
    avisos = no_filho(recuperar_ouvindo, pasta).saida
    assert "estoque.db: o -wal ou o -shm foi apagado com outro programa no ar" in avisos
    assert not [nome for nome in ("estoque.db-wal", "estoque.db-shm") if apagar is apagar_wal
                and nome.endswith("wal") and (pasta / nome).exists()]
    assert filho.soltar() is None
    conferir_repouso(pasta)


@pytest.mark.parametrize("quando", ["antes", "depois"])
def test_log_trocado_junto_da_decisao(quando, pasta):
    """Apagado antes do COMMIT é aborto; entre ele e o fsync, ninguém sabe, e ninguém é avisado."""
    dito = no_filho(apagar_o_log_ao_decidir, pasta, quando).saida
    retrato = Retrato(pasta, log=False)
    retrato.conferir_promessas()
    if quando == "antes":
        assert retrato.pedidos == {"p-1": "cancelado"} and retrato.motivos["p-1"] == "a decisão não pôde ser gravada"
    else:
        assert "não sei se a última gravação ficou" in dito
        assert retrato.esperando("p-1") == set(DONOS) and not retrato.efeitos("p-1")


def apagar_o_log_ao_decidir(pasta, quando):
    M.arquivo.PACIENCIA = 0
    coordenador = abrir(pasta)
    renovar, forcar = coordenador.log._renovar, M.arquivo.forcar_ao_disco

    def renovar_e_apagar(banco, prova):
        if quando == "antes":
            apagar_log(pasta)
        else:
            M.arquivo.forcar_ao_disco = lambda wal: (forcar(wal), apagar_log(pasta))
        return renovar(banco, prova)

    coordenador.log._renovar = renovar_e_apagar
    try:
        coordenador.executar(pedido("p-1"))
    except M.falha.Falha as falha:
        return str(falha)


def test_promessa_que_some_depois_do_voto_e_aborto(pasta):
    """O banco de um dono é trocado por uma cópia antiga quando todos já votaram SIM: ninguém pode confirmar."""
    antiga = copiar(pasta, pasta.with_name("antiga"))
    filho = parado(pasta)
    for arquivo in pasta.glob("estoque.db*"):
        arquivo.unlink()
    shutil.copy(antiga / "estoque.db", pasta)
    assert "estoque.db foi trocado ou apagado" in filho.soltar()
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": "cancelado"}
