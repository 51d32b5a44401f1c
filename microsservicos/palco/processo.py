"""Um serviço rodando no seu próprio processo, como se estivesse no terminal ao lado.

Quem morre é iniciado de novo; quem morre sempre, uma vez por segundo.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from comum.tela import alertar

MICROSSERVICOS = Path(__file__).resolve().parent.parent
PAUSA = 1.0  # segundos entre dois inícios do mesmo serviço, se ele morre logo


class Processo:
    """O processo de um serviço.

    nome: o do serviço. opcoes: as da linha de comando dele. pedidos: só para a porta de entrada;
    um arquivo com os pedidos desta execução, que o serviço recebe pela entrada padrão até ficar
    pronto uma vez: a essa altura eles estão no banco dele.
    """

    def __init__(self, nome: str, opcoes: list[str], pedidos: IO | None = None):
        self.nome, self.opcoes, self.pedidos = nome, opcoes, pedidos
        self.pronto = False  # alguma vez
        self.iniciar()

    def iniciar(self) -> None:
        pedidos = None if self.pronto else self.pedidos
        if pedidos:
            pedidos.seek(0)
        de_onde = ["--arquivo", "-"] if pedidos else ["--sem-pedido"] * (self.nome == "pedidos")
        self.inicio, self.resto, self.dito = time.monotonic(), b"", False
        self.processo = subprocess.Popen(
            [sys.executable, MICROSSERVICOS / f"servico_{self.nome}.py", *self.opcoes, *de_onde],
            bufsize=0,
            stdin=pedidos or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "10000",
                 "LOJA_LANCADOR": str(os.getpid())})
        os.set_blocking(self.processo.stdout.fileno(), False)

    def ouvir(self) -> list[str]:
        """As linhas que ele disse desde a última vez; uma delas diz que está pronto."""
        dito = self.resto + (self.processo.stdout.read() or b"")
        *linhas, self.resto = dito.split(b"\n")
        linhas = [linha.decode("utf-8", "replace") for linha in linhas]
        self.pronto |= any(linha.startswith(f"{self.nome}: pronto") for linha in linhas)
        return linhas

    def desistiu(self) -> bool:
        """Se acabou por conta própria sem nunca ter ficado pronto; o que ele disse explica."""
        return not self.pronto and (self.processo.poll() or 0) > 0  # um sinal é negativo

    def manter(self) -> None:
        """Se o serviço morreu, diz isso e inicia outro, no máximo um a cada PAUSA."""
        status = self.processo.poll()
        if status is None or self.desistiu():
            return
        if not self.dito:
            como = f"sinal {-status}" if status < 0 else f"status {status}"
            alertar(f"{self.nome} morreu ({como}): inicio outro")
            self.dito = True
        if time.monotonic() - self.inicio > PAUSA:
            self.iniciar()
