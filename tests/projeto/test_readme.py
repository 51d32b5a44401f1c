"""Os README dizem a verdade: cada experimento roda como está impresso, cada diagrama é o de hoje.

    python -m pytest tests/projeto/test_readme.py -k experimento-4

Os experimentos rodam numa cópia nova do projeto, um depois do outro, como na aula (e em três
cópias ao mesmo tempo); antes de cada um, o experimento 0. As convenções do que está impresso
estão em terminais.py e em tests/aula/README.md.
"""

from __future__ import annotations

import ast
import os
import queue
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import pytest

import terminais
from conftest import RAIZ, carregar, no_path, vhost_novo
from maquete import Maquete
from verbos import CENARIOS, M

FORA = {".venv", "dados", ".git", ".pytest_cache"}
READMES = [arquivo for arquivo in RAIZ.rglob("README.md")
           if not FORA & set(arquivo.relative_to(RAIZ).parts)]
AULA, FALHAS = "tests/aula/README.md", "tests/README.md"
LONGOS = {"12", "17"}  # ligam um RabbitMQ só para si
PALCOS = 3  # experimentos ao mesmo tempo: o que mais se faz neles é esperar
DEMORADOS = ["10", "7", "5", "2", "8"]  # começam primeiro


def texto_de(readme: str | Path) -> str:
    return (RAIZ / readme).read_text(encoding="utf-8")


def secao(readme: str, titulo: str, nivel: str = "##") -> str:
    """O texto de uma seção, até a próxima do mesmo nível (ou de um acima)."""
    partes = re.split(rf"^{nivel} {re.escape(titulo)}.*$", texto_de(readme), flags=re.M)
    assert len(partes) == 2, f"{readme} não tem (uma vez só) a seção {titulo!r}"
    return re.split(rf"^#{{2,{len(nivel)}}} ", partes[1], maxsplit=1, flags=re.M)[0]


def blocos(texto: str, linguagem: str) -> list[str]:
    return re.findall(rf"^```{linguagem}\n(.*?)^```$", texto, flags=re.M | re.S)


EXPERIMENTOS = re.findall(r"^### Experimento (\d+)\.", texto_de(AULA), flags=re.M)


def experimento(numero: str) -> str:
    return secao(AULA, f"Experimento {numero}.", "###")


OUTROS = {"minutos": ("README.md", "Os dez primeiros minutos"), "um": (AULA, "Capítulo um")}


def bloco(numero: str) -> str:
    texto = secao(*OUTROS[numero]) if numero in OUTROS else experimento(numero)
    return "".join(blocos(texto, "sh"))


# --- o palco ---

