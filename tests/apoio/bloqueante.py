"""A conexão que os testes usam para pôr a mão nas filas: a BlockingConnection do pika, e só aqui.

O projeto não a usa. O pika 1.5 avisa que ela sai no 2.0; quando sair, é este arquivo que muda.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import pika
import pytest

from conftest import carregar


def conectar(url: str, **opcoes) -> pika.BlockingConnection:
    """Uma conexão com o broker de `url`; `opcoes` troca parâmetros, como heartbeat=0."""
    endereco = pika.URLParameters(url)
    for nome, valor in opcoes.items():
        setattr(endereco, nome, valor)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "BlockingConnection is deprecated", DeprecationWarning)
        return pika.BlockingConnection(endereco)


@contextmanager
def no_endereco(url: str):
    """O que roda dentro do bloco, neste processo, usa este RABBITMQ_URL."""
    with pytest.MonkeyPatch.context() as ambiente:
        ambiente.setenv("RABBITMQ_URL", url)
        yield


def declarar(url: str, loja: str | None = None) -> None:
    """Cria as filas e o exchange do projeto, como um serviço da loja (ou de ninguém) faria."""
    with no_endereco(url):
        carregar("microsservicos", "canal").Plateia("plateia", loja).fechar()
