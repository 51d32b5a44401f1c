"""Três nós do RabbitMQ nesta máquina: morre o que lidera as filas, volta, e morre outro."""

from __future__ import annotations

import json

import pytest

from cluster import Cluster, rabbitmqctl
from conftest import conferir_que_acabou, esperar
from test_no_privado import LOCAL, escutas, precisa_de_proc
from verbos import SERVICOS, Loja, mistura

pytestmark = [pytest.mark.longo, precisa_de_proc]


def lideres(no) -> dict[str, str]:
    """{fila: nome do nó que a lidera}, perguntado a um nó vivo."""
    filas = json.loads(rabbitmqctl(no, "list_queues", "name", "leader", "--formatter", "json", "--silent"))
    return {fila["name"]: fila["leader"] for fila in filas if fila["name"] in SERVICOS}


def test_morre_o_no_que_lidera_as_filas_e_depois_outro_e_nada_se_perde(tmp_path):
    with Cluster(tmp_path / "cluster") as cluster:
        loja = Loja(tmp_path / "dados", cluster.url, fartura=True)
        try:
            loja.iniciar()
            for rodada in range(2):
                lider = lideres(cluster.nos[rodada])["estoque"]
                morto = next(no for no in cluster.nos if no.nome == lider)
                outro = next(no for no in cluster.nos if no is not morto)
                # A metade dos pedidos passa por Envio: suspenso, essa metade está nas filas na
                # hora da morte, por mais rápidos que os outros serviços sejam.
                loja.suspender("envio")
                loja.enviar(*mistura(2000, f"m{rodada}"))
                loja.esperar_um_pouco(200)
                assert loja.pendentes() >= 1000
                morto.matar()
                loja.continuar("envio")
                loja.enviar(*mistura(600, f"r{rodada}"))
                esperar(lambda: lider not in lideres(outro).values(), que="outro nó liderar as filas")
                loja.esperar_finais(120)
                morto.iniciar()
                esperar(lambda: len(cluster.ativos()) == 3, que="o nó morto voltar ao cluster")
                assert {onde for onde, _ in escutas([no.pid for no in cluster.nos])} <= {*LOCAL}
                loja.enviar(*mistura(600, f"v{rodada}"))
            loja.url = cluster.nos[0].url
            loja._conexao = None
            loja.conferir_repouso()
            assert len(loja.enviados) == 2 * (2000 + 600 + 600)
        finally:
            loja.fechar()
    for no in cluster.nos:
        conferir_que_acabou(no)
