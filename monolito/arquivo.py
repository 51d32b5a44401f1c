"""Um banco SQLite que sabe o que dele já está no disco.

Uma gravação forçada só volta quando o disco a tem (um fsync). Uma não forçada volta
logo: resiste à morte do processo, mas uma queda de energia pode levá-la, até que
uma gravação forçada no mesmo arquivo a carregue junto (o WAL é gravado em ordem).
Ver o manual do SQLite, "PRAGMA synchronous".
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path

import quedas
from banco import abrir


class Arquivo:
    """Um banco aberto, e a conta do que foi gravado nele por este processo.

    forcadas: quantas gravações esperaram pelo disco.
    gravadas: o número da última gravação, forçada ou não.
    no_disco: até que gravação o disco já tem com certeza.
    """

    def __init__(self, caminho: Path, tabelas: str):
        self.caminho = caminho
        self.banco = abrir(caminho, tabelas)
        self.forcadas = self.gravadas = self.no_disco = 0
        self._modo = "FULL"

    @contextmanager
    def gravacao(self, forcada: bool):
        """Uma transação local: o que o bloco escreve vale inteiro, ou não vale.

        Um bloco que nada escreve não conta como gravação, nem espera pelo disco.
        """
        banco, modo = self.banco, "FULL" if forcada else "NORMAL"
        if modo != self._modo:
            banco.execute(f"PRAGMA synchronous={modo}")
            self._modo = modo
        antes = banco.total_changes
        banco.execute("BEGIN IMMEDIATE")
        try:
            yield banco
            escreveu = banco.total_changes != antes
            if escreveu:
                quedas.passo()
            banco.execute("COMMIT")
        except BaseException:
            if banco.in_transaction:
                banco.execute("ROLLBACK")
            raise
        if escreveu:
            self.gravadas += 1
            if forcada:
                self.forcadas += 1
                self.no_disco = self.gravadas
            quedas.passo()

    def sincronizar(self) -> None:
        """Força ao disco tudo o que já foi gravado, também por processos que morreram."""
        try:
            with open(f"{self.caminho}-wal", "r+b") as wal:
                os.fsync(wal.fileno())
        except FileNotFoundError:
            pass  # sem WAL, o SQLite já levou tudo ao arquivo principal, com fsync
        self.no_disco = self.gravadas

    def fechar(self) -> None:
        self.banco.close()
