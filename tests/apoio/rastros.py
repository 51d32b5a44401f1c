"""O que se exige do rastro de qualquer pedido, depois de qualquer coisa que tenha acontecido."""

from __future__ import annotations

from pathlib import Path

from verbos import M, SERVICOS


def conferir_ordem(h) -> None:
    """Todo evento tratado ou por publicar está no rastro, uma vez, depois da sua causa."""
    assert len(set(h.eventos)) == len(h.eventos)
    assert {tipo for _, tipo in h.tratou} | set(h.saida) <= set(h.eventos)
    for (_, causa), causados in h.tratou.items():
        for causado in causados:
            assert h.eventos.index(causa) < h.eventos.index(causado), h.eventos
    assert h.eventos.count("pedido.criado") == 1


def conferir_que_terminou(h) -> None:
    """O rastro acaba no resultado, e nada mais está a caminho."""
    estado = h.registro[2]
    assert estado != "pendente", (h.pedido, h.eventos)
    assert h.eventos[-1] == f"pedido.{estado}", (h.pedido, h.eventos, h.registro)
    assert h.por_tratar() == [], h.por_tratar()


def conferir_rastros(pasta: Path) -> int:
    """O rastro de cada pedido da pasta, um por um, acaba no resultado dele; devolve quantos são."""
    with M.leitura.lendo(pasta, SERVICOS) as bancos:
        ids = [id for id, in bancos.execute("SELECT pedido FROM pedidos")]
        for id in ids:
            historia = M.historia.Historia(bancos, id)
            conferir_ordem(historia)
            conferir_que_terminou(historia)
    return len(ids)
