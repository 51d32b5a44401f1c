"""Quem assiste ao protocolo: desenha as raias na tela e, se pedido, um diagrama Mermaid.

O coordenador conta cada passo uma vez; daqui saem todos os desenhos.
"""

from __future__ import annotations

from comum.diagrama import Diagrama
from comum.raias import Raias
from comum.tela import dizer, visivel

RAIAS = ["Coordenador", "Pedidos", "Estoque", "Pagamentos", "Envio"]


class Narrador:
    """desenhar: se a tela mostra as raias. diagrama: o arquivo Mermaid aberto, ou None."""

    def __init__(self, desenhar: bool, diagrama: Diagrama | None = None):
        self.raias = Raias(RAIAS) if desenhar else None
        self.cabecalho_dito = False
        self.diagrama = diagrama

    def narrar(self, pedido: str, de: str, para: str | None, texto: str, cor=None) -> None:
        """Um passo: a mensagem `texto` de uma raia a outra, ou (para=None) algo dentro de `de`."""
        if self.raias:
            if not self.cabecalho_dito:
                dizer(self.raias.cabecalho(), "forte")
                self.cabecalho_dito = True
            dizer(self.raias.seta(pedido, de, para, visivel(texto)) if para else
                  self.raias.nota(pedido, de, texto), cor)
        if self.diagrama:
            if para:
                self.diagrama.seta(pedido, de, para, texto)
            else:
                self.diagrama.nota(pedido, de, texto)
