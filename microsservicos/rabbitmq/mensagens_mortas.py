"""Ler as filas de mensagens mortas sem as gastar, e devolver à fila do serviço o que lá está.

O AMQP não deixa espiar uma fila: ler é receber, e o que um recebe os outros deixam de ver. Por
isso quem lê pega tudo depressa, guarda só o que se mostra, devolve tudo à fila e larga a conexão;
só então se mostra qualquer coisa. Dois leitores se esperam: cada um vê todas.
(Manual do RabbitMQ: "Queues", seção "Exclusive Queues"; "Dead Letter Exchanges".)
"""

import time
from contextlib import contextmanager
from typing import Iterator, NamedTuple

from comum.falha import Falha
from rabbitmq.acesso import BrokerFora, onde, pika
from rabbitmq.canal import Publicador, refazer
from rabbitmq.filas import declarar
from rabbitmq.mensagem import simplificar

CHAVE = "loja.leitura"  # uma fila exclusiva: só um leitor de cada vez a tem
ESPERA_PELA_VEZ = 0.2  # segundos entre dois pedidos da chave
PRAZO_DA_VOLTA = 10.0  # segundos para o que foi lido voltar à fila
COMECO = 200  # bytes do corpo: o que se mostra dele, e a memória não cresce com os grandes
PORQUES = {  # x-first-death-reason
    "expired": "venceu o prazo de uma política (message-ttl)",
    "maxlen": "não cabia na fila (max-length com overflow drop-head, de uma política)",
    "delivery_limit": "foi entregue vezes demais sem ack (delivery-limit)",
    "rejected": "um consumidor a rejeitou",
}


class Morta(NamedTuple):
    """O que se mostra de uma mensagem morta. comeco: os primeiros bytes do corpo, como texto."""

    servico: str
    id: str | None
    tipo: str | None
    motivo: str
    comeco: str


def ler(servicos: tuple[str, ...], loja: str | None) -> list[Morta]:
    """As mensagens mortas destes serviços, que continuam nas filas.

    loja: de quem o vhost tem de ser. Levanta o mesmo que Conexao(), e Falha (código 1) se outro
    programa segura parte delas.
    """
    lidas: list[Morta] = []
    with _vez_de_ler(loja) as leitor:
        for servico in servicos:
            antes = len(lidas)
            lidas += [_resumir(servico, corpo, propriedades)
                      for _, corpo, propriedades in _receber(leitor, f"{servico}.mortas")]
            _devolver(leitor, f"{servico}.mortas", len(lidas) - antes)
    return lidas


def reenviar(servico: str, ids: list[str], loja: str | None) -> int:
    """Devolve à fila do serviço as suas mensagens mortas; `ids`, se há algum, escolhe quais.

    Cada uma só sai das mortas depois que o broker respondeu por ela na fila: morrer no meio a
    repete, e a caixa de entrada do serviço reconhece a repetição. Devolve quantas foram. Levanta
    o mesmo que ler(), e BrokerFora se o broker recusou alguma.
    """
    mortas, foram, ficam = f"{servico}.mortas", 0, 0
    with _vez_de_ler(loja) as leitor:
        for entrega, corpo, propriedades in _receber(leitor, mortas):
            if ids and propriedades.get("message_id") not in ids:
                ficam += 1
                continue
            leitor.enfileirar("", servico, corpo, refazer(propriedades, None), True)
            if leitor.esperar_respostas():  # o que está em mãos volta às mortas com a conexão
                raise BrokerFora(f"o RabbitMQ em {onde()} recusou uma mensagem: a fila «{servico}» "
                                 f"está cheia; {foram} foram devolvidas, e as outras seguem em "
                                 f"{mortas}: tente de novo quando houver lugar")
            leitor.canal.basic_ack(entrega)
            # Uma fila quorum guarda na memória da conexão os acks que passam de algumas dezenas, e
            # os perde quando ela se fecha: só se segue quando ela já viu este.
            _quantas(leitor, mortas)
            foram += 1
        _devolver(leitor, mortas, ficam)
    return foram


def _resumir(servico: str, corpo: bytes, propriedades: dict) -> Morta:
    """O motivo é dito nas palavras do serviço ou, se foi o broker que desistiu, nas dele."""
    cabecalhos = propriedades.get("headers") or {}
    palavra = str(cabecalhos.get("x-first-death-reason", "não se sabe por quê"))
    motivo = cabecalhos.get("motivo", "o broker desistiu de entregá-la: "
                                      + PORQUES.get(palavra, palavra))
    comeco = corpo[:COMECO].decode("utf-8", "replace") + "…" * (len(corpo) > COMECO)
    return Morta(servico, propriedades.get("message_id"), propriedades.get("type"), str(motivo),
                 comeco)


@contextmanager
def _vez_de_ler(loja: str | None) -> Iterator[Publicador]:
    """Uma conexão, quando nenhum outro leitor tem as mensagens em mãos."""
    with Publicador("mensagens mortas") as leitor:
        declarar(leitor, loja)
        while not leitor.perguntar(405, "queue_declare", CHAVE, exclusive=True):
            leitor.andar(ESPERA_PELA_VEZ)
        yield leitor


def _receber(leitor: Publicador, fila: str) -> Iterator[tuple[int, bytes, dict]]:
    """As mensagens que já estavam na fila: (entrega, corpo, propriedades). Ficam em mãos.

    Uma que morra de novo enquanto isso fica para a próxima vez.
    """
    chegou, ouvir = leitor.resposta()
    leitor.canal.add_callback(ouvir, [pika.spec.Basic.GetEmpty], one_shot=False)
    total = _quantas(leitor, fila)
    for lidas in range(total):
        leitor.canal.basic_get(fila, ouvir)
        leitor.esperar(lambda: chegou)
        if len(chegou) == 1:  # a fila diz que está vazia
            raise Falha(f"li {lidas} de {total} mensagens de {fila}: outro programa segura as "
                        "outras; encerre-o e tente de novo", 1)
        _, metodo, propriedades, corpo = chegou
        chegou.clear()
        yield metodo.delivery_tag, corpo, simplificar(propriedades)


def _devolver(leitor: Publicador, fila: str, em_maos: int) -> None:
    """O que continua em mãos volta à fila; espera que volte: o próximo leitor verá tudo."""
    prazo, todas = time.monotonic() + PRAZO_DA_VOLTA, _quantas(leitor, fila) + em_maos
    leitor.canal.basic_nack(0, multiple=True, requeue=True)
    while _quantas(leitor, fila) < todas and time.monotonic() < prazo:
        leitor.andar(0.02)


def _quantas(leitor: Publicador, fila: str) -> int:
    return leitor.pedir(leitor.canal.queue_declare, fila, passive=True).message_count
