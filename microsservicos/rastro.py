"""O que aconteceu com um pedido: as raias da saga dele, refeitas só com os bancos dos serviços.

    python microsservicos/rastro.py ID [ID...]      os passos, e o resultado ou onde ele espera
    python microsservicos/rastro.py --pendentes     o mesmo, de todos os que não terminaram

Ninguém escreve a história de uma saga, e ela não faz falta: as duas caixas de cada serviço são o
log dele, e seguir de banco em banco o que cada evento causou é seguir a saga (palco/historia.py).
Um evento que o seu ouvinte não tratou está na caixa de saída, à espera de outra tentativa, nas
mortas ou na fila. Só lê, e serve uma cópia dos bancos; o RabbitMQ só é preciso para o que ele sabe.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # o Python já o faz, menos com PYTHONSAFEPATH

from typing import Iterable, NamedTuple

from comum.banco import lendo  # comum antes: diz se falta o _sqlite3
from comum.falha import Falha
from comum.identidade import identidade_se_houver
from comum.loja import id_pelo_comeco
from comum.opcoes import Opcoes
from comum.raias import Diagrama, relatar, relatar_espera
from comum.tela import alertar, dizer, executar

import caixas
from coreografia import SERVICOS, quem_publica
from palco.desenho import NOMES, Desenho
from palco.historia import Historia
from tentativas import em_segundos, pausa


class Broker(NamedTuple):
    """O que o broker sabe: quantas mensagens há em cada fila, e por que morreram as mortas."""

    filas: dict[str, int]
    mortas: dict[tuple[str, str], str]  # (serviço, mensagem) -> motivo


def ler(pasta: Path, ids: Iterable[str]) -> list[Historia]:
    """A história de cada pedido. pasta: a dos bancos; levanta Falha se não dá para lê-los."""
    with lendo(pasta, que_rodaram(pasta)) as banco:
        return [Historia(banco, id) for id in ids]


def que_rodaram(pasta: Path) -> list[str]:
    """Os serviços que já rodaram nesta pasta: há um banco deles."""
    return [nome for nome in SERVICOS if (pasta / f"{nome}.db").exists()]


def pendentes(pasta: Path) -> list[str]:
    """Os pedidos que ainda não têm resultado."""
    with lendo(pasta, ["pedidos"], {"pedidos": "CREATE TABLE pedidos (pedido, estado)"}) as banco:
        return [id for id, in banco.execute("SELECT pedido FROM pedidos WHERE estado = 'pendente' "
                                            "ORDER BY rowid")]


def esperas(historia: Historia, broker: Broker | None) -> list[tuple[str, ...]]:
    """[(onde um evento espera, e o que o faz andar; os comandos, sem --dados...)], um por evento.

    broker: None se ele não respondeu.
    """
    return [_espera(historia, tipo, ouvinte, broker) for tipo, ouvinte in historia.por_tratar()]


def _espera(historia: Historia, tipo: str, ouvinte: str | None, broker: Broker | None) -> tuple:
    """Onde está este evento, e o que o faz andar. ouvinte: None, um resultado por anunciar."""
    dono, tratar, mensagem = quem_publica(tipo), ligar(ouvinte), f"{historia.pedido}:{tipo}"
    restam, motivo = historia.falhas.get((ouvinte, tipo), (-1, ""))
    quem = f"{ouvinte}.db" if motivo else "na mensagem"
    if broker and restam < 0:  # do que já foi para as mortas, ele sabe mais
        motivo = broker.mortas.get((ouvinte, mensagem), "")
    if motivo and restam > 0:
        return (f"{tipo}, outra tentativa em {ouvinte} ({ouvinte}.db: {motivo}); restam {restam}, "
                f"e com {ouvinte} no ar a próxima vem em até {em_segundos(pausa(restam))}; "
                "consertada a causa", tratar)
    if motivo:
        return (f"{tipo}, em «{ouvinte}.mortas», ou a caminho de lá quando {ouvinte} estiver no ar "
                f"({quem}: {motivo}); consertada a causa, o segundo a devolve à fila, e o "
                "primeiro a trata",
                tratar, f"mortas.py {ouvinte} --mensagem {mensagem} --reenviar")
    if tipo in historia.por_enviar:
        return (f"{tipo}, na caixa de saída ({dono}.db), sem a resposta do broker; com ele no ar",
                ligar(dono))
    parado = (f"não foi tratado ({ouvinte}.db)" if ouvinte in historia.servicos else
              f"{ouvinte} ainda não rodou nesta pasta (não há {ouvinte}.db)")
    na_fila = f"{tipo}, na fila «{ouvinte}»: já saiu da caixa de saída ({dono}.db), e {parado}"
    if not broker:
        return na_fila, tratar
    # Uma mensagem que chegou estragada está nas mortas, e ninguém sabe de que pedido era.
    na_fila += "; neste broker: " + ", ".join(f"{broker.filas.get(fila, 'não há')} em «{fila}»"
                                              for fila in (ouvinte, f"{ouvinte}.mortas"))
    if broker.filas.get(ouvinte):
        return na_fila, tratar
    return (f"{na_fila}; se não é de outro broker, nem um serviço o tem em mãos, ele se perdeu: o "
            "primeiro o publica de novo, o segundo o trata",
            f"servico_{dono}.py --republicar {historia.pedido}", tratar)


def ligar(servico: str) -> str:
    """O comando que põe um serviço no ar."""
    return f"servico_{servico}.py" + " --sem-pedido" * (servico == "pedidos")


def perguntar_ao_broker(pasta: Path) -> Broker | None:
    """O que o broker sabe; None, com uma linha que diz por quê, se ele não respondeu."""
    try:
        from rabbitmq import filas, mensagens_mortas
        loja = identidade_se_houver(pasta)
        quantas = filas.profundidades(loja)
        quais = tuple(nome for nome in SERVICOS if quantas.get(f"{nome}.mortas"))
        if not quais:  # ler as mortas declararia as filas, e aqui só se olha
            return Broker(quantas, {})
        return Broker(quantas, {(morta.servico, morta.id): morta.motivo
                                for morta in mensagens_mortas.ler(quais, [], loja)})
    except SystemExit:  # falta o pika, e isso já foi dito
        return None
    except Falha as falha:
        alertar(f"{falha}: sem contar as filas")
        return None


def resumir(pasta: Path, ids: list[str]) -> None:
    """Uma linha por pedido: onde ele espera."""
    broker = perguntar_ao_broker(pasta)
    for historia in ler(pasta, ids):
        lugares = [onde for onde, *_ in esperas(historia, broker)]
        alertar(f"  {historia.pedido}: {'; '.join(lugares) or 'nada à espera'}")


def mostrar(historia: Historia, dados: Path, broker: Broker | None, diagrama=None) -> None:
    """As raias, o que cada banco diz, e o resultado ou onde o pedido espera."""
    desenho = Desenho(diagrama)
    dizer(desenho.cabecalho(), "forte")
    for linha in desenho.historia(historia):
        dizer(linha)
    relatar(historia.fatos(), historia.pedido,
            *(historia.registro or (None, None, "pedidos.db não o conhece", None))[2:])
    for texto, *comandos in esperas(historia, broker):
        relatar_espera(texto, [f"microsservicos/{comando}" for comando in comandos], dados)


def main() -> int:
    opcoes = Opcoes("Mostra o que aconteceu com cada pedido, e onde espera o que não terminou.\n"
                    "Lê os bancos dos serviços, e não escreve em nenhum; não precisa do RabbitMQ.")
    opcoes.add_argument("ids", nargs="*", metavar="ID", help="o pedido, ou o começo do id dele")
    opcoes.add_argument("--pendentes", action="store_true", help="todos os que não terminaram")
    opcoes.add_argument("--diagrama", metavar="F", help="escreve em F o diagrama (Mermaid)")
    opcoes.dos_dados("microsservicos")
    escolha = opcoes.parse_args()
    if escolha.pendentes == bool(escolha.ids):
        raise Falha("rastro.py: diga o id de um pedido (ou de vários), ou --pendentes", 2)
    pasta = escolha.dados / "microsservicos"
    servicos = que_rodaram(pasta)
    if not servicos:
        raise Falha(f"nenhum serviço rodou ainda em {pasta}; outra pasta: --dados DIR", 2)
    with lendo(pasta, servicos) as banco:
        ids = [id_pelo_comeco(dito, {id for servico in servicos for id in caixas.pedidos_de(
            banco, dito, f"{servico}_db.caixa_saida")}) for dito in escolha.ids]
    historias = ler(pasta, dict.fromkeys(ids or pendentes(pasta)))
    diagrama = Diagrama(escolha.diagrama, NOMES, len(historias)) if escolha.diagrama else None
    parado = any(historia.por_tratar() for historia in historias)
    broker = perguntar_ao_broker(pasta) if parado else None
    for historia in historias:
        if historia is not historias[0]:
            dizer()
        mostrar(historia, escolha.dados, broker, diagrama)
    if not historias:
        dizer("nenhum pedido pendente")
    return 0


if __name__ == "__main__":
    executar(main)
