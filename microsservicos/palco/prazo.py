"""Um prazo que só conta o tempo em que se esteve olhando."""

import time

PASSO = 1.0  # segundos: o máximo que uma olhada desconta


class Prazo:
    """Tantos segundos para alguém fazer alguma coisa, enquanto se olha para ele.

    segundos: quantos. Quem espera pergunta `acabou()` várias vezes por segundo. Se entre duas
    perguntas passou mais que um segundo, este programa esteve parado (Ctrl-Z, um computador que
    dormiu), e em geral os outros também: esse tempo não conta contra ninguém.
    """

    def __init__(self, segundos: float):
        self.segundos = segundos
        self.recomecar()

    def recomecar(self) -> None:
        self.restam, self.vista = self.segundos, time.monotonic()

    def acabou(self) -> bool:
        agora = time.monotonic()
        self.restam -= min(agora - self.vista, PASSO)
        self.vista = agora
        return self.restam < 0
