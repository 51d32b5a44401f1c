"""Um banco SQLite que sabe o que dele já está no disco.

Uma gravação forçada só volta quando o disco a tem: COMMIT, e um fsync do WAL. Uma não forçada
é só o COMMIT: resiste à morte do processo, mas uma queda de energia pode levá-la, até que
um fsync qualquer no mesmo arquivo a carregue junto, porque o WAL é gravado em ordem.

O SQLite faria o fsync sozinho com `synchronous=FULL`, em todo COMMIT; com NORMAL ele só
o faz ao passar o WAL para o arquivo principal, e quem escolhe os outros somos nós.
Ver o manual do SQLite, "PRAGMA synchronous" e "Write-Ahead Logging".
"""

from __future__ import annotations

import os
from pathlib import Path

from palco import quedas
from comum.banco import abrir
from comum.falha import Falha

# Só os dados, sem a hora da última gravação; onde não existe (macOS, Windows), tudo.
forcar_ao_disco = getattr(os, "fdatasync", os.fsync)


class Arquivo:
    """Um banco aberto, e a conta do que foi gravado nele por este processo.

    forcadas: quantas gravações esperaram pelo disco.
    gravadas: o número da última gravação, forçada ou não.
    no_disco: até que gravação o disco já tem com certeza.
    """

    def __init__(self, caminho: Path, tabelas: str):
        self.caminho = caminho
        self.banco = abrir(caminho, tabelas)
        if self.banco.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            raise Falha(f"{caminho}: este disco não aceita o modo WAL do SQLite: use --dados OUTRA_PASTA", 2)
        self.banco.execute("PRAGMA synchronous=NORMAL")
        self.forcadas = self.gravadas = self.no_disco = 0
        self._wal: int | None = None
        self._falha: OSError | None = None

    def gravacao(self, forcada: bool) -> Gravacao:
        """Uma transação local, para usar com `with`: o que o bloco escreve vale inteiro, ou não vale."""
        return Gravacao(self, forcada)

    def sincronizar(self) -> None:
        """Força ao disco tudo o que já foi gravado, também por processos que morreram. Levanta OSError.

        Depois de um fsync que falhou, os seguintes podem dizer que sim sem ter gravado nada (Rebello et
        al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020): nunca mais se crê neste.
        """
        if self._falha:
            raise self._falha
        if self._wal is None:
            try:
                self._wal = os.open(f"{self.caminho}-wal", os.O_RDWR | getattr(os, "O_BINARY", 0))
            except FileNotFoundError:
                return  # sem WAL, o SQLite já levou tudo ao arquivo principal, com fsync
        try:
            forcar_ao_disco(self._wal)
        except OSError as erro:
            self._falha = erro
            raise
        self.no_disco = self.gravadas
        quedas.passo()

    def fechar(self) -> None:
        if self._wal is not None:
            os.close(self._wal)
        self.banco.close()


class Gravacao:
    """O `with` de Arquivo.gravacao. Um bloco que nada escreve não conta, nem espera pelo disco.

    Um sqlite3.Error quer dizer que nada ficou; um OSError, que o COMMIT ficou e o fsync falhou:
    ninguém sabe se uma queda de energia levaria a gravação.
    """

    __slots__ = ("arquivo", "forcada", "antes")

    def __init__(self, arquivo: Arquivo, forcada: bool):
        self.arquivo, self.forcada = arquivo, forcada

    def __enter__(self):
        banco = self.arquivo.banco
        self.antes = banco.total_changes
        # IMMEDIATE: outro processo que grave no mesmo arquivo espera aqui, e não no COMMIT.
        banco.execute("BEGIN IMMEDIATE")
        return banco

    def __exit__(self, tipo, erro, pilha):
        arquivo = self.arquivo
        banco = arquivo.banco
        try:
            if tipo is None and banco.total_changes != self.antes:
                quedas.passo()
                banco.conferir_arquivo()
                banco.execute("COMMIT")
                arquivo.gravadas += 1
                quedas.passo()
                if self.forcada:
                    arquivo.sincronizar()
                    arquivo.forcadas += 1
        finally:
            if banco.in_transaction:
                banco.execute("ROLLBACK")
