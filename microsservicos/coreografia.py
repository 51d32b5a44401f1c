"""A coreografia: ninguém coordena, e este é o único lugar em que ela se vê inteira.

A tabela EVENTOS não é um desenho: as filas são ligadas ao exchange por ela, um
serviço só publica o que ela diz que é dele, e só ouve o que ela diz que ele ouve.

    pedidos ── pedido.criado ─▶ estoque ── estoque.reservado ─▶ pagamentos
            ── pagamento.aprovado ─▶ envio ── envio.despachado ─▶ pedidos

    A compensação anda para trás: envio, pagamentos, estoque, pedidos.
    (Garcia-Molina e Salem, "Sagas", SIGMOD 1987.)
"""

from __future__ import annotations

from typing import NamedTuple

from comum.loja import id_valido, ler_json, validar
from comum.falha import Falha

SERVICOS = ("pedidos", "estoque", "pagamentos", "envio")

# evento: (quem publica, quem ouve, o que leva)
#   "pedido": o pedido inteiro e o total; "motivo": só o id e por que se volta atrás.
EVENTOS = {
    "pedido.criado":                   ("pedidos", ("estoque",), "pedido"),
    "estoque.reservado":               ("estoque", ("pagamentos",), "pedido"),
    "estoque.recusado":                ("estoque", ("pedidos",), "motivo"),
    "pagamento.aprovado":              ("pagamentos", ("envio",), "pedido"),
    "pagamento.recusado":              ("pagamentos", ("estoque",), "motivo"),      # estoque compensa
    "envio.despachado":                ("envio", ("pedidos",), "pedido"),           # o pivô: daqui ninguém volta
    "envio.recusado":                  ("envio", ("pagamentos",), "motivo"),        # pagamentos compensa
    "pagamento.estornado":             ("pagamentos", ("estoque",), "motivo"),      # estoque compensa
    "estoque.liberado":                ("estoque", ("pedidos",), "motivo"),
    "pedido.concluido":                ("pedidos", (), "pedido"),                   # para quem quiser assistir
    "pedido.cancelado":                ("pedidos", (), "motivo"),
    "pedido.cancelamento_solicitado":  ("pedidos", ("envio",), "motivo"),
}
COMPENSACOES = ("pagamento.recusado", "envio.recusado", "pagamento.estornado", "estoque.liberado")

VERSAO = 1
MAIOR_CENTAVOS = 10 ** 15  # cabe com folga num inteiro do SQLite


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


class MensagemInvalida(Exception):
    """Uma mensagem que este serviço não entende; o texto é o motivo."""


def quem_publica(tipo: str) -> str:
    return EVENTOS[tipo][0]


def quem_ouve(tipo: str) -> tuple[str, ...]:
    return EVENTOS[tipo][1]


def o_que_ouve(servico: str) -> list[str]:
    return [tipo for tipo, (_, ouvintes, _) in EVENTOS.items() if servico in ouvintes]


def entender(servico: str, corpo: bytes, propriedades: dict) -> Evento:
    """Transforma uma mensagem num Evento, desconfiando de tudo o que ela diz.

    servico: quem a recebeu. corpo: o JSON. propriedades: as do AMQP, num dicionário.
    Levanta MensagemInvalida se a mensagem não é exatamente o que o contrato diz.
    """
    if "ilegiveis" in propriedades:
        raise MensagemInvalida("as propriedades não puderam ser lidas")
    tipo, cabecalhos = propriedades.get("type"), propriedades.get("headers") or {}
    if tipo not in EVENTOS or servico not in quem_ouve(tipo):
        raise MensagemInvalida(f"{servico} não ouve o evento {str(tipo)[:60]!r}")
    versao = cabecalhos.get("versao")
    if type(versao) is not int or versao != VERSAO:
        raise MensagemInvalida(f"versão desconhecida: {str(versao)[:20]!r}; este serviço só conhece a {VERSAO}")
    dados = _conferir_corpo(EVENTOS[tipo][2], corpo)
    causa = cabecalhos.get("causa")
    evento = Evento(tipo, dados["pedido"], dados, causa)
    for nome, esperado in (("message_id", evento.mensagem), ("correlation_id", evento.pedido),
                           ("app_id", quem_publica(tipo)), ("content_type", "application/json")):
        if propriedades.get(nome) != esperado:
            raise MensagemInvalida(f"{nome} é {str(propriedades.get(nome))[:80]!r}, e devia ser {esperado!r}")
    if causa is not None and causa not in [f"{evento.pedido}:{outro}" for outro in EVENTOS]:
        raise MensagemInvalida("o cabeçalho causa não é o id de um evento deste pedido")
    return evento


def _conferir_corpo(forma: str, corpo: bytes) -> dict:
    try:
        dados = ler_json(corpo)
        if not isinstance(dados, dict):
            raise ValueError("o corpo não é um objeto JSON")
        if "pedido" not in dados:
            raise ValueError("falta o campo 'pedido'")
        if forma == "motivo":
            return _conferir_motivo(dados)
        total = dados.pop("total", None)
        if type(total) is not int or not 0 <= total <= MAIOR_CENTAVOS:
            raise ValueError("total: não é um inteiro de centavos")
        return {**validar(dados), "total": total}
    except (ValueError, Falha) as erro:
        raise MensagemInvalida(f"corpo: {erro}") from erro


def _conferir_motivo(dados: dict) -> dict:
    if set(dados) != {"pedido", "motivo"}:
        raise ValueError("use exatamente os campos 'pedido' e 'motivo'")
    if not isinstance(dados["motivo"], str) or not 1 <= len(dados["motivo"]) <= 200:
        raise ValueError("motivo: não é um texto de 1 a 200 caracteres")
    if not dados["motivo"].isprintable():  # ele vai para o banco e para a tela
        raise ValueError("motivo: há caracteres de controle no texto")
    if not id_valido(dados["pedido"]):
        raise ValueError("pedido: não é um id de pedido")
    return dados
