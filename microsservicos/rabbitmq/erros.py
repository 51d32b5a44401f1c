"""Os tropeços da conexão com o broker, cada um numa linha em português.

Só o que o próprio broker disse é definitivo, e vai entre « » na linha. O pika adivinha muito: de
uma porta que se fecha logo, diz que o protocolo é outro, e ela pode ser só um RabbitMQ que ainda
está iniciando (o Docker abre a porta antes dele). Palpite não é motivo para desistir.
Os erros são lidos pelo texto (`repr`), que já traz uns dentro dos outros.
"""

import re

from comum.falha import Falha
from comum.tela import visivel
from rabbitmq.enderecos import conselhos, onde


class BrokerFora(Falha):
    """Não há broker, ou a conexão caiu: vale a pena tentar de novo daqui a pouco."""


# (o que o broker disse, o que se diz). Código 2: só uma pessoa muda isso. A primeira que serve é a
# que vale.
DEFINITIVOS = (
    (r"limit.*is reached|has reached the negotiated",
     "o RabbitMQ em {onde} está no limite: «{disse}»; encerre programas que não usa, ou peça um "
     "limite maior a quem o administra"),
    (r"Login was refused",
     "o RabbitMQ em {onde} recusou o usuário ou a senha: confira RABBITMQ_URL"),
    (r"vhost .* not found",
     "o RabbitMQ em {onde} não tem esse vhost: confira RABBITMQ_URL, ou crie-o (add_vhost, com "
     "{rabbitmqctl})"),
    (r"NOT_ALLOWED.*access to vhost",
     "o usuário de RABBITMQ_URL não tem permissão no vhost de {onde}: «{disse}»; dê-lhe uma "
     "(set_permissions, com {rabbitmqctl})"),
    (r"inequivalent arg .* exchange 'loja\.identidade'.*current is .*'loja\.(?P<loja>[0-9a-f]+)'",
     "o vhost de {onde} é da loja {loja}, e esta pasta de dados é de outra: use {outro}, ou a "
     "pasta daquela em --dados; se ela já não existe: python orquestracao.py --limpar "
     "--tomar-vhost"),
    (r"inequivalent arg 'x-overflow'.*current is none",
     "as filas em {onde} são de uma versão anterior deste projeto: termine com ela o que há "
     "nelas, ou apague-as (python orquestracao.py --limpar --tomar-vhost), ou use {outro}"),
    (r"inequivalent arg",
     "em {onde} há filas com os mesmos nomes e outros argumentos, de outro programa: use {outro} "
     "(«{disse}»)"),
    (r"ACCESS_REFUSED",
     "falta uma permissão ao usuário de RABBITMQ_URL em {onde}: «{disse}»; o README diz quais "
     "são (set_permissions, com {rabbitmqctl})"),
    (r"CertVerificationError",
     "a conexão segura com {onde} falhou: confira o certificado (SSL_CERT_FILE) e o nome do "
     "servidor"),
)
# (o que o pika, o socket ou o TLS levantou, o que se diz). Código 1: tentar de novo adianta.
PASSAGEIROS = (
    (r"ConnectionBlockedTimeout",
     "o RabbitMQ em {onde} não aceita publicações agora (memória ou disco no limite): alivie-o "
     "({rabbitmqctl} status diz o que falta); nada se perde"),
    (r"ChannelClosedByBroker", "o RabbitMQ em {onde} encerrou o canal: «{disse}»"),
    (r"ConnectionClosedByBroker", "o RabbitMQ em {onde} encerrou a conexão: «{disse}»"),
    (r"IncompatibleProtocol|ProtocolVersionMismatch|ProtocolSyntax|InvalidFrame|"
     r"ConnectionOpenAborted|SSL\w*Error",  # o que o pika acha de uma porta aberta
     "a porta de {onde} aceita conexões e não fala AMQP: pode ser um RabbitMQ que ainda está "
     "iniciando; se demora, é outro programa, ou a porta de TLS, que é com amqps:// (confira "
     "RABBITMQ_URL)"),
    (r"gaierror", "não conheço o servidor de {onde}: confira RABBITMQ_URL"),
    (r"", "o RabbitMQ em {onde} não responde{como_subir}"),
)


def explicar(erros: list[BaseException], broker: str = "") -> Falha:
    """O que houve e o que fazer.

    erros: o que o pika, o socket ou o TLS levantou. broker: o nome com que ele se apresentou.
    Devolve BrokerFora se tentar de novo adianta; senão, outra Falha (código 2).
    """
    texto = " ".join(map(repr, erros)).replace("\\", "")
    dito = re.search(r"""ClosedByBroker: \(\d+\) (['"])(.*?)\1(?=[,)\s'"]|$)""", texto)
    palavras = {"onde": onde(), "disse": visivel(dito[2][:300]) if dito else "",
                **conselhos(broker)}
    for tipo, codigo, linhas in ((Falha, 2, DEFINITIVOS), (BrokerFora, 1, PASSAGEIROS)):
        for padrao, frase in linhas:
            if achado := re.search(padrao, texto):
                return tipo(frase.format(**palavras, **achado.groupdict()), codigo)
