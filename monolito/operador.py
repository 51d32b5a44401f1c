"""Quando o log não volta: uma pessoa olha, decide, e responde por isso.

Uma decisão heurística é a de quem não pode saber. Ela é lembrada em cada participante; se um
dia o log aparecer e disser outra coisa, a divergência é dita a cada início, até que alguém
a reconheça. (O termo é do padrão X/Open XA: "heuristically completed".)
"""

from pathlib import Path

from comum.banco import transacao
from comum.falha import Falha
from comum.tela import alertar, dizer
from decisoes import ABORTAR, CONFIRMAR, Decisao, LogDeDecisoes, conduzindo, o_que_diz
from participante import Participante, em_duvida

ESCOLHAS = {"confirmar": (CONFIRMAR, None),
            "abortar": (ABORTAR, "abortado por decisão de uma pessoa")}


def listar(pasta: Path, participantes: list[Participante]) -> None:
    """Mostra cada transação que espera uma decisão, e o que ela trava; não resolve nada."""
    if conduzindo(pasta):
        dizer("um programa conduz pedidos nesta pasta agora: o que está preparado é assunto dele, "
              "e ele o termina")
        return
    achadas = em_duvida(participantes)
    dizer(f"em dúvida: {len(achadas)}")
    for nome, (execucao, pedido, onde) in achadas.items():
        dizer()
        dizer(f"transação {nome}   pedido {pedido}", "forte")
        for participante in onde:
            travas = participante.banco.execute("SELECT replace(travas, char(10), ', ') FROM "
                                                "preparadas WHERE transacao = ?", (nome,))
            dizer(f"  {participante.nome:10}  preparada; trava {travas.fetchone()[0]}")
        log, fara = o_que_diz(pasta, nome, execucao)
        dizer(f"  {'log':10}  {log}")
        dizer("  No próximo início (sem --sem-recuperar), a recuperação a resolve." if fara else
              f"  Só uma pessoa a resolve: --forcar {nome}=confirmar, ou {nome}=abortar.")


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
    if log and log.conhece(execucao):
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
    vale, ele não votou SIM, ou já abortou, e não pode ter sido CONFIRMAR.
    """
    for participante in participantes:
        if participante.banco.execute(
                "SELECT 1 FROM heuristicas WHERE transacao = ? AND decisao <> ?",
                (decisao.transacao, decisao.qual)).fetchone():
            raise Falha(f"--forcar: uma parte de {decisao.transacao} já foi forçada ao contrário; "
                        "repita aquela decisão", 2)
        if participante in onde:
            continue
        vale = participante.banco.execute(participante.negocio.vale, (pedido,)).fetchone()[0]
        if decisao.qual == ABORTAR and vale:
            raise Falha(f"--forcar: {participante.nome} já aplicou o pedido {pedido} ({vale}): "
                        "foi decidido CONFIRMAR; confirme", 2)
        if decisao.qual == CONFIRMAR and not vale:
            raise Falha(f"--forcar: {participante.nome} não está preparado, e nada aplicou do "
                        f"pedido {pedido}: não foi decidido CONFIRMAR; aborte", 2)


def divergentes(participantes: list[Participante], log: LogDeDecisoes) -> dict[str, tuple]:
    """As decisões forçadas que o log certo, reaparecido, desmente, e que ninguém reconheceu.

    {transação: (execução, decisão forçada, [nomes dos participantes])}; o log não as esquece.
    """
    achadas: dict[str, tuple] = {}
    for participante in participantes:
        for nome, execucao, decisao in participante.banco.execute(
                "SELECT transacao, execucao, decisao FROM heuristicas WHERE NOT reconhecida"):
            if log.conhece(execucao) and log.decisao(nome) != decisao:
                achadas.setdefault(nome, (execucao, decisao, []))[2].append(participante.nome)
    return achadas


def conferir(participantes: list[Participante], log: LogDeDecisoes) -> None:
    """Avisa das decisões forçadas que o log desmente; a cada início, até que as reconheçam."""
    for nome, (_, decisao, onde) in sorted(divergentes(participantes, log).items()):
        alertar(f"DIVERGÊNCIA: a transação {nome} foi forçada a {decisao} em {', '.join(onde)}, "
                f"e o log diz {log.decisao(nome)}. "
                f"Corrija os dados à mão e depois: --reconhecer {nome}")


def reconhecer(participantes: list[Participante], log: LogDeDecisoes | None, nome: str) -> None:
    """A divergência já foi tratada: não é mais dita. Levanta Falha se não há nenhuma ali.

    Só vale para a que já foi dita: calar antes disso esconderia a que o log ainda vai mostrar.
    """
    if not (log and nome in divergentes(participantes, log)):
        raise Falha(f"--reconhecer: nenhuma decisão forçada para a transação {nome!r} que este log "
                    "desminta: não há divergência", 2)
    for participante in participantes:
        with transacao(participante.banco, forcada=True) as banco:
            banco.execute("UPDATE heuristicas SET reconhecida = 1 WHERE transacao = ?", (nome,))
    dizer(f"{nome}: divergência reconhecida")
