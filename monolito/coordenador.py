"""O coordenador da confirmação em duas fases (2PC; também chamada efetivação).

  fase 1    pergunta a cada participante, sempre na mesma ordem; o primeiro NÃO encerra a votação
  decisão   todos SIM: CONFIRMAR é forçado ao log, e não há mais volta
            algum NÃO: ABORTAR, sem gravar nada (presunção de aborto)
  fase 2    avisa cada participante, e insiste com o que falha

Gravações forçadas: uma por participante ao preparar e uma pela decisão, N+1. As confirmações
não são forçadas; por isso o log só esquece uma decisão quando cada participante já forçou
alguma outra gravação depois dela. Esquecer antes, com presunção de aborto, abortaria num
dono o que os outros aplicaram.

Uma rodada pode levar muitas transações, que dividem essas gravações; a de um pedido é uma
lista de um.
"""

from __future__ import annotations

import time

from decisoes import ABORTAR, CONFIRMAR, LogDeDecisoes
from disco.arquivo import insistir
from disco.execucao import Execucao
from palco import quedas
from participante import Participante, Recusa, SemResposta, Travada

ESPERA = 2.0  # segundos que uma transação espera por uma trava antes de virar um NÃO
PAUSA = 0.002  # segundos entre duas olhadas numa trava que é de outra transação
EU = "Coordenador"


class Transacao:
    """Um pedido a caminho. Os votos chegam em ordem: basta contar os SIM."""

    __slots__ = ("nome", "execucao", "pedido", "sim", "decisao", "motivo",
                 "parada_em", "parada_desde")  # a linha que espera, travada por outra

    def __init__(self, nome: str, execucao: str, pedido: dict):
        self.nome, self.execucao, self.pedido = nome, execucao, pedido
        self.sim, self.decisao, self.motivo = 0, None, None
        self.parada_em = self.parada_desde = None


