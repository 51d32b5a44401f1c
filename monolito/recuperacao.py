"""Quem resolve o que execuções que morreram deixaram em dúvida: a recuperação, ou uma pessoa.

A recuperação roda em todo início, antes do primeiro pedido. Quem a roda tem o log, que é um só:
tudo o que está em dúvida é de quem já morreu. Para cada transação, pergunta ao log: se ele tem
CONFIRMAR, confirma; se não tem nada, aborta (presunção de aborto). Se o log não conhece a execução,
não é o log dela: a transação fica em dúvida, e isso é dito em voz alta. Nunca se adivinha.

Morrer no meio da recuperação é só outra morte: o que foi resolvido está resolvido, o resto
continua em dúvida, e o próximo início chega às mesmas respostas.

Quando o log não volta, uma pessoa decide, e responde por isso. Uma decisão heurística é a de quem
não pode saber. Cada participante a lembra; se um dia o log aparecer e disser outra coisa, a
divergência é dita a cada início, até que a pessoa a apague. (O termo é do padrão X/Open XA:
"heuristically completed".)
"""

import sqlite3
from pathlib import Path

from comum.banco import EmUso
from comum.falha import Falha, em_portugues
from comum.tela import POUCOS, alertar, dizer
from decisoes import ABORTAR, ARQUIVO, CONFIRMAR, Decisao, LogDeDecisoes
from palco import quedas
from palco.narracao import COORDENADOR, Narrador
from participante import Participante, em_duvida

# O que o log responde: (o motivo de quem aborta, o que se desenha, a cor).
RESPOSTAS = {CONFIRMAR: (None, "o log tem CONFIRMAR", "verde"),
             ABORTAR: ("abortado na recuperação: não havia decisão no log",
                       "o log não tem decisão: aborto presumido", "vermelho")}
ESCOLHAS = {"confirmar": (CONFIRMAR, None),
            "abortar": (ABORTAR, "abortado por decisão de uma pessoa")}


# --- no início ---

def abrir_log(pasta: Path, loja: str, participantes: list[Participante],
              pessoa: str | None = None) -> LogDeDecisoes | None:
    """O log. Sem ele não se conduzem pedidos; uma pessoa decide até sem ele (None).

    pessoa: o valor de --forcar, ou None. Levanta EmUso se outro programa tem o log, e Falha se não
    pôde ser lido.
    """
    try:
        return LogDeDecisoes(pasta, loja)
    except EmUso:  # é uma Falha, e esta não se releva
        raise
    except Falha as falha:
        if pessoa:
            alertar(str(falha))
            return None
        if esperando := em_duvida(participantes):
            alertar("FICAM EM DÚVIDA, porque o log não pôde ser lido: "
                    f"{', '.join(esperando)} (ver --em-duvida e --forcar)")
        raise


def recuperar(participantes: list[Participante], log: LogDeDecisoes, narrador: Narrador) -> None:
    """Resolve tudo o que tem resposta e diz o que achou, o que decidiu e por quê.

    Só depois de log.registrar(), que força ao disco o que quem morreu deixou no log. O log não
    esquece nada aqui: as confirmações ainda não foram forçadas. Levanta Falha se um banco falha.
    """
    achadas = em_duvida(participantes)
    if not achadas:
        dizer("Recuperação: nada em dúvida.", "fraco")
    if len(achadas) > POUCOS:
        narrador = Narrador(False)
    reter(achadas, narrador)
    try:
        for execucao in sorted({execucao for execucao, _, _ in achadas.values()}):
            dela = {nome: dados for nome, dados in achadas.items() if dados[0] == execucao}
            if execucao in log.execucoes():
                _resolver(execucao, dela, log, narrador)
            else:
                _deixar(dela, f"{ARQUIVO} não conhece a execução {execucao}: foi apagado, trocado "
                              "ou é antigo. Devolva o log certo, ou decida com --forcar "
                              "(ver --em-duvida).")
    except sqlite3.Error as erro:
        raise Falha(f"{em_portugues(erro)}; a recuperação parou no meio: "
                    "o que falta continua em dúvida até o próximo início", 2) from erro


def reter(achadas: dict[str, tuple], narrador: Narrador) -> None:
    """As raias de quem está em dúvida ficam grossas. achadas: as de em_duvida()."""
    for _, pedido, onde in achadas.values():
        for participante in onde:
            narrador.reter(participante.nome, pedido)


def _deixar(achadas: dict[str, tuple], por_que: str) -> None:
    for nome, (_, pedido, onde) in achadas.items():
        alertar(f"FICA EM DÚVIDA: transação {nome}, pedido {pedido}, "
                f"em {', '.join(p.nome for p in onde)}. {por_que}")


