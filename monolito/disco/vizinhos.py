"""Quem mais tem este arquivo aberto: uma pergunta que o SQLite responde com as travas dele.

Em modo WAL toda conexão segura uma trava compartilhada no arquivo principal enquanto existe, e o
sistema operacional a solta quando o processo acaba, seja como for. Quem pede o arquivo só para
si (`locking_mode=EXCLUSIVE`) descobre se há outra. (Manual do SQLite, "Write-Ahead Logging",
seção sobre o uso sem memória compartilhada, e "File Locking And Concurrency".)
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from comum.falha import Falha

PRAZO = 1.0  # segundos para um programa que parte ao mesmo tempo criar o seu WAL


def sozinho_no_arquivo(caminho: Path) -> bool:
    """Se nenhuma conexão, de processo nenhum (este também), tem aberto o banco que existe em `caminho`."""
    with closing(sqlite3.connect(caminho, timeout=0, isolation_level=None)) as banco:
        try:
            banco.execute("PRAGMA locking_mode=EXCLUSIVE")
            banco.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return True
        except sqlite3.OperationalError as erro:
            if "locked" in str(erro):
                return False
            raise


def conferir_diario(caminho: Path) -> None:
    """Recusa abrir um banco cujo WAL, ou o índice dele, foi apagado debaixo de um programa no ar.

    Este processo criaria outro WAL, sem ver o que está no que já não tem nome, e cada um apagaria
    o que o outro gravou. O programa no ar, ao fechar sozinho o banco, ainda salva tudo.
    """
    real = os.path.realpath(caminho)
    prazo = time.monotonic() + PRAZO
    try:
        while os.path.exists(real) and os.path.getsize(real) and not _inteiro(real):
            if sozinho_no_arquivo(caminho):
                return
            if time.monotonic() > prazo:
                raise Falha(f"{caminho}: o -wal ou o -shm foi apagado com outro programa no ar: "
                            "encerre-o (Ctrl-C), que ele ainda salva o que gravou, e tente de novo", 2)
            time.sleep(0.01)
    except sqlite3.DatabaseError:
        return  # o que houver com o arquivo, quem o abrir de verdade o dirá


def _inteiro(real: str) -> bool:
    return os.path.exists(f"{real}-wal") and os.path.exists(f"{real}-shm")
