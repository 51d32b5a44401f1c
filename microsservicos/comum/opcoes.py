"""As opções que as duas arquiteturas têm em comum na linha de comando."""

from __future__ import annotations

import argparse
import re
import sys
import uuid
from pathlib import Path

from comum.falha import Falha
from comum.loja import CENARIOS, MAIS_PEDIDOS, id_valido, ler_arquivo, validar
from comum.tela import dizer

# O argparse só fala inglês; estas são as frases de erro dele, na ordem em que se procura.
ERROS = [(re.compile(ingles, re.S), portugues) for ingles, portugues in (
    (r"unrecognized arguments: (.*)", r"não conheço \1: veja as opções com --help"),
    (r"the following arguments are required: (.*)", r"falta \1"),
    (r"argument (.+?): expected (?:at least )?one argument", r"\1: falta o valor"),
    (r"argument (.+?): invalid choice: (.*) \(choose from (.*)\)",
     r"\1: não existe \2; escolha entre \3"),
    (r"argument (.+?): ignored explicit argument (.*)",
     r"\1: esta opção não tem valor (sobrou \2)"),
    (r"argument (.+?): (.*)", r"\1: \2"),
)]
PROPRIO = ("cliente", "produto", "quantidade", "cep")  # um pedido escrito na linha de comando
# Com uma destas não se faz pedido nenhum (cada programa tem algumas delas).
SEM_PEDIDO = ("sem_pedido", "so_broker", "so_assistir", "cancelar", "criar_banco", "estado",
              "em_duvida", "rastro", "forcar", "reconhecer", "republicar")


class Ajuda(argparse.RawDescriptionHelpFormatter):
    """A ajuda do argparse, com a primeira palavra em português."""

    def add_usage(self, usage, actions, groups, prefix=None):
        super().add_usage(usage, actions, groups, "uso: ")


class Opcoes(argparse.ArgumentParser):
    """Um argparse em português: um erro de uso é uma linha só, e sai com status 2."""

    def __init__(self, descricao: str):
        super().__init__(description=descricao, allow_abbrev=False, add_help=False,
                         formatter_class=Ajuda)
        # Grupos nossos, porque os que ele cria sozinho têm o título em inglês.
        self._soltos = self.add_argument_group("argumentos")
        self._gerais = self.add_argument_group("opções")
        self.add_argument("-h", "--help", action="help", help="mostra esta ajuda e sai")

    def add_argument(self, *nomes, **opcoes):
        grupo = self._gerais if nomes[0].startswith("-") else self._soltos
        return grupo.add_argument(*nomes, **opcoes)

    def parse_args(self, *args, **opcoes) -> argparse.Namespace:
        escolha = super().parse_args(*args, **opcoes)
        for nome, valor in vars(escolha).items():
            if valor == "":  # uma variável esquecida no terminal, como em --arquivo "$PEDIDOS"
                self.error(f"--{nome.replace('_', '-')}: falta o valor")
        return escolha

    def error(self, message: str):
        for ingles, portugues in ERROS:
            if achado := ingles.fullmatch(message):
                message = achado.expand(portugues)
                break
        raise Falha(f"{self.prog}: {message[:300]}", 2)

    def print_help(self, file=None):
        dizer(self.format_help().rstrip(), inteira=True)

    def dos_dados(self, padrao: str) -> None:
        self.add_argument("--dados", metavar="DIR", type=pasta,
                          default=Path(__file__).resolve().parents[2] / "dados",
                          help=f"onde ficam os bancos de dados (padrão: dados/, e nela {padrao}/)")

    def devagar(self) -> None:
        self.add_argument("--devagar", metavar="S", type=segundos, default=0.0,
                          help="S segundos entre um passo e outro, para acompanhar, e matar à mão")

    def dos_pedidos(self) -> None:
        """As maneiras de dizer que pedidos fazer; sem nenhuma, o cenário sucesso."""
        grupo = self.add_argument_group("que pedidos fazer (padrão: o cenário sucesso)")
        opcao = grupo.add_argument
        opcao("--cenario", metavar="NOME", choices=[*CENARIOS, "todos"],
              help=", ".join(CENARIOS) + " ou todos")
        opcao("--cliente", metavar="NOME",
              help="um pedido seu; o que faltar nele vem do cenário sucesso")
        opcao("--produto", metavar="NOME", help="o produto desse pedido")
        opcao("--quantidade", metavar="N", type=inteiro, help="quantas unidades, de 1 a 1000")
        opcao("--cep", metavar="CEP", help="onde entregar: oito dígitos")
        opcao("--pedidos", metavar="N", type=ate(MAIS_PEDIDOS),
              help="N pedidos iguais ao do cenário sucesso")
        opcao("--arquivo", metavar="F", help="um pedido JSON por linha; - é a entrada padrão")
        opcao("--id", metavar="ID",
              help="o id do pedido (com vários: ID-1, ID-2...); sem ele, um UUID")