class Palco:
    """Uma cópia do projeto, como a de quem acabou de baixá-lo, e um canto do broker."""

    def __init__(self, pasta, url: str):
        self.pasta, self.url = pasta.resolve(), url
        for nome in ("monolito", "microsservicos", "tests"):
            shutil.copytree(RAIZ / nome, pasta / nome, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(RAIZ / "orquestracao.py", pasta)
        self.portas: dict[str, str] = {}
        self.ambiente = {**os.environ, "RABBITMQ_URL": url, "PYTHONIOENCODING": "utf-8",
                         "COLUMNS": "80",
                         "PATH": no_path(pasta / ".bin", {"python": f'exec "{sys.executable}" "$@"'})}

    def rodar(self, texto: str) -> None:
        """O que se digita usa as portas livres daqui; o que se espera fica como está impresso."""
        livre = carregar("microsservicos", "configuracao").porta_livre
        porta = next(p for p in iter(livre, None) if livre(p + 10000))
        self.portas = {"5673": str(porta), "15673": str(porta + 10000)}  # a impressa: a livre
        for impressa, usada in self.portas.items():
            texto = re.sub(rf"^(?!# =>)(.*)\b{impressa}\b", rf"\g<1>{usada}", texto, flags=re.M)
        terminais.executar(texto, self.pasta, self.ambiente, self.normalizar)

    def normalizar(self, texto: str) -> str:
        """O que é desta máquina vira o que está impresso."""
        texto = texto.replace(self.url.split("@")[1], "localhost:5672")
        for impressa, usada in self.portas.items():
            texto = re.sub(rf"\b{usada}\b", impressa, texto)
        return texto


@pytest.fixture(scope="module")
def experimentos(request, broker, tmp_path_factory):
    """Os experimentos pedidos, PALCOS ao mesmo tempo: {número: a promessa do fim dele}."""
    pedidos = [item.callspec.params["numero"] for item in request.session.items
               if item.name.startswith("test_experimento")]
    livres = queue.Queue()
    for n in range(min(PALCOS, len(pedidos))):
        url = f"amqp://guest:guest@127.0.0.1:{broker.porta}/{vhost_novo(broker)}"
        livres.put(Palco(tmp_path_factory.mktemp("aula"), url))

    def rodar(numero: str) -> None:
        palco = livres.get()
        try:
            palco.rodar(bloco("0"))
            palco.rodar(bloco(numero))
        finally:
            livres.put(palco)

    with ThreadPoolExecutor(PALCOS) as palcos:
        yield {numero: palcos.submit(rodar, numero)
               for numero in sorted(pedidos, key=lambda n: n not in DEMORADOS)}


# --- os testes ---

@pytest.mark.parametrize("numero", [
    pytest.param(n, id=f"experimento-{n}", marks=[pytest.mark.longo] if n in LONGOS else [])
    for n in [*EXPERIMENTOS[1:], *OUTROS]])
def test_experimento_mostra_o_que_esta_impresso(numero, experimentos):
    experimentos[numero].result()


def test_os_experimentos_estao_numerados_em_ordem():
    assert EXPERIMENTOS == [str(n) for n in range(len(EXPERIMENTOS))] and len(EXPERIMENTOS) > 11
    for numero in EXPERIMENTOS[1:]:
        assert bloco(numero).startswith("# terminal 1")
        for parte in ("**Preveja antes de rodar.**", "**O que se aprende.**", "**Para a turma.**"):
            assert parte in experimento(numero), numero


@pytest.mark.parametrize("titulo, fim", [("Executar", "orquestracao.py"), ("Testar", "-m pytest")])
def test_o_comando_de_partida_e_o_primeiro_bloco_e_instala_o_que_o_roteiro_digita(titulo, fim):
    primeiro = blocos(secao("README.md", titulo), "sh")[0].strip()
    assert "\n" not in primeiro and primeiro.endswith(f".venv/bin/python {fim}")
    assert "install -y python3-venv rabbitmq-server sqlite3 " in primeiro


def test_o_ci_roda_o_que_o_readme_manda():
    programa = re.search(r"awk '(.*?)' README.md", texto_de(".ci/run"), flags=re.S)[1]
    achado = subprocess.run(["awk", programa, "README.md"], cwd=RAIZ, stdout=subprocess.PIPE,
                            encoding="utf-8")
    assert achado.stdout == blocos(secao("README.md", "Testar"), "sh")[0]


def desenhar_2pc(cenario: str, pasta) -> str:
    subprocess.run([sys.executable, RAIZ / "monolito" / "app.py", "--dados", pasta,
                    "--cenario", cenario, "--id", "p-1", "--diagrama", pasta / "desenho"],
                   stdout=subprocess.DEVNULL, check=True)
    return (pasta / "desenho").read_text(encoding="utf-8")


def desenhar_saga(cenario: str, pasta) -> str:
    maquete = Maquete(pasta, M.raias.Diagrama(pasta / "desenho", M.desenho.NOMES, 1))
    maquete.fazer(f"enviar p-1 {cenario}")
    maquete.fazer("andar")
    return (pasta / "desenho").read_text(encoding="utf-8")


@pytest.mark.parametrize("cenario", CENARIOS)
@pytest.mark.parametrize("qual, desenhar", [(0, desenhar_2pc), (1, desenhar_saga)],
                         ids=["2pc", "saga"])
def test_diagrama_impresso_e_o_de_uma_execucao(cenario, qual, desenhar, tmp_path):
    onde = "README.md" if cenario == "sucesso" else AULA
    impressos = blocos(secao(onde, f"`{cenario}`", "###"), "mermaid")
    assert len(impressos) == 2 and impressos[qual] == desenhar(cenario, tmp_path)


# --- o que se cita existe ---

def fora_dos_blocos(texto: str) -> str:
    return re.sub(r"^( *)```.*?^\1```$", "", texto, flags=re.M | re.S)


def ancoras(arquivo: Path) -> set[str]:
    """As âncoras que o GitHub faz dos títulos: minúsculas, hífens, e nada de pontuação."""
    titulos = re.findall(r"^#+ (.*)$", fora_dos_blocos(texto_de(arquivo)), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", titulo.lower()).strip().replace(" ", "-") for titulo in titulos}


@pytest.mark.parametrize("readme", READMES, ids=lambda arquivo: str(arquivo.relative_to(RAIZ)))
def test_todo_elo_leva_a_um_lugar_que_existe(readme):
    quebrados = []
    for elo in re.findall(r"\]\(([^)\s]+)\)", fora_dos_blocos(texto_de(readme))):
        nome, _, ancora = unquote(elo).partition("#")
        alvo = (readme.parent / nome).resolve() if nome else readme
        if re.match(r"https?://", elo):
            continue
        if not alvo.exists() or (ancora and ancora not in ancoras(alvo)):
            quebrados.append(elo)
    for citado in re.findall(r"`((?:monolito|microsservicos|tests)/[\w/.*-]+)`", texto_de(readme)):
        nos_exercicios = RAIZ.glob(f".gabarito/exercicio-*/{citado}")  # um arquivo que se vai criar
        if not [*RAIZ.glob(citado), *nos_exercicios]:
            quebrados.append(citado)
    assert not quebrados


def test_a_casa_impressa_tem_cada_comodo_e_cada_arquivo_da_porta():
    casa = blocos(secao("README.md", "A casa"), "")[0]
    for ala in ("monolito", "microsservicos"):
        trecho = re.split(r"^(?=\w)", casa[casa.index(f"\n{ala}/") + 1:], flags=re.M)[1]
        for aqui in (RAIZ / ala).iterdir():
            if aqui.suffix == ".py":
                assert aqui.name in trecho, f"a casa não mostra {ala}/{aqui.name}"
            elif aqui.is_dir() and aqui.name != "__pycache__":
                assert f"{aqui.name}/" in trecho, f"a casa não mostra {ala}/{aqui.name}/"
        for nome in re.findall(r"\w+\.py", trecho):
            assert (RAIZ / ala / nome).exists(), f"a casa mostra {ala}/{nome}, que não existe"


@pytest.mark.parametrize("coluna, ala", [(2, "monolito"), (3, "microsservicos")])
def test_o_mapa_de_leitura_cita_arquivos_e_funcoes_que_existem(coluna, ala):
    onde = {arquivo.name: arquivo for arquivo in (RAIZ / ala).rglob("*.py")}
    celulas = [linha.split("|")[coluna] for linha in secao("README.md", "Como se lê").splitlines()
               if linha.startswith("| ")]
    assert len(celulas) > 8
    for celula in celulas:
        citados = re.findall(r"`(\w+\.py)`", celula)
        assert set(citados) <= set(onde), celula
        textos = [texto_de(onde[nome]) for nome in citados or onde]
        for funcao in re.findall(r"`([a-z_]+)`", celula):
            if funcao != "fsync":
                assert any(f"def {funcao}(" in texto for texto in textos), (funcao, celula)


SCRIPTS = ["monolito/app.py", "orquestracao.py", "microsservicos/servico_pedidos.py",
           "microsservicos/servico_estoque.py", "microsservicos/mortas.py",
           "microsservicos/rastro.py", "tests/aula/publicar.py", "tests/aula/caos.py",
           "tests/desempenho/desempenho.py"]
DE_FORA = {"--regravar", "--version", "--install", "--quiet"} | {"--processos"}  # de test_tracos.py; do pytest


@pytest.fixture(scope="module")
def ajudas() -> str:
    textos = []
    for script in SCRIPTS:
        fim = subprocess.run([sys.executable, RAIZ / script, "--help"], capture_output=True,
                             encoding="utf-8", env={**os.environ, "PYTHONIOENCODING": "utf-8"})
        assert fim.returncode == 0, f"{script} --help: {fim.stderr}"
        textos.append(fim.stdout)
    solucoes = RAIZ.glob(".gabarito/exercicio-*/mudancas.patch")  # uma opção que se vai criar
    return "".join(textos + [texto_de(solucao) for solucao in solucoes])


@pytest.mark.parametrize("readme", READMES, ids=lambda arquivo: str(arquivo.relative_to(RAIZ)))
def test_toda_opcao_citada_existe(readme, ajudas):
    for opcao in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", texto_de(readme))) - DE_FORA:
        assert re.search(rf"{opcao}(?![\w-])", ajudas), opcao


def os_testes() -> dict[str, bool]:
    """{nome do teste: se ele só roda na rodada longa}."""
    achados = {}
    for arquivo in (RAIZ / "tests").rglob("test_*.py"):
        arvore = ast.parse(arquivo.read_text(encoding="utf-8"))
        todos_longos = any(re.match(r"pytestmark = .*pytest.mark.longo", ast.unparse(no)) for no in arvore.body)
        for no in arvore.body:
            if isinstance(no, ast.FunctionDef):
                marcas = map(ast.unparse, no.decorator_list)
                achados[no.name] = todos_longos or "pytest.mark.longo" in marcas
    return achados


def test_toda_falha_da_tabela_tem_o_seu_teste():
    """O nome existe, e o ◷ está em quem só roda na rodada longa (e em mais ninguém)."""
    existem = os_testes()
    linhas = [linha.split(" | ") for linha in secao(FALHAS, "O que pode falhar").splitlines()
              if linha.startswith("| ") and "`test_" in linha]
    assert len(linhas) > 30 and all(len(linha) == 4 for linha in linhas)
    for linha in linhas:
        for nome, longo in re.findall(r"`(test_\w+)`( ◷)?", linha[2]):
            assert nome in existem, f"a tabela cita {nome}, que não existe"
            assert existem[nome] == bool(longo), f"o ◷ de {nome} não confere"
