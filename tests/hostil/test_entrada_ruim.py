"""Entrada ruim: milhares de mensagens, pedidos e linhas de comando que não servem.

Uma mensagem ruim vai para NOME.mortas com o motivo, e o serviço segue; um pedido ou um
comando ruim é uma linha em português, status 2, e nada guardado. Os venenos são gerados
por uma semente (VENENOS_SEMENTE troca a de costume): ver venenos.py.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pika
import pytest

from conftest import RAIZ, esperar
from venenos import (ESCAPES, MUITAS_DATAS, VALORES, Cruas, Veneno, em_json, escrever, ler_mortas, pedido_bom,
                     pedidos_ruins, perfeita, publicar, valor_qualquer, venenos)
from verbos import M, SEM_BROKER, SERVICOS, Loja, cenario, loja, mistura, rodar  # noqa: F401

SEMENTE = int(os.environ.get("VENENOS_SEMENTE", "2026"))
DOMINIO = {"pedidos": ("pedidos", "itens"), "estoque": ("produtos", "reservas", "respostas"),
           "pagamentos": ("clientes", "cobrancas", "respostas"), "envio": ("envios", "respostas")}
NOME_DE_ERRO = re.compile(r"^[A-Za-z.]*(Error|Exception|Interrupt)\b|Traceback")


# --- mensagens ---

def envenenar(loja: Loja, por_fila: int, bons: int) -> dict[str, list[Veneno]]:
    """Põe veneno nas quatro filas e pedidos bons no meio; volta quando todo veneno está nas mortas."""
    doses = {nome: venenos(nome, por_fila, SEMENTE) for nome in SERVICOS}
    for terco in range(3):  # bons e ruins intercalados, com os serviços trabalhando
        for nome in SERVICOS:
            publicar(loja.url, nome, doses[nome][terco::3])
        loja.enviar(*mistura(bons, "bom")[terco::3])
    for nome in SERVICOS:
        esperar(lambda: loja.profundidade(f"{nome}.mortas") >= por_fila, 120, f"{por_fila} em {nome}.mortas, semente {SEMENTE}")
    loja.esperar_finais(120)
    return doses


def conferir_mortas(loja: Loja, doses: dict[str, list[Veneno]]) -> None:
    """Cada veneno na fila de mortas do seu serviço, uma vez, com o corpo de antes e um motivo legível."""
    for nome in doses:
        mortas = ler_mortas(loja.url, nome, len(doses[nome]))
        assert Counter(corpo for corpo, _ in mortas) == Counter(dose.corpo for dose in doses[nome]), f"as mortas de {nome}"
        for _, props in mortas:
            motivo = props.headers["motivo"]
            assert 5 < len(motivo) < 300 and motivo.isprintable(), motivo
            assert not NOME_DE_ERRO.search(motivo) and not INGLES.search(re.sub("'.*?'", "", motivo)), motivo
            assert props.delivery_mode == 2 and "CC" not in props.headers


def test_mil_e_quinhentos_venenos_e_os_bons_no_meio_deles_sao_atendidos(loja):  # noqa: F811
    loja.repor()
    loja.iniciar()
    pids = [programa.pid for nome in SERVICOS for programa in loja.programas[nome]]
    doses = envenenar(loja, 375, 60)
    conferir_mortas(loja, doses)
    loja.conferir_repouso(mortas=1500)
    for nome, tabelas in DOMINIO.items():  # nada do que era veneno entrou no banco
        for tabela in tabelas:
            assert not [linha for linha in loja.consultar(nome, f"SELECT * FROM {tabela}") if "veneno" in str(linha)]
        assert not loja.consultar(nome, "SELECT 1 FROM caixa_entrada WHERE mensagem LIKE 'veneno%'")
        tela = loja.tela(nome)
        assert "não entendi uma mensagem" in tela and all(c.isprintable() or c == "\n" for c in tela), f"a tela de {nome}"
        assert "Traceback" not in tela and tela.count(": pronto") == 1, tela[-2000:]  # nem caiu, nem perdeu a conexão
    assert pids == [programa.pid for nome in SERVICOS for programa in loja.programas[nome] if programa.vivo()]

    listagem = rodar("microsservicos/mortas.py", url=loja.url)
    assert listagem.fim() == 0 and listagem.disse("1500 mensagens mortas")
    assert all(linha.isprintable() for linha in listagem.linhas)
    volta = rodar("microsservicos/mortas.py", "estoque", "--reenviar", url=loja.url)
    assert volta.fim() == 0 and volta.disse("375 mensagens devolvidas")
    conferir_mortas(loja, {"estoque": doses["estoque"]})  # de volta, e mortas de novo, com o mesmo corpo


def test_veneno_na_frente_da_fila_nao_derruba_a_conexao(loja):
    """Os piores, um de cada: o pika não os lê, ou não os escreve de volta. Nenhum pode prender a fila.

    Chegam antes de o serviço subir, todos na frente do pedido bom.
    """
    dados, props = perfeita(random.Random(SEMENTE), "estoque")
    cabecalhos = [[(chave, valor)] for valor in VALORES.values() for chave in ("x", b"\xff" * 255, "motivo")]
    doses = [Veneno("", em_json(dados), escrever({**props, "headers": [("versao", 2), *mais]})) for mais in [*cabecalhos, MUITAS_DATAS]]
    publicar(loja.url, "estoque", doses)
    loja.enviar(cenario("sucesso"))
    loja.iniciar()
    conferir_mortas(loja, {"estoque": doses})
    # Só perdem os cabeçalhos as que este pika não lê, ou não sabe escrever de volta num quadro.
    lidas = [M.mensagem.simplificar(M.ajustes_do_pika.Propriedades().decode(v.propriedades)) for v in doses]
    perdem = sum(M.canal.refazer(lida, "").headers["versao"] is None for lida in lidas)
    assert 0 < perdem < len(doses) / 2
    assert sum(props.headers.get("versao") != 2 for _, props in ler_mortas(loja.url, "estoque", len(doses))) == perdem
    loja.esperar_finais()
    assert loja.resultado("p-1") == ("concluido", None)
    assert loja.tela("estoque").count(": pronto") == 1, loja.tela("estoque")
    loja.conferir_repouso(mortas=len(doses))


def test_megabytes_sao_recusados_sem_serem_lidos_e_vao_inteiros_para_as_mortas(loja):
    """Maior que 64 KiB nem passa pelo leitor de JSON; maior que 1 MiB, o nó privado nem aceita."""
    props = escrever(perfeita(random.Random(SEMENTE), "estoque")[1])
    loja.iniciar()
    publicar(loja.url, "estoque", [Veneno("", corpo, props) for corpo in (b'{"pedido": "' + b"x" * (1024 * 1024 - 12), b"[" * (700 * 1024))])
    assert sorted(len(corpo) for corpo, _ in loja.esperar_morta("estoque", 2)) == [700 * 1024, 1024 * 1024]
    assert {p.headers["motivo"] for _, p in loja.mortas("estoque")} == {"corpo: maior que 64 KiB"}
    with pytest.raises(pika.exceptions.AMQPChannelError):
        loja.publicar_crua("estoque", b"x" * (1024 * 1024 + 1), exchange="")


def test_a_plateia_e_o_desenho_aguentam_qualquer_mensagem(loja, monkeypatch):
    """Quem só assiste recebe tudo o que passa pelo exchange, venenos inclusive."""
    monkeypatch.setenv("RABBITMQ_URL", loja.url)
    plateia = M.canal.Plateia("plateia")
    doses = [dose for nome in SERVICOS for dose in venenos(nome, 100, SEMENTE)]
    motivo = {"pedido": "a\x1b[2J", "motivo": ESCAPES}
    with loja.canal() as canal:
        for dose in doses:
            canal.basic_publish("loja", "pedido.criado", dose.corpo, Cruas(dose.propriedades))
        for tipo in M.coreografia.EVENTOS:
            canal.basic_publish("loja", tipo, em_json(motivo), pika.BasicProperties(type=tipo))
            canal.basic_publish("loja", tipo, em_json({**motivo, "motivo": [1]}), pika.BasicProperties(type=tipo))
    recebidas: list = []
    esperar(lambda: recebidas.extend(plateia.receber(0.1)) or len(recebidas) >= len(doses) + 2 * len(M.coreografia.EVENTOS), que="a plateia")
    for linha in M.desenho.Desenho().recebidas(recebidas):
        assert linha.isprintable() and len(linha) <= 80, repr(linha)


# --- pedidos ---

def test_milhares_de_pedidos_ruins_sao_recusados_com_o_nome_do_campo():
    for campo, linha in pedidos_ruins(2000, SEMENTE):
        with pytest.raises((M.falha.Falha, ValueError)) as erro:
            M.loja.validar(M.loja.ler_json(linha))
        texto = str(erro.value)
        assert texto.isprintable() and 5 < len(texto) < 200 and campo in texto, (campo, linha[:300], texto)
        assert not INGLES.search(texto), texto
        assert getattr(erro.value, "codigo", 2) == 2


def test_milhares_de_valores_quaisquer_ou_sao_um_pedido_ou_sao_uma_recusa():
    rng, aceitos = random.Random(SEMENTE), 0
    for _ in range(5_000):
        dados = pedido_bom(rng)
        for _ in range(rng.randrange(3)):
            dados[rng.choice([*dados, "x"])] = valor_qualquer(rng)
        if rng.random() < 0.1:
            dados = valor_qualquer(rng)
        try:
            pronto = M.loja.validar(M.loja.ler_json(em_json(dados)))
        except (M.falha.Falha, ValueError):
            continue
        aceitos += 1  # o que passa é mesmo um pedido, e passar de novo não o muda
        assert set(pronto) == {"pedido", "cliente", "itens", "cep"} and M.loja.validar(pronto) == pronto
        assert re.fullmatch(r"[0-9]{5}-[0-9]{3}", pronto["cep"]) and re.fullmatch(r"[\w.-]{1,64}", pronto["pedido"], re.ASCII)
        assert all(type(i["quantidade"]) is int and 1 <= i["quantidade"] <= 1000 for i in pronto["itens"])
        json.dumps(pronto, ensure_ascii=False).encode()  # tudo nele tem UTF-8
    assert aceitos > 500


BOA = em_json({"pedido": "a-1", "cliente": "ana", "itens": [{"produto": "livro", "quantidade": 1}], "cep": "01310-100"})
ACEITOS = {  # arquivos que uma pessoa espera que funcionem
    "fim de linha do Windows": BOA + b"\r\n\r\n" + BOA.replace(b"a-1", b"a-2") + b"\r\n", "sem fim na última linha": BOA,
    "marca de UTF-8 do Bloco de Notas": b"\xef\xbb\xbf" + BOA + b"\n", "espaços e linhas em branco": b"\n  \n\t" + BOA + b"  \n\n",
    "a maior linha": b" " * (64 * 1024 - len(BOA)) + BOA,
}
RECUSADOS = {  # arquivo: (conteúdo, o que a mensagem diz)
    "só a marca": (b"\xef\xbb\xbf", "não há nenhum pedido"), "marca no meio": (BOA + b"\n\xef\xbb\xbf" + BOA, "linha 2: não é JSON"),
    "utf-16": (BOA.decode().encode("utf-16"), "linha 1: não é UTF-8"), "binário": (bytes(range(256)) * 9, "linha 1: "),
    "lista": (b"[" + BOA + b"]", "linha 1: o pedido deve ser um objeto JSON"),
    "uma ruim entre milhares": ((BOA + b"\n") * 4321 + BOA.replace(b'"quantidade": 1', b'"quantidade": 0') + b"\n" + (BOA + b"\n") * 99, "linha 4322: quantidade"),
    "linha sem fim": (b"x" * 5_000_000, "linha 1: maior que 64 KiB"), "espaços sem fim": (b" " * 5_000_000 + BOA, "linha 1: maior que 64 KiB"),
}


def test_arquivos_que_uma_pessoa_tem(tmp_path):
    arquivo = tmp_path / "pedidos é.jsonl"
    for nome, conteudo in ACEITOS.items():
        arquivo.write_bytes(conteudo)
        assert [p["pedido"] for p in M.loja.ler_arquivo(str(arquivo))][:1] == ["a-1"], nome
    for nome, (conteudo, trecho) in RECUSADOS.items():
        arquivo.write_bytes(conteudo)
        with pytest.raises(M.falha.Falha, match=re.escape(f"{arquivo}")) as falha:
            M.loja.ler_arquivo(str(arquivo))
        assert trecho in str(falha.value) and falha.value.codigo == 2, (nome, str(falha.value))


# --- linhas de comando ---

PROGRAMAS = ["orquestracao.py", "microsservicos/servico_pedidos.py", "monolito/app.py"]
INGLES = re.compile(r"\b(usage|error|positional|arguments?|required|invalid|expected|choose|unrecognized|options|default|show this|No such|Errno|"
                    r"not (allowed|found)|Permission|Exceeds|file name|Is a directory|optional)\b", re.I)
COMANDOS = [  # (argumentos, o que a linha diz)
    (["--nao-existe"], "não conheço --nao-existe"), (["--ped", "3"], "não conheço --ped"), (["sobra"], "não conheço sobra"),
    (["--pedidos"], "--pedidos: falta o valor"), (["--pedidos", "0"], "inteiro de 1"), (["--pedidos", "-3"], "inteiro de 1"),
    (["--pedidos", "1.5"], "inteiro de 1"), (["--pedidos", "dez"], "inteiro de 1"), (["--pedidos", "٣"], "inteiro de 1"),
    (["--pedidos", "1_000"], "inteiro de 1"), (["--pedidos", "9" * 5000], "inteiro de 1"), (["--pedidos", "999999999"], "inteiro de 1"),
    (["--pedidos="], "--pedidos"), (["--quantidade", "1001"], "quantidade"), (["--quantidade", "0"], "inteiro de 1"),
    (["--cenario", "x"], "escolha entre"), (["--cenario", ""], "--cenario: falta o valor"), (["--cenario", "x" * 10_000], "--cenario"),
    (["--cliente", ""], "--cliente: falta o valor"), (["--cliente", "a" * 65], "cliente"), (["--cliente", "a\nb"], "cliente"),
    (["--cliente", ESCAPES], "cliente"), (["--cliente", "jo\udce3o"], "cliente"), (["--produto", "\x1b[2J"], "produto"),
    (["--cep", "123"], "cep"), (["--cep", "0131O-100"], "cep"), (["--cep", "０１３１０１００"], "cep"), (["--id", "a b"], "pedido: use de 1"),
    (["--id", "../x"], "pedido: use de 1"), (["--id", "x" * 65], "pedido: use de 1"), (["--id", "x" * 63, "--pedidos", "10"], "pedido"),
    (["--pedidos", "2", "--cenario", "todos"], "use só uma destas"), (["--cliente", "ana", "--arquivo", "x"], "use só uma destas"),
    (["--estado", "--pedidos", "2"], "--estado"), (["--sim=1"], "sem valor|não tem valor|não conheço"),
    (["--arquivo", ""], "--arquivo: falta o valor"), (["--arquivo", "nao-existe.jsonl"], "não existe"), (["--arquivo", "/"], "é uma pasta"),
    (["--arquivo", "nome\udcff\x1b[2J"], "não existe"), (["--arquivo", "x" * 5000], "nome longo demais"),
    (["--arquivo", f"{RAIZ / 'README.md'}/x"], "não é uma pasta"), (["--arquivo", "-"], "não há nenhum pedido"),
    (["--arquivo", "-", "--id", "x"], "use só uma destas: --arquivo, --id"), (["--dados", ""], "--dados: falta o valor"), (["--dados"], "--dados: falta o valor"),
    (["--dados", "x" * 5000], "nome longo demais"), (["--dados", f"{RAIZ / 'README.md'}"], "não é uma pasta"), (["\udcff\x1b[2J"], "não conheço"),
]
SO_DE_ALGUNS = {  # o que só este programa tem
    "orquestracao.py": [(["--paciencia", "x"], "inteiro de 1"), (["--sem-pedido", "--pedidos", "2"], "use só uma destas: --sem-pedido, --pedidos")],
    "microsservicos/servico_pedidos.py": [(["--cancelar", ""], "--cancelar: falta o valor"), (["--cancelar", "a b"], "não há nenhum pedido"),
                                          (["--cancelar", "x", "--pedidos", "2"], "use só uma destas: --cancelar, --pedidos"), (["--cancelar", "nao-ha"], "não há nenhum pedido")],
    "monolito/app.py": [(["--cair-em", "x"], "escolha entre"), (["--devagar", "x"], "número de segundos"), (["--devagar", "1e9"], "número de segundos"),
                        (["--paralelos", "100000"], "inteiro de 1"), (["--forcar", "x"], "--forcar"),
                        (["--rastro"], "--rastro: falta o valor"), (["--rastro", "p-1", "--cenario", "sucesso"], "use só uma destas: --rastro, --cenario")],
}
PODE_CRIAR = ("nao-ha", "a b", "--forcar")  # com estes, o programa chega a criar os bancos, só com as linhas iniciais


AMBIENTE = {**os.environ, "RABBITMQ_URL": SEM_BROKER.replace("guest:guest", "x:segredo"), "PYTHONIOENCODING": "utf-8", "COLUMNS": "10000"}


def o_que_esta_errado(argumentos: list, trecho: str, status, saida: str, erros: str) -> str | None:
    """Por que a resposta não é uma linha só, em português, que diz `trecho`, com status 2; None se ela é."""
    linha = erros.rstrip("\n")
    # De uma pasta que não serve só se sabe depois de ter dito que programa é este.
    calado = not saida or argumentos[:1] == ["--dados"] and len(argumentos) == 2
    certo = (status == 2 and calado and linha.isprintable() and len(linha) < 6000 and re.search(trecho, linha)
             and not INGLES.search(linha) and "segredo" not in saida + erros)
    return None if certo else f"{[a[:60] for a in argumentos]}: status {status}, {(saida + erros)[:500]!r}; esperava {trecho!r}"


RODAR_TUDO = """
import contextlib, io, json, runpy, sys
programa, listas = json.load(sys.stdin)
respostas = []
for argumentos in listas:
    sys.argv, saida, erros = [programa, *argumentos], io.StringIO(), io.StringIO()
    sys.stdin = io.TextIOWrapper(io.BytesIO())
    try:
        with contextlib.redirect_stdout(saida), contextlib.redirect_stderr(erros):
            status = runpy.run_path(programa, run_name="__main__") and None
    except SystemExit as fim:
        status = fim.code
    respostas.append([argumentos, status, saida.getvalue(), erros.getvalue()])
