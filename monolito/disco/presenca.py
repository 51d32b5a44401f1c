"""Uma trava que o sistema operacional solta sozinho quando o processo acaba."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from comum.banco import ESPERA
from comum.falha import Falha, em_portugues

PRESENCA = ".presenca"


class Presenca:
    """Sabe se há algum processo usando uma pasta de dados, mesmo que ele morra sem avisar.

    Cada processo mantém uma transação de leitura aberta num arquivo SQLite sem
    WAL: isso é uma trava compartilhada que o sistema operacional solta sozinho
    quando o processo acaba, seja como for. Quem quer a pasta só para si pede a
    trava exclusiva, que só existe quando não há mais ninguém. (Manual do SQLite,
    "File Locking And Concurrency".)
    """

    def __init__(self, pasta: Path, nome: str = PRESENCA):
        self.caminho = pasta / nome
        try:
            pasta.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._arquivo = sqlite3.connect(self.caminho, timeout=ESPERA, isolation_level=None,
                                            check_same_thread=False)
            # Só lê: um arquivo vazio já serve de trava, e escrever nele esperaria por quem já
            # entrou.
            self._arquivo.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as erro:
            if "locked" in str(erro) and nome == PRESENCA:  # só quem limpa a quer toda para si
                raise Falha(f"outro programa está limpando {pasta} (--limpar): espere que ele "
                            "acabe, e rode de novo", 2) from erro
            raise em_portugues(erro, str(self.caminho)) from erro
        except OSError as erro:
            raise em_portugues(erro, str(pasta)) from erro

    def entrar(self) -> None:
        """Marca este processo como presente, até sair() ou até ele morrer."""
        self._arquivo.execute("BEGIN")
        self._arquivo.execute("PRAGMA user_version").fetchone()

    def sozinho(self) -> bool:
        """Pega a pasta só para este processo, se não houver nenhum outro presente.

        Levanta Falha se não pode escrever nela.
        """
        self.sair()
        self._arquivo.execute("PRAGMA busy_timeout=0")
        try:
            self._arquivo.execute("BEGIN EXCLUSIVE")
            return True
        except sqlite3.OperationalError as erro:
            # Os outros erros são de quem chegou antes, ou de um arquivo que acabou de sumir.
            if "readonly" in str(erro) or "is full" in str(erro):
                raise em_portugues(erro, str(self.caminho)) from erro
            return False
        finally:
            self._arquivo.execute(f"PRAGMA busy_timeout={int(ESPERA * 1000)}")

    def sair(self) -> None:
        if self._arquivo.in_transaction:
            self._arquivo.execute("ROLLBACK")

    def fechar(self) -> None:
        self._arquivo.close()

    def apagar(self) -> None:
        """Fecha e leva o arquivo junto, quando ele só servia a este processo."""
        self.fechar()
        with suppress(OSError):  # no Windows, alguém pode estar olhando para ele agora
            self.caminho.unlink()
