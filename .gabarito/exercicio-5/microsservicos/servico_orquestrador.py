"""Orquestrador: conduz a saga de cada pedido, um comando de cada vez.

Fila:     orquestrador
Ouve:     pedido.criado, e a resposta de cada comando   -> seguir
          pedido.cancelamento_solicitado                -> desistir, se ainda dá tempo
Publica:  os comandos: os de SEGUE e os de DESISTE
Desfaz:   nada seu; manda desfazer, do último passo para o primeiro

Um comando só sai depois da resposta do anterior. Por isso nenhuma compensação chega antes da sua
ação, e os outros serviços não precisam de lápides: quem se lembra de tudo é a tabela `sagas`.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # o Python já o faz, menos com PYTHONSAFEPATH

from servico import ouvir

TABELAS = """
-- passo: o último comando mandado (NULL: nenhum ainda). cancelar: por que desistir, se é o caso.
CREATE TABLE sagas (pedido TEXT PRIMARY KEY, passo TEXT, cancelar TEXT) STRICT, WITHOUT ROWID
"""
# comando: as respostas que ele pode ter
RESPOSTAS = {
    None:                  ("pedido.criado",),
    "estoque.reservar":    ("estoque.reservado", "estoque.recusado"),
    "pagamento.cobrar":    ("pagamento.aprovado", "pagamento.recusado"),
    "envio.despachar":     ("envio.despachado", "envio.recusado"),
    "pagamento.estornar":  ("pagamento.estornado",),
    "estoque.liberar":     ("estoque.liberado",),
}
# resposta: o comando seguinte
SEGUE = {
    "pedido.criado":        "estoque.reservar",
    "estoque.reservado":    "pagamento.cobrar",
    "pagamento.aprovado":   "envio.despachar",     # o pivô: mandado isto, ninguém mais desiste
    "envio.despachado":     "pedido.concluir",
    "envio.recusado":       "pagamento.estornar",
    "pagamento.estornado":  "estoque.liberar",
    "pagamento.recusado":   "estoque.liberar",
    "estoque.liberado":     "pedido.cancelar",
    "estoque.recusado":     "pedido.cancelar",
}
# resposta: por onde se volta, se enquanto ela não vinha alguém cancelou
DESISTE = {
    "pedido.criado":        "pedido.cancelar",
    "estoque.reservado":    "estoque.liberar",
    "pagamento.aprovado":   "pagamento.estornar",
}


def seguir(banco, evento):
    """Uma resposta: manda o comando seguinte. Levanta ValueError se a saga não a esperava."""
    passo, cancelar = saga(banco, evento.pedido)
    if evento.tipo not in RESPOSTAS.get(passo, ()):
        raise ValueError(f"a saga de {evento.pedido} está em {passo}, e não espera {evento.tipo}")
    if cancelar and evento.tipo in DESISTE:
        return mandar(banco, DESISTE[evento.tipo], {"pedido": evento.pedido, "motivo": cancelar})
    return mandar(banco, SEGUE[evento.tipo], evento.dados)


def desistir(banco, evento):
    """pedido.cancelamento_solicitado: só anota; volta quem ouvir a resposta que está a caminho."""
    banco.execute("INSERT INTO sagas (pedido, cancelar) VALUES (?, ?) "
                  "ON CONFLICT (pedido) DO UPDATE SET cancelar = excluded.cancelar",
                  (evento.pedido, evento.dados["motivo"]))
    return []


def mandar(banco, comando, dados):
    """O passo e o comando são gravados juntos: morrer aqui não deixa um sem o outro."""
    banco.execute("INSERT INTO sagas (pedido, passo) VALUES (?, ?) "
                  "ON CONFLICT (pedido) DO UPDATE SET passo = excluded.passo",
                  (dados["pedido"], comando))
    return [(comando, dados)]


def saga(banco, pedido):
    """(passo, cancelar) do pedido; (None, None) se ainda não se ouviu falar dele."""
    linha = banco.execute("SELECT passo, cancelar FROM sagas WHERE pedido = ?", (pedido,))
    return linha.fetchone() or (None, None)


OUVE = dict.fromkeys(SEGUE, seguir) | {"pedido.cancelamento_solicitado": desistir}


if __name__ == "__main__":
    ouvir("orquestrador", TABELAS, OUVE,
          "Serviço orquestrador: manda em cada passo da saga, e na volta.")
