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
    medidas = dict(re.findall(r"^  (\S.*?) {2,}([0-9.,]+) ", saida.stdout, re.M))
    for medida in ("saga / relé nu em lotes, com o pika como vem", "saga / livro-texto", "CPU dos quatro serviços, por pedido", "p50",
                   "um cliente / limite", "um cliente / SQLite", "64 de cada vez / um cliente", "2000 pedidos sobre 100000 antigos",
                   "2PC, 1 produto", "orquestracao.py: primeiro pedido concluido"):
        assert float(medidas[medida].replace(".", "").replace(",", ".")) > 0, medida
