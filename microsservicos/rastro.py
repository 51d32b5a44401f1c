"""O que aconteceu com um pedido: as raias da saga dele, refeitas só com os bancos dos serviços.

    python microsservicos/rastro.py ID [ID...]      os passos, o resultado ou onde ele espera
    python microsservicos/rastro.py --pendentes     o mesmo, de todos os que não terminaram

Ninguém escreve uma história da saga, e ela não faz falta: cada caixa de entrada lembra o que
um evento fez publicar, e seguir isso de banco em banco é seguir as causas. Um evento publicado
que o seu ouvinte não tratou está na caixa de saída, entre as falhas, nas mortas ou na fila.
Só lê (serve uma cópia dos bancos), e não precisa do RabbitMQ: com ele, conta também as filas.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # o Python já o faz, menos com PYTHONSAFEPATH

import shlex
import textwrap
from pathlib import Path
from typing import NamedTuple

from caixas import TENTATIVAS
from coreografia import SERVICOS, quem_publica
from comum.diagrama import Diagrama
from comum.falha import Falha
from comum.leitura import lendo
from comum.loja import id_valido
from comum.opcoes import Opcoes
from comum.tela import LARGURA, alertar, curto, dizer, executar, reais, visivel
from palco.desenho import NOMES, RAIAS, contar
from palco.historia import Historia

PRIMEIRA_PAUSA = 0.2  # segundos
DADOS = Path(__file__).resolve().parents[1] / "dados"
class Espera(NamedTuple):
    """Onde um evento está parado, e os comandos que o fazem andar."""

    texto: str
    comandos: list[str]


def esperas(historia: Historia, dados: Path, filas: dict[str, int] | None) -> list[Espera]:
    """Onde o pedido espera; [] se em lugar nenhum.

    dados: a pasta de --dados. filas: {fila: mensagens} de um broker, ou None se nenhum respondeu.
    """
    return [_espera(historia, tipo, ouvinte, dados, filas) for tipo, ouvinte in historia.por_tratar()]


def _espera(historia: Historia, tipo: str, ouvinte: str | None, dados: Path, filas) -> Espera:
    dono = quem_publica(tipo)
    if tipo in historia.saida:
        return Espera(f"{tipo}, na caixa de saída ({dono}.db), sem a resposta do broker; com o broker no ar:",
                      [ligar(dono, dados)])
    if (ouvinte, tipo) not in historia.falhas:
        return Espera(f"{tipo}, na fila «{ouvinte}»: já saiu da caixa de saída ({dono}.db), e não foi tratado "
                      f"({ouvinte}.db){_na_fila(filas, ouvinte)}{_nas_mortas(filas, ouvinte)}",
                      [ligar(ouvinte, dados)])
    restam, motivo = historia.falhas[ouvinte, tipo]
    falhou = f"({ouvinte}.db: {motivo})"
    reenviar = f"python microsservicos/mortas.py {ouvinte} --mensagem {historia.pedido}:{tipo} --reenviar"
    if restam > 0:
        return Espera(f"{tipo}, outra tentativa em {ouvinte} {falhou}; restam {restam}, e com {ouvinte} no ar a "
                      f"próxima vem em até {pausa(restam):.1f} s; consertada a causa:", [ligar(ouvinte, dados)])
    if restam == 0:
        return Espera(f"{tipo}, a caminho de «{ouvinte}.mortas» {falhou}, sem a resposta do broker; o primeiro "
                      "comando o leva até lá e, consertada a causa, o segundo o traz de volta:",
                      [ligar(ouvinte, dados), reenviar])
    return Espera(f"{tipo}, em «{ouvinte}.mortas» {falhou}{_na_fila(filas, f'{ouvinte}.mortas')}; consertada a "
                  "causa, um traz de volta, o outro trata:", [reenviar, ligar(ouvinte, dados)])


def _na_fila(filas: dict[str, int] | None, fila: str) -> str:
    if filas is None:
        return ""
    if quantas := filas.get(fila, 0):
        return f"; nela, neste broker, {'está 1 mensagem' if quantas == 1 else f'estão {quantas} mensagens'}"
    return "; neste broker ela está vazia: é de outro broker, ou já está em mãos de um serviço"


def _nas_mortas(filas: dict[str, int] | None, servico: str) -> str:
    # Uma mensagem que chegou estragada está lá, e o banco não sabe de que pedido ela era.
    quantas = (filas or {}).get(f"{servico}.mortas")
    return f"; em «{servico}.mortas» há {quantas}: python microsservicos/mortas.py {servico}" if quantas else ""


def pausa(restam: int) -> float:
    """O máximo que se espera, em segundos, pela próxima de `restam` tentativas."""
    return PRIMEIRA_PAUSA * 2 ** (TENTATIVAS - restam)


def ligar(servico: str, dados: Path) -> str:
    """O comando que põe um serviço no ar sobre estes dados."""
    sem_pedido = " --sem-pedido" if servico == "pedidos" else ""
    outra = "" if dados.resolve() == DADOS else f" --dados {shlex.quote(str(dados))}"
    return f"python microsservicos/servico_{servico}.py{sem_pedido}{outra}"


def onde_espera(pasta: Path, pedido: str, profundidades: dict[str, int] | None = None) -> list[str]:
    """Os lugares em que o pedido espera, em português; [] se em lugar nenhum.

    pasta: a dos bancos dos microsserviços. profundidades: as de rabbitmq.filas, se o broker
    respondeu. Levanta Falha se não dá para ler os bancos.
    """
    with lendo(pasta, SERVICOS) as bancos:
        return [espera.texto for espera in esperas(Historia(bancos, pedido), pasta.parent, profundidades)]


def perguntar_ao_broker() -> dict[str, int] | None:
    """Quantas mensagens há em cada fila; None, com uma linha que diz por quê, se não dá para saber."""
    try:
        from rabbitmq import filas
        return filas.profundidades()
    except (Falha, SystemExit) as falha:  # SystemExit: falta o pika, e isso já foi dito
        if isinstance(falha, Falha):
            alertar(f"{falha}: sem contar as filas (um broker e os serviços: python orquestracao.py --sem-pedido)")
        return None


def mostrar(historia: Historia, dados: Path, profundidades: dict[str, int] | None, diagrama=None) -> None:
    """As raias, o que cada banco diz, e o resultado ou onde o pedido espera."""
    for linha in contar(historia, diagrama):
        dizer(linha)
    dizer()
    for banco, fato in historia.fatos:
        dizer_em_colunas(f"  {banco:14} ", visivel(fato))
    estado, motivo = historia.registro[2:] if historia.registro else ("pedidos.db não conhece este pedido", None)
    dizer(f"  {curto(historia.pedido)}: {estado}{f': {motivo}' if motivo else ''}",
          {"concluido": "verde", "cancelado": "roxo"}.get(estado, "vermelho"))
    paradas = esperas(historia, dados, profundidades)
    for espera in paradas:
        dizer_em_colunas("  espera: ", visivel(espera.texto))
        for comando in espera.comandos:
            dizer(em_linhas(comando))
    if estado == "pendente" and not paradas:
        dizer("  nenhum banco diz onde ele espera: são todos da mesma loja, e do mesmo dia?", "vermelho")


def em_linhas(comando: str) -> str:
    """O comando, cortado antes de uma opção onde não cabe; assim mesmo ele pode ser copiado para o terminal."""
    partes = comando.replace(" ", "\N{NO-BREAK SPACE}").replace("\N{NO-BREAK SPACE}--", " --")
    linhas = textwrap.wrap(partes, LARGURA - 8, break_long_words=False, break_on_hyphens=False)
    return "      " + " \\\n        ".join(linhas).replace("\N{NO-BREAK SPACE}", " ")


def dizer_em_colunas(comeco: str, texto: str) -> None:
    for linha in textwrap.wrap(texto, LARGURA, initial_indent=comeco, subsequent_indent=" " * len(comeco)):
        dizer(linha)


def main() -> int:
    opcoes = Opcoes("Mostra o que aconteceu com cada pedido, e onde espera o que não terminou.\n"
                    "Lê os bancos dos serviços, e não escreve em nenhum; não precisa do RabbitMQ.")
    opcoes.add_argument("ids", nargs="*", metavar="ID", help="o pedido, ou vários")
    opcoes.add_argument("--pendentes", action="store_true", help="todos os pedidos que ainda não terminaram")
    opcoes.add_argument("--diagrama", metavar="F", help="escreve em F o diagrama de sequência (Mermaid)")
    opcoes.dos_dados("microsservicos")
    escolha = opcoes.parse_args()
    if escolha.pendentes == bool(escolha.ids):
        raise Falha("rastro.py: diga o id de um pedido (ou de vários), ou --pendentes", 2)
    for id in escolha.ids:
        if not id_valido(id):
            raise Falha(f"{visivel(id[:64])!r} não é um id de pedido: use de 1 a 64 caracteres entre A-Z a-z 0-9 . _ -", 2)
    with lendo(escolha.dados / "microsservicos", SERVICOS) as bancos:
        return rastrear(bancos, escolha)


def rastrear(bancos: dict, escolha) -> int:
    ids = list(dict.fromkeys(escolha.ids)) or [id for id, in bancos["pedidos"].execute(
        "SELECT pedido FROM pedidos WHERE estado = 'pendente' ORDER BY rowid")]
    if not ids:
        dizer("nenhum pedido pendente")
        return 0
    for id in escolha.ids:
        if not Historia(bancos, id).fatos:
            raise Falha(f"nenhum banco de {escolha.dados / 'microsservicos'} conhece o pedido {id}", 2)
    diagrama = Diagrama(escolha.diagrama, NOMES, len(ids)) if escolha.diagrama else None
    profundidades, perguntei = None, False
    for id in ids:
        historia = Historia(bancos, id)
        if not perguntei and historia.por_tratar():
            profundidades, perguntei = perguntar_ao_broker(), True
        if id != ids[0]:
            dizer()
        dizer(RAIAS.cabecalho(), "forte")
        mostrar(historia, escolha.dados, profundidades, diagrama)
    return 0


if __name__ == "__main__":
    executar(main)
