"""Ler bancos de dados sem escrever nada neles: só aqui se faz isso.

Um banco em WAL que ninguém usa não tem -wal, e está inteiro no arquivo principal: com immutable=1
o SQLite o lê como está, sem travas, mesmo numa pasta em que não se pode escrever. Se há um -wal e
um -shm, há um programa no ar, ou um que morreu, e basta mode=ro. Se só há o -wal, é uma cópia: o
SQLite refaz o -shm ao lado dele, e só isso. (Manual do SQLite, "Write-Ahead Logging", seção
"Read-Only Databases".)
"""

import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Iterable, Iterator, Mapping

from comum.banco import ESPERA
from comum.carimbo import ler, recusar_outra_loja, recusar_outra_versao
from comum.falha import Falha, em_portugues


@contextmanager
def lendo(pasta: Path, donos: Iterable[str],
          faltando: Mapping[str, str] | None = None) -> Iterator[sqlite3.Connection]:
    """Uma conexão que só lê, com o banco de cada dono lado a lado (DONO_db), até o fim do bloco.

    pasta: a dos bancos, ou a de uma cópia deles. faltando: {dono: tabelas}, para ler, no lugar do
    banco que ainda não existe, um recém-criado. Levanta Falha (código 2) se falta algum, se algum
    não é um banco desta versão do projeto, ou se são de lojas diferentes.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None, uri=True,
                                 timeout=ESPERA)) as banco:
        banco.execute("PRAGMA temp_store=MEMORY")
        primeira = None
        for dono in donos:
            arquivo = pasta / f"{dono}.db"
            if arquivo.exists():
                loja = _anexar(banco, dono, arquivo)
                recusar_outra_loja(arquivo, loja, loja and primeira)
                primeira = primeira or loja
            elif dono in (faltando or ()):  # duas tabelas de mesmo nome são iguais
                banco.executescript(faltando[dono].replace("TABLE", "TABLE IF NOT EXISTS"))
            else:
                raise Falha(f"falta {arquivo}: quem grava nele ainda não rodou nesta pasta, ou a "
                            "cópia está incompleta; outra pasta: --dados DIR", 2)
        yield banco


def _anexar(banco: sqlite3.Connection, dono: str, arquivo: Path) -> str | None:
    """Anexa o banco do dono; devolve a loja dele."""
    real = arquivo.resolve()  # o -wal fica ao lado do arquivo, não de um atalho
    modo = "mode=ro" if os.path.exists(f"{real}-wal") else "mode=ro&immutable=1"
    try:
        banco.execute(f"ATTACH ? AS {dono}_db", (f"{real.as_uri()}?{modo}",))
        banco.execute(f"SELECT count(*) FROM {dono}_db.sqlite_master").fetchone()
        versao, loja = ler(banco, f"{dono}_db")
    except sqlite3.Error as erro:
        raise em_portugues(erro, str(arquivo)) from erro
    recusar_outra_versao(versao, arquivo)
    return loja
