"""As opções que as duas arquiteturas têm em comum na linha de comando.

Este arquivo existe igual nas duas pastas (monolito/ e microsservicos/).
"""

from __future__ import annotations

import argparse
import sys
import uuid
from pathlib import Path

from comum.loja import CENARIOS, id_valido, ler_arquivo, validar
from comum.falha import Falha

# O argparse só fala inglês sem um catálogo compilado; estas são as frases que ele usa.
FRASES = {
    "usage: ": "uso: ", "options": "opções", "optional arguments": "opções", "positional arguments": "argumentos",
    "show this help message and exit": "mostra esta ajuda e sai",
    "unrecognized arguments: %s": "não conheço %s: veja as opções com --help",
    "expected one argument": "falta o valor", "expected at least one argument": "falta o valor",
    "argument %(argument_name)s: %(message)s": "%(argument_name)s: %(message)s",
    "invalid choice: %(value)r (choose from %(choices)s)": "não existe %(value)r; escolha entre %(choices)s",
    "invalid %(type)s value: %(value)r": "%(value)r não serve: use um número",
    "ignored explicit argument %r": "esta opção não tem valor (sobrou %r)",
    "not allowed with argument %s": "não combina com %s",
    "the following arguments are required: %s": "falta %s",
    "%(prog)s: error: %(message)s\n": "%(prog)s: %(message)s\n",
}
argparse._ = lambda frase: FRASES.get(frase, frase)


MAIS_PEDIDOS = 1_000_000  # cabem na memória de uma máquina comum
# Com uma destas não se faz pedido nenhum (cada programa tem algumas delas).
SEM_PEDIDO = ("--sem-pedido", "--criar-banco", "--cancelar", "--estado", "--em-duvida", "--forcar", "--reconhecer")


class Opcoes(argparse.ArgumentParser):
    """Um argparse em português: um erro de uso é uma linha só, e sai com status 2."""

    def __init__(self, descricao: str):
        super().__init__(description=descricao, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)

    def parse_args(self, *args, **opcoes) -> argparse.Namespace:
        escolha = super().parse_args(*args, **opcoes)
        for nome, valor in vars(escolha).items():
            if valor == "":  # uma variável esquecida no terminal, como em --arquivo "$PEDIDOS"
                self.error(f"--{nome.replace('_', '-')}: falta o valor")
        return escolha

    def error(self, mensagem: str):
        # Até o Python 3.10, esta palavra não passa pela tradução.
        raise Falha(f"{self.prog}: {mensagem.removeprefix('argument ')[:300]}", 2)

    def dos_dados(self, padrao: str) -> None:
        self.add_argument("--dados", metavar="DIR", type=pasta, default=Path(__file__).resolve().parents[2] / "dados",
                          help=f"onde ficam os bancos de dados (padrão: dados/, e nela {padrao}/)")

    def dos_pedidos(self) -> None:
        """As maneiras de dizer que pedidos fazer; sem nenhuma, o cenário sucesso."""
        grupo = self.add_argument_group("que pedidos fazer (padrão: o cenário sucesso)")
        grupo.add_argument("--cenario", metavar="NOME", choices=[*CENARIOS, "todos"], help=", ".join(CENARIOS) + " ou todos")
        grupo.add_argument("--cliente", metavar="NOME", help="um pedido seu; o que faltar nele vem do cenário sucesso")
        grupo.add_argument("--produto", metavar="NOME", help="o produto desse pedido")
        grupo.add_argument("--quantidade", metavar="N", type=inteiro, help="quantas unidades, de 1 a 1000")
        grupo.add_argument("--cep", metavar="CEP", help="onde entregar: oito dígitos")
        grupo.add_argument("--pedidos", metavar="N", type=ate(MAIS_PEDIDOS), help="N pedidos iguais ao do cenário sucesso")
        grupo.add_argument("--arquivo", metavar="F", help="um pedido JSON por linha; - é a entrada padrão")
        grupo.add_argument("--id", metavar="ID", help="o id do pedido (com vários: ID-1, ID-2...); sem ele, um UUID")


