"""Um broker para quem precisa: o que já responde, ou um nó privado, dividido entre lançadores.

    no = garantir(pasta)                 # None: responde um broker que não é nosso
    ...
    no.largar()                          # o último que sai desliga
"""

from pathlib import Path

from comum.falha import Falha
from comum.tela import dizer
from no_privado.configuracao import porta_livre
from no_privado.no import NoPrivado
from rabbitmq.acesso import DESTA_MAQUINA, BrokerFora, enderecos
from rabbitmq.conexao import Conexao


def entrar_e_sair() -> None:
    """Entra no broker e sai; levanta o mesmo que Conexao()."""
    Conexao("orquestracao").fechar()


def garantir(pasta: Path, entrar=entrar_e_sair) -> NoPrivado | None:
    """Usa o RabbitMQ que responde; se nenhum, e o endereço é desta máquina, liga um em `pasta`.

    entrar(): a primeira conexão; levanta BrokerFora se ninguém responde.
    Devolve o nó privado, ou None se o broker é de outro. Levanta Falha (código 2).
    """
    no = next((NoPrivado(pasta, e.port, e.credentials.username, e.credentials.password,
                         e.virtual_host, entrar)
               for e in enderecos() if e.ssl_options is None and e.host in DESTA_MAQUINA), None)
    try:
        entrar()
        if no is None or not e_privado(no):
            return None
    except BrokerFora as fora:
        if no is None:
            raise Falha(f"{fora}: suba-o, ou tire RABBITMQ_URL para usar um nó privado nesta "
                        "máquina", 2) from None
        if porta_livre(no.porta):
            dizer(f"nenhum RabbitMQ responde: inicio um nó privado em {pasta}")
        else:  # o Docker abre a porta antes que o RabbitMQ de dentro fique pronto
            dizer(f"quem tem a porta {no.porta} ainda não responde como um RabbitMQ: espero por "
                  "ele")
    if no.usar():  # o de outro orquestracao.py desta pasta passa a ser nosso também
        if no.pagina_url:
            dizer(f"página de administração: {no.pagina_url} (usuário guest, senha guest)")
        return no
    if not e_privado(no):  # um broker que só não respondia ainda
        return None
    # Entrar no de outra pasta misturaria duas lojas, e ninguém cria outro vhost num nó privado.
    outra = next((p for p in range(no.porta + 1, no.porta + 100) if porta_livre(p)), "PORTA")
    raise Falha(f"na porta {no.porta} responde o nó privado de outra pasta (de outra pessoa, ou da "
                "original de que esta é cópia): use outra, com "
                f"RABBITMQ_URL=amqp://guest:guest@localhost:{outra}/", 2)


def e_privado(no: NoPrivado) -> bool:
    """Se quem responde é um nó privado, desta pasta ou de outra: só eles têm esse nome."""
    with Conexao("orquestracao") as conexao:
        return conexao.nome_do_broker.split("@")[0] == no.pasta.name
