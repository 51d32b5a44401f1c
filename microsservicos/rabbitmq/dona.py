"""Uma loja, um vhost: as filas e o exchange pertencem a uma pasta de dados.

Duas lojas num vhost comeriam os eventos uma da outra. A identidade da loja (comum/identidade.py)
é, no broker, o argumento de uma fila: ele mesmo o compara a cada declaração, e recusa outro (406).
(Manual do RabbitMQ, "Queues", seção "Declaration and Property Equivalence".)
"""

from __future__ import annotations

FILA = "loja.dona"  # nunca recebe nada


def declarar_dona(canal, loja: str, callback=None) -> None:
    """Toma o vhost para a loja, se é de ninguém; se é de outra, o broker encerra o canal (406)."""
    canal.queue_declare(FILA, durable=True, arguments={
        "x-queue-type": "quorum", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": loja},
        callback=callback)
