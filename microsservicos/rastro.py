"""Onde um pedido parou: segue a coreografia pelas caixas de entrada dos quatro bancos.

Cada caixa de entrada lembra o que cada evento tratado fez publicar; o primeiro
evento publicado que o seu ouvinte não tratou é onde o pedido espera.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from coreografia import SERVICOS, quem_ouve, quem_publica
from comum.veredito import abrir_leitura


def onde_espera(pasta: Path, pedido: str) -> list[str]:
    """Os lugares em que o pedido espera, em português; vazio se não espera em lugar nenhum.

    pasta: a dos bancos dos microsserviços. Levanta Falha se não dá para lê-los.
    """
    bancos, lugares, eventos = abrir_leitura(pasta), [], ["pedido.criado"]
    while eventos:
        tipo = eventos.pop(0)
        for ouvinte in quem_ouve(tipo):
            publicou = _um(bancos, f"SELECT publicou FROM {ouvinte}_db.caixa_entrada WHERE mensagem = ?", f"{pedido}:{tipo}")
            if publicou is not None:
                eventos += publicou.split()
            else:
                lugares.append(_onde(bancos, pedido, tipo, ouvinte))
    return lugares


def _onde(bancos: sqlite3.Connection, pedido: str, tipo: str, ouvinte: str) -> str:
    dono = quem_publica(tipo)
    if bancos.execute(f"SELECT 1 FROM {dono}_db.caixa_saida WHERE pedido = ? AND tipo = ?", (pedido, tipo)).fetchone():
        return f"{tipo} está na caixa de saída de {dono}, sem resposta do broker"
    motivo = _um(bancos, f"SELECT motivo FROM {ouvinte}_db.falhas WHERE mensagem = ?", f"{pedido}:{tipo}")
    if motivo is not None:
        return f"{tipo} falha em {ouvinte}: {motivo}"
    return f"{tipo} espera na fila «{ouvinte}» (ou em «{ouvinte}.mortas»)"


def _um(bancos: sqlite3.Connection, consulta: str, *valores):
    linha = bancos.execute(consulta, valores).fetchone()
    return linha and linha[0]


class Movimento:
    """Percebe se algum banco mudou, sem perguntar a nenhum serviço."""

    def __init__(self, pasta: Path):
        self.bancos = abrir_leitura(pasta)
        self.ultimo, self.visto = time.monotonic(), None

    def parado_ha(self) -> float:
        """Há quantos segundos ninguém grava nada."""
        agora = [self.bancos.execute(f"PRAGMA {nome}_db.data_version").fetchone() for nome in SERVICOS]
        if agora != self.visto:
            self.visto, self.ultimo = agora, time.monotonic()
        return time.monotonic() - self.ultimo
