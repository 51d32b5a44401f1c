"""O que os bancos dizem a quem espera: quem falta, e se a loja ainda se move.

Cada olhada abre os bancos e os larga: quem só olha não pode segurar um banco que o serviço dele
precise refazer.
"""

from importlib import import_module
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


def pendentes(pasta: Path) -> list[str]:
    """Os pedidos que ainda não têm resultado, desta execução ou de outra."""
    with lendo(pasta, (PORTA,), recem_criados()) as banco:
        return [p for p, in banco.execute("SELECT pedido FROM pedidos WHERE estado = 'pendente'")]


def dizer_o_que_faltou(pasta: Path, ids: list[str]) -> None:
    """Depois de um Ctrl-C antes do veredito."""
    with lendo(pasta, (PORTA,), recem_criados()) as banco:
        prontos = banco.execute("SELECT pedido FROM pedidos WHERE estado <> 'pendente'")
        faltam = sorted({*ids}.difference(pedido for pedido, in prontos))
    quais = ", ".join(faltam[:5]) + ", …" * (len(faltam) > 5)
    alertar("interrompido sem veredito: " + (
        f"{len(faltam)} de {len({*ids})} pedidos sem resultado ({quais}). Nada se perdeu: "
        "--sem-pedido --ate-concluir termina os que Pedidos registrou; os outros, envie-os de "
        "novo, com os mesmos ids" if faltam else
        "todos os pedidos desta execução já tinham terminado"))


def recem_criados() -> dict[str, str]:
    """{serviço: as tabelas dele}: o que se lê no lugar de um banco que ainda não existe."""
    return {nome: import_module(f"servico_{nome}").TABELAS for nome in SERVICOS}
