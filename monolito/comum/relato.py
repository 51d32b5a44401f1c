"""O que um rastro diz por escrito, debaixo das raias: igual nas duas arquiteturas."""

import shlex
from pathlib import Path
from typing import Iterable

from comum.opcoes import DADOS
from comum.tela import curto, dizer, visivel

CORES = {"concluido": "verde", "cancelado": "roxo"}  # um pedido sem resultado: vermelho


def relatar(fatos: Iterable[tuple[str, str]], pedido: str, estado: str,
            motivo: str | None) -> None:
    """O que cada banco diz, e como o pedido está. fatos: [(banco, o que ele diz)]."""
    dizer()
    for banco, fato in fatos:
        dizer(visivel(f"  {banco:14} {fato}"), recuo=17)
    dizer(visivel(f"  {curto(pedido)}: {estado}{f': {motivo}' if motivo else ''}"),
          CORES.get(estado, "vermelho"))


def relatar_espera(texto: str, comandos: Iterable[str], dados: Path) -> None:
    """O que o pedido espera, e os comandos, inteiros, que o fazem andar. dados: a de --dados."""
    da_pasta = "" if dados.resolve() == DADOS else f" --dados {shlex.quote(str(dados))}"
    dizer(visivel(f"  espera: {texto}" + (":" if comandos else "")), recuo=10)
    for comando in comandos:
        dizer(f"      python {comando}{da_pasta}", inteira=True)
