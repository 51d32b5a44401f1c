"""Os tropeços da conexão com o broker, cada um numa linha em português.

Quem decide são as palavras do broker, que vão entre « » na linha: os palpites do pika não valem.
Reconhece os erros do pika pelo nome da classe, e por isso não precisa importá-lo.
"""

from __future__ import annotations

import re
import socket
import ssl

from comum.falha import Falha
from comum.tela import visivel


class Passageira(Falha):
    """Vale a pena tentar de novo daqui a pouco. assunto: o que falhou, para o plantão."""

    assunto = "conexão"


class BrokerFora(Passageira):
    """Não há broker, ou a conexão caiu."""


# (o que o broker disse, o que se diz). Desistem: código 2. A primeira linha que serve é a que vale.
DEFINITIVOS = (
    (r"limit.*is reached|has reached the negotiated",
     "o RabbitMQ em {onde} está no limite: «{disse}»; encerre programas que não usa, ou peça um "
     "limite maior a quem o administra"),
    (r"Login was refused",
     "o RabbitMQ em {onde} recusou o usuário ou a senha: confira RABBITMQ_URL"),
    (r"vhost .* not found",
     "o RabbitMQ em {onde} não tem esse vhost: confira RABBITMQ_URL, ou crie-o (rabbitmqctl "
     "add_vhost)"),
    (r"NOT_ALLOWED.*access to vhost",
     "o usuário de RABBITMQ_URL não tem permissão no vhost de {onde}: «{disse}»; dê-lhe uma "
     "(rabbitmqctl set_permissions)"),
    (r"inequivalent arg .* for queue 'loja\.dona'.*current is \D*'(?P<dona>[0-9a-f]+)'",
     "o vhost de {onde} é da loja {dona}, e esta pasta de dados é de outra: use outro vhost em "
     "RABBITMQ_URL, ou a pasta daquela em --dados; se ela já não existe: python orquestracao.py "
     "--limpar --tomar-vhost"),
    (r"inequivalent arg",
     "em {onde} há filas com os mesmos nomes e outros argumentos, de outro programa: use outro "
     "vhost em RABBITMQ_URL («{disse}»)"),
    (r"ACCESS_REFUSED",
     "falta uma permissão ao usuário de RABBITMQ_URL em {onde}: «{disse}»; o README diz quais "
     "são (rabbitmqctl set_permissions)"),
)
# (nome da exceção do pika, adianta tentar de novo?, o que se diz)
OUTROS = (
    ("IncompatibleProtocolError|ProtocolVersionMismatch", False,
     "o que responde em {onde} não é um RabbitMQ (ou a porta é de TLS: use amqps://)"),
    ("ConnectionBlockedTimeout", True,
     "o RabbitMQ em {onde} não aceita publicações agora (memória ou disco no limite): alivie-o "
     "(rabbitmqctl status diz o que falta); nada se perde"),
    ("ConnectionClosedByBroker", True, "o RabbitMQ em {onde} encerrou a conexão{entre}"),
    ("ChannelClosedByBroker", True, "o RabbitMQ em {onde} encerrou o canal{entre}"),
)


def explicar(erros: list[BaseException], onde: str) -> Falha:
    """O que houve e o que fazer.

    erros: o que o pika, o socket ou o TLS levantou. onde: o endereço, sem senha.
    Devolve BrokerFora se tentar de novo adianta; senão, Falha de código 2.
    """
    causas = _causas(erros)
    disse = _palavras_do_broker(causas)
    for padrao, frase in DEFINITIVOS:
        if achado := re.search(padrao, disse):
            return Falha(frase.format(onde=onde, disse=disse, **achado.groupdict()), 2)
    # Um broker que cai no meio de uma conexão segura não é um certificado errado.
    cai = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
    if any(isinstance(causa, ssl.SSLError) and not isinstance(causa, cai) for causa in causas):
        return Falha(f"a conexão segura com {onde} falhou: confira o certificado (SSL_CERT_FILE) e "
                     "o nome do servidor", 2)
    nomes = " ".join(type(causa).__name__ for causa in causas)
    for padrao, de_novo, frase in OUTROS:
        if re.search(rf"\b({padrao})\b", nomes):
            texto = frase.format(onde=onde, entre=f": «{disse}»" if disse else "")
            return BrokerFora(texto) if de_novo else Falha(texto, 2)
    if any(isinstance(causa, socket.gaierror) for causa in causas):
        return BrokerFora(f"não conheço o servidor de {onde}: confira RABBITMQ_URL")
    return BrokerFora(f"o RabbitMQ em {onde} não responde")


def explicar_bloqueio(onde: str) -> str:
    """O broker lê e entrega, mas não aceita publicações. (Manual: "Memory and Disk Alarms".)"""
    return next(frase for nome, _, frase in OUTROS if "Blocked" in nome).format(onde=onde)


def _palavras_do_broker(causas: list[BaseException]) -> str:
    """O texto com que o broker encerrou o canal ou a conexão; vazio se ele não disse nada.

    No aperto de mão, o pika o põe, já escrito, dentro de um palpite ("Probable...Error").
    """
    for causa in causas:
        achado = re.search(r"""ClosedByBroker: \(\d+\) (['"])(.*)\1""", repr(causa))
        if achado:
            return visivel(achado[2][:300])
    return ""


def _causas(erros: list[BaseException]) -> list[BaseException]:
    """O pika embrulha o erro original, às vezes vários, dentro de outros."""
    vistas: list[BaseException] = []
    fila: list = list(erros)
    while fila:
        atual = fila.pop(0)
        if isinstance(atual, BaseException) and atual not in vistas:
            vistas.append(atual)
            fila += [atual.__cause__, atual.__context__, *atual.args,
                     getattr(atual, "exception", None), *getattr(atual, "exceptions", ())]
    return vistas
