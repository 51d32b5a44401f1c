"""Uma loja só: a mesma tabela de pedidos e as mesmas afirmações, nas duas arquiteturas.

Cada arquitetura faz os pedidos um depois do outro (na saga, um só entra quando o anterior
terminou) e mostra o seu --estado; os dois textos têm de ser iguais, byte por byte. Quando
os pedidos se sobrepõem, a saga pode terminar de outro jeito: isso é uma lição, e não está aqui.
"""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from verbos import INICIAL, PRECOS, Loja, mistura, pedido, propriedades, rodar, total, vhost_novo

SORTEADOS, UNIDADES, CENTAVOS = 200, 40, 6_000_000  # quantos pedidos; o que se repõe antes deles, de cada produto e cliente
OK, SEM_ESTOQUE, SEM_SALDO = ("concluido", None), ("cancelado", "estoque insuficiente"), ("cancelado", "saldo insuficiente")
LONGE, DESCONHECIDO, NINGUEM = (("cancelado", motivo) for motivo in (
    "CEP fora da área de entrega", "produto desconhecido", "cliente desconhecido"))

# caso: (os pedidos, como cada um termina). Os casos vêm um depois do outro, sobre os mesmos dados.
TABELA = {
    "os quatro cenários": (mistura(4, "c"), [OK, SEM_ESTOQUE, SEM_SALDO, LONGE]),
    "vários itens": ([pedido("v-1", caneca=3, teclado=1)], [OK]),
    "o segundo item falta": ([pedido("v-2", caneca=51)], [SEM_ESTOQUE]),
    "produto desconhecido": ([pedido("d-1", "ana", "foguete")], [DESCONHECIDO]),
    "um conhecido e um não": ([pedido("d-2", foguete=1)], [DESCONHECIDO]),
    "cliente desconhecido": ([pedido("d-3", "fulano")], [NINGUEM]),
    "cliente e produto desconhecidos": ([pedido("d-4", "fulano", "foguete")], [DESCONHECIDO]),
    "sem estoque e cliente desconhecido": ([pedido("d-5", "fulano", "notebook", 3)], [SEM_ESTOQUE]),
    "sem saldo e longe": ([pedido("d-6", "bruno", "teclado", 1, "69900-062")], [SEM_SALDO]),
    "cep sem hífen": ([pedido("h-1", "carla", "caneca", 1, "20040002")], [OK]),
    "cep longe sem hífen": ([pedido("h-2", "carla", "caneca", 1, "69000000")], [LONGE]),
    "bruno gasta até o último centavo": ([pedido("b-1", "bruno", "livro", 2), pedido("b-2", "bruno", "caneca", 1)], [OK, SEM_SALDO]),
    "os dois notebooks e o que não há": ([pedido(f"n-{n}", "ana", "notebook", 1) for n in range(3)], [OK, OK, SEM_ESTOQUE]),
    "canecas até acabar": ([pedido("k-1", "carla", "caneca", 30), pedido("k-2", "carla", "caneca", 16),
                            pedido("k-3", "ana", "caneca", 16), pedido("k-4", "ana", "caneca", 1)], [OK, SEM_SALDO, OK, SEM_ESTOQUE]),
    "a maior quantidade": ([pedido("q-1", "ana", "livro", 1000)], [SEM_ESTOQUE]),
    "o id e o cliente mais longos": ([pedido("x" * 64, "ã" * 64, "livro", 1)], [NINGUEM]),
}


def sorteio(quantos: int, semente: int) -> list[dict]:
    """Pedidos de todo tipo, alguns repetidos: a mesma semente dá sempre os mesmos."""
    acaso = random.Random(semente)
    pedidos = []
    for n in range(quantos):
        if n and acaso.random() < 0.1:
            pedidos.append(acaso.choice(pedidos))
            continue
        produtos = acaso.sample([*PRECOS, "livro velho", "caneca trincada"], acaso.choice([1, 1, 2, 3]))
        pedidos.append({"pedido": f"s-{n}", "cliente": acaso.choice(["ana", "ana", "bruno", "carla", "carla", "fulano"]),
                        "itens": [{"produto": produto, "quantidade": acaso.randint(1, 5)} for produto in produtos],
                        "cep": acaso.choice(["01310-100", "20040002", "40000-000", "69900-062", "68999-999"])})
    return pedidos


