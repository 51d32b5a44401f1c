"""Ler uma mensagem que qualquer um pode ter escrito, e guardar dela só o que se pode republicar.

Das propriedades AMQP só fica o que o contrato conhece. O resto não se guarda nem se repete: nem
CC e BCC, com que uma mensagem morta ressuscitaria na fila de onde saiu (manual do RabbitMQ,
"Sender-Selected Distribution"), nem o que o pika não sabe escrever de volta. O corpo vai inteiro.
Uma mensagem só vira um Evento se for exatamente o que o contrato diz.
Aqui não se sabe o que é pika.
"""

from comum.loja import conferir, ler_json, validar
from coreografia import EVENTOS, VERSAO, Evento, quem_ouve, quem_publica

PROPRIEDADES = ("content_type", "content_encoding", "correlation_id", "message_id", "type",
                "app_id", "timestamp")
# motivo: o de uma mensagem morta, posto por nós. x-first-death-reason: o que o broker põe.
CABECALHOS = ("causa", "versao", "motivo", "x-first-death-reason")
MAIOR_CABECALHO = 1000  # caracteres; o maior que a loja usa tem trezentos


class MensagemInvalida(Exception):
    """Uma mensagem que este serviço não entende; o texto é o motivo."""


def entender(servico: str, corpo: bytes, propriedades: dict) -> Evento:
    """Transforma uma mensagem num Evento, desconfiando de tudo o que ela diz.

    servico: quem a recebeu. corpo: o JSON. propriedades: as que simplificar() devolveu.
    Levanta MensagemInvalida se a mensagem não é exatamente o que o contrato diz.
    """
    tipo, cabecalhos = propriedades.get("type"), propriedades.get("headers") or {}
    if tipo not in EVENTOS or servico not in quem_ouve(tipo):
        raise MensagemInvalida(f"{servico} não ouve o evento {str(tipo)[:60]!r}")
    versao = cabecalhos.get("versao")
    if type(versao) is not int or versao != VERSAO:
        raise MensagemInvalida(f"versão desconhecida: {str(versao)[:20]!r}; este serviço só "
                               f"conhece a {VERSAO}")
    try:
        dados = CORPOS[EVENTOS[tipo][2]](ler_json(corpo))
    except Exception as erro:  # de um corpo qualquer vem qualquer erro
        raise MensagemInvalida(f"corpo: {erro}"[:300]) from erro
    evento = Evento(tipo, dados["pedido"], dados, cabecalhos.get("causa"))
    _conferir_envelope(evento, propriedades)
    return evento


def _conferir_envelope(evento: Evento, propriedades: dict) -> None:
    """O que está escrito por fora é o que o contrato manda para o que está dentro."""
    for nome, esperado in (("message_id", evento.mensagem), ("correlation_id", evento.pedido),
                           ("app_id", quem_publica(evento.tipo)),
                           ("content_type", "application/json")):
        if propriedades.get(nome) != esperado:
            raise MensagemInvalida(f"{nome} é {str(propriedades.get(nome))[:80]!r}, e devia ser "
                                   f"{esperado!r}")
    pedido, _, causa = str(evento.causa).rpartition(":")
    if evento.causa is not None and (causa not in EVENTOS or pedido != evento.pedido):
        raise MensagemInvalida("o cabeçalho causa não é o id de um evento deste pedido")


CORPOS = {  # as formas de coreografia.py
    "pedido": lambda dados: validar(dados, ["pedido", "total"]),
    "motivo": lambda dados: conferir(dados, "o corpo", {"pedido", "motivo"}),
}


def simplificar(propriedades) -> dict:
    """Das propriedades, o que o contrato conhece, numa forma que o JSON guarda e devolve igual.

    propriedades: como chegaram, com bytes onde não havia UTF-8.
    """
    simples = {nome: _simples(valor) for nome in PROPRIEDADES
               if (valor := getattr(propriedades, nome)) is not None}
    if cabecalhos := propriedades.headers:
        simples["headers"] = {nome: _simples(cabecalhos[nome]) for nome in CABECALHOS
                              if nome in cabecalhos}
    return simples


def _simples(valor):
    if type(valor) is str:
        return valor[:MAIOR_CABECALHO]
    if valor is None or type(valor) in (int, bool):
        return valor
    return f"({type(valor).__name__})"  # o que não é UTF-8, uma lista, uma tabela, uma data
