"""O que aconteceu com um pedido: as raias da saga dele, refeitas só com os bancos dos serviços.

    python microsservicos/rastro.py ID [ID...]      os passos, e o resultado ou onde ele espera
    python microsservicos/rastro.py --pendentes     o mesmo, de todos os que não terminaram

Ninguém escreve a história de uma saga, e ela não faz falta: as duas caixas de cada serviço são o
log dele, e seguir de banco em banco o que cada evento causou é seguir a saga (palco/historia.py).
Um evento publicado que o seu ouvinte não tratou está na caixa de saída, à espera de outra
tentativa, nas mortas ou na fila. Só lê, e serve uma cópia dos bancos; o RabbitMQ só é preciso para contar filas.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # o Python já o faz, menos com PYTHONSAFEPATH

import shlex
from pathlib import Path
from typing import NamedTuple

from comum.diagrama import Diagrama
from comum.falha import Falha
from comum.leitura import lendo
from comum.loja import id_valido
from comum.opcoes import Opcoes
from comum.tela import alertar, curto, dizer, executar, visivel
from coreografia import SERVICOS, quem_publica
from palco.desenho import NOMES, Desenho
from palco.historia import Historia
from tentativas import Tentativas, em_segundos

DADOS = Path(__file__).resolve().parents[1] / "dados"
CORES = {"concluido": "verde", "cancelado": "roxo"}


class Espera(NamedTuple):
    """Onde um evento está parado; os comandos que o fazem andar, e o que dizer antes deles."""

    texto: str
    como: str
    comandos: list[str]


def onde_espera(pasta: Path, pedido: str, profundidades: dict[str, int] | None = None) -> list[str]:
    """Os lugares em que o pedido espera, em português; [] se em lugar nenhum.

    pasta: a dos bancos dos microsserviços. profundidades: quantas mensagens há em cada fila, se o
    broker respondeu. Levanta Falha se não dá para ler os bancos.
    """
    with lendo(pasta, SERVICOS) as banco:
        historia = Historia(banco, pedido)
    return [espera.texto for espera in esperas(historia, pasta.parent, profundidades)]


def esperas(historia: Historia, dados: Path, filas: dict[str, int] | None) -> list[Espera]:
    """O mesmo, com os comandos. dados: a pasta de --dados. filas: as profundidades, ou None."""
    achadas = []
    for tipo, ouvinte in historia.por_tratar():
        if (ouvinte, tipo) in historia.falhas:
            achadas.append(_na_falha(historia, tipo, ouvinte, dados, filas))
        elif tipo in historia.por_enviar:
            dono = quem_publica(tipo)
            achadas.append(Espera(f"{tipo}, na caixa de saída ({dono}.db), sem a resposta do "
                                  "broker", "com ele no ar", [ligar(dono, dados)]))
        else:
            achadas.append(Espera(_na_fila(tipo, ouvinte, filas), "", [ligar(ouvinte, dados)]))
    return achadas


def _na_fila(tipo: str, ouvinte: str, filas: dict[str, int] | None) -> str:
    texto = (f"{tipo}, na fila «{ouvinte}»: já saiu da caixa de saída ({quem_publica(tipo)}.db), "
             f"e não foi tratado ({ouvinte}.db)"
             f"{_quantas(filas, ouvinte, 'já está em mãos de um serviço')}")
    # Uma mensagem que chegou estragada está nas mortas, e o banco não sabe de que pedido era.
    if mortas := (filas or {}).get(f"{ouvinte}.mortas"):
        texto += f"; em «{ouvinte}.mortas» há {mortas}: python microsservicos/mortas.py {ouvinte}"
    return texto


def _na_falha(historia: Historia, tipo: str, ouvinte: str, dados: Path, filas) -> Espera:
    restam, motivo = historia.falhas[ouvinte, tipo]
    falhou, mortas = f"({ouvinte}.db: {motivo})", f"{ouvinte}.mortas"
    tratar = ligar(ouvinte, dados)
    reenviar = (f"python microsservicos/mortas.py {ouvinte} "
                f"--mensagem {historia.pedido}:{tipo} --reenviar")
    if restam > 0:
        return Espera(f"{tipo}, outra tentativa em {ouvinte} {falhou}; restam {restam}, e com "
                      f"{ouvinte} no ar a próxima vem em até {em_segundos(Tentativas.pausa(restam))} s",
                      "consertada a causa", [tratar])
    if restam == 0:
        return Espera(f"{tipo}, a caminho de «{mortas}» {falhou}, sem a resposta do broker",
                      "o primeiro o leva até lá e, consertada a causa, o segundo o traz de volta",
                      [tratar, reenviar])
    quantas = _quantas(filas, mortas, f"já voltou à fila «{ouvinte}»")
    return Espera(f"{tipo}, em «{mortas}» {falhou}{quantas}",
                  "consertada a causa, o primeiro o traz de volta, o segundo o trata",
                  [reenviar, tratar])


def _quantas(filas: dict[str, int] | None, fila: str, se_nenhuma: str) -> str:
    if filas is None:
        return ""
    if fila not in filas:
        return "; neste broker ela não existe: é de outro broker"
    if not (quantas := filas[fila]):
        return f"; neste broker ela está vazia: é de outro broker, ou {se_nenhuma}"
    estao = f"estão {quantas} mensagens" if quantas > 1 else "está 1 mensagem"
    return f"; nela, neste broker, {estao}"


def ligar(servico: str, dados: Path) -> str:
    """O comando que põe um serviço no ar sobre estes dados."""
    sem_pedido = " --sem-pedido" if servico == "pedidos" else ""
    outra = "" if dados.resolve() == DADOS else f" --dados {shlex.quote(str(dados))}"
    return f"python microsservicos/servico_{servico}.py{sem_pedido}{outra}"


def perguntar_ao_broker(banco) -> dict[str, int] | None:
    """Quantas mensagens há em cada fila; None, com uma linha que diz por quê, se não se sabe."""
    try:
        from rabbitmq import filas
        loja = banco.execute("PRAGMA pedidos_db.application_id").fetchone()[0]
        return filas.profundidades(f"{loja:08x}" if loja else None)
    except SystemExit:  # falta o pika, e isso já foi dito
        return None
    except Falha as falha:
        alertar(f"{falha}: sem contar as filas (python orquestracao.py --sem-pedido liga tudo)")
        return None


def mostrar(historia: Historia, dados: Path, filas: dict[str, int] | None, diagrama=None) -> None:
    """As raias, o que cada banco diz, e o resultado ou onde o pedido espera."""
    desenho = Desenho(diagrama)
    dizer(desenho.cabecalho(), "forte")
    for linha in desenho.historia(historia):
        dizer(linha)
    dizer()
    for banco, fato in historia.fatos:
        dizer(visivel(f"  {banco:14} {fato}"), recuo=17)
    estado, motivo = "pedidos.db não o conhece", None
    if historia.registro:
        estado, motivo = historia.registro[2:]
    dizer(visivel(f"  {curto(historia.pedido)}: {estado}{f': {motivo}' if motivo else ''}"),
          CORES.get(estado, "vermelho"))
    paradas = esperas(historia, dados, filas)
    for espera in paradas:
        como = f"; {espera.como}:" if espera.como else ""
        dizer(visivel(f"  espera: {espera.texto}{como}"), recuo=10)
        for comando in espera.comandos:
            dizer(f"      {comando}", inteira=True)
    if estado == "pendente" and not paradas:
        dizer("  nenhum banco diz onde ele espera: são todos da mesma loja, da mesma hora?")


def main() -> int:
    opcoes = Opcoes("Mostra o que aconteceu com cada pedido, e onde espera o que não terminou.\n"
                    "Lê os bancos dos serviços, e não escreve em nenhum; não precisa do RabbitMQ.")
    opcoes.add_argument("ids", nargs="*", metavar="ID", help="o pedido, ou vários")
    opcoes.add_argument("--pendentes", action="store_true", help="todos os que não terminaram")
    opcoes.add_argument("--diagrama", metavar="F", help="escreve em F o diagrama (Mermaid)")
    opcoes.dos_dados("microsservicos")
    escolha = opcoes.parse_args()
    if escolha.pendentes == bool(escolha.ids):
        raise Falha("rastro.py: diga o id de um pedido (ou de vários), ou --pendentes", 2)
    for id in escolha.ids:
        if not id_valido(id):
            raise Falha(f"{visivel(id[:64])!r} não é um id de pedido: "
                        "use de 1 a 64 caracteres entre A-Z a-z 0-9 . _ -", 2)
    with lendo(escolha.dados / "microsservicos", SERVICOS) as banco:
        return rastrear(banco, escolha)


def rastrear(banco, escolha) -> int:
    """escolha: as opções. Levanta Falha (código 2) se ninguém conhece um dos ids."""
    ids = list(dict.fromkeys(escolha.ids)) or [id for id, in banco.execute(
        "SELECT pedido FROM pedidos WHERE estado = 'pendente' ORDER BY rowid")]
    if estranhos := [id for id in escolha.ids if not Historia(banco, id).fatos]:
        raise Falha(f"nenhum banco de {escolha.dados / 'microsservicos'} "
                    f"conhece o pedido {estranhos[0]}", 2)
    diagrama = Diagrama(escolha.diagrama, NOMES, len(ids)) if escolha.diagrama else None
    filas, perguntei = None, False
    for id in ids:
        historia = Historia(banco, id)
        if not perguntei and historia.por_tratar():
            filas, perguntei = perguntar_ao_broker(banco), True
        if id != ids[0]:
            dizer()
        mostrar(historia, escolha.dados, filas, diagrama)
    if not ids:
        dizer("nenhum pedido pendente")
    return 0


if __name__ == "__main__":
    executar(main)
