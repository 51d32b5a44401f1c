"""O que os bancos dizem a quem espera: quem falta, se a loja ainda se move, o que se perderia.

Cada olhada abre os bancos e os larga: quem só olha não pode segurar um banco que o serviço dele
precise refazer.
"""

from __future__ import annotations

import json
from pathlib import Path

from comum.leitura import criado, lendo
from comum.tela import alertar, dizer
from coreografia import SERVICOS
from palco.processo import criar_banco


def completar_bancos(dados: Path) -> None:
    """Os bancos que ainda não existem são criados, cada um pelo seu serviço."""
    for nome in SERVICOS:
        if not criado(dados / "microsservicos" / f"{nome}.db"):
            criar_banco(nome, dados)


def olhar(pasta: Path, ids: list[str]) -> tuple[set[str], list[tuple]]:
    """(os de `ids` que ainda não têm resultado, quanto cada serviço já tratou)."""
    with lendo(pasta, SERVICOS) as bancos:
        faltam = {p for p, in bancos.execute(
            "SELECT pedido FROM pedidos WHERE estado = 'pendente'")}.intersection(ids)
        return faltam, [bancos.execute(f"SELECT max(ordem) FROM {nome}_db.caixa_entrada").fetchone()
                        for nome in SERVICOS]


def falta_publicar(pasta: Path, servico: str) -> bool:
    """Se o serviço ainda tem eventos por publicar."""
    with lendo(pasta, (servico,)) as banco:
        return banco.execute(f"SELECT 1 FROM {servico}_db.caixa_saida "
                             "WHERE enviado = 0").fetchone() is not None


def estados(pasta: Path, ids: list[str]) -> dict[str, str]:
    """{pedido: estado} dos `ids` que o serviço de pedidos já registrou."""
    return dict(_de_pedidos(pasta, "SELECT pedido, estado FROM pedidos WHERE pedido IN "
                                   "(SELECT value FROM json_each(?))", json.dumps(ids)))


def pendentes_ate_aqui(pasta: Path) -> list[str]:
    """Os pedidos que outra execução deixou pendentes."""
    return [p for p, in _de_pedidos(pasta, "SELECT pedido FROM pedidos WHERE estado = 'pendente'")]


def _de_pedidos(pasta: Path, consulta: str, *valores) -> list[tuple]:
    if not criado(pasta / "pedidos.db"):
        return []
    with lendo(pasta, ("pedidos",)) as banco:
        return banco.execute(consulta, valores).fetchall()


def dizer_o_que_faltou(pasta: Path, ids: list[str]) -> None:
    """Depois de um Ctrl-C antes do veredito."""
    como = estados(pasta, ids)
    pendentes = sorted(pedido for pedido in set(ids) if como.get(pedido) == "pendente")
    if por_registrar := set(ids).difference(como):
        alertar(f"interrompido: {len(por_registrar)} de {len(set(ids))} pedidos nem foram "
                "registrados; envie-os de novo, com os mesmos ids")
    if pendentes:
        quais = ", ".join(pendentes[:5]) + (", …" if len(pendentes) > 5 else "")
        alertar(f"interrompido sem veredito: {len(pendentes)} pedidos pendentes ({quais}); nada se "
                "perdeu, e --sem-pedido --ate-concluir os termina")
    elif not por_registrar:
        dizer("interrompido sem veredito: todos os pedidos desta execução já tinham terminado")


def o_que_fazer_do_broker(pasta: Path, do_no: Path) -> str:
    """O conselho para quem tem dados de broker que já não se leem.

    pasta: a dos bancos dos serviços. do_no: a do nó privado. O que está nas caixas de saída não
    depende dele; o que um pedido pendente espera pode estar só nas filas.
    """
    if pendentes := pendentes_ate_aqui(pasta):
        return (f"Não apague {do_no}: há {len(pendentes)} pedidos pendentes, e o que falta a eles "
                "pode estar só ali. Volte à versão anterior e termine com --sem-pedido "
                "--ate-concluir; ou, com --limpar, recomece sem eles")
    return f"Nada se perde com eles (nenhum pedido pendente): apague {do_no} e rode de novo"
