"""Ler uma mensagem que pode ter sido escrita por qualquer um, e republicá-la sem perigo.

Na leitura, as propriedades AMQP viram o que cabe no banco, e a mensagem só vira um Evento se for
exatamente o que o contrato diz. Na ida para NOME.mortas, só vai o que é seguro republicar.
Aqui não se sabe o que é pika.
"""

from __future__ import annotations

from comum.falha import Falha
from comum.loja import id_valido, ler_json, validar
from coreografia import EVENTOS, VERSAO, Evento, quem_ouve, quem_publica

MAIOR_CENTAVOS = 10 ** 15  # cabe com folga num inteiro do SQLite
TEXTOS = ("content_type", "content_encoding", "correlation_id", "message_id", "type", "app_id")
MAIOR_TEXTO = 255  # bytes de um texto curto do AMQP (especificação do AMQP 0-9-1, 4.2.5.3)
MAIOR_CABECALHO = 1000  # caracteres; o maior que a loja usa tem cento e poucos
# O broker entrega uma cópia da mensagem em cada fila que CC e BCC citam: repeti-los ao republicar
# faria uma mensagem morta ressuscitar na fila de onde saiu, para sempre. (Manual do RabbitMQ,
# "Sender-Selected Distribution".) A conta de entregas é de cada fila.
QUE_NAO_VAO = ("CC", "BCC", "x-delivery-count")


class MensagemInvalida(Exception):
    """Uma mensagem que este serviço não entende; o texto é o motivo."""

    sem_conserto = True  # tentar de novo não adianta


def entender(servico: str, corpo: bytes, propriedades: dict) -> Evento:
    """Transforma uma mensagem num Evento, desconfiando de tudo o que ela diz.

    servico: quem a recebeu. corpo: o JSON. propriedades: as que simplificar() devolveu.
    Levanta MensagemInvalida se a mensagem não é exatamente o que o contrato diz.
    """
    try:
        return _entender(servico, corpo, propriedades)
    except MensagemInvalida:
        raise
    except Exception as erro:  # uma estranheza que ninguém previu
        raise MensagemInvalida(f"{type(erro).__name__}: {erro}"[:300]) from erro


def _entender(servico: str, corpo: bytes, propriedades: dict) -> Evento:
    if "ilegiveis" in propriedades:
        raise MensagemInvalida("as propriedades não puderam ser lidas")
    tipo, cabecalhos = propriedades.get("type"), propriedades.get("headers") or {}
    if tipo not in EVENTOS or servico not in quem_ouve(tipo):
        raise MensagemInvalida(f"{servico} não ouve o evento {str(tipo)[:60]!r}")
    versao = cabecalhos.get("versao")
    if type(versao) is not int or versao != VERSAO:
        raise MensagemInvalida(f"versão desconhecida: {str(versao)[:20]!r}; este serviço só "
                               f"conhece a {VERSAO}")
    try:
        dados = CORPOS[EVENTOS[tipo][2]](_objeto(corpo))
    except (ValueError, Falha) as erro:
        raise MensagemInvalida(f"corpo: {erro}") from erro
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
    if evento.causa is not None and (type(evento.causa) is not str or causa not in EVENTOS
                                     or pedido != evento.pedido):
        raise MensagemInvalida("o cabeçalho causa não é o id de um evento deste pedido")


def _objeto(corpo: bytes) -> dict:
    dados = ler_json(corpo)
    if not isinstance(dados, dict):
        raise ValueError("o corpo não é um objeto JSON")
    if "pedido" not in dados:
        raise ValueError("falta o campo 'pedido'")
    return dados


def _pedido_com_total(dados: dict) -> dict:
    total = dados.pop("total", None)
    if type(total) is not int or not 0 <= total <= MAIOR_CENTAVOS:
        raise ValueError("total: não é um inteiro de centavos")
    return {**validar(dados), "total": total}


def _pedido_e_motivo(dados: dict) -> dict:
    if set(dados) != {"pedido", "motivo"}:
        raise ValueError("use exatamente os campos 'pedido' e 'motivo'")
    if not isinstance(dados["motivo"], str) or not 1 <= len(dados["motivo"]) <= 200:
        raise ValueError("motivo: não é um texto de 1 a 200 caracteres")
    if not dados["motivo"].isprintable():  # ele vai para o banco e para a tela
        raise ValueError("motivo: há caracteres de controle no texto")
    if not id_valido(dados["pedido"]):
        raise ValueError("pedido: não é um id de pedido")
    return dados


CORPOS = {"pedido": _pedido_com_total, "motivo": _pedido_e_motivo}  # as formas de coreografia.py


def simplificar(propriedades: dict) -> dict:
    """As propriedades que foram mandadas, só com o que o JSON guarda e devolve igual.

    propriedades: como o pika as entrega, com bytes onde não havia UTF-8. Dos cabeçalhos ficam os
    textos, inteiros e booleanos, e entre eles o porquê de o broker ter desistido de uma mensagem
    (x-first-death-reason); o que é lista, tabela, data ou número com vírgula vira um texto.
    """
    simples = {nome: _simples(valor) for nome, valor in propriedades.items()
               if valor is not None and nome != "headers"}
    if isinstance(cabecalhos := propriedades.get("headers"), dict):
        simples["headers"] = {_curto(_simples(nome)): _simples(valor)
                              for nome, valor in cabecalhos.items()}
    return simples


def a_republicar(propriedades: dict, motivo: str | None) -> dict:
    """O que vai junto quando a mensagem muda de fila, com o motivo da morte (None: não morreu).

    propriedades: as que simplificar() devolveu.
    """
    cabecalhos = propriedades.get("headers")
    cabecalhos = {nome: valor for nome, valor in cabecalhos.items() if nome not in QUE_NAO_VAO} \
        if isinstance(cabecalhos, dict) else {}
    if motivo is not None:
        cabecalhos["motivo"] = motivo
    seguras = {nome: _curto(str(propriedades[nome])) for nome in TEXTOS if nome in propriedades}
    if isinstance(propriedades.get("timestamp"), int):
        seguras["timestamp"] = propriedades["timestamp"]
    return {**seguras, "headers": cabecalhos}


def _simples(valor):
    if type(valor) is str:  # quase todas, em toda mensagem
        return valor[:MAIOR_CABECALHO]
    if valor is None or type(valor) in (int, bool):
        return valor
    if isinstance(valor, bytes):
        valor = valor.decode("utf-8", "backslashreplace")
    if isinstance(valor, int):  # do pika: um inteiro de 64 bits, ou um real que ele já truncou:
        valor = int(valor)      # vira texto, para que 1.5 não passe por 1
    try:
        return str(valor)[:MAIOR_CABECALHO]
    except RecursionError:  # listas dentro de listas, às centenas
        return "…"


def _curto(texto: str) -> str:
    if len(texto) <= MAIOR_TEXTO // 4:  # em UTF-8, quatro bytes por caractere no máximo
        return texto
    return texto.encode()[:MAIOR_TEXTO].decode(errors="ignore")
