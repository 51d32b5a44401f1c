"""Se a loja ainda se move: percebe quando algum banco muda, sem perguntar a nenhum serviço."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from comum.falha import em_portugues
from coreografia import SERVICOS


class Movimento:
    """pasta: a dos bancos dos serviços, que já existem. Quem abre, fecha."""

    def __init__(self, pasta: Path):
        self.arquivos = [(pasta / f"{nome}.db").resolve() for nome in SERVICOS]
        self.bancos: dict[Path, sqlite3.Connection] = {}
        self.ultimo, self.visto = time.monotonic(), None

    def parado_ha(self) -> float:
        """Há quantos segundos ninguém grava nada. Levanta Falha se não dá para ler um banco."""
        agora = [self._versao(arquivo) for arquivo in self.arquivos]
        if agora != self.visto:
            self.visto, self.ultimo = agora, time.monotonic()
        return time.monotonic() - self.ultimo

    def _versao(self, arquivo: Path) -> int | None:
        if not os.path.exists(f"{arquivo}-wal"):
            # Ninguém o usa; ou apagaram o diário, e quem só olha não pode segurar o banco aberto:
            # o serviço que volta espera que todos o larguem (comum/vizinhos.py).
            if banco := self.bancos.pop(arquivo, None):
                banco.close()
            return None
        try:
            if arquivo not in self.bancos:
                self.bancos[arquivo] = sqlite3.connect(f"{arquivo.as_uri()}?mode=ro", uri=True)
            return self.bancos[arquivo].execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as erro:
            raise em_portugues(erro, str(arquivo)) from erro

    def fechar(self) -> None:
        for banco in self.bancos.values():
            banco.close()
