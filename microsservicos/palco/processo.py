"""Um serviço rodando no seu próprio processo, como se estivesse no terminal ao lado.

Quem morre é iniciado de novo, com pausas que crescem se ele morre sempre.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO


MICROSSERVICOS = Path(__file__).resolve().parent.parent
MENOR_PAUSA, MAIOR_PAUSA = 0.2, 5.0  # segundos antes de reiniciar; dobra com quem morre sempre
VIDA_LONGA = 10.0  # segundos de pé que fazem esquecer as mortes anteriores


class Processo:
    """O processo de um serviço.

    nome: o do serviço. opcoes: as da linha de comando dele. linhas: onde pôr o que ele disser.
    pedidos: só para a porta de entrada; um arquivo com os pedidos desta execução, que o serviço
    recebe pela entrada padrão até ficar pronto uma vez: a essa altura eles estão no banco dele.
    """

    def __init__(self, nome: str, opcoes: list[str], linhas: queue.Queue,
                 pedidos: BinaryIO | None = None):
        self.nome, self.opcoes, self.linhas, self.pedidos = nome, opcoes, linhas, pedidos
        self.pronto = threading.Event()  # alguma vez
        self.pausa, self.volta = MENOR_PAUSA, 0.0
        self.iniciar()

    def iniciar(self) -> None:
        pedidos = None if self.pronto.is_set() else self.pedidos
        if pedidos:
            pedidos.seek(0)
        de_onde = ["--arquivo", "-"] if pedidos else ["--sem-pedido"] * (self.nome == "pedidos")
        self.inicio = time.monotonic()
        self.processo = subprocess.Popen(
            [sys.executable, script(self.nome), *self.opcoes, *de_onde],
            stdin=pedidos or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="replace",
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "10000",
                 "LOJA_LANCADOR": str(os.getpid())})
        self.leitor = threading.Thread(target=self._ler, args=(self.processo.stdout,), daemon=True)
        self.leitor.start()

    def _ler(self, saida) -> None:
        """Numa thread: o que ele diz, e o «pronto», que ele diz quando ouve a fila."""
        with saida:
            for linha in saida:
                self.linhas.put(linha.rstrip())
                if linha.startswith(f"{self.nome}: pronto"):
                    self.pronto.set()

    def desistiu(self) -> bool:
        """Se acabou por conta própria sem nunca ter ficado pronto; o que ele disse explica."""
        if self.pronto.is_set() or (self.processo.poll() or 0) <= 0:  # um sinal é negativo
            return False
        self.leitor.join(1)
        return True

    def manter(self) -> None:
        """Se o serviço morreu, diz isso e, depois de uma pausa, inicia outro."""
        status, agora = self.processo.poll(), time.monotonic()
        if status is None:
            return
        if not self.volta:  # acabou de morrer: marca a volta
            viveu = agora - self.inicio > VIDA_LONGA
            self.pausa = MENOR_PAUSA if viveu else min(self.pausa * 2, MAIOR_PAUSA)
            self.volta = agora + self.pausa
            como = f"sinal {-status}" if status < 0 else f"status {status}"
            self.linhas.put(f"{self.nome} morreu ({como}): inicio outro")
        elif agora >= self.volta:
            self.volta = 0.0
            self.iniciar()


def script(nome: str) -> str:
    return str(MICROSSERVICOS / f"servico_{nome}.py")


def criar_banco(nome: str, dados: Path) -> None:
    """Pede ao serviço que crie o seu banco, com as linhas iniciais, para que se possa lê-lo.

    Se ele não consegue, já disse por quê: este programa acaba com o mesmo status.
    """
    feito = subprocess.run([sys.executable, script(nome), "--dados", str(dados), "--criar-banco"],
                           stdin=subprocess.DEVNULL)
    if feito.returncode:
        sys.exit(feito.returncode)
