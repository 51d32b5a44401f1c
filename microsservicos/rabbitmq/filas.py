"""As filas e o exchange: criar, contar, esvaziar. O desenho delas é o de coreografia.py.

Cada serviço tem uma fila quorum com o seu nome, ligada ao exchange pelos eventos que ouve, e
NOME.mortas, para as mensagens que não entendeu.
(Manual do RabbitMQ: "Quorum Queues", "Dead Letter Exchanges", "Topic Exchange".)
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager

from coreografia import SERVICOS, o_que_ouve
from rabbitmq.conexao import Conexao, traduzindo
from rabbitmq.dona import FILA, declarar_dona

EXCHANGE = "loja"
# Barreira distante, para uma mensagem que mate o processo antes de ele poder contar as
# tentativas. Pequena demais, condenaria mensagens sãs de um serviço morto muitas vezes:
# cada conexão que cai conta uma entrega para tudo o que estava em mãos.
LIMITE_DE_ENTREGAS = 100_000


def declarar(conexao: Conexao, loja: str | None) -> None:
    """Cria as filas, o exchange e as ligações de todos; repetir não muda nada.

    loja: a identidade de quem declara, conferida antes de tudo (None: de ninguém em particular).
    Qualquer serviço declara tudo: assim o primeiro a subir já guarda os eventos dos que ainda não
    subiram. O exchange vem por último: só se publica em filas que já sobreviveriam a um kill -9
    no broker. Nada aqui espera resposta, menos a última: o broker executa na ordem, e encerra o
    canal no que recusar.
    """
    canal = conexao.canal
    if loja:
        conexao.pedir(declarar_dona, canal, loja)
    novas = not _ha_exchange(conexao)
    with traduzindo():
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
    conexao.pedir(canal.exchange_declare, EXCHANGE, passive=True)


def _assentar(canal) -> None:
    """Faz o RabbitMQ escrever o nome da última fila quorum criada.

    Ele o guarda na memória até criar a seguinte, ou por cerca de um segundo (ra_directory.erl).
    Morto com SIGKILL nesse meio-tempo, o 3.10 e o 4.0 voltam com uma fila que existe e responde
    com um erro; o 4.3, com ela vazia, e sem dizer nada. O que ela tinha confirmado se perde.
    """
    seguinte = f"{EXCHANGE}.{uuid.uuid4()}"
    canal.queue_declare(seguinte, durable=True, arguments={"x-queue-type": "quorum"})
    canal.queue_delete(seguinte)


def _ha_exchange(conexao: Conexao) -> bool:
    """Num canal à parte, que o broker encerra se não há (404)."""
    resposta: list = []
    ouvir = lambda valor: (resposta.append(valor), conexao.acordar())  # noqa: E731
    with traduzindo():
        canal = conexao.abrir_canal(ao_encerrar=lambda _, motivo: ouvir(motivo))
        canal.exchange_declare(EXCHANGE, passive=True, callback=ouvir)
    conexao.esperar(lambda: resposta, "saber se o exchange existe")
    if not isinstance(resposta[0], BaseException):
        canal.close()
        return True
    if getattr(resposta[0], "reply_code", None) != 404:
        with traduzindo():
            raise resposta[0]
    return False


def profundidades(loja: str | None = None) -> dict[str, int]:
    """Quantas mensagens esperam em cada fila do projeto, sem criar nada; {} se não há fila nenhuma.

    Levanta o mesmo que Conexao(), e Falha (código 2) se o vhost é de outra loja.
    """
    with Conexao("tarefa avulsa") as conexao:
        if not _ha_exchange(conexao):
            return {}
        if loja:  # quem criou o exchange deixou antes a marca de quem era: aqui ela só é comparada
            conexao.pedir(declarar_dona, conexao.canal, loja)
        return {fila: conexao.pedir(conexao.canal.queue_declare, fila, passive=True).message_count
                for servico in SERVICOS for fila in (servico, f"{servico}.mortas")}


def preparar(loja: str | None) -> None:
    """Cria o que falta no vhost, e confere que ele é desta loja.

    Levanta o mesmo que Conexao(), e Falha (código 2) se o vhost é de outra loja.
    """
    with avulso(loja):
        pass


def esvaziar_filas(loja: str | None, tomar: bool = False) -> None:
    """Apaga e cria de novo as filas do projeto, com o que esperava nelas.

    tomar: se o vhost é de outra loja, passa a ser desta. Levanta o mesmo que preparar().
    """
    with Conexao("limpeza") as conexao:
        if loja and not tomar:
            conexao.pedir(declarar_dona, conexao.canal, loja)
        with traduzindo():
            conexao.canal.queue_delete(FILA)
            conexao.canal.exchange_delete(EXCHANGE)
            for servico in SERVICOS:
                conexao.canal.queue_delete(servico)
                conexao.canal.queue_delete(f"{servico}.mortas")
        declarar(conexao, loja)


@contextmanager
def avulso(loja: str | None = None, tipo=Conexao):
    """Uma conexão para uma tarefa curta, com tudo já declarado, fechada ao fim dela."""
    with tipo("tarefa avulsa") as conexao:
        declarar(conexao, loja)
        yield conexao
