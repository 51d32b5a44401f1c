"""As duas arquiteturas contam a mesma loja: os arquivos gêmeos são iguais, byte por byte."""

from __future__ import annotations

from pathlib import Path

import pytest

RAIZ = Path(__file__).resolve().parent.parent
GEMEOS = ["loja.py", "tela.py", "banco.py", "veredito.py", "comandos.py", "diagrama.py"]


@pytest.mark.parametrize("nome", GEMEOS)
def test_gemeos_nao_divergem(nome):
    a, b = RAIZ / "monolito" / nome, RAIZ / "microsservicos" / nome
    assert a.read_bytes() == b.read_bytes(), f"copie {nome} de uma pasta para a outra"


def test_os_gemeos_sao_os_unicos_nomes_repetidos():
    nomes = {p.name for p in (RAIZ / "monolito").glob("*.py")} & {p.name for p in (RAIZ / "microsservicos").glob("*.py")}
    assert nomes == set(GEMEOS)
