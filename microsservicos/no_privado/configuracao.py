"""O RabbitMQ desta máquina, e o que um nó privado dele lê: configuração, definições, ambiente.

(Manual do RabbitMQ: "Configuration", "Networking", "Schema Definition Export and Import".)
"""

import base64
import hashlib
import json
import os
import re
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from shlex import quote

COMO_INSTALAR = """o RabbitMQ não está instalado (ou não foi encontrado). Instale e rode de novo:
  Debian, Ubuntu   sudo apt install rabbitmq-server
  macOS            brew install rabbitmq
  Windows          no WSL2, o mesmo do Ubuntu
  Docker           docker run -d -p 127.0.0.1:5672:5672 rabbitmq
Se o broker está em outra máquina, diga onde: RABBITMQ_URL=amqp://usuario:senha@maquina:5672/"""

# O primeiro é o script de verdade do Debian, do Ubuntu e do Fedora. O que eles põem no
# PATH (/usr/sbin/rabbitmq-server) só aceita os usuários root e rabbitmq, e liga o nó do sistema.
SERVIDORES = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server",
              "/opt/homebrew/sbin/rabbitmq-server", "/usr/local/sbin/rabbitmq-server")

# Só isto entra do ambiente do usuário: além de `RABBITMQ_*`, o RabbitMQ obedece às mesmas
# variáveis sem o prefixo (`NODENAME`, `LOGS`...), e o Erlang a `ERL_*`.
DO_USUARIO = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


def localizar_rabbitmq() -> Path | None:
    """O `rabbitmq-server` que qualquer usuário pode rodar, ou None."""
    return next((Path(achado) for nome in SERVIDORES if (achado := shutil.which(nome))), None)


def versao_instalada(servidor: Path) -> str:
    """A versão deste RabbitMQ, como "3.10.8", pelo nome do seu programa principal; ou vazia."""
    programas = (servidor.resolve().parent.parent / "plugins").glob("rabbit-*")
    return next((um.name.removeprefix("rabbit-").removesuffix(".ez") for um in programas), "")


def numeros(versao: str) -> tuple[int, ...]:
    """"4.0.5" -> (4, 0, 5), para comparar duas versões."""
    return tuple(int(numero) for numero in re.findall(r"[0-9]+", versao)[:3])


def porta_livre(preferida: int = 0, maquina: str = "127.0.0.1") -> int | None:
    """A porta `preferida` se está livre em `maquina`, ou None; com 0, uma porta livre qualquer."""
    familia = socket.AF_INET6 if ":" in maquina else socket.AF_INET
    with suppress(OSError, OverflowError):
        with socket.create_server((maquina, preferida), family=familia) as prova:
            return prova.getsockname()[1]
    return None


def configuracao(porta: int, pagina: int) -> str:
    """O rabbitmq.conf.

    porta: em 127.0.0.1 e, se a máquina o tem e ela está livre, em ::1. pagina: a porta dela.
    """
    linhas = {"listeners.tcp.ipv4": f"127.0.0.1:{porta}", "load_definitions": "./definicoes.json",
              # Um serviço recebe até 400 mensagens antes de tratar a primeira: têm de caber.
              "max_message_size": 1024 ** 2,  # bytes; as da loja têm no máximo 64 KiB
              "management.tcp.ip": "127.0.0.1", "management.tcp.port": pagina}
    if porta_livre(porta, "::1"):
        linhas["listeners.tcp.ipv6"] = f"::1:{porta}"
    return "".join(f"{chave} = {valor}\n" for chave, valor in linhas.items())


def definicoes(usuario: str, senha: str, vhosts: list[str]) -> str:
    """Usuário, vhosts e permissões, relidos a cada início: valem também com os dados de antes.

    A senha vai só como resumo (manual: "Credentials and Passwords", "Computing Password Hash").
    """
    sal = os.urandom(4)
    resumo = base64.b64encode(sal + hashlib.sha256(sal + senha.encode()).digest()).decode()
    tudo = {"user": usuario, "configure": ".*", "write": ".*", "read": ".*"}
    return json.dumps({
        "users": [{"name": usuario, "password_hash": resumo, "tags": "administrator",
                   "hashing_algorithm": "rabbit_password_hashing_sha256"}],
        "vhosts": [{"name": vhost} for vhost in vhosts],
        "permissions": [{"vhost": vhost, **tudo} for vhost in vhosts]})


def ambiente(servidor: Path, pasta: Path, nome: str, epmd_porta: int) -> dict[str, str]:
    """As variáveis do nó `nome`. (Manual: "Configuration", "Environment Variables"; "Clustering".)

    pasta: a do nó, onde ele roda. Os caminhos são relativos a ela: assim os scripts e o Erlang
    aguentam espaços, acentos e caminhos longos, em qualquer idioma do sistema. O dos dados não
    pode ser: o RabbitMQ 4.0 não inicia (rabbit_db compara o caminho que lhe deram com o que o
    Mnesia tornou absoluto). Até o 3.10 é o contrário: as filas quorum guardam o caminho que lhes
    deram, e com um absoluto não voltam se a pasta muda de lugar.
    """
    antigo = numeros(versao_instalada(servidor) or "4") < (3, 11)
    so_aqui = "-kernel inet_dist_use_interface {127,0,0,1}"
    return {**{nome: os.environ[nome] for nome in DO_USUARIO if os.environ.get(nome)},
            "HOME": ".",
            # O epmd anota em que porta está cada nó Erlang. Um que o Erlang ligasse por conta
            # própria escutaria em todas as interfaces, e ficaria para sempre.
            "ERL_EPMD_PORT": str(epmd_porta), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": nome, "RABBITMQ_DIST_PORT": str(porta_livre()),
            "RABBITMQ_MNESIA_BASE": "./dados" if antigo else str(pasta / "dados"),
            "RABBITMQ_LOG_BASE": ".", "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": "./rabbitmq.conf", "RABBITMQ_ENABLED_PLUGINS_FILE": "./plugins",
            # Estes três não existem aqui: é assim que os de /etc/rabbitmq ficam de fora.
            "RABBITMQ_CONF_ENV_FILE": "./rabbitmq-env.conf", "RABBITMQ_CONFIG_FILES": "./conf.d",
            "RABBITMQ_ADVANCED_CONFIG_FILE": "./advanced.config",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": so_aqui, "RABBITMQ_CTL_ERL_ARGS": so_aqui,
            # O script se torna a máquina virtual em vez de vigiá-la: o SIGTERM chega ao nó.
            "RUNNING_UNDER_SYSTEMD": "true"}


def rabbitmqctl(servidor: Path, variaveis: dict[str, str]) -> str:
    """Um script que fala com este nó, que o rabbitmqctl da máquina não acha.

    variaveis: as de ambiente().
    """
    todas = " ".join(f"{nome}={quote(valor)}" for nome, valor in variaveis.items())
    programa = quote(str(servidor.with_name("rabbitmqctl")))
    return f'#!/bin/sh\ncd "$(dirname "$0")" && exec env -i {todas} {programa} "$@"\n'
