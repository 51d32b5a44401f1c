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


class Monolito:
    """O coordenador de verdade e os quatro participantes, sobre uma pasta nova.

    linhas: quantos produtos e clientes além dos da loja (p-0, p-1...; c-0, c-1...): pedidos
    de linhas diferentes não se esperam. espera: segundos por uma trava.
    """

    def __init__(self, pasta: Path, linhas: int = 0, espera: float = 2.0):
        shutil.rmtree(pasta, ignore_errors=True)
        app, pedidos = carregar("monolito", "app"), carregar("monolito", "pedidos")
        self.pasta, self.conduzir = pasta / "monolito", carregar("monolito", "atendimento").Atendimento
        loja = app.identidade(self.pasta)
        self.participantes = [app.Participante(negocio, self.pasta, loja) for negocio in app.NEGOCIOS]
        _, estoque, pagamentos, _ = (p.banco for p in self.participantes)
        estoque.execute("UPDATE produtos SET inicial = inicial + ?1, quantidade = quantidade + ?1", (FOLGA,))
        pagamentos.execute("UPDATE clientes SET inicial = inicial + ?1, saldo = saldo + ?1", (FOLGA * 1000,))
        for i in range(linhas):
            pedidos.PRECOS[f"p-{i}"] = 5000
            estoque.execute("INSERT INTO produtos VALUES (?1, ?2, ?2)", (f"p-{i}", FOLGA))
            pagamentos.execute("INSERT INTO clientes VALUES (?1, ?2, ?2)", (f"c-{i}", FOLGA * 1000))
        self.coordenador = app.iniciar(self.pasta, loja, self.participantes, app.Narrador(False), espera)

    def atender(self, clientes: int, cada: int, produtos: int | None = None) -> tuple[float, list[float], float]:
        """`clientes` pedidos em andamento, um de cada cliente, `cada` vezes.

        Devolve (pedidos por segundo, segundos de cada pedido, parte recusada).

        produtos: entre quantos produtos os clientes se dividem (None: cada um pede o seu).
        """
        marca, comecou, tempos = time.time_ns(), {}, []
        novos = [{"pedido": f"{marca}-{n}-{i}", "cliente": f"c-{n}", "cep": "01310-100",
                  "itens": [{"produto": f"p-{n % (produtos or clientes)}", "quantidade": 2}]}
                 for i in range(cada) for n in range(clientes)]
        nova, rodada = self.coordenador.nova, self.coordenador.rodada

        def marcar(pedido):
            comecou[pedido["pedido"]] = time.perf_counter()
            return nova(pedido)

        def anotar(transacoes):
            terminadas, agora = rodada(transacoes), time.perf_counter()
            tempos.extend(agora - comecou[t.pedido["pedido"]] for t in terminadas)
            return terminadas

        self.coordenador.nova, self.coordenador.rodada = marcar, anotar
        inicio = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            self.conduzir(self.coordenador, novos, clientes).conduzir()
        duracao = time.perf_counter() - inicio
        self.coordenador.nova, self.coordenador.rodada = nova, rodada
        recusados = self.participantes[0].banco.execute(
            "SELECT avg(estado <> 'concluido') FROM pedidos WHERE pedido GLOB ?", (f"{marca}-*",)).fetchone()[0]
        return clientes * cada / duracao, tempos, recusados

    def concluidos(self) -> int:
        banco = self.participantes[0].banco
        return banco.execute("SELECT count(*) FROM pedidos WHERE estado = 'concluido'").fetchone()[0]

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


def disponibilidade(pasta: Path, total: int, fora: tuple[int, int], ritmo: int = 20) -> tuple[list[float], list[float]]:
    """Por segundo: pedidos oferecidos e concluídos, com o banco de Pagamentos inacessível no meio.

    O participante fica fora do ar como ficaria se outro programa travasse o seu arquivo.
    """
    monolito = Monolito(pasta, linhas=1)
    pagamentos = monolito.participantes[2].banco
    pagamentos.execute("PRAGMA busy_timeout=0")
    intruso = sqlite3.connect(pagamentos.caminho, isolation_level=None)
    oferecidos, finais = [], []
    inicio = time.monotonic()
    with contextlib.redirect_stderr(io.StringIO()):  # um aviso por pedido recusado afogaria a tabela
        for segundo in range(total):
            if segundo == fora[0]:
                intruso.execute("BEGIN EXCLUSIVE")
            if segundo == fora[1]:
                intruso.execute("ROLLBACK")
            antes = monolito.concluidos()
            for i in range(ritmo):
                monolito.conduzir(monolito.coordenador, [{
                    "pedido": f"disp-{segundo}-{i}", "cliente": "c-0", "cep": "01310-100",
                    "itens": [{"produto": "p-0", "quantidade": 1}]}], 1).conduzir()
                time.sleep(max(0.0, inicio + segundo + (i + 1) / ritmo - time.monotonic()))
            oferecidos.append(ritmo)
            finais.append(monolito.concluidos() - antes)
    intruso.close()
    monolito.fechar()
    return oferecidos, finais
