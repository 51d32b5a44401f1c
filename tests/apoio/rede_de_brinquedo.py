"""A saga inteira numa rede de brinquedo: qualquer ordem de entrega, repetições e quedas, com semente.

Os serviços de verdade, cada um com o seu banco em memória, e entre eles uma sacola de mensagens de
onde o acaso tira a próxima. Serve aos exercícios, em que o serviço novo ou o prazo não cabem em
tests/aula/explorador.py, que visita todas as ordens.
"""

from __future__ import annotations

import json
import random

import pytest

from verbos import M, MODULOS, SERVICOS, banco_em_memoria, contas

Evento = M.coreografia.Evento


class Queda(Exception):
    """O processo morreu neste ponto da transação."""


class Rede:
    """Os quatro bancos, a sacola de mensagens em trânsito e o acaso que escolhe."""

    def __init__(self, semente: int, repetir: float = 0.3, cair: float = 0.2):
        self.acaso, self.repetir, self.cair = random.Random(semente), repetir, cair
        self.bancos = {nome: banco_em_memoria(nome) for nome in SERVICOS}
        self.sacola: list[tuple[str, Evento]] = []
        self.passaram: set[str] = set()

    def enviar(self, dados: dict) -> None:
        self._entrar(M.servico_pedidos.receber, dados)

    def cancelar(self, id: str) -> None:
        self._entrar(M.servico_pedidos.solicitar_cancelamento, id)

    def _entrar(self, funcao, dados) -> None:
        M.servico_pedidos.entrar_na_saga(self.bancos["pedidos"], funcao, [dados])
        self.esvaziar("pedidos")

    def passo(self) -> None:
        """Entrega uma mensagem qualquer; às vezes o serviço cai no meio, às vezes ela fica para se repetir."""
        quem, evento = self.sacola.pop(self.acaso.randrange(len(self.sacola)))
        if self.acaso.random() < self.repetir:
            self.sacola.append((quem, evento))
        caiu = self.acaso.random() < self.cair
        try:
            with M.banco.transacao(self.bancos[quem]):
                M.caixas.tratar(self.bancos[quem], quem, MODULOS[quem].OUVE[evento.tipo], evento)
                if caiu:
                    raise Queda  # antes do COMMIT: nada ficou, e a fila entrega de novo
        except Queda:
            self.sacola.append((quem, evento))
        self.esvaziar(quem)

    def esvaziar(self, quem: str) -> None:
        """Publica a caixa de saída; às vezes cai antes de anotar que publicou, e publica tudo outra vez."""
        for ordem, tipo, id, corpo, causa in M.caixas.a_enviar(self.bancos[quem], M.coreografia.EVENTOS, 100):
            evento = Evento(tipo, id, json.loads(corpo), causa)
            self.passaram.add(evento.mensagem)
            for ouvinte in M.coreografia.quem_ouve(tipo):
                self.sacola += [(ouvinte, evento)] * self.acaso.choice((1, 1, 2))
            M.caixas.marcar_enviados(self.bancos[quem], [ordem])

    def ate_o_fim(self) -> None:
        for passos in range(100_000):
            if not self.sacola:
                return
            self.passo()
        pytest.fail("a saga não termina: as mensagens não param de gerar outras")

    def tabela(self, nome: str, sql: str) -> dict:
        return dict(self.bancos[nome].execute(sql))

    def estados(self) -> dict:
        return self.tabela("pedidos", "SELECT pedido, estado FROM pedidos")

    def conferir(self, enviados: list[dict]) -> None:
        estados = self.estados()
        assert set(estados) == {p["pedido"] for p in enviados} and "pendente" not in estados.values(), estados
        ids = {id for id, estado in estados.items() if estado == "concluido"}
        certas = contas(enviados, ids)
        assert self.tabela("estoque", "SELECT produto, quantidade FROM produtos") == certas["produtos"]
        assert self.tabela("pagamentos", "SELECT cliente, saldo FROM clientes") == certas["clientes"]
        assert self.tabela("envio", "SELECT pedido, situacao FROM envios") == certas["envios"]
        assert set(self.tabela("estoque", "SELECT pedido, 1 FROM reservas")) == ids
        assert set(self.tabela("pagamentos", "SELECT pedido, 1 FROM cobrancas")) == ids
        for id, estado in estados.items():
            assert f"{id}:pedido.{estado}" in self.passaram
            assert f"{id}:pedido.{'cancelado' if estado == 'concluido' else 'concluido'}" not in self.passaram
