"""As propriedades AMQP de uma mensagem: quem as escreveu pode ter sido qualquer um.

Na leitura, tudo vira o que cabe no banco e volta igual. Na ida para NOME.mortas, só vai o
que é seguro republicar. Aqui não se sabe o que é pika.
"""

from __future__ import annotations

TEXTOS = ("content_type", "content_encoding", "correlation_id", "message_id", "type", "app_id")
MAIOR_TEXTO = 255  # bytes de um texto curto do AMQP (especificação do AMQP 0-9-1, seção 4.2.5.3)
MAIOR_CABECALHO = 1000  # caracteres; o maior que a loja usa tem cento e poucos
ANDARES = 8  # de listas e tabelas dentro dos cabeçalhos; o resto vira reticências
# O broker entrega uma cópia da mensagem em cada fila que CC e BCC citam: repeti-los ao
# republicar faria uma mensagem morta ressuscitar na fila de onde saiu, para sempre. (Manual do
# RabbitMQ, "Sender-Selected Distribution".) A conta de entregas é de cada fila.
QUE_NAO_VAO = ("CC", "BCC", "x-delivery-count")


def simplificar(propriedades: dict) -> dict:
    """As propriedades que foram mandadas, só com o que o JSON guarda e devolve igual.

    propriedades: como o pika as entrega, com bytes onde não havia UTF-8, e com datas,
    decimais, listas e tabelas nos cabeçalhos.
    """
    return {nome: _simples(valor) for nome, valor in propriedades.items() if valor is not None}


def a_republicar(propriedades: dict, motivo: str | None) -> dict:
    """O que vai junto quando a mensagem muda de fila, com o motivo da morte (None: não morreu) num cabeçalho.

    propriedades: as que simplificar() devolveu.
    """
    cabecalhos = {nome: valor for nome, valor in (propriedades.get("headers") or {}).items() if nome not in QUE_NAO_VAO}
    if motivo is not None:
        cabecalhos["motivo"] = motivo
    seguras = {nome: _curto(str(propriedades[nome])) for nome in TEXTOS if nome in propriedades}
    if isinstance(propriedades.get("timestamp"), int):
        seguras["timestamp"] = propriedades["timestamp"]
    return {**seguras, "headers": cabecalhos}


def _simples(valor, andares: int = ANDARES):
    if valor is None or type(valor) in (int, bool):
        return valor
    if isinstance(valor, (list, dict)) and not andares:
        return "…"
    if isinstance(valor, list):
        return [_simples(item, andares - 1) for item in valor]
    if isinstance(valor, dict):
        return {_curto(_simples(nome)): _simples(item, andares - 1) for nome, item in valor.items()}
    if isinstance(valor, bytes):
        valor = valor.decode("utf-8", "backslashreplace")
    if isinstance(valor, int):  # do pika, isto é um inteiro de 64 bits, ou um número real que ele já truncou:
        valor = int(valor)      # vira texto, para que 1.5 não passe por 1
    return str(valor)[:MAIOR_CABECALHO]


def _curto(texto: str) -> str:
    return texto.encode()[:MAIOR_TEXTO].decode(errors="ignore")
