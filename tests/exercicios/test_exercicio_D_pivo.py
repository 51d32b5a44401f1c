"""Exercício D: na saga mínima, cobrar antes de reservar: o pivô muda de lugar, e quem compensa também.

    EXERCICIO=D python -m pytest tests/exercicios
"""

from __future__ import annotations

import re
import sqlite3

from enunciado import enunciado, exigir, test_o_que_o_enunciado_pede_esta_no_lugar  # noqa: F401
from test_minimas import AULA, rapida, varrer  # noqa: F401


def saga() -> dict:
    texto = (AULA / "saga_minima.py").read_text(encoding="utf-8")
    exec(compile(texto, "saga_minima", "exec"), codigo := {"__name__": "saga_minima"})
    return codigo


def o_que_se_pede():
    ouve = saga()["COREOGRAFIA"]["pedido.criado"]
    exigir(ouve[0] == "pagamentos", "pedido.criado ser ouvido por pagamentos, em tests/aula/saga_minima.py")


def publicados(pedido: str, tela: str) -> list[str]:
    return re.findall(rf"▶ {pedido} (\S+)", tela)


def test_quem_nao_tem_saldo_nao_tira_o_livro_de_ninguem(tmp_path, capsys):
    assert saga()["trabalhar"](tmp_path) == 0, "as contas do fim são as mesmas de antes"
    tela = capsys.readouterr().out
    assert publicados("p-2", tela) == ["pedido.criado", "pagamento.recusado"], "Bruno: não havia o que desfazer"
    assert publicados("p-1", tela) == ["pedido.criado", "pagamento.aprovado", "estoque.reservado"]


def test_sem_livros_o_dinheiro_de_ana_volta(tmp_path, capsys):
    codigo = saga()
    codigo["NEGOCIOS"]["estoque"] = codigo["NEGOCIOS"]["estoque"].replace("(10)", "(0)")
    codigo["trabalhar"](tmp_path)
    assert publicados("p-1", capsys.readouterr().out)[2:] == ["estoque.recusado", "pagamento.estornado"]
    saldos = dict(sqlite3.connect(tmp_path / "pagamentos.db").execute("SELECT cliente, saldo FROM clientes"))
    estados = dict(sqlite3.connect(tmp_path / "pedidos.db").execute("SELECT pedido, estado FROM pedidos"))
    assert saldos["ana"] == 100 and set(estados.values()) == {"cancelado"}


def test_morta_em_cada_linha_as_contas_ainda_fecham(rapida):  # noqa: F811
    assert varrer("saga_minima", (AULA / "saga_minima.py").read_text(encoding="utf-8"), rapida / "m") > 90
