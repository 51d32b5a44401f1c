"""Um arquivo SQLite por dono: abrir, criar uma vez só, recusar o que é de outra versão.

Todo banco usa WAL com `synchronous=FULL`: uma transação confirmada já está no
disco (um fsync cada) e quem lê não espera quem escreve. Ver os manuais do SQLite,
"Write-Ahead Logging" e "PRAGMA synchronous".
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager
from pathlib import Path

from comum.falha import Falha, em_portugues
from comum.vizinhos import conferir_diario

VERSAO = 2
PAGINA = 2048  # bytes; metade do padrão: cada COMMIT leva ao WAL as páginas que mudaram, inteiras
# Segundos: o passo das datas dos arquivos, com folga. Um disco que só guarda segundos inteiros (o
# FAT, de dois em dois) se reconhece por elas.
TIQUE, TIQUE_GROSSO = 0.05, 2.5
ESPERA = 10.0  # segundos que uma escrita espera por outro processo antes de desistir


class ArquivoSumiu(sqlite3.OperationalError):
    """Um dos arquivos do banco foi trocado ou apagado com o programa no ar."""

    def __init__(self, arquivo: str):
        super().__init__("the database file was moved")
        self.arquivo = arquivo


class Banco(sqlite3.Connection):
    """Uma conexão que sabe quais eram os seus arquivos: o banco, o -wal e o -shm.

    Se alguém troca ou apaga um deles, o SQLite continua a gravar no antigo, que já não tem nome,
    sem se queixar; na partida seguinte, nada daquilo estaria lá. Enquanto esta conexão está
    aberta o SQLite não apaga nenhum dos três: quem os apaga é sempre alguém de fora.
    """

    caminho = real = ":memory:"  # como foi pedido; e onde o SQLite o abriu, sem atalhos (links)
    _conjunto: dict[str, tuple | None] = {}
    _pasta = _vista = None  # a que guarda os três; e como ela estava na última conferência inteira
    _quieta = None  # o mesmo, se já não era de agora

    def lembrar_arquivos(self, caminho: Path | None = None) -> None:
        """caminho: o que foi pedido; pode ser um link, e o WAL fica ao lado do que ele aponta."""
        self.caminho = str(caminho or self.caminho)
        # Só com uma leitura o SQLite abre os três.
        self.execute("SELECT count(*) FROM sqlite_master").fetchone()
        self.real = self.execute("PRAGMA database_list").fetchone()[2]
        if self.real:
            nomes = (self.caminho, f"{self.real}-wal", f"{self.real}-shm")
            self._conjunto = {nome: _qual(nome) for nome in nomes}
            um_link = os.path.islink(self.caminho)  # então os três não estão na pasta dele
            self._pasta = None if um_link or os.name == "nt" else os.path.dirname(self.caminho)

    def conferir_arquivo(self) -> None:
        """Antes de cada COMMIT, e depois dele, antes de contar a alguém; levanta ArquivoSumiu.

        Criar, apagar ou trocar um nome muda as datas da pasta: se são as mesmas da última vez, uma
        pergunta ao sistema basta, e não três (são catorze conferências por pedido na 2PC).
        """
        pasta = self._pasta is not None and _retrato(self._pasta or ".")
        if pasta and pasta == self._quieta:
            return
        for nome, era in self._conjunto.items():
            if _qual(nome) != era:
                raise ArquivoSumiu(nome)
        # Só vale a data que já era esta há um tempo: outra mudança, no mesmo tique, não a mudaria.
        if pasta != self._vista:
            self._vista, self._desde, self._quieta = pasta, time.monotonic(), None
        elif pasta:
            tique = TIQUE if pasta[2] % 1_000_000_000 else TIQUE_GROSSO
            self._quieta = pasta if time.monotonic() - self._desde > tique else None

    def refazer_diario(self) -> None:
        """Se só o -wal ou o -shm sumiram, leva ao banco o que estava neles e os cria de novo.

        Quem só olha para os nomes não vê mais o que foi gravado neles; esta conexão ainda vê.
        Levanta ArquivoSumiu se não dá: o banco é outro, ou mais alguém o tem aberto.
        """
        try:
            self.conferir_arquivo()
        except ArquivoSumiu as sumiu:
            if sumiu.arquivo == self.caminho or not self.sozinho():
                raise

    def sozinho(self) -> bool:
        """Se ninguém mais tem este banco aberto agora, nem neste processo.

        Em WAL, toda conexão guarda uma trava compartilhada no arquivo principal até se fechar, e
        sair do WAL pede a exclusiva (manual do SQLite, "WAL-mode File Format", seção 2.3). A
        trava é do arquivo, e não de um nome: apagar outros arquivos não engana esta pergunta.
        """
        self.execute("PRAGMA busy_timeout=0")
        try:
            self.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as erro:
            if "locked" in str(erro):
                return False
            raise
        finally:
            self.execute(f"PRAGMA busy_timeout={int(ESPERA * 1000)}")
        usar_wal(self)
        self.lembrar_arquivos()
        return True


def _retrato(pasta: str) -> tuple | None:
    try:
        agora = os.stat(pasta)
    except OSError:
        return None
    # ctime também: a outra data, quem restaura uma cópia de segurança põe de volta (utime).
    return agora.st_dev, agora.st_ino, agora.st_mtime_ns, agora.st_ctime_ns


def _qual(caminho: str) -> tuple | None:
    try:
        arquivo = os.stat(caminho)
    except OSError:  # apagado, ou a pasta já não deixa ver
        return None
    return arquivo.st_dev, arquivo.st_ino


def abrir(caminho: Path, tabelas: str) -> Banco:
    """Abre o banco em `caminho`; se ele não existe, cria as tabelas e as linhas iniciais.

    A criação inteira é uma transação: um processo morto no meio dela deixa um
    arquivo vazio, que a próxima abertura completa. As linhas iniciais nunca são
    escritas de novo sobre dados que já existem.

    caminho: o arquivo. tabelas: comandos SQL separados por `;`.
    Levanta Falha (código 2) se o arquivo não é um banco ou é de outra versão.
    """
    banco = None
    try:
        conferir_diario(caminho)
        # Pedidos de clientes: só para o dono.
        caminho.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        banco = sqlite3.connect(caminho, timeout=ESPERA, isolation_level=None,
                                check_same_thread=False, factory=Banco)
        _preparar(banco, caminho, tabelas)
    except BaseException as erro:
        if isinstance(erro, (sqlite3.Error, OSError)):
            erro = em_portugues(erro, str(caminho))  # antes de fechar: a causa ainda está à vista
        if banco:
            banco.close()
        raise erro
    return banco


def _preparar(banco: Banco, caminho: Path, tabelas: str) -> None:
    versao = banco.execute("PRAGMA user_version").fetchone()[0]
    _recusar_outra_versao(versao, caminho)
    if versao == 0:
        _recusar_alheio(banco, caminho)
        banco.execute(f"PRAGMA page_size={PAGINA}")
    # Também num banco que já existe: uma cópia (VACUUM INTO, .backup) volta sem o WAL.
    if usar_wal(banco) not in ("wal", "memory"):
        raise Falha(f"{caminho}: este disco não aceita o modo WAL do SQLite: "
                    "use --dados OUTRA_PASTA", 2)
    banco.execute("PRAGMA synchronous=FULL")
    if versao == 0:
        _criar(banco, tabelas, caminho)
    banco.lembrar_arquivos(caminho)


def _recusar_outra_versao(versao: int, caminho: Path) -> None:
    if versao not in (0, VERSAO):
        raise Falha(f"{caminho} é da versão {versao} do projeto, e este programa é da versão "
                    f"{VERSAO}: use o programa daquela versão, ou recomece com --limpar", 2)


def _recusar_alheio(banco: sqlite3.Connection, caminho: Path) -> None:
    # Antes de trocar o diário, que já seria mexer no arquivo de outro programa. Uma consulta só:
    # entre duas, outro processo desta loja poderia criar as tabelas.
    consulta = "SELECT count(*) FROM sqlite_master, pragma_user_version WHERE user_version = 0"
    if banco.execute(consulta).fetchone()[0]:
        raise Falha(f"{caminho} é um banco SQLite de outro programa: use --dados OUTRA_PASTA", 2)


def usar_wal(banco: sqlite3.Connection) -> str:
    """Põe o banco em WAL; devolve o modo em que ele ficou (num disco que não o aceita, outro)."""
    prazo = time.monotonic() + ESPERA
    while True:
        try:
            return banco.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as erro:
            # Trocar o diário não espera pelo timeout: dois processos que criam o
            # mesmo banco ao mesmo tempo se esbarram aqui.
            if "locked" not in str(erro) or time.monotonic() > prazo:
                raise
            time.sleep(0.01)


def _criar(banco: Banco, tabelas: str, caminho: Path) -> None:
    with transacao(banco):
        if banco.execute("PRAGMA user_version").fetchone()[0]:
            return  # outro processo criou enquanto esperávamos a vez
        _recusar_alheio(banco, caminho)
        for comando in tabelas.split(";"):
            if comando.strip():
                banco.execute(comando)
        banco.execute(f"PRAGMA user_version={VERSAO}")


def criado(caminho: Path) -> bool:
    """Se o banco já existe, com as suas tabelas; não cria nada.

    Levanta Falha (código 2) se não dá para ler, ou se é de outra versão.
    """
    if not caminho.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{caminho.resolve().as_uri()}?mode=ro", uri=True)) as banco:
            versao = banco.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as erro:
        raise em_portugues(erro, str(caminho)) from erro
    _recusar_outra_versao(versao, caminho)
    return versao != 0


@contextmanager
def transacao(banco: Banco):
    """Tudo o que se escreve dentro do bloco vale junto, ou nada vale.

    IMMEDIATE pega o direito de escrever logo no início: duas cópias do mesmo
    programa se esperam em vez de descobrirem o conflito só no fim.
    Levanta ArquivoSumiu se não há certeza de que a transação ficou num arquivo que tem nome.
    """
    banco.execute("BEGIN IMMEDIATE")
    try:
        yield banco
        banco.conferir_arquivo()
        banco.execute("COMMIT")
    except BaseException:
        if banco.in_transaction:
            banco.execute("ROLLBACK")
        raise
    # Apagado entre a conferência e o COMMIT: ninguém fica sabendo que deu certo.
    banco.conferir_arquivo()