class Monolito:
    nome, script = "monolito", "monolito/app.py"

    def __init__(self, broker, pasta: Path):
        self.dados = pasta
        self.mostrar()  # cria os bancos

    def fazer(self, pedidos: list[dict]) -> None:
        arquivo = self.dados.parent / "pedidos.jsonl"
        arquivo.write_text("\n".join(map(json.dumps, pedidos)), encoding="utf-8")
        programa = rodar(self.script, "--dados", self.dados, "--arquivo", arquivo, prazo=120)
        assert programa.fim() == 0, programa.texto

    def mostrar(self) -> str:
        return rodar(self.script, "--dados", self.dados, "--estado").texto

    def repor(self) -> None:
        """O que um professor faz entre duas turmas: o mesmo tanto nas duas colunas."""
        for banco, tabela, coluna in (("estoque", "produtos", "quantidade"), ("pagamentos", "clientes", "saldo")):
            with closing(sqlite3.connect(self.dados / self.nome / f"{banco}.db", isolation_level=None)) as conexao:
                quanto = UNIDADES if banco == "estoque" else CENTAVOS
                conexao.execute(f"UPDATE {tabela} SET inicial = inicial + {quanto}, {coluna} = {coluna} + {quanto}")

    def fechar(self) -> None:
        pass


class Microsservicos(Monolito):
    nome, script = "microsservicos", "orquestracao.py"

    def __init__(self, broker, pasta: Path):
        super().__init__(broker, pasta)
        self.loja = Loja(pasta, f"amqp://guest:guest@127.0.0.1:{broker.porta}/{vhost_novo(broker)}").iniciar()
        self.feito: dict | None = None

    def fazer(self, pedidos: list[dict]) -> None:
        """Um pedido só entra na saga quando o anterior terminou."""
        for p in pedidos:
            self.loja.enviar(p)
            self.acordar()
            self.loja.esperar_finais()
            self.feito = self.feito or {**p, "total": total(p)}

    def acordar(self) -> None:
        """Uma repetição faz o serviço olhar a caixa de saída já, e não no décimo de segundo seguinte."""
        if self.feito:
            self.loja.publicar_crua("pedidos", json.dumps(self.feito).encode(), exchange="", **propriedades("envio.despachado", self.feito))

    def fechar(self) -> None:
        self.loja.fechar()


@pytest.fixture(scope="module")
def lado_a_lado(broker, tmp_path_factory):
    """{arquitetura: [o --estado depois da tabela, o --estado depois da reposição e do sorteio]}."""
    textos = {}
    for classe in (Monolito, Microsservicos):
        arquitetura = classe(broker, tmp_path_factory.mktemp(classe.nome) / "dados")
        try:
            arquitetura.fazer([p for pedidos, _ in TABELA.values() for p in pedidos])
            textos[classe.nome] = [arquitetura.mostrar()]
            arquitetura.repor()
            arquitetura.fazer(sorteio(SORTEADOS, semente=1))
            textos[classe.nome].append(arquitetura.mostrar())
        finally:
            arquitetura.fechar()
    return textos


@pytest.fixture(params=[Monolito.nome, Microsservicos.nome])
def nome(request) -> str:
    return request.param


@pytest.mark.parametrize("caso", TABELA)
def test_pedido_termina_como_o_contrato_diz(lado_a_lado, nome, caso):
    pedidos, fins = TABELA[caso]
    fim = json.loads(lado_a_lado[nome][0])["pedidos"]
    assert [(fim[p["pedido"]]["estado"], fim[p["pedido"]]["motivo"]) for p in pedidos] == fins
    for p in pedidos:
        assert fim[p["pedido"]]["total"] == total(p)


@pytest.mark.parametrize("qual", [0, 1], ids=["tabela", "sorteio"])
def test_estado_e_exatamente_o_que_os_pedidos_concluidos_explicam(lado_a_lado, nome, qual):
    fim = json.loads(lado_a_lado[nome][qual])
    primeiros = {}
    for p in [p for pedidos, _ in TABELA.values() for p in pedidos] + sorteio(SORTEADOS, semente=1) * qual:
        primeiros.setdefault(p["pedido"], p)
    assert set(fim) == {"clientes", "envios", "pedidos", "produtos"} and set(fim["pedidos"]) == set(primeiros)
    produtos = {produto: quantos + UNIDADES * qual for produto, quantos in INICIAL["produtos"].items()}
    clientes = {cliente: saldo + CENTAVOS * qual for cliente, saldo in INICIAL["clientes"].items()}
    concluidos = [primeiros[id] for id, f in fim["pedidos"].items() if f["estado"] == "concluido"]
    for p in concluidos:
        clientes[p["cliente"]] -= total(p)
        for item in p["itens"]:
            produtos[item["produto"]] -= item["quantidade"]
    assert (fim["produtos"], fim["clientes"]) == (produtos, clientes)
    assert fim["envios"] == {p["pedido"]: "despachado" for p in concluidos}
    assert min(produtos.values()) >= 0 and min(clientes.values()) >= 0


