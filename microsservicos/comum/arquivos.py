"""Os arquivos de um banco: como nascem inteiros, se alguém os usa, se ainda são os mesmos.

Se alguém troca ou apaga um deles com o banco aberto, o SQLite continua a gravar no antigo, que já
não tem nome, sem se queixar; no próximo início, nada daquilo estaria lá. Enquanto a conexão está
aberta o SQLite não apaga nenhum: quem os apaga é sempre alguém de fora.
"""

import os
import sqlite3
import sys
import time
import uuid
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Iterator

from comum.falha import Falha

PRAZO = 1.0  # segundos para um programa que se inicia ao mesmo tempo criar o seu WAL


@contextmanager
def nascendo(arquivo: Path) -> Iterator[Path]:
    """Dá o nome de um arquivo a escrever, que no fim do bloco passa a ser `arquivo`, já inteiro.

    Se outro programa pôs um ali enquanto isso, vale o do outro.
    """
    with TemporaryDirectory(prefix=".novo-", dir=arquivo.parent) as rascunho:
        novo = Path(rascunho, arquivo.name)
        yield novo
        try:
            os.link(novo, arquivo)
        except FileExistsError:
            pass
        except PermissionError:  # um disco sem links
            os.replace(novo, arquivo)


def so_se_existe(caminho: Path) -> str:
    """O nome com que o SQLite abre um banco sem criar nada: um --limpar pode tê-lo apagado."""
    return f"{caminho.resolve().as_uri()}?mode=rw"


def em_uso(caminho: Path) -> bool:
    """Se algum processo tem este banco aberto, em WAL; ou o está lendo, se ele não está em WAL.

    Em WAL, toda conexão segura uma trava compartilhada no arquivo principal até se fechar. Quem o
    pede só para si (`locking_mode=EXCLUSIVE`), antes da primeira leitura, descobre se há outra, e
    não cria WAL nenhum ao perguntar. (Manual do SQLite, "Write-Ahead Logging", seção "Use of WAL
    Without Shared-Memory".) O que não é um banco não está em uso: quem o abrir dirá o que é.
    """
    with closing(sqlite3.connect(so_se_existe(caminho), uri=True, timeout=0,
                                 isolation_level=None)) as banco:
        try:
            banco.execute("PRAGMA locking_mode=EXCLUSIVE")
            banco.execute("BEGIN EXCLUSIVE")  # fora do WAL, uma leitura não pediria a trava
        except sqlite3.DatabaseError as erro:
            return "locked" in str(erro)
        return False


def recusar_diario_apagado(caminho: Path) -> None:
    """Recusa o banco cujo WAL, ou o índice dele (-shm), foi apagado debaixo de um programa no ar.

    Este processo criaria outros, sem ver o que está nos que já não têm nome, e cada um apagaria
    o que o outro gravou. Levanta Falha (código 2).
    """
    real, prazo = os.path.realpath(caminho), time.monotonic() + PRAZO
    while not all(os.path.exists(real + fim) for fim in ("-wal", "-shm")) and em_uso(caminho):
        if time.monotonic() > prazo:
            raise Falha(f"{caminho}: o -wal ou o -shm foi apagado com outro programa no ar: "
                        "encerre-o, que ele ainda salva o que gravou, e repita", 2)
        time.sleep(0.01)


def arquivos_de(real: str) -> dict[str, int | None]:
    """{arquivo: inode}: o banco, o -wal que o SQLite mantém ao lado, e o índice dele, o -shm.

    real: o caminho do banco já aberto, sem links. None: o que não há (um exclusivo não tem -shm).
    """
    agora = na_pasta(os.path.dirname(real))
    return {nome: agora.get(nome) for nome in (real, f"{real}-wal", f"{real}-shm")}


def conferir_indice(banco) -> None:
    """Antes de cada COMMIT: sem o -shm que todos usam, este programa escreveria sobre os outros.

    Quem abriu o banco desde que ele sumiu criou outro, e grava por esse.
    """
    _, _, indice = banco.arquivos
    with suppress(OSError):  # apagado, ou a pasta já não deixa ver
        if not banco.arquivos[indice] or banco.arquivos[indice] == os.stat(indice).st_ino:
            return
    acabar(banco, sumiram(banco, na_pasta(banco.pasta)) or [indice])


def sumiram(banco, agora: dict[str, int]) -> list[str]:
    """Os arquivos dele que já não são os mesmos. agora: o que há na_pasta()."""
    return [nome for nome, era in banco.arquivos.items() if era and agora.get(nome) != era]


def acabar(banco, sumidos: list[str]) -> None:
    """O fim do processo, sem fechar o banco; o próximo início é a recuperação.

    Fechar já escreveria por cima do que outro programa tenha gravado desde então.
    """
    como_ficou = salvar(banco, sumidos)
    with suppress(OSError, ValueError):  # haja ou não a quem dizer
        print(f"{sumidos[0]} foi trocado ou apagado com o programa no ar: encerro; {como_ficou}",
              file=sys.stderr, flush=True)
    os._exit(2)


def salvar(banco, sumidos: list[str]) -> str:
    """Leva ao banco o que só esta conexão ainda vê; devolve o que foi feito."""
    arquivo, wal, _ = banco.arquivos
    if arquivo not in sumidos and wal not in sumidos:
        return "o que foi gravado está no -wal, e o próximo início o lê"
    guardei = ""
    # Páginas de outro, sobre as nossas, estragariam o banco; e as nossas, o banco de outro.
    if os.path.exists(arquivo) and os.path.exists(wal):
        de_outro = f"{wal}.{uuid.uuid4().hex[:8]}"
        os.replace(wal, de_outro)
        guardei = f"; o -wal que estava no lugar ficou em {de_outro}"
    if arquivo in sumidos:
        return f"o que este programa gravou estava no arquivo que sumiu{guardei}"
    with suppress(sqlite3.Error):
        banco.rollback()
        if banco.execute("PRAGMA wal_checkpoint(FULL)").fetchone()[0] == 0:
            return f"o que só ele ainda via já passei ao banco{guardei}"
    return f"o que só ele ainda via não pôde ser passado ao banco{guardei}"


def na_pasta(pasta: str) -> dict[str, int]:
    """{arquivo: inode}, dos que estão na pasta; vazio se ela já não deixa ver."""
    with suppress(OSError), os.scandir(pasta) as todos:
        return {um.path: um.inode() for um in todos}
    return {}
