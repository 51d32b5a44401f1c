"""Quem está usando uma pasta de dados, e como apagá-la sem puxar o tapete de ninguém."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from pathlib import Path

from comum.banco import ESPERA
from comum.falha import Falha, em_portugues
from comum.vizinhos import em_uso

PRESENCA = ".presenca"
LIMPEZA = ".limpeza"  # enquanto existe, uns dados podem ser novos, e outros os de antes


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


@contextmanager
def limpando(pasta: Path):
    """Uma limpeza, do começo ao fim: a pasta só nossa, e marcada, para o caso de ela não acabar.

    Levanta o mesmo que so_nossa(), e Falha se não dá.
    """
    with so_nossa(pasta):
        marca, bancos = pasta / LIMPEZA, {*pasta.glob("*.db")}
        inteiros = not marca.exists()
        try:
            marca.touch()
            yield
            marca.unlink(missing_ok=True)
        except BaseException as erro:
            if inteiros and {*pasta.glob("*.db")} == bancos:  # nada chegou a ser apagado
                marca.unlink(missing_ok=True)
            if isinstance(erro, OSError):
                raise em_portugues(erro, str(pasta)) from erro
            raise


def apagar_bancos(pasta: Path) -> None:
    """Dentro de limpando()."""
    for padrao in ("*.db", "*.db-wal", "*.db-shm", "*.db-journal"):
        for arquivo in pasta.glob(padrao):
            arquivo.unlink()


def limpar(pasta: Path) -> None:
    """A limpeza de quem só tem bancos."""
    with limpando(pasta):
        apagar_bancos(pasta)


def recusar_limpeza_pela_metade(pasta: Path, programa: str,
                                o_que_ha: str = "uma parte dos bancos pode ser a de antes") -> None:
    """Falha (código 2) se um --limpar morreu no meio, e ninguém o terminou."""
    if (pasta / LIMPEZA).exists():
        raise Falha(f"--limpar foi interrompido em {pasta}, e {o_que_ha}: termine com  "
                    f"python {programa} --limpar --dados {pasta.parent}", 2)


def _em_uso(arquivo: Path) -> bool:
    try:
        return em_uso(arquivo)
    except sqlite3.DatabaseError:  # o que não é um banco não está em uso
        return False
