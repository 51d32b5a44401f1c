"""Exercício B: um pedido parado, e a pergunta: quem morreu, e em que instante?

    python tests/exercicios/quem_morreu.py 3              o rastro do caso 3
    python tests/exercicios/quem_morreu.py 3 pagamentos   a sua resposta

Os casos de 1 a 3 são da 2PC, e a resposta é um dos pontos de `app.py --help`; os de 4 a 6 são da
saga, e a resposta é o serviço.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
from pathlib import Path

TESTES = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTES), str(TESTES / "apoio"), str(TESTES / "saga")]

from maquete import Maquete  # noqa: E402

APP = str(TESTES.parent / "monolito" / "app.py")
CASOS = {  # da 2PC, o ponto; da saga, o que se fez
    "1": "depois-da-decisao", "2": "antes-da-decisao", "3": "entre-votos",
    "4": ("enviar p-1 sucesso", "morrer estoque"),
    "5": ("desligar pagamentos", "enviar p-1 sucesso", "andar"),
    "6": ("enviar p-1 envio-recusado", "andar estoque pagamentos", "morrer envio")}


def mostrar(caso: str, pasta: str) -> str:
    """Provoca a morte, mostra o rastro, e devolve a resposta certa."""
    historia = CASOS[caso]
    if isinstance(historia, str):
        for opcoes in (["--id", "p-1", "--cair-em", historia], ["--rastro", "p-1"]):
            fim = subprocess.run([sys.executable, APP, "--dados", pasta, *opcoes], stdout=subprocess.PIPE, encoding="utf-8")
        print(fim.stdout)
        return historia
    with contextlib.redirect_stdout(io.StringIO()):
        maquete = Maquete(Path(pasta))
        for linha in historia:
            maquete.fazer(linha)
    maquete.fazer("rastro p-1")
    return next(linha.split()[1] for linha in historia if linha.split()[0] in ("morrer", "desligar"))


def main() -> str | None:
    if sys.argv[1:2] == [] or sys.argv[1] not in CASOS:
        return "use: python tests/exercicios/quem_morreu.py CASO [RESPOSTA], com CASO de 1 a 6"
    with tempfile.TemporaryDirectory() as pasta:
        certa = mostrar(sys.argv[1], pasta)
    for resposta in sys.argv[2:3]:
        if resposta != certa:
            return f"{resposta}: não; se fosse, o que estaria diferente neste rastro?"
        print(f"{resposta}: é isso; o que acontece quando ele voltar?")


if __name__ == "__main__":
    sys.exit(main())