def _resolver(execucao: str, achadas: dict, log: LogDeDecisoes, narrador: Narrador) -> None:
    dizer(f"Recuperação: a execução {execucao} morreu e deixou {len(achadas)} em dúvida.", "roxo")
    for _, pedido, onde in achadas.values():
        for participante in onde:
            narrador.seta(pedido, participante.nome, COORDENADOR, "em dúvida?", "roxo")
    confirmadas = 0
    for nome, (_, pedido, onde) in achadas.items():
        qual = log.decisao(nome)
        motivo, texto, cor = RESPOSTAS[qual]
        confirmadas += qual == CONFIRMAR
        narrador.nota(pedido, COORDENADOR, texto, cor)
        _resolver_transacao(Decisao(nome, qual, motivo), pedido, onde, narrador)
    if not narrador.raias:
        dizer(f"  {confirmadas} com CONFIRMAR no log; "
              f"{len(achadas) - confirmadas} sem decisão no log: aborto presumido")


def _resolver_transacao(decisao: Decisao, pedido: str, onde: list[Participante],
                        narrador: Narrador) -> None:
    # Pedidos, o primeiro, é avisado por último: o resultado só aparece depois dos efeitos. Entre
    # os outros, tanto faz a ordem.
    for participante in reversed(onde):
        narrador.aviso(pedido, participante.nome, decisao)
        try:
            participante.aplicar([decisao])
        except sqlite3.IntegrityError as erro:  # quem votou SIM podia; alguém mexeu nele
            _deixar({decisao.transacao: (None, pedido, onde[:onde.index(participante) + 1])},
                    f"{participante.negocio.arquivo}.db já não aceita o efeito que prometeu "
                    f"({erro}): alguém mudou os dados. Devolva-os (sqlite3), e rode de novo.")
            return
        quedas.ponto("na-recuperacao")


# --- a pessoa que decide ---

def forcar(participantes: list[Participante], log: LogDeDecisoes | None, escrito: str) -> None:
    """A decisão de uma pessoa. Levanta Falha (código 2) se não cabe a ela decidir.

    escrito: "TRANSACAO=confirmar" ou "TRANSACAO=abortar".
    """
    nome, _, escolha = escrito.partition("=")
    if escolha not in ESCOLHAS:
        raise Falha("--forcar: use TRANSACAO=confirmar ou TRANSACAO=abortar", 2)
    if nome not in (achadas := em_duvida(participantes)):
        raise Falha(f"--forcar: nenhuma transação {nome!r} em dúvida (ver --em-duvida)", 2)
    execucao, pedido, onde = achadas[nome]
    if log and execucao in log.execucoes():
        raise Falha(f"--forcar: o log conhece {nome}; a recuperação do próximo início "
                    "a resolve sem adivinhar", 2)
    decisao = Decisao(nome, *ESCOLHAS[escolha])
    _recusar_o_impossivel(participantes, onde, decisao, pedido)
    for participante in reversed(onde):
        participante.decidir_sem_log(execucao, pedido, decisao)
        dizer(f"{participante.nome}: {nome} forçada a {decisao.qual}")


def _recusar_o_impossivel(participantes: list[Participante], onde: list[Participante],
                          decisao: Decisao, pedido: str) -> None:
    """O que os bancos, sem o log, já provam: a decisão é uma só, e é a mesma em todos.

    Quem não está preparado já mostra a resposta: se o efeito vale, foi decidido CONFIRMAR; se não
    vale, ele não votou SIM, ou já abortou, e não pode ter sido CONFIRMAR. O mesmo se um --forcar
    morreu no meio: só se continua na direção dele.
    """
    for participante in (p for p in participantes if p not in onde):
        vale = participante.banco.execute(participante.negocio.vale, (pedido,)).fetchone()[0]
        if decisao.qual == ABORTAR and vale:
            raise Falha(f"--forcar: {participante.nome} já aplicou o pedido {pedido} ({vale}): "
                        "foi decidido CONFIRMAR; confirme", 2)
        if decisao.qual == CONFIRMAR and not vale:
            raise Falha(f"--forcar: {participante.nome} não está preparado, e nada aplicou do "
                        f"pedido {pedido}: não foi decidido CONFIRMAR; aborte", 2)


def conferir(participantes: list[Participante], log: LogDeDecisoes) -> None:
    """Avisa das decisões forçadas que o log certo, reaparecido, desmente, até que as apaguem.

    O log não esquece a execução de uma decisão forçada (coordenador.esquecer_execucoes).
    """
    for participante in participantes:
        for nome, execucao, decisao in participante.banco.execute(
                "SELECT transacao, execucao, decisao FROM heuristicas"):
            if execucao in log.execucoes() and log.decisao(nome) != decisao:
                alertar(f"DIVERGÊNCIA: em {participante.nome} a transação {nome} foi forçada a "
                        f"{decisao}, e o log diz {log.decisao(nome)}. Corrija os dados à mão, e "
                        f"depois rode, em {participante.negocio.arquivo}.db: "
                        f"DELETE FROM heuristicas WHERE transacao = '{nome}';")
