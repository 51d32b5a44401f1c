"""O que os bancos dizem sobre um pedido, posto na ordem das causas e na de cada serviço.

As duas caixas de um serviço são o log dele: que eventos tratou, o que publicou por causa de cada
um, e em que ordem. O que um tratou, outro publicou antes: juntar os logs assim é seguir as causas,
sem relógio nenhum. O que não tem causa entrou pela porta (um pedido novo, um pedido de
cancelamento) ou foi publicado à mão.
"""

from __future__ import annotations

import json
import sqlite3
from typing import NamedTuple

from comum.tela import reais
from coreografia import EVENTOS, SERVICOS, o_que_ouve, quem_ouve

CANCELAMENTO = "pedido.cancelamento_solicitado"
# O que vale neste instante no negócio de cada um; NULL se nada.
VALE = {
    "estoque": "SELECT group_concat(quantidade || ' ' || produto, ', ') FROM reservas "
               "WHERE pedido = ?",
    "pagamentos": "SELECT max('cobrado de ' || cliente) FROM cobrancas WHERE pedido = ?",
    "envio": "SELECT max(situacao) FROM envios WHERE pedido = ?",
}
ENTRADA = ("SELECT mensagem FROM {}.caixa_entrada WHERE mensagem IN (SELECT value FROM json_each(?)) "
           "ORDER BY ordem")
SAIDA = """SELECT tipo, causa, enviado,
                  CASE WHEN json_valid(corpo) THEN json_extract(corpo, '$.motivo') END
             FROM {}.caixa_saida WHERE pedido = ? ORDER BY ordem"""
FALHAS = """SELECT mensagem, restam, motivo FROM {0}.tentativas
             WHERE mensagem IN (SELECT value FROM json_each(?1))
            UNION ALL SELECT mensagem, -1, motivo FROM {0}.mortas
             WHERE mensagem IN (SELECT value FROM json_each(?1))"""


class Passo(NamedTuple):
    """O que um serviço fez de uma vez: o evento que tratou (None: nenhum) e os que publicou."""

    servico: str
    tratou: str | None
    publicou: list[str]


