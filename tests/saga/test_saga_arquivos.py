"""Alguém mexe nos arquivos de um serviço no ar: não se perde nada do que a fila já esqueceu."""

from __future__ import annotations

import json
import sqlite3

import pytest

from conftest import esperar
from verbos import M, MODULOS, SERVICOS, banco_em_memoria, cenario, loja, mistura, rodar  # noqa: F401


@pytest.mark.parametrize("sobra", ["-wal", "-shm", ("-wal", "-shm")], ids=str)
@pytest.mark.parametrize("trabalhando", [True, False], ids=["trabalhando", "ocioso"])
def test_diario_apagado_sob_o_servico_e_kill_9_depois_nada_se_perde(loja, sobra, trabalhando):
    loja.repor()
    loja.iniciar()
    loja.enviar(*mistura(100, "a"))
    loja.conferir_repouso()
    if trabalhando:
        loja.enviar(*mistura(300, "b"))
        esperar(lambda: loja.consultar("estoque", "SELECT count(*) FROM caixa_entrada")[0][0] > 120,
                que="um pouco de trabalho")
    apagados = [loja.pasta / f"estoque.db{fim}"
                for fim in ((sobra,) if isinstance(sobra, str) else sobra)]
    for arquivo in apagados:
        arquivo.unlink()
    # O serviço nota sozinho, e os refaz: a partir daí um kill -9 não leva nada.
    esperar(lambda: all(arquivo.exists() for arquivo in apagados), que="o serviço refazer o diário")
    loja.matar("estoque")
    assert loja.consultar("estoque", "PRAGMA integrity_check") == [("ok",)]
    loja.iniciar("estoque")
    loja.conferir_repouso()


def test_diario_apagado_enquanto_outro_programa_le_o_banco(loja):
    """Como o lançador, que mantém os quatro abertos: o que só o -wal tinha vai para o banco."""
    loja.repor()
    loja.iniciar()
    leitor = M.veredito.abrir_leitura(loja.pasta)
    try:
        leitor.execute("SELECT count(*) FROM estoque_db.produtos").fetchone()
        loja.enviar(*mistura(100))
        loja.conferir_repouso()
        (loja.pasta / "estoque.db-wal").unlink()
        loja.enviar(cenario("sucesso", "depois"))
        loja.programas["estoque"][0].esperar_dizer("foi trocado ou apagado com o programa no ar")
        loja.matar("estoque")
    finally:
        leitor.close()
    loja.iniciar("estoque")
    loja.conferir_repouso()


def test_servico_so_da_por_feito_o_que_foi_forcado_ao_disco(tmp_path, monkeypatch):
    """Sem synchronous=FULL, uma queda de energia perderia o que a fila já esqueceu."""
    vistos = []
    original = M.banco.Banco.conferir_arquivo

    def espiar(banco):
        if banco.in_transaction:
            vistos.append((banco.execute("PRAGMA synchronous").fetchone()[0],
                           banco.execute("PRAGMA journal_mode").fetchone()[0]))
        original(banco)
    monkeypatch.setattr(M.banco.Banco, "conferir_arquivos", espiar)
    for nome in SERVICOS:
        servico = M.servico.Servico(nome, MODULOS[nome].TABELAS, MODULOS[nome].OUVE, tmp_path,
                                    mostrar=False)
        tipo = M.coreografia.o_que_ouve(nome)[0]
        for rodada in range(2):  # a segunda, depois de a caixa de saída ter sido esvaziada
            vistos.clear()
            servico.tratar([M.canal.Recebida(1, b"x", {"type": tipo})])
            assert vistos == [(2, "wal")], (nome, vistos)
            servico.tentativas.guardar(b"x", {}, "motivo")
            servico.marcar([1], [])
        servico.banco.close()


# --- o que alguém deixou nas tabelas ---

def test_linha_estranha_na_caixa_de_saida_nao_deixa_o_lote_sem_ack(tmp_path):
    """O ack do lote sai na mesma volta: num Ctrl-C logo depois, a fila o entregaria de novo."""
    servico = M.servico.Servico("estoque", MODULOS["estoque"].TABELAS, MODULOS["estoque"].OUVE, tmp_path)
    servico.banco.execute("INSERT INTO caixa_saida (tipo, pedido, corpo) VALUES ('fidelidade.pontuada', 'x', '{}')")
    saiu: list = []

    class Saida:  # só os dois nomes que publicar usa do Canal
        em_pausa = staticmethod(tuple)

        def publicar(self, eventos, mortas, ate_entrega) -> set:
            saiu.append((eventos, [motivo for *_, motivo in mortas], ate_entrega))
            return set()

    servico.publicar(Saida(), [M.canal.Recebida(7, b"", {})])
    servico.banco.close()
    [(eventos, [motivo], ate_entrega)] = saiu
    assert (eventos, ate_entrega) == ([], 7) and "não publica" in motivo


def test_linha_estranha_na_caixa_de_saida_vai_para_as_mortas_e_as_outras_seguem(loja):
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
    mortas = loja.esperar_morta("pedidos", len(estranhas))
    assert all("estava na caixa de saída" in p.headers["motivo"] for _, p in mortas), mortas
    assert any("esta versão de pedidos não publica 'fidelidade.pontuada'" in p.headers["motivo"]
               for _, p in mortas)
    [(corpo, p)] = loja.esperar_morta("estoque")  # o que só o ouvinte percebe
    assert corpo == "isto não é JSON".encode() and "não é JSON" in p.headers["motivo"]
    loja.conferir_repouso(mortas=len(estranhas) + 1)
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


def test_copia_que_chega_com_o_diario_apagado_nao_abre_outro(loja):
    """A segunda não veria o que só a primeira vê, e uma apagaria o que a outra gravou."""
    loja.iniciar("estoque")
    loja.suspender("estoque")  # não pode notar, nem se salvar
    for fim in ("-wal", "-shm"):
        (loja.pasta / f"estoque.db{fim}").unlink()
    segunda = rodar("microsservicos/servico_estoque.py", "--dados", loja.dados, url=loja.url)
    assert segunda.fim() == 2 and "apagado com outro programa no ar" in segunda.texto
    loja.continuar("estoque")
    loja.iniciar("pedidos", "pagamentos", "envio")
    loja.enviar(cenario("sucesso"))
    loja.conferir_repouso()
