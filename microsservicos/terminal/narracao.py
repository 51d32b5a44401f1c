"""O que um serviço conta no terminal dele: uma linha por evento, e uma por falha."""

from comum.tela import curto, dizer, visivel
from coreografia import Evento


class Narrador:
    """nome: o do serviço. mostrar: se cada evento vira uma linha; os avisos aparecem sempre."""

    def __init__(self, nome: str, mostrar: bool = True):
        self.nome, self.mostrar = nome, mostrar
        self.recomecar()

    def recomecar(self) -> None:
        """Esquece o que ia contar: antes de cada transação, e depois de uma que não valeu."""
        self.linhas: list[str] = []

    def evento(self, evento: Evento, novos: list[Evento] | None) -> None:
        """Um evento tratado e os que ele fez publicar (None: já tinha sido tratado)."""
        if self.mostrar:
            repetido = "  (repetido: já tratado, nada muda)" if novos is None else ""
            self.linhas.append(f"{curto(evento.pedido):12} ◀ {evento.tipo}{repetido}")
            self.linhas += [f"{curto(novo.pedido):12} ▶ {novo.tipo}" +
                            (f": {novo.dados['motivo']}" if "motivo" in novo.dados else "")
                            for novo in novos or ()]

    def avisar(self, texto: str) -> None:
        self.linhas.append(texto)

    def contar(self) -> None:
        """Mostra o que se juntou desde a última vez."""
        linhas = self.linhas
        self.recomecar()
        for linha in linhas:
            dizer(visivel(f"{self.nome:10} {linha}"), recuo=11)
