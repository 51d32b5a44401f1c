"""As opções que as duas arquiteturas têm em comum na linha de comando."""

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
    (r"argument (.+?): not allowed with argument (.+)", r"use só uma destas: \2, \1"),
    (r"argument (.+?): (.*)", r"\1: \2"),
)]
DADOS = Path(__file__).resolve().parents[2] / "dados"
PROPRIO = ("cliente", "produto", "quantidade", "cep")  # um pedido escrito na linha de comando
# Com uma destas não se faz pedido nenhum (cada programa tem algumas delas).
SEM_PEDIDO = ("sem_pedido", "so_broker", "so_assistir", "cancelar", "estado",
              "em_duvida", "rastro", "forcar", "reconhecer", "republicar")


class Opcoes(argparse.ArgumentParser):
    """Um argparse em português: um erro de uso é uma linha só, e sai com status 2."""

    def __init__(self, descricao: str):
        super().__init__(description=descricao, allow_abbrev=False, add_help=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
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
        dizer(self.format_help().replace("usage: ", "uso: ", 1).rstrip(), inteira=True)

    def dos_dados(self, padrao: str) -> None:
        self.add_argument("--dados", metavar="DIR", type=pasta, default=str(DADOS),
                          help=f"onde ficam os bancos de dados (padrão: dados/, e nela {padrao}/)")

    def devagar(self) -> None:
        self.add_argument("--devagar", metavar="S", type=segundos, default=0.0,
                          help="S segundos entre um passo e outro, para acompanhar, e matar à mão")

    def de_quem_acompanha(self, sem_pedido: str, limpar: str):
        """As dos dois programas que levam os pedidos até o fim; os textos são a ajuda de cada um.

        Devolve o grupo das opções de que só se usa uma de cada vez.
        """
        so_uma = self.add_argument_group("em vez de pedidos, uma destas")
        so_uma = so_uma.add_mutually_exclusive_group()
        chaves(so_uma, {"--sem-pedido": sem_pedido,
                        "--estado": "mostra o estado final em JSON e sai"})
        chaves(self, {"--limpar": f"antes de tudo, {limpar}; sozinho, só limpa",
                      "--sim": "com --limpar: não pergunta, nem num terminal"})
        self.add_argument("--diagrama", metavar="F", help=(
            "escreve em F o diagrama de sequência (Mermaid) desta execução"))
        return so_uma

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


def chaves(grupo, ajudas: dict[str, str]) -> None:
    """Opções sem valor; ajudas: {nome: o que --help diz}."""
    for nome, ajuda in ajudas.items():
        grupo.add_argument(nome, action="store_true", help=ajuda)


def ate(maior: int):
    """Um conversor de texto em inteiro positivo que não passa de `maior`.

    Em algarismos comuns: o int() do Python aceita bem mais do que isso.
    """
    def converter(texto: str) -> int:
        if re.fullmatch("[0-9]{1,9}", texto) and 0 < int(texto) <= maior:
            return int(texto)
        raise argparse.ArgumentTypeError(f"{texto[:40]!r} não é um número inteiro de 1 a {maior}")
    return converter


inteiro = ate(999_999_999)


def segundos(texto: str) -> float:
    if not (texto.isascii() and texto.replace(".", "", 1).isdigit() and len(texto) <= 6):
        raise argparse.ArgumentTypeError(f"{texto[:40]!r} não é um número de segundos")
    return float(texto)


def pasta(texto: str) -> Path:
    """Uma pasta de dados; `~` é a da pessoa, também em --dados=~/x, que o shell não troca."""
    if not texto:  # seria a pasta atual
        raise argparse.ArgumentTypeError("falta o valor")
    try:
        escolhida = Path(texto).expanduser()
        str(escolhida.absolute()).encode()  # nem o SQLite nem o RabbitMQ a achariam
    except (RuntimeError, UnicodeEncodeError) as erro:
        raise argparse.ArgumentTypeError(f"{texto[:40]!r} não é uma pasta que eu ache (ou há nela "
                                         "um nome que não é UTF-8): use outra") from erro
    return escolhida


def pedidos_escolhidos(opcoes: argparse.Namespace) -> list[dict]:
    """Os pedidos que a linha de comando descreve, já conferidos; levanta Falha (código 2)."""
    proprio = {nome: dito for nome in PROPRIO if (dito := getattr(opcoes, nome)) is not None}
    ditas = [n for n in ("cenario", "pedidos", "arquivo") if getattr(opcoes, n) is not None]
    ditas += [*proprio][:1]
    if len(ditas) > 1:
        raise Falha(f"use só um destes: {', '.join(f'--{nome}' for nome in ditas)}", 2)
    ditas += ["id"] * (opcoes.id is not None)
    sem_pedido = [n for n in SEM_PEDIDO if getattr(opcoes, n, None) not in (None, False)]
    if sem_pedido and ditas:
        raise Falha(f"--{ditas[0]} não combina com --{sem_pedido[0].replace('_', '-')}", 2)
    if sem_pedido or getattr(opcoes, "limpar", False) and not ditas:
        return []
    if ditas == ["arquivo", "id"]:
        raise Falha('--id não combina com --arquivo: ponha o campo "pedido" em cada linha', 2)
    if opcoes.arquivo is not None:
        return ler_arquivo(opcoes.arquivo)
    modelos = _modelos(opcoes, proprio)
    return [validar({**modelo, "pedido": novo_id(opcoes.id, n, len(modelos))})
            for n, modelo in enumerate(modelos, 1)]


def _modelos(opcoes: argparse.Namespace, proprio: dict) -> list[dict]:
    """Os pedidos ainda sem id; o que faltar num pedido próprio vem do cenário sucesso."""
    if opcoes.cenario == "todos":
        return list(CENARIOS.values())
    modelo = CENARIOS[opcoes.cenario or "sucesso"]
    item = {nome: proprio.pop(nome, valor) for nome, valor in modelo["itens"][0].items()}
    return [{**modelo, **proprio, "itens": [item]}] * (opcoes.pedidos or 1)


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
