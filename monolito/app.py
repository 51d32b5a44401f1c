"""O monolito: uma aplicação, quatro donos de dados, um coordenador que decide.

Cada pedido é uma transação distribuída sobre quatro bancos, encerrada por
confirmação em duas fases. Compare com orquestracao.py e microsservicos/, onde
ninguém decide por ninguém.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # o Python já o faz, menos com PYTHONSAFEPATH

import argparse
from contextlib import ExitStack
from pathlib import Path

import envio
import estoque
import operador
import pagamentos
import pedidos
from atendimento import POUCOS, Atendimento
from comum.banco import EmUso
from comum.diagrama import Diagrama
from comum.falha import Falha
from comum.identidade import identidade, limpar
from comum.opcoes import Opcoes, ate, confirmar_limpeza, pedidos_escolhidos, segundos
from comum.repetidos import dizer_repetidos
from comum.tela import alertar, dizer, executar
from comum.veredito import imprimir_estado, veredito, violacoes
from coordenador import ESPERA, Coordenador
from decisoes import LogDeDecisoes
from palco import quedas
from palco.narracao import RAIAS, Calado, Narrador
from palco.rastro import rastrear
from participante import ForaDoAr, Participante, em_duvida
from recuperacao import recuperar

NEGOCIOS = [pedidos.NEGOCIO, estoque.NEGOCIO, pagamentos.NEGOCIO, envio.NEGOCIO]  # nesta ordem
# O que se pode pedir além de pedidos; uma coisa de cada vez.
OUTRAS = ("estado", "em_duvida", "rastro", "forcar", "reconhecer", "sem_pedido")


def main() -> int:
    opcoes = ler_opcoes()
    novos = pedidos_escolhidos(opcoes)
    pasta = opcoes.dados / "monolito"
    if opcoes.rastro:
        return rastrear(pasta, opcoes.rastro, NEGOCIOS, opcoes.diagrama)
    if opcoes.limpar:
        confirmar_limpeza(pasta, opcoes.sim)
        limpar(pasta)
        if not (novos or opcoes.estado or opcoes.sem_pedido):
            dizer(f"{pasta}: linhas iniciais")
            return 0
    with ExitStack() as abertos:
        loja, participantes = identidade(pasta), []
        for negocio in NEGOCIOS:
            papel = ForaDoAr if negocio.arquivo == opcoes.sem_participante else Participante
            participantes.append(papel(negocio, pasta, loja))
            abertos.callback(participantes[-1].banco.close)
        if opcoes.estado:
            imprimir_estado(pasta)
            return 0
        if opcoes.em_duvida:
            operador.listar(pasta, participantes)
            return 0
        if opcoes.forcar or opcoes.reconhecer:
            operar(opcoes, pasta, loja, participantes, abertos)
            return 0
        try:
            return atender(opcoes, pasta, loja, participantes, novos, abertos)
        except BrokenPipeError:  # quem lia foi embora: ninguém viu o veredito
            return 130


def ler_opcoes() -> argparse.Namespace:
    opcoes = Opcoes(__doc__)
    opcoes.dos_pedidos()
    opcoes.dos_dados("monolito")
    opcoes.devagar()
    opcao = opcoes.add_argument
    opcao("--sem-pedido", action="store_true",
          help="não faz pedido nenhum: recupera (ou não: --sem-recuperar) e acaba")
    opcao("--limpar", action="store_true",
          help="recomeça das linhas iniciais (num terminal, pergunta antes); sozinho, só limpa")
    opcao("--sim", action="store_true", help="não pergunta antes de --limpar")
    opcao("--estado", action="store_true", help="mostra o estado final em JSON e sai")
    opcao("--diagrama", metavar="F",
          help="escreve em F o diagrama de sequência (Mermaid) desta execução")
    opcao("--paralelos", metavar="K", type=ate(100), default=1,
          help="quantos pedidos ao mesmo tempo (padrão: 1)")
    opcao("--espera", metavar="S", type=segundos, default=ESPERA,
          help="segundos que um pedido espera por uma trava de quem está em dúvida "
               f"(padrão: {ESPERA:.0f})")
    opcoes_de_quebrar(opcoes.add_argument_group("quebrar e consertar"))
    opcoes.epilog = "pontos de --cair-em:\n" + "\n".join(
        f"  {nome:18}  {texto}" for nome, texto in quedas.PONTOS.items())
    lidas = opcoes.parse_args()
    if len(usadas := [nome for nome in OUTRAS if getattr(lidas, nome)]) > 1:
        raise Falha("use só uma destas: " + ", ".join(f"--{nome.replace('_', '-')}"
                                                     for nome in usadas), 2)
    return lidas


def opcoes_de_quebrar(grupo) -> None:
    donos = [negocio.arquivo for negocio in NEGOCIOS]
    grupo.add_argument("--cair-em", metavar="PONTO", choices=quedas.PONTOS,
                       help="o processo morre de verdade num dos pontos abaixo")
    grupo.add_argument("--sem-participante", metavar="NOME", choices=donos,
                       help="um dono não responde: " + ", ".join(donos))
    grupo.add_argument("--em-duvida", action="store_true",
                       help="lista o que espera uma decisão e o que isso trava; não resolve nada")
    grupo.add_argument("--rastro", metavar="ID", nargs="+",
                       help="o que aconteceu com um pedido, ou com vários (basta o começo do id); "
                            "só lê")
    grupo.add_argument("--sem-recuperar", action="store_true",
                       help="não roda a recuperação no início")
    grupo.add_argument("--forcar", metavar="TRANSACAO=DECISAO",
                       help="sem o log, uma pessoa decide: confirmar ou abortar "
                            "(decisão heurística)")
    grupo.add_argument("--reconhecer", metavar="TRANSACAO",
                       help="deixa de avisar que a decisão forçada divergiu do log")


def operar(opcoes, pasta: Path, loja: str, participantes: list[Participante],
           abertos: ExitStack) -> None:
    """O que uma pessoa decide; funciona também sem o log, mas não enquanto ele é de outro."""
    log = None
    try:
        log = LogDeDecisoes(pasta, loja, espera=0.2)
        abertos.callback(log.banco.close)
    except EmUso:
        raise
    except Falha as falha:
        alertar(str(falha))
    if opcoes.forcar:
        operador.forcar(participantes, log, opcoes.forcar)
    else:
        operador.reconhecer(participantes, log, opcoes.reconhecer)


def iniciar(pasta: Path, loja: str, participantes: list[Participante], narrador: Narrador,
            espera: float = ESPERA, sem_recuperar: bool = False) -> Coordenador:
    """Toma o log, registra esta execução, e só então resolve o que os mortos deixaram."""
    try:
        log = LogDeDecisoes(pasta, loja)
    except Falha as falha:
        esperando = em_duvida(participantes)
        if esperando and not isinstance(falha, EmUso):
            alertar("FICAM EM DÚVIDA, porque o log não pôde ser lido: "
                    f"{', '.join(esperando)} (ver --em-duvida e --forcar)")
        raise
    limpo = not log.execucoes()
    coordenador = Coordenador(participantes, log, narrador, espera)
    operador.conferir(participantes, log)
    for _, pedido, onde in em_duvida(participantes).values():
        for participante in onde:
            narrador.reter(participante.nome, pedido)
    if not sem_recuperar:
        recuperar(participantes, log, narrador)
        if not limpo and any((quebradas := violacoes(pasta)).values()):
            alertar("já antes do primeiro pedido os bancos se desmentem "
                    f"({', '.join(nome for nome in quebradas if quebradas[nome])}): se esta pasta "
                    "é uma cópia, foi feita com o programa no ar; copie de novo, com ele encerrado")
    return coordenador


def atender(opcoes: argparse.Namespace, pasta: Path, loja: str, participantes: list[Participante],
            chegados: list[dict], abertos: ExitStack) -> int:
    """Recupera, conduz os pedidos, e termina com o veredito; devolve o status de saída."""
    desenhar = len(chegados) <= POUCOS
    diagrama = Diagrama(opcoes.diagrama, RAIAS, len(chegados)) if opcoes.diagrama else None
    narrador = Calado()
    if desenhar or diagrama:
        narrador = Narrador(desenhar, diagrama, opcoes.devagar)
    quedas.armar(opcoes.cair_em)
    coordenador = iniciar(pasta, loja, participantes, narrador, opcoes.espera,
                          opcoes.sem_recuperar)
    abertos.callback(coordenador.log.banco.close)
    novos, repetidos, trocados = pedidos.separar(participantes[0].banco, chegados)
    dizer_repetidos(repetidos, trocados)
    feitos = Atendimento(coordenador, novos, opcoes.paralelos).conduzir()
    coordenador.esquecer_execucoes(operador.divergentes(participantes, coordenador.log))
    if opcoes.cair_em:
        alertar(f"--cair-em {opcoes.cair_em}: nenhum pedido passou por esse ponto"
                f"{quedas.SEM_PASSAR.get(opcoes.cair_em, '')}")
    vale = veredito(pasta, [p["pedido"] for p in feitos] + repetidos, len(em_duvida(participantes)))
    if len(feitos) < len(novos):
        alertar(f"interrompido: {len(novos) - len(feitos)} pedidos não foram iniciados")
        return 130
    return 0 if vale and not trocados else 1


if __name__ == "__main__":
    executar(main)
