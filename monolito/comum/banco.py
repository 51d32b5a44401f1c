"""Um arquivo SQLite por dono: abrir, criar uma vez só, gravar numa transação.

Todo banco usa WAL: quem lê não espera quem escreve. Uma gravação forçada (`synchronous=FULL`) só
volta quando o disco a tem, com um fsync; uma não forçada (NORMAL) resiste à morte do processo, mas
uma queda de energia pode levá-la, até que uma forçada, no mesmo arquivo, a carregue junto: o WAL é
gravado em ordem. (Manual do SQLite, "Write-Ahead Logging" e "PRAGMA synchronous".)
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from comum.falha import Falha, em_portugues

VERSAO = 3
PAGINA = 2048  # bytes; metade do padrão: cada COMMIT leva ao WAL as páginas que mudaram, inteiras
ESPERA = 10.0  # segundos que uma escrita espera por outro processo antes de desistir
PRAZO = 1.0  # segundos para um programa que se inicia ao mesmo tempo criar o seu WAL
MEMORIA = Path(":memory:")  # um banco que não tem arquivo nenhum
LOJA = ".loja"  # o arquivo com a identidade da pasta (comum/identidade.py)


class ArquivoSumiu(Falha):
    """Um dos arquivos do banco foi trocado ou apagado: só resta encerrar o programa (código 2)."""


class EmUso(Falha):
    """Outro programa tem só para si o banco que este queria só para si."""


class Banco(sqlite3.Connection):
    """Uma conexão que sabe quais eram os seus arquivos, e quantas vezes esperou pelo disco.

    Se alguém troca ou apaga um deles, o SQLite continua a gravar no antigo, que já não tem nome,
    sem se queixar; no próximo início, nada daquilo estaria lá. Enquanto esta conexão está aberta
    o SQLite não apaga nenhum: quem os apaga é sempre alguém de fora.

    caminho: o que foi pedido. forcadas: quantas gravações forçadas escreveram algo.
    """

    caminho = ":memory:"
    forcadas = 0
    _arquivos: dict[str, tuple] = {}
    _forca = True

    def lembrar_arquivos(self, caminho: Path, fins: tuple[str, ...]) -> None:
        """fins: os arquivos que o SQLite mantém ao lado do banco, onde ele está de verdade."""
        if caminho == MEMORIA:
            return
        self.caminho, real = str(caminho), os.path.realpath(caminho)
        nomes = (self.caminho, *(f"{real}{fim}" for fim in fins))
        self._arquivos = {nome: _qual(nome) for nome in nomes}

    def conferir_arquivos(self) -> None:
        """Antes de cada COMMIT, e depois dele, antes de contar a alguém; levanta ArquivoSumiu.

        Se só o -shm sumiu, encerra o processo aqui mesmo: tudo está no -wal, e até fechar o banco
        escreveria por cima do que outro programa tenha gravado nele desde então.
        """
        for nome, era in self._arquivos.items():
            if _qual(nome) != era:
                self._parar(nome)

    def _parar(self, nome: str) -> None:
        sumiu = f"{nome} foi trocado ou apagado com o programa no ar"
        if nome.endswith("-shm"):
            with suppress(OSError, ValueError):  # haja ou não a quem dizer
                print(f"{sumiu}: encerro agora, sem tocar em mais nada; o que foi gravado está no "
                      "-wal, e o próximo início o lê", file=sys.stderr, flush=True)
            os._exit(2)
        if nome.endswith("-wal"):
            if self.in_transaction:
                self.execute("ROLLBACK")
            with suppress(sqlite3.Error):
                if not self.execute("PRAGMA wal_checkpoint(FULL)").fetchone()[0]:
                    raise ArquivoSumiu(f"{sumiu}: passei ao banco o que só este programa ainda via, "
                                       "e encerro", 2)
            sumiu += ", e o que ele tinha não pôde ser passado ao banco"
        raise ArquivoSumiu(f"{sumiu}: encerro; o que foi gravado antes está no arquivo que estava "
                           "ali", 2)

    def forcar(self, forcada: bool) -> None:
        """Se as próximas transações esperam pelo disco; só fora de uma transação."""
        if forcada != self._forca:
            self.execute(f"PRAGMA synchronous={'FULL' if forcada else 'NORMAL'}")
            self._forca = forcada


def _qual(caminho: str | Path) -> tuple | None:
    try:
        arquivo = os.stat(caminho)
    except OSError:  # apagado, ou a pasta já não deixa ver
        return None
    return arquivo.st_dev, arquivo.st_ino


@contextmanager
def transacao(banco: Banco, forcada: bool = True):
    """Tudo o que se escreve dentro do bloco vale junto, ou nada vale.

    IMMEDIATE pega o direito de escrever logo no início: duas cópias do mesmo programa se esperam
    (ESPERA segundos) em vez de descobrirem o conflito só no fim.
    forcada: se, ao voltar, o disco já tem o que se escreveu.
    Levanta ArquivoSumiu se não há certeza de que a transação ficou num arquivo que tem nome, e
    sqlite3.Error se o SQLite recusou alguma coisa.
    """
    banco.forcar(forcada)
    antes = banco.total_changes
    banco.execute("BEGIN IMMEDIATE")
    try:
        yield banco
        banco.conferir_arquivos()
        banco.execute("COMMIT")
    except BaseException:
        if banco.in_transaction:
            banco.execute("ROLLBACK")
        raise
    banco.forcadas += forcada and banco.total_changes != antes
    # Apagado entre a conferência e o COMMIT: ninguém fica sabendo que deu certo.
    banco.conferir_arquivos()


def abrir(caminho: Path, tabelas: str, loja: str | None = None, exclusivo: bool = False) -> Banco:
    """Abre o banco em `caminho`; se ele não existe, cria as tabelas e as linhas iniciais.

    A criação inteira é uma transação: um processo morto no meio dela deixa um arquivo vazio, que a
    próxima abertura completa. As linhas iniciais nunca são escritas de novo sobre dados que já
    existem.

    caminho: o arquivo. tabelas: comandos SQL separados por `;`. loja: a identidade da pasta.
    exclusivo: nenhum outro processo o abre enquanto este viver (e neste, só o SQLite pode tocar no
    arquivo: um open() e close() dele soltaria a trava). Levanta EmUso se outro o tem, sem esperar:
    dois que começam juntos não largariam a metade da trava que cada um pegou. Levanta Falha
    (código 2) se o arquivo não é um banco, ou se é de outra versão ou de outra loja.
    """
    banco = None
    try:
        # Pedidos de clientes: só para o dono.
        caminho.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not exclusivo:
            _recusar_diario_apagado(caminho)
        era = _qual(caminho)
        banco = sqlite3.connect(caminho, timeout=0 if exclusivo else ESPERA,
                                isolation_level=None, check_same_thread=False, factory=Banco)
        _preparar(banco, caminho, tabelas, loja, exclusivo)
        if era not in (None, _qual(caminho)):
            raise ArquivoSumiu(f"{caminho} foi trocado enquanto era aberto: rode de novo", 2)
        _recusar_outra_loja(banco, caminho, loja)
    except BaseException as erro:
        if isinstance(erro, (sqlite3.Error, OSError)):
            travado = exclusivo and "locked" in str(erro)
            erro = em_portugues(erro, str(caminho))  # antes de fechar: a causa ainda está à vista
            erro = EmUso(str(erro), 2) if travado else erro
        if banco:
            banco.close()
        raise erro
    return banco


def _preparar(banco: Banco, caminho: Path, tabelas: str, loja: str | None,
              exclusivo: bool) -> None:
    if exclusivo:  # antes da primeira leitura: assim o SQLite nem cria o -shm
        banco.execute("PRAGMA locking_mode=EXCLUSIVE")
    banco.execute("PRAGMA temp_store=MEMORY")
    versao = banco.execute("PRAGMA user_version").fetchone()[0]
    recusar_outra_versao(versao, caminho)
    if versao == 0:
        _recusar_alheio(banco, caminho, tabelas, loja)
        banco.execute(f"PRAGMA page_size={PAGINA}")
        # Fora do WAL: o carimbo fica no arquivo principal, à vista de quem não abre mais nada.
        _criar(banco, tabelas, caminho, loja)
    # Também num banco que já existe: uma cópia (VACUUM INTO, .backup) volta sem o WAL.
    if usar_wal(banco, 0 if exclusivo else ESPERA) not in ("wal", "memory"):
        raise Falha(f"{caminho}: este disco não aceita o modo WAL do SQLite: "
                    "use --dados OUTRA_PASTA", 2)
    banco.execute("PRAGMA synchronous=FULL")
    with transacao(banco):  # só assim o SQLite abre todos os arquivos, e pega a trava exclusiva
        banco.execute("SELECT count(*) FROM sqlite_master").fetchone()
    banco.lembrar_arquivos(caminho, ("-wal",) if exclusivo else ("-wal", "-shm"))


def recusar_outra_versao(versao: int, caminho: Path) -> None:
    """Falha (código 2) se o banco é de outra versão do projeto (0: ainda não foi criado)."""
    if versao not in (0, VERSAO):
        raise Falha(f"{caminho} é da versão {versao} do projeto, e este programa é da versão "
                    f"{VERSAO}: use o programa daquela versão, ou recomece com --limpar", 2)


def _recusar_alheio(banco: sqlite3.Connection, caminho: Path, tabelas: str,
                    loja: str | None) -> None:
    """Antes de trocar o diário, que já seria mexer no arquivo de outro programa."""
    # Uma consulta só: entre duas, outro processo desta loja poderia criar as tabelas.
    ha = {nome for nome, in banco.execute(
        "SELECT name FROM sqlite_master, pragma_user_version WHERE user_version = 0")}
    if not ha:
        return
    with closing(sqlite3.connect(":memory:")) as modelo:
        modelo.executescript(tabelas)
        nossas = {nome for nome, in modelo.execute("SELECT name FROM sqlite_master")}
    if not nossas <= ha:
        raise Falha(f"{caminho} é um banco SQLite de outro programa: use --dados OUTRA_PASTA", 2)
    raise Falha(f"{caminho} foi refeito de um .dump, que não traz a versão nem a loja; se é desta "
                f"pasta, diga-o com  sqlite3 {caminho} 'PRAGMA user_version={VERSAO}; "
                f"PRAGMA application_id={int(loja or '0', 16)}'", 2)


def _recusar_outra_loja(banco: Banco, caminho: Path, loja: str | None) -> None:
    """O carimbo do banco, e o .loja lido outra vez, agora que um --limpar já nos vê.

    Quem limpa muda o .loja e só depois procura quem usa os bancos: ou ele nos acha, ou nós
    achamos aqui a identidade nova.
    """
    carimbo = f"{banco.execute('PRAGMA application_id').fetchone()[0]:08x}"
    if loja and carimbo != loja:
        raise outra_loja(caminho, carimbo, loja)
    with suppress(FileNotFoundError):
        if loja and (agora := caminho.with_name(LOJA).read_text().strip()) != loja:
            raise outra_loja(caminho, loja, agora)


def outra_loja(caminho: Path, dele: str, da_pasta: str) -> Falha:
    return Falha(f"{caminho} é da loja {dele}, e a pasta dele é da {da_pasta}: se um --limpar foi "
                 "interrompido, rode-o de novo; se não, ponha cada banco na pasta da sua loja", 2)


def usar_wal(banco: sqlite3.Connection, espera: float = ESPERA) -> str:
    """Põe o banco em WAL; devolve o modo em que ele ficou (num disco que não o aceita, outro).

    espera: segundos que se insiste, se outro processo o está abrindo.
    """
    prazo = time.monotonic() + espera
    while True:
        try:
            return banco.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as erro:
            # Trocar o diário não espera pelo timeout: dois processos que criam o
            # mesmo banco ao mesmo tempo se esbarram aqui.
            if "locked" not in str(erro) or time.monotonic() > prazo:
                raise
            time.sleep(0.01)


def _criar(banco: Banco, tabelas: str, caminho: Path, loja: str | None) -> None:
    with transacao(banco):
        if banco.execute("PRAGMA user_version").fetchone()[0]:
            return  # outro processo criou enquanto esperávamos a vez
        _recusar_alheio(banco, caminho, tabelas, loja)
        for comando in tabelas.split(";"):
            if comando.strip():
                banco.execute(comando)
        banco.execute(f"PRAGMA application_id={int(loja or '0', 16)}")
        banco.execute(f"PRAGMA user_version={VERSAO}")


def _recusar_diario_apagado(caminho: Path) -> None:
    """Recusa o banco cujo WAL, ou o índice dele (-shm), foi apagado debaixo de um programa no ar.

    Este processo criaria outros, sem ver o que está nos que já não têm nome, e cada um apagaria
    o que o outro gravou. Levanta Falha (código 2).
    """
    real = os.path.realpath(caminho)
    prazo = time.monotonic() + PRAZO
    with suppress(sqlite3.DatabaseError):  # o que houver com o arquivo, quem o abrir o dirá
        while os.path.exists(real) and not _inteiro(real) and em_uso(real):
            if time.monotonic() > prazo:
                raise Falha(f"{caminho}: o -wal ou o -shm foi apagado com outro programa no ar: "
                            "encerre-o (Ctrl-C), que ele ainda salva o que gravou, e repita", 2)
            time.sleep(0.01)


def _inteiro(real: str) -> bool:
    return os.path.exists(f"{real}-wal") and os.path.exists(f"{real}-shm")


def em_uso(caminho: Path | str) -> bool:
    """Se algum processo tem este banco aberto, em WAL, ou o está lendo, fora dele.

    Em WAL, toda conexão segura uma trava compartilhada no arquivo principal até se fechar. Quem o
    pede só para si (`locking_mode=EXCLUSIVE`), antes da primeira leitura, descobre se há outra, e
    não cria WAL nenhum ao perguntar. (Manual do SQLite, "Write-Ahead Logging", seção "Use of WAL
    Without Shared-Memory".) Levanta sqlite3.DatabaseError se o arquivo não é um banco.
    """
    with closing(sqlite3.connect(os.path.realpath(caminho), timeout=0,
                                 isolation_level=None)) as banco:
        try:
            banco.execute("PRAGMA locking_mode=EXCLUSIVE")
            banco.execute("BEGIN EXCLUSIVE")  # fora do WAL, uma leitura não pediria a trava
            banco.execute("ROLLBACK")
            return False
        except sqlite3.OperationalError as erro:
            if "locked" not in str(erro):
                raise
            return True
