"""A saga medida: vazão, custo por pedido, memória, latência, contenção.

Compara os quatro serviços de verdade com dois programas feitos só para isto: o relé nu
(os mesmos saltos e mensagens, sem banco nenhum: o que o pika e o broker conseguem) e o
laço de livro-texto (uma mensagem por vez: grava, publica e espera, dá o ack).
"""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path

from bloqueante import conectar, no_endereco
from conftest import carregar, esperar, vhost_novo
from verbos import M, SERVICOS, Loja, pedido

SALTOS = (("rele_estoque", "pedido.criado", "estoque.reservado"), ("rele_pagamentos", "estoque.reservado", "pagamento.aprovado"),
          ("rele_envio", "pagamento.aprovado", "envio.despachado"), ("rele_pedidos", "envio.despachado", "pedido.concluido"))
LOTE = 200
PEDIDO = {**pedido("00000000-0000-4000-8000-000000000000"), "total": 10000}


def url_nova(broker) -> str:
    return f"amqp://guest:guest@127.0.0.1:{broker.porta}/{vhost_novo(broker)}"


# --- os quatro serviços de verdade ---

class LojaMedida(Loja):
    """Os serviços, calados, sobre uma pasta e um vhost novos, com estoque e saldo de sobra.

    linhas: quantos produtos e clientes além dos da loja (p-0, p-1...; c-0, c-1...).
    """

    def __init__(self, pasta: Path, broker, linhas: int = 0):
        super().__init__(pasta, url_nova(broker), fartura=True)
        for i in range(linhas):
            M.servico_pedidos.PRECOS[f"p-{i}"] = 5000
            self.escrever("estoque", "INSERT INTO produtos VALUES (?1, ?2, ?2)", f"p-{i}", 10 ** 9)
            self.escrever("pagamentos", "INSERT INTO clientes VALUES (?1, ?2, ?2)", f"c-{i}", 10 ** 12)

    def lancar(self, nome: str, *_, **opcoes):
        return super().lancar(nome, *["--sem-pedido"] * (nome == "pedidos"), "--sem-eventos", **opcoes)

    def lidos(self, campo: str) -> dict[str, str]:
        """O que /proc diz de cada serviço."""
        return {nome: Path(f"/proc/{programas[0].pid}/{campo}").read_text() for nome, programas in self.programas.items() if programas}

    def cpu(self) -> float:
        """Segundos de CPU que os serviços no ar já gastaram."""
        tempos = (texto.rsplit(")", 1)[1].split()[11:13] for texto in self.lidos("stat").values())
        return sum(int(usuario) + int(sistema) for usuario, sistema in tempos) / os.sysconf("SC_CLK_TCK")

    def memoria(self) -> str:
        """O máximo de memória residente de cada serviço."""
        return ", ".join(f"{nome} {int(texto.split('VmHWM:')[1].split()[0]) // 1024} MiB" for nome, texto in self.lidos("status").items())

    def vazao(self, quantos: int) -> tuple[float, float]:
        """(pedidos por segundo, µs de CPU dos serviços por pedido), da primeira publicação ao último resultado."""
        marca = f"v{time.time_ns()}"
        self.enviar(*(pedido(f"{marca}-{i:020}", "ana", "livro") for i in range(quantos)))
        self.iniciar("pedidos")  # só com ele pronto há a primeira publicação
        inicio, cpu = time.perf_counter(), self.cpu()
        falta = "SELECT 1 FROM pedidos WHERE pedido > ? AND pedido < ? AND estado = 'pendente' LIMIT 1"
        esperar(lambda: not self.consultar("pedidos", falta, f"{marca}-", f"{marca}."), 600, "os resultados")
        medido = quantos / (time.perf_counter() - inicio), 1e6 * (self.cpu() - cpu) / quantos
        self.encerrar("pedidos")
        return medido

    def envelhecer(self, quantos: int) -> None:
        """Põe `quantos` pedidos concluídos em cada banco, como se a loja já tivesse história."""
        serie, id = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {quantos}) ", "'antigo-' || i"
        negocio = {"pedidos": (f"pedidos SELECT {id}, 'ana', 10000, 'concluido', NULL", f"itens SELECT {id}, 'livro', 2",
                               f"enderecos SELECT {id}, '01310-100'"),
                   "estoque": (f"reservas SELECT {id}, 'livro', 2", f"respostas SELECT {id}, 'reservado'"),
                   "pagamentos": (f"cobrancas SELECT {id}, 'ana', 10000", f"respostas SELECT {id}, 'aprovado'"),
                   "envio": (f"envios SELECT {id}, '01310-100', 'despachado'", f"respostas SELECT {id}, 'despachado'")}
        for (_, tratou, publicou), nome in zip(SALTOS, (*SERVICOS[1:], "pedidos")):
            caixas = [f"caixa_entrada (mensagem) SELECT {id} || ':{tratou}'"]
            for tipo in (publicou, "pedido.criado") if nome == "pedidos" else (publicou,):
                caixas.append(f"caixa_saida (tipo, pedido, corpo, enviado) SELECT '{tipo}', {id}, '{json.dumps(PEDIDO)}', 1")
            for linhas in (*negocio[nome], *caixas):
                tabela, _, valores = linhas.partition(" SELECT ")
                self.escrever(nome, f"INSERT INTO {tabela} {serie} SELECT {valores} FROM n")


# --- os dois programas de comparação ---

