"""A linha de comando que as duas arquiteturas têm em comum: opções, e os pedidos que se pedem."""

import argparse
import re
import sys
from pathlib import Path

from comum.falha import Falha
from comum.loja import CENARIOS, MAIS_PEDIDOS, ler_arquivo, validar
from comum.tela import POUCOS, dizer

# O argparse só fala inglês: o que ele diz e como se diz aqui, na ordem em que se troca.
EM_PORTUGUES = (
    ("usage: ", "uso: "),
    ("positional arguments:", "argumentos:"),
    ("options:", "opções:"),
    ("show this help message and exit", "mostra esta ajuda e sai"),
    ("unrecognized arguments: (.*)", r"não conheço \1: veja as opções com --help"),
    ("the following arguments are required: ", "falta "),
    ("argument (.+?): not allowed with argument (.+)", r"use só uma destas: \2, \1"),
    ("argument (.+?): ", r"\1: "),
    ("expected (at least )?one argument", "falta o valor"),
    (r"invalid choice: (.*) \(choose from (.*)\)", r"não existe \1; escolha entre \2"),
    ("ignored explicit argument (.*)", r"esta opção não tem valor (sobrou \1)"),
)
DADOS = Path(__file__).resolve().parents[2] / "dados"
PROPRIO = ("cliente", "produto", "quantidade", "cep")  # um pedido escrito na linha de comando
# Com uma destas não se faz pedido nenhum (cada programa tem algumas delas).
SEM_PEDIDO = ("sem_pedido", "so_broker", "so_assistir", "cancelar", "estado",
              "em_duvida", "rastro", "forcar", "republicar")


class Opcoes(argparse.ArgumentParser):
    """Um argparse em português: um erro de uso é uma linha só, e sai com status 2."""

    def __init__(self, descricao: str):
        super().__init__(description=descricao, allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
        self.register("type", None, preenchido)  # o das opções que não dizem o seu

    def error(self, message: str):
        raise Falha(f"{self.prog}: {traduzir(message)[:300]}", 2)

    def print_help(self, file=None):
        dizer(traduzir(self.format_help()).rstrip(), inteira=True)

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


def traduzir(texto: str) -> str:
    """O que o argparse disse, em português."""
    for ingles, portugues in EM_PORTUGUES:
        texto = re.sub(ingles, portugues, texto, count=1, flags=re.S)
    return texto


def chaves(grupo, ajudas: dict[str, str]) -> None:
    """Opções sem valor; ajudas: {nome: o que --help diz}."""
    for nome, ajuda in ajudas.items():
        grupo.add_argument(nome, action="store_true", help=ajuda)


def preenchido(texto: str) -> str:
    """Recusa uma variável esquecida no terminal, como em --arquivo "$PEDIDOS"."""
    if not texto:
        raise argparse.ArgumentTypeError("falta o valor")
    return texto


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
    try:
        escolhida = Path(preenchido(texto)).expanduser()
        str(escolhida.absolute()).encode()  # nem o SQLite nem o RabbitMQ a achariam
    except (RuntimeError, UnicodeEncodeError) as erro:
        raise argparse.ArgumentTypeError(f"{texto[:40]!r} não é uma pasta que eu ache (ou há nela "
                                         "um nome que não é UTF-8): use outra") from erro
    return escolhida


def pedidos_escolhidos(opcoes: argparse.Namespace) -> list[dict]:
    """Os pedidos que a linha de comando descreve, já conferidos; levanta Falha (código 2)."""
    nenhum, proprio = _ditas(opcoes, SEM_PEDIDO)[:1], _ditas(opcoes, PROPRIO)
    ditas = nenhum + _ditas(opcoes, ("cenario", "pedidos", "arquivo")) + proprio[:1]
    if nenhum or opcoes.arquivo:  # num arquivo, cada linha diz o seu
        ditas += _ditas(opcoes, ("id",))
    if {*nenhum} & {"em_duvida", "rastro", "forcar"}:  # do que se apagou, nada haveria a ver
        ditas += _ditas(opcoes, ("limpar",))
    if len(ditas) > 1:
        juntas = ", ".join(f"--{nome.replace('_', '-')}" for nome in ditas)
        raise Falha(f"use só uma destas: {juntas}", 2)
    if nenhum or not ditas and not opcoes.id and _ditas(opcoes, ("limpar",)):
        return []
    if opcoes.arquivo:
        return ler_arquivo(opcoes.arquivo)
    modelos = _modelos(opcoes, {nome: getattr(opcoes, nome) for nome in proprio})
    if opcoes.id:  # sem um, cada pedido ganha o seu
        modelos = [{**modelo, "pedido": opcoes.id + f"-{n}" * (len(modelos) > 1)}
                   for n, modelo in enumerate(modelos, 1)]
    return [validar(modelo) for modelo in modelos]


def _ditas(opcoes: argparse.Namespace, nomes: tuple[str, ...]) -> list[str]:
    """Destas opções, as que estão na linha de comando."""
    return [nome for nome in nomes if getattr(opcoes, nome, None)]


def _modelos(opcoes: argparse.Namespace, proprio: dict) -> list[dict]:
    """Os pedidos ainda sem id; o que faltar num pedido próprio vem do cenário sucesso."""
    if opcoes.cenario == "todos":
        return list(CENARIOS.values())
    modelo = CENARIOS[opcoes.cenario or "sucesso"]
    item = {nome: proprio.pop(nome, valor) for nome, valor in modelo["itens"][0].items()}
    return [{**modelo, **proprio, "itens": [item]}] * (opcoes.pedidos or 1)


def confirmar_limpeza(pasta: Path, sim: bool) -> None:
    """Antes de --limpar, pergunta a quem está num terminal; `sim` dispensa a pergunta."""
    if sim or not sys.stdin.isatty():
        return
    print(f"Apagar todos os dados de {pasta} e voltar às linhas iniciais? [s/N] ", end="",
          flush=True)
    if sys.stdin.buffer.readline().strip().lower() not in (b"s", b"sim"):
        raise Falha("nada foi apagado", 1)


def dizer_repetidos(iguais: list[str], outros: list[str], margem: str = "") -> None:
    """Uma linha para cada um, se são poucos; se são muitos, quantos. margem: antes da linha."""
    for ids, um, muitos in (
            (iguais, "já existia: nada foi feito de novo", "já existiam: nada foi feito de novo"),
            (outros, "já existe com outro conteúdo: este não foi atendido",
             "já existem com outro conteúdo: estes não foram atendidos")):
        muitos = [f"{len(ids)} pedidos {muitos}"] if len(ids) > POUCOS else []
        for linha in muitos or [f"{id} {um}" for id in ids]:
            dizer(margem + linha)
