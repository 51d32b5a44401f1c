"""O monolito morre em cada passo durável, e de novo durante a recuperação: as promessas valem sempre.

Os pontos não vêm de uma lista: cada COMMIT que grava algo dá dois, antes e depois dele; a varredura
vai até a execução chegar ao fim sem morrer.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from itertools import count
from pathlib import Path

import pytest

if not hasattr(os, "fork"):
    pytest.skip("estes testes matam processos filhos feitos com fork", allow_module_level=True)

from monolito_apoio import (BANCOS, DONOS, Disco, M, Retrato, abrir, atender, cair_em, cair_no_passo, cenario, conferir_repouso, consultar, copiar,
                            no_filho, nova_pasta, pedido, so_recuperar)

@pytest.fixture
def rapida(tmp_path):
    """Uma pasta em memória, se houver: aqui quem mata é o teste, não a falta de um fsync."""
    if not os.path.isdir("/dev/shm"):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as pasta:
        yield Path(pasta)


ROTEIROS = {
    "sucesso": [cenario("sucesso")],
    "sem-estoque": [cenario("sem-estoque")],
    "pagamento-recusado": [cenario("pagamento-recusado")],
    "envio-recusado": [cenario("envio-recusado")],
    "dois pedidos, o mesmo produto": [pedido("p-1"), pedido("p-2", "carla")],
    "dois pedidos, a última unidade": [pedido("p-1", "ana", "notebook", 2), pedido("p-2", "ana", "notebook", 1)],
    "um depois do outro": [pedido("p-1"), pedido("p-2")],
}
LONGOS = ["dois pedidos, a última unidade", "dois pedidos, o mesmo produto", "um depois do outro"]
TODOS = [pytest.param(nome, marks=pytest.mark.longo) if nome in LONGOS else nome for nome in ROTEIROS]
JUNTOS = [nome for nome in ROTEIROS if nome.startswith("dois")]


def rodar(pasta, roteiro, passo, disco):
    """No filho: o roteiro inteiro, com a morte marcada para o `passo`."""
    cair_no_passo(passo)
    disco.vigiar()
    atender(pasta, ROTEIROS[roteiro], paralelos=2 if roteiro in JUNTOS else 1)


def recuperar(pasta, passo, disco):
    cair_no_passo(passo)
    disco.vigiar()
    so_recuperar(pasta)


def conferir_queda(pasta, ids, energia=False) -> Retrato:
    """O que vale mesmo antes de recuperar. No retrato, `confirmados` são os pedidos sem volta.

    energia: uma queda de energia leva o efeito num dono e o deixa noutro, até a recuperação.
    """
    retrato = Retrato(pasta)
    decididos = retrato.decididos()
    if not energia:
        retrato.conferir_promessas()
    retrato.confirmados = set()
    for id in ids:
        aplicado, esperando, estado = retrato.efeitos(id), retrato.esperando(id), retrato.pedidos.get(id)
        if id in decididos or aplicado:
            retrato.confirmados.add(id)
            # Só se confirma com todos os votos SIM: cada dono aplicou, ou está preparado para aplicar.
            assert aplicado | esperando == set(DONOS), (aplicado, esperando)
            assert id in decididos or not esperando, "o log esqueceu uma decisão de que ainda se precisa"
            assert estado in ("concluido", "pendente")
    retrato.cancelados = {id for id in ids if retrato.pedidos.get(id) == "cancelado"}
    return retrato


def conferir_fim(pasta, antes: Retrato) -> None:
    """Depois de recuperar: repouso, e nenhuma decisão mudou."""
    depois = Retrato(pasta)
    depois.conferir_repouso()
    concluidos = {id for id, estado in depois.pedidos.items() if estado == "concluido"}
    assert concluidos == antes.confirmados
    assert antes.cancelados <= set(depois.pedidos) - concluidos


@pytest.mark.parametrize("roteiro", TODOS)
def test_morre_em_cada_passo_e_de_novo_em_cada_passo_da_recuperacao(roteiro, rapida, capsys):
    modelo, ids = nova_pasta(rapida / "modelo"), [p["pedido"] for p in ROTEIROS[roteiro]]
    quedas = duplas = 0
    anterior = None
    for passo in count(1):
        caida = copiar(modelo, rapida / "caida")
        if not no_filho(rodar, caida, roteiro, passo, Disco(rapida / "forçado")).morto:
            break
        quedas += 1
        antes = conferir_queda(caida, ids)
        # Logo depois de um COMMIT e logo antes do próximo, o disco tem o mesmo: uma varredura basta.
        if antes.tudo() != anterior:
            duplas += varrer_recuperacao(caida, rapida / "outra", ids, antes)
        anterior = antes.tudo()
    conferir_repouso(caida)
    assert quedas >= 8
    with capsys.disabled():
        print(f"\n  {roteiro}: {quedas} pontos de queda, {duplas} quedas duplas")


def varrer_recuperacao(caida, outra, ids, antes) -> int:
    """Morre em cada passo da recuperação de `caida`, e confere; devolve em quantos morreu."""
    anterior = None
    for passo in count(1):
        copiar(caida, outra)
        if not no_filho(recuperar, outra, passo, Disco(outra.with_name("forçado"))).morto:
            conferir_fim(outra, antes)
            return passo - 1
        meio = conferir_queda(outra, ids)
        assert meio.confirmados == antes.confirmados
        if meio.tudo() != anterior:  # um disco igual ao do passo anterior já foi recuperado
            no_filho(so_recuperar, outra)
            conferir_fim(outra, antes)
        anterior = meio.tudo()


@pytest.mark.parametrize("roteiro", ["sucesso", "dois pedidos, o mesmo produto", TODOS[-1]])
def test_queda_de_energia_leva_o_que_nao_foi_forcado(roteiro, rapida, capsys):
    """Em cada passo, tudo o que não foi forçado some: em todos os bancos, ou num deles só."""
    modelo, ids = nova_pasta(rapida / "modelo"), [p["pedido"] for p in ROTEIROS[roteiro]]
    quedas = 0
    for passo in count(1):
        caida, disco = copiar(modelo, rapida / "caida"), Disco(rapida / "forçado")
        if not no_filho(rodar, caida, roteiro, passo, disco).morto:
            break
        restos = disco.restos(caida)
        for cortados in [restos, *([banco] for banco in restos if len(restos) > 1)]:
            quedas += 1
            outra = copiar(caida, rapida / "outra")
            disco.cortar(outra, cortados)
            antes = conferir_queda(outra, ids, energia=True)
            # A recuperação termina, e a energia cai de novo: o que ela esqueceu tinha de estar no disco.
            depois = Disco(rapida / "forçado depois")
            no_filho(recuperar, outra, 0, depois)
            de_novo = copiar(outra, rapida / "de-novo")
            depois.cortar(de_novo, depois.restos(de_novo))
            assert conferir_queda(de_novo, ids, energia=True).confirmados == antes.confirmados
            no_filho(so_recuperar, de_novo)
            conferir_fim(de_novo, antes)
    with capsys.disabled():
        print(f"\n  {roteiro}: {quedas} quedas de energia")


def test_queda_de_energia_em_cada_passo_da_recuperacao(rapida, capsys):
    """O processo morre com uma decisão que já se lê no log, e que o disco não tem; a energia cai durante a recuperação."""
    modelo = nova_pasta(rapida / "modelo")
    for passo in count(1):
        caida, disco = copiar(modelo, rapida / "caida"), Disco(rapida / "forçado")
        assert no_filho(rodar, caida, "sucesso", passo, disco).morto
        if Retrato(copiar(caida, rapida / "olhada")).decididos():
            break
    assert "coordenador" in disco.restos(caida)
    quedas = cortar_em_cada_passo(caida, disco, rapida / "outra")
    with capsys.disabled():
        print(f"\n  {quedas} quedas de energia durante a recuperação")


def cortar_em_cada_passo(caida, disco, outra) -> int:
    quedas, anterior = 0, None
    for passo in count(1):
        copiar(caida, outra)
        depois = Disco(outra.with_name("forçado depois"), disco)
        morreu = no_filho(recuperar, outra, passo, depois).morto
        restos = depois.restos(outra)
        agora = depois.forcado(), [(wal.name, wal.stat().st_size) for wal in sorted(outra.glob("*-wal"))]
        novidade, anterior = agora != anterior, agora
        for cortados in [restos, *([banco] for banco in restos if len(restos) > 1)] if novidade else []:
            quedas += 1
            cortada = copiar(outra, outra.with_name("cortada"))
            depois.cortar(cortada, cortados)
            antes = conferir_queda(cortada, ["p-1"], energia=True)
            no_filho(so_recuperar, cortada)
            conferir_fim(cortada, antes)
        if not morreu:
            return quedas


def test_morre_ao_criar_os_bancos(rapida):
    """Em cada um dos cinco bancos, antes e depois do COMMIT que o cria."""
    for passo in count(1):
        pasta = rapida / str(passo)
        if not no_filho(criar_e_morrer, pasta, passo).morto:
            break
        no_filho(atender, pasta, [pedido("p-1")])
        conferir_repouso(pasta)
        assert Retrato(pasta).pedidos == {"p-1": "concluido"}
    assert passo == 11


def criar_e_morrer(pasta, passo):
    criar, faltam = M.banco._criar_se_falta, iter(range(1, 100))

    def criar_contando(*argumentos):
        if next(faltam) == passo:
            os.kill(os.getpid(), 9)
        criar(*argumentos)
        if next(faltam) == passo:
            os.kill(os.getpid(), 9)

    M.banco._criar_se_falta = criar_contando
    abrir(pasta)


# --- atrás de um link, e de volta de uma cópia ---

def link_de_arquivo(pasta, fora):
    """Um link relativo para outro link, com outro nome: o WAL fica ao lado do arquivo de verdade."""
    for banco in BANCOS:
        shutil.move(pasta / f"{banco}.db", fora / f"{banco}.outro-nome")
        (fora / banco).symlink_to(f"{banco}.outro-nome")
        (pasta / f"{banco}.db").symlink_to(os.path.relpath(fora / banco, pasta))


def link_de_pasta(pasta, fora):
    shutil.copytree(pasta, fora / "dados")
    shutil.rmtree(pasta)
    pasta.symlink_to(fora / "dados")


@pytest.mark.parametrize("ligar", [link_de_arquivo, link_de_pasta])
def test_atras_de_um_link_as_gravacoes_forcadas_estao_no_disco(ligar, rapida):
    """A energia cai depois da decisão, e o disco só guarda o que foi forçado: os votos e a decisão."""
    pasta, fora, disco = nova_pasta(rapida / "dados com espaço"), rapida / "outro disco", Disco(rapida / "forçado")
    fora.mkdir()
    ligar(pasta, fora)
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
    cair_em(pasta, "depois-da-decisao", pedido("p-1"))


def test_copia_que_volta_sem_o_wal_volta_a_ter_wal(rapida):
    pasta = nova_pasta(rapida / "d")
    for banco in BANCOS:
        consultar(pasta, banco, "VACUUM INTO ?", str(pasta / "copia"))
        os.replace(pasta / "copia", pasta / f"{banco}.db")
        assert consultar(pasta, banco, "PRAGMA journal_mode") == [("delete",)]
    no_filho(atender, pasta, [pedido("p-1")])
    conferir_repouso(pasta)
    assert [consultar(pasta, banco, "PRAGMA journal_mode") for banco in BANCOS] == [[("wal",)]] * 5
