"""Exercício A: o que a saga publica, escrito antes de vê-la.

    EXERCICIO=A python -m pytest tests/exercicios
"""

from __future__ import annotations

import os

import pytest

from conftest import RAIZ
from enunciado import enunciado, exigir, test_o_que_o_enunciado_pede_esta_no_lugar  # noqa: F401
from maquete import Maquete

ARQUIVO = RAIZ / "previsao.txt"
HISTORIA = ["desligar pagamentos", "enviar p-1 sucesso", "andar", "cancelar p-1", "andar", "ligar pagamentos", "andar"]


def o_que_se_pede():
    exigir(ARQUIVO.exists(), "previsao.txt, na pasta do projeto, com um evento por linha")


def test_a_previsao_e_o_que_acontece(tmp_path):
    maquete, previsto = Maquete(tmp_path), ARQUIVO.read_text(encoding="utf-8").split()
    for linha in HISTORIA:
        maquete.fazer(linha)
    houve = [mensagem.split(":")[1] for mensagem in maquete.publicadas]
    certos = len(os.path.commonprefix([previsto, houve]))
    if previsto != houve:
        pytest.fail(f"certos: os {certos} primeiros; depois deles não é o que está em previsao.txt", pytrace=False)
