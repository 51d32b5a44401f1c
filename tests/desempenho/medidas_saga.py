"""A saga medida: vazão, custo por pedido, memória, latência, contenção, disponibilidade.

Compara os quatro serviços de verdade com dois programas feitos só para isto: o relé nu
(os mesmos saltos e mensagens, sem banco nenhum: o que o pika e o broker conseguem) e o
laço de livro-texto (uma mensagem por vez: grava, publica e espera, dá o ack).
"""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import shutil
import sqlite3
import time
from pathlib import Path

import pika

from bloqueante import conectar, no_endereco
from conftest import carregar
from medidas import RAIZ, esperar, rodar_python

NOMES = ("pedidos", "estoque", "pagamentos", "envio")
SALTOS = (("rele_estoque", "pedido.criado", "estoque.reservado"), ("rele_pagamentos", "estoque.reservado", "pagamento.aprovado"),
          ("rele_envio", "pagamento.aprovado", "envio.despachado"), ("rele_pedidos", "envio.despachado", "pedido.concluido"))
LOTE = 200
FOLGA = 10 ** 9
PEDIDO = {"pedido": "00000000-0000-4000-8000-000000000000", "cliente": "ana",
          "itens": [{"produto": "livro", "quantidade": 2}], "cep": "01310-100", "total": 10000}


# --- os quatro serviços de verdade ---

