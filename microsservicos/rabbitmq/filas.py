"""As filas e o exchange: criar, contar, esvaziar. O desenho delas é o de coreografia.py.

Cada serviço tem uma fila quorum com o seu nome, ligada ao exchange pelos eventos que ouve, e
NOME.mortas, para as mensagens que não entendeu.
(Manual do RabbitMQ: "Quorum Queues", "Dead Letter Exchanges", "Topic Exchange".)
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager

from rabbitmq.conexao import conectar, erros, traduzindo
from coreografia import SERVICOS, o_que_ouve

EXCHANGE = "loja"
# Barreira distante, para uma mensagem que mate o processo antes de ele poder contar as
# tentativas. Pequena demais, condenaria mensagens sãs de um serviço morto muitas vezes:
# cada conexão que cai conta uma entrega para tudo o que estava em mãos.
LIMITE_DE_ENTREGAS = 100_000


def declarar(canal) -> None:
    """Cria as filas, o exchange e as ligações de todos; repetir não muda nada.

    Qualquer serviço declara tudo: assim o primeiro a subir já guarda os eventos
    dos que ainda não subiram. O exchange vem por último: só se publica em filas que
    já sobreviveriam a um kill -9 no broker.
    """
    novas = not _ha_exchange(canal.connection)
    for servico in SERVICOS:
        mortas = f"{servico}.mortas"
        limite = {"x-queue-type": "quorum", "x-delivery-limit": LIMITE_DE_ENTREGAS}
        canal.queue_declare(mortas, durable=True, arguments=limite)
        canal.queue_declare(servico, durable=True, arguments={
            **limite, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": mortas})
    if novas:
        _assentar(canal)
    canal.exchange_declare(EXCHANGE, "topic", durable=True)
    for servico in SERVICOS:
        for tipo in o_que_ouve(servico):
            canal.queue_bind(servico, EXCHANGE, tipo)


def _assentar(canal) -> None:
    """Faz o RabbitMQ escrever o nome da última fila quorum criada.

    O 3.10 o guarda na memória até criar a seguinte, ou por um segundo (ra_directory.erl). Morto nesse
    meio-tempo, volta com uma fila que existe, não responde, e não tem o que lhe foi confirmado.
    """
    seguinte = f"{EXCHANGE}.{uuid.uuid4()}"
    canal.queue_declare(seguinte, durable=True, arguments={"x-queue-type": "quorum"})
    canal.queue_delete(seguinte)


def _ha_exchange(conexao) -> bool:
    try:
        canal = conexao.channel()
        canal.exchange_declare(EXCHANGE, passive=True)
        canal.close()
        return True
    except erros.ChannelClosedByBroker as erro:
        if erro.reply_code == 404:
            return False
        raise


def profundidades() -> dict[str, int]:
    """Quantas mensagens esperam em cada fila do projeto. Levanta o mesmo que conectar()."""
    with avulso() as canal:
        return {fila: canal.queue_declare(fila, passive=True).method.message_count
                for servico in SERVICOS for fila in (servico, f"{servico}.mortas")}


def esvaziar_filas() -> None:
    """Apaga e cria de novo as filas do projeto, com o que esperava nelas. Levanta o mesmo que conectar()."""
    with avulso() as canal:
        canal.exchange_delete(EXCHANGE)
        for servico in SERVICOS:
            canal.queue_delete(servico)
            canal.queue_delete(f"{servico}.mortas")
        declarar(canal)


@contextmanager
def avulso():
    """Um canal para uma tarefa curta, fechado ao fim dela."""
    conexao = conectar("tarefa avulsa")
    try:
        with traduzindo():
            canal = conexao.channel()
            declarar(canal)
            yield canal
    finally:
        if conexao.is_open:
            conexao.close()
