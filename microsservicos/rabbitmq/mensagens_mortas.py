"""Ler as filas de mensagens mortas sem as gastar, e devolver à fila do serviço o que lá está.

O AMQP não deixa espiar uma fila: ler é receber, e o que um recebe os outros deixam de ver. Por
isso quem lê pega tudo depressa, guarda num arquivo temporário, devolve tudo à fila e larga a
conexão; só então se mostra qualquer coisa. Dois leitores se esperam: cada um vê todas.
(Manual do RabbitMQ: "Queues", seção "Exclusive Queues"; "Consumer Prefetch".)
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import Iterator

from comum.falha import Falha
from rabbitmq.canal import Ouvinte, Publicador, Recebida, refazer
from rabbitmq.conexao import onde, traduzindo
from rabbitmq.erros import BrokerFora
from rabbitmq.filas import com_dica

CHAVE = "loja.leitura"  # uma fila exclusiva: só um leitor de cada vez a tem
MAIOR_PREFETCH = 65_535  # mensagens em mãos por consumidor; é um inteiro de 16 bits
PACIENCIA = 10.0  # segundos sem chegar nada, antes de concluir que outro programa segura o resto
ESPERA_PELA_VEZ = 0.2  # segundos entre dois pedidos da chave
PORQUES = {  # x-first-death-reason
    "expired": "venceu o prazo de uma política (message-ttl)",
    "maxlen": "não cabia na fila (max-length com overflow drop-head, de uma política)",
    "delivery_limit": "foi entregue vezes demais sem ack (delivery-limit)",
    "rejected": "um consumidor a rejeitou",
}


class Leitor(Ouvinte, Publicador):
    """Lê uma fila de mortas inteira, ou espera a sua vez de ler."""

    def __init__(self, loja: str | None):
        super().__init__("mensagens mortas", loja)

    def _preparar(self, quem: str) -> None:
        self.primeira, self.ultima = 1, 0  # as entregas em mãos
        self.abrir_saida()
        while not self.perguntar(405, "queue_declare", CHAVE, exclusive=True):
            self.andar(ESPERA_PELA_VEZ)

    def quantas(self, fila: str) -> int:
        return self.pedir(self.canal.queue_declare, fila, passive=True).message_count

    def ler(self, fila: str) -> Iterator[Recebida]:
        """As mensagens que já estavam na fila. Ficam em mãos.

        Uma que morra de novo enquanto isso fica para a próxima vez. Levanta Falha (código 1) se
        outro programa segura parte delas.
        """
        faltam = total = self.quantas(fila)
        etiquetas, self.primeira = [], self.ultima + 1
        for _ in range(0, total, MAIOR_PREFETCH):
            with traduzindo():
                self.canal.basic_qos(prefetch_count=min(total, MAIOR_PREFETCH))
                etiquetas.append(self.canal.basic_consume(fila, self._ao_receber))
        ultima = time.monotonic()
        while faltam:
            chegaram = self.receber(0.5)
            for recebida in chegaram[:faltam]:
                self.ultima = recebida.entrega
                yield recebida
            faltam -= min(len(chegaram), faltam)
            if chegaram:
                ultima = time.monotonic()
            elif time.monotonic() - ultima > PACIENCIA:
                raise Falha(f"li {total - faltam} de {total} mensagens de {fila}: outro programa "
                            "segura as outras; encerre-o e tente de novo", 1)
        for etiqueta in etiquetas:
            self.pedir(self.canal.basic_cancel, etiqueta)

    def repartir(self, fila: str, tiradas: set[int]) -> None:
        """Do que ler() entregou, `tiradas` saem da fila e as outras voltam; espera que voltem.

        Um ack para cada trecho seguido, e não para cada mensagem: uma fila quorum guarda na
        memória da conexão os que passam de algumas dezenas, e os perde quando ela se fecha.
        """
        antes = self.quantas(fila)
        for entrega in range(self.primeira, self.ultima + 1):
            if entrega < self.ultima and (entrega in tiradas) == (entrega + 1 in tiradas):
                continue  # o trecho ainda não acabou
            with traduzindo():
                if entrega in tiradas:
                    self.canal.basic_ack(entrega, multiple=True)
                else:
                    self.canal.basic_nack(entrega, multiple=True, requeue=True)
            self.quantas(fila)  # espera que o broker tenha visto este
        with traduzindo():
            self.canal.basic_nack(0, multiple=True, requeue=True)  # o que chegou depois da conta
        prazo = time.monotonic() + PACIENCIA
        voltam = self.ultima + 1 - self.primeira - len(tiradas)
        while self.quantas(fila) < antes + voltam and time.monotonic() < prazo:
            self.andar(0.02)


def abrir_leitor(loja: str | None) -> Leitor:
    with com_dica():
        return Leitor(loja)


def motivo_da_morte(propriedades: dict) -> str:
    """Por que a mensagem está nas mortas: nas palavras do serviço, ou do broker.

    propriedades: as que ler() entrega. O broker escreve o porquê na primeira vez que desiste de
    uma mensagem. (Manual do RabbitMQ, "Dead Letter Exchanges", seção "Dead-Lettered Messages".)
    """
    cabecalhos = propriedades.get("headers") or {}
    palavra = str(cabecalhos.get("x-first-death-reason", "não se sabe por quê"))
    return str(cabecalhos.get("motivo", "o broker desistiu de entregá-la: "
                              + PORQUES.get(palavra, palavra)))


@contextmanager
def ler(servicos: tuple[str, ...], loja: str | None) -> Iterator[Iterator[tuple[str, bytes, dict]]]:
    """As mensagens mortas destes serviços, (servico, corpo, propriedades), já fora da rede.

    Levanta o mesmo que Conexao() e Leitor.ler().
    """
    with closing(sqlite3.connect("", isolation_level=None)) as guardadas:  # "": arquivo temporário
        guardadas.execute("CREATE TABLE mortas (servico TEXT, corpo BLOB, propriedades TEXT)")
        with abrir_leitor(loja) as leitor:
            for servico in servicos:
                guardadas.execute("BEGIN")
                for _, corpo, propriedades, _ in leitor.ler(f"{servico}.mortas"):
                    guardadas.execute("INSERT INTO mortas VALUES (?, ?, ?)",
                                      (servico, corpo, json.dumps(propriedades)))
                guardadas.execute("COMMIT")
                leitor.repartir(f"{servico}.mortas", set())
        yield ((servico, corpo, json.loads(propriedades)) for servico, corpo, propriedades
               in guardadas.execute("SELECT * FROM mortas"))


def reenviar(servico: str, ids: list[str], loja: str | None) -> int:
    """Devolve à fila do serviço as suas mensagens mortas; `ids`, se há algum, escolhe quais.

    Cada uma só sai das mortas depois que o broker respondeu por ela na fila: morrer no meio a
    repete, e a caixa de entrada do serviço reconhece a repetição. Devolve quantas foram. Levanta
    o mesmo que Conexao() e Leitor.ler(), e Falha se o broker recusou alguma.
    """
    with abrir_leitor(loja) as leitor:
        publicadas: dict[int, int] = {}  # entrega -> número da publicação
        for entrega, corpo, propriedades, _ in leitor.ler(f"{servico}.mortas"):
            if ids and propriedades.get("message_id") not in ids:
                continue
            cabecalhos = propriedades.get("headers") or {}
            propriedades["headers"] = {nome: valor for nome, valor in cabecalhos.items()
                                       if nome != "motivo" and not nome.startswith("x-")}
            publicadas[entrega] = leitor.enfileirar("", servico, corpo,
                                                    refazer(propriedades, None), True)
        recusadas = leitor.esperar_respostas()
        aceitas = {entrega for entrega, numero in publicadas.items() if numero not in recusadas}
        leitor.repartir(f"{servico}.mortas", aceitas)
        foram = len(aceitas)
        if recusadas:
            raise BrokerFora(f"o RabbitMQ em {onde()} recusou {len(recusadas)} mensagens: a fila "
                             f"«{servico}» está cheia; {foram} foram devolvidas, e essas seguem em "
                             f"{servico}.mortas: tente de novo quando houver lugar")
    return foram
