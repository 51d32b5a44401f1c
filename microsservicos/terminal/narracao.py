"""O que um serviço conta no terminal dele: uma linha por evento, um resumo numa enxurrada."""

import time

from comum.tela import curto, dizer, visivel
from coreografia import Evento


class Limitador:
    """Deixa passar poucas linhas por segundo: uma enxurrada vira um resumo, e a tela não afoga.

    por_segundo: quantas linhas, no máximo, em cada segundo.
    """

    def __init__(self, por_segundo: int = 40):
        self.por_segundo, self.inicio, self.passaram, self.retidas = por_segundo, 0.0, 0, 0

    def passar(self, linhas: list[str]) -> list[str]:
        """As linhas que podem ir à tela agora; com [], só o resumo do retido, se já for hora."""
        agora = time.monotonic()
        if agora - self.inicio >= 1:
            self.inicio, self.passaram = agora, 0
            if self.retidas:
                resumo = f"… mais {self.retidas} eventos, sem uma linha para cada um …"
                linhas, self.retidas = [resumo, *linhas], 0
        vao = linhas[: max(self.por_segundo - self.passaram, 0)]
        self.passaram += len(vao)
        self.retidas += len(linhas) - len(vao)
        return vao


class Narrador:
    """nome: o do serviço. mostrar: se cada evento vira uma linha; os avisos aparecem sempre."""

    def __init__(self, nome: str, mostrar: bool = True):
        self.nome, self.mostrar = nome, mostrar
        self.limitador, self.limitador_dos_avisos = Limitador(), Limitador()
        self.recomecar()

    def recomecar(self) -> None:
        """Esquece o que ia contar: a transação em que isso aconteceu não valeu, ou começa outra."""
        self.linhas: list[str] = []
        self.avisos: list[str] = []  # o que deu errado: os eventos comuns não o afogam

    def evento(self, evento: Evento, novos: list[Evento] | None) -> None:
        """Um evento tratado e os que ele fez publicar (None: já tinha sido tratado)."""
        if self.mostrar:
            repetido = "  (repetido: já tratado, nada muda)" if novos is None else ""
            self.linhas.append(f"{curto(evento.pedido):12} ◀ {evento.tipo}{repetido}")
            self.linhas += [f"{curto(novo.pedido):12} ▶ {novo.tipo}" +
                            (f": {novo.dados['motivo']}" if "motivo" in novo.dados else "")
                            for novo in novos or ()]

    def avisar(self, texto: str) -> None:
        self.avisos.append(texto)

    def contar(self) -> None:
        """Mostra o que se juntou desde a última vez; sem nada, o resumo que já for hora de dar."""
        avisos, linhas = self.avisos, self.linhas
        self.recomecar()
        for linha in self.limitador_dos_avisos.passar(avisos) + self.limitador.passar(linhas):
            dizer(visivel(f"{self.nome:10} {linha}"), recuo=11)
