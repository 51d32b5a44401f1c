"""O que os bancos dizem a quem espera: quem falta, e se a loja ainda se move.

Cada olhada abre os bancos e os larga: quem só olha não pode segurar um banco que o serviço dele
precise refazer.
"""

from __future__ import annotations

import json
from pathlib import Path

from comum.leitura import lendo
from comum.tela import alertar
from coreografia import SERVICOS, quem_publica

PORTA = quem_publica("pedido.criado")  # o serviço que recebe os pedidos do cliente


def olhar(pasta: Path, ids: list[str]) -> tuple[set[str], bool, list[tuple]]:
    """(os de `ids` sem resultado, se algum resultado ainda não foi anunciado, quanto cada serviço
    já tratou: se não muda, a loja está parada). Levanta Falha se não dá para ler os bancos.
    """
    with lendo(pasta, SERVICOS) as bancos:
        um = lambda consulta: bancos.execute(consulta).fetchone()  # noqa: E731
        pendentes = bancos.execute("SELECT pedido FROM pedidos WHERE estado = 'pendente'")
        return ({pedido for pedido, in pendentes}.intersection(ids),
                bool(um(f"SELECT 1 FROM {PORTA}_db.caixa_saida WHERE enviado = 0")),
                [um(f"SELECT max(ordem) FROM {nome}_db.caixa_entrada") for nome in SERVICOS])


def pendentes_ate_aqui(pasta: Path) -> list[str]:
    """Os pedidos que outra execução deixou pendentes."""
    with _pedidos(pasta) as banco:
        return [p for p, in banco.execute("SELECT pedido FROM pedidos WHERE estado = 'pendente'")]


def dizer_o_que_faltou(pasta: Path, ids: list[str]) -> None:
    """Depois de um Ctrl-C antes do veredito."""
    with _pedidos(pasta) as banco:
        como = dict(banco.execute("SELECT pedido, estado FROM pedidos WHERE pedido IN "
                                  "(SELECT value FROM json_each(?))", (json.dumps(ids),)))
    por_registrar, partes = len(set(ids).difference(como)), []
    if pendentes := sorted(pedido for pedido in como if como[pedido] == "pendente"):
        quais = ", ".join(pendentes[:5]) + (", …" if len(pendentes) > 5 else "")
        partes = [f"{len(pendentes)} pedidos pendentes ({quais}), e nada se perdeu: "
                  "--sem-pedido --ate-concluir os termina"]
    if por_registrar:
        partes += [f"{por_registrar} de {len(set(ids))} pedidos nem foram registrados: envie-os "
                   "de novo, com os mesmos ids"]
    alertar("interrompido sem veredito: " + ("; ".join(partes) or "todos os pedidos desta "
                                             "execução já tinham terminado"))


def _pedidos(pasta: Path):
    """O banco de quem registra os pedidos; se ainda não existe, um vazio."""
    return lendo(pasta, (PORTA,), {PORTA: "CREATE TABLE pedidos (pedido, estado)"})
