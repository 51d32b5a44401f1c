"""Um arquivo de um banco é apagado ou trocado com o programa no ar: dito, e nada se perde calado.

O programa para (SIGSTOP), alguém mexe, às vezes grava com o sqlite3, e o programa continua. Ele
acaba numa linha e num status 2, sem fechar o banco; o próximo início é a recuperação. O mesmo sob a
2PC está em tests/monolito/test_monolito_um_por_vez.py.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from contextlib import closing

import pytest

from verbos import M, Programa, loja, loja_aberta, loja_do_arquivo, mistura, rodar  # noqa: F401


def apagar(*fins):
    def mexer(pasta, banco):
        for fim in fins:
            (pasta / f"{banco}.db{fim}").unlink(missing_ok=True)
    return mexer


def trocar(fim):
    """O mesmo conteúdo, noutro arquivo: o que faz quem restaura uma cópia de segurança."""
    def mexer(pasta, banco):
        arquivo = pasta / f"{banco}.db{fim}"
        shutil.copy(arquivo, pasta / "copia")
        os.replace(pasta / "copia", arquivo)
    return mexer


SALVO, NO_WAL, SUMIU = "já passei ao banco", "está no -wal", "estava no arquivo que sumiu"
CASOS = {
    "apaga -wal": (apagar("-wal"), SALVO), "troca -wal": (trocar("-wal"), SALVO),
    "apaga -shm": (apagar("-shm"), NO_WAL), "troca -shm": (trocar("-shm"), NO_WAL),
    "apaga -wal e -shm": (apagar("-wal", "-shm"), SALVO),
    "apaga o banco": (apagar(""), SUMIU), "troca o banco": (trocar(""), SUMIU),
    "apaga tudo": (apagar("", "-wal", "-shm"), SUMIU),
}


@pytest.mark.parametrize("caso", CASOS)
def test_sob_um_servico(caso, loja_aberta):
    (mexer, dito), loja, nome = CASOS[caso], loja_aberta, caso.replace(" ", "_")
    loja.enviar(*mistura(60, f"{nome}-a"))
    loja.conferir_repouso()
    loja.enviar(*mistura(200, f"{nome}-b"))
    loja.esperar_um_pouco(40)
    [estoque] = loja.programas["estoque"]
    loja.suspender("estoque")
    mexer(loja.pasta, "estoque")
    loja.continuar("estoque")
    estoque.esperar_dizer("foi trocado ou apagado com o programa no ar: encerro")
    assert estoque.fim() == 2 and dito in estoque.texto, estoque.texto
    loja.matar("estoque")
    if dito != SUMIU:  # do banco, só o que se disse que estava no outro se perde
        assert loja.consultar("estoque", "PRAGMA integrity_check") == [("ok",)]
        loja.iniciar("estoque")
        loja.conferir_repouso()


@pytest.mark.parametrize("fins, ficou", [(("-shm",), True), (("-wal", "-shm"), False)], ids=str)
def test_o_que_outro_programa_gravou_enquanto_isso(fins, ficou, loja_aberta):
    """Só sem o -shm, o sqlite3 grava no -wal de verdade, e fica; sem os dois, num outro, e é dito onde."""
    loja = loja_aberta
    loja.enviar(*mistura(60, f"antes-{ficou}"))
    loja.conferir_repouso()
    [estoque] = loja.programas["estoque"]
    loja.suspender("estoque")
    apagar(*fins)(loja.pasta, "estoque")
    loja.escrever("estoque", "UPDATE produtos SET inicial = inicial + 7, quantidade = quantidade + 7 WHERE produto = 'livro'")
    loja.continuar("estoque")
    assert estoque.fim() == 2, estoque.texto
    guardados = [*loja.pasta.glob("estoque.db-wal.*")]
    assert [str(um) in estoque.texto for um in guardados] == [True] * (not ficou), estoque.texto
    loja.matar("estoque")
    loja.inicial["produtos"]["livro"] += 7 * ficou
    loja.iniciar("estoque")
    loja.enviar(*mistura(20, f"depois-{ficou}"))
    loja.conferir_repouso()


def test_copia_que_chega_com_o_diario_apagado_nao_abre_outro(loja):
    """A segunda não veria o que só a primeira vê, e uma apagaria o que a outra gravou."""
    loja.iniciar("estoque")
    loja.suspender("estoque")  # não pode notar, nem se salvar
    apagar("-wal", "-shm")(loja.pasta, "estoque")
    segunda = rodar("microsservicos/servico_estoque.py", "--dados", loja.dados, url=loja.url)
    assert segunda.fim() == 2 and "apagado com outro programa no ar" in segunda.texto
    assert not (loja.pasta / "estoque.db-wal").exists()
    loja.continuar("estoque")
    assert loja.programas["estoque"][0].fim() == 2
    loja.matar("estoque")
    loja.iniciar()
    loja.enviar(*mistura(5))
    loja.conferir_repouso()


# --- o que uma gravação forçada promete ---

def test_forcada_e_full_e_a_conta_e_so_das_que_escreveram(tmp_path):
    with closing(M.banco.abrir(tmp_path / "um.db", "CREATE TABLE a (x INTEGER NOT NULL) STRICT")) as banco:
        modos = []
        for forcada, escreve in ((True, True), (True, False), (False, True), (True, True)):
            with M.banco.transacao(banco, forcada):
                modos.append(banco.execute("PRAGMA synchronous").fetchone()[0])
                banco.executemany("INSERT INTO a VALUES (?)", [(1,)] * escreve)
        assert modos == [2, 2, 1, 2] and banco.forcadas == 2
        with pytest.raises(sqlite3.IntegrityError), M.banco.transacao(banco):
            banco.execute("INSERT INTO a VALUES (2)")
            banco.execute("INSERT INTO a VALUES ('10.000,00')")
        assert banco.execute("SELECT sum(x), count(*) FROM a").fetchone() == (3, 3) and not banco.in_transaction


def test_so_quem_tem_o_banco_exclusivo_o_abre(tmp_path):
    """E nem ler o cabeçalho dele no mesmo processo solta a trava."""
    with closing(M.banco.abrir(tmp_path / "log.db", "CREATE TABLE a (x)", exclusivo=True)):
        assert not (tmp_path / "log.db-shm").exists()
        M.identidade.carimbo_do_arquivo(tmp_path / "log.db")
        ler = "import sqlite3; sqlite3.connect(%r, timeout=0).execute('SELECT * FROM a')" % str(tmp_path / "log.db")
        programa = Programa("-c", ler, url="")
        assert programa.fim() == 1 and "database is locked" in programa.texto
        with pytest.raises(M.banco.EmUso):
            M.banco.abrir(tmp_path / "log.db", "CREATE TABLE a (x)", exclusivo=True)
    M.banco.abrir(tmp_path / "log.db", "", exclusivo=True).close()


def test_quem_o_cria_depois_de_outro_fica_com_o_do_outro(tmp_path):
    armado = [True]

    def gancho(evento, argumentos):
        if evento == "os.link" and str(tmp_path) in str(argumentos) and armado:
            armado.clear()
            M.banco.abrir(tmp_path / "um.db", "CREATE TABLE a (x); INSERT INTO a VALUES ('do outro')").close()
    sys.addaudithook(gancho)
    with closing(M.banco.abrir(tmp_path / "um.db", "CREATE TABLE a (x); INSERT INTO a VALUES ('meu')")) as banco:
        assert banco.execute("SELECT * FROM a").fetchall() == [("do outro",)]
    assert [arquivo.name for arquivo in tmp_path.iterdir()] == ["um.db"]
