"""Quem assiste ao protocolo: desenha as raias na tela e, se pedido, um diagrama Mermaid.

O coordenador conta cada passo uma vez; daqui saem todos os desenhos. Uma raia grossa (┃) é a de
um participante que tem algo travado: do SIM dele até a decisão chegar.
"""

import time

from comum.raias import Diagrama, Raias
from comum.tela import curto, dizer
from decisoes import CONFIRMAR, Decisao

COORDENADOR = "Coordenador"
RAIAS = [COORDENADOR, "Pedidos", "Estoque", "Pagamentos", "Envio"]
LEGENDA = "tem algo travado: do SIM até a decisão chegar"
AVISOS = {True: ("confirmar", "verde"), False: ("abortar", "vermelho")}


class Narrador:
    """desenhar: se a tela mostra as raias; se não, é um narrador calado: os pedidos são muitos.

    diagrama: o arquivo Mermaid em que também se anota o desenho, ou None.
    devagar: segundos entre dois passos do desenho.
    """

    def __init__(self, desenhar: bool, diagrama: Diagrama | None = None, devagar: float = 0.0):
        self.raias = Raias(RAIAS, diagrama=diagrama) if desenhar else None
        self.devagar, self.cabecalho_dito = devagar, False

    # --- o protocolo ---

    def preparar(self, t, participante) -> None:
        if not t.desde:  # quem volta de uma espera já tinha sido perguntado
            self.seta(t.id, COORDENADOR, participante.nome, "preparar")

    def sim(self, t, participante, linhas: list[str]) -> None:
        self.reter(participante.nome, t.id)
        self.nota(t.id, participante.nome, f"trava {nomes_curtos(linhas)}", "fraco")
        self.seta(t.id, participante.nome, COORDENADOR, "SIM", "verde")

    def nao(self, t, participante, motivo: str) -> None:
        if participante.responde:
            self.seta(t.id, participante.nome, COORDENADOR, f"NÃO: {motivo}", "vermelho")

    def espera(self, t, participante, voto) -> None:
        texto = f"espera {nomes_curtos(voto.linhas)}, com {curto(voto.do_pedido)}"
        self.nota(t.id, participante.nome, texto, "roxo")

    def decidiu(self, t) -> None:
        if t.decisao.qual == CONFIRMAR:
            self.nota(t.id, COORDENADOR, "CONFIRMAR, forçado ao log", "verde")
        else:
            self.nota(t.id, COORDENADOR, f"ABORTAR: {t.decisao.motivo}", "vermelho")

    def aviso(self, id: str, nome: str, decisao: Decisao) -> None:
        """A decisão chega a um participante, e ele solta o que travava."""
        self.seta(id, COORDENADOR, nome, *AVISOS[decisao.qual == CONFIRMAR])
        self.reter(nome, id, False)

    # --- o desenho ---

    def seta(self, id: str, de: str, para: str, texto: str, cor=None) -> None:
        if self.raias:
            self._desenhar(self.raias.seta(id, de, para, texto), cor)

    def nota(self, id: str, raia: str, texto: str, cor=None) -> None:
        if self.raias:
            self._desenhar(self.raias.nota(id, raia, texto), cor)

    def reter(self, raia: str, id: str, retem: bool = True) -> None:
        if self.raias:
            self.raias.reter(raia, id, retem)

    def _desenhar(self, linha: str, cor: str | None) -> None:
        if not self.cabecalho_dito:
            dizer(f"{self.raias.retida} {LEGENDA}", "fraco")
            dizer(self.raias.cabecalho(), "forte")
            self.cabecalho_dito = True
        dizer(linha, cor)
        time.sleep(self.devagar)


def nomes_curtos(linhas: list[str]) -> str:
    """As linhas como uma pessoa as lê: "livro", "ana", o começo de um id."""
    return ", ".join(curto(linha.split("/", 1)[1]) for linha in linhas)
