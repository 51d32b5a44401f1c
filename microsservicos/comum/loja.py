"""A loja: o que é um pedido, quais são os cenários e como se lê um arquivo de pedidos.

Um pedido malformado é recusado aqui, na porta, antes de qualquer gravação. Um
pedido bem formado que não pode ser atendido é assunto de cada dono dos dados.
"""

import codecs
import json
import re
import uuid
from typing import Iterable

from comum.falha import Falha

DONOS = ("pedidos", "estoque", "pagamentos", "envio")  # dos dados; cada um com o seu banco
CENARIOS = {
    "sucesso": {
        "cliente": "ana", "itens": [{"produto": "livro", "quantidade": 2}], "cep": "01310-100"},
    "sem-estoque": {
        "cliente": "ana", "itens": [{"produto": "notebook", "quantidade": 3}], "cep": "01310-100"},
    "pagamento-recusado": {
        "cliente": "bruno", "itens": [{"produto": "teclado", "quantidade": 1}], "cep": "20040-002"},
    "envio-recusado": {
        "cliente": "carla", "itens": [{"produto": "caneca", "quantidade": 1}], "cep": "69900-062"},
}

# Os motivos de uma recusa, com as mesmas palavras nas duas arquiteturas.
PRODUTO_DESCONHECIDO = "produto desconhecido"
ESTOQUE_INSUFICIENTE = "estoque insuficiente"
CLIENTE_DESCONHECIDO = "cliente desconhecido"
SALDO_INSUFICIENTE = "saldo insuficiente"
CEP_FORA_DA_AREA = "CEP fora da área de entrega"

MAIOR_LINHA = 64 * 1024  # bytes; o maior pedido possível cabe nisso
MAIS_PEDIDOS = 1_000_000  # cabem na memória de uma máquina comum
MAIOR_ARQUIVO = 512 * 1024 ** 2  # bytes lidos de --arquivo, que pode ser um pipe sem fim
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_CEP = re.compile(r"([0-9]{5})-?([0-9]{3})", re.ASCII)


def id_pelo_comeco(dito: str, conhecidos: Iterable[str]) -> str:
    """O id, entre os conhecidos, que é `dito` ou que é o único a começar por ele.

    dito: o que a pessoa escreveu, com ou sem o `…` com que a tela o encurta.
    Levanta Falha (código 2) se não é de nenhum, ou de mais de um.
    """
    comeco = dito.rstrip("…")
    achados = [id for id in conhecidos if id.startswith(comeco)] if comeco else []
    if comeco in achados:
        return comeco
    if len(achados) > 1:
        raise Falha(f"{dito[:64]!r} é o começo de {len(achados)} pedidos: "
                    f"{', '.join(sorted(achados)[:3])}…; escreva mais do id", 2)
    if not achados:
        raise Falha(f"não há nenhum pedido {dito[:64]!r}: confira o id (--estado, no programa "
                    "principal)", 2)
    return achados[0]


def conteudo(pedido: dict) -> tuple:
    """O que, além do id, faz de um pedido validado este pedido; a ordem dos itens não conta."""
    itens = sorted((item["produto"], item["quantidade"]) for item in pedido["itens"])
    return pedido["cliente"], pedido["cep"], *itens


def de_outro_conteudo(banco, pedidos: list[dict]) -> list[str]:
    """Os ids destes pedidos que no banco já são de um pedido com outro cliente, itens ou CEP.

    banco: com as tabelas pedidos, itens e enderecos. pedidos: já validados.
    """
    outros = []
    for pedido in pedidos:
        cliente_e_cep = banco.execute("SELECT cliente, cep FROM pedidos JOIN enderecos "
                                      "USING (pedido) WHERE pedido = :pedido", pedido).fetchone()
        itens = banco.execute("SELECT produto, quantidade FROM itens WHERE pedido = :pedido "
                              "ORDER BY produto", pedido)
        if cliente_e_cep and (*cliente_e_cep, *itens) != conteudo(pedido):
            outros.append(pedido["pedido"])
    return outros


def validar(dados, mais: Iterable[str] = ()) -> dict:
    """Confere um pedido e o devolve completo, com id e com o CEP na forma 00000-000.

    dados: o que veio do JSON. mais: os campos que também deve ter. Levanta Falha (código 2) com o
    nome do campo errado.
    """
    conferir(dados, "o pedido", {"cliente", "itens", "cep", *mais}, {"pedido"}.difference(mais))
    for item in dados["itens"]:
        conferir(item, "itens: um item", {"produto", "quantidade"})
    if len({item["produto"] for item in dados["itens"]}) < len(dados["itens"]):
        raise Falha("itens: um produto aparece duas vezes", 2)
    return {**dados, "pedido": dados.get("pedido") or str(uuid.uuid4()),
            "cep": "-".join(_CEP.fullmatch(dados["cep"]).groups())}


