"""Os tropeços da conexão com o broker, cada um numa linha em português.

Reconhece os erros do pika pelo nome da classe, e por isso não precisa importá-lo.
"""

from __future__ import annotations

import socket
import ssl

from comum.falha import Falha


class BrokerFora(Falha):
    """Não há broker, ou a conexão caiu: vale a pena tentar de novo."""


def explicar(erro: BaseException, onde: str) -> Falha:
    """O que houve e o que fazer.

    erro: o que o pika, o socket ou o TLS levantou. onde: o endereço, sem senha.
    Devolve BrokerFora se tentar de novo adianta; senão, Falha de código 2.
    """
    causas = _causas(erro)
    nomes = {type(causa).__name__ for causa in causas}
    texto = " ".join(str(causa) for causa in causas)
    # Só vale o que o broker disse. Os "Probable..." do pika são palpites: um broker que morre
    # no meio do aperto de mão também os provoca, e dele não se desiste.
    if "ACCESS_REFUSED" in texto:
        return Falha(f"o RabbitMQ em {onde} recusou o usuário ou a senha: confira RABBITMQ_URL", 2)
    if "NOT_ALLOWED" in texto:
        return Falha(f"o RabbitMQ em {onde} não tem esse vhost, ou o usuário não pode usá-lo: confira RABBITMQ_URL", 2)
    if "PRECONDITION_FAILED" in texto:
        return Falha(f"em {onde} há filas com os mesmos nomes e outros argumentos, de outro programa: "
                     "use outro vhost em RABBITMQ_URL, ou apague-as", 2)
    # Um broker que cai no meio de uma conexão segura não é um certificado errado.
    if any(isinstance(causa, ssl.SSLError) and not isinstance(causa, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
           for causa in causas):
        return Falha(f"a conexão segura com {onde} falhou: confira o certificado (SSL_CERT_FILE) e o nome do servidor", 2)
    if nomes & {"IncompatibleProtocolError", "ProtocolVersionMismatch"}:
        return Falha(f"o que responde em {onde} não é um RabbitMQ (ou a porta é de TLS: use amqps://)", 2)
    if any(isinstance(causa, socket.gaierror) for causa in causas):
        return BrokerFora(f"não conheço o servidor de {onde}: confira RABBITMQ_URL")
    if "ConnectionBlockedTimeout" in nomes:
        return explicar_bloqueio(onde)
    if "ConnectionClosedByBroker" in nomes:
        return BrokerFora(f"o RabbitMQ em {onde} encerrou a conexão")
    return BrokerFora(f"o RabbitMQ em {onde} não responde")


def explicar_bloqueio(onde: str) -> BrokerFora:
    """O broker lê e entrega, mas não aceita publicações. (Manual do RabbitMQ, "Memory and Disk Alarms".)"""
    return BrokerFora(f"o RabbitMQ em {onde} não aceita publicações agora (memória ou disco no limite): "
                      "alivie-o (rabbitmqctl status diz o que falta); nada se perde")


def _causas(erro: BaseException) -> list[BaseException]:
    """O pika embrulha o erro original, às vezes vários, dentro de outros."""
    vistas: list[BaseException] = []
    fila: list = [erro]
    while fila:
        atual = fila.pop(0)
        if isinstance(atual, BaseException) and atual not in vistas:
            vistas.append(atual)
            fila += [atual.__cause__, atual.__context__, *atual.args, *getattr(atual, "exceptions", ())]
    return vistas
