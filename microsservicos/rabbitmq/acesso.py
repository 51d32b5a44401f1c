"""O acesso ao broker: onde ele está, e cada tropeço com ele numa linha em português.

RABBITMQ_URL diz onde; vários endereços, separados por vírgula, são os nós de um cluster, tentados
em ordem. Dos tropeços, só o que o próprio broker disse é definitivo, e vai entre « » na linha. O
pika adivinha muito: de uma porta que se fecha logo, diz que o protocolo é outro, e ela pode ser só
um RabbitMQ que ainda está iniciando (o Docker abre a porta antes dele). Palpite não é motivo para
desistir. Os erros são lidos pelo texto (`repr`), que já traz uns dentro dos outros.
"""

import os
import re
import sys
from urllib.parse import urlsplit

from comum.falha import Falha
from comum.tela import visivel

try:
    import pika
except ImportError as erro:
    if erro.name != "pika":  # um Python sem _ssl, por exemplo: não é ele que falta
        raise
    print("falta o pacote pika: instale com  python -m pip install -r requirements.txt  "
          "(ou use o Python da pasta .venv, como no README)", file=sys.stderr)
    sys.exit(2)

URL_PADRAO = "amqp://guest:guest@localhost:5672/"
DESTA_MAQUINA = ("localhost", "127.0.0.1", "::1")  # onde um nó privado escuta
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
    (r"inequivalent arg",
     "em {onde} há filas com os mesmos nomes e outros argumentos («{disse}»): se são de outro "
     "programa, use {outro}; se de uma versão anterior deste, termine com ela o que há nelas, ou "
     "apague-as (python orquestracao.py --limpar --tomar-vhost)"),
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
     "(o que falta: status, com {rabbitmqctl}); nada se perde"),
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


class BrokerFora(Falha):
    """Não há broker, ou a conexão caiu: vale a pena tentar de novo daqui a pouco."""


def enderecos() -> list[pika.URLParameters]:
    """Os endereços de RABBITMQ_URL, na ordem das tentativas; Falha (código 2) se ilegíveis."""
    urls = os.environ.get("RABBITMQ_URL", URL_PADRAO).split(",")
    try:
        return [_endereco(url.strip()) for url in urls]
    except Exception:  # o pika levanta de tudo aqui, e o texto do erro poderia mostrar a senha
        raise Falha("RABBITMQ_URL não está na forma amqp://usuario:senha@servidor:5672/vhost (na "
                    "senha, escreva / @ : ? # , como %2F %40 %3A %3F %23 %2C; entre endereços, "
                    "vírgula)", 2) from None


def _endereco(url: str) -> pika.URLParameters:
    partes = urlsplit(url.encode().decode())  # de um terminal em Latin-1, nem UTF-8 seria
    if partes.scheme not in ("amqp", "amqps") or not partes.hostname or partes.port == 0:
        raise ValueError
    # Uma senha com / ? ou # sem código passaria por porta, vhost ou opção, e iria para a tela.
    if "@" in partes.path + partes.query + partes.fragment:
        raise ValueError
    endereco = pika.URLParameters(url)
    if partes.path == "//":  # como o Celery escreve o vhost /
        endereco.virtual_host = "/"
    endereco.heartbeat = 10  # segundos; uma rede que engole pacotes é percebida entre 15 e 30
    endereco.blocked_connection_timeout = 5
    endereco.socket_timeout = endereco.stack_timeout = 5
    return endereco


def onde() -> str:
    """Os endereços para mostrar na tela: sem usuário nem senha."""
    return ", ".join(f"{e.host}:{e.port}{'' if e.virtual_host == '/' else '/' + e.virtual_host}"
                     for e in enderecos())


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


def conselhos(broker: str) -> dict[str, str]:
    """O que se pode aconselhar a quem não entra: o que explicar() põe nas linhas.

    broker: o nome com que se apresenta; vazio se ele encerrou antes de entrarmos. A um nó privado
    (no_privado/), que é loja-PORTA@máquina, o rabbitmqctl do sistema não chega, e outra loja na
    mesma máquina usa outro nó, em outra porta.
    """
    primeiro, outro = enderecos()[0], "outro vhost em RABBITMQ_URL"
    daqui = primeiro.host in DESTA_MAQUINA
    if re.match(r"loja-\d+@", broker):
        outro = f"outra porta em RABBITMQ_URL (amqp://guest:guest@localhost:{primeiro.port + 1}/)"
    do_no = f"; num nó privado, sh dados/rabbitmq/loja-{primeiro.port}/rabbitmqctl"
    return {"rabbitmqctl": "rabbitmqctl" + do_no * daqui, "outro": outro,
            "como_subir": " (para subir um: python orquestracao.py --so-broker)" * daqui}
