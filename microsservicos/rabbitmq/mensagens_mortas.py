"""Ler as filas de mensagens mortas sem as gastar, e devolver à fila do serviço o que lá está.

O AMQP não deixa espiar uma fila: ler é receber, e o que um recebe os outros deixam de ver. Por
isso quem lê pega tudo depressa, guarda só o que se mostra, devolve tudo à fila e larga a conexão;
só então se mostra qualquer coisa. Dois leitores se esperam: cada um vê todas.
(Manual do RabbitMQ: "Queues", seção "Exclusive Queues"; "Dead Letter Exchanges".)
"""

import time
from typing import Iterable, Iterator, NamedTuple

from rabbitmq.acesso import BrokerFora, onde, pika
from rabbitmq.canal import Publicador, refazer
from rabbitmq.filas import declarar
from rabbitmq.mensagem import simplificar

CHAVE = "loja.leitura"  # uma fila exclusiva: só um leitor de cada vez a tem
ESPERA_PELA_VEZ = 0.2  # segundos entre dois pedidos da chave
PRAZO_DA_VOLTA = 10.0  # segundos para o que foi lido voltar à fila
COMECO = 200  # bytes do corpo: o que se mostra dele, e a memória não cresce com os grandes


class Morta(NamedTuple):
    """O que se mostra de uma mensagem morta. comeco: os primeiros bytes do corpo, como texto."""

    servico: str
    id: str | None
    tipo: str | None
    motivo: str
    comeco: str


def ler(servicos: Iterable[str], ids: list[str], loja: str | None,
        reenviar: bool = False) -> list[Morta]:
    """As mensagens mortas destes serviços; ficam onde estão, ou voltam à fila de cada um.

    ids: se há algum, só estas. loja: de quem o vhost tem de ser. reenviar: se voltam; morrer no
    meio repete uma, e a caixa de entrada do serviço a reconhece. Levanta o mesmo que Conexao(), e
    BrokerFora se o broker recusou alguma, ou se saiu outra enquanto se lia.
    """
    lidas: list[Morta] = []
    with Publicador("mensagens mortas", loja) as leitor:
        declarar(leitor)
        while not leitor.perguntar(405, "queue_declare", CHAVE, exclusive=True):
            leitor.andar(ESPERA_PELA_VEZ)
        for servico in servicos:
            em_maos = 0
            for entrega, corpo, propriedades in _receber(leitor, f"{servico}.mortas"):
                em_maos += 1
                if ids and propriedades.get("message_id") not in ids:
                    continue
                lidas.append(_resumir(servico, corpo, propriedades))
                if reenviar:
                    _mandar_de_volta(leitor, servico, entrega, corpo, propriedades)
                    em_maos -= 1
            _devolver(leitor, f"{servico}.mortas", em_maos)
    return lidas


def _resumir(servico: str, corpo: bytes, propriedades: dict) -> Morta:
    """O motivo é dito nas palavras do serviço ou, se foi o broker que desistiu, na dele."""
    cabecalhos = propriedades.get("headers") or {}
    do_broker = cabecalhos.get("x-first-death-reason", "não diz por quê")
    motivo = cabecalhos.get("motivo") or f"o broker desistiu de entregá-la: «{do_broker}»"
    comeco = corpo[:COMECO].decode("utf-8", "replace") + "…" * (len(corpo) > COMECO)
    return Morta(servico, propriedades.get("message_id"), propriedades.get("type"), str(motivo),
                 comeco)


def _mandar_de_volta(leitor: Publicador, servico: str, entrega: int, corpo: bytes,
                     propriedades: dict) -> None:
    """Só sai das mortas depois que o broker respondeu por ela na fila do serviço."""
    leitor.enfileirar("", servico, corpo, refazer(propriedades, None), True)
    if leitor.esperar_respostas():  # o que está em mãos volta às mortas com a conexão
        raise BrokerFora(f"o RabbitMQ em {onde()} recusou uma mensagem: a fila «{servico}» está "
                         f"cheia; as que não voltaram a ela seguem em {servico}.mortas: tente de "
                         "novo quando houver lugar")
    leitor.canal.basic_ack(entrega)
    # Uma fila quorum guarda na memória da conexão os acks que passam de algumas dezenas, e os
    # perde quando ela se fecha: só se segue quando ela já viu este.
    _quantas(leitor, f"{servico}.mortas")


def _receber(leitor: Publicador, fila: str) -> Iterator[tuple[int, bytes, dict]]:
    """As mensagens que já estavam na fila: (entrega, corpo, propriedades). Ficam em mãos.

    Uma que morra de novo enquanto isso fica para a próxima vez.
    """
    chegou, ouvir = leitor.resposta()
    leitor.canal.add_callback(ouvir, [pika.spec.Basic.GetEmpty], one_shot=False)
    for _ in range(_quantas(leitor, fila)):
        leitor.canal.basic_get(fila, ouvir)
        leitor.esperar(lambda: chegou)
        if len(chegou) == 1:  # a fila já está vazia: o prazo de uma política, ou outro programa
            raise BrokerFora(f"mensagens saíram de {fila} enquanto eu as lia: rode de novo")
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
