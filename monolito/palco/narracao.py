"""Quem assiste ao protocolo: desenha as raias na tela e, se pedido, um diagrama Mermaid.

O coordenador conta cada passo uma vez; daqui saem todos os desenhos. Uma raia grossa (┃) é a de
um participante que tem algo travado: do SIM dele até a decisão chegar.
"""

from __future__ import annotations

import time

from comum.diagrama import Diagrama
from comum.raias import Raias
from comum.tela import curto, dizer, visivel
from decisoes import CONFIRMAR, Decisao

EU = "Coordenador"
RAIAS = [EU, "Pedidos", "Estoque", "Pagamentos", "Envio"]
LEGENDA = "tem algo travado: do SIM até a decisão chegar"


class Narrador:
    """desenhar: se a tela mostra as raias. diagrama: o arquivo Mermaid aberto, ou None.

    devagar: segundos entre dois passos do desenho.
    """

    def __init__(self, desenhar: bool, diagrama: Diagrama | None = None, devagar: float = 0.0):
        self.raias = Raias(RAIAS) if desenhar else None
        self.diagrama, self.devagar, self.cabecalho_dito = diagrama, devagar, False
        self.calado = not (desenhar or diagrama)

    # --- o protocolo ---

    def preparar(self, t, participante) -> None:
        if not (self.calado or t.trava):
            self._seta(t.pedido["pedido"], EU, participante.nome, "preparar")

    def sim(self, t, participante, linhas: list[str]) -> None:
        if self.calado:
            return
        pedido = t.pedido["pedido"]
        self._reter(participante.nome, pedido)
        self._nota(pedido, participante.nome, f"trava {travadas(linhas)}", "fraco")
        self._seta(pedido, participante.nome, EU, "SIM", "verde")

    def nao(self, t, participante, motivo: str) -> None:
        if not self.calado:
            self._seta(t.pedido["pedido"], participante.nome, EU, f"NÃO: {motivo}", "vermelho")

    def espera(self, t, participante, voto) -> None:
        if not self.calado:
            com = f", com {curto(voto.motivo)}" if voto.motivo else ""
            self._nota(t.pedido["pedido"], participante.nome,
                       f"espera {travadas(voto.linhas)}{com}", "roxo")

    def decidiu(self, t) -> None:
        if self.calado:
            return
        if t.decisao.qual == CONFIRMAR:
            self._nota(t.pedido["pedido"], EU, "CONFIRMAR, forçado ao log", "verde")
        else:
            self._nota(t.pedido["pedido"], EU, f"ABORTAR: {t.decisao.motivo}", "vermelho")

    def avisar(self, t, participante) -> None:
        if not self.calado:
            self.aviso(t.pedido["pedido"], participante.nome, t.decisao)

    def aviso(self, pedido: str, nome: str, decisao: Decisao) -> None:
        """A decisão chega a um participante, e ele solta o que travava."""
        if self.calado:
            return
        verbo, cor = (("confirmar", "verde") if decisao.qual == CONFIRMAR else
                      ("abortar", "vermelho"))
        self._seta(pedido, EU, nome, verbo, cor)
        self._soltar(nome, pedido)

    def forcadas(self, t, quantas: int) -> None:
        if not self.calado:
            self._nota(t.pedido["pedido"], EU, f"gravações forçadas: {quantas}", "fraco")

    # --- a recuperação ---

    def ja_travado(self, achadas: dict[str, tuple]) -> None:
        """O que quem morreu deixou em dúvida. achadas: o que participante.em_duvida() devolve."""
        for _, pedido, onde in achadas.values():
            for participante in onde:
                self._reter(participante.nome, pedido)

    def em_duvida(self, achadas: dict[str, tuple]) -> None:
        if self.calado:
            return
        for _, pedido, onde in achadas.values():
            for participante in onde:
                self._seta(pedido, participante.nome, EU, "em dúvida?", "roxo")

    def log_diz(self, pedido: str, decisao: Decisao) -> None:
        if self.calado:
            return
        texto, cor = (("o log tem CONFIRMAR", "verde") if decisao.qual == CONFIRMAR else
                      ("o log não tem decisão: aborto presumido", "vermelho"))
        self._nota(pedido, EU, texto, cor)

    # --- os desenhos ---

    def _seta(self, pedido: str, de: str, para: str, texto: str, cor=None) -> None:
        if self.raias:
            self._desenhar(self.raias.seta(pedido, de, para, visivel(texto)), cor)
        if self.diagrama:
            self.diagrama.seta(pedido, de, para, texto)

    def _nota(self, pedido: str, raia: str, texto: str, cor=None) -> None:
        if self.raias:
            self._desenhar(self.raias.nota(pedido, raia, texto), cor)
        if self.diagrama:
            self.diagrama.nota(pedido, raia, texto)

    def _desenhar(self, linha: str, cor: str | None) -> None:
        if not self.cabecalho_dito:
            dizer(self.raias.legenda(LEGENDA), "fraco")
            dizer(self.raias.cabecalho(), "forte")
            self.cabecalho_dito = True
        dizer(linha, cor)
        time.sleep(self.devagar)

    def _reter(self, raia: str, pedido: str) -> None:
        for desenho in filter(None, (self.raias, self.diagrama)):
            desenho.reter(raia, pedido)

    def _soltar(self, raia: str, pedido: str) -> None:
        for desenho in filter(None, (self.raias, self.diagrama)):
            desenho.soltar(raia, pedido)


def travadas(linhas: list[str]) -> str:
    """As linhas como uma pessoa as lê: "livro", "ana", o começo de um id."""
    return ", ".join(curto(linha.split("/", 1)[1]) for linha in linhas)
