"""O RabbitMQ instalado nesta máquina: onde está, como instalar, de que versão é, que portas há."""

from __future__ import annotations

import re
import shutil
import socket
from contextlib import suppress
from pathlib import Path

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
