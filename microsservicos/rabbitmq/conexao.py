"""A conexão com o RabbitMQ: onde ele está, como se entra, o que cada erro dele quer dizer.

É o único arquivo que importa o pika; mensageria.py, que recebe e publica por esta conexão, e
filas.py, que cria o que falta, o usam por aqui.
(Manual do RabbitMQ: "Access Control", "TLS Support", "Detecting Dead TCP Connections with Heartbeats".)
"""

from __future__ import annotations

import logging
import os
import sys
import time
from urllib.parse import urlsplit

from comum.falha import Falha
from rabbitmq.erros import BrokerFora, explicar

try:
    import pika
    from pika import exceptions as erros
except ImportError:
    print("falta o pacote pika: instale com  python -m pip install -r requirements.txt  "
          "(ou use o Python da pasta .venv, como no README)", file=sys.stderr)
    sys.exit(2)

# O pika avisa cada tropeço por conta própria; aqui, cada falha vira uma linha nossa.
logging.getLogger("pika").setLevel(logging.CRITICAL + 1)

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


class traduzindo:
    """Dentro deste bloco, todo erro do pika sai como BrokerFora ou Falha."""

    def __enter__(self):
        return self

    def __exit__(self, tipo, erro, rastro):
        if isinstance(erro, (erros.AMQPError, OSError)):
            raise explicar(erro, onde()) from None
