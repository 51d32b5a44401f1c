"""O que as medidas de desempenho têm em comum: repetir, resumir, desenhar.

Toda comparação é uma razão entre medidas feitas na mesma execução, na mesma máquina,
alternadas: um computador que fica mais lento no meio fica mais lento para todos.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Sequence

RAIZ = Path(__file__).resolve().parents[2]


def alternar(repeticoes: int, **medidas) -> dict[str, list[float]]:
    """Roda cada medida `repeticoes` vezes, uma de cada por vez; devolve {nome: valores}."""
    valores: dict[str, list[float]] = {nome: [] for nome in medidas}
    for _ in range(repeticoes):
        for nome, medir in medidas.items():
            valores[nome].append(medir())
    return valores


def mediana(valores: list[float]) -> float:
    return statistics.median(valores)


def percentil(valores: list[float], p: float) -> float:
    ordenados = sorted(valores)
    return ordenados[min(len(ordenados) - 1, int(p / 100 * len(ordenados)))]


def razoes(a: list[float], b: list[float]) -> list[float]:
    """a/b, par a par: cada par foi medido lado a lado."""
    return [x / y for x, y in zip(a, b)]


def linha(nome: str, valores: list[float], unidade: str, alvo: str = "") -> None:
    """Uma linha da tabela: mediana, e entre colchetes o menor e o maior."""
    def numero(v):
        return f"{v:,.0f}".replace(",", ".") if v >= 100 else f"{v:.2f}".replace(".", ",")
    print(f"  {nome:44} {numero(mediana(valores)):>8} {unidade:10} [{numero(min(valores))} a {numero(max(valores))}] {alvo}".rstrip())


def grafico(titulo: str, series: dict[str, list[float]], rotulo: str, pontos: Sequence[int] | None = None) -> None:
    """Um gráfico de barras de texto: uma linha por ponto (sem eles: 0, 1, 2...), uma coluna por série."""
    print(f"\n  {titulo}")
    maior = max((v for s in series.values() for v in s), default=1) or 1
    largura = 60 // len(series)
    print("  " + rotulo.rjust(5) + "".join(f"  {nome:{largura + 6}}" for nome in series))
    for i, ponto in enumerate(pontos or range(max(len(s) for s in series.values()))):
        barras = ""
        for serie in series.values():
            valor = serie[i] if i < len(serie) else 0
            barras += f"  {valor:5.0f} {'█' * round(largura * valor / maior):{largura}}"
        print(f"  {ponto:5}{barras}".rstrip())


def maquina() -> str:
    """Em que máquina e com que versões se mediu."""
    import pika
    modelo = platform.processor() or platform.machine()
    try:
        for texto in Path("/proc/cpuinfo").read_text().splitlines():
            if texto.startswith("model name"):
                modelo = texto.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return (f"{os.cpu_count()} CPUs, {modelo}; {platform.system()} {platform.release()}; "
            f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, pika {pika.__version__}")


def esperar(condicao, prazo: float = 120.0, passo: float = 0.01) -> None:
    """Espera `condicao()` por até `prazo` segundos; levanta TimeoutError."""
    limite = time.monotonic() + prazo
    while not condicao():
        if time.monotonic() > limite:
            raise TimeoutError("a condição não se cumpriu a tempo")
        time.sleep(passo)


def rodar_python(*argumentos, **opcoes) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, *map(str, argumentos)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", **opcoes)