def propriedades(pedido: str, tipo: str):
    """As mesmas propriedades, do mesmo tamanho, que os serviços mandam."""
    return M.canal.envelope(tipo, pedido, f"{pedido}:{tipo}", int(time.time()))


def salto_em_lote(url, fila, publica, sementes, total, sinais, como_vem):
    """Um salto do relé com a conexão do projeto: o lote vai inteiro à rede, e uma espera serve a todas as respostas.

    como_vem: o pika sem o nosso transporte, com três `send` por mensagem.
    """
    if como_vem:
        carregar("microsservicos", "ajustes_do_pika").Transporte.write = lambda transporte, dados: transporte.do_pika.write(dados)
    chegaram: list = []

    class Rele(carregar("microsservicos", "canal").Publicador):
        def ao_receber(self, canal, metodo, p, corpo):
            chegaram.append((metodo.delivery_tag, p.correlation_id, corpo))
            self.acordar()

    with no_endereco(url), Rele("relé") as rele:
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
    canal = conectar(url).channel()
    canal.confirm_delivery()
    canal.basic_qos(prefetch_count=LOTE)
    banco = sqlite3.connect(f"{pasta}/{fila}.db", isolation_level=None)
    banco.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS feitos (pedido TEXT PRIMARY KEY)")
    sinais.put("pronto")
    for i in range(sementes):
        canal.basic_publish("rele", "pedido.criado", json.dumps(PEDIDO), propriedades(f"x-{i:034}", "pedido.criado"), mandatory=True)
    for feitos, (metodo, p, corpo) in enumerate(canal.consume(fila), 1):
        banco.execute("INSERT OR REPLACE INTO feitos VALUES (?)", (p.correlation_id,))
        canal.basic_publish("rele", publica, corpo, propriedades(p.correlation_id, publica), mandatory=publica != "pedido.concluido")
        canal.basic_ack(metodo.delivery_tag)
        if feitos == total:
            break
    sinais.put("fim")


def vazao_do_rele(url: str, quantos: int, salto, extra) -> float:
    """Pedidos por segundo pelos quatro saltos, da primeira publicação ao último resultado."""
    with conectar(url) as conexao:
        canal = conexao.channel()
        canal.exchange_declare("rele", "topic", durable=True)
        for fila, ouve, _ in SALTOS:
            canal.queue_declare(fila, durable=True, arguments={"x-queue-type": "quorum"})
            canal.queue_bind(fila, "rele", ouve)
            canal.queue_purge(fila)
    contexto = mp.get_context("spawn")
    sinais, processos = contexto.Queue(), []
    for fila, _, publica in SALTOS:
        sementes = quantos if fila == "rele_pedidos" else 0
        processos.append(contexto.Process(target=salto, args=(url, fila, publica, sementes, quantos, sinais, extra)))
        processos[-1].start()
        assert sinais.get(timeout=60) == "pronto"
    inicio = time.perf_counter()
    for _ in SALTOS:
        assert sinais.get(timeout=600) == "fim"
    duracao = time.perf_counter() - inicio
    for processo in processos:
        processo.join()
    return quantos / duracao


# --- um pedido sozinho, e muitos clientes ---

@contextmanager
def plateia(url: str, *tipos: str):
    """(esperar mais, o que passou pelo exchange): cada item é (id do pedido, tipo, quando)."""
    with conectar(url) as conexao:
        canal, vistos = conexao.channel(), []
        fila = canal.queue_declare("", exclusive=True).method.queue
        for tipo in tipos:
            canal.queue_bind(fila, "loja", tipo)
        canal.basic_consume(fila, lambda c, m, p, corpo: vistos.append((p.correlation_id, p.type, time.perf_counter())), auto_ack=True)
        yield lambda: conexao.process_data_events(1), vistos


def latencias(loja: LojaMedida, quantos: int) -> list[float]:
    """Segundos de pedido.criado a pedido.concluido, um pedido de cada vez."""
    tempos = []
    with plateia(loja.url, "pedido.criado", "pedido.concluido") as (esperar_mais, vistos):
        for _ in range(quantos):
            loja.enviar(pedido(f"so-{time.time_ns()}", "ana", "livro"))
            while len(vistos) < 2:
                esperar_mais()
            tempos.append(abs(vistos[1][2] - vistos[0][2]))
            vistos.clear()
    return tempos


def contencao(loja: LojaMedida, clientes: int, cada: int, produtos: int) -> tuple[float, list[float]]:
    """`clientes` clientes, cada um com `cada` pedidos, um depois do outro, divididos entre `produtos` produtos.

    Devolve (pedidos por segundo, segundos de cada pedido do envio ao resultado).
    """
    marca, enviados, tempos, livres = time.time_ns(), {}, [], list(range(clientes))
    restam = {n: iter(range(cada)) for n in range(clientes)}
    with plateia(loja.url, "pedido.concluido", "pedido.cancelado") as (esperar_mais, vistos):
        inicio = time.perf_counter()
        while len(tempos) < clientes * cada:
            novos = [pedido(f"{marca}-{n}-{i}", f"c-{n}", f"p-{n % produtos}") for n in livres for i in [next(restam[n], None)] if i is not None]
            if novos:
                enviados.update((p["pedido"], time.perf_counter()) for p in novos)
                loja.enviar(*novos)
            esperar_mais()
            livres = [int(id.split("-")[1]) for id, *_ in vistos]
            tempos += [quando - enviados[id] for id, _, quando in vistos]
            vistos.clear()
        return clientes * cada / (time.perf_counter() - inicio), tempos
