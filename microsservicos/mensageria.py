"""O único arquivo que conhece o pika: conectar, receber em lote, publicar com resposta.

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

import logging
import os
import sys
import time
import uuid
from contextlib import contextmanager, suppress
from typing import Callable, NamedTuple
from urllib.parse import urlsplit

from coreografia import EVENTOS, SERVICOS, VERSAO, o_que_ouve, quem_ouve, quem_publica
from propriedades import a_republicar, simplificar
from tela import Falha
from tropecos import BrokerFora, explicar, explicar_bloqueio

try:
    import pika
    from pika import exceptions as erros
except ImportError:
    print("falta o pacote pika: instale com  python -m pip install -r requirements.txt  "
          "(ou use o Python da pasta .venv, como no README)", file=sys.stderr)
    sys.exit(2)

# O pika avisa cada tropeço por conta própria; aqui, cada falha vira uma linha nossa.
logging.getLogger("pika").setLevel(logging.CRITICAL + 1)

EXCHANGE = "loja"
LOTE = 200  # mensagens por lote, no máximo
# Barreira distante, para uma mensagem que mate o processo antes de ele poder contar as
# tentativas. Pequena demais, condenaria mensagens sãs de um serviço morto muitas vezes:
# cada conexão que cai conta uma entrega para tudo o que estava em mãos.
LIMITE_DE_ENTREGAS = 100_000
MAIOR_CABECALHO = 32 * 1024  # bytes de propriedades ao republicar; um quadro do AMQP leva 128 KiB
PACIENCIA = 60.0  # segundos pela resposta de um lote, antes de reconectar e publicar de novo
SEGUNDA_OPINIAO = 0.5  # segundos antes de acreditar que ali não há mesmo um RabbitMQ que nos aceite
URL_PADRAO = "amqp://guest:guest@localhost:5672/"


class Propriedades(pika.BasicProperties):
    """As de uma mensagem que chega, por piores que sejam.

    O pika derruba a conexão inteira quando não sabe ler as de uma só (uma data no ano 36812,
    milhares de tabelas umas dentro das outras); a mensagem voltaria à fila, e a conexão
    seguinte cairia do mesmo jeito, para sempre. Aqui, só a mensagem é que não se entende.
    """

    def decode(self, encoded, offset=0):
        try:
            return super().decode(encoded, offset)
        except Exception:
            self.__init__()
            self.ilegiveis = True
            return self


# É por esta tabela que o pika acha a classe das propriedades de uma mensagem que chega.
pika.spec.props[pika.BasicProperties.INDEX] = Propriedades


class Recebida(NamedTuple):
    """Uma mensagem como chegou, ainda sem ter sido entendida."""

    entrega: int
    corpo: bytes
    propriedades: dict


def enderecos() -> list[pika.URLParameters]:
    """Os endereços de RABBITMQ_URL, na ordem em que serão tentados; Falha (código 2) se ilegíveis."""
    urls = [u.strip() for u in os.environ.get("RABBITMQ_URL", URL_PADRAO).split(",") if u.strip()]
    try:
        lista = []
        for url in urls:
            partes = urlsplit(url)
            if partes.scheme not in ("amqp", "amqps") or not partes.hostname or partes.port == 0:
                raise ValueError
            # Uma senha com / ? ou # sem código passaria por porta, vhost ou opção, e seria mostrada na tela.
            if "@" in partes.path + partes.query + partes.fragment:
                raise ValueError
            lista.append(pika.URLParameters(url))
        if not lista:
            raise ValueError
    except Exception:  # o pika levanta de tudo aqui, e o texto do erro poderia mostrar a senha
        raise Falha("RABBITMQ_URL não está na forma amqp://usuario:senha@servidor:5672/vhost "
                    "(na senha, escreva / @ : ? # , como %2F %40 %3A %3F %23 %2C; entre endereços, vírgula)", 2) from None
    for endereco in lista:
        endereco.heartbeat = 10  # segundos; uma rede que só engole pacotes é percebida entre 15 e 30
        endereco.blocked_connection_timeout = 15
        endereco.socket_timeout = endereco.stack_timeout = 5
        endereco.connection_attempts = 1
    return lista


def onde() -> str:
    """Os endereços para mostrar na tela: sem usuário nem senha."""
    return ", ".join(f"{e.host}:{e.port}{'' if e.virtual_host == '/' else '/' + e.virtual_host}" for e in enderecos())


def endereco_local() -> tuple | None:
    """(porta, usuário, senha, vhost) do primeiro endereço que é desta máquina, sem TLS; ou None."""
    for endereco in enderecos():
        if endereco.host in ("localhost", "127.0.0.1", "::1") and endereco.ssl_options is None:
            quem = endereco.credentials
            return endereco.port, quem.username, quem.password, endereco.virtual_host
    return None


def conectar(quem: str) -> pika.BlockingConnection:
    """Uma conexão com o primeiro endereço que responde.

    quem: o nome que aparece na página de administração.
    Levanta BrokerFora se nenhum responde, e Falha (código 2) se algum recusa a entrada.
    """
    lista = enderecos()
    for endereco in lista:
        endereco.client_properties = {"connection_name": f"loja: {quem}"}
    try:
        return pika.BlockingConnection(lista)
    except Exception as erro:
        primeira = explicar(erro, onde())
    if isinstance(primeira, BrokerFora):
        raise primeira
    # Um broker que morre bem agora parece outra coisa (nem é um RabbitMQ): só a segunda vez convence.
    time.sleep(SEGUNDA_OPINIAO)
    try:
        return pika.BlockingConnection(lista)
    except Exception as erro:
        raise explicar(erro, onde()) from None


def declarar(canal) -> None:
    """Cria as filas, o exchange e as ligações de todos; repetir não muda nada.

    Qualquer serviço declara tudo: assim o primeiro a subir já guarda os eventos
    dos que ainda não subiram. O exchange vem por último: só se publica em filas que
    já sobreviveriam a um kill -9 no broker.
    """
    novas = not _ha_exchange(canal.connection)
    for servico in SERVICOS:
        mortas = f"{servico}.mortas"
        limite = {"x-queue-type": "quorum", "x-delivery-limit": LIMITE_DE_ENTREGAS}
        canal.queue_declare(mortas, durable=True, arguments=limite)
        canal.queue_declare(servico, durable=True, arguments={
            **limite, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": mortas})
    if novas:
        _assentar(canal)
    canal.exchange_declare(EXCHANGE, "topic", durable=True)
    for servico in SERVICOS:
        for tipo in o_que_ouve(servico):
            canal.queue_bind(servico, EXCHANGE, tipo)


def _assentar(canal) -> None:
    """Faz o RabbitMQ escrever o nome da última fila quorum criada.

    O 3.10 o guarda na memória até criar a seguinte, ou por um segundo (ra_directory.erl). Morto nesse
    meio-tempo, volta com uma fila que existe, não responde, e não tem o que lhe foi confirmado.
    """
    seguinte = f"{EXCHANGE}.{uuid.uuid4()}"
    canal.queue_declare(seguinte, durable=True, arguments={"x-queue-type": "quorum"})
    canal.queue_delete(seguinte)


def _ha_exchange(conexao) -> bool:
    try:
        canal = conexao.channel()
        canal.exchange_declare(EXCHANGE, passive=True)
        canal.close()
        return True
    except erros.ChannelClosedByBroker as erro:
        if erro.reply_code == 404:
            return False
        raise


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


class traduzindo:
    """Dentro deste bloco, todo erro do pika sai como BrokerFora ou Falha."""

    def __enter__(self):
        return self

    def __exit__(self, tipo, erro, rastro):
        if isinstance(erro, (erros.AMQPError, OSError)):
            raise explicar(erro, onde()) from None


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


def profundidades() -> dict[str, int]:
    """Quantas mensagens esperam em cada fila do projeto. Levanta o mesmo que conectar()."""
    with avulso() as canal:
        return {fila: canal.queue_declare(fila, passive=True).method.message_count
                for servico in SERVICOS for fila in (servico, f"{servico}.mortas")}


def esvaziar_filas() -> None:
    """Apaga e cria de novo as filas do projeto, com o que esperava nelas. Levanta o mesmo que conectar()."""
    with avulso() as canal:
        canal.exchange_delete(EXCHANGE)
        for servico in SERVICOS:
            canal.queue_delete(servico)
            canal.queue_delete(f"{servico}.mortas")
        declarar(canal)


@contextmanager
def avulso():
    """Um canal para uma tarefa curta, fechado ao fim dela."""
    conexao = conectar("tarefa avulsa")
    try:
        with traduzindo():
            canal = conexao.channel()
            declarar(canal)
            yield canal
    finally:
        if conexao.is_open:
            conexao.close()
