"""Um arquivo SQLite por dono: abrir, criar uma vez só, recusar o que é de outra versão.

Este arquivo existe igual nas duas pastas (monolito/ e microsservicos/).

Todo banco usa WAL com `synchronous=FULL`: uma transação confirmada já está no
disco (um fsync cada) e quem lê não espera quem escreve. Ver os manuais do SQLite,
"Write-Ahead Logging" e "PRAGMA synchronous".
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from comum.falha import Falha, em_portugues

VERSAO = 1
PAGINA = 2048  # bytes; metade do padrão: cada COMMIT leva ao WAL as páginas que mudaram, inteiras
ESPERA = 10.0  # segundos que uma escrita espera por outro processo antes de desistir


class Banco(sqlite3.Connection):
    """Uma conexão que sabe qual era o seu arquivo.

    Se alguém o troca ou apaga, o SQLite continua a gravar no antigo, que já não tem nome, sem
    se queixar; na partida seguinte, nada daquilo estaria lá.
    """

    caminho: str | Path = ":memory:"
    aberto: tuple | None = None

    def lembrar_arquivo(self, caminho: Path) -> None:
        self.caminho, self.aberto = caminho, _qual(caminho)

    def conferir_arquivo(self) -> None:
        """Para chamar antes de cada COMMIT; levanta sqlite3.OperationalError se o arquivo não é mais o mesmo."""
        if _qual(self.caminho) != self.aberto:
            raise sqlite3.OperationalError("the database file was moved")


def _qual(caminho: str | Path) -> tuple | None:
    try:
        arquivo = os.stat(caminho)
    except FileNotFoundError:
        return None
    return arquivo.st_dev, arquivo.st_ino


def abrir(caminho: Path, tabelas: str) -> Banco:
    """Abre o banco em `caminho`; se ele não existe, cria as tabelas e as linhas iniciais.

    A criação inteira é uma transação: um processo morto no meio dela deixa um
    arquivo vazio, que a próxima abertura completa. As linhas iniciais nunca são
    escritas de novo sobre dados que já existem.

    caminho: o arquivo. tabelas: comandos SQL separados por `;`.
    Levanta Falha (código 2) se o arquivo não é um banco ou é de outra versão.
    """
    try:
        caminho.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # pedidos de clientes: só para o dono
        banco = sqlite3.connect(caminho, timeout=ESPERA, isolation_level=None, check_same_thread=False, factory=Banco)
        versao = banco.execute("PRAGMA user_version").fetchone()[0]
        if versao == 0:
            _recusar_alheio(banco, caminho)
            banco.execute(f"PRAGMA page_size={PAGINA}")
            _usar_wal(banco)
        banco.execute("PRAGMA synchronous=FULL")
        if versao == 0:
            _criar(banco, tabelas, caminho)
        elif versao != VERSAO:
            raise Falha(f"{caminho} é da versão {versao} do projeto, e este programa é da versão {VERSAO}: "
                        "use o programa daquela versão, ou recomece com --limpar", 2)
        banco.lembrar_arquivo(caminho)
    except (sqlite3.Error, OSError) as erro:
        raise em_portugues(erro, str(caminho)) from erro
    return banco


def _recusar_alheio(banco: sqlite3.Connection, caminho: Path) -> None:
    # Antes de trocar o diário, que já seria mexer no arquivo de outro programa. Uma consulta só:
    # entre duas, outro processo desta loja poderia criar as tabelas.
    if banco.execute("SELECT count(*) FROM sqlite_master, pragma_user_version WHERE user_version = 0").fetchone()[0]:
        raise Falha(f"{caminho} é um banco SQLite de outro programa: use --dados OUTRA_PASTA", 2)


def _usar_wal(banco: sqlite3.Connection) -> None:
    prazo = time.monotonic() + ESPERA
    while True:
        try:
            banco.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as erro:
            # Trocar o diário não espera pelo timeout: dois processos que criam o
            # mesmo banco ao mesmo tempo se esbarram aqui.
            if "locked" not in str(erro) or time.monotonic() > prazo:
                raise
            time.sleep(0.01)


def _criar(banco: sqlite3.Connection, tabelas: str, caminho: Path) -> None:
    with transacao(banco):
        if banco.execute("PRAGMA user_version").fetchone()[0]:
            return  # outro processo criou enquanto esperávamos a vez
        _recusar_alheio(banco, caminho)
        for comando in tabelas.split(";"):
            if comando.strip():
                banco.execute(comando)
        banco.execute(f"PRAGMA user_version={VERSAO}")


@contextmanager
def transacao(banco: Banco):
    """Tudo o que se escreve dentro do bloco vale junto, ou nada vale.

    IMMEDIATE pega o direito de escrever logo no início: duas cópias do mesmo
    programa se esperam em vez de descobrirem o conflito só no fim.
    """
    banco.execute("BEGIN IMMEDIATE")
    try:
        yield banco
        banco.conferir_arquivo()
        banco.execute("COMMIT")
    except BaseException:
        if banco.in_transaction:
            banco.execute("ROLLBACK")
        raise


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
            # Só lê: um arquivo vazio já serve de trava, e escrever nele esperaria por quem já entrou.
            self._arquivo.execute("PRAGMA user_version").fetchone()
        except (sqlite3.Error, OSError) as erro:
            raise em_portugues(erro, str(pasta)) from erro

    def entrar(self) -> None:
        """Marca este processo como presente, até sair() ou até ele morrer."""
        self._arquivo.execute("BEGIN")
        self._arquivo.execute("PRAGMA user_version").fetchone()

    def sozinho(self) -> bool:
        """Pega a pasta só para este processo, se não houver nenhum outro presente. Levanta Falha se não pode escrever nela."""
        self.sair()
        self._arquivo.execute("PRAGMA busy_timeout=0")
        try:
            self._arquivo.execute("BEGIN EXCLUSIVE")
            return True
        except sqlite3.OperationalError as erro:
            if "readonly" in str(erro):  # os outros são de quem chegou antes, ou de um arquivo que acabou de sumir
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


def limpar(pasta: Path) -> None:
    """Apaga os bancos da pasta, se ninguém os usa; levanta Falha se alguém usa."""
    presenca = Presenca(pasta)
    if not presenca.sozinho():
        raise Falha(f"há programas usando {pasta}: encerre-os (Ctrl-C em cada terminal) antes de --limpar", 2)
    try:
        for padrao in ("*.db", "*.db-wal", "*.db-shm", "*.db-journal"):
            for arquivo in pasta.glob(padrao):
                arquivo.unlink()
    except OSError as erro:
        raise em_portugues(erro) from erro
    finally:
        presenca.sair()
