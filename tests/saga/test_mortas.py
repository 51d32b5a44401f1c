"""mortas.py com muitas mensagens, lida devagar, por dois ao mesmo tempo, ou morta no meio."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bloqueante import declarar
from cluster import rabbitmqctl
from conftest import RAIZ, esperar
from venenos import Veneno, escrever, publicar
from verbos import Loja, Programa, loja, propriedades, rodar  # noqa: F401

MORTAS = RAIZ / "microsservicos" / "mortas.py"


def mortas(loja: Loja, *argumentos) -> Programa:
    """mortas.py nesta loja, até o fim."""
    programa = rodar("microsservicos/mortas.py", "--dados", loja.dados, *argumentos, url=loja.url)
    programa.limpo()
    return programa


def encher(loja: Loja, fila: str, quantas: int, corpo: bytes = b"ruim") -> None:
    props = escrever({**propriedades("pedido.criado", {"pedido": "x"}), "message_id": "m"})
    publicar(loja.url, fila, [Veneno("", corpo, props)] * quantas)
    esperar(lambda: loja.profundidade(fila) == quantas, que=f"{quantas} em {fila}")


def test_lidas_devagar_aparecem_todas_e_nada_fica_preso(loja):
    """Um `| less` parado: a conexão já foi embora, e as mensagens estão todas na fila."""
    encher(loja, "estoque.mortas", 900)
    with subprocess.Popen([sys.executable, MORTAS, "--dados", loja.dados], stdout=subprocess.PIPE,
                          env={**os.environ, "RABBITMQ_URL": loja.url}) as leitor:
        assert b"estoque.mortas" in leitor.stdout.readline()  # e para de ler: o pipe (64 KiB) enche, o programa espera
        esperar(lambda: loja.profundidade("estoque.mortas") == 900, que="ele largar tudo enquanto mostra")
        assert leitor.poll() is None
        assert mortas(loja).linhas[-1] == "900 mensagens mortas"
        resto = leitor.stdout.read().decode().splitlines()
    assert leitor.returncode == 0 and resto[-1] == "900 mensagens mortas" and len(resto) == 3 * 900 + 1


def test_leitor_morto_no_meio_devolve_tudo(loja):
    encher(loja, "envio.mortas", 2000)
    leitor = Programa(MORTAS, "--dados", loja.dados, url=loja.url)
    esperar(lambda: loja.profundidade("envio.mortas") < 2000, que="ele pegar algumas")
    leitor.matar()
    esperar(lambda: loja.profundidade("envio.mortas") == 2000, que="elas voltarem")


def test_reenviar_nao_deixa_nenhuma_nem_com_outro_lendo(loja):
    encher(loja, "estoque.mortas", 600)
    leitor = Programa(MORTAS, "--dados", loja.dados, url=loja.url)
    reenvio = mortas(loja, "estoque", "--reenviar")
    assert reenvio.fim() == 0 and reenvio.linhas[-1].startswith("600 "), reenvio.texto
    assert leitor.fim() == 0 and leitor.linhas[-1] in ("600 mensagens mortas", "0 mensagens mortas")
    assert loja.profundidade("estoque.mortas") == 0 and loja.profundidade("estoque") == 600


def test_reenviar_para_uma_fila_cheia_diz_quantas_ficaram(broker, loja):
    declarar(loja.url)
    rabbitmqctl(broker, "set_policy", "-p", loja.vhost, "cheia", "^estoque$", '{"max-length": 5}')
    encher(loja, "estoque.mortas", 600)
    reenvio = mortas(loja, "estoque", "--reenviar")
    assert reenvio.fim() == 1 and len(reenvio.linhas) == 1 and "está cheia" in reenvio.texto, reenvio.texto
    esperar(lambda: loja.profundidade("estoque.mortas") + loja.profundidade("estoque") == 600,
            que="nenhuma se perder nem se repetir")
    assert loja.profundidade("estoque.mortas") > 0


def test_outro_programa_que_segura_mensagens_nao_vira_um_numero_errado(loja):
    encher(loja, "estoque.mortas", 50)
    with loja.canal() as canal:
        for _ in range(20):
            canal.basic_get("estoque.mortas")
        assert mortas(loja).linhas[-1] == "30 mensagens mortas"
    esperar(lambda: loja.profundidade("estoque.mortas") == 50, que="as outras voltarem")


@pytest.mark.longo
def test_milhares_e_megabytes_de_mortas_nao_enchem_a_memoria(loja):
    """De cada uma fica o que se mostra: o corpo inteiro de todas não caberia."""
    encher(loja, "estoque.mortas", 7000)
    encher(loja, "envio.mortas", 120, b"x" * 1_000_000)
    codigo = ("import resource, subprocess, sys; p = subprocess.run(sys.argv[1:], capture_output=True); "
              "print(p.stdout.decode().splitlines()[-1], "
              "resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)")
    medida = Programa("-c", codigo, sys.executable, MORTAS, "--dados", loja.dados, url=loja.url)
    assert medida.fim(300) == 0, medida.texto
    mensagens, memoria = medida.linhas[-1].rsplit(maxsplit=1)
    assert mensagens == "7120 mensagens mortas"
    assert int(memoria) < 100, f"{memoria} MiB"
