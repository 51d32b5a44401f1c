"""Os dois pytest que dividem os testes: um resumo só, que conta tudo, e nada ligado depois do fim.

Cada teste daqui inicia um pytest de verdade, com tests/conftest.py, sobre uns poucos arquivos.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from conftest import RAIZ, esperar

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no Windows há um processo só")

DE_TUDO = """
    import warnings, pytest
    def test_passa(): warnings.warn("um aviso qualquer")
    def test_falha(): assert 1 == 2, "a conta não fecha"
    @pytest.mark.skip(reason="porque sim")
    def test_pula(): pass
    @pytest.mark.xfail
    def test_falha_como_se_espera(): assert False
    @pytest.fixture
    def quebrada(): raise OSError("a fixture não veio")
    def test_sem_fixture(quebrada): pass
    """
# Ninguém passa daqui antes que os dois processos tenham chegado.
ENCONTRO = """
    import os, time
    from pathlib import Path
    def test_espera_pelo_outro():
        pasta = Path(__file__).parent
        (pasta / f"eu-{os.getpid()}-{Path(__file__).stem}").touch()
        limite = time.monotonic() + 30
        while len({a.name.split("-")[1] for a in pasta.glob("eu-*")}) < 2:
            assert time.monotonic() < limite, "só um processo roda testes"
            time.sleep(0.02)
    """
# Um programa que fica ligado até o fim da sessão, como o RabbitMQ dos testes. O teste não acaba:
# quem o interrompe é o de fora.
LIGADO = """
    import os, subprocess, time, pytest
    from pathlib import Path
    @pytest.fixture(scope="session")
    def ligado(tmp_path_factory):
        programa = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        yield programa
        programa.terminate()
        programa.wait()
    def test_que_nao_acaba(ligado):
        pronto = Path(__file__).parent / f"pronto-{os.getpid()}-{Path(__file__).stem}"
        pronto.write_text(str(ligado.pid))
        time.sleep(600)
    """
COM_BROKER = """
    import os, time
    from pathlib import Path
    def test_que_nao_acaba(broker):
        pronto = Path(__file__).parent / f"pronto-{os.getpid()}-{Path(__file__).stem}"
        pronto.write_text(str(broker.pid))
        time.sleep(600)
    """


class Pytest:
    """Um pytest de verdade, num grupo de processos só dele, como o de um terminal."""

    def __init__(self, pasta: Path, *opcoes: str):
        caminhos = os.pathsep.join(str(RAIZ / "tests" / nome) for nome in ("", "apoio"))
        self.pasta, self.saida = pasta, pasta / "saida.txt"
        (pasta / "tmp").mkdir(exist_ok=True)
        with self.saida.open("wb") as saida:
            self.processo = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", "conftest", "--processos", "2",
                 "--basetemp", pasta / "tmp" / "primeiro", "-o", f"cache_dir={pasta / 'cache'}",
                 *opcoes],
                cwd=pasta, stdin=subprocess.DEVNULL, stdout=saida, stderr=saida,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": caminhos, "EXERCICIO": "", "COLUMNS": "100",
                     "TMPDIR": str(pasta / "tmp")})

    def prontos(self) -> list[int]:
        """O que cada um dos dois ligou, quando os dois já ligaram."""
        pids = [arquivo.read_text() for arquivo in self.pasta.glob("pronto-*")]
        return [int(pid) for pid in pids] if len(pids) == 2 and all(pids) else []

    def fim(self, prazo: float = 60) -> tuple[int, str]:
        try:
            status = self.processo.wait(prazo)
        finally:
            if self.processo.poll() is None:
                os.killpg(self.processo.pid, signal.SIGKILL)
        return status, self.saida.read_text(encoding="utf-8")


@pytest.fixture
def arquivos(tmp_path):
    """Fábrica de arquivos de teste iguais, numa pasta nova, que tem um pytest.ini só seu."""
    def criar(texto: str, quantos: int = 4) -> Path:
        (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = longo: x\n")
        for n in range(quantos):
            (tmp_path / f"test_{n}.py").write_text(dedent(texto), encoding="utf-8")
        return tmp_path
    return criar


def vivo(pid: int) -> bool:
    try:
        estado = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return estado != "Z"


def processos_de(pasta: Path) -> dict[int, str]:
    """Quem ainda roda nesta pasta, ou nasceu nela: {pid: comando}."""
    achados = {}
    for processo in Path("/proc").glob("[0-9]*"):
        try:
            ambiente = (processo / "environ").read_bytes()
            onde = os.readlink(processo / "cwd")
            if str(pasta).encode() in ambiente or onde.startswith(str(pasta)):
                achados[int(processo.name)] = (processo / "cmdline").read_bytes().decode()
        except OSError:
            continue  # terminou, ou é de outro usuário
    return {pid: comando for pid, comando in achados.items() if vivo(pid)}


# --- o resumo ---

def test_um_resumo_so_conta_o_que_os_dois_rodaram(arquivos):
    status, texto = Pytest(arquivos(ENCONTRO + DE_TUDO, 6), "-rs").fim()
    assert status == 1 and "Traceback" not in texto, texto
    fins = [linha for linha in texto.splitlines() if re.search(r"\d+ passed.* in ", linha)]
    assert len(fins) == 1 and fins == texto.splitlines()[-1:], texto
    for conta in ("6 failed", "12 passed", "6 skipped", "6 xfailed", "6 errors", "6 warnings"):
        assert re.search(rf"\b{conta}\b", fins[0]), (conta, fins)
    assert texto.count(": porque sim") == 6, texto
    assert texto.count("AssertionError: a conta não fecha") >= 6


def test_os_dois_rodam_e_nenhum_teste_roda_duas_vezes(arquivos):
    pasta = arquivos(ENCONTRO, 8)
    status, texto = Pytest(pasta).fim()
    assert status == 0 and "8 passed" in texto, texto
    assert len(list(pasta.glob("eu-*"))) == 8


@pytest.mark.parametrize("opcoes, status, fim", [
    (["-k", "passa"], 0, "6 passed, 24 deselected"),
    (["test_1.py", "-k", "passa"], 0, "1 passed, 4 deselected"),
    (["test_1.py::test_passa", "test_2.py::test_pula", "test_3.py::test_passa",
      "test_1.py::test_pula", "test_4.py::test_passa", "test_5.py::test_passa"],
     0, "4 passed, 2 skipped"),
    (["-x"], 1, "1 failed, 1 passed"),
    (["--co", "-q"], 0, "30 tests collected"),
    (["-m", "longo"], 5, "30 deselected"),
    (["--processos", "1", "-k", "falha"], 1, "6 failed, 18 deselected, 6 xfailed"),
], ids=lambda valor: " ".join(valor)[:30] if isinstance(valor, list) else "")
def test_as_opcoes_do_pytest_valem_para_os_dois(arquivos, opcoes, status, fim):
    achado, texto = Pytest(arquivos(DE_TUDO, 6), *opcoes).fim()
    assert achado == status and fim in texto.splitlines()[-1], texto


def test_o_que_falhou_e_lembrado_e_o_relatorio_e_inteiro(arquivos):
    pasta = arquivos(DE_TUDO, 6)
    assert Pytest(pasta, f"--junitxml={pasta}/junit.xml").fim()[0] == 1
    relatorio = (pasta / "junit.xml").read_text(encoding="utf-8")
    assert 'tests="30"' in relatorio and 'failures="6"' in relatorio
    assert "6 failed, 6 errors" in Pytest(pasta, "--lf").fim()[1].splitlines()[-1]


def test_arquivo_que_nao_se_carrega_e_um_erro_e_nada_roda(arquivos):
    pasta = arquivos("def test_passa(): pass", 6)
    (pasta / "test_9.py").write_text("import nao_existe")
    status, texto = Pytest(pasta).fim()
    assert status == 2 and "1 error" in texto.splitlines()[-1] and "passed" not in texto, texto


def test_segundo_que_morre_e_dito_e_reprova_a_rodada(arquivos):
    status, texto = Pytest(arquivos("""
        import os, time
        from pathlib import Path
        def test_o_segundo_morre():
            morreu = Path(__file__).parent / "morreu"
            if "--sou-o-segundo" in Path("/proc/self/cmdline").read_text():
                morreu.touch()
                os.kill(os.getpid(), 9)
            limite = time.monotonic() + 30
            while not morreu.exists() and time.monotonic() < limite:
                time.sleep(0.02)
        """)).fim()
    assert status == 1 and "o segundo processo dos testes acabou com status -9" in texto, texto


PASTAS = sorted({arquivo.parent.name for arquivo in (RAIZ / "tests").glob("*/test_*.py")})


@pytest.mark.parametrize("pasta", PASTAS)
def test_cada_pasta_de_testes_se_carrega_sozinha(pasta):
    fim = subprocess.run([sys.executable, "-m", "pytest", "--co", "-q", "-p", "no:cacheprovider",
                          f"tests/{pasta}", "-m", "longo or not longo"], cwd=RAIZ,
                         env={**os.environ, "EXERCICIO": "3"}, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, encoding="utf-8")
    assert fim.returncode == 0 and " error" not in fim.stdout.splitlines()[-1], fim.stdout[-3000:]


# --- o fim antes da hora ---

@pytest.mark.parametrize("sinal", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_interrompido_os_dois_desligam_o_que_ligaram(arquivos, sinal):
    rodada = Pytest(arquivos(LIGADO))
    ligados = esperar(rodada.prontos, 30, "os dois rodarem um teste")
    if sinal == "SIGINT":
        os.killpg(rodada.processo.pid, signal.SIGINT)  # o que o Ctrl-C faz num terminal
    else:
        rodada.processo.send_signal(getattr(signal, sinal))
    status, texto = rodada.fim()
    assert status == 2 and "KeyboardInterrupt" in texto, texto
    assert not any(map(vivo, ligados)) and not processos_de(rodada.pasta)


def test_o_primeiro_morto_com_kill_9_nao_deixa_o_segundo_para_sempre(arquivos):
    espera = "while not Path('anda').exists(): time.sleep(0.02)"
    que_acaba = LIGADO.replace("time.sleep(600)", espera)
    rodada = Pytest(arquivos(que_acaba))
    ligados = esperar(rodada.prontos, 30, "os dois rodarem um teste")
    rodada.processo.kill()
    rodada.processo.wait()
    (rodada.pasta / "anda").touch()
    o_segundo = lambda: [pid for pid, comando in processos_de(rodada.pasta).items()
                         if "--sou-o-segundo" in comando]
    esperar(lambda: not o_segundo(), 30, "o fim do segundo")
    sobra = [pid for pid in ligados if vivo(pid)]
    for pid in sobra:
        os.kill(pid, signal.SIGKILL)
    assert len(sobra) == 1, "só o do primeiro, que não teve como desligá-lo"
    assert len(list(rodada.pasta.glob("pronto-*"))) == 2, "e o segundo não pegou outro arquivo"


@pytest.mark.parametrize("quando", ["ligando", "ligado"])
@pytest.mark.longo
def test_ctrl_c_nao_deixa_rabbitmq_nem_epmd(arquivos, quando):
    rodada = Pytest(arquivos(COM_BROKER))
    if quando == "ligado":
        esperar(rodada.prontos, 120, "os dois terem um RabbitMQ")
    else:
        esperar(lambda: sum("beam.smp" in c for c in processos_de(rodada.pasta).values()), 60,
                "uma máquina virtual")
    os.killpg(rodada.processo.pid, signal.SIGINT)
    status, texto = rodada.fim(120)
    assert status == 2, texto
    assert not processos_de(rodada.pasta)
