"""Mensagens que um serviço não entende, eventos em que ele falha, e as filas de mensagens mortas."""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
import time

import pytest
from pika import BasicProperties

from conftest import esperar
from test_mortas import mortas
from test_saga import fazer, novo_id
from verbos import SERVICOS, M, cenario, loja_aberta, loja_do_arquivo, pedido, propriedades, rodar  # noqa: F401

OUVE = {"pedidos": "envio.despachado", "estoque": "pedido.criado", "pagamentos": "estoque.reservado", "envio": "pagamento.aprovado"}
BOM = {**pedido("x"), "total": 10000}


def com(**trocas) -> bytes:
    return json.dumps({campo: valor for campo, valor in {**BOM, **trocas}.items() if valor is not ...}).encode()


# O que um pedido tem de errado em si (o CEP, os itens...) é o mesmo da porta: test_entrada_ruim.py.
CORPOS = {  # o que há de errado no corpo: (o corpo, um trecho do motivo)
    "vazio": (b"", "não é JSON"),
    "não é JSON": (b"isto n\xc3\xa3o \xc3\xa9 JSON", "não é JSON"),
    "não é UTF-8": (b'{"pedido": "\xff"}', "UTF-8"),
    "lista": (b"[1, 2]", "objeto"),
    "aninhado demais": (b"[" * 30000 + b"]" * 30000, "JSON"),  # até o Python 3.13, aninhado demais; depois, não é um objeto
    "grande demais": (b" " * 70000 + com(), "maior"),
    "NaN": (com().replace(b"10000", b"NaN"), "total"),
    "chave repetida": (com()[:-1] + b', "cep": "01310-100"}', "repetida"),
    "sem pedido": (com(pedido=...), "pedido"),
    "sem total": (com(total=...), "total"),
    "total negativo": (com(total=-1), "total"),
    "total booleano": (com(total=True), "total"),
    "total fracionado": (com(total=1.5), "total"),
    "total enorme": (com(total=10 ** 18), "total"),
    "total de mil dígitos": (com().replace(b"10000", b"1" * 5000), ""),
    "quantidade zero": (com(itens=[{"produto": "livro", "quantidade": 0}]), "quantidade"),
    "campo a mais": (com(desconto=10), "desconto"),
    "id de outro pedido": (com(pedido="y"), "message_id"),
}
TROCAS = {  # o que há de errado nas propriedades: (as trocas, um trecho do motivo)
    **{f"type {tipo}": ({"type": tipo}, "não ouve o evento") for tipo in (None, "pedido.sumido", "pedido.concluido")},
    "sem headers": ({"headers": None}, "versão"),
    "sem versão": ({"headers": {"causa": None}}, "versão"),
    **{f"versão {versao!r}": ({"headers": {"causa": None, "versao": versao}}, "versão") for versao in (2, "1", True, 1.0, [1])},
    **{f"causa {causa!r}": ({"headers": {"causa": causa, "versao": 1}}, "causa")
       for causa in (7, [], "y:pedido.criado", "x:nada", b"\xff")},
    **{f"{nome} {de_outro}": ({nome: de_outro}, nome) for nome, de_outro in (
        ("message_id", None), ("message_id", "y:pedido.criado"), ("correlation_id", "y"), ("app_id", "intruso"), ("app_id", None),
        ("content_type", "text/plain"))},
}
MOTIVOS = ["", "x" * 201, 7, None, ["a"], "linha\nquebrada", "\ud800"]
RUINS = [*((nome, "estoque", "pedido.criado", corpo, {}, trecho) for nome, (corpo, trecho) in CORPOS.items()),
         *((nome, "estoque", "pedido.criado", com(), trocas, trecho) for nome, (trocas, trecho) in TROCAS.items()),
         *((f"motivo {motivo!r:.20}", "pedidos", "estoque.liberado",
            json.dumps({"pedido": "x", "motivo": motivo}).encode(), {}, "motivo") for motivo in MOTIVOS)]


