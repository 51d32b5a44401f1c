"""Um broker para quem precisa: o que já responde, ou um nó privado, dividido entre lançadores.

    no = garantir(pasta)                 # None: responde um broker que não é nosso
    ...
    no.largar()                          # o último que sai desliga
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Callable

from comum.falha import Falha
from comum.tela import dizer
from no_privado.instalacao import WINDOWS_USA_SERVICO, e_desta_maquina, porta_livre
from no_privado.no import NoPrivado, OutraVersao  # noqa: F401
from rabbitmq.conexao import Conexao, enderecos, onde
from rabbitmq.erros import BrokerFora


def entrar_e_sair() -> None:
    """Entra no broker e sai; levanta o mesmo que Conexao()."""
    Conexao("orquestracao").fechar()


def garantir(pasta: Path, recomecar: bool = False,
             entrar: Callable = entrar_e_sair) -> NoPrivado | None:
    """Usa o RabbitMQ que responde; se nenhum, e o endereço é desta máquina, liga um em `pasta`.

    entrar(): a primeira conexão; levanta BrokerFora se ninguém responde.
    recomecar: se os dados que há ali são de outra versão do RabbitMQ, apaga-os.
    Devolve o nó privado, ou None se o broker é de outro. Levanta Falha (código 2), e
    OutraVersao se os dados são de outra versão.
    """
    no = no_desta_maquina(pasta, entrar)
    try:
        entrar()
    except BrokerFora as fora:
        if no is None:
            raise Falha(f"{fora}: suba-o, ou tire RABBITMQ_URL para usar um nó privado nesta "
                        "máquina", 2) from None
        return iniciar(no, recomecar)
    if no and no.vivo():  # o de outro orquestracao.py: passa a ser nosso também
        return no if no.usar() else None
    if no:
        recusar_o_de_outra_pasta(no)
    return None


def iniciar(no: NoPrivado, recomecar: bool) -> NoPrivado | None:
    """Liga o nó; None se a porta já era de outro broker, que só não respondia ainda."""
    if os.name == "nt":
        raise Falha(WINDOWS_USA_SERVICO, 2)
    if porta_livre(no.porta) or no.vivo():
        dizer(f"nenhum RabbitMQ responde: inicio um nó privado em {no.pasta.parent}")
    else:  # o Docker abre a porta antes que o RabbitMQ de dentro fique pronto
        dizer(f"quem tem a porta {no.porta} ainda não responde como um RabbitMQ: espero por ele")
    try:
        e_nosso = no.usar()
    except OutraVersao:
        if not recomecar:
            raise
        shutil.rmtree(no.pasta / "dados")
        shutil.rmtree(no.pasta)  # depois: quem morre no meio ainda deixa dita a versão
        e_nosso = no.usar()
    if not e_nosso:
        return None
    if no.pagina_url:
        dizer(f"página de administração: {no.pagina_url} (usuário guest, senha guest)")
    return no


def no_desta_maquina(pasta: Path, entrar: Callable) -> NoPrivado | None:
    """O nó privado, ligado ou não, do primeiro endereço de RABBITMQ_URL em que pode haver um."""
    for e in enderecos():
        if e.ssl_options is None and e_desta_maquina(e.host):
            quem = e.credentials
            return NoPrivado(pasta, e.port, quem.username, quem.password, e.virtual_host, entrar)
    return None


def recusar_o_de_outra_pasta(no: NoPrivado) -> None:
    """Quem responde é o nó privado de outra pessoa, ou da pasta de que esta é cópia?

    Entrar nele misturaria duas lojas, e ninguém cria nele outro vhost. Levanta Falha.
    """
    with Conexao("orquestracao") as conexao:
        if conexao.nome_do_broker.split("@")[0] != no.pasta.name:
            return
    outra = next((p for p in range(no.porta + 1, no.porta + 100) if porta_livre(p)), "PORTA")
    raise Falha(f"quem responde em {onde()} é o nó privado de outra pasta (de outra pessoa, ou da "
                "original de que esta é cópia): use outra porta, com  "
                f"RABBITMQ_URL=amqp://guest:guest@localhost:{outra}/", 2)
