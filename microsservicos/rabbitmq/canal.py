"""Receber em lote, publicar com resposta: o que um serviço faz com a sua conexão.

Um lote é o que estiver esperando na fila, até LOTE mensagens; um pedido sozinho é um lote de um,
e não espera por ninguém. Um lote é publicado inteiro antes de se esperar qualquer resposta do
broker (publisher confirms encadeados): uma espera por lote, não por mensagem. A transação do AMQP
(tx.commit) esperaria tão pouco, mas não serve: num cluster que troca de líder, o RabbitMQ 3.10
respondeu "commit" por mensagens que a fila tinha recusado, e elas se perderam (tests/broker).
`entrega` é a etiqueta da entrega (delivery tag), que o broker numera em ordem em cada canal: por
isso um ack com multiple=True vale pelo lote inteiro.
(Manual do RabbitMQ: "Consumer Acknowledgements and Publisher Confirms", "Broker Semantics",
"Quorum Queues".)
"""

import time
import uuid
from typing import NamedTuple

from coreografia import VERSAO, quem_ouve, quem_publica
from rabbitmq.acesso import BrokerFora, onde, pika
from rabbitmq.conexao import Conexao
from rabbitmq.filas import EXCHANGE, declarar
from rabbitmq.mensagem import simplificar

LOTE = 200  # mensagens por lote, no máximo


class Recebida(NamedTuple):
    """Uma mensagem como chegou, ainda sem ter sido entendida.

    devolvida: o broker já a tinha entregado a alguém, que não deu o ack (redelivered).
    """

    entrega: int
    corpo: bytes
    propriedades: dict
    devolvida: bool = False


class Ouvinte(Conexao):
    """Uma conexão que recebe de uma fila: a de um serviço, a de quem só assiste."""

    def ouvir(self, fila: str, **opcoes) -> None:
        """Começa a receber desta fila. opcoes: as de basic_consume."""
        self._chegaram: list[Recebida] = []
        self.canal.add_on_cancel_callback(self._ao_cancelar)
        self.pedir(self.canal.basic_consume, fila, self._ao_receber, **opcoes)

    def receber(self, espera: float) -> list[Recebida]:
        """As mensagens que estão esperando, até LOTE; sem nenhuma, aguarda até `espera` segundos.

        Levanta BrokerFora ou Falha se a conexão caiu, ou se o broker cancelou o consumo.
        """
        if len(self._chegaram) < LOTE:
            self.andar(0 if self._chegaram else espera)
        lote, self._chegaram = self._chegaram[:LOTE], self._chegaram[LOTE:]
        return lote

    def _ao_receber(self, canal, metodo, propriedades, corpo):
        self._chegaram.append(Recebida(metodo.delivery_tag, corpo, simplificar(propriedades),
                                       metodo.redelivered))
        self.acordar()

    def _ao_cancelar(self, quadro):
        # O pika não trata isto como erro: sem esta linha o serviço ficaria "saudável" e surdo.
        self.derrubar(BrokerFora(f"o RabbitMQ em {onde()} cancelou o consumo da fila (ela foi "
                                 "apagada ou mudou de nó)"))