class Loja:
    """Os quatro serviços sobre uma pasta nova, com estoque e saldo de sobra.

    linhas: quantos produtos e clientes além dos da loja (p-0, p-1...; c-0, c-1...).
    """

    def __init__(self, pasta: Path, url: str, linhas: int = 0):
        shutil.rmtree(pasta, ignore_errors=True)
        (pasta / "microsservicos").mkdir(parents=True)
        (pasta / "microsservicos" / ".loja").write_text("00000001\n")  # todas são a mesma loja: dividem um vhost
        self.pasta, self.ambiente = pasta, {**os.environ, "RABBITMQ_URL": url}
        self.processos: dict = {}
        with rodar_python(RAIZ / "orquestracao.py", "--estado", "--dados", pasta, env=self.ambiente) as criar:
            criar.communicate()
        with self.banco("estoque") as banco:
            banco.execute("UPDATE produtos SET inicial = inicial + ?1, quantidade = quantidade + ?1", (FOLGA,))
            banco.executemany("INSERT INTO produtos VALUES (?1, ?2, ?2)", [(f"p-{i}", FOLGA) for i in range(linhas)])
        with self.banco("pagamentos") as banco:
            banco.execute("UPDATE clientes SET inicial = inicial + ?1, saldo = saldo + ?1", (FOLGA * 1000,))
            banco.executemany("INSERT INTO clientes VALUES (?1, ?2, ?2)", [(f"c-{i}", FOLGA * 1000) for i in range(linhas)])

    def banco(self, nome: str) -> sqlite3.Connection:
        return sqlite3.connect(self.pasta / "microsservicos" / f"{nome}.db", timeout=30)

    def iniciar(self, *nomes: str) -> None:
        for nome in nomes:
            extra = ["--sem-pedido"] if nome == "pedidos" else []
            processo = rodar_python(RAIZ / "microsservicos" / f"servico_{nome}.py", "--dados", self.pasta,
                                    "--sem-eventos", *extra, env=self.ambiente)
            while "pronto" not in processo.stdout.readline():
                if processo.poll() is not None:
                    raise RuntimeError(f"{nome} não iniciou")
            self.processos[nome] = processo

    def parar(self, *nomes: str) -> None:
        for nome in nomes or list(self.processos):
            processo = self.processos.pop(nome)
            processo.terminate()
            processo.communicate()

    def enviar(self, quantos: int, prefixo: str) -> None:
        """Registra pedidos como a porta de entrada faz; quem publica é o serviço de pedidos."""
        linhas = self.pasta / "pedidos.jsonl"
        with open(linhas, "w", encoding="utf-8") as arquivo:
            for i in range(quantos):
                arquivo.write(json.dumps({"pedido": f"{prefixo}-{i:030}", "cliente": "ana", "cep": "01310-100",
                                          "itens": [{"produto": "livro", "quantidade": 2}]}) + "\n")
        registrar = ("import sys; sys.path.insert(0, sys.argv[1]); import servico, servico_pedidos as s; from comum import banco, loja; "
                     "from pathlib import Path; b = banco.abrir(Path(sys.argv[2]), s.TABELAS + ';' + servico.TABELAS); "
                     "s.entrar_na_saga(b, s.receber, loja.ler_arquivo(sys.argv[3]))")
        with rodar_python("-c", registrar, RAIZ / "microsservicos", self.pasta / "microsservicos" / "pedidos.db", linhas) as p:
            erro = p.communicate()[0]
        if p.returncode:
            raise RuntimeError(erro)

    def pendentes(self, banco: sqlite3.Connection) -> int:
        return banco.execute("SELECT count(*) FROM pedidos WHERE estado = 'pendente'").fetchone()[0]

    def concluidos(self, banco: sqlite3.Connection) -> int:
        return banco.execute("SELECT count(*) FROM pedidos WHERE estado = 'concluido'").fetchone()[0]

    def envelhecer(self, quantos: int) -> None:
        """Põe `quantos` pedidos concluídos em cada banco, como se a loja já tivesse história."""
        serie = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {quantos}) "
        corpo = json.dumps(PEDIDO)

        def caixas(tratou: str, *publicou: str) -> list[str]:
            return ["INSERT INTO caixa_entrada (mensagem) {} SELECT 'antigo-' || i || ':" + tratou + "' FROM n",
                    *(f"INSERT INTO caixa_saida (tipo, pedido, corpo, enviado) {{}} SELECT '{tipo}', 'antigo-' || i, '{corpo}', 1 FROM n"
                      .replace(corpo, corpo.replace("{", "{{").replace("}", "}}")) for tipo in publicou)]

        comandos = {
            "pedidos": ("INSERT INTO pedidos {} SELECT 'antigo-' || i, 'ana', 10000, 'concluido', NULL FROM n",
                        "INSERT INTO itens {} SELECT 'antigo-' || i, 'livro', 2 FROM n",
                        "INSERT INTO enderecos {} SELECT 'antigo-' || i, '01310-100' FROM n",
                        *caixas("envio.despachado", "pedido.criado", "pedido.concluido")),
            "estoque": ("INSERT INTO reservas {} SELECT 'antigo-' || i, 'livro', 2 FROM n",
                        "INSERT INTO respostas {} SELECT 'antigo-' || i, 'reservado' FROM n",
                        *caixas("pedido.criado", "estoque.reservado")),
            "pagamentos": ("INSERT INTO cobrancas {} SELECT 'antigo-' || i, 'ana', 10000 FROM n",
                           "INSERT INTO respostas {} SELECT 'antigo-' || i, 'aprovado' FROM n",
                           *caixas("estoque.reservado", "pagamento.aprovado")),
            "envio": ("INSERT INTO envios {} SELECT 'antigo-' || i, '01310-100', 'despachado' FROM n",
                      "INSERT INTO respostas {} SELECT 'antigo-' || i, 'despachado' FROM n",
                      *caixas("pagamento.aprovado", "envio.despachado"))}
        for nome, lista in comandos.items():
            with self.banco(nome) as banco:
                for comando in lista:
                    banco.execute(comando.format(serie))

    def memoria(self) -> dict[str, float]:
        """O máximo de memória residente de cada serviço, em MiB."""
        pico = {}
        for nome, processo in self.processos.items():
            texto = Path(f"/proc/{processo.pid}/status").read_text()
            pico[nome] = int(texto.split("VmHWM:")[1].split()[0]) / 1024
        return pico


def vazao_da_saga(loja: Loja, quantos: int, prefixo: str) -> float:
    """Pedidos por segundo, da primeira publicação ao último resultado; os serviços já estão de pé."""
    loja.enviar(quantos, prefixo)
    inicio = time.perf_counter()
    loja.iniciar("pedidos")
    # Só com o serviço pronto há a primeira publicação; o que veio antes é a partida dele.
    inicio = time.perf_counter()
    with loja.banco("pedidos") as banco:
        esperar(lambda: not loja.pendentes(banco), 600)
    duracao = time.perf_counter() - inicio
    loja.parar("pedidos")
    return quantos / duracao


# --- os dois programas de comparação ---

def propriedades(pedido: str, tipo: str):
    """As mesmas propriedades, do mesmo tamanho, que os serviços mandam."""
    return pika.BasicProperties(
        content_type="application/json", delivery_mode=2, correlation_id=pedido, message_id=f"{pedido}:{tipo}", type=tipo,
        app_id="pagamentos", timestamp=int(time.time()), headers={"causa": f"{pedido}:{tipo}", "versao": 1})


