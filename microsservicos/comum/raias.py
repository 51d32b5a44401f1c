"""Quem falou com quem, em até 80 colunas: o mesmo desenho conta a 2PC e a saga.

Numa janela estreita demais para as raias, cada passo vira uma linha de texto.
"""

from comum.diagrama import Diagrama
from comum.tela import curto, largura, visivel

MAIOR, MENOR = 80, 60  # colunas: acima da maior o olho se perde; abaixo da menor nada cabe


class Raias:
    """Desenha quem falou com quem: uma raia por participante, o pedido em toda linha.

    nomes: os participantes, da esquerda para a direita. retida: como se desenha a raia de quem
    retém algo de algum pedido (uma trava, na 2PC; na saga, o que ainda pode ser compensado).
    diagrama: o arquivo em que também se anota cada passo, ou None.
    """

    MARGEM = 15  # as colunas do pedido; a primeira raia vem logo depois

    def __init__(self, nomes: list[str], retida: str = "┃", diagrama: Diagrama | None = None):
        self.nomes, self.retida, self.diagrama = list(nomes), retida, diagrama
        self._retencoes: set[tuple[str, str]] = set()

    def reter(self, raia: str, pedido: str, retem: bool = True) -> None:
        """Daqui em diante esta raia retém algo deste pedido, ou já não; repetir não muda nada."""
        if ((raia, pedido) in self._retencoes) != retem:
            self._retencoes ^= {(raia, pedido)}
            if self.diagrama:
                self.diagrama.reter(raia, retem)

    @property
    def colunas(self) -> dict[str, int]:
        passo = (_cabem() - 2 - self.MARGEM) / (len(self.nomes) - 1)
        return {nome: round(self.MARGEM + i * passo) for i, nome in enumerate(self.nomes)}

    def cabecalho(self) -> str:
        if largura() < MENOR:
            return "pedido · quem fala ▶ com quem: o quê"
        linha = list("pedido".ljust(_cabem()))
        for nome, coluna in self.colunas.items():
            inicio = min(coluna - len(nome) // 2, len(linha) - len(nome))
            linha[inicio:inicio + len(nome)] = nome
        return "".join(linha).rstrip()

    def seta(self, pedido: str, de: str, para: str, rotulo: str, traco: str = "─") -> str:
        """A mensagem `rotulo`, da raia `de` à raia `para` (traço "═": compensação)."""
        if self.diagrama:
            self.diagrama.seta(pedido, de, para, rotulo, traco)
        rotulo = visivel(rotulo)
        if largura() < MENOR:
            return self._em_texto(pedido, f"{de} {traco}▶ {para}: {rotulo}")
        linha, a, b = self._vazia(pedido), self.colunas[de], self.colunas[para]
        esquerda, direita = min(a, b) + 1, max(a, b)
        vao = direita - esquerda - 1  # uma coluna é da ponta da seta
        texto = curto(rotulo, vao)
        if len(texto) + 2 <= vao:
            texto = f" {texto} "
        meio = texto.center(vao, traco)
        linha[esquerda:direita] = meio + "▶" if a < b else "◀" + meio
        linha[a] = {"─": "├┤", "═": "╞╡"}[traco][a > b]
        return "".join(linha).rstrip()

    def nota(self, pedido: str, raia: str, texto: str) -> str:
        """Algo que aconteceu dentro de uma raia, sem mensagem para ninguém."""
        if self.diagrama:
            self.diagrama.nota(pedido, raia, texto)
        texto = visivel(texto)
        if largura() < MENOR:
            return self._em_texto(pedido, f"{raia} ● {texto}")
        linha, coluna = self._vazia(pedido), self.colunas[raia]
        a_direita, a_esquerda = len(linha) - coluna - 2, coluna - self.MARGEM - 2
        texto = curto(texto, max(a_direita, a_esquerda))  # se não cabe de lado nenhum
        linha[coluna] = "●"
        inicio = coluna + 1 if len(texto) <= a_direita else coluna - len(texto) - 2
        linha[inicio:inicio + len(texto) + 2] = f" {texto} "
        return "".join(linha)[:_cabem()].rstrip()

    def _em_texto(self, pedido: str, texto: str) -> str:
        retem = [raia for raia in self.nomes if self._retem(raia)]
        return f"{curto(visivel(pedido))} · {texto}" + (
            f" ({self.retida} {', '.join(retem)})" if retem else "")

    def _vazia(self, pedido: str) -> list[str]:
        linha = list(curto(visivel(pedido)).ljust(_cabem()))
        for nome, coluna in self.colunas.items():
            linha[coluna] = self.retida if self._retem(nome) else "│"
        return linha

    def _retem(self, raia: str) -> bool:
        return any(raia == uma for uma, _ in self._retencoes)


def _cabem() -> int:
    """Quantas colunas tem o desenho."""
    return min(largura(), MAIOR)
