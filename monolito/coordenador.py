"""O coordenador da confirmação em duas fases (2PC; também chamada efetivação).

  fase 1    pergunta a cada participante, sempre na mesma ordem; o primeiro NÃO encerra a votação
  decisão   todos SIM: CONFIRMAR é forçado ao log, e não há mais volta
            algum NÃO: ABORTAR, sem gravar nada (presunção de aborto)
  fase 2    avisa cada participante, e insiste com o que falha

Gravações forçadas: uma por participante ao preparar e uma pela decisão, N+1. As confirmações
não são forçadas; por isso o log só esquece uma decisão quando cada participante já forçou
alguma outra gravação depois dela. Esquecer antes, com presunção de aborto, abortaria num
dono o que os outros aplicaram.

Uma rodada leva muitas transações de uma vez, e elas dividem essas gravações; quem tem
um pedido só pode ler "transacoes" como uma lista de um.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import deque

from palco import quedas
from disco.arquivo import Arquivo
from decisoes import ABORTAR, CONFIRMAR, LogDeDecisoes
from disco.execucao import Execucao, viva
from disco.lote import Lote
from participante import Participante, Recusa, SemResposta, Travada
from comum.falha import Falha, em_portugues
from comum.tela import alertar

ESPERA = 2.0  # segundos que uma transação espera por uma trava antes de virar um NÃO
PACIENCIA = 5.0  # segundos de insistência com um participante que não consegue gravar o aviso
EU = "Coordenador"
em_json = json.JSONEncoder(ensure_ascii=False).encode


class Transacao:
    """Um pedido a caminho. Os votos chegam em ordem: basta contar os SIM."""

    __slots__ = ("nome", "execucao", "pedido", "sim", "decisao", "motivo", "parada_desde", "forcadas",
                 "erro", "vez", "_registro")

    def __init__(self, nome: str, execucao: str, pedido: dict):
        self.nome, self.execucao, self.pedido = nome, execucao, pedido
        self.sim, self.decisao, self.motivo, self.parada_desde = 0, None, None, None
        self.forcadas, self.erro, self.vez, self._registro = 0, None, threading.Lock(), None

    def registro(self, pedido: dict) -> str:
        """O texto que cada participante grava ao preparar; só Pedidos muda o pedido, os outros o repetem."""
        if self._registro is None or pedido is not self.pedido:
            self._registro = em_json(pedido)
        return self._registro


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
        self._lote = Lote(self.rodada)
        self._encerradas: deque = deque()
        self._sem_gravar: dict[Arquivo, str] = {}  # o que já foi dito de cada arquivo que não aceita gravações
        log.registrar(execucao.nome)
        self._antes_dos_pedidos = self._forcadas_no_total()

    def executar(self, pedido: dict) -> None:
        """Conduz um pedido até o fim. Várias threads podem chamar ao mesmo tempo."""
        self._lote.conduzir(self.nova(pedido))

    def nova(self, pedido: dict) -> Transacao:
        return Transacao(self.execucao.nova_transacao(), self.execucao.nome, pedido)

    def rodada(self, transacoes: list[Transacao]) -> list[Transacao]:
        """Leva cada transação até onde ela pode ir agora; devolve as que terminaram.

        Uma que espera por uma trava fica para outra rodada, com os votos que já tem.
        """
        antes = self.forcadas()
        for ordem, participante in enumerate(self.participantes):
            self._pedir_votos(participante, [t for t in transacoes if t.sim == ordem and not t.decisao])
        self._decidir([t for t in transacoes if t.sim == len(self.participantes)])
        terminadas = [t for t in transacoes if t.decisao]
        self._avisar(terminadas)
        if self.narrar:
            for t in transacoes:
                t.forcadas += self.forcadas() - antes
            for t in terminadas:
                self._contar(t, EU, None, f"gravações forçadas: {t.forcadas}", "fraco")
        return terminadas

    def forcadas(self) -> int:
        """Quantas vezes os pedidos, até agora, esperaram pelo disco."""
        return self._forcadas_no_total() - self._antes_dos_pedidos

    def _forcadas_no_total(self) -> int:
        return self.log.arquivo.forcadas + sum(p.arquivo.forcadas for p in self.participantes)

    # --- fase 1 ---

    def _pedir_votos(self, participante: Participante, transacoes: list[Transacao]) -> None:
        if not transacoes:
            return
        if participante is self.participantes[0]:
            quedas.ponto("antes-de-preparar")
        for t in transacoes:
            if t.parada_desde is None:
                self._contar(t, EU, participante.nome, "preparar")
        try:
            votos = participante.preparar(transacoes)
            self._sem_gravar.pop(participante.arquivo, None)
        except sqlite3.Error as erro:
            # Quem não conseguiu gravar não prometeu nada: é um NÃO.
            self._avisar_uma_vez(participante.arquivo, erro)
            votos = {t.nome: Recusa(f"{participante.nome} não conseguiu gravar") for t in transacoes}
        except OSError as erro:
            raise self._sem_saber(participante.arquivo, transacoes, erro) from erro
        for t in transacoes:
            self._receber_voto(participante, t, votos[t.nome])
        if participante is self.participantes[1]:
            quedas.ponto("entre-votos")

    def _receber_voto(self, participante: Participante, t: Transacao, voto) -> None:
        if isinstance(voto, Travada):
            voto = self._esperar_trava(participante, t, voto)
        if isinstance(voto, Recusa):
            t.decisao, t.motivo = ABORTAR, str(voto)
            if not isinstance(voto, SemResposta):
                self._contar(t, participante.nome, EU, f"NÃO: {t.motivo}", "vermelho")
            self._contar(t, EU, None, f"ABORTAR: {t.motivo}", "vermelho")
        elif voto:
            t.pedido, t.sim, t.parada_desde = voto, t.sim + 1, None
            if self.narrar:
                travas = ", ".join(participante.negocio.travar(t.pedido))
                self._contar(t, participante.nome, None, f"grava e trava {travas}", "fraco")
                self._contar(t, participante.nome, EU, "SIM", "verde")

    def _esperar_trava(self, participante: Participante, t: Transacao, trava: Travada) -> Recusa | None:
        """A trava é de outra transação: espera um tempo limitado, e então é um NÃO que diz de quem ela é."""
        nome, dona = trava.linha.split("/", 1)[1], trava.transacao
        agora = time.monotonic()
        if t.parada_desde is None:
            t.parada_desde = agora
            self._contar(t, participante.nome, None, f"espera {nome}, com {dona}", "roxo")
        if agora - t.parada_desde < self.espera:
            return None
        pasta, execucao = participante.arquivo.caminho.parent, dona.rsplit("-", 1)[0]
        return Recusa(f"{nome} travado pela transação {dona}{'' if viva(pasta, execucao) else ' em dúvida'}")

    # --- a decisão ---

    def _decidir(self, transacoes: list[Transacao]) -> None:
        if not transacoes:
            return
        quedas.ponto("antes-da-decisao")
        esquecer = self._ja_no_disco()
        try:
            self.log.decidir(transacoes, [nome for nomes, _ in esquecer for nome in nomes])
        except sqlite3.Error as erro:
            # Nada ficou no log: é aborto, e não há dúvida.
            self._avisar_uma_vez(self.log.arquivo, erro)
            for t in transacoes:
                t.decisao, t.motivo = ABORTAR, "a decisão não pôde ser gravada"
                self._contar(t, EU, None, f"ABORTAR: {t.motivo}", "vermelho")
            return
        except OSError as erro:
            raise self._sem_saber(self.log.arquivo, transacoes, erro) from erro
        self._sem_gravar.pop(self.log.arquivo, None)
        for _ in esquecer:
            self._encerradas.popleft()
        for t in transacoes:
            t.decisao = CONFIRMAR
            self._contar(t, EU, None, "CONFIRMAR, forçado ao log", "verde")
        quedas.ponto("depois-da-decisao")

    def _avisar_uma_vez(self, arquivo: Arquivo, erro: sqlite3.Error) -> None:
        """O mesmo defeito do mesmo arquivo é uma linha só, por mais pedidos que ele recuse."""
        texto = str(em_portugues(erro, arquivo.caminho.name))
        if self._sem_gravar.get(arquivo) != texto:
            self._sem_gravar[arquivo] = texto
            alertar(texto)

    @staticmethod
    def _sem_saber(arquivo: Arquivo, transacoes: list[Transacao], erro: OSError) -> Falha:
        """O fsync falhou: o que foi gravado pode estar no disco, ou não. Calar é o único caminho."""
        return Falha(f"{em_portugues(erro, arquivo.caminho.name)}; não sei se a última gravação ficou, e não aviso "
                     f"ninguém: {', '.join(t.nome for t in transacoes)} em dúvida até a próxima partida")

    def _ja_no_disco(self) -> list:
        """Os lotes encerrados, do mais antigo, cujas confirmações uma gravação posterior já forçou."""
        prontos = []
        for nomes, marcas in self._encerradas:
            if any(p.arquivo.no_disco < marca for p, marca in zip(self.participantes, marcas)):
                break
            prontos.append((nomes, marcas))
        return prontos

    # --- fase 2 ---

    def _avisar(self, decididas: list[Transacao]) -> None:
        confirmadas = [t.nome for t in decididas if t.motivo is None]
        if len(confirmadas) < len(decididas):
            quedas.ponto("antes-do-aborto")
        for ordem, participante in self.avisados:
            # Confirmar interessa a todos; abortar, a quem votou SIM e a quem guarda os recusados.
            avisos = [t for t in decididas if ordem < t.sim or participante.negocio.recusado]
            if avisos:
                self._insistir(participante, avisos)
            if confirmadas and participante is self.participantes[2]:
                quedas.ponto("entre-confirmacoes")
        if confirmadas:
            self._encerradas.append((confirmadas, [p.arquivo.gravadas for p in self.participantes]))
            quedas.ponto("antes-do-fim")

    def _insistir(self, participante: Participante, avisos: list[Transacao]) -> None:
        """Avisa até conseguir; depois de PACIENCIA segundos, deixa para a recuperação. Levanta Falha."""
        for t in avisos:
            self._contar(t, EU, participante.nome, "abortar" if t.motivo else "confirmar", "vermelho" if t.motivo else "verde")
        prazo, pausa = time.monotonic() + PACIENCIA, 0.05
        while True:
            try:
                participante.encerrar([(t.nome, t.pedido, t.motivo) for t in avisos])
                return
            except sqlite3.Error as erro:
                falha = em_portugues(erro, participante.arquivo.caminho.name)
                if time.monotonic() > prazo:
                    raise Falha(f"{falha}; {', '.join(t.nome for t in avisos)} em dúvida: "
                                "a recuperação termina na próxima partida") from erro
                if pausa == 0.05:
                    alertar(f"{falha}; insisto por {PACIENCIA:.0f} s")
            time.sleep(pausa)
            pausa = min(2 * pausa, 1)

    # --- o fim ---

    def encerrar(self) -> None:
        """Força as últimas confirmações e escreve o registro de fim: o log esquece esta execução."""
        for participante in self.participantes:
            participante.arquivo.sincronizar()
        if not any(d.execucao == self.execucao.nome for p in self.participantes for d in p.em_duvida()):
            self.log.esquecer(self.execucao.nome)
        self.execucao.fechar()

    def _contar(self, t: Transacao, de: str, para: str | None, texto: str, cor: str | None = None) -> None:
        if self.narrar:
            self.narrar(t.pedido["pedido"], de, para, texto, cor)
