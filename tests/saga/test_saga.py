"""A saga nas filas de verdade: cada cenário, a forma das mensagens, as repetições. Toda ordem: test_explorador.py."""

from __future__ import annotations

import json
import time
import uuid

import pika
import pytest

from conftest import esperar
from test_servicos import CONTRATO
from verbos import (CENARIOS, FELIZ, SERVICOS, Loja, cenario, loja_aberta, loja_do_arquivo, propriedades,  # noqa: F401
                    total)

IDA_E_VOLTA = {
    "sucesso": [*FELIZ, "pedido.concluido"],
    "sem-estoque": ["pedido.criado", "estoque.recusado", "pedido.cancelado"],
    "pagamento-recusado": ["pedido.criado", "estoque.reservado", "pagamento.recusado", "estoque.liberado", "pedido.cancelado"],
    "envio-recusado": ["pedido.criado", "estoque.reservado", "pagamento.aprovado", "envio.recusado", "pagamento.estornado",
                       "estoque.liberado", "pedido.cancelado"],
}
OUVINTE = {tipo: ouvem[0] for tipo, (_, ouvem) in CONTRATO.items() if ouvem}


def novo_id() -> str:
    return uuid.uuid4().hex[:12]


@pytest.fixture
def escuta(loja_aberta):
    """O que passa pelo exchange: escuta(id) são as mensagens de um pedido, (método, propriedades, corpo)."""
    mensagens: list = []
    with loja_aberta.canal() as canal:
        fila = canal.queue_declare("", exclusive=True).method.queue
        canal.queue_bind(fila, "loja", "#")

        def ouvir(id: str) -> list:
            mensagens.extend(iter(lambda: canal.basic_get(fila, auto_ack=True), (None, None, None)))
            return [mensagem for mensagem in mensagens if mensagem[1].correlation_id == id]
        yield ouvir
        canal.queue_delete(fila)


def tipos(mensagens: list) -> list[str]:
    """Os eventos, na ordem em que passaram."""
    return [p.type for _, p, _ in mensagens]


def fazer(loja: Loja, nome: str) -> str:
    """Um pedido do cenário, do começo ao fim; devolve o id."""
    id = novo_id()
    loja.enviar(cenario(nome, id))
    loja.esperar_finais()
    return id


# --- os cenários, e a forma das mensagens ---

@pytest.mark.parametrize("nome", CENARIOS)
def test_cenario_passa_pelos_eventos_do_contrato_e_cada_mensagem_leva_o_que_ele_diz(loja_aberta, escuta, nome):
    """A volta, na ordem inversa."""
    antes = int(time.time())
    id = fazer(loja_aberta, nome)
    esperar(lambda: IDA_E_VOLTA[nome][-1] in tipos(escuta(id)), que="o último evento")
    assert loja_aberta.resultado(id) == CENARIOS[nome][1:]
    assert tipos(escuta(id)) == IDA_E_VOLTA[nome]
    loja_aberta.conferir_repouso()
    causa = None
    for metodo, p, corpo in escuta(id):
        assert metodo.exchange == "loja" and metodo.routing_key == p.type and not metodo.redelivered
        esperadas = {**propriedades(p.type, {"pedido": id}), "headers": {"causa": causa, "versao": 1}, "timestamp": p.timestamp}
        assert {campo: getattr(p, campo) for campo in esperadas} == esperadas
        assert antes <= p.timestamp <= time.time() + 1
        assert not any((p.expiration, p.priority, p.reply_to, p.user_id, p.cluster_id, p.content_encoding))
        dados = json.loads(corpo)
        if p.type.endswith((".recusado", ".estornado", ".liberado", ".cancelado")):
            assert dados == {"pedido": id, "motivo": CENARIOS[nome][2]}
        else:
            assert dados == {**cenario(nome, id), "total": total(cenario(nome))}
        causa = p.message_id


def test_exchange_e_filas_sao_os_do_contrato(loja_aberta):
    """Declarar de novo com os mesmos argumentos passa; com outros, o broker recusa."""
    quorum = {"x-queue-type": "quorum", "x-delivery-limit": 100_000, "x-overflow": "reject-publish"}
    for nome in SERVICOS:
        with loja_aberta.canal() as canal:
            canal.exchange_declare("loja", "topic", durable=True)
            canal.queue_declare(f"{nome}.mortas", durable=True, arguments=quorum)
            canal.queue_declare(nome, durable=True, arguments={
                **quorum, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{nome}.mortas"})
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="PRECONDITION_FAILED"), loja_aberta.canal() as canal:
            canal.queue_declare(nome, durable=True)


# --- repetições ---

@pytest.mark.parametrize("nome", CENARIOS)
def test_cada_evento_entregue_de_novo_nao_muda_nem_publica_nada(loja_aberta, escuta, nome):
    id = fazer(loja_aberta, nome)
    loja_aberta.conferir_repouso()
    de_novo = [m for m in escuta(id) if m[1].type in OUVINTE]
    assert len(de_novo) == len(IDA_E_VOLTA[nome]) - 1
    for metodo, p, corpo in reversed(de_novo):
        loja_aberta.publicar_crua(OUVINTE[p.type], corpo, exchange="", vezes=3, **vars(p))
    fazer(loja_aberta, "sucesso")  # passa por todas as filas, depois das repetições
    loja_aberta.conferir_repouso()
    assert tipos(escuta(id)) == IDA_E_VOLTA[nome], "a repetição fez alguém publicar de novo"