def conferir(dados, o_que: str, campos: set[str], a_mais: set[str] = frozenset()) -> dict:
    """Os dados, se têm estes campos, talvez os `a_mais`, e nenhum outro; e se cada um serve."""
    if not isinstance(dados, dict):
        raise Falha(f"{o_que} deve ser um objeto JSON, entre {{ e }}", 2)
    for campo in sorted((dados.keys() - a_mais) ^ campos):
        como = "falta" if campo in campos else "não conheço"
        raise Falha(f"{o_que}: {como} o campo {campo[:40]!r}", 2)
    for campo, valor in dados.items():
        tipo, serve, conselho = CAMPOS[campo]
        if type(valor) is not tipo or not serve(valor):  # nem True, que em Python é um int
            raise Falha(f"{campo}: {conselho}", 2)
    return dados


UM_TEXTO = (str, lambda texto: 1 <= len(texto) <= 64 and texto.isprintable(),
            "use um texto de 1 a 64 caracteres, sem os de controle")
CAMPOS = {  # campo: (o tipo, se o valor serve, o que se aconselha a quem deu outro)
    "pedido": (str, _ID.fullmatch, "use de 1 a 64 caracteres entre A-Z a-z 0-9 . _ -"),
    "cliente": UM_TEXTO,
    "itens": (list, lambda itens: 1 <= len(itens) <= 50, "use uma lista de 1 a 50 itens"),
    "cep": (str, _CEP.fullmatch, "use oito dígitos, com ou sem hífen, como 01310-100"),
    "produto": UM_TEXTO,
    "quantidade": (int, range(1, 1001).__contains__, "use um inteiro de 1 a 1000"),
    "total": (int, range(10 ** 15).__contains__, "use um inteiro de centavos"),
    "motivo": (str, lambda texto: 1 <= len(texto) <= 200 and texto.isprintable(),
               "use um texto de 1 a 200 caracteres, sem os de controle"),
}


def ler_json(texto: bytes):
    """Lê um JSON vindo de fora, sem confiar nele.

    Levanta ValueError, com a explicação, se é grande demais, se não é UTF-8 nem JSON,
    se aninha demais ou se repete uma chave (o que cada leitor entenderia de um jeito).
    """
    if len(texto) > MAIOR_LINHA:
        raise ValueError(f"maior que {MAIOR_LINHA // 1024} KiB")
    try:
        return _LEITOR.decode(texto.decode("utf-8"))
    except json.JSONDecodeError as erro:
        raise ValueError(f"não é JSON: coluna {erro.pos + 1}") from erro
    except (ValueError, RecursionError) as erro:  # cada versão do Python tem os seus limites
        raise ValueError("não é UTF-8, ou é um JSON com uma chave repetida, um número longo demais "
                         "ou aninhado demais") from erro


def _sem_repetir(pares: list) -> dict:
    objeto = dict(pares)
    if len(objeto) != len(pares):
        raise ValueError
    return objeto


_LEITOR = json.JSONDecoder(object_pairs_hook=_sem_repetir)


def ler_arquivo(caminho: str) -> list[dict]:
    """Lê um pedido JSON por linha; `-` é a entrada padrão; linhas em branco são puladas.

    Uma linha ruim condena o arquivo inteiro: levanta Falha (código 2) com o número dela,
    e nenhum pedido é enviado. Levanta OSError se não dá para ler.
    """
    nome = "entrada padrão" if caminho == "-" else caminho
    with open(0 if caminho == "-" else caminho, "rb", closefd=caminho != "-") as entrada:
        pedidos = list(_ler_linhas(entrada, nome))
    if not pedidos:
        raise Falha(f"{nome}: não há nenhum pedido", 2)
    return pedidos


def _ler_linhas(entrada, nome: str):
    numero = lidos = 0
    vistos: dict[str, tuple] = {}  # id -> (o que se pediu, em que linha)
    # readline com limite: uma linha de gigabytes não enche a memória antes da recusa.
    while linha := entrada.readline(MAIOR_LINHA + 1):
        numero, lidos = numero + 1, lidos + len(linha)
        if numero == 1:
            linha = linha.removeprefix(codecs.BOM_UTF8)  # a marca do Bloco de Notas
        if numero > MAIS_PEDIDOS or lidos > MAIOR_ARQUIVO:
            raise Falha(f"{nome}: no máximo {MAIS_PEDIDOS} linhas e {MAIOR_ARQUIVO >> 20} MiB "
                        "de cada vez: divida o arquivo", 2)
        if len(linha) <= MAIOR_LINHA and not linha.strip():
            continue
        try:
            pedido = validar(ler_json(linha))
            pediu, onde = vistos.setdefault(pedido["pedido"], (hash(conteudo(pedido)), numero))
            if pediu != hash(conteudo(pedido)):
                raise Falha(f"{pedido['pedido']} já está na linha {onde}, com outro conteúdo", 2)
            yield pedido
        except (Falha, ValueError) as erro:
            raise Falha(f"{nome}, linha {numero}: {erro}", 2) from erro
