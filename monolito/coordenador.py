"""O coordenador da confirmação em duas fases (2PC; também chamada efetivação).

  fase 1    pergunta a cada participante, sempre na mesma ordem (assim dois pedidos não se
            esperam um ao outro); o primeiro NÃO encerra a votação
  decisão   todos SIM: CONFIRMAR é forçado ao log, e não há mais volta
            algum NÃO: ABORTAR, sem gravar nada (presunção de aborto)
  fase 2    avisa cada participante, e insiste com o que falha

Gravações forçadas: uma por participante ao preparar e uma pela decisão, N+1. As confirmações
não são forçadas; por isso o log só esquece as decisões no fim da execução, quando cada
participante já forçou outra gravação depois delas. Esquecer antes, com presunção de aborto,
abortaria num dono o que os outros aplicaram.

Uma rodada leva uma transação, ou muitas, que dividem essas gravações (gravação em grupo).
"""

import itertools
import time

from comum.banco import conferir_arquivos
from decisoes import ABORTAR, CONFIRMAR, Decisao, LogDeDecisoes, NaoGravada
from palco import quedas
from palco.narracao import Narrador
from participante import NAO, SIM, Participante, Voto


class Transacao:
    """Um pedido a caminho. nome: o da transação. pedido: o dicionário; id: o dele.

    sim: os participantes que já votaram SIM. decisao: o que se decidiu, ou None.
    desde: o instante em que esbarrou numa trava, ou None.
    """

    def __init__(self, nome: str, execucao: str, pedido: dict):
        self.nome, self.execucao, self.pedido, self.id = nome, execucao, pedido, pedido["pedido"]
        self.sim: list[Participante] = []
        self.decisao = self.desde = None


