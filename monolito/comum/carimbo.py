"""O que um banco diz de si: de que versão do projeto ele é, e de que loja.

São dois números do cabeçalho do arquivo, escritos quando ele é criado, antes de ele ter um WAL
(manual do SQLite, "PRAGMA user_version" e "PRAGMA application_id"). A loja é a da pasta em que ele
está, que a diz no arquivo `.loja` (comum/identidade.py).
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from comum.falha import Falha

VERSAO = 3
LOJA = ".loja"


class Carimbo(NamedTuple):
    """versao: 0, se ninguém a escreveu. loja: oito algarismos hexadecimais, ou None."""

    versao: int
    loja: str | None
    tabelas: list[str]


def escrever(loja: str | None) -> str:
    """O SQL que carimba um banco."""
    return f"PRAGMA application_id={int(loja or '0', 16)}; PRAGMA user_version={VERSAO}"


def do_banco(banco: sqlite3.Connection) -> Carimbo:
    versao, loja = (banco.execute(f"PRAGMA {qual}").fetchone()[0]
                    for qual in ("user_version", "application_id"))
    return Carimbo(versao, f"{loja:08x}" if loja else None, [nome for nome, in banco.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table'")])


def do_arquivo(arquivo: Path) -> Carimbo:
    """O carimbo do arquivo principal. Levanta sqlite3.Error se ele não existe, ou não é um banco.

    Com immutable=1 o SQLite não pega trava, não cria arquivo nenhum e não olha o WAL.
    """
    with closing(sqlite3.connect(f"{arquivo.resolve().as_uri()}?mode=ro&immutable=1",
                                 uri=True)) as banco:
        return do_banco(banco)


def recusar_outra_versao(achado: Carimbo, caminho: Path, tabelas: str = "",
                         loja: str | None = None) -> None:
    """Levanta Falha (código 2) se o banco não é da versão deste programa.

    tabelas, loja: o que ele deveria ter; com isso se reconhece o que veio de um .dump.
    """
    nossas = set(re.findall(r"CREATE TABLE (\w+)", tabelas))
    if achado.versao == VERSAO:
        return
    if achado.versao:
        raise Falha(f"{caminho} é da versão {achado.versao} do projeto, e este programa é da "
                    f"versão {VERSAO}: use o programa daquela versão, ou recomece com --limpar", 2)
    if not achado.tabelas:
        raise Falha(f"{caminho} está vazio: apague-o, e ele é criado de novo", 2)
    if not nossas.issubset(achado.tabelas):
        raise Falha(f"{caminho} é um banco SQLite de outro programa: use --dados OUTRA_PASTA", 2)
    raise Falha(f"{caminho} foi refeito de um .dump, que não guarda a versão nem a loja; se ele é "
                f"desta pasta, diga isso com  sqlite3 '{caminho}' '{escrever(loja)}'", 2)


def recusar_outra_loja(caminho: Path, dele: str | None, loja: str | None) -> None:
    """Levanta Falha (código 2) se o banco não é da loja; loja None: de nenhuma em particular.

    O .loja é lido outra vez, agora que um --limpar já nos vê: quem limpa o troca e só depois
    procura quem usa os bancos. Ou ele nos acha, ou nós achamos aqui a identidade nova.
    """
    arquivo = caminho.with_name(LOJA)
    da_pasta = arquivo.read_text().strip() if loja and arquivo.exists() else loja
    if loja and {dele, da_pasta} != {loja}:
        raise Falha(f"{caminho} é da loja {dele}, e a pasta dele é da {da_pasta}: se um --limpar "
                    "foi interrompido, rode-o de novo; se não, ponha cada banco na pasta da sua "
                    "loja", 2)
