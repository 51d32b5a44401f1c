"""O que um nó privado precisa saber ao partir: configuração, definições e ambiente.

Quem o liga e desliga é `no.py`; aqui só se escreve. (Manual do RabbitMQ: "Configuration",
"Networking", "Schema Definition Export and Import".)
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path

from no_privado.instalacao import ambiente_limpo, numeros, porta_livre, versao_instalada

MAIOR_MENSAGEM = 1024 * 1024  # bytes; as da loja têm no máximo 64 KiB


def configuracao(porta: int, pagina_porta: int | None, vizinhos: list[str], extra: dict) -> str:
    """O rabbitmq.conf.

    porta: em 127.0.0.1 e, se a máquina o tem e ela está livre, em ::1. pagina_porta: em 127.0.0.1.
    vizinhos: os nós de um cluster. extra: {chave: valor}.
    """
    linhas = {"listeners.tcp.ipv4": f"127.0.0.1:{porta}", "load_definitions": "./definicoes.json",
              # Um serviço recebe até 400 mensagens antes de tratar a primeira: têm de caber.
              "max_message_size": MAIOR_MENSAGEM}
    if porta_livre(porta, "::1"):
        linhas["listeners.tcp.ipv6"] = f"::1:{porta}"
    if pagina_porta:
        linhas.update({"management.tcp.ip": "127.0.0.1", "management.tcp.port": pagina_porta})
    if vizinhos:  # manual: "Cluster Formation", "Config File Peer Discovery Backend"
        linhas["cluster_formation.peer_discovery_backend"] = "classic_config"
        for ordem, nome in enumerate(vizinhos, 1):
            linhas[f"cluster_formation.classic_config.nodes.{ordem}"] = nome
    return "".join(f"{chave} = {valor}\n" for chave, valor in {**linhas, **extra}.items())


def definicoes(usuario: str, senha: str, vhosts: list[str]) -> str:
    """Usuário, vhosts e permissões, relidos a cada partida: valem também com os dados de antes.

    Ao contrário de `default_pass`, aceitam qualquer caractere, e a senha vai só como resumo
    (manual: "Credentials and Passwords", "Computing Password Hash").
    """
    sal = os.urandom(4)
    resumo = base64.b64encode(sal + hashlib.sha256(sal + senha.encode()).digest()).decode()
    quem = {"name": usuario, "password_hash": resumo, "tags": "administrator",
            "hashing_algorithm": "rabbit_password_hashing_sha256"}
    tudo = {"user": usuario, "configure": ".*", "write": ".*", "read": ".*"}
    return json.dumps({"users": [quem], "vhosts": [{"name": vhost} for vhost in vhosts],
                       "permissions": [{"vhost": vhost, **tudo} for vhost in vhosts]})


def ambiente(servidor: Path, pasta: Path, nome: str, epmd_porta: int) -> dict[str, str]:
    """As variáveis do nó `nome`. (Manual: "Configuration", "Environment Variables"; "Clustering".)

    pasta: a do nó, onde ele roda. Os caminhos são relativos a ela: assim os scripts e o Erlang
    aguentam espaços, acentos e caminhos longos, em qualquer idioma do sistema. O dos dados não
    pode ser: o RabbitMQ 4.0 não parte (rabbit_db compara o caminho que lhe deram com o que o
    Mnesia tornou absoluto). Até o 3.10 é o contrário: as filas quorum guardam o caminho que lhes
    deram, e com um absoluto não voltam se a pasta muda de lugar.
    """
    antigo = numeros(versao_instalada(servidor) or "4") < (3, 11)
    dados = "./dados" if antigo else str(pasta / "dados")
    so_aqui = "-kernel inet_dist_use_interface {127,0,0,1}"
    variaveis = ambiente_limpo()
    variaveis["PATH"] += os.pathsep + str(servidor.parent)
    return {**variaveis, "HOME": ".",
            "ERL_EPMD_PORT": str(epmd_porta), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": nome, "RABBITMQ_DIST_PORT": str(porta_livre()),
            "RABBITMQ_MNESIA_BASE": dados, "RABBITMQ_LOG_BASE": ".", "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": "./rabbitmq.conf", "RABBITMQ_ENABLED_PLUGINS_FILE": "./plugins",
            # Estes três não existem aqui: é assim que os de /etc/rabbitmq ficam de fora.
            "RABBITMQ_CONF_ENV_FILE": "./rabbitmq-env.conf", "RABBITMQ_CONFIG_FILES": "./conf.d",
            "RABBITMQ_ADVANCED_CONFIG_FILE": "./advanced.config",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": so_aqui, "RABBITMQ_CTL_ERL_ARGS": so_aqui,
            # O script se torna a máquina virtual em vez de vigiá-la: um processo só, o que temos.
            "RUNNING_UNDER_SYSTEMD": "true"}


def gravar(pasta: Path, nome: str, texto: str) -> None:
    """Troca o arquivo inteiro de uma vez, legível só pelo dono."""
    novo = pasta / f"{nome}.novo"
    novo.unlink(missing_ok=True)
    so_do_dono = os.open(novo, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(so_do_dono, "w", encoding="utf-8") as arquivo:
        arquivo.write(texto)
    os.replace(novo, pasta / nome)
