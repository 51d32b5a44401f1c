"""Se a loja ainda se move: percebe quando algum banco muda, sem perguntar a nenhum serviço."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from comum.falha import em_portugues
from coreografia import SERVICOS


class Movimento:
    """pasta: a dos bancos dos serviços, que já existem. Levanta Falha se não dá para lê-los."""

    def __init__(self, pasta: Path):
        try:
            arquivos = [(pasta / f"{nome}.db").resolve() for nome in SERVICOS]
            self.bancos = [sqlite3.connect(f"{a.as_uri()}?mode=ro", uri=True) for a in arquivos]
        except sqlite3.Error as erro:
            raise em_portugues(erro, str(pasta)) from erro
        self.ultimo, self.visto = time.monotonic(), None

    def parado_ha(self) -> float:
        """Há quantos segundos ninguém grava nada."""
        agora = [banco.execute("PRAGMA data_version").fetchone() for banco in self.bancos]
        if agora != self.visto:
            self.visto, self.ultimo = agora, time.monotonic()
        return time.monotonic() - self.ultimo
