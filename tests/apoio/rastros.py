"""O que se exige do rastro de qualquer pedido, depois de qualquer coisa que tenha acontecido."""

from __future__ import annotations

from pathlib import Path

from verbos import M, SERVICOS


def conferir_ordem(h) -> None:
    """Cada passo depois da publicação do que tratou; o que foi em vão, depois da resposta a que se refere."""
    assert h.eventos.count("pedido.criado") == 1
    ditos: set = set()
    for servico, tratou, publicou in h.passos:
        assert tratou is None or tratou in ditos, (servico, tratou, h.passos)
        assert publicou or any(M.coreografia.quem_publica(tipo) == servico for tipo in ditos), (servico, tratou, h.passos)
        assert not ditos & set(publicou), h.passos
        ditos |= set(publicou)
    assert ditos == set(h.eventos) and {tipo for _, tipo in h.tratados} - {None} <= ditos


def conferir_que_terminou(h) -> None:
    """O rastro acaba no resultado, e nada mais está a caminho."""
    estado = h.registro[2]
    assert estado != "pendente", (h.pedido, h.eventos)
    assert h.eventos[-1] == f"pedido.{estado}", (h.pedido, h.eventos, h.registro)
    assert h.por_tratar() == [], h.por_tratar()


def conferir_rastros(pasta: Path) -> int:
    """O rastro de cada pedido da pasta, um por um, acaba no resultado dele; devolve quantos são."""
    with M.banco.lendo(pasta, SERVICOS) as bancos:
        ids = [id for id, in bancos.execute("SELECT pedido FROM pedidos")]
        for id in ids:
            historia = M.historia.Historia(bancos, id)
            conferir_ordem(historia)
            conferir_que_terminou(historia)
    return len(ids)
