"""Receber em lote, publicar com resposta: o que um serviço faz com a sua conexão.

Um lote é o que estiver esperando na fila, até LOTE mensagens; um pedido sozinho é
um lote de um, e não espera por ninguém. Um lote é publicado inteiro antes de se esperar
qualquer resposta do broker (publisher confirms encadeados): uma espera por lote, não
por mensagem. A transação do AMQP (tx.commit) esperaria tão pouco, mas não serve: num
cluster que troca de líder, o RabbitMQ 3.10 respondeu "commit" por mensagens que a fila
tinha recusado, e elas se perderam (tests/test_cluster.py).
(Manual do RabbitMQ: "Consumer Acknowledgements and Publisher Confirms",
"Broker Semantics", "Quorum Queues".)
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Callable, NamedTuple

from rabbitmq.conexao import conectar, onde, pika, traduzindo
from coreografia import VERSAO, quem_ouve, quem_publica
from rabbitmq.filas import EXCHANGE, declarar
from rabbitmq.propriedades import a_republicar, simplificar
from rabbitmq.erros import BrokerFora, explicar_bloqueio

LOTE = 200  # mensagens por lote, no máximo
MAIOR_CABECALHO = 32 * 1024  # bytes de propriedades ao republicar; um quadro do AMQP leva 128 KiB
PACIENCIA = 60.0  # segundos pela resposta de um lote, antes de reconectar e publicar de novo


class Recebida(NamedTuple):
    """Uma mensagem como chegou, ainda sem ter sido entendida."""

    entrega: int
    corpo: bytes
    propriedades: dict


class Ligacao:
    """Uma conexão que recebe de uma fila; serve ao serviço e a quem só assiste. Quem abre, fecha."""

    def __init__(self, quem: str):
        self._chegaram: list[Recebida] = []
        self._perdido: str | None = None
        self._conexao = conectar(quem)
        try:
            with traduzindo():
                self._canal = self._conexao.channel()
                declarar(self._canal)
                self._canal.add_on_cancel_callback(self._ao_cancelar)
                self._preparar(quem)
        except Exception:
            self.fechar()
            raise

    def fechar(self) -> None:
        """Larga a conexão: o que estava em mãos, sem ack, volta à fila na hora.

        Uma conexão apenas esquecida continuaria ouvinte, e seguraria até o próximo
        heartbeat as mensagens que já recebeu.
        """
        with suppress(Exception):  # a que já caiu não precisa ser fechada
            self._conexao.close()

    def receber(self, espera: float) -> list[Recebida]:
        """As mensagens que estão esperando, até LOTE; se não há nenhuma, aguarda até `espera` segundos.

        Levanta BrokerFora se a conexão caiu ou se o broker cancelou o consumo.
        """
        with traduzindo():
            if len(self._chegaram) < LOTE:
                self._conexao.process_data_events(0 if self._chegaram else espera)
        if self._perdido:
            raise BrokerFora(self._perdido)
        lote, self._chegaram = self._chegaram[:LOTE], self._chegaram[LOTE:]
        return lote

    def _ao_receber(self, canal, metodo, propriedades, corpo):
        self._chegaram.append(Recebida(metodo.delivery_tag, corpo, em_dicionario(propriedades)))

    def _ao_cancelar(self, metodo):
        # O pika não trata isto como erro: sem esta linha o serviço ficaria "saudável" e surdo.
        self._perdido = "o RabbitMQ cancelou o consumo da fila (ela foi apagada ou mudou de nó)"


class Canal(Ligacao):
    """A ligação de um serviço: recebe da sua fila e publica no exchange.

    servico: o nome dele e da sua fila. ao_bloquear: recebe o porquê, quando o broker deixa
    de aceitar publicações, e None quando volta a aceitá-las. Levanta o mesmo que conectar().
    """

    def __init__(self, servico: str, ao_bloquear: Callable[[str | None], None]):
        self._ao_bloquear = ao_bloquear
        super().__init__(servico)

    def _preparar(self, servico: str) -> None:
        self._devolvida: str | None = None
        self._recusou = False
        self._ultima = 0  # o broker numera as publicações de um canal a partir de 1
        self._sem_resposta: set[int] = set()
        self._canal.basic_qos(prefetch_count=2 * LOTE)
        # O BlockingChannel vai ao socket, e espera a resposta, a cada mensagem. O canal que ele
        # embrulha enfileira e conta as respostas: várias vezes mais pedidos por segundo.
        # (_impl é interno do pika 1.x; por isso requirements.txt fixa pika<2.)
        self._por_baixo = self._canal._impl
        # Aqui também por baixo: o BlockingConnection só avisaria depois de escoar o que tem para enviar,
        # e um broker que bloqueia a conexão não lê mais nada dela. (Manual: "Blocked Connection Notifications".)
        bloqueio = str(explicar_bloqueio(onde()))
        self._conexao._impl.add_on_connection_blocked_callback(lambda *_: self._ao_bloquear(bloqueio))
        self._conexao._impl.add_on_connection_unblocked_callback(lambda *_: self._ao_bloquear(None))
        self._por_baixo.add_on_return_callback(self._ao_devolver)
        aceitou: list = []
        self._por_baixo.confirm_delivery(self._ao_responder, callback=aceitou.append)
        while not aceitou:
            self._conexao.process_data_events(0.01)
        self._canal.basic_consume(servico, self._ao_receber)

    def publicar(self, eventos: list[tuple], mortas: list[tuple], ate_entrega: int) -> None:
        """Publica um lote, dá o ack do que foi recebido e espera a resposta do broker por tudo.

        eventos: (ordem, tipo, pedido, corpo, causa). mortas: (fila, corpo, propriedades, motivo).
        ate_entrega: a última mensagem já tratada (0: nenhuma). Só retorna sem erro quando
        o broker guardou tudo; levanta BrokerFora se ele recusou, se não respondeu em
        PACIENCIA segundos ou se algum evento não achou fila.
        """
        agora = int(time.time())
        with traduzindo():
            for _, tipo, pedido, corpo, causa in eventos:
                self._enfileirar(EXCHANGE, tipo, corpo, pika.BasicProperties(
                    content_type="application/json", delivery_mode=2, correlation_id=pedido,
                    message_id=f"{pedido}:{tipo}", type=tipo, app_id=quem_publica(tipo), timestamp=agora,
                    headers={"causa": causa, "versao": VERSAO}), mandatory=bool(quem_ouve(tipo)))
            for fila, corpo, propriedades, motivo in mortas:
                self._enfileirar("", fila, corpo, refazer(propriedades, motivo), mandatory=True)
            if ate_entrega:  # o efeito e os eventos já estão no banco: a fila pode esquecer o lote
                self._canal.basic_ack(ate_entrega, multiple=True)
            self._esperar_respostas()
        if self._devolvida:
            raise BrokerFora(f"nenhuma fila recebeu {self._devolvida}: alguém apagou uma fila; declaro de novo")
        if self._recusou:
            raise BrokerFora(f"o RabbitMQ em {onde()} recusou uma publicação: a fila pode estar trocando de líder")

    def _enfileirar(self, exchange: str, rota: str, corpo, propriedades, mandatory: bool) -> None:
        self._por_baixo.basic_publish(exchange, rota, corpo, propriedades, mandatory)
        self._ultima += 1
        self._sem_resposta.add(self._ultima)

    def _esperar_respostas(self) -> None:
        prazo = time.monotonic() + PACIENCIA
        while self._sem_resposta:
            self._conexao.process_data_events(1)
            if time.monotonic() > prazo:
                raise BrokerFora(f"o RabbitMQ em {onde()} não respondeu por uma publicação em {PACIENCIA:.0f} s")

    def _ao_responder(self, quadro) -> None:
        resposta = quadro.method
        self._recusou = self._recusou or isinstance(resposta, pika.spec.Basic.Nack)
        if resposta.multiple:
            self._sem_resposta = {n for n in self._sem_resposta if n > resposta.delivery_tag}
        else:
            self._sem_resposta.discard(resposta.delivery_tag)
        if not self._sem_resposta:
            self._conexao.call_later(0, lambda: None)  # acorda quem espera em process_data_events

    def _ao_devolver(self, canal, metodo, propriedades, corpo):
        self._devolvida = metodo.routing_key


class Plateia(Ligacao):
    """Assiste a todos os eventos por uma fila só sua, que some com ela; os serviços nem sabem."""

    def __init__(self):
        super().__init__("plateia")

    def _preparar(self, quem: str) -> None:
        fila = self._canal.queue_declare("", exclusive=True, auto_delete=True).method.queue
        self._canal.queue_bind(fila, EXCHANGE, "#")
        self._canal.basic_consume(fila, self._ao_receber, auto_ack=True)


def em_dicionario(propriedades) -> dict:
    """As propriedades que foram mandadas, num dicionário que cabe no banco."""
    return simplificar(vars(propriedades))


def refazer(propriedades: dict, motivo: str | None):
    """As propriedades para republicar uma mensagem, com o motivo da morte nos cabeçalhos.

    Se ainda assim não couberem num quadro do AMQP, vai só o motivo: o broker fecharia a
    conexão, e a mensagem morta nunca chegaria ao seu lugar.
    """
    seguras = pika.BasicProperties(**a_republicar(propriedades, motivo), delivery_mode=2)
    try:
        if len(b"".join(seguras.encode())) <= MAIOR_CABECALHO:
            return seguras
    except Exception:
        pass  # algo que o pika não sabe escrever
    return pika.BasicProperties(headers={} if motivo is None else {"motivo": motivo}, delivery_mode=2)
