"""As filas e o exchange: criar, contar, esvaziar; e de que loja é o vhost.

O desenho delas é o de coreografia.py: cada serviço tem uma fila quorum com o seu nome, ligada ao
exchange pelos eventos que ouve, e NOME.mortas, para as mensagens que não entendeu, em que falhou,
ou que o broker matou. Todas recusam publicações quando estão cheias (reject-publish): sem isso, um
max-length posto por uma política do administrador faria o broker jogar fora o que já confirmou. O
que uma política pode fazer assim mesmo está no README.

Uma loja, um vhost: duas lojas num vhost comeriam os eventos uma da outra. A identidade da loja
(comum/identidade.py) é um argumento de um exchange que nada recebe: o próprio broker o compara a
cada declaração, e recusa outro (406). Uma fila serviria, mas uma política com `expires` a apagaria.
(Manual do RabbitMQ: "Quorum Queues", "Dead Letter Exchanges", "Topic Exchange", "Queues", seção
"Declaration and Property Equivalence".)
"""

import uuid

from comum.falha import Falha
from coreografia import SERVICOS, o_que_ouve
from rabbitmq.acesso import onde
from rabbitmq.conexao import Conexao

EXCHANGE = "loja"
IDENTIDADE = "loja.identidade"  # o exchange que diz de que loja é o vhost
FILAS = [fila for servico in SERVICOS for fila in (f"{servico}.mortas", servico)]
# Quorum, e para sempre: declarar uma fila com outros argumentos é um erro (406). O limite de
# entregas é uma barreira distante, para uma mensagem que mate o processo antes de ele poder contar
# as tentativas. Pequeno demais, condenaria mensagens sãs de um serviço morto muitas vezes: cada
# conexão que cai conta uma entrega para tudo o que estava em mãos.
ARGUMENTOS = {"x-queue-type": "quorum", "x-delivery-limit": 100_000, "x-overflow": "reject-publish"}


def declarar(conexao: Conexao) -> None:
    """Cria as filas, o exchange e as ligações de todos; repetir não muda nada.

    De que loja é o vhost se confere antes de tudo. Qualquer serviço declara tudo: assim o primeiro
    a subir já guarda os eventos dos que ainda não subiram. O exchange vem depois das filas: só se
    publica nas que já sobreviveriam a um kill -9 no broker. Depois das duas perguntas do começo, só
    a última espera resposta: o broker executa na ordem, e encerra o canal no que recusar.
    """
    canal = conexao.canal
    conferir_identidade(conexao)
    novas = not conexao.perguntar(404, "exchange_declare", EXCHANGE, passive=True)
    for servico in SERVICOS:
        mortas = f"{servico}.mortas"
        canal.queue_declare(mortas, durable=True, arguments=ARGUMENTOS)
        canal.queue_declare(servico, durable=True, arguments={
            **ARGUMENTOS, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": mortas})
    if novas:
        gravar_ultima_fila(canal)
    canal.exchange_declare(EXCHANGE, "topic", durable=True)
    for servico in SERVICOS:
        for tipo in o_que_ouve(servico):
            canal.queue_bind(servico, EXCHANGE, tipo)
    conexao.pedir(canal.exchange_declare, EXCHANGE, passive=True)


def conferir_identidade(conexao: Conexao) -> None:
    """Toma o vhost para a loja da conexão, se é de ninguém; Falha (código 2) se é de outra."""
    if conexao.loja:
        conexao.pedir(conexao.canal.exchange_declare, **identidade_de(conexao.loja))


def identidade_de(loja: str) -> dict:
    """O exchange que diz de quem é o vhost: declarado de novo com outra loja, o broker o recusa."""
    return {"exchange": IDENTIDADE, "exchange_type": "fanout", "durable": True,
            "arguments": {"alternate-exchange": f"{EXCHANGE}.{loja}"}}


def gravar_ultima_fila(canal) -> None:
    """Faz o RabbitMQ escrever o nome da última fila quorum criada.

    Ele o guarda na memória até criar a seguinte, ou por cerca de um segundo (ra_directory.erl).
    Morto com SIGKILL nesse meio-tempo, o 3.10 e o 4.0 voltam com uma fila que existe e responde
    com um erro; o 4.3, com ela vazia, e sem dizer nada. O que ela tinha confirmado se perde.
    """
    seguinte = f"{EXCHANGE}.{uuid.uuid4()}"
    canal.queue_declare(seguinte, durable=True, arguments={"x-queue-type": "quorum"})
    canal.queue_delete(seguinte)


def profundidades(loja: str | None) -> dict[str, int]:
    """Quantas mensagens esperam em cada fila do projeto, sem criar nada; {} se não há fila nenhuma.

    Levanta o mesmo que Conexao(), e Falha (código 2) se o vhost é de outra loja.
    """
    with Conexao("rastro", loja) as conexao:
        if filas := existentes(conexao):  # quem as criou deixou antes a marca de quem era
            conferir_identidade(conexao)
        return {nome: fila.message_count for nome, fila in filas.items()}


def existentes(conexao: Conexao) -> dict:
    """{fila do projeto que existe: o que o broker diz dela (message_count, consumer_count)}."""
    filas = {nome: conexao.perguntar(404, "queue_declare", nome, passive=True) for nome in FILAS}
    return {nome: fila for nome, fila in filas.items() if fila}


def conferir_limpeza(lojas: list[str], tomar: bool = False) -> None:
    """Antes de --limpar: Falha (código 2) se não se pode esvaziar as filas, e nada se perde.

    lojas: as da pasta; o vhost tem de ser de uma delas. tomar: ou de outra loja qualquer. Nem assim
    se apagam as filas de que alguém recebe: os pedidos dele ficariam pendentes para sempre.
    """
    *outras, ultima = lojas
    with Conexao("limpeza", ultima) as conexao:
        if not tomar and not any(conexao.perguntar(406, "exchange_declare", **identidade_de(loja))
                                 for loja in outras):
            conferir_identidade(conexao)
        if any(fila.consumer_count for fila in existentes(conexao).values()):
            raise Falha(f"há programas recebendo destas filas em {onde()}: encerre-os antes de "
                        "--limpar", 2)


def esvaziar_filas(loja: str | None) -> None:
    """Apaga as filas do projeto, com o que esperava nelas, e as cria de novo, desta loja.

    Quem chama já passou por conferir_limpeza(). Morrer no meio deixa o vhost de outra loja, e a
    recusa diz como terminar. Levanta o mesmo que Conexao().
    """
    with Conexao("limpeza", loja) as conexao:
        conexao.canal.exchange_delete(EXCHANGE)
        for fila in [*FILAS, "loja.dona"]:  # esta é de uma versão anterior
            conexao.canal.queue_delete(fila)
        conexao.canal.exchange_delete(IDENTIDADE)  # só agora o vhost é de ninguém
        declarar(conexao)
