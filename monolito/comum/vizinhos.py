"""Quem mais tem este banco aberto, antes de o abrir: as travas do SQLite respondem.

Em modo WAL toda conexão segura uma trava compartilhada no arquivo principal até se fechar. Quem
pede o arquivo só para si (`locking_mode=EXCLUSIVE`), antes da primeira leitura, descobre se há
outra, e não cria WAL nenhum ao perguntar. (Manual do SQLite, "Write-Ahead Logging", seção "Use of
WAL Without Shared-Memory".)
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from comum.falha import Falha

PRAZO = 1.0  # segundos para um programa que parte ao mesmo tempo criar o seu WAL


def conferir_diario(caminho: Path) -> None:
    """Recusa o banco cujo WAL, ou o índice dele (-shm), foi apagado debaixo de um programa no ar.

    Este processo criaria outros, sem ver o que está nos que já não têm nome, e cada um apagaria
    o que o outro gravou. O programa no ar, ao fechar sozinho o banco, ainda salva tudo.
    Levanta Falha (código 2).
    """
    real = os.path.realpath(caminho)
    prazo = time.monotonic() + PRAZO
    with suppress(sqlite3.DatabaseError):  # o que houver com o arquivo, quem o abrir o dirá
        while os.path.exists(real) and not _inteiro(real) and em_uso(real):
            if time.monotonic() > prazo:
                raise Falha(f"{caminho}: o -wal ou o -shm foi apagado com outro programa no ar: "
                            "encerre-o (Ctrl-C), que ele ainda salva o que gravou, e repita", 2)
            time.sleep(0.01)


def _inteiro(real: str) -> bool:
    return os.path.exists(f"{real}-wal") and os.path.exists(f"{real}-shm")


def em_uso(real: Path | str) -> bool:
    """Se algum processo tem este banco aberto, em WAL, ou o está lendo, fora dele.

    Levanta sqlite3.DatabaseError se o arquivo não é um banco.
    """
    with closing(sqlite3.connect(real, timeout=0, isolation_level=None)) as banco:
        try:
            banco.execute("PRAGMA locking_mode=EXCLUSIVE")
            banco.execute("BEGIN EXCLUSIVE")  # fora do WAL, uma leitura não pediria a trava
            banco.execute("ROLLBACK")
            return False
        except sqlite3.OperationalError as erro:
            if "locked" not in str(erro):
                raise
            return True