class Coordenador:
    """Conduz os pedidos de uma execução, já registrada no log.

    participantes: na ordem da votação; Pedidos é o primeiro. narrador: quem desenha o que se passa.
    """

    espera = 2.0  # segundos que um pedido espera por uma trava de quem está em dúvida

    def __init__(self, execucao: str, participantes: list[Participante], log: LogDeDecisoes,
                 narrador: Narrador):
        self.participantes, self.log, self.narrador = participantes, log, narrador
        self.bancos = [*(participante.banco for participante in participantes), log.banco]
        # Pedidos é avisado por último: o resultado só aparece depois dos efeitos.
        self.avisados = [*participantes[1:], participantes[0]]
        self.execucao, self._numeros = execucao, itertools.count(1)
        self.em_andamento: set[str] = set()  # os nomes das transações desta rodada

    def nova(self, pedido: dict) -> Transacao:
        return Transacao(f"{self.execucao}-{next(self._numeros)}", self.execucao, pedido)

    def rodada(self, transacoes: list[Transacao]) -> list[Transacao]:
        """Leva cada transação até onde ela pode ir agora; devolve as que terminaram.

        transacoes: todas as que estão em andamento. A que esbarra numa trava fica para a próxima
        rodada, com os SIM que já tem. Levanta Falha se não há como continuar.
        """
        self.em_andamento = {t.nome for t in transacoes}
        prontas = self._fase_1(transacoes)
        if prontas:
            self._decidir(prontas)
        decididas = [t for t in transacoes if t.decisao]
        if decididas:
            self._fase_2(decididas)
        return decididas

    # --- fase 1 ---

    def _fase_1(self, seguem: list[Transacao]) -> list[Transacao]:
        """Pergunta a cada participante sobre as que seguem; devolve as que têm o SIM de todos."""
        quedas.ponto("antes-de-preparar")
        for participante in self.participantes:
            perguntadas = [t for t in seguem if participante not in t.sim]
            for t in perguntadas:
                self.narrador.preparar(t, participante)
            for t, voto in zip(perguntadas, participante.preparar(perguntadas)):
                self._receber_voto(t, participante, voto)
            if perguntadas:
                quedas.ponto("entre-votos", depois_de=participante.nome)
            # Só quem tem o SIM deste segue para o próximo.
            seguem = [t for t in seguem if participante in t.sim]
        return seguem

    def _receber_voto(self, t: Transacao, participante: Participante, voto: Voto) -> None:
        if voto.qual == SIM:
            t.sim.append(participante)
            t.pedido, t.desde = voto.pedido, None
            self.narrador.sim(t, participante, voto.linhas)
        elif voto.qual == NAO:
            self.narrador.nao(t, participante, voto.motivo)
            self._abortar(t, voto.motivo)
        else:
            self._esperar(t, participante, voto)

    def _esperar(self, t: Transacao, participante: Participante, voto: Voto) -> None:
        """Quem está em andamento logo solta a trava; quem está em dúvida, não se sabe quando."""
        agora = time.monotonic()
        if t.desde is None:
            t.desde = agora
            self.narrador.espera(t, participante, voto)
        if voto.com not in self.em_andamento and agora - t.desde >= self.espera:  # conta como NÃO
            linha = voto.linhas[0].split("/", 1)[1]
            motivo = f"{linha} travado pela transação {voto.com} em dúvida"
            self._receber_voto(t, participante, Voto(NAO, motivo))

    # --- a decisão ---

    def _decidir(self, prontas: list[Transacao]) -> None:
        """prontas: as que têm o SIM de todos. Grava CONFIRMAR de todas, ou as aborta."""
        quedas.ponto("antes-da-decisao")
        conferir_arquivos(*self.bancos)  # um SIM vale enquanto está no arquivo
        try:
            with self.log.decidindo():
                self.log.anotar(self.execucao, prontas)
            # O COMMIT voltou do disco: é o ponto sem volta. Nada mais muda a decisão.
        except NaoGravada:
            for t in prontas:
                self._abortar(t, "a decisão não pôde ser gravada")
            return
        for t in prontas:
            t.decisao = Decisao(t.nome, CONFIRMAR)
            self.narrador.decidiu(t)
        quedas.ponto("depois-da-decisao")

    def _abortar(self, t: Transacao, motivo: str) -> None:
        """Não grava nada: o silêncio do log já quer dizer ABORTAR."""
        t.decisao = Decisao(t.nome, ABORTAR, motivo, t.pedido)
        self.narrador.decidiu(t)

    # --- fase 2 ---

    def _fase_2(self, decididas: list[Transacao]) -> None:
        """Confirmar interessa a todos; abortar, a quem votou SIM e a quem anota os recusados."""
        quais = {t.decisao.qual for t in decididas}
        if ABORTAR in quais:
            quedas.ponto("antes-do-aborto")
        for participante in self.avisados:
            avisos = [t for t in decididas
                      if participante in t.sim or participante.negocio.anotar_recusa]
            for t in avisos:
                self.narrador.aviso(t.id, participante.nome, t.decisao)
            if avisos:
                participante.insistir([t.decisao for t in avisos],
                                      [t.nome for t in avisos if participante in t.sim])
            if CONFIRMAR in quais:
                quedas.ponto("entre-confirmacoes", depois_de=participante.nome)
        if CONFIRMAR in quais:
            quedas.ponto("antes-do-fim")

    # --- o fim ---

    def esquecer_execucoes(self) -> None:
        """O fim: tudo o que foi aplicado é forçado ao disco, e só então o log pode esquecer.

        Fica no log a execução que deixa algo em dúvida, ou que pode ter deixado, e a que uma
        pessoa decidiu sem ele: se ela errou, ele é a prova.
        """
        ficam = set()
        for participante in self.participantes:
            participante.forcar_ao_disco(self.execucao)
            ficam |= participante.em_aberto()
        self.log.esquecer([e for e in self.log.execucoes() if e not in ficam])

    def forcadas(self) -> int:
        """Quantas vezes, desde o início, este programa esperou pelo disco."""
        return sum(banco.forcadas for banco in self.bancos)