def declarar_rele(url: str) -> None:
    conexao = conectar(url)
    canal = conexao.channel()
    canal.exchange_declare("rele", "topic", durable=True)
    for fila, ouve, _ in SALTOS:
        canal.queue_declare(fila, durable=True, arguments={"x-queue-type": "quorum"})
        canal.queue_bind(fila, "rele", ouve)
        canal.queue_purge(fila)
    conexao.close()


def salto_em_lote(url, fila, publica, sementes, total, sinais, extra):
    """Um salto do relé nu: recebe, publica, um commit do AMQP por lote; ninguém grava nada."""
    conexao = conectar(url)
    canal = conexao.channel()
    canal.tx_select()
    canal.basic_qos(prefetch_count=2 * LOTE)
    chegaram: list = []
    canal.basic_consume(fila, lambda c, metodo, p, corpo: chegaram.append((metodo.delivery_tag, p.correlation_id, corpo)))
    sinais.put("pronto")
    corpo = json.dumps(PEDIDO).encode()
    for inicio in range(0, sementes, 2 * LOTE):
        for i in range(inicio, min(sementes, inicio + 2 * LOTE)):
            canal.basic_publish("rele", "pedido.criado", corpo, propriedades(f"x-{i:034}", "pedido.criado"), mandatory=True)
        canal.tx_commit()
    feitos = 0
    while feitos < total:
        if not chegaram:
            conexao.process_data_events(1)
        lote, chegaram[:LOTE] = chegaram[:LOTE], []
        if not lote:
            continue
        for _, pedido, corpo in lote:
            canal.basic_publish("rele", publica, corpo, propriedades(pedido, publica), mandatory=publica != "pedido.concluido")
        canal.basic_ack(lote[-1][0], multiple=True)
        canal.tx_commit()
        feitos += len(lote)
    sinais.put("fim")


def salto_encadeado(url, fila, publica, sementes, total, sinais, extra):
    """O mesmo salto com a conexão do projeto: o lote vai inteiro à rede, e uma espera serve a todas as respostas.

    extra: "como-vem" é o pika sem o nosso transporte, com três `send` por mensagem.
    """
    canal_py = carregar("microsservicos", "canal")
    if extra == "como-vem":
        carregar("microsservicos", "transporte").Transporte.write = \
            lambda transporte, dados: transporte.do_pika.write(dados)

    class Rele(canal_py.Publicador):
        def ao_receber(self, canal, metodo, p, corpo):
            chegaram.append((metodo.delivery_tag, p.correlation_id, corpo))
            self.acordar()

    chegaram: list = []
    with no_endereco(url), Rele("relé") as rele:
        rele.abrir_saida()
        rele.pedir(rele.canal.basic_qos, prefetch_count=2 * LOTE)
        rele.pedir(rele.canal.basic_consume, fila, rele.ao_receber)
        sinais.put("pronto")
        corpo = json.dumps(PEDIDO).encode()
        for inicio in range(0, sementes, 2 * LOTE):
            for i in range(inicio, min(sementes, inicio + 2 * LOTE)):
                rele.enfileirar("rele", "pedido.criado", corpo, propriedades(f"x-{i:034}", "pedido.criado"), True)
            assert not rele.esperar_respostas()
        feitos = 0
        while feitos < total:
            if len(chegaram) < LOTE:
                rele.andar(0 if chegaram else 1)
            lote, chegaram[:LOTE] = chegaram[:LOTE], []
            if not lote:
                continue
            for _, pedido, corpo in lote:
                rele.enfileirar("rele", publica, corpo, propriedades(pedido, publica), publica != "pedido.concluido")
            rele.canal.basic_ack(lote[-1][0], multiple=True)
            assert not rele.esperar_respostas()
            feitos += len(lote)
    sinais.put("fim")