@pytest.mark.parametrize("nome, servico, tipo, corpo, trocas, trecho", RUINS, ids=[caso[0] for caso in RUINS])
def test_o_que_nao_se_entende_tem_um_motivo_que_se_le(nome, servico, tipo, corpo, trocas, trecho):
    lidas = M.mensagem.simplificar(BasicProperties(**{**propriedades(tipo, {"pedido": "x"}), **trocas}))
    assert json.loads(json.dumps(lidas)) == lidas
    with pytest.raises(M.mensagem.MensagemInvalida) as erro:
        M.mensagem.entender(servico, corpo, lidas)
    assert trecho in str(erro.value) and M.tela.visivel(str(erro.value)).isprintable()
    assert M.mensagem.entender("estoque", com(), M.mensagem.simplificar(BasicProperties(**propriedades("pedido.criado", BOM)))).dados["total"] == 10000


def test_de_uma_mensagem_morta_fica_o_que_o_contrato_conhece(loja_aberta):
    """Um cabeçalho de outros pode mandar o broker entregar a cópia em outra fila: não é repetido."""
    loja_aberta.publicar("pedido.criado", BOM, headers={"causa": "z:outra", "versao": 9, "CC": ["estoque"], "extra": {"a": [1]}})
    [(_, p)] = loja_aberta.esperar_morta("estoque")
    esperado = {**propriedades("pedido.criado", BOM), "headers": {"causa": "z:outra", "versao": 9, "motivo": p.headers["motivo"]}}
    p.headers.pop("x-delivery-count", None)  # do broker, nem todos
    assert {n: getattr(p, n) for n in esperado} == esperado and "versão desconhecida" in p.headers["motivo"]


# --- o próprio serviço falha ---

def test_falha_passageira_e_tentada_de_novo_sem_segurar_os_outros(loja_aberta):
    """E, chegando repetida enquanto isso, age uma vez só; o que se guardou atravessa um kill -9."""
    id = novo_id()
    repetir = lambda: loja_aberta.publicar("pedido.criado", {**cenario("sucesso", id), "total": 10000})
    loja_aberta.quebrar("estoque", "reservas", id)
    try:
        loja_aberta.enviar(cenario("sucesso", id), *(cenario("sucesso", novo_id()) for _ in range(50)))
        esperar(lambda: loja_aberta.consultar("estoque", "SELECT 1 FROM tentativas"), que="a falha")
        esperar(lambda: loja_aberta.pendentes() == 1, que="os outros 50 passarem")
        assert not loja_aberta.tratou("estoque", f"{id}:pedido.criado"), "a caixa de entrada engoliu o evento que falhou"
        repetir()
        loja_aberta.matar("estoque")
    finally:
        loja_aberta.consertar("estoque")
    loja_aberta.iniciar("estoque")
    repetir()
    loja_aberta.conferir_repouso()
    assert loja_aberta.resultado(id) == ("concluido", None)


def test_falha_que_persiste_vai_para_as_mortas_depois_de_pausas_que_crescem(loja_aberta):
    id = novo_id()
    loja_aberta.quebrar("estoque", "reservas", id)
    estoque = loja_aberta.programas["estoque"][0]
    tela = len(estoque.linhas)
    try:
        inicio = time.monotonic()
        loja_aberta.enviar(cenario("sucesso", id))
        loja_aberta.esperar_morta("estoque")
        ditas = re.findall(r"tento de novo em (\S+) s \(restam (\d)\)", " ".join(" ".join(estoque.linhas[tela:]).split()))
        assert ditas == [("0,2", "5"), ("0,4", "4"), ("0,8", "3"), ("1,6", "2"), ("3,2", "1")]
        assert time.monotonic() - inicio >= 0.2 + 0.4 + 0.8 + 1.6 + 3.2, "disse que esperava, e não esperou"
        [(corpo, p)] = loja_aberta.mortas("estoque")
        assert json.loads(corpo) == {**cenario("sucesso", id), "total": 10000}
        assert "quebrado de propósito" in p.headers["motivo"]
        assert any("estoque.mortas" in linha for linha in estoque.linhas[tela:])
        assert loja_aberta.resultado(id) == ("pendente", None), "nada foi decidido por este pedido"
        assert loja_aberta.consultar("estoque", "SELECT 1 FROM reservas WHERE pedido = ?", id) == []
    finally:
        loja_aberta.consertar("estoque")
    assert mortas(loja_aberta, "estoque", "--reenviar").fim() == 0
    loja_aberta.conferir_repouso()
    assert loja_aberta.resultado(id) == ("concluido", None)


