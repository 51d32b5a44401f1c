"""Mortes de verdade, num ponto escolhido: sem `finally`, sem `atexit`, sem fechar o SQLite.

É assim que se vê o que um protocolo promete.
"""

import os
import signal

from comum.tela import dizer

PONTOS = {
    "antes-de-preparar": "o coordenador tem o pedido e ainda não falou com ninguém",
    "entre-votos": "Estoque acaba de votar; os seguintes não sabem de nada",
    "antes-da-decisao": "todos votaram SIM; a decisão não está no log",
    "depois-da-decisao": "CONFIRMAR está no log; ninguém foi avisado",
    "entre-confirmacoes": "Estoque e Pagamentos confirmaram; Envio e Pedidos não",
    "antes-do-fim": "todos confirmaram; o log ainda guarda a decisão",
    "antes-do-aborto": "um NÃO (--cenario envio-recusado); ninguém foi avisado",
    "na-recuperacao": "a recuperação resolveu só num dono (com algo em dúvida)",
}
DEPOIS_DE = {"entre-votos": "Estoque", "entre-confirmacoes": "Pagamentos"}

armado: str | None = None  # o ponto em que o processo morre


def ponto(nome: str, depois_de: str | None = None) -> None:
    """O protocolo passa por aqui; depois_de: o participante que acabou de responder."""
    if nome == armado and DEPOIS_DE.get(nome) == depois_de:
        dizer(f"--cair-em {nome}: o processo morre aqui", "vermelho")
        os.kill(os.getpid(), signal.SIGKILL)
