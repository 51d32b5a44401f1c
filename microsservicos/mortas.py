"""As filas de mensagens mortas: ver o que há nelas e por quê, e mandar de volta.

    python microsservicos/mortas.py                      o que há em cada uma
    python microsservicos/mortas.py estoque --reenviar   devolve à fila do estoque

Uma mensagem vai para NOME.mortas quando o serviço não a entende, ou quando falhou
nela várias vezes. Depois de consertada a causa, ela pode passar de novo: se já tiver
sido tratada por outro caminho, a caixa de entrada a reconhece e nada muda.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # o Python já o faz, menos com PYTHONSAFEPATH

from comum.opcoes import Opcoes
from coreografia import SERVICOS
from rabbitmq.filas import avulso
from rabbitmq.canal import em_dicionario, refazer
from comum.falha import Falha
from comum.tela import dizer, executar, visivel


def listar(servico: str, ids: list[str]) -> int:
    quantas = 0
    for corpo, propriedades in ler_mortas(servico):
        identidade = str(propriedades.get("message_id"))
        if ids and identidade not in ids:
            continue
        quantas += 1
        dizer(visivel(f"{servico}.mortas  {identidade[:64]}  {str(propriedades.get('type'))[:40]}"))
        dizer(visivel(f"    motivo: {(propriedades.get('headers') or {}).get('motivo', 'o broker desistiu de entregá-la')}"))
        dizer(visivel(f"    corpo:  {corpo[:200].decode('utf-8', 'replace')}{'…' if len(corpo) > 200 else ''}"))
    return quantas


def ler_mortas(servico: str):
    """As mensagens mortas de um serviço, uma a uma, sem tirá-las da fila: (corpo, propriedades)."""
    with avulso() as canal:
        for metodo, propriedades, corpo in _pegar_todas(canal, f"{servico}.mortas"):
            yield corpo, em_dicionario(propriedades)
        canal.basic_nack(0, multiple=True, requeue=True)


def reenviar_mortas(servico: str, escolher) -> int:
    """Devolve à fila do serviço as mensagens mortas que `escolher(corpo, propriedades)` aceita.

    Cada uma só sai das mortas depois que o broker respondeu por ela na fila: morrer
    no meio a repete, e a caixa de entrada do serviço reconhece a repetição.
    Devolve quantas foram. Levanta o mesmo que conectar().
    """
    foram = 0
    with avulso() as canal:
        canal.confirm_delivery()
        for metodo, propriedades, corpo in _pegar_todas(canal, f"{servico}.mortas"):
            originais = em_dicionario(propriedades)
            if not escolher(corpo, originais):
                continue
            originais["headers"] = {n: v for n, v in (originais.get("headers") or {}).items()
                                    if n != "motivo" and not n.startswith("x-")}
            canal.basic_publish("", servico, corpo, refazer(originais, None), mandatory=True)
            canal.basic_ack(metodo.delivery_tag)
            foram += 1
        canal.basic_nack(0, multiple=True, requeue=True)
    return foram


def _pegar_todas(canal, fila: str):
    # Só as que já estavam lá: uma que morra de novo enquanto isso fica para a próxima vez.
    for _ in range(canal.queue_declare(fila, passive=True).method.message_count):
        metodo, propriedades, corpo = canal.basic_get(fila)
        if metodo is None:
            return
        yield metodo, propriedades, corpo


def main():
    opcoes = Opcoes("Mostra as mensagens mortas de cada serviço, e as manda de volta à fila dele.")
    opcoes.add_argument("servico", nargs="?", metavar="SERVICO", choices=SERVICOS, help=", ".join(SERVICOS) + " (padrão: todos)")
    opcoes.add_argument("--reenviar", action="store_true", help="devolve as mensagens à fila do serviço")
    opcoes.add_argument("--mensagem", metavar="ID", action="append", default=[], help="só a mensagem com este message_id")
    escolha = opcoes.parse_args()
    servicos = [escolha.servico] if escolha.servico else SERVICOS
    if not escolha.reenviar:
        total = sum(listar(servico, escolha.mensagem) for servico in servicos)
        dizer(f"{total} mensagens mortas")
        return 0
    total = 0
    for servico in servicos:
        total += reenviar_mortas(servico, lambda corpo, p: not escolha.mensagem or p.get("message_id") in escolha.mensagem)
    dizer(f"{total} mensagens devolvidas às filas")
    if escolha.mensagem and not total:
        raise Falha("nenhuma mensagem morta tem esse id", 1)
    return 0


if __name__ == "__main__":
    executar(main)
