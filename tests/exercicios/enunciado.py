"""O que os testes dos exercícios têm em comum: enquanto algo não foi feito, uma frase diz o que falta.

Cada arquivo de testes tem uma função `o_que_se_pede()`. Se ela não acha tudo no lugar, só o
primeiro teste roda, e falha com a frase; os outros esperam.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest


class Falta(Exception):
    """Algo que o enunciado pede e ainda não está no projeto."""


def exigir(feito, falta: str) -> None:
    if not feito:
        raise Falta(f"ainda falta {falta} (o enunciado está em tests/exercicios/README.md)")


def modulo(ala: SimpleNamespace, pasta: str, nome: str, *pedidos: str):
    """O módulo `nome` de uma das duas pastas, com os nomes que o enunciado pede."""
    exigir(hasattr(ala, nome), f"o arquivo {pasta}/{nome}.py")
    achado = getattr(ala, nome)
    for pedido in pedidos:
        exigir(hasattr(achado, pedido), f"{pedido}, em {pasta}/{nome}.py")
    return achado


def o_que_falta(request) -> str | None:
    try:
        request.module.o_que_se_pede()
    except Falta as falta:
        return str(falta)


def test_o_que_o_enunciado_pede_esta_no_lugar(request):
    if falta := o_que_falta(request):
        pytest.fail(falta, pytrace=False)


@pytest.fixture(autouse=True)
def enunciado(request):
    if request.function is not test_o_que_o_enunciado_pede_esta_no_lugar and o_que_falta(request):
        pytest.skip("espera pelo que o primeiro teste diz que falta")
