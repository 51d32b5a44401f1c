"""A coreografia: ninguém coordena, e este é o único lugar em que ela se vê inteira.

A tabela EVENTOS não é um desenho: as filas são ligadas ao exchange por ela, um
serviço só publica o que ela diz que é dele, e só ouve o que ela diz que ele ouve.

    pedidos ── pedido.criado ─▶ estoque ── estoque.reservado ─▶ pagamentos
            ── pagamento.aprovado ─▶ envio ── envio.despachado ─▶ pedidos

    A compensação anda para trás: envio, pagamentos, estoque, pedidos.
    (Garcia-Molina e Salem, "Sagas", SIGMOD 1987.)
"""

from typing import NamedTuple

SERVICOS = ("pedidos", "estoque", "pagamentos", "envio")

# evento: (quem publica, quem ouve, o que leva)
#   "pedido": o pedido inteiro e o total; "motivo": só o id e por que se volta atrás.
EVENTOS = {
    "pedido.criado":                   ("pedidos", ("estoque",), "pedido"),
    "estoque.reservado":               ("estoque", ("pagamentos",), "pedido"),
    "estoque.recusado":                ("estoque", ("pedidos",), "motivo"),
    "pagamento.aprovado":              ("pagamentos", ("envio",), "pedido"),
    "pagamento.recusado":              ("pagamentos", ("estoque",), "motivo"),     # compensa
    "envio.despachado":                ("envio", ("pedidos",), "pedido"),          # o pivô
    "envio.recusado":                  ("envio", ("pagamentos",), "motivo"),       # compensa
    "pagamento.estornado":             ("pagamentos", ("estoque",), "motivo"),     # compensa
    "estoque.liberado":                ("estoque", ("pedidos",), "motivo"),
    "pedido.concluido":                ("pedidos", (), "pedido"),                  # para a plateia
    "pedido.cancelado":                ("pedidos", (), "motivo"),
    "pedido.cancelamento_solicitado":  ("pedidos", ("envio",), "motivo"),
}
# Os que levam o pedido para trás: no desenho, uma seta dupla.
COMPENSACOES = ("pagamento.recusado", "envio.recusado", "pagamento.estornado", "estoque.liberado")
# Entre que eventos um serviço pode ter de desfazer o que fez; o pivô acaba com todos.
PIVO = "envio.despachado"
COMPENSAVEL = {"estoque": ("estoque.reservado", "estoque.liberado"),
               "pagamentos": ("pagamento.aprovado", "pagamento.estornado")}

VERSAO = 1  # do contrato das mensagens; a dos bancos é a de comum/identidade.py


class Evento(NamedTuple):
    """Algo que aconteceu com um pedido. `causa` é o id da mensagem que o provocou."""

    tipo: str
    pedido: str
    dados: dict
    causa: str | None = None

    @property
    def mensagem(self) -> str:
        """O id da mensagem: o mesmo evento do mesmo pedido tem sempre o mesmo id."""
        return f"{self.pedido}:{self.tipo}"


def quem_publica(tipo: str) -> str:
    return EVENTOS[tipo][0]


def quem_ouve(tipo: str) -> tuple[str, ...]:
    return EVENTOS[tipo][1]


def o_que_publica(servico: str) -> list[str]:
    return [tipo for tipo, (dono, _, _) in EVENTOS.items() if dono == servico]


def o_que_ouve(servico: str) -> list[str]:
    return [tipo for tipo, (_, ouvintes, _) in EVENTOS.items() if servico in ouvintes]
