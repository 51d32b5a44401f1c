"""A identidade de uma loja: de quem são os bancos de uma pasta, e como recomeçar com outra.

São oito algarismos hexadecimais, no arquivo `.loja` da pasta e no PRAGMA application_id de cada
banco, escrito quando ele é criado (manual do SQLite, "PRAGMA application_id"). Uma pasta com
bancos de mais de uma loja não é aberta. Por isso `--limpar` começa por trocar a identidade, num
passo só: dali em diante, o que sobrar da loja antiga é de outra, morra quem limpa onde morrer. Em
várias máquinas, o `.loja` é copiado para a pasta de cada uma.
"""

from __future__ import annotations

import os
import re
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path
from typing import Callable

from comum.banco import LOJA, VERSAO, em_uso, outra_loja
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
            _escrever(pasta, next(iter(carimbos(pasta).values()), None) or _sortear())
        lida = (pasta / LOJA).read_text(encoding="ascii", errors="replace").strip()
    except OSError as erro:
        raise em_portugues(erro, str(pasta)) from erro
    if not re.fullmatch("[0-7][0-9a-f]{7}", lida):
        raise Falha(f"{pasta / LOJA} não é a identidade de uma loja: apague-o, e ele é refeito "
                    "a partir dos bancos", 2)
    for arquivo, dele in carimbos(pasta).items():
        if dele != lida:
            raise outra_loja(arquivo, dele, lida)
    return lida


def identidade_se_houver(pasta: Path) -> str | None:
    """A identidade da loja, sem criar nada; None se nesta pasta não há loja nenhuma."""
    return identidade(pasta) if (pasta / LOJA).exists() or carimbos(pasta) else None


def carimbos(pasta: Path) -> dict[Path, str]:
    """{banco: a identidade que ele guarda}, dos que são desta versão do projeto."""
    lidos = {arquivo: _ler(arquivo) for arquivo in sorted(pasta.glob("*.db"))}
    return {arquivo: f"{carimbo:08x}" for arquivo, (versao, carimbo, _) in lidos.items()
            if versao == VERSAO and carimbo}


def limpar(pasta: Path, depois_da_troca: Callable[[str], None] = lambda nova: None) -> str:
    """Troca a identidade da pasta e apaga os bancos da loja antiga; devolve a nova.

    depois_da_troca(identidade nova): esvazia o que a loja antiga tem fora da pasta; vem antes dos
    bancos, que enquanto sobram são a prova de que falta limpar. Não toca no que não é nosso.
    Levanta Falha (código 2) se alguém usa os bancos, ou se não dá para apagar.
    """
    try:
        pasta.mkdir(mode=0o700, parents=True, exist_ok=True)
        antigas = set(sem_uso(pasta).values())
        nova = _sortear()
        _escrever(pasta, nova, por_cima=True)
        # Quem abriu um deles nesse meio-tempo: ou nós o vemos agora, ou ele vê a identidade nova.
        sem_uso(pasta, antigas)
        depois_da_troca(nova)
        for arquivo in sem_uso(pasta, antigas):
            for fim in ("-wal", "-shm", "-journal", ""):  # por último, o que diz de quem são
                arquivo.with_name(arquivo.name + fim).unlink(missing_ok=True)
    except OSError as erro:
        raise em_portugues(erro, str(pasta)) from erro
    return nova


def sem_uso(pasta: Path, de: set[int] | None = None) -> dict[Path, int]:
    """{banco nosso: carimbo}, só dos carimbos em `de`; Falha (código 2) se alguém usa algum.

    de: None, os de qualquer carimbo; os bancos sem carimbo contam sempre.
    """
    nossos = {arquivo: _ler(arquivo)[1] for arquivo in pasta.glob("*.db") if _nosso(arquivo)}
    nossos = {arquivo: carimbo for arquivo, carimbo in nossos.items()
              if de is None or carimbo in de or not carimbo}
    for arquivo in nossos:
        with suppress(sqlite3.DatabaseError):  # o que não é um banco não está em uso
            if em_uso(arquivo):
                raise Falha(f"há programas usando {pasta}: encerre-os (Ctrl-C em cada terminal) "
                            "antes de --limpar", 2)
    return nossos


def _nosso(arquivo: Path) -> bool:
    versao, carimbo, tabelas = _ler(arquivo)
    if arquivo.name in NOMES:  # mesmo estragado, ou vazio; mas não o que outro programa pôs ali
        return versao > 0 or not tabelas
    return versao == VERSAO and carimbo != 0


def _ler(arquivo: Path) -> tuple[int, int, int]:
    """(versão, carimbo, quantas tabelas) do arquivo principal; zeros se não dá para ler.

    Com immutable=1 o SQLite não pega trava, não cria arquivo nenhum e não olha o WAL; o que se lê
    aqui é escrito ao criar o banco, antes de ele ter um.
    """
    try:
        with closing(sqlite3.connect(f"{arquivo.resolve().as_uri()}?mode=ro&immutable=1",
                                     uri=True)) as banco:
            return tuple(banco.execute(pragma).fetchone()[0] for pragma in (
                "PRAGMA user_version", "PRAGMA application_id",
                "SELECT count(*) FROM sqlite_master"))
    except sqlite3.Error:
        return 0, 0, 0


def _sortear() -> str:
    # Zero é o application_id de quem não tem nenhum, e ele é um inteiro com sinal.
    return f"{uuid.uuid4().int >> 97 | 1:08x}"


def _escrever(pasta: Path, loja: str, por_cima: bool = False) -> None:
    """Põe o `.loja` ali já inteiro; sem `por_cima`, só se outro programa não o criou antes."""
    arquivo = pasta / LOJA
    novo = arquivo.with_name(f"{LOJA}.{uuid.uuid4().hex}")
    novo.write_text(loja + "\n", encoding="ascii")
    try:
        os.replace(novo, arquivo) if por_cima else os.link(novo, arquivo)
    except FileExistsError:
        pass
    except OSError:
        if por_cima:
            raise
        os.replace(novo, arquivo)  # um disco sem links
    finally:
        novo.unlink(missing_ok=True)
