"""Traços: o que as duas arquiteturas mostram, passo a passo, guardado como texto em tests/tracos/.

Cada arquivo é para ser lido: um comentário que diz o que olhar, comandos, e o que cada um mostra.

    # comentário
    $ python monolito/app.py --id p-1        um comando do shell, numa cópia nova do monolito
    > enviar p-1 sucesso                     um verbo da maquete da saga (tests/apoio/maquete.py)

Os números de execução, sorteados, viram aaaaaaaa, bbbbbbbb... Se um traço muda de propósito:

    python tests/tracos/test_tracos.py --regravar   mostra as diferenças e grava os arquivos

e a mensagem do commit explica a diferença. Para um traço novo, escreva só os comandos e regrave.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

TRACOS = Path(__file__).resolve().parent
sys.path[:0] = [str(TRACOS.parent), str(TRACOS.parent / "apoio")]  # para --regravar

from conftest import RAIZ, no_path  # noqa: E402

EXECUCAO = re.compile(r"\b[0-9a-f]{8}\b")


def refazer(arquivo: Path, pasta: Path) -> str:
    """O texto que o traço teria hoje: os mesmos comentários e comandos, com o que mostram agora."""
    rodar = NoShell(pasta) if "2pc" in arquivo.name else NaMaquete(pasta)
    novo, ultima = [], "#"
    for linha in arquivo.read_text(encoding="utf-8").splitlines():
        if linha[:1] not in ("#", "$", ">"):
            continue  # o que um comando mostrou da outra vez
        if novo and not ultima.startswith("#"):
            novo.append("")
        novo.append(linha)
        ultima = linha
        if linha[0] != "#":
            novo += rodar(linha[2:])
    return "\n".join(novo) + "\n"


class NoShell:
    """Roda comandos do shell numa cópia do monolito."""

    def __init__(self, pasta: Path):
        self.pasta = pasta
        shutil.copytree(RAIZ / "monolito", pasta / "monolito",
                        ignore=shutil.ignore_patterns("__pycache__"))
        self.ambiente = {**os.environ, "PATH": no_path(pasta / "bin", {"python": f'exec "{sys.executable}" "$@"'}),
                         "PYTHONIOENCODING": "utf-8", "COLUMNS": "1000"}
        self.execucoes: dict[str, str] = {}

    def __call__(self, comando: str) -> list[str]:
        fim = subprocess.run(["bash", "-c", comando], cwd=self.pasta, env=self.ambiente,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=120)
        texto = fim.stdout.decode().replace(f"{self.pasta}/", "")
        texto = EXECUCAO.sub(lambda achado: self.execucoes.setdefault(
            achado[0], chr(ord("a") + len(self.execucoes)) * 8), texto)
        status = [f"(status de saída: {fim.returncode})"] if fim.returncode else []
        return texto.splitlines() + status


class NaMaquete:
    """Roda verbos da saga numa maquete, ligada no primeiro deles."""

    def __init__(self, pasta: Path):
        self.pasta, self.maquete = pasta, None

    def __call__(self, verbo: str) -> list[str]:
        from maquete import Maquete
        with (contextlib.redirect_stdout(io.StringIO()) as tela, contextlib.redirect_stderr(tela),
              pytest.MonkeyPatch.context() as ambiente):
            ambiente.setenv("COLUMNS", "80")
            self.maquete = self.maquete or Maquete(self.pasta)
            self.maquete.fazer(verbo)
        return tela.getvalue().splitlines()


@pytest.mark.parametrize("arquivo", sorted(TRACOS.glob("*.txt")), ids=lambda arquivo: arquivo.stem)
def test_traco(arquivo, tmp_path):
    velho, novo = arquivo.read_text(encoding="utf-8"), refazer(arquivo, tmp_path)
    assert novo == velho, (
        f"{arquivo.name} mudou (se foi de propósito: python tests/tracos/test_tracos.py --regravar)\n"
        + diferenca(arquivo, velho, novo))


def diferenca(arquivo: Path, velho: str, novo: str) -> str:
    return "\n".join(difflib.unified_diff(velho.splitlines(), novo.splitlines(), arquivo.name,
                                          "agora", lineterm=""))


def regravar() -> int:
    for arquivo in sorted(TRACOS.glob("*.txt")):
        with tempfile.TemporaryDirectory() as pasta:
            velho = arquivo.read_text(encoding="utf-8")
            novo = refazer(arquivo, Path(pasta).resolve())
        if novo != velho:
            print(diferenca(arquivo, velho, novo))
            arquivo.write_text(novo, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    if sys.argv[1:] != ["--regravar"]:
        sys.exit("para regravar os traços: python tests/tracos/test_tracos.py --regravar")
    sys.exit(regravar())
