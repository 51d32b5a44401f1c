"""A 2PC medida: um cliente, muitos clientes, e os limites contra os quais se compara.

O limite é o que o disco cobra: as cinco gravações forçadas de um pedido, feitas sozinhas,
uma depois da outra, como o protocolo precisa. A outra régua é o commit atômico do
próprio SQLite sobre os mesmos arquivos (ATTACH, com diário de rollback).
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sqlite3
import time
from pathlib import Path

from conftest import carregar

ARQUIVOS = ("pedidos", "estoque", "pagamentos", "envio", "coordenador")
FOLGA = 10 ** 9
CONCLUIDOS = "SELECT count(*) FROM pedidos WHERE estado = 'concluido'"


class Monolito:
    """O coordenador de verdade e os quatro participantes, sobre uma pasta nova.

    linhas: quantos produtos e clientes além dos da loja (p-0, p-1...; c-0, c-1...): pedidos
    de linhas diferentes não se esperam.
    """

    def __init__(self, pasta: Path, linhas: int = 0):
        shutil.rmtree(pasta, ignore_errors=True)
        app, pedidos = carregar("monolito", "app"), carregar("monolito", "pedidos")
        self.pasta, self.conduzir = pasta / "monolito", app.conduzir
        loja = app.identidade(self.pasta)
        self.participantes = [app.Participante(negocio, self.pasta, loja) for negocio in app.NEGOCIOS]
        _, estoque, pagamentos, _ = (p.banco for p in self.participantes)
        estoque.execute("UPDATE produtos SET inicial = inicial + ?1, quantidade = quantidade + ?1", (FOLGA,))
        pagamentos.execute("UPDATE clientes SET inicial = inicial + ?1, saldo = saldo + ?1", (FOLGA * 1000,))
        for i in range(linhas):
            pedidos.PRECOS[f"p-{i}"] = 5000
            estoque.execute("INSERT INTO produtos VALUES (?1, ?2, ?2)", (f"p-{i}", FOLGA))
            pagamentos.execute("INSERT INTO clientes VALUES (?1, ?2, ?2)", (f"c-{i}", FOLGA * 1000))
        log = app.abrir_log(self.pasta, loja, self.participantes)
        self.coordenador = app.iniciar(self.participantes, log, app.Narrador(False))

    def atender(self, clientes: int, cada: int, produtos: int | None = None) -> float:
        """Pedidos por segundo, com `clientes` em andamento, `cada` vezes.

        produtos: entre quantos produtos os clientes se dividem (None: cada um pede o seu).
        """
        marca = time.time_ns()
        novos = [{"pedido": f"{marca}-{n}-{i}", "cliente": f"c-{n}", "cep": "01310-100",
                  "itens": [{"produto": f"p-{n % (produtos or clientes)}", "quantidade": 2}]}
                 for i in range(cada) for n in range(clientes)]
        inicio = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()) as tela, contextlib.redirect_stderr(tela):
            self.conduzir(self.coordenador, novos, clientes)
        return clientes * cada / (time.perf_counter() - inicio)

    def concluidos(self) -> int:
        return self.participantes[0].banco.execute(CONCLUIDOS).fetchone()[0]

    def travar_pagamentos(self) -> None:
        """Pagamentos fica fora do ar como ficaria se outro programa travasse o banco dele."""
        self.participantes[2].banco.execute("PRAGMA busy_timeout=0")
        self.intruso = sqlite3.connect(self.pasta / "pagamentos.db", isolation_level=None)
        self.intruso.execute("BEGIN IMMEDIATE")

    def soltar_pagamentos(self) -> None:
        self.intruso.close()

    def fechar(self) -> None:
        self.coordenador.esquecer_execucoes()
        for banco in (*(p.banco for p in self.participantes), self.coordenador.log.banco):
            banco.close()


def vazao_do_limite(pasta: Path, quantos: int) -> float:
    """Pedidos por segundo se um pedido fosse só as suas cinco gravações forçadas, uma depois da outra."""
    shutil.rmtree(pasta, ignore_errors=True)
    pasta.mkdir(parents=True)
    bancos = []
    for nome in ARQUIVOS:
        banco = sqlite3.connect(pasta / f"{nome}.db", isolation_level=None)
        banco.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (x TEXT)")
        bancos.append(banco)
    inicio = time.perf_counter()
    for _ in range(quantos):
        for banco in bancos:
            banco.execute("INSERT INTO t VALUES (?)", ("x" * 300,))
    return quantos / (time.perf_counter() - inicio)


def vazao_do_sqlite(pasta: Path, quantos: int) -> float:
    """Pedidos por segundo com o commit atômico do SQLite sobre os quatro arquivos (diário de rollback)."""
    shutil.rmtree(pasta, ignore_errors=True)
    pasta.mkdir(parents=True)
    # O principal tem de ser um arquivo: com ":memory:" o commit de vários bancos não é atômico
    # (manual do SQLite, "ATTACH DATABASE"), e seria mais barato do que o que se quer medir.
    banco = sqlite3.connect(pasta / "principal.db", isolation_level=None)
    for nome in ARQUIVOS[:4]:
        banco.execute("ATTACH ? AS " + nome, (str(pasta / f"{nome}.db"),))
        banco.execute(f"PRAGMA {nome}.synchronous=FULL")
    banco.executescript("""
        CREATE TABLE pedidos.pedidos (pedido TEXT PRIMARY KEY, cliente TEXT, total INTEGER, estado TEXT, motivo TEXT);
        CREATE TABLE pedidos.itens (pedido TEXT, produto TEXT, quantidade INTEGER, PRIMARY KEY (pedido, produto)) WITHOUT ROWID;
        CREATE TABLE estoque.produtos (produto TEXT PRIMARY KEY, quantidade INTEGER);
        CREATE TABLE estoque.reservas (pedido TEXT, produto TEXT, quantidade INTEGER, PRIMARY KEY (pedido, produto)) WITHOUT ROWID;
        CREATE TABLE pagamentos.clientes (cliente TEXT PRIMARY KEY, saldo INTEGER);
        CREATE TABLE pagamentos.cobrancas (pedido TEXT PRIMARY KEY, cliente TEXT, total INTEGER) WITHOUT ROWID;
        CREATE TABLE envio.envios (pedido TEXT PRIMARY KEY, cep TEXT, situacao TEXT) WITHOUT ROWID;
        INSERT INTO produtos VALUES ('livro', 1000000000);
        INSERT INTO clientes VALUES ('ana', 1000000000000);""")
    inicio = time.perf_counter()
    for i in range(quantos):
        p = f"s-{i}"
        banco.execute("BEGIN IMMEDIATE")
        banco.execute("INSERT INTO pedidos VALUES (?, 'ana', 10000, 'concluido', NULL)", (p,))
        banco.execute("INSERT INTO itens VALUES (?, 'livro', 2)", (p,))
        banco.execute("UPDATE produtos SET quantidade = quantidade - 2 WHERE produto = 'livro'")
        banco.execute("INSERT INTO reservas VALUES (?, 'livro', 2)", (p,))
        banco.execute("UPDATE clientes SET saldo = saldo - 10000 WHERE cliente = 'ana'")
        banco.execute("INSERT INTO cobrancas VALUES (?, 'ana', 10000)", (p,))
        banco.execute("INSERT INTO envios VALUES (?, '01310-100', 'despachado')", (p,))
        banco.execute("COMMIT")
    return quantos / (time.perf_counter() - inicio)
