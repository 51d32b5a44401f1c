"""A versão ingênua, que perde ou repete pedidos, ao lado da verdadeira, sob as mesmas mortes.

    python tests/aula/ingenuo.py

Três consumidores recebem a mesma fila de pedidos e são mortos com kill -9 no meio do trabalho:

  - um dá o ack antes do COMMIT: o que estava em mãos se perde;
  - outro dá o ack depois, mas não tem caixa de entrada: o que estava em mãos se repete;
  - o terceiro é microsservicos/servico_estoque.py.

Usa o broker de RABBITMQ_URL (e uma pasta temporária); encerre antes os serviços.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

RAIZ = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(RAIZ / pasta) for pasta in ("microsservicos", "tests/aula", "tests",
                                                "tests/apoio")]

from bloqueante import conectar
from coreografia import SERVICOS
from publicar import evento, publicar
from rabbitmq import filas
from rabbitmq.canal import Publicador
from comum.identidade import LOJA as ARQUIVO, identidade
from comum.falha import Falha
from comum.tela import dizer, executar

PEDIDOS, MORTES, LOTE = 800, 3, 50
VAZIA = 3.0  # segundos com a fila vazia: o que estava com o morto já voltou
FILA = "ingenua"
URL = os.environ.get("RABBITMQ_URL", "amqp://guest:guest@localhost:5672/").split(",")[0]
SQL = "CREATE TABLE IF NOT EXISTS reservas (pedido TEXT)"


def consumir(ordem: str, arquivo: str) -> None:
    """O consumidor ingênuo: sem caixa de entrada, e com o ack onde `ordem` diz."""
    banco = sqlite3.connect(arquivo, isolation_level=None)
    with closing(conectar(URL)) as conexao:
        canal, desde = conexao.channel(), time.monotonic()
        while time.monotonic() - desde < VAZIA:  # ou até que o matem
            lote = [m for m in (canal.basic_get(FILA) for _ in range(LOTE)) if m[0]]
            if not lote:
                time.sleep(0.02)  # vazia, ou o broker ainda não devolveu o que estava com o morto
                continue
            desde = time.monotonic()
            if ordem == "antes":
                canal.basic_ack(lote[-1][0].delivery_tag, multiple=True)
            for _, _, corpo in lote:
                pedido = json.loads(corpo)["pedido"]
                banco.execute("INSERT INTO reservas VALUES (?)", (pedido,))  # um COMMIT
            if ordem == "depois":
                canal.basic_ack(lote[-1][0].delivery_tag, multiple=True)


def no_meio(novas: int) -> bool:
    """Se, com tantas reservas desde a partida, o consumidor está no meio de um lote."""
    return novas % LOTE in range(10, LOTE - 10) or novas >= 2 * LOTE


def maltratar(comando: list, reservas, acabou) -> None:
    """Roda o comando, mata-o MORTES vezes no meio de um lote, e o deixa terminar.

    reservas(): quantas há. acabou(): se não falta nenhuma; o ingênuo acaba sozinho.
    """
    for _ in range(MORTES):
        antes = reservas()
        processo = subprocess.Popen(comando, stdout=subprocess.DEVNULL)
        while processo.poll() is None and not (no_meio(reservas() - antes) or acabou()):
            time.sleep(0.001)
        processo.kill()
        processo.wait()
    processo = subprocess.Popen(comando, stdout=subprocess.DEVNULL)
    while processo.poll() is None and not acabou():
        time.sleep(0.02)
    processo.kill()
    processo.wait()


def experimentar(nome: str, comando: list, arquivo: Path, encher, acaba_sozinho: bool) -> None:
    with Publicador("ingenuo.py") as publicador:
        filas.declarar(publicador)
        encher(publicador)
        publicador.esperar_respostas()
    with closing(sqlite3.connect(arquivo, isolation_level=None)) as banco:
        banco.execute("PRAGMA journal_mode=WAL")
        reservas = lambda: banco.execute("SELECT count(*) FROM reservas").fetchone()[0]
        maltratar(comando, reservas, lambda: not acaba_sozinho and reservas() >= PEDIDOS)
        total, pedidos = banco.execute(
            "SELECT count(pedido), count(DISTINCT pedido) FROM reservas").fetchone()
    dizer(f"{nome:32} {PEDIDOS - pedidos:6} perdidos {total - pedidos:6} em dobro")


def main() -> int:
    if sys.argv[1:]:
        consumir(*sys.argv[1:])
        return 0
    conferir_que_ninguem_usa()
    loja = identidade(RAIZ / "dados" / "microsservicos")  # de quem o broker é: as outras, recusa
    dizer(f"{PEDIDOS} pedidos na fila, e {MORTES} mortes com kill -9 no meio do trabalho:")
    try:
        with tempfile.TemporaryDirectory() as pasta:
            for ordem in ("antes", "depois"):
                arquivo = Path(pasta) / f"{ordem}.db"
                sqlite3.connect(arquivo).execute(SQL).connection.close()
                experimentar(f"ack {ordem} do COMMIT, sem caixas",
                             [sys.executable, __file__, ordem, str(arquivo)],
                             arquivo, encher_ingenua, acaba_sozinho=True)
            do_estoque(Path(pasta), loja)
    finally:
        with Publicador("ingenuo.py") as conexao:
            conexao.pedir(conexao.canal.queue_delete, FILA)
        filas.esvaziar_filas(loja)
    return 0


def do_estoque(pasta: Path, loja: str) -> None:
    from comum import banco
    import servico
    import servico_estoque
    arquivo = pasta / "microsservicos" / "estoque.db"
    arquivo.parent.mkdir()
    (arquivo.parent / ARQUIVO).write_text(loja, encoding="ascii")
    tabelas = servico_estoque.TABELAS + ";" + servico.TABELAS
    with closing(banco.abrir(arquivo, tabelas, loja)) as aberto:
        aberto.execute("UPDATE produtos SET inicial = 1000000, quantidade = 1000000")
    comando = [sys.executable, servico_estoque.__file__, "--dados", str(pasta), "--sem-eventos"]
    experimentar("servico_estoque.py", comando, arquivo, encher_estoque, acaba_sozinho=False)


def encher_ingenua(publicador: Publicador) -> None:
    publicador.pedir(publicador.canal.queue_declare, FILA, durable=True,
                     arguments={"x-queue-type": "quorum"})
    for n in range(PEDIDOS):
        publicador.enfileirar("", FILA, json.dumps({"pedido": f"p-{n}"}), None, mandatory=True)


def encher_estoque(publicador: Publicador) -> None:
    for n in range(PEDIDOS):
        publicar(publicador, evento("pedido.criado", f"p-{n}"))


def conferir_que_ninguem_usa() -> None:
    """As filas do projeto têm de estar vazias e sem ninguém ouvindo: no fim, tudo é jogado fora."""
    with Publicador("ingenuo.py") as conexao:
        filas.declarar(conexao)
        for servico in SERVICOS:
            fila = conexao.pedir(conexao.canal.queue_declare, servico, passive=True)
            if fila.consumer_count or fila.message_count:
                raise Falha(f"a fila «{servico}» está em uso: encerre os serviços "
                            "e use --limpar antes", 2)


if __name__ == "__main__":
    executar(main)
