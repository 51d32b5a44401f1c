"""Ler bancos de dados sem escrever nada, nem no arquivo, nem ao lado dele: só aqui se faz isso.

Para ler um banco em WAL, o SQLite precisa de um -wal e de um -shm ao lado do arquivo, e os cria
se não estão lá, mesmo aberto com mode=ro; numa pasta em que não se pode escrever, desiste. Com
immutable=1 ele não os cria, mas também não lê o -wal que houver: faltariam as últimas gravações.
Por isso: se os dois já existem (há um programa no ar, ou um que morreu), basta mode=ro; senão,
lê-se uma cópia numa pasta temporária. (Manual do SQLite, "Write-Ahead Logging", seção "Read-Only
Databases".)
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Iterable, Iterator, Mapping

from comum.banco import ESPERA, MEMORIA
from comum.carimbo import do_arquivo, recusar_outra_loja, recusar_outra_versao
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
        banco = sqlite3.connect(MEMORIA, isolation_level=None, uri=True, timeout=ESPERA)
        abertos.callback(banco.close)
        banco.execute("PRAGMA temp_store=MEMORY")
        primeira = None
        for dono in donos:
            arquivo = pasta / f"{dono}.db"
            try:
                loja = _anexar(banco, dono, arquivo, faltando or {}, abertos)
            except (sqlite3.Error, OSError) as erro:
                raise em_portugues(erro, str(arquivo)) from erro
            recusar_outra_loja(arquivo, loja, loja and primeira)
            primeira = primeira or loja
        yield banco


def _anexar(banco: sqlite3.Connection, dono: str, arquivo: Path, faltando: Mapping[str, str],
            abertos: ExitStack) -> str | None:
    """Anexa o banco do dono; devolve a loja dele."""
    modo, loja = "rw", None  # uma cópia é nossa, e o SQLite tem de criar o -shm dela
    if criado(arquivo):
        lido, loja = arquivo.resolve(), do_arquivo(arquivo).loja
        if all(os.path.exists(f"{lido}{fim}") for fim in ("-wal", "-shm")):
            modo = "ro"
        else:
            lido = _copiar(lido, _temporaria(abertos))
    elif dono in faltando:
        lido = _temporaria(abertos) / arquivo.name
        with closing(sqlite3.connect(lido)) as novo:
            novo.executescript(faltando[dono])
    else:
        raise Falha(f"falta {arquivo}: quem grava nele ainda não rodou nesta pasta, ou a cópia "
                    "está incompleta; outra pasta: --dados DIR", 2)
    banco.execute(f"ATTACH ? AS {dono}_db", (f"{lido.as_uri()}?mode={modo}",))
    return loja


def criado(arquivo: Path) -> bool:
    """Se o banco já existe, com as suas tabelas; não cria nada.

    Levanta Falha (código 2) se não dá para ler, ou se não é desta versão do projeto.
    """
    try:
        recusar_outra_versao(do_arquivo(arquivo), arquivo)
    except sqlite3.Error as erro:
        if not arquivo.exists():
            return False
        raise em_portugues(erro, str(arquivo)) from erro
    return True


def _temporaria(abertos: ExitStack) -> Path:
    return Path(abertos.enter_context(tempfile.TemporaryDirectory(prefix="leitura-")))


def _copiar(arquivo: Path, para: Path) -> Path:
    """Uma cópia do banco; outra, se alguém mexeu nele no meio dela."""
    for _ in range(COPIAS):
        antes = _marcas(arquivo)
        for fim in AO_LADO:
            copia = para / f"{arquivo.name}{fim}"
            copia.unlink(missing_ok=True)
            if fim in antes:
                with suppress(FileNotFoundError), open(f"{arquivo}{fim}", "rb") as de:
                    _gravar(copia, de)
        if _marcas(arquivo) == antes:
            return para / arquivo.name
    raise Falha(f"{arquivo} muda sem parar: tente de novo", 1)


def _gravar(copia: Path, de) -> None:
    try:
        with open(copia, "wb") as para:
            shutil.copyfileobj(de, para, 1 << 20)
    except OSError as erro:  # o disco das cópias, e não o dos dados
        raise em_portugues(erro, str(copia)) from erro


def _marcas(arquivo: Path) -> dict[str, tuple]:
    marcas = {}
    for fim in AO_LADO:
        with suppress(FileNotFoundError):
            estado = os.stat(f"{arquivo}{fim}")
            marcas[fim] = estado.st_ino, estado.st_size, estado.st_mtime_ns
    return marcas
