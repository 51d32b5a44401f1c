"""Quem falou com quem, em 80 colunas: o mesmo desenho conta a 2PC e a saga."""

from __future__ import annotations

from comum.tela import LARGURA, curto, visivel


class Raias:
    """Desenha quem falou com quem: uma raia por participante, o pedido em toda linha.

    nomes: os participantes, da esquerda para a direita.
    """

    MARGEM = 15  # as colunas do pedido; a primeira raia vem logo depois

    def __init__(self, nomes: list[str]):
        passo = (LARGURA - 2 - self.MARGEM) / (len(nomes) - 1)
        self.colunas = {nome: round(self.MARGEM + i * passo) for i, nome in enumerate(nomes)}

    def cabecalho(self) -> str:
        linha = [" "] * LARGURA
        linha[:6] = "pedido"
        for nome, coluna in self.colunas.items():
            inicio = min(coluna - len(nome) // 2, LARGURA - len(nome))
            linha[inicio:inicio + len(nome)] = nome
        return "".join(linha).rstrip()

    def seta(self, pedido: str, de: str, para: str, rotulo: str, traco: str = "─") -> str:
        """A mensagem `rotulo`, da raia `de` à raia `para` (traço "═": compensação)."""
        linha, a, b = self._vazia(pedido), self.colunas[de], self.colunas[para]
        esquerda, direita = min(a, b) + 1, max(a, b)
        vao = direita - esquerda - 1  # uma coluna é da ponta da seta
        texto = rotulo if len(rotulo) <= vao else rotulo[: vao - 1] + "…"
        if len(texto) + 2 <= vao:
            texto = f" {texto} "
        meio = texto.center(vao, traco)
        linha[esquerda:direita] = meio + "▶" if a < b else "◀" + meio
        linha[a] = {"─": "├┤", "═": "╞╡"}[traco][a > b]
        return "".join(linha).rstrip()

    def nota(self, pedido: str, raia: str, texto: str) -> str:
        """Algo que aconteceu dentro de uma raia, sem mensagem para ninguém."""
        linha, coluna = self._vazia(pedido), self.colunas[raia]
        linha[coluna] = "●"
        texto = visivel(texto)
        if coluna + 2 + len(texto) <= LARGURA:
            linha[coluna + 1:coluna + 3 + len(texto)] = f" {texto} "
            return "".join(linha)[:LARGURA].rstrip()
        espaco = coluna - self.MARGEM
        if len(texto) + 2 > espaco:  # não cabe de lado nenhum: fica com o maior
            if LARGURA - coluna - 2 >= espaco:
                linha[coluna + 1:] = f" {texto}"[: LARGURA - coluna - 2] + "…"
                return "".join(linha)
            texto = texto[: espaco - 3] + "…"
        linha[coluna - len(texto) - 2:coluna] = f" {texto} "
        return "".join(linha).rstrip()

    def _vazia(self, pedido: str) -> list[str]:
        linha = list(curto(visivel(pedido)).ljust(LARGURA))
        for coluna in self.colunas.values():
            linha[coluna] = "│"
        return linha
