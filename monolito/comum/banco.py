"""Um arquivo SQLite por dono: abrir, criar uma vez só, gravar numa transação.

Todo banco usa WAL: quem lê não espera quem escreve. Uma gravação forçada (`synchronous=FULL`) só
volta quando o disco a tem, com um fsync; uma não forçada (NORMAL) resiste à morte do processo, mas
uma queda de energia pode levá-la, até que uma forçada, no mesmo arquivo, a carregue junto: o WAL é
gravado em ordem. (Manual do SQLite, "Write-Ahead Logging" e "PRAGMA synchronous".)
"""

import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Iterable, Iterator, Mapping

from comum.arquivos import (acabar, arquivos_de, conferir_indice, na_pasta, nascendo,
                            recusar_diario_apagado, so_se_existe, sumiram)
from comum.falha import Falha, em_portugues
from comum.identidade import carimbo, ler_carimbo, recusar_outra_loja, recusar_outra_versao

PAGINA = 2048  # bytes; metade do padrão: cada COMMIT leva ao WAL as páginas que mudaram, inteiras
ESPERA = 10.0  # segundos que uma escrita espera por outro processo antes de desistir


class EmUso(Falha):
    """Outro programa tem aberto o banco que este queria só para si."""


class Banco(sqlite3.Connection):
    """Uma conexão que sabe quais eram os seus arquivos, e quantas vezes esperou pelo disco.

    caminho: o que foi pedido. forcada: se a última transação era forçada. forcadas: quantas
    gravações forçadas escreveram algo. pasta, arquivos: a dele, e os de arquivos_de(); num banco
    só na memória, nenhum.
    """

    caminho, forcada, forcadas, pasta, arquivos = ":memory:", None, 0, "", {}


@contextmanager
def transacao(banco: Banco, forcada: bool = True) -> Iterator[Banco]:
    """`with transacao(banco): ...`: tudo o que se escreve no bloco vale junto, ou nada vale.

    O BEGIN é IMMEDIATE: pega logo o direito de escrever, e duas cópias do mesmo programa se esperam
    (ESPERA segundos) em vez de descobrirem o conflito só no fim.
    forcada: se, ao voltar, o disco já tem o que se escreveu. Quem conta isso a alguém chama antes
    conferir_arquivos(). Levanta sqlite3.Error se o SQLite recusou alguma coisa.
    """
    if forcada != banco.forcada:
        banco.execute(f"PRAGMA synchronous={'FULL' if forcada else 'NORMAL'}")
        banco.forcada = forcada
    antes = banco.total_changes
    banco.execute("BEGIN IMMEDIATE")
    try:
        yield banco
        if banco.arquivos:
            conferir_indice(banco)
        banco.execute("COMMIT")
        banco.forcadas += forcada and banco.total_changes != antes
    finally:
        if banco.in_transaction:
            banco.execute("ROLLBACK")


def conferir_arquivos(*bancos) -> None:
    """Antes de contar a alguém o que se gravou: se está mesmo nos arquivos com aqueles nomes.

    bancos: os que gravaram. Lê a pasta uma vez, e não faz um stat por arquivo: depois que
    alguém pergunta pela hora de um arquivo, o Linux a anota com mais cuidado na gravação seguinte,
    e num -wal isso custa 30 µs em cada COMMIT (tests/desempenho).
    """
    agora = {pasta: na_pasta(pasta) for pasta in {banco.pasta for banco in bancos}}
    for banco in bancos:
        if sumidos := sumiram(banco, agora[banco.pasta]):
            acabar(banco, sumidos)


def abrir(caminho: Path, tabelas: str, loja: str | None = None, exclusivo: bool = False) -> Banco:
    """Abre o banco em `caminho`; se ele não existe, cria as tabelas e as linhas iniciais.

    caminho: o arquivo. tabelas: comandos SQL separados por `;`. loja: a identidade da pasta.
    exclusivo: nenhum outro processo o abre enquanto este viver (e neste, só o SQLite pode tocar no
    arquivo: um open() e close() dele soltaria a trava). Levanta EmUso se outro o tem, sem esperar:
    dois que começam juntos ficariam presos, cada um com meia trava. Levanta Falha
    (código 2) se o arquivo não é um banco, ou se é de outra versão ou de outra loja.
    """
    banco = None
    try:
        _criar_se_falta(Path(os.path.realpath(caminho)), tabelas, loja)
        if not os.access(caminho, os.W_OK):  # o SQLite o abriria assim mesmo, só para ler
            raise sqlite3.OperationalError("readonly")
        if not exclusivo:
            recusar_diario_apagado(caminho)
        banco = sqlite3.connect(so_se_existe(caminho), uri=True, isolation_level=None,
                                timeout=0 if exclusivo else ESPERA, check_same_thread=False,
                                factory=Banco)
        _preparar(banco, caminho, loja, exclusivo)
    except BaseException as erro:
        if isinstance(erro, (sqlite3.Error, OSError)):
            travado = exclusivo and "locked" in str(erro)
            erro = em_portugues(erro, str(caminho))  # antes de fechar: a causa ainda está à vista
            erro = EmUso(str(erro), 2) if travado else erro
        if banco:
            banco.close()
        raise erro
    return banco


def _criar_se_falta(arquivo: Path, tabelas: str, loja: str | None) -> None:
    """O banco aparece na pasta já inteiro: um processo morto no meio disto não deixa banco nenhum.

    As linhas iniciais nunca são escritas de novo sobre dados que já existem.
    """
    # Nesta ordem: um banco que outro programa cria agora existe antes do -wal dele.
    if os.path.exists(f"{arquivo}-wal") and not arquivo.exists():
        raise Falha(f"falta {arquivo}, e o -wal dele ficou: devolva o banco; ou, se não há como, "
                    "apague também o -wal, e ele recomeça das linhas iniciais", 2)
    if arquivo.exists():
        return
    with nascendo(arquivo) as novo, closing(sqlite3.connect(novo)) as um:
        um.executescript(f"PRAGMA page_size={PAGINA}; BEGIN; {tabelas}; {carimbo(loja)}; "
                         "COMMIT; PRAGMA journal_mode=WAL")


def _preparar(banco: Banco, caminho: Path, loja: str | None, exclusivo: bool) -> None:
    if exclusivo:  # antes da primeira leitura: assim o SQLite nem cria o -shm
        banco.execute("PRAGMA locking_mode=EXCLUSIVE")
    banco.execute("PRAGMA temp_store=MEMORY")
    versao, dele = ler_carimbo(banco)
    recusar_outra_versao(versao, caminho, loja)
    # De novo: uma cópia (VACUUM INTO, .backup) volta sem o WAL, e há discos que não o aceitam.
    if banco.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
        raise Falha(f"{caminho}: este disco não aceita o modo WAL do SQLite: "
                    "use --dados OUTRA_PASTA", 2)
    with transacao(banco):  # só assim o SQLite abre todos os arquivos, e pega a trava exclusiva
        banco.execute("SELECT count(*) FROM sqlite_master").fetchone()
    banco.arquivos = arquivos_de(os.path.realpath(caminho))
    banco.caminho, banco.pasta = str(caminho), os.path.dirname(os.path.realpath(caminho))
    recusar_outra_loja(caminho, dele, loja)


# --- só ler ---

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
        versao, loja = ler_carimbo(banco, f"{dono}_db")
    except sqlite3.Error as erro:
        raise em_portugues(erro, str(arquivo)) from erro
    recusar_outra_versao(versao, arquivo)
    return loja