class Publicador(Conexao):
    """Uma conexão que publica, num canal só para isso, e sabe o que o broker respondeu."""

    def preparar(self) -> None:
        self.abrir_saida()

    def abrir_saida(self) -> None:
        """Abre o canal das publicações; chamada de novo, troca-o por um que nada recusou ainda."""
        self._ultima = 0  # o broker numera as publicações de um canal a partir de 1
        self._sem_resposta: set[int] = set()
        self._recusadas: set[int] = set()
        self.saida = self.abrir_canal()
        self.saida.add_on_return_callback(self._ao_devolver)
        self.pedir(self.saida.confirm_delivery, self._ao_responder)

    def enfileirar(self, exchange: str, rota: str, corpo, propriedades, mandatory: bool) -> int:
        """Deixa uma mensagem pronta para sair no próximo passo; devolve o número dela."""
        self.saida.basic_publish(exchange, rota, corpo, propriedades, mandatory)
        self._ultima += 1
        self._sem_resposta.add(self._ultima)
        return self._ultima

    def esperar_respostas(self) -> set[int]:
        """Espera a resposta por tudo o que se enfileirou; devolve os números que o broker recusou.

        Levanta BrokerFora se ele não respondeu a tempo, ou se alguma não achou fila.
        """
        self.esperar(lambda: not self._sem_resposta)
        recusadas = self._recusadas
        if recusadas:
            # Um canal que uma fila quorum recusou pode não saber que o limite dela já é outro, e
            # recusar por ela para sempre (rabbit_fifo_client.erl).
            self.saida.close()
            self.abrir_saida()
        return recusadas

    def _ao_responder(self, quadro) -> None:
        resposta = quadro.method
        desde = min(self._sem_resposta) if resposta.multiple else resposta.delivery_tag
        respondidas = self._sem_resposta.intersection(range(desde, resposta.delivery_tag + 1))
        self._sem_resposta -= respondidas
        if isinstance(resposta, pika.spec.Basic.Nack):
            self._recusadas |= respondidas
        if not self._sem_resposta:
            self.acordar()

    def _ao_devolver(self, canal, metodo, propriedades, corpo):
        self.derrubar(BrokerFora(f"nenhuma fila recebeu {metodo.routing_key}: alguém apagou uma "
                                 "fila; declaro de novo"))


class Canal(Ouvinte, Publicador):
    """A ligação de um serviço: recebe da fila que tem o nome dele, e publica no exchange."""

    def preparar(self) -> None:
        declarar(self)
        self.abrir_saida()
        self.pedir(self.canal.basic_qos, prefetch_count=2 * LOTE)
        self.ouvir(self.quem)

    def publicar(self, eventos: list[tuple], mortas: list[tuple], ate_entrega: int) -> set[int]:
        """Publica um lote, dá o ack do que foi recebido e espera a resposta do broker por tudo.

        eventos: (ordem, tipo, pedido, corpo, causa). mortas: (ordem, corpo, propriedades, motivo).
        ate_entrega: a última mensagem já tratada (0: nenhuma). Devolve as posições recusadas, os
        eventos primeiro: uma fila cheia, por exemplo. As outras o broker guardou. Levanta
        BrokerFora se ele não respondeu, ou se algum evento não achou fila.
        """
        agora, primeira, fila = int(time.time()), self._ultima + 1, f"{self.quem}.mortas"
        for _, tipo, pedido, corpo, causa in eventos:
            self.enfileirar(EXCHANGE, tipo, corpo, envelope(tipo, pedido, causa, agora),
                            mandatory=bool(quem_ouve(tipo)))
        for _, corpo, propriedades, motivo in mortas:
            self.enfileirar("", fila, corpo, refazer(propriedades, motivo), mandatory=True)
        if ate_entrega:  # o efeito e os eventos já estão no banco: a fila pode esquecer o lote
            self.canal.basic_ack(ate_entrega, multiple=True)
        return {numero - primeira for numero in self.esperar_respostas()}


class Plateia(Ouvinte):
    """Assiste a todos os eventos por uma fila só sua, que some com ela; os serviços nem sabem."""

    def preparar(self) -> None:
        declarar(self)
        fila = f"{EXCHANGE}.plateia.{uuid.uuid4()}"
        self.pedir(self.canal.queue_declare, fila, exclusive=True, auto_delete=True)
        self.pedir(self.canal.queue_bind, fila, EXCHANGE, "#")
        self.ouvir(fila, auto_ack=True)


def envelope(tipo: str, pedido: str, causa: str | None, agora: int):
    """As propriedades de um evento, como o contrato manda. agora: segundos desde 1970."""
    return pika.BasicProperties(
        content_type="application/json", delivery_mode=2, correlation_id=pedido,
        message_id=f"{pedido}:{tipo}", type=tipo, app_id=quem_publica(tipo), timestamp=agora,
        headers={"causa": causa, "versao": VERSAO})


def refazer(propriedades: dict, motivo: str | None):
    """As propriedades para republicar uma mensagem.

    propriedades: as que simplificar() devolveu. motivo: o da morte; None, volta à fila do serviço.
    """
    eram = propriedades.get("headers") or {}
    cabecalhos = {"causa": eram.get("causa"), "versao": eram.get("versao"), "motivo": motivo}
    return pika.BasicProperties(**{**propriedades, "headers": cabecalhos, "delivery_mode": 2})
