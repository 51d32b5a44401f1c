"""A recuperação: resolve o que execuções que morreram deixaram em dúvida.

Roda a cada partida, antes do primeiro pedido. Para cada transação em dúvida de uma
execução morta, pergunta ao log: se ele tem CONFIRMAR, confirma; se não tem nada,
aborta (presunção de aborto). Se o log não conhece a execução, não é o log dela:
a transação fica em dúvida, e isso é dito em voz alta. Nunca se adivinha.

Morrer no meio da recuperação é só outra morte: o que foi resolvido está resolvido, o resto
continua em dúvida, e a próxima partida chega às mesmas respostas.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from palco import quedas
from decisoes import CONFIRMAR, LogDeDecisoes
from disco.execucao import MORTA, NAO_SE_SABE, apagar_prova, julgada
from participante import Participante
from comum.falha import Falha, em_portugues
from comum.tela import alertar, dizer

SEM_DECISAO = "abortado na recuperação: não havia decisão no log"
POUCAS = 4  # até tantas transações em dúvida, a recuperação é desenhada


def em_duvida(participantes: list[Participante], execucao: str | None = None) -> dict[str, tuple]:
    """{transação: (execução, pedido, [participantes que esperam])}; execucao: só as dela."""
    achadas: dict[str, tuple] = {}
    for participante in participantes:
        for duvida in participante.em_duvida():
            if execucao in (None, duvida.execucao):
                nova = duvida.execucao, duvida.pedido, []
                achadas.setdefault(duvida.transacao, nova)[2].append(participante)
    return achadas


def julgar(execucao: str, participantes: list[Participante], log: LogDeDecisoes | None):
    """VIVA, MORTA ou NAO_SE_SABE, para usar com `with` (ver disco.execucao.julgada)."""
    arquivos = [p.arquivo for p in participantes] + ([log.arquivo] if log else [])
    return julgada(arquivos[0].caminho.parent, execucao, log.prova(execucao) if log else None,
                   lambda: all(arquivo.sozinho() for arquivo in arquivos))


def recuperar(pasta: Path, participantes: list[Participante], log: LogDeDecisoes,
              narrar=None) -> None:
    """Resolve tudo o que tem resposta e diz o que achou, o que decidiu e por quê."""
    total = em_duvida(participantes)
    if not total:
        dizer("Recuperação: nada em dúvida.", "fraco")
    if len(total) > POUCAS:
        narrar = None
    try:
        # Quem morreu entre gravar e forçar deixou uma decisão que se lê, e o disco pode não ter.
        log.arquivo.sincronizar()
        execucoes = {execucao for execucao, _, _ in total.values()} | set(log.execucoes())
        for execucao in sorted(execucoes):
            with julgar(execucao, participantes, log) as situacao:
                if situacao == MORTA:
                    _resolver(execucao, participantes, log, narrar)
                elif situacao == NAO_SE_SABE:
                    _deixar(em_duvida(participantes, execucao),
                            f"Não se sabe se a execução {execucao} vive: a prova de vida dela foi "
                            "apagada ou trocada, e outro programa tem os bancos abertos. "
                            "Encerre-o, e parta de novo.")
    except sqlite3.Error as erro:
        raise Falha(f"{em_portugues(erro, f'um arquivo de {pasta}')}; a recuperação parou no meio: "
                    "o que falta continua em dúvida até a próxima partida", 2) from erro


def _deixar(achadas: dict[str, tuple], por_que: str) -> None:
    for nome, (_, pedido, onde) in achadas.items():
        alertar(f"FICA EM DÚVIDA: transação {nome}, pedido {pedido}, "
                f"em {', '.join(p.nome for p in onde)}. {por_que}")


def _resolver(execucao: str, participantes: list[Participante], log: LogDeDecisoes, narrar) -> None:
    # A partir daqui ela não decide mais nada: o que o log não tem, não terá. Só então se olha quem
    # ficou em dúvida, e o que ele diz: uma decisão que tivesse entrado no meio seria esquecida.
    conhecida = log.encerrar(execucao)
    achadas = em_duvida(participantes, execucao)
    if achadas and not conhecida:
        _deixar(achadas, f"{log.arquivo.caminho.name} não conhece a execução {execucao}: "
                         "foi apagado, trocado ou é antigo. Devolva o log certo, ou decida "
                         "com --forcar (ver --em-duvida).")
        return
    if achadas:
        dizer(f"Recuperação: a execução {execucao} morreu e deixou {len(achadas)} em dúvida.",
              "roxo")
    inteiras = [_resolver_transacao(nome, pedido, onde, log.decisao(nome), narrar)
                for nome, (_, pedido, onde) in achadas.items()]
    if len(achadas) > POUCAS:
        confirmadas = sum(log.decisao(nome) == CONFIRMAR for nome in achadas)
        dizer(f"  {confirmadas} com CONFIRMAR no log: confirmadas; "
              f"{len(achadas) - confirmadas} sem decisão no log: abortadas")
    # As confirmações não foram forçadas: o log só pode esquecê-las depois deste fsync.
    for participante in participantes:
        participante.arquivo.sincronizar()
    if not all(inteiras):
        return
    log.esquecer(execucao)
    apagar_prova(log.arquivo.caminho.parent, execucao)


def _resolver_transacao(nome: str, pedido: str, onde: list[Participante], decisao: str,
                        narrar) -> bool:
    """False se algum participante não pôde: os dados dele foram mudados desde o voto."""
    motivo = None if decisao == CONFIRMAR else SEM_DECISAO
    if narrar:
        for participante in onde:
            narrar(pedido, participante.nome, "Coordenador", "em dúvida?", "roxo")
        texto = "o log não tem decisão: aborto presumido" if motivo else "o log tem CONFIRMAR"
        narrar(pedido, "Coordenador", None, f"{nome}: {texto}", "vermelho" if motivo else "verde")
    # Pedidos, que é o primeiro, é avisado por último: o resultado só aparece depois dos efeitos.
    for participante in reversed(onde):
        if narrar:
            narrar(pedido, "Coordenador", participante.nome, "abortar" if motivo else "confirmar",
                   "vermelho" if motivo else "verde")
        try:
            participante.encerrar([(nome, None, motivo)])
        except sqlite3.IntegrityError as erro:  # quem votou SIM só não pode se mexeram nele depois
            _deixar({nome: (None, pedido, [participante])},
                    f"{participante.arquivo.caminho.name} já não aceita o efeito que prometeu "
                    f"({erro}): alguém mudou os dados. Devolva-os (sqlite3), e rode de novo.")
            return False
        quedas.ponto("na-recuperacao")
    return True
