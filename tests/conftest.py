"""O palco dos testes: um broker para todos, um vhost para cada um, e nada de esperas fixas.

    carregar("microsservicos", "servico_estoque")   um módulo de uma das duas pastas
    esperar(lambda: ..., que="o estoque voltar")    uma condição com prazo
    broker, vhost, url                              o nó da sessão, e o canto deste teste nele
    no_novo().iniciar()                             um nó só deste teste, para derrubar à vontade
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

# O pytest os procura aqui.
from paralelo import pytest_addoption, pytest_configure, pytest_runtestloop  # noqa: F401

# Quem roda os testes com `&` num script os faz ignorar o Ctrl-C e o Ctrl-\, e isso passaria aos
# programas que eles iniciam: os testes do Ctrl-C esperariam para sempre.
for sinal, comum in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(sinal) == signal.SIG_IGN:
        signal.signal(sinal, comum)

# Um aviso comprido vira várias linhas na tela de 80 colunas. Quem confere isso a estreita.
DESTA_TELA = shutil.get_terminal_size().columns
os.environ["COLUMNS"] = "1000"
os.environ.pop("NO_COLOR", None)

# Os programas que os testes iniciam, às centenas, compilam cada módulo uma vez só, e longe do projeto.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
if "PYTHONPYCACHEPREFIX" not in os.environ:
    COMPILADOS = tempfile.TemporaryDirectory(prefix="pycache-", ignore_cleanup_errors=True)
    os.environ["PYTHONPYCACHEPREFIX"] = COMPILADOS.name

RAIZ = Path(__file__).resolve().parent.parent
# Um exercício só roda quando escolhido: EXERCICIO=3 python -m pytest tests/exercicios
EXERCICIO = os.environ.get("EXERCICIO", "")
collect_ignore = [str(arquivo)
                  for arquivo in (RAIZ / "tests" / "exercicios").glob("test_exercicio_*.py")
                  if arquivo.name.split("_")[2] != EXERCICIO]
VHOSTS_POR_VEZ = 100  # de uma vez; um a um, 1,5 s cada
_modulos: dict[str, dict] = {"monolito": {}, "microsservicos": {}}


def pytest_report_header(config):
    if "exercicios" in " ".join(config.args) and not EXERCICIO:
        return ("nenhum exercício escolhido: EXERCICIO=1 python -m pytest tests/exercicios"
                " (ver tests/exercicios/README.md)")


def pytest_sessionstart(session):
    session.config.get_terminal_writer().fullwidth = DESTA_TELA


def modulos(ala: str) -> list[Path]:
    """Os arquivos de uma das duas pastas e dos cômodos dela; numa ala nenhum nome se repete."""
    return [arquivo for arquivo in (RAIZ / ala).rglob("*.py") if arquivo.name != "__init__.py"]


def carregar(ala: str, modulo: str):
    """O módulo `modulo` da pasta `ala`, no cômodo em que estiver, sem misturar as duas.

    As duas pastas têm módulos de mesmo nome (pedidos, comum.loja...). Cada ala guarda os seus: o
    mesmo módulo é sempre o mesmo objeto dentro dela, e nenhum fica em sys.modules.
    """
    caminho = next((a for a in modulos(ala) if a.stem == modulo), RAIZ / ala / modulo)
    nome = ".".join(caminho.relative_to(RAIZ / ala).with_suffix("").parts)
    de_alguem = {arquivo.stem for pasta in _modulos for arquivo in (RAIZ / pasta).iterdir()}
    nossos = lambda: [n for n in sys.modules if n.split(".")[0] in de_alguem]
    de_fora = {n: sys.modules.pop(n) for n in nossos()}
    sys.modules.update(_modulos[ala])
    caminhos = list(sys.path)
    sys.path.insert(0, str(RAIZ / ala))
    importlib.invalidate_caches()
    try:
        return importlib.import_module(nome)
    finally:
        sys.path[:] = caminhos  # os scripts põem a pasta deles mais uma vez
        _modulos[ala].update({n: sys.modules.pop(n) for n in nossos()})
        sys.modules.update(de_fora)


PRAZO = 120.0  # segundos; uma condição que não virá pode demorar a reprovar, e uma lenta não pode


def esperar(condicao, prazo: float = PRAZO, que: str = "a condição"):
    """Chama `condicao()` até ela valer e devolve o que ela deu.

    prazo: segundos; passados eles, o teste falha.
    """
    limite = time.monotonic() + prazo
    while not (valor := condicao()):
        if time.monotonic() > limite:
            pytest.fail(f"passaram {prazo:g} s sem acontecer: {que}")
        time.sleep(0.02)
    return valor


def no_path(pasta: Path, comandos: dict[str, str]) -> str:
    """Um PATH em que estes comandos, {nome: o que faz, no shell}, são achados primeiro; ficam em `pasta`."""
    pasta.mkdir()
    for nome, faz in comandos.items():
        (pasta / nome).write_text(f"#!/bin/sh\n{faz}\n")
        (pasta / nome).chmod(0o755)
    return f"{pasta}{os.pathsep}{os.environ['PATH']}"


def processos_do_no(no) -> dict[int, str]:
    """Os processos vivos que trabalham para este nó, {pid: comando}.

    São a máquina virtual, o epmd e os ajudantes.
    Reconhecidos pela pasta em que rodam, ou pela que estava no ambiente quando nasceram
    (um epmd que o Erlang ligue por conta própria muda de pasta).
    """
    achados = {}
    pasta = str(no.pasta.resolve())
    for processo in Path("/proc").glob("[0-9]*"):
        try:
            nasceu_aqui = f"PWD={pasta}".encode() in (processo / "environ").read_bytes()
            if nasceu_aqui or os.readlink(processo / "cwd").startswith(pasta):
                comando = (processo / "cmdline").read_bytes().decode().replace("\0", " ")
                achados[int(processo.name)] = comando
        except OSError:
            continue  # terminou, ou é de outro usuário
    return achados


def conferir_que_acabou(no) -> None:
    """Nada do nó sobrou: nem a máquina virtual, nem o epmd, nem os ajudantes."""
    esperar(lambda: not processos_do_no(no), prazo=5, que=f"o fim de {processos_do_no(no)}")
    assert not no.vivo() and not no.responde()


@pytest.fixture
def no_novo(tmp_path):
    """Fábrica de nós ainda desligados, numa pasta e porta só deste teste; no fim, sempre desligados."""
    from cluster import No
    criados = []

    def novo(pasta=tmp_path / "rabbitmq", *args, **opcoes) -> No:
        criados.append(No(pasta, *args, **opcoes))
        return criados[-1]

    yield novo
    for no in criados:
        no.matar()


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """O nó que os testes dividem, em todos os processos deles. Quem precisa derrubar um usa `no_novo`."""
    from cluster import No
    pasta = Path(os.environ.get("PASTA_DE_TODOS") or tmp_path_factory.mktemp("broker"))
    with open(pasta / "vez", "w") as vez:  # quem chega primeiro escolhe a porta, que está no nome da pasta do nó
        fcntl.flock(vez, fcntl.LOCK_EX)
        portas = [int(do_no.name.split("-")[1]) for do_no in pasta.glob("teste-*")]
        no = No(pasta, *portas)
        no.pasta.mkdir(exist_ok=True)
    yield no.iniciar()
    no.parar()
    if not no.vivo():  # era o último
        conferir_que_acabou(no)


@pytest.fixture
def vhost(broker) -> str:
    """Um vhost que nenhum outro teste viu: os nomes de filas e exchanges são os de verdade."""
    return vhost_novo(broker)


def vhost_novo(no) -> str:
    """São criados muitos de cada vez; um só processo de cada vez os pega."""
    from cluster import rabbitmqctl
    with open(no.pasta / "vhosts", "a") as pegos:  # um byte para cada um
        fcntl.flock(pegos, fcntl.LOCK_EX)
        primeiro = os.fstat(pegos.fileno()).st_size
        if primeiro % VHOSTS_POR_VEZ == 0:
            novos = [{"name": f"teste-{primeiro + n}"} for n in range(VHOSTS_POR_VEZ)]
            tudo = {"user": no.usuario, "configure": ".*", "write": ".*", "read": ".*"}
            definicoes = {"vhosts": novos, "permissions": [{"vhost": novo["name"], **tudo} for novo in novos]}
            (no.pasta / "mais.json").write_text(json.dumps(definicoes))
            rabbitmqctl(no, "import_definitions", str(no.pasta / "mais.json"))
        pegos.write(".")
        return f"teste-{primeiro}"


@pytest.fixture
def url(broker, vhost) -> str:
    """O endereço AMQP deste teste."""
    return f"amqp://guest:guest@127.0.0.1:{broker.porta}/{vhost}"
