"""O transporte que junta: um lote sai de uma vez, chega inteiro, e nada fica por mandar."""

from __future__ import annotations

from threading import Thread

import pytest

from bloqueante import no_endereco
from verbos import M


class Espia:
    """O transporte do pika, e o tamanho de cada coisa que lhe mandaram escrever."""

    escritas: list[int] = []

    def __init__(self, do_pika):
        self.do_pika = do_pika

    def write(self, dados: bytes) -> None:
        self.escritas.append(len(dados))
        self.do_pika.write(dados)

    def __getattr__(self, nome):
        return getattr(self.do_pika, nome)


@pytest.fixture
def publicador(url, monkeypatch):
    transporte = M.ajustes_do_pika.Transporte
    monkeypatch.setattr(M.ajustes_do_pika, "Transporte", lambda do_pika, laco: transporte(Espia(do_pika), laco))
    with no_endereco(url), M.canal.Publicador("teste") as publicador:
        publicador.pedir(publicador.canal.queue_declare, "fila")
        yield publicador


def esperando(publicador) -> int:
    return publicador.pedir(publicador.canal.queue_declare, "fila", passive=True).message_count


def mandar(publicador, quantas: int, tamanho: int) -> None:
    for _ in range(quantas):
        publicador.enfileirar("", "fila", b"x" * tamanho, M.canal.envelope("pedido.criado", "p-1", None, 0), True)
    assert not publicador.esperar_respostas()


def test_um_lote_inteiro_e_uma_escrita_so(publicador):
    Espia.escritas.clear()
    mandar(publicador, 200, 300)
    assert len(Espia.escritas) == 1 and Espia.escritas[0] > 200 * 300
    assert esperando(publicador) == 200


def test_um_lote_que_nao_cabe_na_rede_chega_inteiro(publicador):
    """Treze megabytes: o socket não os aceita de uma vez, e o resto espera no pika."""
    mandar(publicador, 200, 64 * 1024)
    assert esperando(publicador) == 200


def test_o_que_falta_mandar_sai_antes_do_adeus(url):
    """Um ack dado no último instante: a fila não entrega de novo o que já foi tratado."""
    with no_endereco(url):
        with M.canal.Publicador("um") as um:
            um.pedir(um.canal.queue_declare, "fila")
            mandar(um, 5, 10)
            chegaram: list = []
            um.pedir(um.canal.basic_consume, "fila", lambda c, metodo, p, corpo: chegaram.append(metodo.delivery_tag))
            um.esperar(lambda: len(chegaram) == 5)
            um.canal.basic_ack(chegaram[2], multiple=True)
        with M.canal.Publicador("outro") as outro:
            assert esperando(outro) == 2


def test_o_adeus_do_broker_acaba_a_espera_por_ele(url):
    """Senão, cada conexão que se fecha custaria a espera inteira."""
    with no_endereco(url):
        conexao = M.conexao.Conexao("um")
    conexao._girar = lambda _, passo=conexao._girar: passo(3600)
    fecho = Thread(target=conexao.fechar, daemon=True)
    fecho.start()
    fecho.join(30)
    assert not fecho.is_alive()