class Coordenador:
    """Conduz os pedidos desta execução.

    participantes: na ordem da votação; Pedidos é o primeiro.
    espera: segundos por uma trava. narrar(pedido, de, para, texto, cor): quem assiste, ou None.
    """

    def __init__(self, participantes: list[Participante], log: LogDeDecisoes, execucao: Execucao,
                 espera: float = ESPERA, narrar=None):
        self.participantes, self.log, self.execucao = participantes, log, execucao
        self.espera, self.narrar = espera, narrar
        # Pedidos é avisado por último: o resultado só aparece depois dos efeitos.
        self.avisados = [*enumerate(participantes)][1:] + [(0, participantes[0])]
        log.registrar(execucao)
        self._antes_dos_pedidos = self._forcadas_no_total()

    def executar(self, pedido: dict) -> None:
        """Conduz um pedido até o fim: uma rodada de um, repetida enquanto uma trava o segura."""
        transacao = self.nova(pedido)
        while not self.rodada([transacao]):
            time.sleep(PAUSA)

    def nova(self, pedido: dict) -> Transacao:
        return Transacao(self.execucao.nova_transacao(), self.execucao.nome, pedido)

    def rodada(self, transacoes: list[Transacao]) -> list[Transacao]:
        """Leva cada transação até onde ela pode ir agora; devolve as que terminaram.

        Uma que espera por uma trava fica para outra rodada, com os votos que já tem.
        Uma rodada por vez, numa thread só. Levanta Falha se não há como continuar.
        """
        self._fase_1(transacoes)
        self._decidir([t for t in transacoes if t.sim == len(self.participantes)])
        decididas = [t for t in transacoes if t.decisao]
        self._fase_2(decididas)
        self.log.conferir_se_ainda_decide()
        return decididas

    # --- fase 1 ---

    def _fase_1(self, transacoes: list[Transacao]) -> None:
        quedas.ponto("antes-de-preparar")
        for ordem, participante in enumerate(self.participantes):
            perguntadas = [t for t in transacoes if t.sim == ordem and not t.decisao]
            if not perguntadas:
                continue
            for t in perguntadas:
                if t.parada_desde is None:
                    self._contar(t, EU, participante.nome, "preparar")
            votos = participante.preparar(perguntadas)
            for t in perguntadas:
                self._receber_voto(participante, t, votos[t.nome])
            if ordem == 1:
                quedas.ponto("entre-votos")

    def _receber_voto(self, participante: Participante, t: Transacao, voto) -> None:
        if isinstance(voto, Travada):
            self._esperar_trava(participante, t, voto)
        elif isinstance(voto, Recusa):
            if not isinstance(voto, SemResposta):
                self._contar(t, participante.nome, EU, f"NÃO: {voto}", "vermelho")
            self._abortar(t, str(voto))
        else:
            t.pedido, t.sim = voto, t.sim + 1
            t.parada_em = t.parada_desde = None
            if self.narrar:
                travas = ", ".join(participante.negocio.travar(t.pedido))
                self._contar(t, participante.nome, None, f"grava e trava {travas}", "fraco")
                self._contar(t, participante.nome, EU, "SIM", "verde")

    def _esperar_trava(self, participante: Participante, t: Transacao, trava: Travada) -> None:
        """Espera um tempo limitado, e então é um NÃO que diz de quem é a trava."""
        agora, t.parada_em = time.monotonic(), trava.linha
        if t.parada_desde is None:
            t.parada_desde = agora
            self._contar(t, participante.nome, None,
                         f"espera {trava.o_que}, com {trava.dona}", "roxo")
        if agora - t.parada_desde >= self.espera:
            self._receber_voto(participante, t, participante.recusa_da_trava(trava))

    # --- a decisão ---

    def _decidir(self, prontas: list[Transacao]) -> None:
        """Todas com todos os SIM. Depois que o log tem CONFIRMAR, nada muda a decisão."""
        if not prontas:
            return
        quedas.ponto("antes-da-decisao")
        if recusa := self._promessa_perdida() or self.log.decidir(prontas):
            for t in prontas:
                self._abortar(t, recusa)
            return
        for t in prontas:
            t.decisao = CONFIRMAR
            self._contar(t, EU, None, "CONFIRMAR, forçado ao log", "verde")
        quedas.ponto("depois-da-decisao")

    def _abortar(self, t: Transacao, motivo: str) -> None:
        t.decisao, t.motivo = ABORTAR, motivo
        self._contar(t, EU, None, f"ABORTAR: {motivo}", "vermelho")

    def _promessa_perdida(self) -> str | None:
        """Um SIM vale enquanto está no arquivo: apagado depois do voto, não há o que confirmar."""
        return next((f"{p.nome} perdeu o que prometeu" for p in self.participantes
                     if not p.promessas_no_lugar()), None)

    # --- fase 2 ---

    def _fase_2(self, decididas: list[Transacao]) -> None:
        confirmadas = [t.nome for t in decididas if t.decisao == CONFIRMAR]
        if len(confirmadas) < len(decididas):
            quedas.ponto("antes-do-aborto")
        for ordem, participante in self.avisados:
            # Confirmar interessa a todos; abortar, a quem votou SIM e a quem guarda os recusados.
            avisos = [t for t in decididas if ordem < t.sim or participante.negocio.recusado]
            if avisos:
                self._avisar(participante, avisos, [t.nome for t in avisos if ordem < t.sim])
            if confirmadas and ordem == 2:
                quedas.ponto("entre-confirmacoes")
        if confirmadas:
            self.log.anotar_fim(confirmadas, [p.arquivo for p in self.participantes])
            quedas.ponto("antes-do-fim")

    def _avisar(self, participante: Participante, avisos: list[Transacao],
                preparadas: list[str]) -> None:
        """Avisa até conseguir; se não consegue, fica para a recuperação. Levanta Falha."""
        for t in avisos:
            verbo, cor = ("abortar", "vermelho") if t.motivo else ("confirmar", "verde")
            self._contar(t, EU, participante.nome, verbo, cor)
        senao = (f"{', '.join(preparadas)} em dúvida: a recuperação termina na próxima partida"
                 if preparadas else "o pedido recusado não foi anotado, e nada mais foi mexido")
        insistir(lambda: participante.encerrar([(t.nome, t.pedido, t.motivo) for t in avisos]),
                 participante.arquivo, senao)

    # --- o fim ---

    def encerrar(self) -> None:
        """Força as últimas confirmações e escreve o registro de fim: o log esquece a execução."""
        for participante in self.participantes:
            participante.arquivo.sincronizar()
        if not any(d.execucao == self.execucao.nome
                   for p in self.participantes for d in p.em_duvida()):
            self.log.esquecer(self.execucao.nome)
        self.execucao.fechar()

    def forcadas(self) -> int:
        """Quantas vezes os pedidos, até agora, esperaram pelo disco."""
        return self._forcadas_no_total() - self._antes_dos_pedidos

    def _forcadas_no_total(self) -> int:
        return self.log.arquivo.forcadas + sum(p.arquivo.forcadas for p in self.participantes)

    def _contar(self, t: Transacao, de: str, para: str | None, texto: str, cor=None) -> None:
        if self.narrar:
            self.narrar(t.pedido["pedido"], de, para, texto, cor)
