"""O caos com semente, curto; à mão, python tests/aula/caos.py dura o quanto se quiser."""

from __future__ import annotations

import pytest

import caos
from rastros import conferir_rastros


def test_a_mesma_semente_planeja_as_mesmas_falhas():
    assert caos.planejar(7, 30) == caos.planejar(7, 30)
    assert caos.impressao(caos.planejar(7, 30)) != caos.impressao(caos.planejar(8, 30))


def test_todo_plano_tem_cada_falha_e_desfaz_o_que_faz():
    for semente in range(50):
        feitas = [falha for _, falha, _ in caos.planejar(semente, 1)]
        assert set(caos.FALHAS) <= set(feitas)
        assert feitas.count("suspender") == feitas.count("continuar")
        assert feitas.count("iniciar") >= feitas.count("copiar")


def test_cada_falha_uma_vez_com_milhares_de_pedidos_na_fila(tmp_path):
    feito = caos.executar(tmp_path, segundos=1, semente=1, pedidos=2000)
    assert feito.feitas["pendentes quando o plano acabou"] >= 0 and len(feito.venenos) >= 1
    assert all(feito.feitas[falha] for falha in caos.FALHAS)
    assert conferir_rastros(tmp_path / "dados" / "microsservicos") == 2000


@pytest.mark.longo
@pytest.mark.parametrize("semente", [2, 3, 5])
def test_caos_de_trinta_segundos(tmp_path, semente):
    feito = caos.executar(tmp_path, segundos=30, semente=semente, pedidos=12000)
    assert feito.feitas["pedidos"] == 12000 and feito.feitas["matar"] >= 2
