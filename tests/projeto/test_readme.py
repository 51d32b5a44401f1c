"""O README diz a verdade: cada experimento roda como está impresso, cada diagrama é o de uma execução.

    python -m pytest tests/test_readme.py -k experimento-4

Os experimentos rodam numa cópia nova do projeto, um depois do outro, como na aula (e em três
cópias ao mesmo tempo); antes de cada um, o experimento 0. As convenções do que está impresso
estão em terminais.py e no próprio README.
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

import pytest

import terminais
from conftest import RAIZ, carregar, vhost_novo
from maquete import Maquete
from verbos import CENARIOS, M

README = (RAIZ / "README.md").read_text(encoding="utf-8")
LONGOS = {"12"}  # ligam um RabbitMQ só para si
PALCOS = 3  # experimentos ao mesmo tempo: o que mais se faz neles é esperar
DEMORADOS = ["10", "7", "5", "2", "8"]  # começam primeiro


def secao(titulo: str, nivel: str = "##") -> str:
    """O texto de uma seção, até a próxima do mesmo nível (ou de um acima)."""
    partes = re.split(rf"^{nivel} {re.escape(titulo)}.*$", README, flags=re.M)
    assert len(partes) == 2, f"o README não tem (uma vez só) a seção {titulo!r}"
    return re.split(rf"^#{{2,{len(nivel)}}} ", partes[1], maxsplit=1, flags=re.M)[0]


def blocos(texto: str, linguagem: str) -> list[str]:
    return re.findall(rf"^```{linguagem}\n(.*?)^```$", texto, flags=re.M | re.S)


EXPERIMENTOS = re.findall(r"^### Experimento (\d+)\.", README, flags=re.M)


def bloco(numero: str) -> str:
    return "".join(blocos(secao(f"Experimento {numero}.", "###"), "sh"))


# --- o palco ---

class Palco:
    """Uma cópia do projeto, como a de quem acabou de baixá-lo, e um canto do broker; um experimento de cada vez."""

    def __init__(self, pasta, url: str):
        self.pasta, self.url = pasta.resolve(), url
        for nome in ("monolito", "microsservicos", "tests"):
            shutil.copytree(RAIZ / nome, pasta / nome, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(RAIZ / "orquestracao.py", pasta)
        self.comando("python", f'exec "{sys.executable}" "$@"')  # o dos terminais é o que roda o teste
        if not shutil.which("sqlite3"):
            consulta = "import sqlite3, sys; [print(*l, sep='|') for l in sqlite3.connect(sys.argv[1]).execute(sys.argv[2])]"
            self.comando("sqlite3", f'exec "{sys.executable}" -c "{consulta}" "$@"')
        livre = carregar("microsservicos", "instalacao").porta_livre
        porta = next(p for p in iter(livre, None) if livre(p + 10000))
        self.portas = {"5673": str(porta), "15673": str(porta + 10000)}  # as impressas, e as que estão livres
        self.ambiente = {**os.environ, "RABBITMQ_URL": url, "PYTHONIOENCODING": "utf-8", "COLUMNS": "80",
                         "PATH": f"{pasta}/.bin{os.pathsep}{os.environ['PATH']}"}

    def comando(self, nome: str, texto: str) -> None:
        arquivo = self.pasta / ".bin" / nome
        arquivo.parent.mkdir(exist_ok=True)
        arquivo.write_text(f"#!/bin/sh\n{texto}\n")
        arquivo.chmod(0o755)

    def rodar(self, texto: str) -> None:
        """O que se digita usa as portas livres daqui; o que se espera fica como está impresso."""
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
    """Os experimentos pedidos, rodando em PALCOS ao mesmo tempo: {número: a promessa do fim dele}."""
    pedidos = [item.callspec.params["numero"] for item in request.session.items if item.name.startswith("test_experimento")]
    livres = queue.Queue()
    for n in range(min(PALCOS, len(pedidos))):
        livres.put(Palco(tmp_path_factory.mktemp("aula"), f"amqp://guest:guest@127.0.0.1:{broker.porta}/{vhost_novo(broker)}"))

    def rodar(numero: str) -> None:
        palco = livres.get()
        try:
            palco.rodar(bloco("0"))
            palco.rodar(bloco(numero))
        finally:
            livres.put(palco)

    with ThreadPoolExecutor(PALCOS) as palcos:
        yield {numero: palcos.submit(rodar, numero) for numero in sorted(pedidos, key=lambda n: n not in DEMORADOS)}


# --- os testes ---

@pytest.mark.parametrize("numero", [
    pytest.param(n, id=f"experimento-{n}", marks=[pytest.mark.longo] if n in LONGOS else []) for n in EXPERIMENTOS if n != "0"])
def test_experimento_mostra_o_que_esta_impresso(numero, experimentos):
    experimentos[numero].result()


def test_os_experimentos_estao_numerados_em_ordem():
    assert EXPERIMENTOS == [str(n) for n in range(len(EXPERIMENTOS))] and len(EXPERIMENTOS) > 11
    for numero in EXPERIMENTOS[1:]:
        texto = secao(f"Experimento {numero}.", "###")
        assert bloco(numero).startswith("# terminal 1") and "**Para a turma.**" in texto and "**O que se aprende.**" in texto


@pytest.mark.parametrize("titulo, fim", [("Executar", "orquestracao.py"), ("Testar", "-m pytest")])
def test_o_comando_de_partida_e_o_primeiro_bloco(titulo, fim):
    primeiro = blocos(secao(titulo), "sh")[0].strip()
    assert "\n" not in primeiro and primeiro.endswith(f".venv/bin/python {fim}")


def test_o_ci_roda_o_que_o_readme_manda():
    programa = re.search(r"awk '(.*?)' README.md", (RAIZ / ".ci" / "run").read_text(), flags=re.S)[1]
    achado = subprocess.run(["awk", programa, "README.md"], cwd=RAIZ, capture_output=True, text=True).stdout
    assert achado == blocos(secao("Testar"), "sh")[0]


def desenhar_2pc(cenario: str, pasta) -> str:
    subprocess.run([sys.executable, RAIZ / "monolito" / "app.py", "--dados", pasta, "--cenario", cenario, "--id", "p-1",
                    "--diagrama", pasta / "desenho"], stdout=subprocess.DEVNULL, check=True)
    return (pasta / "desenho").read_text(encoding="utf-8")


def desenhar_saga(cenario: str, pasta) -> str:
    maquete = Maquete(pasta, M.diagrama.Diagrama(pasta / "desenho", M.desenho.NOMES, 1))
    maquete.fazer(f"enviar p-1 {cenario}")
    maquete.fazer("andar")
    return (pasta / "desenho").read_text(encoding="utf-8")


@pytest.mark.parametrize("cenario", CENARIOS)
@pytest.mark.parametrize("qual, desenhar", [(0, desenhar_2pc), (1, desenhar_saga)], ids=["2pc", "saga"])
def test_diagrama_impresso_e_o_de_uma_execucao(cenario, qual, desenhar, tmp_path):
    assert blocos(secao(f"`{cenario}`", "###"), "mermaid")[qual] == desenhar(cenario, tmp_path)


def test_todo_arquivo_citado_existe():
    for alvo in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (RAIZ / alvo).exists(), alvo
    for citado in re.findall(r"`((?:monolito|microsservicos|tests)/[\w/.*-]+)`", README):
        assert list(RAIZ.glob(citado)), citado


def test_toda_opcao_citada_existe():
    ajudas = "".join(subprocess.run([sys.executable, RAIZ / script, "--help"], capture_output=True, encoding="utf-8",
                                    env={**os.environ, "PYTHONIOENCODING": "utf-8"}).stdout
                     for script in ("monolito/app.py", "orquestracao.py", "microsservicos/servico_pedidos.py",
                                    "microsservicos/mortas.py", "tests/aula/publicar.py", "tests/desempenho/desempenho.py", "tests/aula/caos.py")
                     if (RAIZ / script).exists())
    de_fora = {"--regravar"}
    for opcao in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) - de_fora:
        assert opcao in ajudas, opcao


def test_toda_falha_da_tabela_tem_o_seu_teste():
    """O nome existe, e o ◷ está em quem só roda na rodada longa (e em mais ninguém)."""
    achados = {}
    for arquivo in (RAIZ / "tests").glob("test_*.py"):
        arvore = ast.parse(arquivo.read_text(encoding="utf-8"))
        todos_longos = any(isinstance(no, ast.Assign) and ast.unparse(no) == "pytestmark = pytest.mark.longo" for no in arvore.body)
        for no in arvore.body:
            if isinstance(no, ast.FunctionDef):
                achados[no.name] = todos_longos or "pytest.mark.longo" in map(ast.unparse, no.decorator_list)
    linhas = [linha.split(" | ") for linha in secao("O que pode falhar").splitlines() if linha.startswith("| ") and "`test_" in linha]
    assert len(linhas) > 30 and all(len(linha) == 4 for linha in linhas)
    for linha in linhas:
        for nome, longo in re.findall(r"`(test_\w+)`( ◷)?", linha[2]):
            assert nome in achados, f"a tabela cita {nome}, que não existe"
            assert achados[nome] == bool(longo), f"o ◷ de {nome} não confere"
