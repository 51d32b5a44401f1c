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

from comum.falha import Falha

MICROSSERVICOS = Path(__file__).resolve().parent.parent
PRAZO_DE_PARTIDA = 30.0  # segundos para um serviço dizer que está pronto
MAIOR_PAUSA = 5.0  # segundos antes de reiniciar um serviço que morre sempre


class Processo:
    """O processo de um serviço.

    nome: o do serviço. dados: a pasta de --dados. linhas: onde pôr o que ele disser.
    """

    def __init__(self, nome: str, dados: Path, linhas: queue.Queue):
        self.nome, self.dados, self.linhas = nome, dados, linhas
        self.pronto, self.pausa, self.volta = threading.Event(), 0.2, 0.0

    def iniciar(self) -> None:
        comando = [sys.executable, str(MICROSSERVICOS / f"servico_{self.nome}.py"), "--dados", str(self.dados), "--sem-eventos"]
        self.pronto.clear()
        self.inicio = time.monotonic()
        self.processo = subprocess.Popen(
            comando + ["--sem-pedido"] * (self.nome == "pedidos"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "LOJA_LANCADOR": str(os.getpid())})
        self.leitor = threading.Thread(target=self._ler, args=(self.processo.stdout,), daemon=True)
        self.leitor.start()

    def _ler(self, saida) -> None:
        for linha in saida:
            self.linhas.put(linha.rstrip())
            if linha.startswith(f"{self.nome}: pronto"):
                self.pronto.set()

    def esperar_pronto(self) -> None:
        """Aguarda o serviço dizer que ouve; levanta Falha se ele morre ou demora demais."""
        prazo = time.monotonic() + PRAZO_DE_PARTIDA
        while not self.pronto.wait(0.02):
            if self.processo.poll() is not None or time.monotonic() > prazo:
                self.leitor.join(1)  # o que ele disse antes de morrer explica por quê
                raise Falha(f"{self.nome} não ficou pronto; veja a mensagem acima", 2)

    def manter(self) -> str | None:
        """Reinicia o serviço se ele morreu; devolve a linha a mostrar, se há algo a dizer."""
        status = self.processo.poll()
        if status is None:
            if time.monotonic() - self.inicio > 10:
                self.pausa = 0.2
            return None
        if not self.volta:  # acabou de morrer: marca a volta
            self.volta = time.monotonic() + self.pausa
            self.pausa = min(self.pausa * 2, MAIOR_PAUSA)
            como = f"sinal {-status}" if status < 0 else f"status {status}"
            return f"{self.nome} morreu ({como}): inicio outro"
        if time.monotonic() >= self.volta:
            self.volta = 0.0
            self.iniciar()
        return None

    def parar(self) -> None:
        self.processo.terminate()

    def aguardar_fim(self) -> None:
        try:
            self.processo.wait(5)
        except subprocess.TimeoutExpired:  # parado com SIGSTOP, por exemplo
            self.processo.kill()
            self.processo.wait()
