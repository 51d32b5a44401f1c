"""O que alguém deixou, com o sqlite3, nas tabelas de um serviço."""

from __future__ import annotations

import json
import sqlite3

import pytest

from verbos import M, MODULOS, SERVICOS, banco_em_memoria, cenario, loja  # noqa: F401


def test_linha_estranha_na_caixa_de_saida_nao_deixa_o_lote_sem_ack(tmp_path):
    """O ack do lote sai na mesma volta: num Ctrl-C logo depois, a fila o entregaria de novo."""
    servico = M.servico.Servico("estoque", MODULOS["estoque"].TABELAS, MODULOS["estoque"].OUVE, tmp_path)
    servico.banco.execute("INSERT INTO caixa_saida (tipo, pedido, corpo) VALUES ('fidelidade.pontuada', 'x', '{}')")
    saiu: list = []

    class Saida:
        def publicar(self, eventos, mortas, ate_entrega) -> set:
            saiu.append((eventos, [motivo for *_, motivo in mortas], ate_entrega))
            return set()

    servico.publicar(Saida(), [M.canal.Recebida(7, b"", {})])
    servico.banco.close()
    assert saiu == [([], [], 7)]


def test_linha_estranha_na_caixa_de_saida_fica_la_e_as_outras_seguem(loja):
    dados = json.dumps({**cenario("sucesso", "x"), "total": 10000})
    estranhas = [("fidelidade.pontuada", "x", dados, None), ("estoque.reservado", "x", dados, None),
                 ("", "x", dados, None)]
    for linha in estranhas:
        loja.escrever("pedidos",
                      "INSERT INTO caixa_saida (tipo, pedido, corpo, causa) VALUES (?, ?, ?, ?)",
                      *linha)
    loja.escrever("pedidos",
                  "INSERT INTO caixa_saida (tipo, pedido, corpo) "
                  "VALUES ('pedido.criado', 'json-ruim', 'isto não é JSON')")
    loja.enviar(cenario("sucesso"), cenario("envio-recusado", "p-2"))
    loja.iniciar()
    [(corpo, p)] = loja.esperar_morta("estoque")  # o que só o ouvinte percebe
    assert corpo == "isto não é JSON".encode() and "não é JSON" in p.headers["motivo"]
    loja.esperar_finais()
    assert len(loja.consultar("pedidos", "SELECT 1 FROM caixa_saida WHERE enviado = 0")) == len(estranhas)
    loja.escrever("pedidos", "DELETE FROM caixa_saida WHERE enviado = 0")
    loja.conferir_repouso(mortas=1)
    assert loja.programas["pedidos"][0].texto.count(": pronto") == 1, loja.tela("pedidos")


@pytest.mark.parametrize("tabela, colunas, valores", [
    ("caixa_saida", "tipo, pedido, corpo", ("pedido.criado", "y" * 70, "{}")),
    ("caixa_saida", "tipo, pedido, corpo", ("pedido.criado", "z", "{" * 70_000)),
    ("caixa_saida", "tipo, pedido, corpo", ("pedido.criado", "v", b"\xff\xfe")),
    ("caixa_saida", "tipo, pedido, corpo, causa", ("pedido.criado", "w", "{}", "c" * 100_000)),
    ("tentativas", "corpo, propriedades, restam, motivo", (b"x", "isto não é JSON", 0, "à mão")),
    ("tentativas", "corpo, propriedades, restam, motivo", (b"x", "[1]", 0, "à mão")),
    ("tentativas", "corpo, propriedades, restam, motivo", (b"x", "[" * 5000, 0, "à mão")),
    ("tentativas", "corpo, propriedades, restam, motivo", (b"x", "{}", "muitas", "à mão")),
    ("tentativas", "corpo, propriedades, restam, motivo", (5, "{}", 0, "à mão"))])
def test_o_banco_recusa_o_que_ninguem_saberia_publicar(tabela, colunas, valores):
    marcas = ", ".join("?" * len(valores))
    with pytest.raises(sqlite3.Error):
        banco_em_memoria("pedidos").execute(f"INSERT INTO {tabela} ({colunas}) VALUES ({marcas})", valores)
