"""A identidade de uma loja: de quem são os bancos de uma pasta, e como recomeçar com outra.

São oito algarismos hexadecimais, no arquivo `.loja` da pasta e no carimbo de cada banco. Uma pasta
com bancos de mais de uma loja não é aberta. Por isso `--limpar` começa por trocar a identidade, num
passo só: dali em diante, o que sobrar da loja antiga é de outra, morra quem limpa onde morrer. Em
várias máquinas, o `.loja` é copiado para a pasta de cada uma.
"""

from __future__ import annotations

import os
import re
import sqlite3
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Iterator

from comum.banco import em_uso, por_no_lugar
from comum.carimbo import LOJA, VERSAO, do_arquivo, recusar_outra_loja
from comum.falha import Falha, em_portugues
from comum.loja import DONOS

NOMES = {f"{nome}.db" for nome in (*DONOS, "coordenador")}


def identidade(pasta: Path) -> str:
    """A identidade da loja cujos bancos ficam em `pasta`; se ainda não há, é sorteada, uma vez.

    Levanta Falha (código 2) se não dá para ler ou criar o arquivo, ou se algum banco é de outra.
    """
    try:
        pasta.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (pasta / LOJA).exists():
            loja = next(iter(carimbos(pasta).values()), None) or _sortear()
            with por_no_lugar(pasta / LOJA) as novo:
                novo.write_text(loja + "\n", encoding="ascii")
    except OSError as erro:
        raise em_portugues(erro, str(pasta)) from erro
    lida = identidade_no_arquivo(pasta)
    for arquivo, dele in carimbos(pasta).items():
        recusar_outra_loja(arquivo, dele, lida)
    return lida


def identidade_no_arquivo(pasta: Path) -> str:
    """O que o .loja diz. Levanta Falha (código 2) se ele não é isso."""
    try:
        lida = (pasta / LOJA).read_text(encoding="ascii", errors="replace").strip()
    except OSError as erro:
        raise em_portugues(erro, str(pasta / LOJA)) from erro
    if not re.fullmatch("[0-7][0-9a-f]{7}", lida):
        raise Falha(f"{pasta / LOJA} não é a identidade de uma loja: apague-o, e ele é refeito "
                    "a partir dos bancos", 2)
    return lida


def identidade_se_houver(pasta: Path) -> str | None:
    """A identidade da loja, sem criar nada; None se nesta pasta não há loja nenhuma."""
    return identidade(pasta) if (pasta / LOJA).exists() or carimbos(pasta) else None


def lojas_da_pasta(pasta: Path) -> list[str]:
    """As lojas de que ainda há algo aqui: uma; ou duas, se um --limpar morreu no meio."""
    if not (pasta / LOJA).exists():
        identidade(pasta)
    return [*{*carimbos(pasta).values(), identidade_no_arquivo(pasta)}]


def carimbos(pasta: Path) -> dict[Path, str]:
    """{banco: a loja que ele diz}, dos que são desta versão do projeto."""
    return {arquivo: loja for arquivo, (versao, loja) in _bancos(pasta)
            if versao == VERSAO and loja}


def conferir_sem_uso(pasta: Path) -> None:
    """Levanta Falha (código 2) se alguém usa algum dos nossos bancos."""
    for arquivo, _ in _bancos(pasta):
        with suppress(sqlite3.DatabaseError):  # o que não é um banco não está em uso
            if em_uso(arquivo):
                raise Falha(f"há programas usando {pasta}: encerre-os (Ctrl-C em cada terminal) "
                            "antes de --limpar", 2)


def trocar_identidade(pasta: Path) -> str:
    """O começo de uma limpeza, num passo só: a loja que estava ali já não existe; devolve a nova.

    Levanta Falha (código 2) se alguém usa os bancos. Quem abrir um deles enquanto isso vê a
    identidade nova (comum/carimbo.py), ou o arquivo sumir (comum/banco.py).
    """
    conferir_sem_uso(pasta)
    nova = _sortear()
    try:
        pasta.mkdir(mode=0o700, parents=True, exist_ok=True)
        with por_no_lugar(pasta / LOJA, os.replace) as escrita:
            escrita.write_text(nova + "\n", encoding="ascii")
    except OSError as erro:
        raise em_portugues(erro, str(pasta)) from erro
    return nova


def apagar_bancos(pasta: Path) -> None:
    """O fim: os nossos bancos que não são da loja do .loja; outra limpeza pode já ter acabado."""
    for arquivo, (_, loja) in _bancos(pasta):
        try:
            if loja != identidade_no_arquivo(pasta):
                for fim in ("-wal", "-shm", "-journal", ""):  # por último, o que diz de quem são
                    arquivo.with_name(arquivo.name + fim).unlink(missing_ok=True)
        except OSError as erro:
            raise em_portugues(erro, str(arquivo)) from erro


def limpar(pasta: Path) -> None:
    """A limpeza de quem só tem bancos."""
    trocar_identidade(pasta)
    apagar_bancos(pasta)


def _bancos(pasta: Path) -> Iterator[tuple[Path, tuple[int, str | None]]]:
    """(banco, carimbo) dos nossos, lido na hora: pelo carimbo, ou pelo nome, mesmo estragado.

    O que outro programa pôs ali não diz versão nenhuma.
    """
    for arquivo in sorted(pasta.glob("*.db")):
        try:
            versao, loja = do_arquivo(arquivo)
        except sqlite3.Error:
            versao, loja = -1, None
        if versao and arquivo.name in NOMES or versao == VERSAO and loja:
            yield arquivo, (versao, loja)


def _sortear() -> str:
    # Zero é o application_id de quem não tem nenhum, e ele é um inteiro com sinal.
    return f"{uuid.uuid4().int >> 97 | 1:08x}"
