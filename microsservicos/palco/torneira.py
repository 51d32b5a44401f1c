"""Poucas linhas por segundo na tela, por mais que aconteça."""

from __future__ import annotations

import time


class Torneira:
    """Deixa passar poucas linhas por segundo: uma enxurrada vira um resumo, e a tela não afoga.

    por_segundo: quantas linhas, no máximo, em cada segundo.
    """

    def __init__(self, por_segundo: int = 40):
        self.por_segundo, self.inicio, self.passaram, self.retidas = por_segundo, 0.0, 0, 0

    def passar(self, linhas: list[str]) -> list[str]:
        """As linhas que podem ir à tela agora; com [], só o resumo do retido, se já for hora."""
        agora = time.monotonic()
        if agora - self.inicio >= 1:
            self.inicio, self.passaram = agora, 0
            if self.retidas:
                resumo = f"… mais {self.retidas} eventos, sem uma linha para cada um …"
                linhas, self.retidas = [resumo, *linhas], 0
        vao = linhas[: max(self.por_segundo - self.passaram, 0)]
        self.passaram += len(vao)
        self.retidas += len(linhas) - len(vao)
        return vao
