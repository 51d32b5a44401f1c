"""Quem está usando uma pasta de dados, e como apagá-la sem puxar o tapete de ninguém."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from pathlib import Path

from comum.banco import ESPERA
from comum.falha import Falha, em_portugues
from comum.vizinhos import em_uso


class Presenca:
    """Sabe se há algum processo usando uma pasta de dados, mesmo que ele morra sem avisar.

    Cada processo mantém uma transação de leitura aberta num arquivo SQLite sem
    WAL: isso é uma trava compartilhada que o sistema operacional solta sozinho
    quando o processo acaba, seja como for. Quem quer a pasta só para si pede a
    trava exclusiva, que só existe quando não há mais ninguém. (Manual do SQLite,
    "File Locking And Concurrency".)
    """

    def __init__(self, pasta: Path, nome: str = ".presenca"):
        self.caminho = pasta / nome
        try:
            pasta.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._arquivo = sqlite3.connect(self.caminho, timeout=ESPERA, isolation_level=None,
                                            check_same_thread=False)
            # Só lê: um arquivo vazio já serve de trava, e escrever nele esperaria por quem já
            # entrou.
            self._arquivo.execute("PRAGMA user_version").fetchone()
        except (sqlite3.Error, OSError) as erro:
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
            if "readonly" in str(erro):
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


@contextmanager
def so_nossa(pasta: Path):
    """A pasta só para este processo, até o fim do bloco; Falha (código 2) se alguém a usa.

    Quem usa marca presença; mas o arquivo da presença pode ter sido apagado com um programa no
    ar, e por isso se pergunta também a cada banco.
    """
    presenca = Presenca(pasta)
    try:
        if not presenca.sozinho() or any(map(_em_uso, [*pasta.glob("*.db")])):
            raise Falha(f"há programas usando {pasta}: encerre-os (Ctrl-C em cada terminal) "
                        "antes de --limpar", 2)
        yield
    finally:
        presenca.fechar()


def limpar(pasta: Path) -> None:
    """Apaga os bancos da pasta; levanta o mesmo que so_nossa(), e Falha se não dá."""
    try:
        with so_nossa(pasta):
            for padrao in ("*.db", "*.db-wal", "*.db-shm", "*.db-journal"):
                for arquivo in pasta.glob(padrao):
                    arquivo.unlink()
    except OSError as erro:
        raise em_portugues(erro) from erro


def _em_uso(arquivo: Path) -> bool:
    try:
        return em_uso(arquivo)
    except sqlite3.DatabaseError:  # o que não é um banco não está em uso
        return False
