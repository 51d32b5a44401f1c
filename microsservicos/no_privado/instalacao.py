"""O RabbitMQ instalado nesta máquina: onde está, como instalar, como falar com o sistema.

O que um nó privado precisa antes de existir. Quem o liga e desliga é `no.py`.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from comum.falha import Falha

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
PASTAS_DE_PROGRAMAS = ("/opt/homebrew/bin", "/usr/local/bin", "/usr/bin", "/bin")


def localizar_rabbitmq() -> Path | None:
    """O `rabbitmq-server` que qualquer usuário pode rodar, ou None."""
    for candidato in SERVIDORES:
        if achado := shutil.which(candidato):
            return Path(achado)
    return None


def tem_pagina(servidor: Path) -> bool:
    """Se o plugin da página de administração veio com este RabbitMQ."""
    plugins = servidor.resolve().parent.parent / "plugins"
    return any(plugins.glob("rabbitmq_management-*"))


def versao_instalada(servidor: Path) -> str | None:
    """A versão deste RabbitMQ, como "3.10.8", pelo nome do seu programa principal; ou None."""
    achados = (servidor.resolve().parent.parent / "plugins").glob("rabbit-*")
    return next((achado.name.removeprefix("rabbit-").removesuffix(".ez") for achado in achados),
                None)


def numeros(versao: str) -> tuple[int, ...]:
    """"4.0.5" -> (4, 0, 5), para comparar duas versões."""
    return tuple(int(numero) for numero in re.findall(r"[0-9]+", versao)[:3])


def endereco_de_casa(maquina: str) -> str | None:
    """Em qual dos endereços de um nó privado, 127.0.0.1 ou ::1, se acha `maquina`; ou None."""
    try:
        achados = {info[4][0] for info in socket.getaddrinfo(maquina, None)}
    except (OSError, UnicodeError):
        return None
    return min(achados) if achados and achados <= {"127.0.0.1", "::1"} else None


def localizar_epmd() -> str | None:
    """O epmd (quem anota em que porta está cada nó Erlang), ou None.

    Nem toda instalação o põe no PATH; ele está sempre ao lado da máquina virtual,
    na pasta que o próprio `erl` chama de BINDIR.
    """
    ambiente = ambiente_limpo()
    if achado := shutil.which("epmd", path=ambiente["PATH"]):
        return achado
    try:
        pergunta = ["erl", "-noshell", "-eval", 'io:put_chars(os:getenv("BINDIR")), halt().']
        bindir = subprocess.run(pergunta, env=ambiente, capture_output=True, text=True,
                                timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return shutil.which("epmd", path=bindir.strip() or os.devnull)


def ligar_epmd(pasta: Path) -> tuple[subprocess.Popen, int]:
    """Um epmd só nosso, em primeiro plano e numa porta livre de 127.0.0.1.

    Devolve (processo, porta). Levanta Falha se o epmd não está instalado ou não responde em 10 s.
    """
    programa = localizar_epmd()
    if programa is None:
        raise Falha("o programa epmd, do Erlang, não foi encontrado: ponha a pasta dele no PATH", 2)
    limite = time.monotonic() + 10
    while time.monotonic() < limite:
        porta = porta_livre()
        epmd = subprocess.Popen([programa, "-port", str(porta), "-address", "127.0.0.1"], cwd=pasta,
                                env=ambiente_limpo(), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                start_new_session=True)
        pronto = False
        try:
            while not pronto and epmd.poll() is None and time.monotonic() < limite:
                with suppress(OSError), socket.create_connection(("127.0.0.1", porta), timeout=1):
                    pronto = True
                time.sleep(0.02)
        finally:  # um Ctrl-C aqui não o deixa solto; se morreu sozinho, a porta não estava livre
            if not pronto:
                epmd.kill()
                epmd.wait()
        if pronto:
            return epmd, porta
    raise Falha("o epmd, do Erlang, não respondeu em 10 s: confira a instalação do Erlang", 2)


def ambiente_limpo() -> dict[str, str]:
    """O ambiente mínimo para rodar Erlang, sem nada que o usuário tenha configurado.

    Só entra o que está nesta lista: além de `RABBITMQ_*`, o RabbitMQ obedece às
    mesmas variáveis sem o prefixo (`NODENAME`, `LOGS`...), e o Erlang a `ERL_*`. Ver o
    manual do RabbitMQ, "Configuration", seção "Environment Variables".
    """
    usadas = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
    ambiente = {nome: os.environ[nome] for nome in usadas if os.environ.get(nome)}
    caminhos = ambiente.get("PATH", "").split(os.pathsep)
    ambiente["PATH"] = os.pathsep.join([c for c in caminhos if c] + list(PASTAS_DE_PROGRAMAS))
    return ambiente


def comando_do_processo(pid: int) -> str:
    """A linha de comando do processo `pid`; vazia se ele não existe ou já terminou.

    Responde também por processos que não são filhos deste, e um que terminou sem
    que ninguém colhesse (um zumbi) conta como terminado: `os.kill(pid, 0)` erraria.
    """
    pasta = Path(f"/proc/{pid}")
    if not Path("/proc/self/cmdline").exists():
        return subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)],
                              capture_output=True, text=True).stdout
    for _ in range(50):
        try:
            comando = (pasta / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            estado = (pasta / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return ""
        if comando or estado in "ZX":
            return comando
        time.sleep(0.01)  # no meio de um exec() a linha de comando fica vazia por um instante
    return ""


def responde(maquina: str, porta: int, prazo: float = 2.0) -> bool:
    """Se um broker AMQP 0-9-1 responde em `maquina:porta` dentro de `prazo` segundos.

    Manda o cabeçalho do protocolo e espera o quadro Connection.Start: método (1),
    canal 0, classe 10, método 10 (especificação do AMQP 0-9-1, seções 4.2.2 e 4.2.3).
    Serve para amqp://; numa porta amqps:// a resposta é sempre não.
    """
    inicio = b""
    try:
        with socket.create_connection((maquina, porta), timeout=prazo) as conexao:
            conexao.sendall(b"AMQP\x00\x00\x09\x01")
            while len(inicio) < 11 and (pedaco := conexao.recv(11 - len(inicio))):
                inicio += pedaco
    except OSError:
        return False
    return inicio[:3] == b"\x01\x00\x00" and inicio[7:11] == b"\x00\x0a\x00\x0a"


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
