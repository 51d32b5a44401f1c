"""A recuperação: resolve o que execuções que morreram deixaram em dúvida.

Roda em todo início, antes do primeiro pedido. Quem a roda tem o log, que é um só: tudo o que está
em dúvida é de quem já morreu. Para cada transação, pergunta ao log: se ele tem CONFIRMAR,
confirma; se não tem nada, aborta (presunção de aborto). Se o log não conhece a execução, não é o
log dela: a transação fica em dúvida, e isso é dito em voz alta. Nunca se adivinha.

Morrer no meio da recuperação é só outra morte: o que foi resolvido está resolvido, o resto
continua em dúvida, e o próximo início chega às mesmas respostas.
"""

import sqlite3
from pathlib import Path

from comum.banco import EmUso
from comum.falha import Falha, em_portugues
from comum.tela import alertar, dizer
from decisoes import ABORTAR, ARQUIVO, CONFIRMAR, Decisao, LogDeDecisoes
from palco import quedas
from palco.narracao import COORDENADOR, Narrador
from participante import Participante, em_duvida

POUCAS = 4  # até tantas transações em dúvida, a recuperação é desenhada


def abrir_log(pasta: Path, loja: str, participantes: list[Participante],
              pessoa: str | None = None) -> LogDeDecisoes | None:
    """O log. Sem ele não se conduzem pedidos; uma pessoa decide até sem ele (None).

    pessoa: o que ela pede, se pede. Levanta EmUso se outro programa tem o log, e Falha se não
    pôde ser lido.
    """
    try:
        return LogDeDecisoes(pasta, loja)
    except EmUso:
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
    esquece nada aqui: as confirmações ainda não foram forçadas. Levanta Falha.
    """
    achadas = em_duvida(participantes)
    if not achadas:
        dizer("Recuperação: nada em dúvida.", "fraco")
    if len(achadas) > POUCAS:
        narrador = Narrador(False)
    reter(achadas, narrador)
    try:
        for execucao in sorted({execucao for execucao, _, _ in achadas.values()}):
            dela = {nome: dados for nome, dados in achadas.items() if dados[0] == execucao}
            if log.conhece(execucao):
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
        decisao = Decisao(nome, ABORTAR, "abortado na recuperação: não havia decisão no log")
        texto, cor = "o log não tem decisão: aborto presumido", "vermelho"
        if log.decisao(nome) == CONFIRMAR:
            decisao, texto, cor = Decisao(nome, CONFIRMAR), "o log tem CONFIRMAR", "verde"
            confirmadas += 1
        narrador.nota(pedido, COORDENADOR, texto, cor)
        _resolver_transacao(decisao, pedido, onde, narrador)
    if not narrador.raias:
        dizer(f"  {confirmadas} com CONFIRMAR no log: confirmadas; "
              f"{len(achadas) - confirmadas} sem decisão no log: abortadas")


def _resolver_transacao(decisao: Decisao, pedido: str, onde: list[Participante],
                        narrador: Narrador) -> None:
    # Pedidos, o primeiro, é avisado por último: o resultado só aparece depois dos efeitos. Entre
    # os outros, tanto faz a ordem.
    for participante in reversed(onde):
        narrador.aviso(pedido, participante.nome, decisao)
        try:
            participante.aplicar([decisao])
        except sqlite3.IntegrityError as erro:  # quem votou SIM podia; alguém mexeu nele
            _deixar({decisao.transacao: (None, pedido, [participante])},
                    f"{participante.negocio.arquivo}.db já não aceita o efeito que prometeu "
                    f"({erro}): alguém mudou os dados. Devolva-os (sqlite3), e rode de novo.")
            return
        quedas.ponto("na-recuperacao")
