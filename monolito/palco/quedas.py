"""Mortes de verdade, na hora escolhida: sem `finally`, sem `atexit`, sem fechar o SQLite.

É assim que se vê o que um protocolo promete. Há duas maneiras de escolher a hora:
um ponto com nome (`--cair-em`), para a aula, ou o número de um passo durável
(a variável CAIR_NO_PASSO), para varrer todos sem esquecer nenhum.
"""

from __future__ import annotations

import os
import signal

from comum.tela import dizer

PONTOS = {
    "antes-de-preparar": "o coordenador tem o pedido e ainda não falou com ninguém",
    "entre-votos": "Pedidos e Estoque votaram SIM; os outros não sabem de nada",
    "antes-da-decisao": "todos votaram SIM; a decisão não está no log",
    "depois-da-decisao": "CONFIRMAR está no log; ninguém foi avisado",
    "entre-confirmacoes": "Estoque e Pagamentos confirmaram; Envio e Pedidos não",
    "antes-do-fim": "todos confirmaram; o log ainda guarda a decisão",
    "antes-do-aborto": "alguém votou NÃO (num cenário recusado); ninguém foi avisado",
    "na-recuperacao": "a recuperação resolveu num participante; faltam os outros",
}

_ponto: str | None = None
_faltam = int(os.environ.get("CAIR_NO_PASSO") or 0)


def armar(nome: str | None) -> None:
    """A partir de agora, passar pelo ponto `nome` mata o processo."""
    global _ponto
    _ponto = nome


def ponto(nome: str) -> None:
    if nome == _ponto:
        dizer(f"--cair-em {nome}: o processo morre aqui", "vermelho")
        morrer()


def passo() -> None:
    """Chamado antes e depois de cada COMMIT que grava algo, e depois de cada fsync."""
    global _faltam
    if _faltam:
        _faltam -= 1
        if not _faltam:
            morrer()


def morrer() -> None:
    # No Windows não há SIGKILL; lá, qualquer sinal enviado assim é um TerminateProcess.
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
