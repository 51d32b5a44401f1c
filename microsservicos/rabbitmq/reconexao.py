"""Manter um serviço ligado ao broker até Ctrl-C, e dizer cada tropeço uma vez só.

Uma conexão que cai é refeita, com pausas que dobram. Uma publicação recusada não é motivo para
reconectar: a rota dela espera, e as outras seguem.
"""

import random
import time
from typing import Callable

from comum.tela import alertar, dizer
from coreografia import EVENTOS, quem_ouve
from rabbitmq.canal import Canal
from rabbitmq.conexao import onde
from rabbitmq.erros import BrokerRecusa, Passageira

PRIMEIRA_PAUSA, MAIOR_PAUSA = 0.2, 5.0  # segundos antes de reconectar; dobra a cada vez
PAUSA_DA_ROTA = 1.0  # segundos antes de insistir no que o broker recusou guardar
CONEXAO = "conexão"  # um assunto; os outros são de quem chama, e as rotas


class Reconexao:
    """Mantém um serviço ligado.

    nome: o do serviço e da fila. loja: de quem o vhost tem de ser (filas.py).
    vigiar: chamada a cada meio segundo de pausa.
    """

    def __init__(self, nome: str, loja: str | None, vigiar: Callable[[], None] = lambda: None):
        self.nome, self.loja, self.vigiar = nome, loja, vigiar
        self.ditos: dict[str, str] = {}  # assunto -> o que já se disse dele, enquanto dura
        self.insistir: dict[str, float] = {}  # rota recusada -> quando (monotônico)
        self.ja_esteve = False

    def manter(self, volta: Callable[[Canal], None]) -> None:
        """Repete `volta(canal)` para sempre, reconectando quando a ligação cai.

        Uma recusa do broker passa adiante se é a primeira conexão; depois, espera-se que alguém a
        desfaça. Outra Falha passa sempre.
        """
        pausa = PRIMEIRA_PAUSA
        while True:
            try:
                with Canal(self.nome, self) as canal:
                    if not self.ja_esteve:
                        self.ja_esteve = True
                        self.pronto()
                    while True:
                        volta(canal)
                        if CONEXAO in self.ditos:
                            self.pronto()
                        if not self.ditos:
                            pausa = PRIMEIRA_PAUSA
            except (Passageira, BrokerRecusa) as falha:
                if not self.ja_esteve and isinstance(falha, BrokerRecusa):
                    raise
                self.tropecou(getattr(falha, "assunto", CONEXAO),
                              f"{falha}; continuo tentando (Ctrl-C encerra)")
            self.dormir(pausa * random.uniform(0.5, 1))  # o acaso evita que todos voltem juntos
            pausa = min(pausa * 2, MAIOR_PAUSA)

    def pronto(self) -> None:
        self.ditos.pop(CONEXAO, None)
        dizer(f"{self.nome}: pronto, ouvindo a fila «{self.nome}» em {onde()}")

    # --- dizer uma vez ---

    def tropecou(self, assunto: str, texto: str) -> None:
        """Diz o que houve, se ainda não foi dito; dura até passou(assunto)."""
        dito = any(texto.split(";")[0] == outro.split(";")[0] for outro in self.ditos.values())
        if not dito:
            self.ditos[assunto] = texto
            alertar(f"{self.nome}: {texto}")

    def passou(self, assunto: str, texto: str) -> None:
        """O assunto se resolveu; diz isso, se o tropeço tinha sido dito."""
        if self.ditos.pop(assunto, None):
            dizer(f"{self.nome}: {texto}")

    # --- o que o broker recusa guardar ---

    def responderam(self, rotas: list[str], recusadas: set[int]) -> None:
        """O broker respondeu por um lote. rotas: a de cada mensagem. recusadas: posições nele."""
        ruins = {rotas[posicao] for posicao in recusadas}
        for rota in ruins:
            self.insistir[rota] = time.monotonic() + PAUSA_DA_ROTA
            filas = quem_ouve(rota) if rota in EVENTOS else [rota]
            self.tropecou(rota, f"o RabbitMQ em {onde()} recusou guardar {rota} na fila "
                          f"{' e '.join(f'«{fila}»' for fila in filas)}: ela está cheia "
                          "(max-length) ou trocando de líder; guardo aqui e insisto aos poucos "
                          "(Ctrl-C encerra)")
        for rota in self.insistir.keys() & set(rotas) - ruins:
            del self.insistir[rota]
            self.passou(rota, f"o RabbitMQ voltou a aceitar {rota}")

    def em_pausa(self) -> list[str]:
        """As rotas recusadas em que ainda não é hora de insistir."""
        return [rota for rota, quando in self.insistir.items() if time.monotonic() < quando]

    def dormir(self, segundos: float) -> None:
        fim = time.monotonic() + segundos
        while (falta := fim - time.monotonic()) > 0:
            self.vigiar()
            time.sleep(min(falta, 0.5))
