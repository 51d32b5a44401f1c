"""Mensagens e pedidos ruins, gerados por uma semente: a mesma semente dá sempre os mesmos.

    venenos("estoque", 300, semente=1)    mensagens que esse serviço não pode aceitar
    pedidos_ruins(1000, semente=1)        pedidos que a porta de entrada tem de recusar

Cada função `estraga_*` parte de uma mensagem perfeita e estraga uma coisa só. As
propriedades são escritas byte a byte, porque o pika se recusa a mandar metade delas: um
programa em outra linguagem, ou mal-intencionado, manda.
(Especificação do AMQP 0-9-1, seção 4.2; manual do RabbitMQ, "AMQP 0-9-1 Errata".)
"""

from __future__ import annotations

import gzip
import json
import random
import struct
from typing import NamedTuple

import pika

from bloqueante import conectar, declarar
from conftest import PRAZO, esperar
from verbos import M, propriedades

MAIOR = 64 * 1024  # bytes de um corpo que ainda é lido
ESCAPES = "\x1b]0;tomado\x07\x1b[2J\x1b[31m\x9b31m\u202e"
INJECOES = ("'; DROP TABLE pedidos; --", "$(touch invadido)", "`touch invadido`", "| touch invadido", "%s%n%x",
            "{0.__class__}", "../../../etc/passwd", "__import__('os').system('touch invadido')", "<script>", "\r\nSET x", "a\0b")


class Veneno(NamedTuple):
    """Uma mensagem ruim. nome: o que ela tem de errado. propriedades: já na forma do AMQP."""

    nome: str
    corpo: bytes
    propriedades: bytes


class Cruas(pika.BasicProperties):
    """Propriedades que já estão escritas em bytes."""

    def __init__(self, prontas: bytes):
        super().__init__()
        self.prontas = prontas

    def encode(self):
        return [self.prontas]


# --- escrever AMQP à mão ---

BITS = {"content_type": 15, "content_encoding": 14, "headers": 13, "delivery_mode": 12, "priority": 11,
        "correlation_id": 10, "reply_to": 9, "expiration": 8, "message_id": 7, "timestamp": 6, "type": 5, "app_id": 3}


def curta(texto) -> bytes:
    texto = texto.encode() if isinstance(texto, str) else texto
    return bytes([len(texto)]) + texto


def longa(tipo: bytes, conteudo: bytes) -> bytes:
    return tipo + struct.pack(">I", len(conteudo)) + conteudo


def campo(valor) -> bytes:
    """Um valor de tabela; bytes já vêm prontos, com a letra do tipo na frente."""
    if isinstance(valor, bytes):
        return valor
    if valor is None:
        return b"V"
    return longa(b"S", valor.encode()) if isinstance(valor, str) else b"I" + struct.pack(">i", valor)


def tabela(pares) -> bytes:
    conteudo = b"".join(curta(nome) + campo(valor) for nome, valor in pares)
    return struct.pack(">I", len(conteudo)) + conteudo


def escrever(props: dict) -> bytes:
    """As propriedades como vão no quadro: um bit para cada uma, e as que existem em ordem."""
    bits, conteudo = 0, b""
    for nome, bit in BITS.items():
        if (valor := props.get(nome)) is None:
            continue
        bits |= 1 << bit
        if nome == "headers":
            conteudo += tabela(valor.items() if isinstance(valor, dict) else valor)
        elif nome in ("delivery_mode", "priority"):
            conteudo += bytes([valor])
        else:
            conteudo += struct.pack(">Q", valor) if nome == "timestamp" else curta(valor)
    return struct.pack(">H", bits) + conteudo


def fundo(tipo: bytes, andares: int) -> bytes:
    """Listas ("A") ou tabelas ("F") umas dentro das outras."""
    por_andar = 5 if tipo == b"A" else 7
    nome = curta("a") if tipo == b"F" else b""
    return b"".join(tipo + struct.pack(">I", (andares - i) * por_andar - 4) + nome for i in range(andares)) + b"V"


