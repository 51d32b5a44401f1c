"""Pedidos: recebe o pedido, dá o preço e guarda como ele terminou.

Fila:     pedidos
Ouve:     envio.despachado                       -> concluir
          estoque.recusado, estoque.liberado     -> cancelar
Publica:  pedido.criado; pedido.concluido ou pedido.cancelado; pedido.cancelamento_solicitado
Desfaz:   nada: cancelar é o fim do caminho de volta

É também a porta de entrada: `python servico_pedidos.py` envia um pedido e fica ouvindo.
Fica ao lado de monolito/pedidos.py: mesmas tabelas do negócio, mesmos verbos.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # o Python já o faz, menos com PYTHONSAFEPATH

import caixas
from comum.banco import transacao
from comum.opcoes import pedidos_escolhidos
from comum.loja import PRODUTO_DESCONHECIDO, id_valido
from palco.linha_de_comando import atender, opcoes_de_servico
from servico import Servico
from comum.falha import Falha
from comum.tela import dizer, executar

TABELAS = """
CREATE TABLE pedidos (
    pedido TEXT PRIMARY KEY, cliente TEXT NOT NULL, total INTEGER NOT NULL CHECK (total >= 0),
    estado TEXT NOT NULL CHECK (estado IN ('pendente', 'concluido', 'cancelado')), motivo TEXT);
CREATE INDEX pendentes ON pedidos (pedido) WHERE estado = 'pendente';
CREATE TABLE itens (
    pedido TEXT, produto TEXT, quantidade INTEGER NOT NULL,
    PRIMARY KEY (pedido, produto)) WITHOUT ROWID
"""
PRECOS = {"livro": 5000, "caneca": 2500, "teclado": 20000, "notebook": 450000}  # centavos
A_PEDIDO = "cancelado a pedido do cliente"


def receber(banco, dados):
    """Um pedido novo: dá o preço e abre a saga. Um id que já existe não muda nada."""
    pedido, cliente, itens = dados["pedido"], dados["cliente"], dados["itens"]
    if estado_de(banco, pedido):
        return []
    conhecidos = all(item["produto"] in PRECOS for item in itens)
    total = sum(PRECOS[item["produto"]] * item["quantidade"] for item in itens) if conhecidos else 0
    estado, motivo = ("pendente", None) if conhecidos else ("cancelado", PRODUTO_DESCONHECIDO)
    banco.execute("INSERT INTO pedidos VALUES (?, ?, ?, ?, ?)",
                  (pedido, cliente, total, estado, motivo))
    banco.executemany("INSERT INTO itens VALUES (?, ?, ?)",
                      [(pedido, item["produto"], item["quantidade"]) for item in itens])
    if conhecidos:
        return [("pedido.criado", {**dados, "total": total})]
    return [("pedido.cancelado", {"pedido": pedido, "motivo": motivo})]


def solicitar_cancelamento(banco, pedido):
    """Pede a envio, o pivô, que recuse este pedido; quem já despachou não responde."""
    estado = estado_de(banco, pedido)
    if estado is None:
        raise Falha(f"não há nenhum pedido {pedido!r}: "
                    "confira o id com --estado em orquestracao.py", 2)
    if estado != "pendente":
        return []
    return [("pedido.cancelamento_solicitado", {"pedido": pedido, "motivo": A_PEDIDO})]


def concluir(banco, evento):
    """envio.despachado: o pedido deu certo."""
    encerrar(banco, evento.pedido, "concluido", None)
    return [("pedido.concluido", evento.dados)]


def cancelar(banco, evento):
    """estoque.recusado ou estoque.liberado: ninguém mais retém nada deste pedido."""
    encerrar(banco, evento.pedido, "cancelado", evento.dados["motivo"])
    return [("pedido.cancelado", evento.dados)]


def encerrar(banco, pedido, estado, motivo):
    """Escreve o resultado, uma vez só. Levanta ValueError se o pedido já estava encerrado."""
    mudou = banco.execute(
        "UPDATE pedidos SET estado = ?, motivo = ? WHERE pedido = ? AND estado = 'pendente'",
        (estado, motivo, pedido)).rowcount
    if not mudou:
        raise ValueError(f"o pedido {pedido} está {estado_de(banco, pedido) or 'ausente'}, "
                         f"não pode ficar {estado}")


def estado_de(banco, pedido):
    """'pendente', 'concluido', 'cancelado' ou None."""
    linha = banco.execute("SELECT estado FROM pedidos WHERE pedido = ?", (pedido,)).fetchone()
    return linha and linha[0]


OUVE = {
    "envio.despachado": concluir,
    "estoque.recusado": cancelar,
    "estoque.liberado": cancelar,
}


def entrar_na_saga(banco, funcao, entradas):
    """Roda `funcao` para cada entrada e deixa os eventos na caixa de saída, numa transação só."""
    with transacao(banco):
        for entrada in entradas:
            novos = caixas.publicar(banco, "pedidos", funcao(banco, entrada))
            if funcao is solicitar_cancelamento:  # de um pedido novo já lembra a tabela pedidos
                caixas.lembrar(banco, novos)


def main():
    opcoes = opcoes_de_servico("Serviço de pedidos: envia o pedido e ouve como a saga termina.")
    opcoes.dos_pedidos()
    opcoes.add_argument("--sem-pedido", action="store_true", help="não envia nada, só ouve")
    opcoes.add_argument("--cancelar", metavar="ID",
                        help="pede o cancelamento do pedido ID e fica ouvindo")
    escolha = opcoes.parse_args()
    novos = pedidos_escolhidos(escolha)
    if escolha.cancelar is not None and not id_valido(escolha.cancelar):
        raise Falha("--cancelar: o id de um pedido tem de 1 a 64 caracteres "
                    "entre A-Z a-z 0-9 . _ -", 2)
    servico = Servico("pedidos", TABELAS, OUVE, escolha.dados, not escolha.sem_eventos)
    if escolha.criar_banco:
        return 0
    if escolha.cancelar:
        entrar_na_saga(servico.banco, solicitar_cancelamento, [escolha.cancelar])
    entrar_na_saga(servico.banco, receber, novos)
    if not escolha.sem_eventos:
        mostrar_pedidos(servico.banco, [p["pedido"] for p in novos]
                        + [escolha.cancelar] * bool(escolha.cancelar))
    return atender(servico)


def mostrar_pedidos(banco, ids):
    """Diz como está cada pedido que se enviou aqui, se são poucos; se são muitos, quantos."""
    if len(ids) > 4:
        dizer(f"pedidos    {len(ids)} pedidos registrados")
        return
    for pedido in ids:
        estado, motivo = banco.execute(
            "SELECT estado, motivo FROM pedidos WHERE pedido = ?", (pedido,)).fetchone()
        dizer(f"pedidos    {pedido} está {estado}{': ' + motivo if motivo else ''}")


if __name__ == "__main__":
    executar(main)
