"""O diagrama de sequência do que acabou de acontecer, na linguagem Mermaid, que o GitHub desenha.

As Raias da tela passam a um Diagrama cada passo que desenham, e ele o escreve num arquivo. Traço
cheio: o protocolo anda para a frente; tracejado e com ↩: uma compensação. A barra sobre uma raia:
enquanto ela retém algo.
"""

from comum.falha import Falha
from comum.tela import visivel

MAIS_PEDIDOS = 4  # acima disso ninguém lê o desenho, e o GitHub nem o faz
SETAS = {"─": "->>", "═": "-->>"}
# Num texto, o Mermaid tem o seu próprio uso para estes; pelo número, eles voltam a ser só texto.
ESPECIAIS = {ord(c): f"#{ord(c)};" for c in "#;<>&"}


class Diagrama:
    """Escreve linha a linha, e já no arquivo: uma queda de propósito também deixa o seu diagrama.

    caminho: o arquivo (é recomeçado). raias: os participantes, da esquerda para a direita.
    pedidos: quantos serão desenhados. Levanta Falha (código 2) se são muitos, e OSError se não
    dá para escrever.
    """

    def __init__(self, caminho: str, raias: list[str], pedidos: int):
        if pedidos > MAIS_PEDIDOS:
            raise Falha(f"--diagrama: cabem até {MAIS_PEDIDOS} pedidos num desenho, "
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
            arquivo.write("\n".join(linhas) + "\n")


def _texto(texto: str) -> str:
    return visivel(texto).translate(ESPECIAIS)
