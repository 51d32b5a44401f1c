"""Um arquivo SQLite por dono: abrir, criar uma vez só, gravar numa transação.

Todo banco usa WAL: quem lê não espera quem escreve. Uma gravação forçada (`synchronous=FULL`) só
volta quando o disco a tem, com um fsync; uma não forçada (NORMAL) resiste à morte do processo, mas
uma queda de energia pode levá-la, até que uma forçada, no mesmo arquivo, a carregue junto: o WAL é
gravado em ordem. (Manual do SQLite, "Write-Ahead Logging" e "PRAGMA synchronous".)
"""

import os
import sqlite3
import time
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Iterator

from comum import carimbo
from comum.arquivos import Arquivos
from comum.falha import Falha, em_portugues

PAGINA = 2048  # bytes; metade do padrão: cada COMMIT leva ao WAL as páginas que mudaram, inteiras
ESPERA = 10.0  # segundos que uma escrita espera por outro processo antes de desistir
PRAZO = 1.0  # segundos para um programa que se inicia ao mesmo tempo criar o seu WAL


class EmUso(Falha):
    """Outro programa tem aberto o banco que este queria só para si."""


class Banco(sqlite3.Connection):
    """Uma conexão que sabe quais eram os seus arquivos, e quantas vezes esperou pelo disco.

    caminho: o que foi pedido. forcada: se a última transação era forçada. forcadas: quantas
    gravações forçadas escreveram algo. arquivos: ver comum/arquivos.py.
    """

    caminho, forcada, forcadas, arquivos = ":memory:", None, 0, None

    def __enter__(self):
        """O início de uma transacao()."""
        self._antes = self.total_changes
        self.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(self, tipo, erro, pilha) -> None:
        try:
            if tipo is None:
                if self.arquivos:
                    self.arquivos.conferir_indice()
                self.execute("COMMIT")
                self.forcadas += self.forcada and self.total_changes != self._antes
        finally:
            if self.in_transaction:
                self.execute("ROLLBACK")


def transacao(banco: Banco, forcada: bool = True) -> Banco:
    """`with transacao(banco): ...`: tudo o que se escreve no bloco vale junto, ou nada vale.

    O BEGIN (Banco.__enter__) é IMMEDIATE: pega logo o direito de escrever, e duas cópias do mesmo
    programa se esperam (ESPERA segundos) em vez de descobrirem o conflito só no fim.
    forcada: se, ao voltar, o disco já tem o que se escreveu. Quem conta isso a alguém chama antes
    conferir_arquivos(). Levanta sqlite3.Error se o SQLite recusou alguma coisa.
    """
    if forcada != banco.forcada:
        banco.execute(f"PRAGMA synchronous={'FULL' if forcada else 'NORMAL'}")
        banco.forcada = forcada
    return banco


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
            _recusar_diario_apagado(caminho)
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
        um.executescript(f"PRAGMA page_size={PAGINA}; BEGIN; {tabelas}; {carimbo.escrever(loja)}; "
                         "COMMIT; PRAGMA journal_mode=WAL")


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


def _preparar(banco: Banco, caminho: Path, loja: str | None, exclusivo: bool) -> None:
    if exclusivo:  # antes da primeira leitura: assim o SQLite nem cria o -shm
        banco.execute("PRAGMA locking_mode=EXCLUSIVE")
    banco.execute("PRAGMA temp_store=MEMORY")
    versao, dele = carimbo.ler(banco)
    carimbo.recusar_outra_versao(versao, caminho, loja)
    # De novo: uma cópia (VACUUM INTO, .backup) volta sem o WAL, e há discos que não o aceitam.
    if banco.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
        raise Falha(f"{caminho}: este disco não aceita o modo WAL do SQLite: "
                    "use --dados OUTRA_PASTA", 2)
    with transacao(banco):  # só assim o SQLite abre todos os arquivos, e pega a trava exclusiva
        banco.execute("SELECT count(*) FROM sqlite_master").fetchone()
    banco.caminho, banco.arquivos = str(caminho), Arquivos(banco, os.path.realpath(caminho))
    carimbo.recusar_outra_loja(caminho, dele, loja)


def _recusar_diario_apagado(caminho: Path) -> None:
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


def so_se_existe(caminho: Path) -> str:
    """O nome com que o SQLite abre um banco sem criar nada: um --limpar pode tê-lo apagado."""
    return f"{caminho.resolve().as_uri()}?mode=rw"


def em_uso(caminho: Path) -> bool:
    """Se algum processo tem este banco aberto, em WAL, ou o está lendo, fora dele.

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
