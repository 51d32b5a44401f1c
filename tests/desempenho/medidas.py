"""O que as medidas de desempenho têm em comum: repetir, resumir, dizer onde se mediu.

Toda comparação é uma razão entre medidas feitas na mesma execução, na mesma máquina,
alternadas: um computador que fica mais lento no meio fica mais lento para todos.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
from pathlib import Path


def alternar(repeticoes: int, **medidas) -> dict[str, list]:
    """Roda cada medida `repeticoes` vezes, uma de cada por vez; devolve {nome: valores}."""
    valores: dict[str, list] = {nome: [] for nome in medidas}
    for _ in range(repeticoes):
        for nome, medir in medidas.items():
            valores[nome].append(medir())
    return valores


def percentil(valores: list[float], p: float) -> float:
    ordenados = sorted(valores)
    return ordenados[min(len(ordenados) - 1, int(p / 100 * len(ordenados)))]


def razoes(a: list[float], b: list[float]) -> list[float]:
    """a/b, par a par: cada par foi medido lado a lado."""
    return [x / y for x, y in zip(a, b)]


def linha(nome: str, valores: list[float], unidade: str = "", alvo: str = "") -> None:
    """Uma linha da tabela: mediana, e entre colchetes o menor e o maior."""
    def numero(v):
        return f"{v:,.0f}".replace(",", ".") if v >= 100 else f"{v:.2f}".replace(".", ",")
    print(f"  {nome:48} {numero(statistics.median(valores)):>8} {unidade:10} "
          f"[{numero(min(valores))} a {numero(max(valores))}] {alvo}".rstrip(), flush=True)


def maquina() -> str:
    """Em que máquina e com que versões se mediu."""
    import pika
    cpus = Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    modelo = cpus.partition("model name")[2].partition("\n")[0].lstrip("\t :") or platform.machine()
    return (f"{os.cpu_count()} CPUs, {modelo}; {platform.system()} {platform.release()}; "
            f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, pika {pika.__version__}")
