"""Ler bancos de dados sem escrever nada, nem no arquivo, nem ao lado dele: só aqui se faz isso.

Para ler um banco em WAL, o SQLite precisa de um -wal e de um -shm ao lado do arquivo, e os cria
se não estão lá, mesmo aberto com mode=ro; numa pasta em que não se pode escrever, desiste. Com
immutable=1 ele não os cria, mas também não lê o -wal que houver: faltariam as últimas gravações.
Por isso: se os dois já existem (há um programa no ar, ou um que morreu), basta mode=ro; senão,
lê-se uma cópia numa pasta temporária. (Manual do SQLite, "Write-Ahead Logging", seção "Read-Only
Databases".)
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Iterable, Iterator, Mapping

from comum.banco import ESPERA, recusar_outra_versao
from comum.falha import Falha, em_portugues

AO_LADO = ("", "-wal", "-journal")  # o que faz parte de um banco; o -shm, o SQLite refaz
COPIAS = 10  # quantas vezes se tenta copiar um banco em que alguém mexe


@contextmanager
def lendo(pasta: Path, donos: Iterable[str],
          faltando: Mapping[str, str] | None = None) -> Iterator[sqlite3.Connection]:
    """Uma conexão que só lê, com o banco de cada dono lado a lado (DONO_db), até o fim do bloco.

    pasta: a dos bancos, ou a de uma cópia deles. faltando: {dono: tabelas}, para ler, no lugar do
    banco que ainda não existe, um recém-criado. Levanta Falha (código 2) se falta algum, se algum
    não é um banco desta versão do projeto, ou se são de lojas diferentes.
    """
    with ExitStack() as abertos:
        banco = sqlite3.connect(":memory:", isolation_level=None, uri=True, timeout=ESPERA)
        abertos.callback(banco.close)
        banco.execute("PRAGMA temp_store=MEMORY")
        lojas = {_anexar(banco, pasta, dono, faltando or {}, abertos): dono for dono in donos}
        lojas.pop(0, None)
        if len(lojas) > 1:
            quem = ", ".join(f"{dono}.db é da {loja:08x}" for loja, dono in lojas.items())
            raise Falha(f"em {pasta} há bancos de lojas diferentes ({quem}): se um --limpar foi "
                        "interrompido, rode-o de novo; se não, deixe na pasta só os de uma", 2)
        yield banco


def _anexar(banco: sqlite3.Connection, pasta: Path, dono: str, faltando: Mapping[str, str],
            abertos: ExitStack) -> int:
    """Anexa o banco do dono; devolve o carimbo dele (0: nenhum)."""
    arquivo = pasta / f"{dono}.db"
    try:
        if dono in faltando and not criado(arquivo):
            lido = _temporaria(abertos) / arquivo.name
            with closing(sqlite3.connect(lido)) as novo:
                novo.executescript(faltando[dono])
        elif not arquivo.exists():
            raise Falha(f"falta {arquivo}: quem grava nele ainda não rodou nesta pasta, ou a cópia "
                        "está incompleta; outra pasta: --dados DIR", 2)
        elif not criado(arquivo):
            raise Falha(f"{arquivo} ainda está vazio: quem grava nele não acabou de criá-lo", 2)
        else:
            lido = arquivo.resolve()  # o -wal fica ao lado do arquivo, não de um atalho
            if not all(Path(f"{lido}{fim}").exists() for fim in ("-wal", "-shm")):
                lido = _copiar(lido, _temporaria(abertos))
        # Uma cópia é nossa, e o SQLite tem de criar o -shm dela.
        modo = "ro" if lido == arquivo.resolve() else "rw"
        banco.execute(f"ATTACH ? AS {dono}_db", (f"{lido.as_uri()}?mode={modo}",))
        return banco.execute(f"PRAGMA {dono}_db.application_id").fetchone()[0]
    except (sqlite3.Error, OSError) as erro:
        raise em_portugues(erro, str(arquivo)) from erro


def criado(arquivo: Path) -> bool:
    """Se o banco já existe, com as suas tabelas; não cria nada.

    Levanta Falha (código 2) se não dá para ler, ou se é de outra versão.
    """
    if not arquivo.exists():
        return False
    try:
        # Sem o WAL: a versão é escrita ao criar o banco, antes de ele ter um.
        with closing(sqlite3.connect(f"{arquivo.resolve().as_uri()}?mode=ro&immutable=1",
                                     uri=True)) as banco:
            versao = banco.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as erro:
        raise em_portugues(erro, str(arquivo)) from erro
    recusar_outra_versao(versao, arquivo)
    return versao != 0


def _temporaria(abertos: ExitStack) -> Path:
    return Path(abertos.enter_context(tempfile.TemporaryDirectory(prefix="leitura-")))


def _copiar(arquivo: Path, para: Path) -> Path:
    """Uma cópia do banco; outra, se alguém mexeu nele no meio dela."""
    for _ in range(COPIAS):
        antes = _marcas(arquivo)
        for fim in AO_LADO:
            (para / f"{arquivo.name}{fim}").unlink(missing_ok=True)
            if antes[fim]:
                with suppress(FileNotFoundError):
                    _copiar_um(f"{arquivo}{fim}", para / f"{arquivo.name}{fim}")
        if _marcas(arquivo) == antes:
            return para / arquivo.name
    raise Falha(f"{arquivo} muda sem parar: tente de novo", 1)


def _copiar_um(de: str, para: Path) -> None:
    try:
        shutil.copyfile(de, para)
    except OSError as erro:
        if erro.errno in (errno.ENOSPC, errno.EDQUOT):  # o disco da cópia, e não o dos dados
            raise em_portugues(erro, str(para)) from erro
        raise


def _marcas(arquivo: Path) -> dict[str, tuple | None]:
    marcas = dict.fromkeys(AO_LADO)
    for fim in AO_LADO:
        with suppress(FileNotFoundError):
            estado = Path(f"{arquivo}{fim}").stat()
            marcas[fim] = estado.st_ino, estado.st_size, estado.st_mtime_ns
    return marcas