# Todo tipo de valor que o broker aceita numa tabela. (Não-números em ponto flutuante e
# letras desconhecidas ele mesmo recusa, fechando a conexão de quem os manda.)
VALORES = {
    "verdadeiro": b"t\x01", "byte": b"b\xff", "byte sem sinal": b"B\xff", "curto": b"s\x80\x00", "curto sem sinal": b"u\xff\xff",
    "inteiro": b"I\x80\x00\x00\x00", "sem sinal": b"i\xff\xff\xff\xff", "longo": b"l" + b"\x80" + b"\0" * 7,
    "decimal": b"D\xff\x7f\xff\xff\xff", "real": b"f" + struct.pack(">f", 1.5), "duplo": b"d" + struct.pack(">d", 1e300),
    "data": b"T" + struct.pack(">Q", 1700000000), "data no ano 36812": b"T" + struct.pack(">Q", 2 ** 40),
    "data no fim dos tempos": b"T" + b"\xff" * 8, "nada": b"V", "binário": longa(b"x", bytes(range(256))),
    "texto que não é UTF-8": longa(b"S", b"\xff\xfe\x80"), "texto com escapes": longa(b"S", ESCAPES.encode()),
    "lista": longa(b"A", b"t\x00V" + longa(b"S", b"x")), "tabela": b"F" + tabela([("a", b"F" + tabela([("b", 1)]))]),
    "lista de 90 andares": fundo(b"A", 90), "lista de 400 andares": fundo(b"A", 400), "lista de 3 mil andares": fundo(b"A", 3000),
    "tabela de 450 andares": fundo(b"F", 450), "tabela de 2 mil andares": fundo(b"F", 2000),
    "binário de 40 KB": longa(b"x", b"\xff" * 40_000), "texto de 120 KB": longa(b"S", b"z" * 120_000),
}
MUITAS_DATAS = [(f"c{i}", VALORES["data"]) for i in range(5000)]  # cabem num quadro; reescritas como texto, não
ERRADOS = (None, True, False, 0, -1, 1, 1.5, 1e300, 10 ** 20, "", " ", "x" * 65, "1", [], [[]], {}, {"a": 1}, [None], "\ud800",
           "\x00", "nulo\x00", ESCAPES, "á\u0301\x85", "\u2028")


# --- a mensagem perfeita de que se parte ---

def perfeita(rng: random.Random, servico: str) -> tuple[dict, dict]:
    """(corpo, propriedades) de um evento que o serviço ouve; a forma depende do evento."""
    tipo = rng.choice(M.coreografia.o_que_ouve(servico))
    id = f"veneno-{rng.randrange(10 ** 9)}"
    if M.coreografia.EVENTOS[tipo][2] == "motivo":
        dados = {"pedido": id, "motivo": "estoque insuficiente"}
    else:
        dados = {"pedido": id, "cliente": "ana", "itens": [{"produto": "livro", "quantidade": 1}], "cep": "01310-100", "total": 5000}
    return dados, propriedades(tipo, dados)


def em_json(dados) -> bytes:
    return json.dumps(dados).encode()


# --- um jeito de estragar por função: devolve (o que houve, corpo, propriedades) ---

def estraga_o_texto(rng, servico, dados, props):
    """O corpo não é JSON, ou não é UTF-8, ou é JSON que ninguém lê do mesmo jeito."""
    bom = em_json(dados)
    ruins = {
        "vazio": b"", "espaços": b" \n\t ", "cortado": bom[:rng.randrange(1, len(bom))], "sobra": bom + b"x", "dois": bom + bom,
        "barulho": rng.randbytes(rng.randrange(1, 400)) + b"\xff", "utf-16": bom.decode().encode("utf-16"), "BOM": b"\xef\xbb\xbf" + bom,
        "latin-1": b'{"pedido": "jo\xe3o"}', "repr do Python": str(dados).encode(), "xml": b"<pedido/>", "gzip": gzip.compress(bom),
        "comentário": b"/* */" + bom,
        "chave repetida": b'{"pedido": "a", ' + bom[1:], "chave repetida no fundo": b'{"itens": [{"a": 1, "a": 2}], ' + bom[1:],
        "aninhado": b"[" * rng.randrange(2000, 60000), "objetos aninhados": b'{"a":' * rng.randrange(2000, 12000),
        "NaN": bom.replace(b"{", b'{"x": NaN, ', 1), "infinito": bom.replace(b"{", b'{"x": -Infinity, ', 1),
        "número de 5 mil algarismos": bom.replace(b"{", b'{"x": ' + b"9" * 5000 + b", ", 1), "1e400": bom.replace(b"{", b'{"x": 1e400, ', 1),
        "cheio de zeros": b"\0" * 1000, "escapes": ESCAPES.encode(), "grande demais": bom + b" " * MAIOR,
    }
    nome = rng.choice(sorted(ruins))
    return nome, ruins[nome], props


