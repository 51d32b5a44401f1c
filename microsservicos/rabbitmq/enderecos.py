"""Onde está o broker: RABBITMQ_URL, e os conselhos que servem a quem está do outro lado.

Vários endereços, separados por vírgula, são os nós de um cluster, tentados em ordem.
"""

import os
import re
import sys
from urllib.parse import urlsplit

from comum.falha import Falha

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


def enderecos() -> list[pika.URLParameters]:
    """Os endereços de RABBITMQ_URL, na ordem das tentativas; Falha (código 2) se ilegíveis."""
    urls = [u.strip() for u in os.environ.get("RABBITMQ_URL", URL_PADRAO).split(",")]
    try:
        lista = [_endereco(url) for url in urls if url]
        if not lista:
            raise ValueError
    except Exception:  # o pika levanta de tudo aqui, e o texto do erro poderia mostrar a senha
        raise Falha("RABBITMQ_URL não está na forma amqp://usuario:senha@servidor:5672/vhost (na "
                    "senha, escreva / @ : ? # , como %2F %40 %3A %3F %23 %2C; entre endereços, "
                    "vírgula)", 2) from None
    return lista


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
    endereco.connection_attempts = 1
    return endereco


def onde() -> str:
    """Os endereços para mostrar na tela: sem usuário nem senha."""
    return ", ".join(f"{e.host}:{e.port}{'' if e.virtual_host == '/' else '/' + e.virtual_host}"
                     for e in enderecos())


def conselhos(broker: str) -> dict[str, str]:
    """O que se pode aconselhar a quem não entra: o que explicar() põe nas linhas.

    broker: o nome com que se apresenta; vazio se ele encerrou antes de entrarmos. Ao nó privado
    (no_privado/), que é loja-PORTA@máquina, o rabbitmqctl do sistema não chega, e outra loja na
    mesma máquina usa outro nó, em outra porta.
    """
    primeiro = enderecos()[0]
    daqui = primeiro.host in DESTA_MAQUINA
    do_no = f"sh dados/rabbitmq/loja-{primeiro.port}/rabbitmqctl"
    comando, outro = "rabbitmqctl", "outro vhost em RABBITMQ_URL"
    if re.match(r"loja-\d+@", broker):
        comando = do_no
        outro = f"outra porta em RABBITMQ_URL (amqp://guest:guest@localhost:{primeiro.port + 1}/)"
    elif daqui and not broker:
        comando = f"rabbitmqctl; num nó privado, {do_no}"
    return {"rabbitmqctl": comando, "outro": outro,
            "como_subir": " (para subir um: python orquestracao.py --so-broker)" if daqui else ""}
