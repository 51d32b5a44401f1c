"""Os arquivos de um banco aberto: se ainda são os mesmos, e o que fazer se não são.

Se alguém troca ou apaga um deles, o SQLite continua a gravar no antigo, que já não tem nome, sem se
queixar; no próximo início, nada daquilo estaria lá. Enquanto a conexão está aberta o SQLite não
apaga nenhum: quem os apaga é sempre alguém de fora.
"""

import os
import sqlite3
import sys
import uuid
from contextlib import suppress


class Arquivos:
    """O banco, e o que o SQLite mantém ao lado dele: o -wal, e o índice do WAL, o -shm.

    conexao: a do SQLite, com todos já abertos. real: o caminho do banco, sem links.
    """

    def __init__(self, conexao: sqlite3.Connection, real: str):
        self.conexao, self.pasta, self.indice = conexao, os.path.dirname(real), f"{real}-shm"
        agora = na_pasta(self.pasta)
        self.eram = {nome: agora.get(nome) for nome in (real, f"{real}-wal", self.indice)}
        self.indice_era = inode(self.indice)  # None: um banco exclusivo não tem

    def conferir_indice(self) -> None:
        """Antes de cada COMMIT: sem o -shm que todos usam, ele escreveria por cima de outros.

        Quem abriu o banco desde que ele sumiu criou outro, e grava por esse.
        """
        if self.indice_era and inode(self.indice) != self.indice_era:
            self.acabar()

    def sumidos(self, agora: dict[str, int]) -> list[str]:
        """Os que já não são os mesmos. agora: o que há na_pasta()."""
        return [nome for nome, era in self.eram.items() if era and agora.get(nome) != era]

    def acabar(self) -> None:
        """O fim do processo, sem fechar o banco; o próximo início é a recuperação.

        Fechar já escreveria por cima do que outro programa tenha gravado desde então.
        """
        sumidos = self.sumidos(na_pasta(self.pasta)) or [self.indice]
        como_ficou = self._salvar(sumidos)
        with suppress(OSError, ValueError):  # haja ou não a quem dizer
            print(f"{sumidos[0]} foi trocado ou apagado com o programa no ar: encerro; "
                  f"{como_ficou}", file=sys.stderr, flush=True)
        os._exit(2)

    def _salvar(self, sumidos: list[str]) -> str:
        """Leva ao banco o que só esta conexão ainda vê; devolve o que foi feito."""
        banco, wal, _ = self.eram
        if banco not in sumidos and wal not in sumidos:
            return "o que foi gravado está no -wal, e o próximo início o lê"
        guardei = ""
        # Páginas de outro, sobre as nossas, estragariam o banco; e as nossas, o banco de outro.
        if os.path.exists(banco) and os.path.exists(wal):
            de_outro = f"{wal}.{uuid.uuid4().hex[:8]}"
            os.replace(wal, de_outro)
            guardei = f"; o -wal que estava no lugar ficou em {de_outro}"
        if banco in sumidos:
            return f"o que este programa gravou estava no arquivo que sumiu{guardei}"
        with suppress(sqlite3.Error):
            self.conexao.rollback()
            if self.conexao.execute("PRAGMA wal_checkpoint(FULL)").fetchone()[0] == 0:
                return f"o que só ele ainda via já passei ao banco{guardei}"
        return f"o que só ele ainda via não pôde ser passado ao banco{guardei}"


def conferir_arquivos(*bancos) -> None:
    """Antes de contar a alguém o que se gravou: se está mesmo nos arquivos com aqueles nomes.

    bancos: os de comum/banco.py. Lê a pasta uma vez, e não faz um stat por arquivo: depois que
    alguém pergunta pela hora de um arquivo, o Linux a anota com mais cuidado na gravação seguinte,
    e num -wal isso custa 30 µs em cada COMMIT (tests/desempenho).
    """
    pasta, agora = None, {}
    for arquivos in filter(None, (banco.arquivos for banco in bancos)):  # None: só na memória
        if arquivos.pasta != pasta:
            pasta, agora = arquivos.pasta, na_pasta(arquivos.pasta)
        if arquivos.sumidos(agora):
            arquivos.acabar()


def na_pasta(pasta: str) -> dict[str, int]:
    """{arquivo: inode}, dos que estão na pasta; vazio se ela já não deixa ver."""
    with suppress(OSError), os.scandir(pasta) as todos:
        return {um.path: um.inode() for um in todos}
    return {}


def inode(arquivo: str) -> int | None:
    with suppress(OSError):  # apagado, ou a pasta já não deixa ver
        return os.stat(arquivo).st_ino
    return None