def inteiro(texto: str) -> int:
    """Um inteiro positivo em algarismos comuns; o int() do Python aceita bem mais do que isso."""
    if not (texto.isascii() and texto.isdigit() and len(texto) <= 9 and int(texto) > 0):
        raise argparse.ArgumentTypeError(
            f"{texto[:40]!r} não é um número inteiro de 1 a 999999999")
    return int(texto)


def ate(maior: int):
    """Um conversor de texto em inteiro positivo que não passa de `maior`."""
    def converter(texto: str) -> int:
        if inteiro(texto) > maior:
            raise argparse.ArgumentTypeError(f"no máximo {maior}")
        return int(texto)
    return converter


def segundos(texto: str) -> float:
    if not (texto.isascii() and texto.replace(".", "", 1).isdigit() and len(texto) <= 6):
        raise argparse.ArgumentTypeError(f"{texto[:40]!r} não é um número de segundos")
    return float(texto)


def pasta(texto: str) -> Path:
    """Uma pasta de dados; `~` é a da pessoa, também em --dados=~/x, que o shell não troca."""
    if not texto:  # seria a pasta atual
        raise argparse.ArgumentTypeError("falta o valor")
    try:
        return Path(texto).expanduser()
    except RuntimeError as erro:
        raise argparse.ArgumentTypeError(f"{texto[:40]!r}: não sei que pasta é essa") from erro


def pedidos_escolhidos(opcoes: argparse.Namespace) -> list[dict]:
    """Os pedidos que a linha de comando descreve, já conferidos; levanta Falha (código 2)."""
    modo = _modo(opcoes)
    if modo == "nenhum":
        return []
    if modo == "arquivo":
        return ler_arquivo(opcoes.arquivo)
    modelos = MODELOS[modo](opcoes)
    return [validar({**modelo, "pedido": novo_id(opcoes.id, n, len(modelos))})
            for n, modelo in enumerate(modelos, 1)]


def _modo(opcoes: argparse.Namespace) -> str:
    """Uma das maneiras de dizer que pedidos fazer, ou "nenhum"; Falha se foram ditas duas."""
    dados = [nome for nome in ("cenario", "pedidos", "arquivo", *PROPRIO)
             if getattr(opcoes, nome) is not None]
    modos = list(dict.fromkeys("proprio" if nome in PROPRIO else nome for nome in dados))
    if len(modos) > 1:
        usados = [n for n in dados if n not in PROPRIO] + [n for n in dados if n in PROPRIO][:1]
        raise Falha(f"use só um destes: {', '.join(f'--{nome}' for nome in usados)}", 2)
    sem_pedido = [n for n in SEM_PEDIDO if getattr(opcoes, n, None) not in (None, False)]
    if sem_pedido:
        if dados or opcoes.id is not None:
            raise Falha(f"--{[*dados, 'id'][0]} não combina com --{_opcao(sem_pedido[0])}", 2)
        return "nenhum"
    if not dados and opcoes.id is None and getattr(opcoes, "limpar", False):
        return "nenhum"  # sozinha, só limpa
    if modos == ["arquivo"] and opcoes.id is not None:
        raise Falha('--id não combina com --arquivo: ponha o campo "pedido" em cada linha', 2)
    return modos[0] if modos else "pedidos"


def _opcao(nome: str) -> str:
    return nome.replace("_", "-")


def _do_cenario(opcoes) -> list[dict]:
    return list(CENARIOS.values()) if opcoes.cenario == "todos" else [CENARIOS[opcoes.cenario]]


def _iguais(opcoes) -> list[dict]:
    return [CENARIOS["sucesso"]] * (opcoes.pedidos or 1)


def _proprio(opcoes) -> list[dict]:
    """Um pedido do cenário sucesso, com o que a linha de comando trocou nele."""
    dito = {nome: getattr(opcoes, nome) for nome in PROPRIO if getattr(opcoes, nome) is not None}
    sucesso = CENARIOS["sucesso"]
    item = {nome: dito.pop(nome, valor) for nome, valor in sucesso["itens"][0].items()}
    return [{**sucesso, **dito, "itens": [item]}]


MODELOS = {"cenario": _do_cenario, "pedidos": _iguais, "proprio": _proprio}


def novo_id(escolhido: str | None, n: int, de: int) -> str:
    if escolhido is None:
        return str(uuid.uuid4())
    if not id_valido(escolhido):
        raise Falha("--id: use de 1 a 64 caracteres entre A-Z a-z 0-9 . _ -", 2)
    return escolhido if de == 1 else f"{escolhido}-{n}"


def confirmar_limpeza(pasta: Path, sim: bool) -> None:
    """Antes de --limpar, pergunta a quem está num terminal; `sim` dispensa a pergunta."""
    if sim or not sys.stdin.isatty():
        return
    try:
        resposta = input(f"Apagar todos os dados de {pasta} e voltar às linhas iniciais? [s/N] ")
    except (EOFError, UnicodeDecodeError):  # um terminal com outra codificação
        resposta = ""
    if resposta.strip().lower() not in ("s", "sim"):
        raise Falha("nada foi apagado", 1)
