"""Quando o log não volta: uma pessoa olha, decide, e responde por isso.

Uma decisão heurística é a de quem não pode saber. Ela é lembrada em cada participante; se um
dia o log aparecer e disser outra coisa, a divergência é dita a cada partida, até que alguém
a reconheça. (O termo é do padrão X/Open XA: "heuristically completed".)
"""

from __future__ import annotations

from pathlib import Path

from decisoes import ABORTAR, CONFIRMAR, LogDeDecisoes
from disco.execucao import NAO_SE_SABE, VIVA, apagar_prova
from participante import Duvida, Participante
from recuperacao import em_duvida, julgar
from comum.falha import Falha
from comum.tela import alertar, dizer

MOTIVO = "abortado por decisão de uma pessoa"
SEM_PROVA = ("a prova de vida dela foi apagada ou trocada, e outro programa tem os bancos abertos: "
             "encerre-o")
ESCOLHAS = {"confirmar": CONFIRMAR, "abortar": ABORTAR}


def listar(participantes: list[Participante], log: LogDeDecisoes | None) -> None:
    """Mostra cada transação que espera uma decisão, e o que ela trava; não resolve nada."""
    achadas, situacoes = em_duvida(participantes), {}
    for execucao, _, _ in achadas.values():
        if execucao not in situacoes:
            with julgar(execucao, participantes, log) as situacoes[execucao]:
                pass
    mortas = [nome for nome, (execucao, _, _) in achadas.items() if situacoes[execucao] != VIVA]
    dizer(f"em dúvida: {len(mortas)}")
    for nome, (execucao, pedido, onde) in achadas.items():
        dizer()
        dizer(f"transação {nome}   pedido {pedido}", "forte")
        for participante in onde:
            travas = ", ".join(participante.travas(nome))
            dizer(f"  {participante.nome:10}  preparada; trava {travas}")
        dizer(f"  {'log':10}  {_o_que_diz(log, execucao, nome)}")
        if situacoes[execucao] == VIVA:
            dizer(f"  a execução {execucao} está viva e ainda conduz esta transação")
        if situacoes[execucao] == NAO_SE_SABE:
            dizer(f"  não se sabe se a execução {execucao} vive: {SEM_PROVA}")
    if mortas:
        dizer()
        dizer("Na próxima partida (sem --sem-recuperar) "
              "a recuperação resolve as que o log conhece.")


def _o_que_diz(log: LogDeDecisoes | None, execucao: str, transacao: str) -> str:
    if log is None:
        return "não pôde ser lido"
    if not log.conhece(execucao):
        return f"não conhece a execução {execucao}: não é o log desta transação"
    if log.decisao(transacao) == CONFIRMAR:
        return CONFIRMAR
    return "conhece a execução, e não tem decisão: aborto presumido"


def forcar(pasta: Path, participantes: list[Participante], log: LogDeDecisoes | None,
           escrito: str) -> None:
    """A decisão de uma pessoa. Levanta Falha se não cabe a ela decidir.

    escrito: "TRANSACAO=confirmar" ou "TRANSACAO=abortar".
    """
    nome, _, escolha = escrito.partition("=")
    if escolha not in ESCOLHAS:
        raise Falha("--forcar: use TRANSACAO=confirmar ou TRANSACAO=abortar", 2)
    if nome not in (achadas := em_duvida(participantes)):
        raise Falha(f"--forcar: nenhuma transação {nome!r} em dúvida (ver --em-duvida)", 2)
    execucao, id_do_pedido, onde = achadas[nome]
    with julgar(execucao, participantes, log) as situacao:
        if situacao == VIVA:
            raise Falha(f"--forcar: a execução {execucao} está viva e ainda conduz {nome}", 2)
        if situacao == NAO_SE_SABE:
            raise Falha(f"--forcar: não se sabe se a execução {execucao} vive: {SEM_PROVA}", 2)
        if log and log.conhece(execucao):
            raise Falha(f"--forcar: o log conhece {nome}; a recuperação da próxima partida "
                        "a resolve sem adivinhar", 2)
        decisao = ESCOLHAS[escolha]
        if any(outra != decisao for outra in _forcadas(participantes, nome)):
            raise Falha(f"--forcar: uma parte de {nome} já foi forçada ao contrário; "
                        "repita aquela decisão", 2)
        for participante in reversed(onde):
            participante.forcar(Duvida(nome, execucao, id_do_pedido), decisao,
                                MOTIVO if decisao == ABORTAR else None)
            dizer(f"{participante.nome}: {nome} forçada a {decisao}")
    if not em_duvida(participantes, execucao):
        apagar_prova(pasta, execucao)


def _forcadas(participantes: list[Participante], transacao: str) -> list[str]:
    return [decisao for p in participantes for decisao, in p.arquivo.banco.execute(
        "SELECT decisao FROM heuristicas WHERE transacao = ?", (transacao,))]


def conferir(participantes: list[Participante], log: LogDeDecisoes) -> None:
    """Compara cada decisão heurística com o log, assim que ele é o certo; avisa das que divergem.

    Deve rodar antes da recuperação, que faz o log esquecer o que não está mais em dúvida.
    """
    divergentes: dict[str, tuple] = {}
    for participante in participantes:
        _anotar_o_que_o_log_diz(participante, log)
        for nome, pedido, decisao, dizia in participante.arquivo.banco.execute(
                "SELECT transacao, pedido, decisao, log_dizia FROM heuristicas "
                "WHERE log_dizia <> decisao AND NOT reconhecida"):
            nova = pedido, decisao, dizia, []
            divergentes.setdefault(nome, nova)[3].append(participante.nome)
    for nome, (pedido, decisao, dizia, onde) in divergentes.items():
        alertar(f"DIVERGÊNCIA: a transação {nome} (pedido {pedido}) foi forçada a {decisao} "
                f"em {', '.join(onde)}, e o log diz {dizia}. "
                f"Corrija os dados à mão e depois: --reconhecer {nome}")


def _anotar_o_que_o_log_diz(participante: Participante, log: LogDeDecisoes) -> None:
    for nome, execucao in participante.arquivo.banco.execute(
            "SELECT transacao, execucao FROM heuristicas WHERE log_dizia IS NULL").fetchall():
        if log.conhece(execucao):
            with participante.arquivo.gravacao(forcada=True) as banco:
                banco.execute("UPDATE heuristicas SET log_dizia = ? WHERE transacao = ?",
                              (log.decisao(nome), nome))


def reconhecer(participantes: list[Participante], nome: str) -> None:
    """A divergência já foi tratada: não é mais dita. Levanta Falha se não há nenhuma ali.

    Só vale para a que já foi dita: calar antes disso esconderia a que o log ainda vai mostrar.
    """
    if not _forcadas(participantes, nome):
        raise Falha(f"--reconhecer: nenhuma decisão forçada para a transação {nome!r}", 2)
    mudou = 0
    for participante in participantes:
        with participante.arquivo.gravacao(forcada=True) as banco:
            mudou += banco.execute("UPDATE heuristicas SET reconhecida = 1 "
                                   "WHERE transacao = ? AND log_dizia <> decisao",
                                   (nome,)).rowcount
    if not mudou:
        raise Falha(f"--reconhecer: {nome} foi forçada, e até agora nenhum log disse outra coisa: "
                    "não há divergência", 2)
    dizer(f"{nome}: divergência reconhecida")