def test_o_sorteio_passa_por_todos_os_fins(lado_a_lado):
    fim = json.loads(lado_a_lado["monolito"][1])["pedidos"]
    fins = {(f["estado"], f["motivo"]) for id, f in fim.items() if id.startswith("s-")}
    assert fins == {OK, SEM_ESTOQUE, SEM_SALDO, LONGE, DESCONHECIDO, NINGUEM}, "a comparação deixou um fim de fora"


@pytest.mark.parametrize("qual", [0, 1], ids=["tabela", "sorteio"])
def test_as_duas_arquiteturas_mostram_o_mesmo_texto(lado_a_lado, qual):
    monolito, microsservicos = (lado_a_lado[a][qual] for a in ("monolito", "microsservicos"))
    assert monolito == microsservicos
    assert monolito == json.dumps(json.loads(monolito), sort_keys=True, indent=2, ensure_ascii=False)


# --- a porta de entrada ---

@pytest.mark.parametrize("quantos", [1, 12], ids=["um", "muitos"])
@pytest.mark.parametrize("classe", [Monolito, Microsservicos], ids=["monolito", "microsservicos"])
def test_o_mesmo_id_outra_vez_e_com_outro_conteudo(classe, quantos, url, tmp_path):
    """Na segunda vez, a metade é a mesma, e a outra tem outro conteúdo: esta não é atendida, e o status é 1."""
    def rodar_com(pedidos):
        (tmp_path / "pedidos.jsonl").write_text("\n".join(map(json.dumps, pedidos)))
        fim = ["--ate-concluir"] if classe is Microsservicos else []
        return rodar(classe.script, "--dados", tmp_path, "--arquivo", tmp_path / "pedidos.jsonl", *fim, url=url)

    primeiros = [pedido(f"p-{n}", quantidade=1) for n in range(2 * quantos)]
    assert rodar_com(primeiros).fim() == 0
    antes = rodar(classe.script, "--dados", tmp_path, "--estado").texto
    iguais = rodar_com(primeiros[:quantos])
    assert iguais.fim() == 0 and "já existia" in iguais.texto.replace("existiam", "existia"), iguais.texto
    outros = [{**p, "cliente": "carla"} for p in primeiros[quantos:]]
    assert (fim := rodar_com(primeiros[:quantos] + outros)).fim() == 1, fim.texto
    assert "outro conteúdo" in fim.texto
    assert rodar(classe.script, "--dados", tmp_path, "--estado").texto == antes


def test_estado_antes_de_qualquer_pedido_e_o_mesmo(tmp_path):
    monolito, microsservicos = (rodar(classe.script, "--dados", tmp_path, "--estado").texto for classe in (Monolito, Microsservicos))
    assert monolito == microsservicos and json.loads(monolito) == {
        "clientes": INICIAL["clientes"], "envios": {}, "pedidos": {}, "produtos": INICIAL["produtos"]}


@pytest.mark.parametrize("banco, tabela", [
    ("pedidos", "pedidos(pedido, cliente, total, estado, motivo)"), ("estoque", "produtos(produto, inicial, quantidade)"),
    ("pagamentos", "clientes(cliente, inicial, saldo)"), ("envio", "envios(pedido, cep, situacao)")])
def test_tabelas_e_colunas_que_o_contrato_promete_a_quem_abre_o_sqlite3(tmp_path, banco, tabela):
    nome, colunas = tabela.rstrip(")").split("(")
    for classe in (Monolito, Microsservicos):
        rodar(classe.script, "--dados", tmp_path, "--estado")
        with closing(sqlite3.connect(tmp_path / classe.nome / f"{banco}.db")) as conexao:
            achadas = [linha[1] for linha in conexao.execute(f"PRAGMA table_info({nome})")]
        assert achadas == colunas.split(", "), classe.nome
