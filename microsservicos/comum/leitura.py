"""Ler bancos de dados sem escrever nada, nem no arquivo, nem ao lado dele.

Para ler um banco em WAL, o SQLite precisa de um -wal e de um -shm ao lado do arquivo, e os cria
se não estão lá, mesmo aberto com mode=ro; numa pasta em que não se pode escrever, desiste. Com
immutable=1 ele não os cria, mas também não lê o -wal que houver: faltariam as últimas gravações.
Por isso: se os dois já existem (há um programa no ar, ou um que morreu), basta mode=ro; senão,
lê-se uma cópia numa pasta temporária. (Manual do SQLite, "Write-Ahead Logging", seção "Read-Only
Databases".)
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Iterator

from comum.banco import ESPERA, VERSAO
from comum.falha import Falha, em_portugues

AO_LADO = ("", "-wal", "-journal")  # o que faz parte de um banco; o -shm, o SQLite refaz
COPIAS = 10  # quantas vezes se tenta copiar um banco em que alguém mexe


@contextmanager
def lendo(pasta: Path, nomes) -> Iterator[dict[str, sqlite3.Connection]]:
    """Os bancos NOME.db da pasta, abertos só para ler até o fim do bloco: {nome: conexão}.

    pasta: a dos bancos, ou a de uma cópia deles. Levanta Falha (código 2) se falta algum, ou se
    algum não é um banco desta versão do projeto.
    """
    with ExitStack() as abertos:
        yield {nome: _abrir(pasta / f"{nome}.db", abertos) for nome in nomes}


def _abrir(arquivo: Path, abertos: ExitStack) -> sqlite3.Connection:
    try:
        if not arquivo.exists():
            raise Falha(f"falta {arquivo}: quem grava nele ainda não rodou nesta pasta, ou a cópia "
                        "está incompleta; outra pasta: --dados DIR", 2)
        lido, modo = arquivo.resolve(), "ro"  # o -wal fica ao lado do arquivo, não de um atalho
        if not all(Path(f"{lido}{resto}").exists() for resto in ("-wal", "-shm")):
            temporaria = abertos.enter_context(tempfile.TemporaryDirectory(prefix="leitura-"))
            lido, modo = _copiar(lido, Path(temporaria)), "rw"
        banco = sqlite3.connect(f"{lido.as_uri()}?mode={modo}", uri=True, timeout=ESPERA,
                                isolation_level=None)
        abertos.callback(banco.close)
        versao = banco.execute("PRAGMA user_version").fetchone()[0]
    except (sqlite3.Error, OSError) as erro:
        raise em_portugues(erro, str(arquivo)) from erro
    if versao != VERSAO:
        raise Falha(f"{arquivo} ainda está vazio: quem grava nele não acabou de criá-lo"
                    if versao == 0 else
                    f"{arquivo} é da versão {versao} do projeto, e este programa é da versão "
                    f"{VERSAO}: use o programa daquela versão", 2)
    return banco


def _copiar(arquivo: Path, para: Path) -> Path:
    """Uma cópia do banco; outra, se alguém mexeu nele no meio dela."""
    for _ in range(COPIAS):
        antes = _marcas(arquivo)
        for resto in AO_LADO:
            (para / f"{arquivo.name}{resto}").unlink(missing_ok=True)
            if antes[resto]:
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{arquivo}{resto}", para / f"{arquivo.name}{resto}")
        if _marcas(arquivo) == antes:
            return para / arquivo.name
    raise Falha(f"{arquivo} muda sem parar: tente de novo", 1)


def _marcas(arquivo: Path) -> dict[str, tuple | None]:
    marcas = dict.fromkeys(AO_LADO)
    for resto in AO_LADO:
        with suppress(FileNotFoundError):
            estado = Path(f"{arquivo}{resto}").stat()
            marcas[resto] = estado.st_ino, estado.st_size, estado.st_mtime_ns
    return marcas
