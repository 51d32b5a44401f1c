"""Um banco SQLite que sabe o que dele já está no disco.

Uma gravação forçada só volta quando o disco a tem (um fsync). Uma não forçada volta
logo: resiste à morte do processo, mas uma queda de energia pode levá-la, até que
uma gravação forçada no mesmo arquivo a carregue junto (o WAL é gravado em ordem).
Ver o manual do SQLite, "PRAGMA synchronous".
"""

from __future__ import annotations

import os
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

    def gravacao(self, forcada: bool) -> Gravacao:
        """Uma transação local, para usar com `with`: o que o bloco escreve vale inteiro, ou não vale."""
        return Gravacao(self, forcada)

    def usar_modo(self, modo: str) -> None:
        if modo != self._modo:
            self.banco.execute(f"PRAGMA synchronous={modo}")
            self._modo = modo

    def contar(self, forcada: bool) -> None:
        self.gravadas += 1
        if forcada:
            self.forcadas += 1
            self.no_disco = self.gravadas

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


class Gravacao:
    """O `with` de Arquivo.gravacao. Um bloco que nada escreve não conta, nem espera pelo disco."""

    __slots__ = ("arquivo", "forcada", "antes")

    def __init__(self, arquivo: Arquivo, forcada: bool):
        self.arquivo, self.forcada = arquivo, forcada

    def __enter__(self):
        banco = self.arquivo.banco
        self.arquivo.usar_modo("FULL" if self.forcada else "NORMAL")
        self.antes = banco.total_changes
        # IMMEDIATE: outro processo que grave no mesmo arquivo espera aqui, e não no COMMIT.
        banco.execute("BEGIN IMMEDIATE")
        return banco

    def __exit__(self, tipo, erro, pilha):
        banco = self.arquivo.banco
        try:
            if tipo is None and banco.total_changes != self.antes:
                quedas.passo()
                banco.execute("COMMIT")
                self.arquivo.contar(self.forcada)
                quedas.passo()
        finally:
            if banco.in_transaction:
                banco.execute("ROLLBACK")
