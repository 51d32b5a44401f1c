"""Um pedido numa tela: quem falou com quem, e, debaixo disso, o que cada banco diz dele.

O mesmo desenho conta a 2PC e a saga, em até 80 colunas. Numa janela estreita demais para as raias,
cada passo vira uma linha de texto. O mesmo passo pode ir também para um arquivo (Diagrama), na
linguagem Mermaid, que o GitHub desenha.
"""

import os
import shlex
from pathlib import Path

from comum.falha import Falha
from comum.opcoes import DADOS
from comum.tela import POUCOS, curto, dizer, largura, visivel

MAIOR, MENOR = 80, 60  # colunas: acima da maior o olho se perde; abaixo da menor nada cabe
CORES = {"concluido": "verde", "cancelado": "roxo"}  # um pedido sem resultado: vermelho
SETAS = {"─": "->>", "═": "-->>"}
# Num texto, o Mermaid tem o seu próprio uso para estes; pelo número, eles voltam a ser só texto.
ESPECIAIS = {ord(c): f"#{ord(c)};" for c in "#;<>&"}


class Diagrama:
    """O diagrama de sequência: as Raias lhe passam cada passo que desenham.

    Traço cheio: o protocolo anda para a frente; tracejado e com ↩: uma compensação. A barra sobre
    uma raia: enquanto ela retém algo. Escreve linha a linha, e já no arquivo: uma queda de
    propósito também deixa o seu diagrama.

    caminho: o arquivo (é recomeçado). raias: os participantes, da esquerda para a direita.
    pedidos: quantos serão desenhados. Levanta Falha (código 2) se são muitos, e OSError se não
    dá para escrever.
    """

    def __init__(self, caminho: str, raias: list[str], pedidos: int):
        if pedidos > POUCOS:  # ninguém leria o desenho, e o GitHub nem o faz
            raise Falha(f"--diagrama: cabem até {POUCOS} pedidos num desenho, "
                        f"e são {pedidos}", 2)
        open(caminho, "wb").close()
        self._caminho = caminho
        self._escrever("sequenceDiagram", *(f"    participant {nome}" for nome in raias))

    def seta(self, pedido: str, de: str, para: str, rotulo: str, traco: str = "─") -> None:
        """A mensagem `rotulo` que sai de `de` e chega a `para` (traço "═": compensação)."""
        volta = "↩ " if traco == "═" else ""
        self._escrever(f"    {de}{SETAS[traco]}{para}: {volta}{_texto(rotulo)} ({_texto(pedido)})")

    def nota(self, pedido: str, raia: str, texto: str) -> None:
        """Algo que aconteceu dentro de uma raia, sem mensagem para ninguém."""
        self._escrever(f"    Note over {raia}: {_texto(texto)} ({_texto(pedido)})")

    def reter(self, raia: str, retem: bool) -> None:
        """Esta raia passa a reter algo, ou deixa; o Mermaid recusaria um `deactivate` a mais."""
        self._escrever(f"    {'activate' if retem else 'deactivate'} {raia}")

    def _escrever(self, *linhas: str) -> None:
        with open(self._caminho, "a", encoding="utf-8", newline="\n") as arquivo:
            print(*linhas, sep="\n", file=arquivo)


def _texto(texto: str) -> str:
    return visivel(texto).translate(ESPECIAIS)


class Raias:
    """Desenha quem falou com quem: uma raia por participante, o pedido em toda linha.

    nomes: os participantes, da esquerda para a direita. retida: como se desenha a raia de quem
    retém algo de algum pedido (uma trava, na 2PC; na saga, o que ainda pode ser compensado).
    diagrama: o arquivo em que também se anota cada passo; sem um, /dev/null.
    """

    MARGEM = 15  # as colunas do pedido; a primeira raia vem logo depois

    def __init__(self, nomes: list[str], retida: str = "┃", diagrama: Diagrama | None = None):
        self.nomes, self.retida = list(nomes), retida
        self.diagrama = diagrama or Diagrama(os.devnull, nomes, 0)
        self._retencoes: dict[str, set[str]] = {nome: set() for nome in nomes}  # os pedidos

    def reter(self, raia: str, pedido: str, retem: bool = True) -> None:
        """Daqui em diante esta raia retém algo deste pedido, ou já não; repetir não muda nada."""
        if (pedido in self._retencoes[raia]) != retem:
            self._retencoes[raia] ^= {pedido}
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
        retem = [raia for raia in self.nomes if self._retencoes[raia]]
        return f"{curto(visivel(pedido))} · {texto}" + (
            f" ({self.retida} {', '.join(retem)})" if retem else "")

    def _vazia(self, pedido: str) -> list[str]:
        linha = list(curto(visivel(pedido)).ljust(_cabem()))
        for nome, coluna in self.colunas.items():
            linha[coluna] = self.retida if self._retencoes[nome] else "│"
        return linha


def _cabem() -> int:
    """Quantas colunas tem o desenho."""
    return min(largura(), MAIOR)


def relatar(fatos: list[tuple[str, str]], pedido: str, estado: str,
            motivo: str | None) -> None:
    """O que cada banco diz, e como o pedido está. fatos: [(banco, o que ele diz)]."""
    dizer()
    for banco, fato in fatos:
        dizer(visivel(f"  {banco:14} {fato}"), recuo=17)
    dizer(visivel(f"  {curto(pedido)}: {estado}{f': {motivo}' if motivo else ''}"),
          CORES.get(estado, "vermelho"))


def relatar_espera(texto: str, comandos: list[str], dados: Path) -> None:
    """O que o pedido espera, e os comandos, inteiros, que o fazem andar. dados: a de --dados."""
    da_pasta = "" if dados.resolve() == DADOS else f" --dados {shlex.quote(str(dados))}"
    dizer(visivel(f"  espera: {texto}" + (":" if comandos else "")), recuo=10)
    for comando in comandos:
        dizer(f"      python {comando}{da_pasta}", inteira=True)