print(json.dumps(respostas))
"""


def rodar_tudo(programa: str, listas: list[list[str]], onde: Path) -> list:
    """Roda o programa com cada lista de argumentos, todas num processo só: o custo é o de um começo."""
    pronto = subprocess.run([sys.executable, "-c", RODAR_TUDO], input=json.dumps([str(RAIZ / programa), listas]), cwd=onde,
                            env={**AMBIENTE, "PYTHONPATH": str((RAIZ / programa).parent)}, capture_output=True, text=True, timeout=120)
    assert pronto.returncode == 0, pronto.stderr[-2000:]
    return json.loads(pronto.stdout)


@pytest.mark.parametrize("programa", PROGRAMAS)
def test_linha_de_comando_ruim_e_uma_linha_em_portugues_e_nada_guardado(programa, tmp_path):
    casos = COMANDOS + SO_DE_ALGUNS[programa]
    if programa.endswith("servico_pedidos.py"):  # este não tem --estado nem --sim
        casos = [(argumentos, "não conheço" if "--estado" in argumentos else trecho) for argumentos, trecho in casos]
    pastas = [[] if "--dados" in argumentos else ["--dados", str(tmp_path / f"dados-{i}")] for i, (argumentos, _) in enumerate(casos)]
    respostas = rodar_tudo(programa, [[*a, *pasta] for (a, _), pasta in zip(casos, pastas)], tmp_path)
    erros = []
    for argumentos, status, saida, linha in respostas:
        trecho = next(trecho for (a, trecho), pasta in zip(casos, pastas) if [*a, *pasta] == argumentos)
        erros.append(o_que_esta_errado(argumentos, trecho, status, saida, linha))
    assert not any(erros), "\n".join(filter(None, erros))
    permitidas = {Path(p[1]).name for (a, _), p in zip(casos, pastas) if p and any(s in a for s in PODE_CRIAR)}
    assert {item.name for item in tmp_path.iterdir()} <= permitidas


@pytest.mark.parametrize("programa", PROGRAMAS)
def test_pedido_ruim_pela_linha_de_comando_diz_o_campo_e_a_linha(programa, tmp_path):
    """Os mesmos pedidos ruins de antes, entre linhas boas."""
    ruins, arquivos, dados = pedidos_ruins(80, SEMENTE), tmp_path / "arquivos", ["--dados", str(tmp_path / "dados")]
    arquivos.mkdir()
    conteudos = [(BOA + b"\n") * i + linha + b"\n" + BOA for i, (_, linha) in enumerate(ruins)]
    trechos = [f", linha {i + 1}: .*{campo}" for i, (campo, _) in enumerate(ruins)]
    for i, conteudo in enumerate(conteudos):
        (arquivos / str(i)).write_bytes(conteudo)
    respostas = rodar_tudo(programa, [[*dados, "--arquivo", str(arquivos / str(i))] for i in range(80)], tmp_path)
    erros = [o_que_esta_errado(argumentos, trecho, *resto) for (argumentos, *resto), trecho in zip(respostas, trechos)]
    assert not any(erros), "\n".join(filter(None, erros))
    assert not (tmp_path / "dados").exists()