def estraga_a_forma(rng, servico, dados, props):
    """JSON, mas não o que o contrato diz: falta, sobra, ou não é um objeto."""
    como, nome = rng.choice(["falta", "sobra", "raiz"]), ""
    if como == "falta":
        nome = rng.choice(sorted(set(dados) - {"pedido"}))  # um pedido sem id ganha um
        del dados[nome]
    elif como == "sobra":
        nome = rng.choice(["x", "", "Pedido", "total ", "__class__", "é", "\x1b[2J"])
        dados[nome] = rng.choice(ERRADOS)
    else:
        dados = rng.choice([None, True, 1, 1.5, "texto", [], [dados], {}, {"pedido": dados}])
    return nome, em_json(dados), props


def estraga_um_campo(rng, servico, dados, props):
    """Um campo com o tipo ou o valor errado, às vezes dentro dos itens."""
    nome = rng.choice(sorted(dados))
    if nome == "itens" and rng.random() < 0.8:
        item, onde = dict(dados["itens"][0]), rng.choice(["produto", "quantidade", "itens"])
        if onde == "produto":
            item["produto"] = rng.choice([v for v in ERRADOS if v not in (" ", "1")])
        elif onde == "quantidade":
            item["quantidade"] = rng.choice([v for v in ERRADOS if v is True or v != 1] + [1001, 2 ** 63, "2"])
        dados["itens"] = rng.choice([[item] * 51, [item, item], [], item]) if onde == "itens" else [item]
        return onde, em_json(dados), props
    aceitos = {"cliente": (" ", "1"), "motivo": (" ", "1", "x" * 65), "total": (0, 1, 10 ** 20), "pedido": ("1",)}.get(nome, ())
    dados[nome] = rng.choice([v for v in ERRADOS if v is True or v is False or v not in aceitos] + ["y" * 201])
    return nome, em_json(dados), props


def estraga_com_injecao(rng, servico, dados, props):
    """O id do pedido tenta ser SQL, comando, formato ou caminho."""
    dados["pedido"] = rng.choice(INJECOES)
    return "injeção", em_json(dados), {**props, "correlation_id": dados["pedido"][:60], "message_id": (dados["pedido"] + ":x")[:60]}


def estraga_uma_propriedade(rng, servico, dados, props):
    """Uma propriedade que falta, que mente, que é longa ou que não é texto."""
    nome = rng.choice(["message_id", "correlation_id", "type", "app_id", "content_type"])
    props[nome] = rng.choice([None, "", "outro", "z" * 255, b"\xff" * 255, "á" * 127, b"\xed\xa0\x80", ESCAPES, rng.choice(INJECOES),
                              props[nome] + " ", props[nome].upper() + "X", b"\0" + props[nome].encode()])
    return nome, em_json(dados), props


def estraga_o_tipo(rng, servico, dados, props):
    """Um evento que não existe, ou que existe e este serviço não ouve."""
    surdos = sorted(set(M.coreografia.EVENTOS) - set(M.coreografia.o_que_ouve(servico)))
    props["type"] = rng.choice([*surdos, *surdos, "pedido", "pedido.", "#", "*", "pedido.criado2", "PEDIDO.CRIADO", "a" * 255])
    props["message_id"] = f"{dados['pedido']}:{props['type']}"[:255]
    return "tipo", em_json(dados), props


def estraga_os_cabecalhos(rng, servico, dados, props):
    """Cabeçalhos que o pika não lê, ou não escreve de volta; a versão garante que ninguém aceita a mensagem."""
    nome = rng.choice(sorted(VALORES))
    chave = rng.choice(["x", "", "motivo", "x-death", "causa", "á" * 127, b"\xff\xfe", b"\xff" * 255, ESCAPES.encode(), b"\0"])
    props["headers"] = rng.choice([
        [("versao", 7), (chave, VALORES[nome])],
        [("versao", 7), ("versao", VALORES[nome]), (chave, 1), (chave, 2)],
        [("versao", 7), ("CC", longa(b"A", longa(b"S", servico.encode())))],  # ressuscitaria na fila de onde saiu
        [("versao", 7), *MUITAS_DATAS],
    ])
    return f"cabeçalhos: {nome}", em_json(dados), props


