"""As propriedades AMQP de uma mensagem: quem as escreveu pode ter sido qualquer um.

Na leitura, tudo vira texto, número ou nada: é o que cabe no banco e volta igual. Na ida
para NOME.mortas, só vai o que é seguro republicar. Aqui não se sabe o que é pika.
"""

from __future__ import annotations

TEXTOS = ("content_type", "content_encoding", "correlation_id", "message_id", "type", "app_id")
MAIOR_TEXTO = 255  # bytes de um texto curto do AMQP (especificação do AMQP 0-9-1, seção 4.2.5.3)
MAIOR_CABECALHO = 1000  # caracteres; o maior que a loja usa tem cento e poucos
# O broker entrega uma cópia da mensagem em cada fila que estes cabeçalhos citam: repeti-los ao
# republicar faria uma mensagem morta ressuscitar na fila de onde saiu, para sempre.
# (Manual do RabbitMQ, "Sender-Selected Distribution".)
QUE_ROTEIAM = ("CC", "BCC")


def simplificar(propriedades: dict) -> dict:
    """As propriedades que foram mandadas, só com textos, inteiros, booleanos e None.

    propriedades: como o pika as entrega, com bytes onde não havia UTF-8 e com datas,
    decimais, listas e tabelas nos cabeçalhos.
    """
    simples = {nome: _texto(valor) for nome, valor in propriedades.items() if valor is not None and nome != "headers"}
    if propriedades.get("headers") is not None:
        simples["headers"] = {_curto(_texto(nome)): _texto(valor) for nome, valor in propriedades["headers"].items()}
    return simples


def a_republicar(propriedades: dict, motivo: str | None) -> dict:
    """O que vai junto quando a mensagem muda de fila, com o motivo da morte (None: não morreu) num cabeçalho.

    propriedades: as que simplificar() devolveu.
    """
    cabecalhos = {nome: valor for nome, valor in (propriedades.get("headers") or {}).items() if nome not in QUE_ROTEIAM}
    if motivo is not None:
        cabecalhos["motivo"] = motivo
    seguras = {nome: _curto(str(propriedades[nome])) for nome in TEXTOS if nome in propriedades}
    if isinstance(propriedades.get("timestamp"), int):
        seguras["timestamp"] = propriedades["timestamp"]
    return {**seguras, "headers": cabecalhos}


def _texto(valor):
    if valor is None or isinstance(valor, int):
        return valor
    if isinstance(valor, bytes):
        valor = valor.decode("utf-8", "backslashreplace")
    return str(valor)[:MAIOR_CABECALHO]


def _curto(texto: str) -> str:
    return texto.encode()[:MAIOR_TEXTO].decode(errors="ignore")
