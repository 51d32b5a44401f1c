"""Manter um serviço ligado ao broker até Ctrl-C, e dizer cada tropeço uma vez só.

Uma conexão que cai é refeita, com pausas que dobram. Uma publicação recusada não é motivo para
reconectar: a rota dela espera, e as outras seguem.
"""

import random
import time
from typing import Callable

from comum.falha import Falha
from comum.tela import alertar, dizer
from coreografia import EVENTOS, quem_ouve
from rabbitmq.acesso import BrokerFora, onde
from rabbitmq.canal import Canal

PRIMEIRA_PAUSA, MAIOR_PAUSA = 0.2, 5.0  # segundos antes de reconectar; dobra a cada vez
PAUSA_DA_ROTA = 1.0  # segundos antes de insistir no que o broker recusou guardar
CONEXAO = "conexão"  # um assunto; os outros são de quem chama, e as rotas


class Reconexao:
    """Mantém um serviço ligado.

    nome: o do serviço e da fila. loja: de quem o vhost tem de ser (filas.py).
    vigiar: chamada antes de cada pausa.
    """

    def __init__(self, nome: str, loja: str | None, vigiar: Callable[[], None] = lambda: None):
        self.nome, self.loja, self.vigiar = nome, loja, vigiar
        # assunto -> (o que já se disse dele, quando insistir), enquanto dura
        self.tropecos: dict[str, tuple[str, float]] = {}
        self.ja_esteve = False

    def manter(self, volta: Callable[[Canal], None]) -> None:
        """Repete `volta(canal)` para sempre, reconectando quando a ligação cai.

        Uma recusa do broker passa adiante se é a primeira conexão; depois, espera-se que alguém a
        desfaça. A Falha que `volta` levanta diz no seu `assunto` o que falhou, se não é a conexão.
        """
        pausa = PRIMEIRA_PAUSA
        while True:
            try:
                with Canal(self.nome, self.loja) as canal:
                    if not self.ja_esteve:
                        self.ja_esteve = True
                        self.pronto()
                    while True:
                        volta(canal)
                        if CONEXAO in self.tropecos:
                            self.pronto()
                        if not self.tropecos:
                            pausa = PRIMEIRA_PAUSA
            except Falha as falha:
                if not (self.ja_esteve or isinstance(falha, BrokerFora)):
                    raise
                self.tropecou(getattr(falha, "assunto", CONEXAO),
                              f"{falha}; continuo tentando (Ctrl-C encerra)")
            self.vigiar()
            time.sleep(pausa * random.uniform(0.5, 1))  # o acaso evita que todos voltem juntos
            pausa = min(pausa * 2, MAIOR_PAUSA)

    def pronto(self) -> None:
        self.tropecos.pop(CONEXAO, None)
        # palco/lancador.py espera por esta linha.
        dizer(f"{self.nome}: pronto, ouvindo a fila «{self.nome}» em {onde()}")

    # --- dizer uma vez ---

    def tropecou(self, assunto: str, texto: str, pausa: float = 0) -> None:
        """Diz o que houve, se ainda não foi dito; dura até passou(assunto).

        pausa: segundos em que não adianta insistir.
        """
        dito, _ = self.tropecos.get(assunto, ("", 0))
        self.tropecos[assunto] = texto, time.monotonic() + pausa
        if texto != dito:
            alertar(f"{self.nome}: {texto}")

    def passou(self, assunto: str, texto: str) -> None:
        """O assunto se resolveu; diz isso, se o tropeço tinha sido dito."""
        if self.tropecos.pop(assunto, None):
            dizer(f"{self.nome}: {texto}")

    # --- o que o broker recusa guardar ---

    def responderam(self, rotas: list[str], recusadas: set[int]) -> None:
        """O broker respondeu por um lote. rotas: a de cada mensagem. recusadas: posições nele."""
        ruins = {rotas[posicao] for posicao in recusadas}
        for rota in ruins:
            filas = quem_ouve(rota) if rota in EVENTOS else [rota]
            self.tropecou(rota, f"o RabbitMQ em {onde()} recusou guardar {rota} na fila "
                          f"{' e '.join(f'«{fila}»' for fila in filas)}: ela está cheia "
                          "(max-length) ou trocando de líder; guardo aqui e insisto aos poucos "
                          "(Ctrl-C encerra)", PAUSA_DA_ROTA)
        for rota in {*rotas} - ruins:
            self.passou(rota, f"o RabbitMQ voltou a aceitar {rota}")

    def em_pausa(self) -> list[str]:
        """As rotas recusadas em que ainda não é hora de insistir."""
        return [rota for rota, (_, quando) in self.tropecos.items() if time.monotonic() < quando]