ESTRAGOS = (estraga_o_texto, estraga_a_forma, estraga_um_campo, estraga_com_injecao, estraga_uma_propriedade, estraga_o_tipo,
            estraga_os_cabecalhos)


def venenos(servico: str, quantos: int, semente: int) -> list[Veneno]:
    """`quantos` mensagens que o serviço não pode aceitar, de todos os jeitos em partes iguais."""
    feitos = []
    for i in range(quantos):
        rng = random.Random(f"{semente}/{servico}/{i}")
        estragar = ESTRAGOS[i % len(ESTRAGOS)]
        nome, corpo, props = estragar(rng, servico, *perfeita(rng, servico))
        feitos.append(Veneno(f"{estragar.__name__}: {nome}", corpo, escrever(props)))
    return feitos


def publicar(url: str, fila: str, doses: list[Veneno]) -> None:
    """Põe os venenos direto na fila e espera o broker responder por todos."""
    declarar(url)
    with conectar(url) as conexao:
        canal = conexao.channel()
        canal.tx_select()
        for i, dose in enumerate(doses, 1):
            canal.basic_publish("", fila, dose.corpo, Cruas(dose.propriedades))
            if i % 100 == 0:
                canal.tx_commit()
        canal.tx_commit()


def ler_mortas(url: str, servico: str, quantas: int, prazo: float = PRAZO) -> list[tuple]:
    """As `quantas` primeiras mensagens de NOME.mortas, sem tirá-las de lá: [(corpo, propriedades)]."""
    achadas: list[tuple] = []
    with conectar(url) as conexao:
        canal = conexao.channel()
        if quantas:
            canal.basic_qos(prefetch_count=quantas)  # sem dizer, uma fila quorum entrega só 2.000 de cada vez
            canal.basic_consume(f"{servico}.mortas", lambda _canal, _metodo, props, corpo: achadas.append((corpo, props)))
        esperar(lambda: conexao.process_data_events(0.1) or len(achadas) >= quantas, prazo, f"{quantas} mensagens em {servico}.mortas")
    return achadas


# --- pedidos ruins ---

def pedido_bom(rng: random.Random) -> dict:
    produtos = rng.sample(["livro", "caneca", "teclado", "notebook", "x" * 64, "é"], rng.randrange(1, 5))
    return {"pedido": f"p.{rng.randrange(10 ** 9)}_-"[:64], "cliente": rng.choice(["ana", "bruno", "b" * 64, "'; DROP TABLE x; --"]),
            "itens": [{"produto": p, "quantidade": rng.choice([1, 2, 1000])} for p in produtos], "cep": rng.choice(["01310-100", "69900062"])}


def valor_qualquer(rng: random.Random, andares: int = 3):
    """Qualquer coisa que um JSON pode dizer."""
    if andares and rng.random() < 0.3:
        if rng.random() < 0.5:
            return [valor_qualquer(rng, andares - 1) for _ in range(rng.randrange(4))]
        return {str(valor_qualquer(rng, 0))[:9]: valor_qualquer(rng, andares - 1) for _ in range(rng.randrange(4))}
    return rng.choice([*ERRADOS, *INJECOES, 2 ** 63, -2 ** 63, 10 ** 29, 1e-300, -0.0, "livro", "ana", "01310-100", "٣" * 8, "０１３１０１００"])


def pedidos_ruins(quantos: int, semente: int) -> list[tuple[str, bytes]]:
    """(o nome que o erro tem de dizer, a linha) de cada pedido."""
    feitos = []
    for i in range(quantos):
        rng, estragar = random.Random(f"{semente}/{i}"), ESTRAGOS[i % 3]
        nome, corpo, _ = estragar(rng, "estoque", pedido_bom(rng), {})
        diz = nome if estragar is not estraga_o_texto and nome.isprintable() else ""
        feitos.append((diz, corpo.replace(b"\n", b" ") if corpo.strip() else b"{}"))
    return feitos
