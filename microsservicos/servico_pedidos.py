"""Pedidos: recebe o pedido, dá o preço e guarda como ele terminou.

Fila:     pedidos
Ouve:     envio.despachado                       -> concluir
          estoque.recusado, estoque.liberado     -> cancelar
Publica:  pedido.criado; pedido.concluido ou pedido.cancelado; pedido.cancelamento_solicitado
Desfaz:   nada: cancelar é o fim do caminho de volta

É também a porta de entrada: `python servico_pedidos.py` envia um pedido e fica ouvindo.
Leia lado a lado com monolito/pedidos.py: as mesmas tabelas do negócio, o mesmo verbo.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # o Python já o faz, menos com PYTHONSAFEPATH

from comum.banco import conferir_arquivos, transacao  # comum antes: diz se falta o _sqlite3
from comum.loja import PRODUTO_DESCONHECIDO, de_outro_conteudo, id_pelo_comeco
from comum.opcoes import chaves, dizer_repetidos, pedidos_escolhidos
from comum.tela import POUCOS, dizer, executar
import caixas
from servico import montar
from terminal import opcoes_de_servico

TABELAS = """
CREATE TABLE pedidos (
    pedido TEXT PRIMARY KEY, cliente TEXT NOT NULL, total INTEGER NOT NULL CHECK (total >= 0),
    estado TEXT NOT NULL CHECK (estado IN ('pendente', 'concluido', 'cancelado')),
    motivo TEXT) STRICT;
CREATE INDEX pendentes ON pedidos (pedido) WHERE estado = 'pendente';
CREATE TABLE itens (
    pedido TEXT, produto TEXT, quantidade INTEGER NOT NULL,
    PRIMARY KEY (pedido, produto)) STRICT, WITHOUT ROWID;
CREATE TABLE enderecos (pedido TEXT PRIMARY KEY, cep TEXT NOT NULL) STRICT, WITHOUT ROWID
"""
PRECOS = {"livro": 5000, "caneca": 2500, "teclado": 20000, "notebook": 450000}  # centavos
A_PEDIDO = "cancelado a pedido do cliente"
MARGEM = "pedidos    "  # como em toda linha deste serviço no terminal


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
    banco.execute("INSERT INTO enderecos VALUES (?, ?)", (pedido, dados["cep"]))
    if conhecidos:
        return [("pedido.criado", {**dados, "total": total})]
    return [("pedido.cancelado", {"pedido": pedido, "motivo": motivo})]


def solicitar_cancelamento(banco, pedido):
    """Pede a envio, o pivô, que recuse este pedido; quem já despachou não responde."""
    if estado_de(banco, pedido) != "pendente":
        return []
    return [("pedido.cancelamento_solicitado", {"pedido": pedido, "motivo": A_PEDIDO})]


def concluir(banco, evento):
    """envio.despachado: o pedido deu certo."""
    gravar_resultado(banco, evento.pedido, "concluido", None)
    return [("pedido.concluido", evento.dados)]


def cancelar(banco, evento):
    """estoque.recusado ou estoque.liberado: ninguém mais retém nada deste pedido."""
    gravar_resultado(banco, evento.pedido, "cancelado", evento.dados["motivo"])
    return [("pedido.cancelado", evento.dados)]


def gravar_resultado(banco, pedido, estado, motivo):
    """Escreve o resultado, uma vez só. Levanta ValueError se o pedido já tinha um."""
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
    """Roda `funcao` para cada entrada e guarda os eventos na caixa de saída, numa transação só.

    Devolve as entradas de que nada saiu: os pedidos que já existiam, por exemplo.
    """
    with transacao(banco):
        nada = [entrada for entrada in entradas
                if not caixas.guardar(banco, "pedidos", funcao(banco, entrada))]
    conferir_arquivos(banco)
    return nada


def main():
    opcoes = opcoes_de_servico("Serviço de pedidos: envia o pedido e ouve como a saga termina.")
    opcoes.dos_pedidos()
    chaves(opcoes, {"--sem-pedido": "não envia nada, só ouve",
                    "--so-enviar": "deixa os pedidos no banco, para a cópia que está no ar, e sai"})
    opcoes.add_argument("--cancelar", metavar="ID",
                        help="pede o cancelamento do pedido (o começo do id basta) e fica ouvindo; "
                             "com --so-enviar, só o pede")
    escolha = opcoes.parse_args()
    novos = pedidos_escolhidos(escolha)
    servico = montar("pedidos", TABELAS, OUVE, escolha)
    ids = [dados["pedido"] for dados in novos]
    if escolha.cancelar:
        ids = [id_pelo_comeco(escolha.cancelar,
                              caixas.pedidos_de(servico.banco, escolha.cancelar))]
        entrar_na_saga(servico.banco, solicitar_cancelamento, ids)
    repetidos = entrar_na_saga(servico.banco, receber, novos)
    outros = de_outro_conteudo(servico.banco, repetidos)
    dizer_repetidos([p["pedido"] for p in repetidos if p["pedido"] not in outros], outros, MARGEM)
    if not escolha.sem_eventos:
        dizer_estados(servico.banco, [id for id in ids if id not in outros])
    return (0 if escolha.so_enviar else servico.rodar()) or (1 if outros else 0)


def dizer_estados(banco, ids):
    """Como está cada pedido que se enviou aqui, se são poucos; se são muitos, quantos."""
    if len(ids) > POUCOS:
        dizer(f"{MARGEM}{len(ids)} pedidos registrados")
    for pedido in ids if len(ids) <= POUCOS else ():
        estado, motivo = banco.execute(
            "SELECT estado, motivo FROM pedidos WHERE pedido = ?", (pedido,)).fetchone()
        dizer(f"{MARGEM}{pedido} está {estado}{': ' + motivo if motivo else ''}")


if __name__ == "__main__":
    executar(main)
