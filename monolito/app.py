"""O monolito: uma aplicação, quatro donos de dados, um coordenador que decide.

Cada pedido é uma transação distribuída sobre quatro bancos, encerrada por
confirmação em duas fases. Compare com orquestracao.py e microsservicos/, onde
ninguém decide por ninguém.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # o Python já o faz, menos com PYTHONSAFEPATH

import argparse
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path

import envio
import estoque
import pagamentos
import pedidos
from comum.identidade import apagar_bancos, identidade, trocar_identidade
from comum.opcoes import (Opcoes, ate, chaves, confirmar_limpeza, dizer_repetidos,
                          pedidos_escolhidos)
from comum.raias import Diagrama
from comum.tela import POUCOS, Progresso, adiando_o_fim, alertar, dizer, executar
from comum.veredito import imprimir_estado, veredito
from coordenador import Coordenador
from decisoes import LogDeDecisoes
from palco import quedas
from palco.narracao import COORDENADOR, RAIAS, Narrador
from palco.rastro import rastrear
from participante import ForaDoAr, Participante, em_duvida
from recuperacao import abrir_log, conferir, forcar, recuperar, reter

NEGOCIOS = [pedidos.NEGOCIO, estoque.NEGOCIO, pagamentos.NEGOCIO, envio.NEGOCIO]  # a ordem do voto
PAUSA = 0.002  # segundos até olhar de novo, se todos esperam por travas


def main() -> int | None:
    opcoes = ler_opcoes()
    novos = pedidos_escolhidos(opcoes)
    pasta = opcoes.dados / "monolito"
    if opcoes.rastro or opcoes.em_duvida:
        return rastrear(pasta, opcoes.rastro, NEGOCIOS, opcoes.diagrama)
    if opcoes.limpar:
        confirmar_limpeza(pasta, opcoes.sim)
        trocar_identidade(pasta)
        apagar_bancos(pasta)
        if not (novos or opcoes.estado or opcoes.sem_pedido):
            dizer(f"{pasta}: linhas iniciais")
            return 0
    with ExitStack() as fim:
        loja, participantes = identidade(pasta), []
        for negocio in NEGOCIOS:
            papel = ForaDoAr if negocio.arquivo == opcoes.sem_participante else Participante
            participantes.append(papel(negocio, pasta, loja))
            fim.callback(participantes[-1].banco.close)
        if opcoes.estado:
            return imprimir_estado(pasta)
        log = abrir_log(pasta, loja, participantes, opcoes.forcar)
        if log:
            fim.callback(log.banco.close)
        if opcoes.forcar:
            return forcar(participantes, log, opcoes.forcar)
        try:
            return atender(opcoes, pasta, participantes, log, novos)
        except BrokenPipeError:  # quem lia foi embora: ninguém viu o veredito
            return 130


def ler_opcoes() -> argparse.Namespace:
    opcoes = Opcoes(__doc__)
    opcoes.dos_pedidos()
    opcoes.dos_dados("monolito")
    opcoes.devagar()
    opcoes.add_argument("--paralelos", metavar="K", type=ate(100), default=1,
                        help="quantos pedidos ao mesmo tempo (padrão: 1)")
    so_uma = opcoes.de_quem_acompanha("só recupera (ou não: --sem-recuperar), e acaba",
                                      "volta às linhas iniciais")
    chaves(so_uma, {"--em-duvida": "lista o que espera uma decisão e o que isso trava; "
                                   "não resolve nada"})
    so_uma.add_argument("--rastro", metavar="ID", nargs="+", help=(
        "o que aconteceu com um pedido, ou com vários (basta o começo do id); só lê"))
    so_uma.add_argument("--forcar", metavar="TRANSACAO=DECISAO", help=(
        "sem o log, uma pessoa decide: confirmar ou abortar (decisão heurística)"))
    quebrar = opcoes.add_argument_group("quebrar")
    quebrar.add_argument("--cair-em", metavar="PONTO", choices=quedas.PONTOS, help=(
        "o processo morre de verdade num dos pontos abaixo"))
    donos = [negocio.arquivo for negocio in NEGOCIOS]
    quebrar.add_argument("--sem-participante", metavar="NOME", choices=donos, help=(
        "um dono não responde: " + ", ".join(donos)))
    chaves(quebrar, {"--sem-recuperar": "não roda a recuperação no início"})
    opcoes.epilog = "pontos de --cair-em:\n" + "\n".join(
        f"  {nome:18}  {texto}" for nome, texto in quedas.PONTOS.items())
    return opcoes.parse_args()


def iniciar(participantes: list[Participante], log: LogDeDecisoes, narrador: Narrador,
            sem_recuperar: bool = False) -> Coordenador:
    """Registra esta execução, avisa das divergências, e resolve o que quem morreu deixou."""
    execucao = log.registrar()  # forçada; só depois dela se lê o que outra execução decidiu
    conferir(participantes, log)
    if not sem_recuperar:
        recuperar(participantes, log, narrador)
    reter(em_duvida(participantes), narrador)  # o que ficou, também sem recuperação
    return Coordenador(execucao, participantes, log, narrador)


def atender(opcoes: argparse.Namespace, pasta: Path, participantes: list[Participante],
            log: LogDeDecisoes, chegados: list[dict]) -> int:
    """Recupera, conduz os pedidos, e termina com o veredito; devolve o status de saída."""
    diagrama = Diagrama(opcoes.diagrama, RAIAS, len(chegados)) if opcoes.diagrama else None
    narrador = Narrador(len(chegados) <= POUCOS, diagrama, opcoes.devagar)
    quedas.armado = opcoes.cair_em
    coordenador = iniciar(participantes, log, narrador, opcoes.sem_recuperar)
    novos, repetidos, trocados = pedidos.separar(participantes[0].banco, chegados)
    dizer_repetidos(repetidos, trocados)
    feitos = conduzir(coordenador, novos, opcoes.paralelos)
    coordenador.esquecer_execucoes()
    if opcoes.cair_em:
        alertar(f"--cair-em {opcoes.cair_em}: nenhum pedido passou por esse ponto: "
                f"{quedas.PONTOS[opcoes.cair_em]}")
    vale = veredito(pasta, [p["pedido"] for p in feitos] + repetidos, len(em_duvida(participantes)))
    if len(feitos) < len(novos):
        alertar(f"interrompido: {len(novos) - len(feitos)} pedidos não foram iniciados")
        return 130
    return 0 if vale and not trocados else 1


def conduzir(coordenador: Coordenador, novos: list[dict], paralelos: int) -> list[dict]:
    """Leva os pedidos em rodadas, com até `paralelos` em andamento; devolve os que foram até o fim.

    O que esbarra numa trava espera a próxima rodada; o que termina dá lugar a outro. Ctrl-C (ou
    SIGTERM) não interrompe um pedido no meio: termina os que estão em andamento e não começa
    outros. O mesmo sinal outra vez, sim; e então a recuperação termina, no próximo início.
    """
    fila, em_andamento, feitos = deque(novos), [], []
    progresso = Progresso(len(novos), "pedidos") if len(novos) > POUCOS else None
    inicio, antes = time.monotonic(), coordenador.forcadas()
    ritmo, forcadas = "", antes
    with adiando_o_fim() as fim:
        while em_andamento or (fila and not fim.sinal):
            while fila and not fim.sinal and len(em_andamento) < paralelos:
                em_andamento.append(coordenador.nova(fila.popleft()))
            terminadas = coordenador.rodada(em_andamento)
            em_andamento = [t for t in em_andamento if not t.decisao]
            if not terminadas:
                time.sleep(PAUSA)
                continue
            feitos += [t.pedido for t in terminadas]
            ritmo = f"{len(feitos) / max(time.monotonic() - inicio, 1e-6):.0f}/s"
            if progresso:
                progresso.mostrar(len(feitos), ritmo)
            if paralelos == 1:  # com vários, a rodada é de todos: só há a média
                desde, forcadas = forcadas, coordenador.forcadas()
                coordenador.narrador.nota(terminadas[0].id, COORDENADOR,
                                          f"gravações forçadas: {forcadas - desde}", "fraco")
    if feitos and (progresso or paralelos > 1):
        media = (coordenador.forcadas() - antes) / len(feitos)
        dizer(f"{len(feitos)} pedidos, {ritmo}, {media:.2f} gravações forçadas por pedido")
    return feitos


if __name__ == "__main__":
    executar(main)