def inteiro(texto: str) -> int:
    """Um inteiro positivo em algarismos comuns; o int() do Python aceita bem mais do que isso."""
    if not (texto.isascii() and texto.isdigit() and len(texto) <= 9 and int(texto) > 0):
        raise argparse.ArgumentTypeError(f"{texto[:40]!r} não é um número inteiro de 1 a 999999999")
    return int(texto)


def ate(maior: int):
    """Um conversor de texto em inteiro positivo que não passa de `maior`."""
    def converter(texto: str) -> int:
        if inteiro(texto) > maior:
            raise argparse.ArgumentTypeError(f"no máximo {maior}")
        return int(texto)
    return converter


def pasta(texto: str) -> Path:
    """Uma pasta de dados; o texto vazio seria a pasta atual."""
    if not texto:
        raise argparse.ArgumentTypeError("falta o valor")
    return Path(texto)


def pedidos_escolhidos(opcoes: argparse.Namespace) -> list[dict]:
    """Os pedidos que a linha de comando descreve, já conferidos; levanta Falha (código 2)."""
    proprio = {c: getattr(opcoes, c) for c in ("cliente", "produto", "quantidade", "cep") if getattr(opcoes, c) is not None}
    modos = [f"--{m}" for m in ("cenario", "pedidos", "arquivo") if getattr(opcoes, m) is not None]
    modos += [f"--{next(iter(proprio))}"] if proprio else []
    if len(modos) > 1:
        raise Falha(f"use só um destes: {', '.join(modos)}", 2)
    sem_pedido = [o for o in SEM_PEDIDO if getattr(opcoes, o[2:].replace("-", "_"), None) not in (None, False)]
    if sem_pedido:
        if modos or opcoes.id is not None:
            raise Falha(f"{[*modos, '--id'][0]} não combina com {sem_pedido[0]}", 2)
        return []
    if opcoes.arquivo is not None:
        if opcoes.id is not None:
            raise Falha("--id não combina com --arquivo: ponha o campo \"pedido\" em cada linha", 2)
        return ler_arquivo(opcoes.arquivo)
    sucesso = CENARIOS["sucesso"]
    if proprio:
        item = {"produto": sucesso["itens"][0]["produto"], "quantidade": sucesso["itens"][0]["quantidade"]}
        item.update({c: proprio[c] for c in item if c in proprio})
        modelos = [{**sucesso, **{c: proprio[c] for c in ("cliente", "cep") if c in proprio}, "itens": [item]}]
    elif opcoes.cenario == "todos":
        modelos = list(CENARIOS.values())
    elif opcoes.cenario:
        modelos = [CENARIOS[opcoes.cenario]]
    else:
        modelos = [sucesso] * (opcoes.pedidos or 1)
    return [validar({**modelo, "pedido": novo_id(opcoes.id, n, len(modelos))}) for n, modelo in enumerate(modelos, 1)]


def novo_id(escolhido: str | None, n: int, de: int) -> str:
    if escolhido is None:
        return str(uuid.uuid4())
    if not id_valido(escolhido):
        raise Falha("--id: use de 1 a 64 caracteres entre A-Z a-z 0-9 . _ -", 2)
    return escolhido if de == 1 else f"{escolhido}-{n}"


def confirmar_limpeza(pasta: Path, sim: bool) -> None:
    """Antes de --limpar, pergunta a quem está num terminal; `sim` dispensa a pergunta."""
    if sim or not (sys.stdin and sys.stdin.isatty()):
        return
    if input(f"Apagar todos os dados de {pasta} e voltar às linhas iniciais? [s/N] ").strip().lower() not in ("s", "sim"):
        raise Falha("nada foi apagado", 1)
