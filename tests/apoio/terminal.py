"""Um programa rodando num terminal de verdade (um pty de 80 colunas), com alguém que digita."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios

from verbos import Programa


class Terminal(Programa):
    """with Terminal([programa, ...], url) as t: t.esperar_dizer("[s/N]").digitar("s\\n"); t.fim()"""

    def __init__(self, comando: list[str], url: str, **ambiente):
        self._mestre, escravo = pty.openpty()
        fcntl.ioctl(escravo, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        super().__init__(*comando, url=url, ambiente={"TERM": "xterm", **ambiente}, python=(), terminal=escravo)

    def _ler(self) -> None:
        try:
            while pedaco := os.read(self._mestre, 4096):
                self._lido += pedaco
        except OSError:
            pass  # o outro lado fechou

    esperar = Programa.esperar_dizer

    def digitar(self, texto: str) -> Terminal:
        os.write(self._mestre, texto.encode())
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.matar()
        os.close(self._mestre)
