"""Um programa rodando num terminal de verdade (um pty de 80 colunas), com alguém que digita."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading

from conftest import RAIZ, esperar


class Terminal:
    """with Terminal([programa, ...], url) as t: t.esperar("[s/N]").digitar("s\\n"); t.fim()"""

    def __init__(self, comando: list[str], url: str, **ambiente):
        self._mestre, escravo = pty.openpty()
        fcntl.ioctl(escravo, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        variaveis = {n: v for n, v in os.environ.items() if n != "NO_COLOR"}
        self.processo = subprocess.Popen(comando, stdin=escravo, stdout=escravo, stderr=escravo, cwd=RAIZ, start_new_session=True,
                                         env={**variaveis, "TERM": "xterm", "RABBITMQ_URL": url, "PYTHONIOENCODING": "utf-8", **ambiente})
        os.close(escravo)
        self._lido = b""
        self._leitor = threading.Thread(target=self._ler, daemon=True)
        self._leitor.start()

    def _ler(self) -> None:
        try:
            while pedaco := os.read(self._mestre, 4096):
                self._lido += pedaco
        except OSError:
            pass  # o outro lado fechou

    @property
    def texto(self) -> str:
        return self._lido.decode("utf-8", "replace")

    def esperar(self, trecho: str, prazo: float = 30) -> Terminal:
        esperar(lambda: trecho in self.texto, prazo, f"{trecho!r} no terminal")
        return self

    def digitar(self, texto: str) -> Terminal:
        os.write(self._mestre, texto.encode())
        return self

    def fim(self, prazo: float = 60) -> int:
        status = self.processo.wait(prazo)
        self._leitor.join(10)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.processo.poll() is None:
            self.processo.kill()
            self.processo.wait()
        self._leitor.join(10)
        os.close(self._mestre)
