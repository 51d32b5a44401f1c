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

from maquete import Maquete
from verbos import INICIAL, M, PRECOS, SEM_BROKER, Loja, mistura, pedido, rodar, total

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

    def __init__(self, dados: Path):
        self.dados = dados
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


class Microsservicos(Monolito):
    """Os quatro serviços, na maquete: um pedido só entra na saga quando o anterior terminou."""

    nome, script = "microsservicos", "orquestracao.py"

    def fazer(self, pedidos: list[dict]) -> None:
        maquete = Maquete(self.dados)
        for p in pedidos:
            maquete.entrar(M.servico_pedidos.receber, M.loja.validar(p))
            maquete.fazer("andar")


@pytest.fixture(scope="module")
def lado_a_lado(tmp_path_factory):
    """{arquitetura: [o --estado depois da tabela, o --estado depois da reposição e do sorteio]}."""
    textos = {}
    for classe in (Monolito, Microsservicos):
        arquitetura = classe(tmp_path_factory.mktemp(classe.nome) / "dados")
        arquitetura.fazer([p for pedidos, _ in TABELA.values() for p in pedidos])
        textos[classe.nome] = [arquitetura.mostrar()]
        arquitetura.repor()
        arquitetura.fazer(sorteio(SORTEADOS, semente=1))
        textos[classe.nome].append(arquitetura.mostrar())
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
def test_as_duas_arquiteturas_mostram_o_mesmo_texto_e_ele_e_o_que_os_concluidos_explicam(lado_a_lado, qual):
    monolito, microsservicos = (lado_a_lado[a][qual] for a in ("monolito", "microsservicos"))
    fim = json.loads(monolito)
    assert monolito == microsservicos == json.dumps(fim, sort_keys=True, indent=2, ensure_ascii=False)
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


# --- a porta de entrada ---

def test_o_lancador_diz_com_o_status_1_que_o_mesmo_id_veio_com_outro_conteudo(url, tmp_path):
    """Os outros programas são conferidos nas pastas deles."""
    primeiros = [pedido("p-1"), pedido("p-2")]
    for pedidos, status in (primeiros, 0), ([primeiros[0], {**primeiros[1], "cliente": "carla"}], 1):
        (tmp_path / "pedidos.jsonl").write_text("\n".join(map(json.dumps, pedidos)))
        fim = rodar("orquestracao.py", "--dados", tmp_path, "--arquivo", tmp_path / "pedidos.jsonl", "--ate-concluir", url=url)
        assert fim.fim() == status and ("outro conteúdo" in fim.texto) == status, fim.texto
    estado = json.loads(rodar("orquestracao.py", "--dados", tmp_path, "--estado").texto)
    assert estado["clientes"] == {**INICIAL["clientes"], "ana": INICIAL["clientes"]["ana"] - 2 * total(primeiros[0])}


def test_antes_de_qualquer_pedido_o_estado_e_o_mesmo_e_as_tabelas_sao_as_que_o_contrato_promete(tmp_path):
    """A quem abre o sqlite3: as tabelas, e as colunas delas, nesta ordem."""
    for classe in (Monolito, Microsservicos):
        assert json.loads(rodar(classe.script, "--dados", tmp_path, "--estado").texto) == {
            "clientes": INICIAL["clientes"], "envios": {}, "pedidos": {}, "produtos": INICIAL["produtos"]}
    Loja(tmp_path, SEM_BROKER)  # os bancos dos serviços, que --estado não cria
    for classe in (Monolito, Microsservicos):
        for banco, tabela, *colunas in (
                ("pedidos", "pedidos", "pedido", "cliente", "total", "estado", "motivo"), ("estoque", "produtos", "produto", "inicial", "quantidade"),
                ("pagamentos", "clientes", "cliente", "inicial", "saldo"), ("envio", "envios", "pedido", "cep", "situacao")):
            with closing(sqlite3.connect(tmp_path / classe.nome / f"{banco}.db")) as conexao:
                assert [linha[1] for linha in conexao.execute(f"PRAGMA table_info({tabela})")] == colunas, classe.nome