@pytest.mark.parametrize("erro, da_maquina", [
    (sqlite3.OperationalError("malformed JSON"), False), (sqlite3.IntegrityError("quebrado"), False), (ValueError("x"), False),
    (sqlite3.DatabaseError("database disk image is malformed"), True), (sqlite3.OperationalError("database is locked"), True)])
def test_sql_errado_no_tratamento_de_um_evento_e_falha_so_dele(erro, da_maquina):
    assert M.tentativas.da_maquina(erro) == da_maquina


def test_tabela_que_some_por_um_momento_nao_deixa_ouvinte_para_tras(loja_aberta):
    """Um erro do banco inteiro: o serviço recomeça a conexão, e a antiga não fica segurando mensagens."""
    id = novo_id()
    estoque = loja_aberta.programas["estoque"][0]
    tela = len(estoque.linhas)
    loja_aberta.escrever("estoque", "ALTER TABLE tentativas RENAME TO escondida")
    try:
        loja_aberta.enviar(cenario("sucesso", id))
        estoque.esperar_dizer("estoque.db")
        espiadas = itertools.count(1)
        esperar(lambda: loja_aberta.entregas("estoque") > next(espiadas) + 1, que="pelo menos duas reconexões")
    finally:
        loja_aberta.escrever("estoque", "ALTER TABLE escondida RENAME TO tentativas")
    inicio = time.monotonic()
    loja_aberta.conferir_repouso()
    assert loja_aberta.resultado(id) == ("concluido", None)
    assert time.monotonic() - inicio < 15, "as mensagens ficaram presas numa conexão abandonada"
    assert loja_aberta.ouvintes("estoque") == 1
    ditas = [linha for linha in estoque.linhas[tela:] if "estoque.db" in linha or "pronto" in linha]
    assert len(ditas) == 1, f"a mesma queda virou várias linhas: {ditas}"
    estoque.esperar_dizer("o banco voltou")


# --- microsservicos/mortas.py ---

def test_mortas_reenvia_so_a_mensagem_escolhida(loja_aberta):
    ids = [novo_id(), novo_id()]
    for id in ids:
        dados = {**cenario("sucesso", id), "total": 10000}
        loja_aberta.publicar("pedido.criado", dados, headers={"causa": None, "versao": 2})
    loja_aberta.esperar_morta("estoque", 2)
    escolhida = f"{ids[1]}:pedido.criado"
    programa = mortas(loja_aberta, "estoque", "--reenviar", "--mensagem", escolhida)
    assert programa.fim() == 0 and programa.linhas[-1].startswith("1 ")
    # A versão continua desconhecida: ela volta às mortas, e a outra nunca saiu de lá.
    esperar(lambda: sorted(p.message_id for _, p in loja_aberta.mortas("estoque")) == sorted(f"{id}:pedido.criado" for id in ids),
            que="a escolhida voltar às mortas")
    assert all(p.headers["motivo"].count("versão") == 1 for _, p in loja_aberta.mortas("estoque"))
    assert mortas(loja_aberta, "estoque", "--reenviar", "--mensagem", "nada:disso").fim() == 1


def test_mortas_de_todos_voltam_de_uma_vez_e_a_que_ja_foi_tratada_nao_age_de_novo(loja_aberta):
    id = fazer(loja_aberta, "sucesso")
    for nome in SERVICOS:
        tipo, dados = OUVE[nome], {**cenario("sucesso", id), "total": 10000}
        loja_aberta.publicar_crua(f"{nome}.mortas", json.dumps(dados).encode(), exchange="",
                                  **{**propriedades(tipo, dados), "headers": {"causa": None, "versao": 1, "motivo": "à mão"}})
    assert mortas(loja_aberta).linhas[-1].startswith("4 ")
    programa = mortas(loja_aberta, "--reenviar")
    assert programa.fim() == 0 and programa.linhas[-1].startswith("4 ")
    loja_aberta.conferir_repouso()
    assert loja_aberta.resultado(id) == ("concluido", None)


def test_mortas_sem_broker_explica_em_uma_linha():
    programa = rodar("microsservicos/mortas.py")
    assert programa.fim() != 0 and len(programa.linhas) == 1 and "não responde (para subir um: " in programa.texto
    programa.limpo()
