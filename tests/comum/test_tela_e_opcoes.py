"""A tela em qualquer largura, o desenho que cabe nela, e o que uma pessoa escreve para os programas."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from contextlib import closing

import pytest

from terminal import Terminal
from verbos import M, rodar

TEXTO = "o serviço de pedidos não respondeu: python orquestracao.py --sem-pedido o inicia de novo, com as linhas iniciais"
LARGURAS = [20, 40, 59, 60, 79, 80, 200]


@pytest.mark.parametrize("colunas", LARGURAS)
def test_um_texto_se_parte_entre_palavras_na_largura_da_tela(colunas, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(colunas))
    M.tela.dizer(f"  espera: {TEXTO}", recuo=10)
    M.tela.alertar(TEXTO)
    dito, alerta = (texto.splitlines() for texto in capsys.readouterr())
    assert max(map(len, dito + alerta)) <= max(colunas, 20 + 10)  # uma palavra maior que a tela fica inteira
    assert " ".join(alerta).split() == TEXTO.split() and " ".join(dito).split() == ["espera:", *TEXTO.split()]
    assert all(linha.startswith(" " * min(10, colunas // 2)) for linha in dito[1:])


def test_num_pipe_sao_80_colunas_e_o_que_se_copia_nao_se_parte(tmp_path):
    """Um aviso comprido em várias linhas; o JSON de --estado, como sempre."""
    dados = tmp_path / ("uma pasta de nome comprido " * 3)
    fim = rodar("monolito/app.py", "--dados", dados, "--cenario", "todos", ambiente={"COLUMNS": ""})
    assert fim.fim() == 0 and max(map(len, fim.linhas)) <= 80, fim.texto
    estado = rodar("monolito/app.py", "--dados", dados, "--estado", ambiente={"COLUMNS": "40"})
    assert json.loads(estado.texto)["produtos"]["livro"] == 98 and max(map(len, estado.linhas)) > 40


def test_numa_janela_de_40_colunas_a_barra_se_redesenha_numa_linha_so(tmp_path):
    with Terminal([sys.executable, "monolito/app.py", "--dados", str(tmp_path), "--pedidos", "300"], "", NO_COLOR="1", COLUMNS="40") as terminal:
        assert terminal.fim() == 0, terminal.texto
        desenhos = [linha for linha in re.split(r"[\r\n]", terminal.texto) if "█" in linha or "░" in linha]
        assert desenhos and max(map(len, desenhos)) < 40, desenhos
        assert "300/300" in terminal.texto
        assert max(map(len, re.split(r"[\r\n]", terminal.texto))) <= 40


# --- o desenho ---

@pytest.mark.parametrize("colunas", LARGURAS)
def test_o_desenho_cabe_na_tela_e_uma_raia_retida_se_ve(colunas, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(colunas))
    raias = M.raias.Raias(["Coordenador", "Pedidos", "Estoque", "Pagamentos", "Envio"])
    raias.reter("Estoque", "a")
    raias.reter("Estoque", "b")
    raias.reter("Estoque", "a", False)
    linhas = [raias.cabecalho(), raias.seta("p-1", "Coordenador", "Envio", "preparar"),
              *(raias.nota("p-1", nome, "uma nota comprida demais para caber de um lado" * 2) for nome in raias.nomes),
              raias.nota("p-1", "Envio", "aqui")]
    if colunas >= 60:
        assert max(map(len, linhas)) <= min(colunas, 80), linhas
    assert "┃" in linhas[-1]
    raias.reter("Estoque", "b", False)
    raias.reter("Estoque", "b", False)
    assert "┃" not in raias.nota("p-1", "Envio", "aqui") and "aqui" in raias.nota("p-1", "Envio", "aqui")


def test_em_ascii_a_raia_retida_continua_diferente():
    M.tela.preparar_saida()
    ascii = [raia.encode("ascii", "aproximar").decode() for raia in "│┃┊"]
    assert len(set(ascii)) == 3 and all(len(um) == 1 for um in ascii)


def test_o_diagrama_so_desativa_quem_esta_ativo(tmp_path):
    """O Mermaid recusa o arquivo inteiro por um deactivate a mais."""
    raias = M.raias.Raias(["A"], diagrama=M.raias.Diagrama(str(tmp_path / "d"), ["A"], 2))
    for pedido, retem in (("x", False), ("x", True), ("x", True), ("y", True), ("x", False), ("x", False), ("y", False)):
        raias.reter("A", pedido, retem)
    assert re.findall("(de)?activate A", (tmp_path / "d").read_text()) == ["", "", "de", "de"]


# --- o que uma pessoa escreve ---

def test_o_til_e_a_pasta_da_pessoa_e_o_do_meio_nao(monkeypatch):
    monkeypatch.setenv("HOME", "/casa")
    assert [str(M.opcoes.pasta(dita)) for dita in ("~/loja", "~", "a/~b", "/x")] == ["/casa/loja", "/casa", "a/~b", "/x"]


def test_o_comeco_de_um_id_basta_se_e_de_um_so():
    achar = lambda dito: M.loja.id_pelo_comeco(dito, ["3f2b8c1e-6a5d", "3f2b9", "p-1", "p-12"])
    assert [achar(dito) for dito in ("3f2b8", "3f2b8c1e-6a…", "p-1", "p-12")] == ["3f2b8c1e-6a5d"] * 2 + ["p-1", "p-12"]
    for dito, frase in (("3f", "é o começo de 2 pedidos"), ("…", "não há nenhum pedido"), ("q", "não há nenhum pedido")):
        with pytest.raises(M.falha.Falha, match=frase):
            achar(dito)


@pytest.mark.parametrize("script", ["monolito/app.py", "microsservicos/servico_pedidos.py"])
def test_o_mesmo_id_duas_vezes_no_arquivo(script, tmp_path):
    """Igual, com os itens noutra ordem ou o CEP sem hífen, é o mesmo; com outro conteúdo, é uma linha malformada."""
    itens = [{"produto": "livro", "quantidade": 1}, {"produto": "caneca", "quantidade": 2}]
    um = {"pedido": "p-1", "cliente": "ana", "itens": itens, "cep": "01310-100"}
    igual = {**um, "itens": itens[::-1], "cep": "01310100"}
    arquivo = tmp_path / "pedidos.jsonl"
    arquivo.write_text("\n".join(map(json.dumps, (um, igual))))
    assert len(M.loja.ler_arquivo(str(arquivo))) == 2
    for campo, valor in (("cliente", "bruno"), ("cep", "01310-101"), ("itens", itens[:1])):
        arquivo.write_text("\n".join(map(json.dumps, (um, igual, {**um, campo: valor}))))
        fim = rodar(script, "--dados", tmp_path / "d", "--arquivo", arquivo)
        assert fim.fim() == 2 and "linha 3: p-1 já está na linha 1, com outro conteúdo" in fim.texto, fim.texto
        assert not (tmp_path / "d").exists()


# --- o que falta à máquina ---

@pytest.mark.parametrize("modulo", ["_sqlite3", "_ssl"])
@pytest.mark.parametrize("script", ["monolito/app.py", "orquestracao.py", "microsservicos/servico_envio.py", "microsservicos/servico_pedidos.py"])
def test_um_python_incompleto_e_uma_linha(script, modulo, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nclass Sem:\n    def find_spec(self, nome, *_):\n"
        f"        if nome == {modulo!r}:\n            raise ModuleNotFoundError(nome, name=nome)\n"
        "sys.meta_path.insert(0, Sem())\n")
    fim = rodar(script, "--dados", tmp_path / "d", "--estado" if "servico" not in script else "--sem-eventos",
                ambiente={"PYTHONPATH": str(tmp_path)})
    if script == "monolito/app.py" and modulo == "_ssl":
        assert fim.fim() == 0  # o monolito não fala com rede nenhuma
    else:
        assert fim.fim() == 2 and len(fim.linhas) == 1 and f"sem o módulo {modulo[1:]}" in fim.texto, fim.texto


def test_um_banco_refeito_de_um_dump_e_reconhecido_e_a_linha_diz_como_seguir(tmp_path):
    loja, tabelas = M.identidade.identidade(tmp_path), "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (7)"
    with closing(M.banco.abrir(tmp_path / "um.db", tabelas, loja)) as um:
        dump = "\n".join(um.iterdump())
    (tmp_path / "um.db").unlink()
    with closing(sqlite3.connect(tmp_path / "um.db")) as refeito:
        refeito.executescript(dump)
    with pytest.raises(M.falha.Falha, match="refeito de um .dump") as recusa:
        M.banco.abrir(tmp_path / "um.db", tabelas, loja)
    with closing(sqlite3.connect(tmp_path / "um.db")) as refeito:
        refeito.executescript(re.search("'(PRAGMA.*)'", str(recusa.value))[1])
    with closing(M.banco.abrir(tmp_path / "um.db", tabelas, loja)) as um:
        assert um.execute("SELECT x FROM a").fetchall() == [(7,)]
