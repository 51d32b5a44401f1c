"""Publica uma mensagem à mão: uma repetida, ou uma que ninguém entende.

    python tests/aula/publicar.py pedido.criado p-1               o evento do pedido p-1, de novo
    python tests/aula/publicar.py pedido.criado p-9 --corpo oi    o mesmo envelope, com este corpo

O evento sai como o serviço dele o publicaria para um pedido do cenário sucesso.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "microsservicos"))

from rabbitmq import filas
from rabbitmq.canal import Publicador, envelope
from comum.opcoes import Opcoes
from coreografia import EVENTOS, Evento
from comum.loja import CENARIOS
from servico_pedidos import PRECOS
from comum.tela import dizer, executar


def evento(tipo: str, pedido: str) -> Evento:
    dados = {"pedido": pedido, "motivo": "publicado à mão"}
    if EVENTOS[tipo][2] == "pedido":
        sucesso = CENARIOS["sucesso"]
        total = sum(PRECOS[item["produto"]] * item["quantidade"] for item in sucesso["itens"])
        dados = {"pedido": pedido, **sucesso, "total": total}
    return Evento(tipo, pedido, dados)


def publicar(publicador: Publicador, evento: Evento, corpo: str | None = None) -> None:
    """corpo: em vez do JSON do evento. A mensagem sai quando se esperam as respostas do broker."""
    propriedades = envelope(evento.tipo, evento.pedido, None, int(time.time()))
    corpo = corpo or json.dumps(evento.dados)
    publicador.enfileirar(filas.EXCHANGE, evento.tipo, corpo, propriedades, mandatory=True)


def main() -> int:
    opcoes = Opcoes(__doc__)
    opcoes.add_argument("tipo", metavar="EVENTO", choices=EVENTOS,
                        help="um dos eventos da coreografia")
    opcoes.add_argument("pedido", metavar="PEDIDO", help="o id do pedido")
    opcoes.add_argument("--corpo", metavar="TEXTO",
                        help="o corpo da mensagem, no lugar do JSON do evento")
    escolha = opcoes.parse_args()
    novo = evento(escolha.tipo, escolha.pedido)
    with Publicador("publicar.py") as publicador:
        filas.declarar(publicador)
        publicar(publicador, novo, escolha.corpo)
        publicador.esperar_respostas()
    dizer(f"publiquei {novo.mensagem}")
    return 0


if __name__ == "__main__":
    executar(main)
