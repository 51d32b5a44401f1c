"""O capítulo um roda, e resiste: as duas versões mínimas, mortas em cada linha que executam.

A morte é uma exceção numa linha qualquer (sys.settrace): o que o processo lembrava se perde, e
outro continua com os mesmos arquivos. Sem uma das guardas, alguma dessas mortes desmente as contas.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from itertools import count

import pytest

from conftest import RAIZ
from test_monolito_quedas import rapida  # noqa: F401

AULA = RAIZ / "tests" / "aula"
# Quem morre; e quem vem depois dele, até a recuperação.
ROTEIROS = {"saga_minima": ((), [()]),
            "2pc_minima": (("p-1", "ana", ""), [("p-2", "ana", "não recupera"),
                                                ("p-3", "ana", "não recupera"),
                                                ("p-4", "bruno", "")])}
ACK = '        fila.execute("DELETE FROM fila WHERE rowid = ?", chegou[:1])\n'
SAI = '        banco.execute("DELETE FROM caixa_saida WHERE rowid = ?", (linha,))\n'
TRANSACAO = 'with banco:\n        banco.execute("BEGIN IMMEDIATE")\n        '
# (a versão, o que está escrito, o que se põe no lugar)
SEM_GUARDA = {
    "sem a caixa de entrada": ("saga_minima", ".rowcount == 0:", ".rowcount < 0:"),
    "ack antes da transação": (
        "saga_minima", "        tratar(nome", ACK + "        tratar(nome"),
    "efeito e caixas em transações separadas": (
        "saga_minima", TRANSACAO + "if banco", "if True:\n        if banco"),
    "o evento sai da caixa antes de ir à fila": (
        "saga_minima", '        fila.execute("INSERT', f'{SAI}        fila.execute("INSERT'),
    "sem a compensação": ("saga_minima", "livros + 1", "livros + 0"),
    "a decisão não vai ao log": ("2pc_minima", 'INSERT INTO decisoes VALUES (?)', 'SELECT ?'),
    "a recuperação presume sempre o aborto": ("2pc_minima", "achado is not None", "False"),
    "sem a trava": (
        "2pc_minima", "SELECT 1 FROM preparadas WHERE trava = ?", "SELECT 1 WHERE ? IS NULL"),
    "o aviso em duas gravações": (
        "2pc_minima", TRANSACAO + "for", "if True:\n        for"),
    "o voto sem gravar": ("2pc_minima", "INSERT INTO preparadas VALUES (:pedido, :cliente, :trava)",
                          "SELECT :pedido, :cliente, :trava"),
}


class Morte(BaseException):
    """O processo acaba aqui."""


def trabalhar(codigo: dict, argumentos: tuple, morrer_na: int = 0) -> int | None:
    """Roda a versão mínima: devolve o status, ou None se morreu na linha de número `morrer_na`."""
    linhas = count(1)

    def contar(quadro, acontece, _):
        if quadro.f_globals is not codigo:
            return None
        if acontece == "line" and next(linhas) == morrer_na:
            raise Morte
        return contar
    sys.settrace(contar if morrer_na else None)
    try:
        return codigo["trabalhar"](*argumentos)
    except Morte:
        return None
    finally:
        sys.settrace(None)
        for banco in codigo["abertos"]:
            banco.close()  # o que o morto não tinha gravado se desfaz, como o sistema faria
        codigo["abertos"].clear()


def varrer(nome: str, texto: str, pasta) -> int:
    """Morre em cada linha, e deixa os outros continuarem; devolve quantas mortes houve."""
    codigo = {"__name__": nome, "abertos": []}
    exec(compile(texto, nome, "exec"), codigo)
    abrir = codigo["abrir"]
    codigo["abrir"] = lambda *que: codigo["abertos"].append(banco := abrir(*que)) or banco
    primeiro, depois = ROTEIROS[nome]
    for mortes in count(1):
        shutil.rmtree(pasta, ignore_errors=True)
        pasta.mkdir()
        acabou = trabalhar(codigo, (pasta, *primeiro), mortes) is not None
        status = [trabalhar(codigo, (pasta, *outro)) for outro in depois]
        assert status[-1] == 0, f"morto na linha {mortes}"
        if acabou:
            return mortes - 1


@pytest.mark.parametrize("nome", ROTEIROS)
def test_morta_em_cada_linha_a_versao_minima_fecha_as_contas(nome, rapida):  # noqa: F811
    assert varrer(nome, (AULA / f"{nome}.py").read_text(encoding="utf-8"), rapida / "m") > 90


@pytest.mark.parametrize("defeito", SEM_GUARDA)
def test_sem_uma_guarda_a_versao_minima_e_desmentida(defeito, rapida):  # noqa: F811
    nome, certo, errado = SEM_GUARDA[defeito]
    texto = (AULA / f"{nome}.py").read_text(encoding="utf-8")
    assert texto.count(certo) == 1, certo
    with pytest.raises((AssertionError, sqlite3.IntegrityError)):
        varrer(nome, texto.replace(certo, errado), rapida / "m")


@pytest.mark.parametrize("nome", ROTEIROS)
def test_a_versao_minima_e_curta_e_so_precisa_do_python(nome, tmp_path):
    """Numa pasta vazia, com o Python isolado (-I): nada do projeto está ao alcance."""
    texto = (AULA / f"{nome}.py").read_text(encoding="utf-8")
    sozinha = tmp_path / f"{nome}.py"
    sozinha.write_text(texto, encoding="utf-8")
    fim = subprocess.run([sys.executable, "-I", sozinha], cwd=tmp_path, capture_output=True,
                         encoding="utf-8")
    assert fim.returncode == 0 and not fim.stderr and "MORRE" in fim.stdout, fim.stdout + fim.stderr
    falta = re.findall(r"^# - .+?  +(\S+)$", texto, flags=re.M)
    assert len(falta) > 6 and all((RAIZ / arquivo).is_file() for arquivo in falta), falta
    assert len(texto.splitlines()) < 160
