"""Quem assiste ao protocolo: desenha as raias na tela e, se pedido, um diagrama Mermaid.

O coordenador conta cada passo uma vez; daqui saem todos os desenhos.
"""

from __future__ import annotations

from tela import Raias, dizer, em_portugues, visivel

RAIAS = ["Coordenador", "Pedidos", "Estoque", "Pagamentos", "Envio"]


class Narrador:
    """desenhar: se a tela mostra as raias. diagrama: arquivo Mermaid a escrever, ou None. Levanta Falha."""

    def __init__(self, desenhar: bool, diagrama: str | None = None):
        self.raias = Raias(RAIAS) if desenhar else None
        self.cabecalho_dito = False
        self.diagrama = None
        if diagrama:
            try:
                self.diagrama = open(diagrama, "w", encoding="utf-8")
            except OSError as erro:
                raise em_portugues(erro, diagrama) from erro
            self._escrever("sequenceDiagram", *(f"    participant {nome}" for nome in RAIAS))

    def narrar(self, pedido: str, de: str, para: str | None, texto: str, cor: str | None = None) -> None:
        """Um passo: a mensagem `texto` de uma raia a outra, ou (para=None) algo dentro da raia `de`."""
        if self.raias:
            if not self.cabecalho_dito:
                dizer(self.raias.cabecalho(), "forte")
                self.cabecalho_dito = True
            dizer(self.raias.seta(pedido, de, para, visivel(texto)) if para else
                  self.raias.nota(pedido, de, texto), cor)
        if self.diagrama:
            # No Mermaid, ";" e "#" dentro de um texto encerram a mensagem.
            limpo = visivel(texto).replace("#", "nº").replace(";", ",")
            self._escrever(f"    {de}->>{para}: {limpo} ({pedido})" if para else f"    Note over {de}: {limpo} ({pedido})")

    def _escrever(self, *linhas: str) -> None:
        # Linha a linha, e já no arquivo: uma queda de propósito também deixa o seu diagrama.
        self.diagrama.write("\n".join(linhas) + "\n")
        self.diagrama.flush()
