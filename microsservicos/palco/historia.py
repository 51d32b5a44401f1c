"""O que os bancos dizem sobre um pedido, posto na ordem das causas e na de cada serviço.

As duas caixas de um serviço são o log dele: que eventos tratou, o que publicou por causa de cada
um, e em que ordem. O que um tratou, outro publicou antes: juntar os logs assim é seguir as causas,
sem relógio nenhum. O que não tem causa entrou pela porta (um pedido novo, um pedido de
cancelamento) ou foi publicado à mão.
"""

import json
import sqlite3
from typing import Iterator, NamedTuple

from comum.tela import reais
from coreografia import SERVICOS, o_que_ouve, o_que_publica, quem_ouve

ENTRADA = ("SELECT mensagem FROM {}.caixa_entrada "
           "WHERE mensagem IN (SELECT value FROM json_each(?)) ORDER BY ordem")
SAIDA = """SELECT tipo, causa, enviado,
                  CASE WHEN json_valid(corpo) THEN json_extract(corpo, '$.motivo') END
             FROM {}.caixa_saida WHERE pedido = ? ORDER BY ordem"""
FALHAS = """SELECT mensagem, -1, motivo FROM {0}.mortas
             WHERE mensagem IN (SELECT value FROM json_each(?1))
            UNION ALL SELECT mensagem, restam, motivo FROM {0}.tentativas
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
    com restam negativo se já foi para as mortas.

    banco: a conexão de lendo(), sem o banco de quem ainda não rodou.
    Levanta sqlite3.Error se algum não pode ser lido.
    """

    def __init__(self, banco: sqlite3.Connection, pedido: str):
        self.banco, self.pedido, self.registro = banco, pedido, None
        self.motivos, self.por_enviar, self.falhas = {}, set(), {}
        anexados = {nome for _, nome, _ in banco.execute("PRAGMA database_list")}
        self.servicos = [nome for nome in SERVICOS if f"{nome}_db" in anexados]
        if "pedidos" in self.servicos:
            self.registro = banco.execute("SELECT cliente, total, estado, motivo FROM pedidos "
                                          "WHERE pedido = ?", (pedido,)).fetchone()
        logs = [self._ler(servico) for servico in self.servicos]
        self.tratados = {(passo.servico, passo.tratou) for log in logs for passo in log}
        self.passos = self._em_ordem(logs)

    def _ler(self, servico: str) -> list[Passo]:
        """O log de um serviço: os passos dele, na ordem em que os deu."""
        ouve = {f"{self.pedido}:{tipo}": tipo for tipo in o_que_ouve(servico)}
        ler = lambda sql, valor: self.banco.execute(sql.format(f"{servico}_db"), (valor,))
        ids = json.dumps([*ouve])
        tratados = [ouve[mensagem] for mensagem, in ler(ENTRADA, ids)]
        passos, ultimo = [Passo(servico, tipo, []) for tipo in tratados], -1
        self.falhas |= {(servico, ouve[mensagem]): (restam, motivo)
                        for mensagem, restam, motivo in ler(FALHAS, ids)
                        if ouve[mensagem] not in tratados}
        for tipo, causa, enviado, motivo in ler(SAIDA, self.pedido):
            if tipo in self.motivos or tipo not in o_que_publica(servico):
                continue  # outra vez o mesmo, que ninguém tratou de novo; ou o que não é dele
            self.motivos[tipo] = motivo
            self.por_enviar |= set() if enviado else {tipo}
            if ouve.get(causa) in tratados:
                ultimo = [passo.tratou for passo in passos].index(ouve[causa])
            else:  # de um cliente, ou escrito à mão
                ultimo += 1
                passos.insert(ultimo, Passo(servico, ouve.get(causa), []))
            passos[ultimo].publicou.append(tipo)
        return passos

    @staticmethod
    def _em_ordem(logs: list[list[Passo]]) -> list[Passo]:
        """Junta os logs: cada passo depois do anterior do mesmo serviço e do que o causou.

        Entre os que podem vir, primeiro o que continua alguma coisa; por último, um resultado.
        """
        publicados = {tipo for log in logs for passo in log for tipo in passo.publicou}
        ordem, ditos, restam = [], [], [[*log] for log in logs]

        def vez(log: list[Passo]) -> tuple:
            _, tratou, publicou = log[0]
            return (tratou in publicados and tratou not in ditos, tratou is None,
                    not all(map(quem_ouve, publicou)), [*ditos, tratou].index(tratou))

        while restam := [log for log in restam if log]:
            ordem.append(min(restam, key=vez).pop(0))
            ditos += ordem[-1].publicou
        return ordem

    def fatos(self) -> Iterator[tuple[str, str]]:
        """(banco, o que ele diz), um a um."""
        if self.registro:
            cliente, total, estado, _ = self.registro
            yield "pedidos.db", f"pedido de {cliente}, {reais(total)}, {estado}"
        for servico, tratou, publicou in self.passos:
            o_que = f"tratou {tratou}" if tratou else "por conta do cliente"
            yield f"{servico}.db", f"{o_que} → {', '.join(publicou) or 'nada a publicar'}"

    @property
    def eventos(self) -> list[str]:
        """Os eventos do pedido, na ordem das causas; o que foi publicado à mão, onde aparece."""
        vistos = [tipo for passo in self.passos for tipo in (passo.tratou, *passo.publicou) if tipo]
        return [*dict.fromkeys([*vistos, *(tipo for _, tipo in self.falhas)])]

    def por_tratar(self) -> list[tuple[str, str | None]]:
        """Os (evento, ouvinte) que faltam; ouvinte None: um resultado por anunciar."""
        return [(tipo, ouvinte) for tipo in self.eventos for ouvinte in quem_ouve(tipo) or (None,)
                if (ouvinte, tipo) not in self.tratados and (ouvinte or tipo in self.por_enviar)]
