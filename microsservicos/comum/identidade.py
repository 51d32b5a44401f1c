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
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from comum.banco import EmUso, por_no_lugar, reservado
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
    lidos = {arquivo: _carimbo(arquivo) for arquivo in sorted(pasta.glob("*.db"))}
    return {arquivo: loja for arquivo, (versao, loja) in lidos.items() if versao == VERSAO and loja}


def conferir_sem_uso(pasta: Path, menos: str | None = None) -> list[Path]:
    """Os nossos bancos, menos os da loja `menos`; Falha (código 2) se alguém usa algum deles."""
    achados = [arquivo for arquivo in pasta.glob("*.db")
               if _nosso(arquivo) and (menos is None or _carimbo(arquivo)[1] != menos)]
    for arquivo in achados:
        with _so_nosso(arquivo):
            pass
    return achados


@contextmanager
def _so_nosso(arquivo: Path):
    with ExitStack() as abertos:
        try:
            with suppress(sqlite3.DatabaseError):  # o que não é um banco não está em uso
                abertos.enter_context(reservado(arquivo))
        except EmUso as erro:
            raise Falha(f"há programas usando {arquivo.parent}: encerre-os (Ctrl-C em cada "
                        "terminal) antes de --limpar", 2) from erro
        yield


def trocar_identidade(pasta: Path) -> str:
    """O começo de uma limpeza, num passo só: a loja que estava ali já não existe; devolve a nova.

    Levanta Falha (código 2) se alguém usa os bancos. Quem abrir um deles enquanto isso: ou nós o
    vemos na segunda olhada, ou ele vê a identidade nova (comum/carimbo.py).
    """
    conferir_sem_uso(pasta)
    nova, escrita = _sortear(), pasta / f"{LOJA}.{uuid.uuid4().hex}"
    try:
        pasta.mkdir(mode=0o700, parents=True, exist_ok=True)
        escrita.write_text(nova + "\n", encoding="ascii")
        os.replace(escrita, pasta / LOJA)
    except OSError as erro:
        raise em_portugues(erro, str(pasta)) from erro
    conferir_sem_uso(pasta, menos=nova)
    return nova


def apagar_bancos(pasta: Path) -> None:
    """O fim: os bancos que não são da loja que está no .loja. Não toca no que não é nosso.

    Cada um é olhado outra vez já reservado: enquanto este programa esteve parado, outra limpeza
    pode ter começado e acabado, e o que tem o mesmo nome já ser da loja nova.
    """
    for arquivo in conferir_sem_uso(pasta, menos=identidade_no_arquivo(pasta)):
        with _so_nosso(arquivo):
            if _carimbo(arquivo)[1] == identidade_no_arquivo(pasta):
                continue
            try:
                for fim in ("-wal", "-shm", "-journal", ""):  # por último, o que diz de quem são
                    arquivo.with_name(arquivo.name + fim).unlink(missing_ok=True)
            except OSError as erro:
                raise em_portugues(erro, str(arquivo)) from erro


def limpar(pasta: Path) -> None:
    """A limpeza de quem só tem bancos."""
    trocar_identidade(pasta)
    apagar_bancos(pasta)


def _nosso(arquivo: Path) -> bool:
    """Pelo carimbo ou pelo nome, mesmo estragado; mas não se é de outro programa (versão 0)."""
    try:
        versao, loja = do_arquivo(arquivo)
    except sqlite3.Error:
        return arquivo.name in NOMES
    return versao > 0 and arquivo.name in NOMES or versao == VERSAO and loja is not None


def _carimbo(arquivo: Path) -> tuple[int, str | None]:
    try:
        return do_arquivo(arquivo)
    except sqlite3.Error:
        return 0, None


def _sortear() -> str:
    # Zero é o application_id de quem não tem nenhum, e ele é um inteiro com sinal.
    return f"{uuid.uuid4().int >> 97 | 1:08x}"
