"""A casa como o README a desenha: cômodos, setas num sentido só, arquivos que cabem no projetor."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from conftest import RAIZ

LINHAS, TELA, COLUNAS = 250, 40, 100  # de um arquivo; de uma função; de uma linha
PRODUTO = sorted([RAIZ / "orquestracao.py", *(RAIZ / "monolito").rglob("*.py"),
                  *(RAIZ / "microsservicos").rglob("*.py")])
DE_AULA = sorted((RAIZ / "tests" / "aula").glob("*.py"))
DONOS = {"pedidos", "estoque", "pagamentos", "envio"}

# Quem pode importar quem: um arquivo da porta, ou um cômodo inteiro. O que não está, não pode.
SETAS = {
    "orquestracao": "palco terminal no_privado rastro rabbitmq coreografia comum",
    "servico_*": "servico caixas terminal coreografia comum",
    "servico": "caixas tentativas terminal rabbitmq coreografia comum",
    "rastro": "caixas tentativas palco rabbitmq coreografia comum",
    "mortas": "rabbitmq coreografia comum",
    "tentativas": "comum",
    "caixas": "coreografia comum",
    "no_privado": "rabbitmq comum",
    "palco": "terminal rabbitmq coreografia comum",
    "terminal": "coreografia comum",
    "rabbitmq": "coreografia comum",
    "coreografia": "comum",
    "comum": "",
}
SETAS_DO_MONOLITO = {
    "app": "recuperacao coordenador participante decisoes NEGOCIO palco comum",
    "recuperacao": "participante decisoes palco comum",
    "coordenador": "participante decisoes palco comum",
    "NEGOCIO": "participante comum",
    "participante": "decisoes comum",
    "palco": "decisoes comum",
    "decisoes": "comum",
    "comum": "",
}


def de(arquivo: Path) -> str:
    return str(arquivo.relative_to(RAIZ))


def arvore(arquivo: Path) -> ast.Module:
    return ast.parse(arquivo.read_text(encoding="utf-8"))


# --- o que cabe ---

@pytest.mark.parametrize("arquivo", [*PRODUTO, *DE_AULA], ids=de)
def test_cabe_no_projetor(arquivo):
    linhas = arquivo.read_text(encoding="utf-8").splitlines()
    largas = [n for n, linha in enumerate(linhas, 1) if len(linha) > COLUNAS]
    assert not largas, f"linhas com mais de {COLUNAS} colunas: {largas}"
    longas = [f"{no.name} ({no.end_lineno - no.lineno + 1})" for no in ast.walk(arvore(arquivo))
              if isinstance(no, ast.FunctionDef) and no.end_lineno - no.lineno >= TELA]
    assert not longas, f"funções com mais de {TELA} linhas: {longas}"
    if arquivo in PRODUTO:
        assert len(linhas) <= LINHAS, f"{len(linhas)} linhas: são duas ideias"


@pytest.mark.parametrize("arquivo", [*PRODUTO, *(RAIZ / "tests").rglob("*.py")], ids=de)
def test_diz_o_que_e_na_primeira_linha(arquivo):
    assert ast.get_docstring(arvore(arquivo)), "falta a docstring do módulo"


def test_a_porta_de_cada_casa_tem_o_que_se_veio_ver():
    visiveis = {aqui.name for aqui in RAIZ.iterdir() if not aqui.name.startswith((".", "__"))}
    assert visiveis - {"dados"} == {"README.md", "orquestracao.py", "requirements.txt", "monolito",
                                    "microsservicos", "tests"}
    for ala, comodos in (("monolito", {"palco", "comum"}),
                         ("microsservicos", {"rabbitmq", "no_privado", "palco", "comum"})):
        dentro = [a for a in (RAIZ / ala).iterdir() if not a.name.startswith((".", "__"))]
        assert {a.name for a in dentro if a.is_dir()} == comodos
        a_porta = sorted(a.name for a in dentro if a.is_file())
        assert len(a_porta) <= 12 and "README.md" in a_porta, f"à porta de {ala}: {a_porta}"


# --- as setas ---

def importados(arquivo: Path) -> set[str]:
    """O que o arquivo importa, por inteiro: "comum.tela.dizer", "caixas"."""
    achados = set()
    for no in ast.walk(arvore(arquivo)):
        if isinstance(no, ast.Import):
            achados |= {nome.name for nome in no.names}
        elif isinstance(no, ast.ImportFrom) and no.level == 0:
            achados |= {f"{no.module}.{nome.name}" for nome in no.names}
    return achados


def lugar(arquivo: Path, ala: Path) -> str:
    """O cômodo de um arquivo, ou o nome dele, se está à porta."""
    partes = arquivo.relative_to(ala).with_suffix("").parts if ala in arquivo.parents else ()
    nome = partes[0] if partes else arquivo.stem
    if ala.name == "monolito" and nome in DONOS:
        return "NEGOCIO"
    return "servico_*" if nome.startswith("servico_") else nome


def setas_a_mais(ala: Path, arquivos: list[Path], tabela: dict[str, str]) -> list[str]:
    a_mais = []
    nossos = {lugar(aqui, ala) for aqui in ala.iterdir()}
    for arquivo in arquivos:
        daqui = lugar(arquivo, ala)
        for modulo in importados(arquivo):
            para = lugar(ala / f"{modulo.partition('.')[0]}.py", ala)
            if para in nossos - {daqui, *tabela[daqui].split()}:
                a_mais.append(f"{de(arquivo)} -> {modulo}")
    return a_mais


@pytest.mark.parametrize("ala, tabela", [("microsservicos", SETAS), ("monolito", SETAS_DO_MONOLITO)])
def test_as_setas_correm_num_sentido_so(ala, tabela):
    de_fora = [RAIZ / "orquestracao.py"] if "orquestracao" in tabela else []
    assert not setas_a_mais(RAIZ / ala, [*de_fora, *(RAIZ / ala).rglob("*.py")], tabela)
    sem_voltas = TopologicalSorter({daqui: paras.split() for daqui, paras in tabela.items()})
    assert next(sem_voltas.static_order()) == "comum"


@pytest.mark.parametrize("arquivo", [*RAIZ.glob("microsservicos/servico_*.py"),
                                     *(RAIZ / "monolito" / f"{dono}.py" for dono in DONOS)], ids=de)
def test_um_arquivo_de_negocio_nao_conhece_nem_o_pika_nem_as_tabelas_do_protocolo(arquivo):
    """SQL de um negócio fala só do negócio: as caixas, as travas e o log são de quem está por baixo."""
    textos = [no.value for no in ast.walk(arvore(arquivo))
              if isinstance(no, ast.Constant) and isinstance(no.value, str)]
    sql = " ".join(texto for texto in textos if re.search(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE)\b", texto))
    assert not re.findall(r"\b(caixa_\w+|tentativas|mortas|preparadas|decisoes|execucoes)\b", sql)
    assert not [m for m in importados(arquivo) if re.match(r"pika|rabbitmq|sqlite3", m)]


def test_a_falha_a_loja_e_os_bancos_nao_conhecem_a_tela():
    for nome in ("falha", "loja", "banco"):
        aqui = RAIZ / "microsservicos" / "comum" / f"{nome}.py"
        assert not [m for m in importados(aqui) if m.startswith("comum.tela")], nome


# --- o que é dos outros ---

def test_so_um_comodo_conhece_o_pika():
    fora = [de(arquivo) for arquivo in PRODUTO if arquivo.parent.name != "rabbitmq"
            and any(m.partition(".")[0] == "pika" for m in importados(arquivo))]
    assert not fora
