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

from comum.falha import Falha
from palco.prontidao import Cano

MICROSSERVICOS = Path(__file__).resolve().parent.parent
PRAZO_DE_PARTIDA = 30.0  # segundos para um serviço dizer que está pronto
PRAZO_DO_FIM = 10.0  # segundos: o lote em mãos (encerrar.py), o adeus ao broker, e uma folga
MAIOR_PAUSA = 5.0  # segundos antes de reiniciar um serviço que morre sempre


class Processo:
    """O processo de um serviço.

    nome: o do serviço. dados: a pasta de --dados. linhas: onde pôr o que ele disser.
    pedidos: só para a porta de entrada; um arquivo com os pedidos desta execução, que o serviço
    recebe pela entrada padrão até ficar pronto uma vez: a essa altura eles estão no banco dele.
    """

    def __init__(self, nome: str, dados: Path, linhas: queue.Queue,
                 pedidos: BinaryIO | None = None):
        self.nome, self.dados, self.linhas, self.pedidos = nome, dados, linhas, pedidos
        self.processo: subprocess.Popen | None = None
        self.pausa, self.volta = 0.2, 0.0

    def iniciar(self) -> None:
        if self.processo:
            self.leitor.join()  # diz tudo antes que outro fale por ele
            if self.pronto.is_set():
                self.pedidos = None
        if self.pedidos:
            self.pedidos.seek(0)
        self.pronto, self.falou = threading.Event(), threading.Event()
        self.inicio, cano = time.monotonic(), Cano()
        self.processo = subprocess.Popen(
            [sys.executable, str(script(self.nome)), "--dados", str(self.dados), "--sem-eventos",
             *self._de_onde_vem_os_pedidos()],
            stdin=self.pedidos or subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
            **cano.opcoes({**os.environ, "PYTHONIOENCODING": "utf-8",
                           "LOJA_LANCADOR": str(os.getpid())}))
        cano.iniciado()
        self.leitor = threading.Thread(target=self._ler, args=(self.processo.stdout,), daemon=True)
        self.leitor.start()
        threading.Thread(target=_avisar, args=(cano, self.pronto), daemon=True).start()

    def _de_onde_vem_os_pedidos(self) -> list[str]:
        if self.pedidos:
            return ["--arquivo", "-"]
        return ["--sem-pedido"] if self.nome == "pedidos" else []

    def _ler(self, saida) -> None:
        with saida:
            for linha in saida:
                self.linhas.put(linha.rstrip())
                self.falou.set()

    def esperar_pronto(self, enquanto=lambda: None) -> None:
        """Aguarda o serviço dizer que ouve, chamando `enquanto()` de vez em quando.

        Levanta Falha se ele demora demais, ou se desistiu; quem foi morto é iniciado de novo.
        """
        prazo = time.monotonic() + PRAZO_DE_PARTIDA
        while not self.pronto.wait(0.02):
            desistiu = (self.processo.poll() or 0) > 0  # um sinal é negativo
            if desistiu or time.monotonic() > prazo:
                self.leitor.join(1)  # o que ele disse antes de morrer explica por quê
                raise Falha(f"{self.nome} não ficou pronto; veja a mensagem acima", 2)
            if aviso := self.manter():
                self.linhas.put(aviso)
            enquanto()
        self.falou.wait(1)  # o que ele disse antes de avisar pode ainda estar a caminho

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
            self.processo.wait(PRAZO_DO_FIM)
        except subprocess.TimeoutExpired:  # parado com SIGSTOP, por exemplo
            self.processo.kill()
            self.processo.wait()
        self.leitor.join(1)


def _avisar(cano: Cano, pronto: threading.Event) -> None:
    if cano.esperar():
        pronto.set()


def script(nome: str) -> Path:
    return MICROSSERVICOS / f"servico_{nome}.py"


def criar_bancos(dados: Path, nomes: list[str]) -> None:
    """Pede a cada serviço que crie o seu banco, com as linhas iniciais, para que se possa lê-lo.

    Levanta Falha (código 2) se algum não consegue, com o que ele disse.
    """
    partes = [(nome, subprocess.Popen(
        [sys.executable, str(script(nome)), "--dados", str(dados), "--criar-banco"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", errors="replace", env={**os.environ, "PYTHONIOENCODING": "utf-8"}))
        for nome in nomes]
    ditos = [(nome, *processo.communicate(), processo.returncode) for nome, processo in partes]
    for nome, disse, _, status in ditos:
        if status:
            raise Falha(disse.strip() or f"{nome} não criou o seu banco (status {status})", 2)
