"""O que os bancos dizem a quem espera: quem falta, onde está, o que se perderia."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from comum import veredito
from comum.banco import criado
from comum.tela import alertar, dizer
from coreografia import SERVICOS
from palco.processo import criar_bancos


def completar_bancos(dados: Path) -> None:
    """Os bancos que ainda não existem são criados, cada um pelo seu serviço."""
    pasta = dados / "microsservicos"
    faltam = [nome for nome in SERVICOS if not criado(pasta / f"{nome}.db")]
    if faltam:
        criar_bancos(dados, faltam)


def pendentes_ate_aqui(pasta: Path) -> list[str]:
    """Os pedidos que outra execução deixou pendentes; os bancos podem ainda nem existir."""
    if not criado(pasta / "pedidos.db"):
        return []
    with closing(veredito.abrir_leitura(pasta, ("pedidos",))) as banco:
        return [p for p, in banco.execute("SELECT pedido FROM pedidos WHERE estado = 'pendente'")]


def dizer_o_que_faltou(pasta: Path, ids: list[str]) -> None:
    """Depois de um Ctrl-C antes do veredito."""
    registrados, pendentes = estados(pasta, ids)
    if len(registrados) < len(ids):
        alertar(f"interrompido: {len(ids) - len(registrados)} de {len(ids)} pedidos nem foram "
                "registrados; envie-os de novo, com os mesmos ids")
    if pendentes:
        quais = ", ".join(sorted(pendentes)[:5]) + (", …" if len(pendentes) > 5 else "")
        alertar(f"interrompido sem veredito: {len(pendentes)} pedidos pendentes ({quais}); nada se "
                "perdeu, e --sem-pedido --ate-concluir os termina")
    elif len(registrados) == len(ids):
        dizer("interrompido sem veredito: todos os pedidos desta execução já tinham terminado")


def estados(pasta: Path, ids: list[str]) -> tuple[set[str], set[str]]:
    """(os que o serviço de pedidos registrou, os que ele tem como pendentes), entre `ids`."""
    if not criado(pasta / "pedidos.db"):
        return set(), set()
    with closing(veredito.abrir_leitura(pasta, ("pedidos",))) as banco:
        como = dict(banco.execute("SELECT pedido, estado FROM pedidos"))
    nossos = set(ids).intersection(como)
    return nossos, {pedido for pedido in nossos if como[pedido] == "pendente"}


def o_que_fazer_do_broker(pasta: Path, do_no: Path) -> str:
    """O conselho para quem tem dados de broker que já não se leem.

    pasta: a dos bancos dos serviços. do_no: a do nó privado.
    """
    if dependem := o_que_depende_do_broker(pasta):
        return (f"Não apague {do_no}: há {dependem}, e o que falta a eles pode estar só ali. "
                "Volte à versão anterior e termine com --sem-pedido --ate-concluir; ou, com "
                "--limpar, recomece sem eles")
    return ("Nada se perde com eles (nenhum pedido pendente, caixas de saída vazias, nenhuma "
            f"falha guardada): apague {do_no} e rode de novo")


def o_que_depende_do_broker(pasta: Path) -> str:
    """O que pode ter ficado pela metade nas filas, segundo os bancos; vazio se nada."""
    contas = [("pedidos", "pedidos WHERE estado = 'pendente'", "pedidos pendentes")]
    contas += [(nome, "caixa_saida", f"eventos na caixa de saída de {nome}") for nome in SERVICOS]
    contas += [(nome, "falhas", f"falhas guardadas em {nome}") for nome in SERVICOS]
    achados = []
    for nome, de_onde, que in contas:
        if criado(pasta / f"{nome}.db"):
            with closing(veredito.abrir_leitura(pasta, (nome,))) as banco:
                quantos = banco.execute(f"SELECT count(*) FROM {de_onde}").fetchone()[0]
            achados += [f"{quantos} {que}"] if quantos else []
    return ", ".join(achados)