def salto_de_livro_texto(url, fila, publica, sementes, total, sinais, pasta):
    """Um salto como nos tutoriais: uma mensagem por vez, um commit, uma publicação confirmada, um ack."""
    conexao = conectar(url)
    canal = conexao.channel()
    canal.confirm_delivery()
    canal.basic_qos(prefetch_count=LOTE)
    banco = sqlite3.connect(f"{pasta}/{fila}.db", isolation_level=None)
    banco.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS feitos (pedido TEXT PRIMARY KEY)")
    sinais.put("pronto")
    corpo = json.dumps(PEDIDO).encode()
    for i in range(sementes):
        canal.basic_publish("rele", "pedido.criado", corpo, propriedades(f"x-{i:034}", "pedido.criado"), mandatory=True)
    for feitos, (metodo, p, corpo) in enumerate(canal.consume(fila), 1):
        banco.execute("INSERT OR REPLACE INTO feitos VALUES (?)", (p.correlation_id,))
        canal.basic_publish("rele", publica, corpo, propriedades(p.correlation_id, publica), mandatory=publica != "pedido.concluido")
        canal.basic_ack(metodo.delivery_tag)
        if feitos == total:
            break
    sinais.put("fim")


def vazao_do_rele(url: str, quantos: int, salto, extra) -> float:
    """Pedidos por segundo pelos quatro saltos, da primeira publicação ao último resultado."""
    declarar_rele(url)
    contexto = mp.get_context("spawn")
    sinais, processos = contexto.Queue(), []
    for fila, _, publica in SALTOS:
        ultimo = fila == "rele_pedidos"
        processo = contexto.Process(target=salto, args=(url, fila, publica, quantos if ultimo else 0, quantos, sinais, extra))
        processo.start()
        processos.append(processo)
        assert sinais.get(timeout=60) == "pronto"
    inicio = time.perf_counter()
    for _ in SALTOS:
        assert sinais.get(timeout=600) == "fim"
    duracao = time.perf_counter() - inicio
    for processo in processos:
        processo.join()
    return quantos / duracao


# --- a latência de um pedido sozinho ---

def latencias(loja: Loja, url: str, quantos: int) -> list[float]:
    """Segundos de pedido.criado a pedido.concluido, um pedido de cada vez, vistos por uma fila de plateia."""
    conexao = conectar(url)
    canal = conexao.channel()
    fila = canal.queue_declare("", exclusive=True).method.queue
    for tipo in ("pedido.criado", "pedido.concluido"):
        canal.queue_bind(fila, "loja", tipo)
    vistos: dict[str, float] = {}
    canal.basic_consume(fila, lambda c, m, p, corpo: vistos.__setitem__(p.type, time.perf_counter()), auto_ack=True)
    tempos = []
    enviador = Enviador(loja)
    for i in range(quantos):
        vistos.clear()
        enviador.enviar(f"so-{time.time_ns()}")
        while len(vistos) < 2:
            conexao.process_data_events(1)
        tempos.append(vistos["pedido.concluido"] - vistos["pedido.criado"])
    conexao.close()
    enviador.fechar()
    return tempos


class Enviador:
    """Registra pedidos na porta de entrada à medida que chegam, sem abrir um processo para cada um."""

    PROGRAMA = ("import sys; sys.path.insert(0, sys.argv[1]); import servico, servico_pedidos as s\nfrom comum import banco, loja\n"
                "from pathlib import Path\n"
                "s.PRECOS.update({f'p-{i}': 5000 for i in range(64)})\n"
                "b = banco.abrir(Path(sys.argv[2]), s.TABELAS + ';' + servico.TABELAS)\n"
                "for linha in sys.stdin.buffer:\n"
                "    s.entrar_na_saga(b, s.receber, [loja.validar(p) for p in loja.ler_json(linha)]); print('ok', flush=True)")

    def __init__(self, loja: Loja):
        import subprocess
        import sys
        self.processo = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAMA, str(RAIZ / "microsservicos"), str(loja.pasta / "microsservicos" / "pedidos.db")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def enviar(self, *pedidos: str) -> None:
        """Um pedido de ana, um livro, para cada id."""
        self.enviar_prontos([um_pedido(pedido, "ana", "livro") for pedido in pedidos])

    def enviar_prontos(self, pedidos: list[dict]) -> None:
        """Os que chegam juntos dividem a gravação; só volta quando a loja já não os perde."""
        self.processo.stdin.write(json.dumps(pedidos) + "\n")
        self.processo.stdin.flush()
        assert self.processo.stdout.readline() == "ok\n"

    def fechar(self) -> None:
        self.processo.stdin.close()
        self.processo.wait()


