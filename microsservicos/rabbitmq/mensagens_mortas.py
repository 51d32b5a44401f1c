"""Ler as filas de mensagens mortas sem as gastar, e devolver à fila do serviço o que lá está.

O AMQP não deixa espiar uma fila: ler é receber, e o que um recebe os outros deixam de ver. Por
isso quem lê pega tudo depressa, guarda num arquivo temporário, devolve tudo à fila e larga a
conexão; só então se mostra qualquer coisa. Dois leitores se esperam: cada um vê todas.
(Manual do RabbitMQ: "Queues", seção "Exclusive Queues"; "Dead Letter Exchanges".)
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import Iterator

from comum.falha import Falha
from rabbitmq.canal import Publicador, em_dicionario, refazer
from rabbitmq.conexao import onde, pika
from rabbitmq.erros import BrokerFora
from rabbitmq.filas import declarar

CHAVE = "loja.leitura"  # uma fila exclusiva: só um leitor de cada vez a tem
ESPERA_PELA_VEZ = 0.2  # segundos entre dois pedidos da chave
PRAZO_DA_VOLTA = 10.0  # segundos para o que foi lido voltar à fila
PORQUES = {  # x-first-death-reason
    "expired": "venceu o prazo de uma política (message-ttl)",
    "maxlen": "não cabia na fila (max-length com overflow drop-head, de uma política)",
    "delivery_limit": "foi entregue vezes demais sem ack (delivery-limit)",
    "rejected": "um consumidor a rejeitou",
}


class Leitor(Publicador):
    """Lê filas de mortas, uma mensagem por vez; antes, espera a sua vez de ler.

    loja: de quem o vhost tem de ser. Levanta o mesmo que Conexao().
    """

    def __init__(self, loja: str | None):
        self.loja = loja
        super().__init__("mensagens mortas")

    def preparar(self, quem: str) -> None:
        declarar(self, self.loja)
        self.abrir_saida()
        self.canal.add_callback(self._ao_chegar, [pika.spec.Basic.GetEmpty], one_shot=False)
        while not self.perguntar(405, "queue_declare", CHAVE, exclusive=True):
            self.andar(ESPERA_PELA_VEZ)

    def quantas(self, fila: str) -> int:
        return self.pedir(self.canal.queue_declare, fila, passive=True).message_count

    def ler(self, fila: str) -> Iterator[tuple[int, bytes, dict]]:
        """As mensagens que já estavam na fila: (entrega, corpo, propriedades). Ficam em mãos.

        Uma que morra de novo enquanto isso fica para a próxima vez. Levanta Falha (código 1) se
        outro programa segura parte delas.
        """
        total = self.quantas(fila)
        for lidas in range(total):
            self._chegou: tuple = ()
            self.canal.basic_get(fila, self._ao_chegar)
            self.esperar(lambda: self._chegou)
            if len(self._chegou) == 1:  # a fila diz que está vazia
                raise Falha(f"li {lidas} de {total} mensagens de {fila}: outro programa segura as "
                            "outras; encerre-o e tente de novo", 1)
            _, metodo, propriedades, corpo = self._chegou
            yield metodo.delivery_tag, corpo, em_dicionario(propriedades)

    def _ao_chegar(self, *resposta) -> None:
        self._chegou = resposta
        self.acordar()

    def tirar(self, entrega: int, fila: str) -> None:
        """Esta sai da fila; espera que o broker o tenha visto.

        Uma fila quorum guarda na memória da conexão os acks que passam de algumas dezenas, e os
        perde quando ela se fecha.
        """
        self.canal.basic_ack(entrega)
        self.quantas(fila)

    def devolver(self, fila: str, quantas: int) -> None:
        """O que continua em mãos, `quantas` mensagens, volta à fila; espera que volte."""
        prazo, antes = time.monotonic() + PRAZO_DA_VOLTA, self.quantas(fila)
        self.canal.basic_nack(0, multiple=True, requeue=True)
        while self.quantas(fila) < antes + quantas and time.monotonic() < prazo:
            self.andar(0.02)


def motivo_da_morte(propriedades: dict) -> str:
    """Por que a mensagem está nas mortas: nas palavras do serviço, ou do broker.

    propriedades: as que ler() entrega.
    """
    cabecalhos = propriedades.get("headers") or {}
    palavra = str(cabecalhos.get("x-first-death-reason", "não se sabe por quê"))
    return str(cabecalhos.get("motivo", "o broker desistiu de entregá-la: "
                              + PORQUES.get(palavra, palavra)))


@contextmanager
def ler(servicos: tuple[str, ...], loja: str | None) -> Iterator[Iterator[tuple[str, bytes, dict]]]:
    """As mensagens mortas destes serviços, (servico, corpo, propriedades), já fora da rede.

    Levanta o mesmo que Leitor() e Leitor.ler().
    """
    with closing(sqlite3.connect("", isolation_level=None)) as guardadas:  # "": arquivo temporário
        guardadas.execute("CREATE TABLE mortas (servico TEXT, corpo BLOB, propriedades TEXT)")
        with Leitor(loja) as leitor:
            for servico in servicos:
                guardadas.execute("BEGIN")
                lidas = guardadas.executemany(
                    "INSERT INTO mortas VALUES (?, ?, ?)",
                    ((servico, corpo, json.dumps(propriedades))
                     for _, corpo, propriedades in leitor.ler(f"{servico}.mortas")))
                guardadas.execute("COMMIT")
                leitor.devolver(f"{servico}.mortas", lidas.rowcount)
        yield ((servico, corpo, json.loads(propriedades)) for servico, corpo, propriedades
               in guardadas.execute("SELECT * FROM mortas"))


def reenviar(servico: str, ids: list[str], loja: str | None) -> int:
    """Devolve à fila do serviço as suas mensagens mortas; `ids`, se há algum, escolhe quais.

    Cada uma só sai das mortas depois que o broker respondeu por ela na fila: morrer no meio a
    repete, e a caixa de entrada do serviço reconhece a repetição. Devolve quantas foram. Levanta
    o mesmo que Leitor() e Leitor.ler(), e Falha se o broker recusou alguma.
    """
    mortas, foram, lidas, recusadas = f"{servico}.mortas", 0, 0, set()
    with Leitor(loja) as leitor:
        for entrega, corpo, propriedades in leitor.ler(mortas):
            lidas += 1
            if recusadas or ids and propriedades.get("message_id") not in ids:
                continue
            leitor.enfileirar("", servico, corpo, refazer(propriedades, None), True)
            recusadas = leitor.esperar_respostas()
            if not recusadas:
                leitor.tirar(entrega, mortas)
                foram += 1
        leitor.devolver(mortas, lidas - foram)
    if recusadas:
        raise BrokerFora(f"o RabbitMQ em {onde()} recusou uma mensagem: a fila «{servico}» está "
                         f"cheia; {foram} foram devolvidas, e as outras seguem em {mortas}: tente "
                         "de novo quando houver lugar")
    return foram
