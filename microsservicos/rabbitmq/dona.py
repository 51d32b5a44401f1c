"""Uma loja, um vhost: as filas e o exchange pertencem a uma pasta de dados.

Duas lojas num vhost comeriam os eventos uma da outra. A identidade da loja são oito algarismos
hexadecimais, no arquivo `.loja` da pasta dos bancos e no PRAGMA application_id de cada banco. No
broker, é o argumento de uma fila: ele mesmo o compara a cada declaração, e recusa outro (406). Em
várias máquinas, o `.loja` é copiado para a pasta de cada uma.
(Manual do RabbitMQ, "Queues", seção "Declaration and Property Equivalence"; manual do SQLite,
"PRAGMA application_id".)
"""

from __future__ import annotations

import os
import re
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path

from comum.banco import Banco
from comum.falha import Falha, em_portugues
from comum.presenca import recusar_limpeza_pela_metade

ARQUIVO = ".loja"
FILA = "loja.dona"  # nunca recebe nada


def declarar_dona(canal, loja: str, callback=None) -> None:
    """Toma o vhost para a loja, se é de ninguém; se é de outra, o broker encerra o canal (406)."""
    canal.queue_declare(FILA, durable=True, arguments={
        "x-queue-type": "quorum", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": loja},
        callback=callback)


def identidade(pasta: Path, limpando: bool = False) -> str:
    """A identidade da loja cujos bancos ficam em `pasta`; se ainda não há, é sorteada, uma vez.

    Levanta Falha (código 2) se não dá para ler ou criar o arquivo, se os bancos são de lojas
    diferentes, ou se uma limpeza ficou pela metade (limpando: é a própria limpeza que pergunta).
    """
    if not limpando:
        recusar_limpeza_pela_metade(pasta, "orquestracao.py",
                                    "as filas ainda podem ter eventos dos bancos apagados")
    try:
        pasta.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (pasta / ARQUIVO).exists():
            # Zero é o application_id de quem não tem nenhum, e ele é um inteiro com sinal.
            _criar(pasta / ARQUIVO, dos_bancos(pasta) or f"{uuid.uuid4().int >> 97 | 1:08x}")
        lida = (pasta / ARQUIVO).read_text(encoding="ascii", errors="replace").strip()
    except OSError as erro:
        raise em_portugues(erro, str(pasta)) from erro
    if not re.fullmatch("[0-7][0-9a-f]{7}", lida):
        raise Falha(f"{pasta / ARQUIVO} não é a identidade de uma loja: apague-o, e ele é refeito "
                    "a partir dos bancos", 2)
    return lida


def identidade_se_houver(pasta: Path) -> str | None:
    """A identidade da loja, sem criar nada; None se nesta pasta não há loja nenhuma."""
    return identidade(pasta) if (pasta / ARQUIVO).exists() or dos_bancos(pasta) else None


def dos_bancos(pasta: Path) -> str | None:
    """A identidade que os bancos da pasta guardam; None se nenhum guarda."""
    achadas = {}
    for arquivo in sorted(pasta.glob("*.db")):
        with suppress(sqlite3.Error), closing(sqlite3.connect(
                f"{arquivo.resolve().as_uri()}?mode=ro", uri=True)) as banco:
            if numero := banco.execute("PRAGMA application_id").fetchone()[0]:
                achadas[f"{numero:08x}"] = arquivo.name
    if len(achadas) > 1:
        de_quem = ", ".join(f"{nome} é da {loja}" for loja, nome in achadas.items())
        raise Falha(f"em {pasta} há bancos de lojas diferentes ({de_quem}): deixe na pasta só os "
                    "de uma", 2)
    return next(iter(achadas), None)


def carimbar(banco: Banco, loja: str) -> None:
    """Escreve num banco de que loja ele é; Falha (código 2) se é de outra, ou não se pode escrever.

    Um banco só de leitura o SQLite abriria assim mesmo, e nem a permissão devolvida depois o
    faria gravar: é aqui que isso se nota. O que já está carimbado não muda: uma partida que nada
    faz não pode parecer que a loja se move (palco/movimento.py).
    """
    numero = int(loja, 16)
    try:
        banco.execute("BEGIN IMMEDIATE")
        try:
            atual = banco.execute("PRAGMA application_id").fetchone()[0]
            if atual in (0, numero):
                banco.execute(f"PRAGMA application_id={numero}")  # a prova de que se pode escrever
            if not atual:
                banco.execute("COMMIT")
        finally:
            if banco.in_transaction:
                banco.execute("ROLLBACK")
    except sqlite3.Error as erro:
        raise em_portugues(erro, str(banco.caminho)) from erro
    if atual not in (0, numero):
        raise Falha(f"{banco.caminho} é da loja {atual:08x}, e a pasta dele é da {loja}: ponha "
                    f"cada banco na pasta da sua loja; se o errado é o arquivo {ARQUIVO}, apague-o",
                    2)


def _criar(arquivo: Path, loja: str) -> None:
    """Cria o arquivo já inteiro, se outro programa não o criou antes."""
    novo = arquivo.with_name(f"{ARQUIVO}.{os.getpid()}.{uuid.uuid4().hex}")
    novo.write_text(loja + "\n", encoding="ascii")
    try:
        os.link(novo, arquivo)
    except FileExistsError:
        pass
    except OSError:  # um disco sem links
        os.replace(novo, arquivo)
    finally:
        novo.unlink(missing_ok=True)
