"""O monolito: uma aplicação, quatro donos de dados, e um coordenador que decide por todos.

Cada pedido é uma transação distribuída sobre quatro bancos, encerrada por confirmação em
duas fases. Compare com orquestracao.py e microsservicos/, onde ninguém decide por ninguém.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # o Python já o faz, menos com PYTHONSAFEPATH

import argparse
import signal
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import envio
import estoque
import operador
import pagamentos
import pedidos
from comum.diagrama import Diagrama
from comum.falha import Falha
from comum.opcoes import Opcoes, ate, confirmar_limpeza, pedidos_escolhidos, segundos
from comum.identidade import limpar
from comum.tela import Progresso, alertar, dizer, executar
from comum.veredito import imprimir_estado, veredito
from coordenador import EU, ESPERA, Coordenador
from decisoes import LogDeDecisoes
from disco.execucao import Execucao, viva
from disco.lote import Lote
from palco import quedas
from palco.narracao import RAIAS, Narrador
from palco.rastro import rastrear
from participante import ForaDoAr, Participante
from recuperacao import em_duvida, recuperar

NEGOCIOS = [pedidos.NEGOCIO, estoque.NEGOCIO, pagamentos.NEGOCIO, envio.NEGOCIO]  # nesta ordem
POUCOS = 4  # até tantos pedidos, o protocolo é desenhado; acima disso, uma barra de progresso


def main() -> int:
    opcoes = ler_opcoes()
    novos = pedidos_escolhidos(opcoes)
    pasta = opcoes.dados / "monolito"
    if opcoes.rastro:
        return rastrear(pasta, opcoes.rastro, opcoes.diagrama, viva)
    if opcoes.limpar:
        confirmar_limpeza(pasta, opcoes.sim)
        limpar(pasta)
        if not (novos or opcoes.estado):
            return 0
    with ExitStack() as abertos:
        participantes = []
        for negocio in NEGOCIOS:
            papel = ForaDoAr if negocio.arquivo == opcoes.sem_participante else Participante
            participantes.append(papel(negocio, pasta))
            abertos.callback(participantes[-1].arquivo.fechar)
        if opcoes.estado:
            imprimir_estado(pasta)
            return 0
        if opcoes.em_duvida or opcoes.forcar or opcoes.reconhecer:
            return operar(opcoes, pasta, participantes, abertos)
        try:
            return atender(opcoes, pasta, participantes, novos, abertos)
        except BrokenPipeError:  # quem lia foi embora: ninguém viu o veredito
            return 130


def ler_opcoes() -> argparse.Namespace:
    opcoes = Opcoes(__doc__)
    opcoes.dos_pedidos()
    opcoes.dos_dados("monolito")
    opcoes.add_argument("--limpar", action="store_true",
                        help="recomeça das linhas iniciais (num terminal, pergunta antes)")
    opcoes.add_argument("--sim", action="store_true", help="não pergunta antes de --limpar")
    opcoes.add_argument("--estado", action="store_true", help="mostra o estado final em JSON e sai")
    opcoes.add_argument("--diagrama", metavar="F",
                        help="escreve em F o diagrama de sequência (Mermaid) desta execução")
    opcoes.add_argument("--paralelos", metavar="K", type=ate(100), default=1,
                        help="quantos pedidos ao mesmo tempo (padrão: 1)")
    opcoes.add_argument("--espera", metavar="S", type=segundos, default=ESPERA,
                        help=f"segundos que um pedido espera por uma trava (padrão: {ESPERA:.0f})")
    opcoes_de_quebrar(opcoes.add_argument_group("quebrar e consertar"))
    opcoes.epilog = "pontos de --cair-em:\n" + "\n".join(
        f"  {nome:18}  {texto}" for nome, texto in quedas.PONTOS.items())
    return opcoes.parse_args()


def opcoes_de_quebrar(grupo) -> None:
    donos = [negocio.arquivo for negocio in NEGOCIOS]
    grupo.add_argument("--cair-em", metavar="PONTO", choices=quedas.PONTOS,
                       help="o processo morre de verdade num dos pontos abaixo")
    grupo.add_argument("--sem-participante", metavar="NOME", choices=donos,
                       help="um dono não responde: " + ", ".join(donos))
    grupo.add_argument("--em-duvida", action="store_true",
                       help="lista o que espera uma decisão e o que isso trava; não resolve nada")
    grupo.add_argument("--rastro", metavar="ID", nargs="+",
                       help="mostra o que aconteceu com um pedido, ou com vários; só lê")
    grupo.add_argument("--sem-recuperar", action="store_true",
                       help="não roda a recuperação na partida")
    grupo.add_argument("--forcar", metavar="TRANSACAO=DECISAO",
                       help="sem o log, uma pessoa decide: confirmar ou abortar "
                            "(decisão heurística)")
    grupo.add_argument("--reconhecer", metavar="TRANSACAO",
                       help="deixa de avisar que a decisão forçada divergiu do log")


def abrir_log(pasta: Path, participantes: list[Participante]) -> LogDeDecisoes:
    """Sem o log nada se decide: o que está em dúvida continua, e é dito. Levanta Falha."""
    try:
        return LogDeDecisoes(pasta)
    except Falha:
        if esperando := em_duvida(participantes):
            alertar("FICAM EM DÚVIDA, porque o log não pôde ser lido: "
                    f"{', '.join(esperando)} (ver --em-duvida e --forcar)")
        raise


def operar(opcoes, pasta: Path, participantes: list[Participante], abertos: ExitStack) -> int:
    """O que uma pessoa olha e decide; funciona também sem o log."""
    try:
        log = LogDeDecisoes(pasta)
        abertos.callback(log.arquivo.fechar)
    except Falha as falha:
        alertar(str(falha))
        log = None
    if opcoes.forcar:
        operador.forcar(pasta, participantes, log, opcoes.forcar)
    if opcoes.reconhecer:
        operador.reconhecer(participantes, opcoes.reconhecer)
    if opcoes.em_duvida:
        operador.listar(participantes, log)
    return 0


def atender(opcoes: argparse.Namespace, pasta: Path, participantes: list[Participante],
            novos: list[dict], abertos: ExitStack) -> int:
    """Recupera, conduz os pedidos, e termina com o veredito; devolve o status de saída."""
    log = abrir_log(pasta, participantes)
    abertos.callback(log.arquivo.fechar)
    diagrama = Diagrama(opcoes.diagrama, RAIAS, len(novos)) if opcoes.diagrama else None
    narrador = Narrador(len(novos) <= POUCOS, diagrama)
    quedas.armar(opcoes.cair_em)
    narrar = narrador.narrar if narrador.raias or narrador.diagrama else None
    operador.conferir(participantes, log)
    if not opcoes.sem_recuperar:
        recuperar(pasta, participantes, log, narrar)
    with Execucao(pasta) as execucao:
        coordenador = Coordenador(participantes, log, execucao, opcoes.espera, narrar)
        feitos = conduzir(coordenador, novos, opcoes.paralelos)
        coordenador.encerrar()
    if opcoes.cair_em:
        alertar(f"--cair-em {opcoes.cair_em}: nenhum pedido passou por esse ponto")
    esperando = sum(not viva(pasta, quem) for quem, _, _ in em_duvida(participantes).values())
    vale = veredito(pasta, [pedido["pedido"] for pedido in feitos], esperando)
    if len(feitos) < len(novos):
        alertar(f"interrompido: {len(novos) - len(feitos)} pedidos não foram iniciados")
        return 130
    return 0 if vale else 1


def conduzir(coordenador: Coordenador, novos: list[dict], paralelos: int) -> list[dict]:
    """Conduz os pedidos, `paralelos` por vez; devolve os que foram até o fim.

    Ctrl-C não interrompe um pedido no meio: termina os que estão em andamento e não começa
    outros. Um segundo Ctrl-C, sim; e então a recuperação termina na próxima partida.
    """
    turno = Turno(coordenador, novos, paralelos)

    def parar(*_) -> None:
        turno.parado = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    normal = signal.signal(signal.SIGINT, parar)
    try:
        ajudantes = [threading.Thread(target=turno.trabalhar, daemon=True)
                     for _ in range(min(paralelos, len(novos)) - 1)]
        with suppress(RuntimeError):  # o sistema não dá mais threads: bastam as que deu
            for ajudante in ajudantes:
                ajudante.start()
        turno.trabalhar()
        for ajudante in ajudantes:
            if ajudante.ident:
                ajudante.join()
    finally:
        signal.signal(signal.SIGINT, normal)
    if turno.erro:
        raise turno.erro
    turno.resumir()
    return turno.feitos


class Turno:
    """Os pedidos que esperam atendimento, e quem os atende: uma thread, ou várias em grupo."""

    def __init__(self, coordenador: Coordenador, novos: list[dict], paralelos: int):
        self.coordenador, self.total = coordenador, len(novos)
        self.executar = coordenador.executar if paralelos == 1 else Lote(coordenador).executar
        self.fila, self.feitos, self.erro = iter(novos), [], None
        self.mutex, self.parado = threading.Lock(), False
        self.progresso = Progresso(self.total, "pedidos") if self.total > POUCOS else None
        self.inicio = self.visto = time.monotonic()

    def trabalhar(self) -> None:
        try:
            while pedido := self._proximo():
                antes = self.coordenador.forcadas()
                self.executar(pedido)
                self._terminou(pedido, self.coordenador.forcadas() - antes)
        except BaseException as erro:
            self.parado, self.erro = True, erro

    def _proximo(self) -> dict | None:
        with self.mutex:
            return None if self.parado else next(self.fila, None)

    def _terminou(self, pedido: dict, forcadas: int) -> None:
        with self.mutex:
            if self.coordenador.narrar:
                self.coordenador.narrar(pedido["pedido"], EU, None,
                                        f"gravações forçadas: {forcadas}", "fraco")
            self.feitos.append(pedido)
            agora = time.monotonic()
            if self.progresso and agora - self.visto > 0.1:
                self.visto = agora
                self.progresso.mostrar(len(self.feitos), self._ritmo())

    def _ritmo(self) -> str:
        return f"{len(self.feitos) / max(time.monotonic() - self.inicio, 1e-6):.0f}/s"

    def resumir(self) -> None:
        if self.progresso:
            self.progresso.mostrar(len(self.feitos), self._ritmo())
            por_pedido = self.coordenador.forcadas() / max(len(self.feitos), 1)
            dizer(f"{len(self.feitos)} pedidos, {self._ritmo()}, "
                  f"{por_pedido:.2f} gravações forçadas por pedido")


if __name__ == "__main__":
    executar(main)
