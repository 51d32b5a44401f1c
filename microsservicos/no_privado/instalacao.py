"""O RabbitMQ instalado nesta máquina: onde está, como instalar, de que versão é, que portas há."""

from __future__ import annotations

import os
import re
import shutil
import socket
from pathlib import Path

COMO_INSTALAR = """o RabbitMQ não está instalado (ou não foi encontrado). Instale e rode de novo:
  Debian, Ubuntu   sudo apt install rabbitmq-server
  macOS            brew install rabbitmq
  Windows          choco install rabbitmq        (como administrador)
  Docker           docker run -d -p 127.0.0.1:5672:5672 rabbitmq
Se o broker está em outra máquina, diga onde: RABBITMQ_URL=amqp://usuario:senha@maquina:5672/"""

WINDOWS_USA_SERVICO = (
    "no Windows o RabbitMQ roda como serviço, e ele está parado: num terminal de administrador,"
    " `net start RabbitMQ` (ou `choco install rabbitmq`, se não estiver instalado); depois rode"
    " de novo")

# O primeiro é o script de verdade do Debian, do Ubuntu e do Fedora. O que eles põem no
# PATH (/usr/sbin/rabbitmq-server) só aceita os usuários root e rabbitmq, e liga o nó do sistema.
SERVIDORES = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server",
              "/opt/homebrew/sbin/rabbitmq-server", "/usr/local/sbin/rabbitmq-server")


def localizar_rabbitmq() -> Path | None:
    """O `rabbitmq-server` que qualquer usuário pode rodar, ou None."""
    return next((Path(achado) for nome in SERVIDORES if (achado := shutil.which(nome))), None)


def plugins(servidor: Path, nome: str) -> list[str]:
    """As versões dos plugins de tal nome que vieram com este RabbitMQ; "rabbit" é ele mesmo."""
    pasta = servidor.resolve().parent.parent / "plugins"
    return [achado.name.removeprefix(f"{nome}-").removesuffix(".ez")
            for achado in pasta.glob(f"{nome}-*")]


def versao_instalada(servidor: Path) -> str:
    """A versão deste RabbitMQ, como "3.10.8"; vazia se não se sabe."""
    return next(iter(plugins(servidor, "rabbit")), "")


def numeros(versao: str) -> tuple[int, ...]:
    """"4.0.5" -> (4, 0, 5), para comparar duas versões."""
    return tuple(int(numero) for numero in re.findall(r"[0-9]+", versao)[:3])


def e_desta_maquina(maquina: str) -> bool:
    """Se `maquina` é um dos endereços em que um nó privado escuta, 127.0.0.1 e ::1."""
    try:
        achados = {info[4][0] for info in socket.getaddrinfo(maquina, None)}
    except (OSError, UnicodeError):
        return False
    return achados <= {"127.0.0.1", "::1"}


def porta_livre(preferida: int = 0, maquina: str = "127.0.0.1") -> int | None:
    """A porta `preferida` se está livre em `maquina`, ou None; com 0, uma porta livre qualquer."""
    with socket.socket(socket.AF_INET6 if ":" in maquina else socket.AF_INET) as prova:
        # A que acabou de fechar também serve.
        prova.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            prova.bind((maquina, preferida))
        except (OSError, OverflowError):
            return None
        return prova.getsockname()[1]
