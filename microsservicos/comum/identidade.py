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
from typing import Callable

from comum.banco import em_uso, por_no_lugar
from comum.carimbo import LOJA, VERSAO, Carimbo, do_arquivo, recusar_outra_loja
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
        lida = (pasta / LOJA).read_text(encoding="ascii", errors="replace").strip()
    except OSError as erro:
        raise em_portugues(erro, str(pasta)) from erro
    if not re.fullmatch("[0-7][0-9a-f]{7}", lida):
        raise Falha(f"{pasta / LOJA} não é a identidade de uma loja: apague-o, e ele é refeito "
                    "a partir dos bancos", 2)
    for arquivo, dele in carimbos(pasta).items():
        recusar_outra_loja(arquivo, dele, lida)
    return lida


def identidade_se_houver(pasta: Path) -> str | None:
    """A identidade da loja, sem criar nada; None se nesta pasta não há loja nenhuma."""
    return identidade(pasta) if (pasta / LOJA).exists() or carimbos(pasta) else None


def carimbos(pasta: Path) -> dict[Path, str]:
    """{banco: a identidade que ele guarda}, dos que são desta versão do projeto."""
    return {arquivo: dele.loja for arquivo in sorted(pasta.glob("*.db"))
            if (dele := _carimbo(arquivo)).loja and dele.versao == VERSAO}


def limpar(pasta: Path, depois_da_troca: Callable[[str], None] = lambda nova: None) -> str:
    """Troca a identidade da pasta e apaga os bancos da loja antiga; devolve a nova.

    depois_da_troca(identidade nova): esvazia o que a loja antiga tem fora da pasta; vem antes dos
    bancos, que enquanto sobram são a prova de que falta limpar. Não toca no que não é nosso.
    Levanta Falha (código 2) se alguém usa os bancos, ou se não dá para apagar.
    """
    try:
        pasta.mkdir(mode=0o700, parents=True, exist_ok=True)
        antigas, nova = {*sem_uso(pasta).values()}, _sortear()
        troca = pasta / f"{LOJA}.{uuid.uuid4().hex}"
        troca.write_text(nova + "\n", encoding="ascii")
        os.replace(troca, pasta / LOJA)
        # Quem abriu um deles nesse meio-tempo: ou nós o vemos agora, ou ele vê a identidade nova.
        sem_uso(pasta, antigas)
        depois_da_troca(nova)
        for arquivo in sem_uso(pasta, antigas):
            for fim in ("-wal", "-shm", "-journal", ""):  # por último, o que diz de quem são
                arquivo.with_name(arquivo.name + fim).unlink(missing_ok=True)
    except OSError as erro:
        raise em_portugues(erro, str(pasta)) from erro
    return nova


def sem_uso(pasta: Path, de: set[str | None] | None = None) -> dict[Path, str | None]:
    """{banco nosso: loja}, só os destas lojas ou de nenhuma; Falha (código 2) se alguém usa algum.

    de: None, os de qualquer loja.
    """
    achados = {arquivo: _carimbo(arquivo) for arquivo in pasta.glob("*.db")}
    nossos = {arquivo: um.loja for arquivo, um in achados.items() if _nosso(arquivo.name, um)
              and (de is None or um.loja is None or um.loja in de)}
    for arquivo in nossos:
        with suppress(sqlite3.DatabaseError):  # o que não é um banco não está em uso
            if em_uso(arquivo):
                raise Falha(f"há programas usando {pasta}: encerre-os (Ctrl-C em cada terminal) "
                            "antes de --limpar", 2)
    return nossos


def _nosso(nome: str, um: Carimbo) -> bool:
    if nome in NOMES:  # mesmo estragado, ou vazio; mas não o que outro programa pôs ali
        return um.versao > 0 or not um.tabelas
    return um.versao == VERSAO and um.loja is not None


def _carimbo(arquivo: Path) -> Carimbo:
    try:
        return do_arquivo(arquivo)
    except sqlite3.Error:
        return Carimbo(0, None, [])


def _sortear() -> str:
    # Zero é o application_id de quem não tem nenhum, e ele é um inteiro com sinal.
    return f"{uuid.uuid4().int >> 97 | 1:08x}"
