"""Faz uma cópia do projeto com um exercício já resolvido.

    python .gabarito/aplicar.py 3 ../resolvido
    cd ../resolvido
    EXERCICIO=3 python -m pytest tests/exercicios

Em cada exercicio-N/ há o que muda nos arquivos do projeto (mudancas.patch) e os arquivos novos, inteiros, com o caminho que têm no projeto.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

GABARITO = Path(__file__).resolve().parent
PROJETO = GABARITO.parent
FORA = shutil.ignore_patterns(".git", ".venv", "dados", "__pycache__", ".pytest_cache")


def copiar(destino: Path) -> Path:
    """Uma cópia do projeto como ele está, sem os dados; o destino não pode existir."""
    return Path(shutil.copytree(PROJETO, destino, ignore=FORA))


def resolver(numero: str, copia: Path) -> None:
    """Põe a solução do exercício sobre a cópia. Levanta ValueError se o projeto mudou onde a solução mexe."""
    solucao = GABARITO / f"exercicio-{numero}"
    if (solucao / "mudancas.patch").exists():
        mudar(copia, (solucao / "mudancas.patch").read_text(encoding="utf-8"))
    shutil.copytree(solucao, copia, dirs_exist_ok=True, ignore=shutil.ignore_patterns("mudancas.patch", "__pycache__"))


def mudar(copia: Path, patch: str) -> None:
    """Aplica um diff unificado; os números das linhas não importam, o texto delas sim."""
    for do_arquivo in re.split(r"^diff --git .*\n", patch, flags=re.M)[1:]:
        nome = re.search(r"^\+\+\+ b/(.*)$", do_arquivo, flags=re.M)[1]
        texto = (copia / nome).read_text(encoding="utf-8")
        for trecho in re.split(r"^@@ .*\n", do_arquivo, flags=re.M)[1:]:
            linhas = trecho.splitlines(keepends=True)
            velho = "".join(linha[1:] for linha in linhas if linha[0] in " -")
            novo = "".join(linha[1:] for linha in linhas if linha[0] in " +")
            if texto.count(velho) != 1:
                raise ValueError(f"{nome} mudou, e a solução já não se encaixa nele; ela esperava achar:\n{velho}")
            texto = texto.replace(velho, novo)
        (copia / nome).write_text(texto, encoding="utf-8", newline="\n")


def trocar(arquivo: Path, certo: str, errado: str) -> None:
    """Troca um trecho por outro; levanta ValueError se ele não está lá uma vez só."""
    texto = arquivo.read_text(encoding="utf-8")
    if texto.count(certo) != 1:
        raise ValueError(f"{arquivo} não tem (uma vez só): {certo}")
    arquivo.write_text(texto.replace(certo, errado), encoding="utf-8", newline="\n")


def main() -> None:
    if len(sys.argv) != 3 or not (GABARITO / f"exercicio-{sys.argv[1]}").is_dir():
        sys.exit("use: python .gabarito/aplicar.py EXERCICIO PASTA_NOVA, com A, D, ou de 1 a 5")
    numero, destino = sys.argv[1], Path(sys.argv[2])
    if destino.exists() or PROJETO in destino.resolve().parents:
        sys.exit(f"{destino}: escolha uma pasta que ainda não exista, fora do projeto")
    resolver(numero, copiar(destino))
    print(f"exercício {numero} resolvido em {destino}")


if __name__ == "__main__":
    main()