class Historia:
    """Tudo o que os bancos dizem sobre um pedido.

    registro: (cliente, total, estado, motivo), da tabela pedidos, ou None se ela não o conhece.
    passos: na ordem das causas. motivos: {evento publicado: o motivo que leva, ou None}.
    por_enviar: os eventos sem a resposta do broker. falhas: {(serviço, evento): (restam, motivo)},
    com restam negativo se já foi para as mortas. fatos: [(banco, o que ele diz)].

    banco: a conexão de lendo(). Levanta sqlite3.Error se algum não pode ser lido.
    """

    def __init__(self, banco: sqlite3.Connection, pedido: str):
        self.banco, self.pedido = banco, pedido
        self.motivos, self.por_enviar, self.falhas = {}, set(), {}
        self.registro = banco.execute(
            "SELECT cliente, total, estado, motivo FROM pedidos WHERE pedido = ?",
            (pedido,)).fetchone()
        logs = {servico: self._ler(servico) for servico in SERVICOS}
        self.tratados = {(passo.servico, passo.tratou) for log in logs.values() for passo in log}
        self.falhas = {quem: falha for quem, falha in self.falhas.items()
                       if quem not in self.tratados}
        self.fatos = [*self._fatos(logs)]
        self.passos = self._em_ordem({servico: [*log] for servico, log in logs.items()})

    def _ler(self, servico: str) -> list[Passo]:
        """O log de um serviço: os passos dele, na ordem em que os deu."""
        ouve = {f"{self.pedido}:{tipo}": tipo for tipo in o_que_ouve(servico)}
        ids = json.dumps([*ouve])
        ler = lambda sql, valor: self.banco.execute(sql.format(f"{servico}_db"), (valor,))
        for mensagem, restam, motivo in ler(FALHAS, ids):
            self.falhas.setdefault((servico, ouve[mensagem]), (restam, motivo))
        tratados = [ouve[mensagem] for mensagem, in ler(ENTRADA, ids)]
        passos: list[Passo] = []
        for tipo, causa, enviado, motivo in ler(SAIDA, self.pedido):
            if tipo in self.motivos or EVENTOS.get(tipo, " ")[0] != servico:
                continue  # outra vez o mesmo, que ninguém tratou de novo; ou o que não é dele
            self.motivos[tipo] = motivo
            if not enviado:
                self.por_enviar.add(tipo)
            tratou = ouve.get(causa)
            if tratou and passos and passos[-1].tratou == tratou:
                passos[-1].publicou.append(tipo)
            else:
                passos.append(Passo(servico, tratou, [tipo]))
        for n, tipo in enumerate(tratados):
            if tipo not in [passo.tratou for passo in passos]:  # em vão: nada publicou
                antes = [k for k, passo in enumerate(passos, 1) if passo.tratou in tratados[:n]]
                passos.insert(max(antes, default=0), Passo(servico, tipo, []))
        return passos

    @staticmethod
    def _em_ordem(logs: dict[str, list[Passo]]) -> list[Passo]:
        """Junta os logs: cada passo depois do anterior do mesmo serviço e do que o causou.

        Entre os que podem vir, primeiro o que continua alguma coisa; por último, um resultado.
        """
        publicados = {tipo for log in logs.values() for passo in log for tipo in passo.publicou}
        ditos: list[str] = []
        ordem: list[Passo] = []

        def vez(passo: Passo) -> tuple:
            falta = passo.tratou in publicados and passo.tratou not in ditos
            resultado = any(not quem_ouve(tipo) for tipo in passo.publicou)
            return (falta, passo.tratou is None, resultado,
                    ditos.index(passo.tratou) if passo.tratou in ditos else -1)

        while restam := [log for log in logs.values() if log]:
            passo = min(restam, key=lambda log: vez(log[0])).pop(0)
            ordem.append(passo)
            ditos += passo.publicou
        return ordem

    def _fatos(self, logs: dict[str, list[Passo]]):
        if self.registro:
            cliente, total, estado, _ = self.registro
            yield "pedidos.db", f"pedido de {cliente}, {reais(total)}, {estado}"
        for servico, log in logs.items():
            for _, tratou, publicou in log:
                if tratou:
                    yield (f"{servico}.db",
                           f"tratou {tratou} → {', '.join(publicou) or 'nada a publicar'}")
                elif CANCELAMENTO in publicou:
                    yield f"{servico}.db", "o cliente pediu o cancelamento"
            for (quem, tipo), (_, motivo) in self.falhas.items():
                if quem == servico:
                    yield f"{servico}.db", f"falhou em {tipo}: {motivo}"
            for tipo in [tipo for passo in log for tipo in passo.publicou]:
                if tipo in self.por_enviar:
                    yield f"{servico}.db", f"na caixa de saída: {tipo}"
            if servico in VALE:
                vale = self.banco.execute(VALE[servico], (self.pedido,)).fetchone()[0]
                if vale:
                    yield f"{servico}.db", f"vale agora: {vale}"

    @property
    def eventos(self) -> list[str]:
        """Os eventos do pedido, na ordem das causas; o que foi publicado à mão, onde aparece."""
        vistos = [tipo for passo in self.passos for tipo in (passo.tratou, *passo.publicou) if tipo]
        return [*dict.fromkeys([*vistos, *(tipo for _, tipo in self.falhas)])]

    def por_tratar(self) -> list[tuple[str, str | None]]:
        """Os (evento, ouvinte) que faltam; ouvinte None: um resultado por anunciar."""
        return [(tipo, ouvinte) for tipo in self.eventos for ouvinte in quem_ouve(tipo) or (None,)
                if (ouvinte, tipo) not in self.tratados and (ouvinte or tipo in self.por_enviar)]