def partes_da_latencia(url: str, pasta: Path, quantos: int) -> tuple[list[float], list[float]]:
    """As partes, medidas sozinhas: (uma gravação forçada, uma viagem pelo broker), em segundos."""
    banco = sqlite3.connect(pasta / "parte.db", isolation_level=None)
    banco.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS t (x TEXT)")
    declarar_rele(url)
    conexao, outra = (conectar(url) for _ in range(2))
    publica, ouve = conexao.channel(), outra.channel()
    publica.tx_select()
    ouve.tx_select()
    chegou: list = []
    ouve.basic_consume("rele_estoque", lambda c, m, p, corpo: chegou.append(m.delivery_tag))
    gravacoes, viagens = [], []
    for i in range(quantos):
        inicio = time.perf_counter()
        banco.execute("INSERT INTO t VALUES (?)", ("x" * 300,))
        gravacoes.append(time.perf_counter() - inicio)
        inicio = time.perf_counter()
        publica.basic_publish("rele", "pedido.criado", json.dumps(PEDIDO), propriedades(f"x-{i:034}", "pedido.criado"), mandatory=True)
        publica.tx_commit()
        while not chegou:
            outra.process_data_events(1)
        viagens.append(time.perf_counter() - inicio)
        ouve.basic_ack(chegou.pop())
        ouve.tx_commit()
    conexao.close()
    outra.close()
    return gravacoes, viagens


# --- contenção e disponibilidade ---

def um_pedido(pedido: str, cliente: str, produto: str) -> dict:
    return {"pedido": pedido, "cliente": cliente, "cep": "01310-100", "itens": [{"produto": produto, "quantidade": 1}]}


def contencao(loja: Loja, url: str, clientes: int, cada: int, produtos: int) -> tuple[float, list[float], float]:
    """`clientes` clientes, cada um com `cada` pedidos, um depois do outro, divididos entre `produtos` produtos.

    Devolve (pedidos por segundo, segundos de cada pedido do envio ao resultado, parte recusada).
    """
    conexao = conectar(url)
    canal = conexao.channel()
    fila = canal.queue_declare("", exclusive=True).method.queue
    for tipo in ("pedido.concluido", "pedido.cancelado"):
        canal.queue_bind(fila, "loja", tipo)
    resultados: list[tuple[str, str]] = []
    canal.basic_consume(fila, lambda c, m, p, corpo: resultados.append((p.correlation_id, p.type)), auto_ack=True)
    enviador, marca = Enviador(loja), time.time_ns()
    fila_de = {n: iter(range(cada)) for n in range(clientes)}
    enviados, tempos, recusados, livres = {}, [], 0, list(range(clientes))
    inicio = time.perf_counter()
    while len(tempos) < clientes * cada:
        novos = [um_pedido(f"{marca}-{n}-{i}", f"c-{n}", f"p-{n % produtos}") for n in livres for i in [next(fila_de[n], None)] if i is not None]
        if novos:
            enviados.update(dict.fromkeys((p["pedido"] for p in novos), time.perf_counter()))
            enviador.enviar_prontos(novos)
        conexao.process_data_events(1)
        agora, livres = time.perf_counter(), [int(pedido.split("-")[1]) for pedido, _ in resultados]
        tempos += [agora - enviados[pedido] for pedido, _ in resultados]
        recusados += sum(tipo == "pedido.cancelado" for _, tipo in resultados)
        resultados.clear()
    duracao = time.perf_counter() - inicio
    enviador.fechar()
    conexao.close()
    return clientes * cada / duracao, tempos, recusados / len(tempos)


def disponibilidade(loja: Loja, total: int, fora: tuple[int, int], ritmo: int = 20) -> tuple[list[float], list[float]]:
    """Por segundo: pedidos aceitos e pedidos concluídos, com Pagamentos fora do ar no meio."""
    loja.iniciar(*NOMES)
    enviador = Enviador(loja)
    aceitos, finais = [], []
    inicio = time.monotonic()
    with loja.banco("pedidos") as banco:
        for segundo in range(total):
            if segundo == fora[0]:
                loja.parar("pagamentos")
            if segundo == fora[1]:
                loja.iniciar("pagamentos")
            for i in range(ritmo):
                enviador.enviar(f"disp-{segundo}-{i}")
                time.sleep(max(0.0, inicio + segundo + (i + 1) / ritmo - time.monotonic()))
            aceitos.append(ritmo)
            finais.append(loja.concluidos(banco) - sum(finais))
        esperar(lambda: not loja.pendentes(banco))
        finais[-1] += loja.concluidos(banco) - sum(finais)  # os que ainda estavam a caminho ao acabar o último segundo
    enviador.fechar()
    loja.parar()
    return aceitos, finais
