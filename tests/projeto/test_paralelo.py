"""Os processos que dividem os testes: um resumo só, que conta tudo, e nada ligado depois.

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
from verbos import existe

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="sem fork há um processo só")

DE_TUDO = """
    import os, time, warnings, pytest
    from pathlib import Path
    def test_espera_pelo_outro():  # ninguém passa daqui antes que os dois tenham chegado
        pasta = Path(__file__).parent
        (pasta / f"eu-{os.getpid()}-{Path(__file__).stem}").touch()
        limite = time.monotonic() + 120
        while len({a.name.split("-")[1] for a in pasta.glob("eu-*")}) < 2:
            assert time.monotonic() < limite, "só um processo roda testes"
            time.sleep(0.02)
    def test_passa(): warnings.warn("um aviso qualquer")
    def test_falha(): print("dito antes"); assert 1 == 2, "a conta não fecha"
    @pytest.mark.skip(reason="porque sim")
    def test_pula(): pass
    @pytest.fixture
    def quebrada(): raise OSError("a fixture não veio")
    def test_sem_fixture(quebrada): pass
    """
# Um programa que fica ligado até o fim da sessão, como o RabbitMQ dos testes.
LIGADO = """
    import os, subprocess, time, pytest
    from pathlib import Path
    @pytest.fixture(scope="session")
    def ligado(tmp_path_factory):
        programa = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        yield programa.pid
        programa.terminate()
        programa.wait()
    def test_que_nao_acaba(ligado):
        pronto = Path(__file__).parent / f"pronto-{os.getpid()}-{Path(__file__).stem}"
        pronto.write_text(str(ligado))
        time.sleep(1000)
    """


class Pytest:
    """Um pytest de verdade, num grupo de processos só dele, como o de um terminal."""

    def __init__(self, pasta: Path, texto: str, *opcoes: str):
        (pasta / "pytest.ini").write_text("[pytest]\nmarkers = longo: x\n")
        for n in range(6):
            (pasta / f"test_{n}.py").write_text(dedent(texto), encoding="utf-8")
        caminhos = os.pathsep.join(str(RAIZ / "tests" / nome) for nome in ("", "apoio"))
        self.pasta, self.saida = pasta, pasta / "saida.txt"
        with self.saida.open("wb") as saida:
            self.processo = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", "conftest", "--processos", "2", *opcoes],
                cwd=pasta, stdin=subprocess.DEVNULL, stdout=saida, stderr=saida,
                start_new_session=True, env={**os.environ, "PYTHONPATH": caminhos, "COLUMNS": "100",
                                             "PYTEST_DEBUG_TEMPROOT": str(pasta)})

    def ligados(self) -> list[int]:
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


def test_um_resumo_so_conta_o_que_os_dois_rodaram(tmp_path):
    status, texto = Pytest(tmp_path, DE_TUDO, "-rs", f"--junitxml={tmp_path}/junit.xml").fim()
    assert status == 1 and "Traceback" not in texto, texto
    fins = [linha for linha in texto.splitlines() if re.search(r"\d+ passed.* in ", linha)]
    assert len(fins) == 1 and fins == texto.splitlines()[-1:], texto
    for conta in ("6 failed", "12 passed", "6 skipped", "6 errors", "6 warnings"):
        assert re.search(rf"\b{conta}\b", fins[0]), (conta, fins)
    assert texto.count("AssertionError: a conta não fecha") >= 6 and texto.count("dito antes") >= 6
    assert len(list(tmp_path.glob("eu-*"))) == 6, "cada arquivo, uma vez só"
    assert 'tests="30"' in (tmp_path / "junit.xml").read_text(encoding="utf-8")


def test_segundo_que_morre_e_dito_e_reprova_a_rodada(tmp_path):
    morrer = DE_TUDO + """
    def test_z_o_segundo_morre():
        if os.environ["PYTEST_DEBUG_TEMPROOT"] != os.getcwd():  # o segundo tem a pasta dele
            os.kill(os.getpid(), 9)
    """
    status, texto = Pytest(tmp_path, morrer).fim()
    assert status == 1 and "um dos processos dos testes acabou com status -9" in texto, texto


@pytest.mark.parametrize("sinal", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_interrompido_os_dois_desligam_o_que_ligaram(tmp_path, sinal):
    rodada = Pytest(tmp_path, LIGADO)
    ligados = esperar(rodada.ligados, que="os dois rodarem um teste")
    os.killpg(rodada.processo.pid, getattr(signal, sinal))  # o que o Ctrl-C faz num terminal
    status, texto = rodada.fim()
    assert status == 2 and "KeyboardInterrupt" in texto, texto
    assert not any(map(existe, ligados))
