"""As medidas rodam até o fim e medem o que dizem medir; nenhum número é julgado aqui."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DESEMPENHO = Path(__file__).with_name("desempenho.py")


@pytest.mark.longo
def test_as_medidas_rapidas_rodam_inteiras_e_toda_razao_e_um_numero():
    saida = subprocess.run([sys.executable, DESEMPENHO, "--rapido"], capture_output=True, encoding="utf-8", timeout=900)
    assert saida.returncode == 0, saida.stderr
    for secao in "12345":
        assert f"\n{secao}. " in saida.stdout, f"falta a seção {secao}"
    for razao in ("saga / relé nu", "saga / livro-texto", "p50 / soma das partes", "um cliente / limite",
                  "um cliente / SQLite", "64 clientes / um cliente"):
        achada = re.search(rf"^  {re.escape(razao)} +([0-9.,]+) ", saida.stdout, re.M)
        assert achada and float(achada[1].replace(".", "").replace(",", ".")) > 0, razao
    print(saida.stdout)


def test_sem_opcao_conhecida_as_medidas_dizem_o_que_aceitam():
    saida = subprocess.run([sys.executable, DESEMPENHO, "--secao", "nada"], capture_output=True, encoding="utf-8")
    assert saida.returncode == 2 and "disponibilidade" in saida.stderr and "Traceback" not in saida.stderr
