"""Um banco SQLite que sabe o que dele já está no disco.

Uma gravação forçada só volta quando o disco a tem: COMMIT, e um fsync do WAL. Uma não forçada
é só o COMMIT: resiste à morte do processo, mas uma queda de energia pode levá-la, até que
um fsync qualquer no mesmo arquivo a carregue junto, porque o WAL é gravado em ordem.

O SQLite faria o fsync sozinho com `synchronous=FULL`, em todo COMMIT; com NORMAL ele só
o faz ao passar o WAL para o arquivo principal, e quem escolhe os outros somos nós.
Ver o manual do SQLite, "PRAGMA synchronous" e "Write-Ahead Logging".
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from comum.banco import ESPERA, abrir, usar_wal
from comum.falha import Falha, em_portugues
from comum.identidade import identidade
from comum.tela import alertar
from palco import quedas

PACIENCIA = 5.0  # segundos de insistência com um arquivo que não aceita uma gravação necessária
# Só os dados, sem a hora da última gravação; onde não existe (macOS, Windows), tudo.
forcar_ao_disco = getattr(os, "fdatasync", os.fsync)


class Arquivo:
    """Um banco aberto, e a conta do que foi gravado nele por este processo.

    forcadas: quantas gravações esperaram pelo disco.
    gravadas: o número da última gravação, forçada ou não.
    no_disco: até que gravação o disco já tem com certeza.
    """

    def __init__(self, caminho: Path, tabelas: str):
        self.caminho = caminho
        self.forcadas = self.gravadas = self.no_disco = 0
        self._falha: Falha | None = None
        self._queixa: str | None = None
        self.banco = abrir(caminho, tabelas, identidade(caminho.parent))
        self.banco.forcar(False)
        self._wal = self._abrir_wal()

    def _abrir_wal(self) -> int:
        # O SQLite segue os links até o arquivo, e põe o WAL ao lado dele: só ele sabe onde é.
        try:
            return os.open(f"{os.path.realpath(self.caminho)}-wal", os.O_RDWR | getattr(os, "O_BINARY", 0))
        except OSError as erro:
            self.banco.close()
            raise em_portugues(erro) from erro

    def gravacao(self, forcada: bool) -> Gravacao:
        """Uma transação local, para usar com `with`: o bloco vale inteiro, ou não vale."""
        return Gravacao(self, forcada)

    def sincronizar(self) -> None:
        """Força ao disco tudo o que já foi gravado, também por processos que morreram.

        Levanta Falha se não deu, ou se o que foi forçado já não tem nome.
        """
        self.forcar()
        self.garantir()

    def forcar(self) -> None:
        """O fsync. Levanta Falha se não deu; e depois disso, sempre.

        De um fsync que falhou, os seguintes podem dizer que sim sem ter gravado nada (Rebello et
        al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
        """
        if self._falha:
            raise self._falha
        try:
            forcar_ao_disco(self._wal)
        except OSError as erro:
            raise self.duvidar(erro) from erro
        self.no_disco = self.gravadas
        quedas.passo()

    def duvidar(self, erro: Exception) -> Falha:
        """Ninguém sabe se uma gravação ficou: daqui em diante este arquivo não força mais nada."""
        self._falha = Falha(f"{em_portugues(erro, self.caminho.name)}; {SEM_SABER}")
        return self._falha

    def garantir(self) -> None:
        """Que o gravado está num arquivo que tem nome. Levanta Falha se não há como saber."""
        insistir(self.conferir, self, SEM_SABER)

    def queixar(self, erro: sqlite3.Error) -> None:
        """Diz por que este arquivo não aceita gravações, uma vez, e não a cada pedido recusado."""
        texto = str(em_portugues(erro, self.caminho.name))
        if self._queixa != texto:
            self._queixa = texto
            alertar(texto)

    def conferir(self) -> None:
        """Se os arquivos deste banco ainda são os da pasta; levanta ArquivoSumiu se não são."""
        self.banco.conferir_arquivos()

    def sozinho(self) -> bool:
        """Se nenhum outro processo tem este banco aberto agora."""
        self.banco.execute("PRAGMA busy_timeout=0")
        try:
            self.banco.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as erro:
            if "locked" in str(erro):
                return False
            raise
        finally:
            self.banco.execute(f"PRAGMA busy_timeout={int(ESPERA * 1000)}")
        usar_wal(self.banco)
        self.banco.execute("SELECT count(*) FROM sqlite_master").fetchone()
        self.banco.lembrar_arquivos(self.caminho, ("-wal", "-shm"))
        self._reabrir_wal()
        return True

    def _reabrir_wal(self) -> None:
        os.close(self._wal)
        self._wal = self._abrir_wal()

    def fechar(self) -> None:
        os.close(self._wal)
        self.banco.close()


SEM_SABER = ("não sei se a última gravação ficou, e não aviso ninguém: "
             "o que estava em andamento fica em dúvida até a próxima partida")


class Gravacao:
    """O `with` de Arquivo.gravacao. Um bloco que nada escreve não conta, nem espera pelo disco.

    Um sqlite3.Error quer dizer que nada ficou (numa forçada). Uma Falha, que ninguém sabe: o COMMIT
    ficou, e o disco não respondeu por ele; ou disse que não, com a gravação já escrita.
    """

    __slots__ = ("arquivo", "forcada", "antes")

    def __init__(self, arquivo: Arquivo, forcada: bool):
        self.arquivo, self.forcada = arquivo, forcada

    def __enter__(self):
        banco = self.arquivo.banco
        self.antes = banco.total_changes
        # IMMEDIATE: outro processo que grave no mesmo arquivo espera aqui, e não no COMMIT.
        banco.execute("BEGIN IMMEDIATE")
        return banco

    def __exit__(self, tipo, erro, pilha):
        arquivo = self.arquivo
        banco = arquivo.banco
        try:
            if tipo is None and banco.total_changes != self.antes:
                quedas.passo()
                banco.conferir_arquivos()
                self._confirmar(banco)
                arquivo.gravadas += 1
                arquivo._queixa = None
                quedas.passo()
                if self.forcada:
                    arquivo.forcar()
                    arquivo.forcadas += 1
        finally:
            if banco.in_transaction:
                banco.execute("ROLLBACK")

    def _confirmar(self, banco) -> None:
        try:
            banco.execute("COMMIT")
        except sqlite3.Error as erro:
            # Quem repete uma gravação não forçada escreve por cima do que tenha ficado.
            if self.forcada and not nada_ficou(erro):
                raise self.arquivo.duvidar(erro) from erro
            raise


ERRO_AO_ESCREVER = 778  # SQLITE_IOERR_WRITE (o Python só lhe dá nome desde o 3.11)


def nada_ficou(erro: sqlite3.Error) -> bool:
    """Se é certo que o COMMIT que deu este erro não vale, nem para quem abrir o banco depois.

    O SQLite escreve as páginas no WAL, e a última é a que confirma; só então atualiza o índice
    (-shm). Se a escrita falhou, a última não está lá. Mas se foi o índice que não pôde crescer,
    está: esta conexão não a vê, e a próxima a reabrir tudo, que o refaz a partir do WAL, verá.
    (Manual do SQLite, "WAL-mode File Format".)
    """
    return "is full" in str(erro) or getattr(erro, "sqlite_errorcode", None) == ERRO_AO_ESCREVER


def insistir(tentar, arquivo: Arquivo, senao: str) -> None:
    """Repete `tentar()` enquanto o SQLite o recusar, com pausas que crescem.

    Depois de PACIENCIA segundos levanta Falha: o que há com o arquivo, e `senao`.
    """
    prazo, pausa = time.monotonic() + PACIENCIA, 0.05
    while True:
        try:
            return tentar()
        except sqlite3.Error as erro:
            falha = em_portugues(erro, arquivo.caminho.name)
            if time.monotonic() > prazo:
                raise Falha(f"{falha}; {senao}") from erro
            if pausa == 0.05:
                alertar(f"{falha}; insisto por {PACIENCIA:.0f} s")
        time.sleep(pausa)
        pausa = min(2 * pausa, 1)
