"""Cada serviço sozinho no seu terminal: quem começa, quem espera, o que diz, como acaba."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from conftest import RAIZ, esperar
from verbos import MICROSSERVICOS, SEM_BROKER, SERVICOS, Loja, Porta, Programa, cenario, linhas_largas, loja, rodar, vhost_novo  # noqa: F401

SCRIPTS = ["orquestracao.py", *(f"microsservicos/servico_{nome}.py" for nome in SERVICOS), "microsservicos/mortas.py"]
SO_OUVEM = ("estoque", "pagamentos", "envio")


# --- a ordem da partida ---

def test_pedidos_sozinho_envia_espera_e_os_outros_chegam_depois(loja):
    """A sequência da semente do projeto: o serviço de pedidos primeiro, sem mais ninguém."""
    pedidos = loja.lancar("pedidos", "--id", "p-1").esperar_dizer(": pronto")
    assert pedidos.disse("p-1 está pendente")
    esperar(lambda: loja.profundidade("estoque") == 1, que="o evento esperar na fila do estoque")
    for nome in SO_OUVEM:
        assert pedidos.vivo() and loja.resultado("p-1") == ("pendente", None)
        loja.iniciar(nome)
    pedidos.esperar_dizer("pedido.concluido")
    loja.enviados["p-1"] = cenario("sucesso")
    loja.conferir_repouso()
    assert pedidos.vivo(), "devia continuar ouvindo"
    assert not linhas_largas(pedidos.texto)


@pytest.mark.parametrize("ordem", [("envio", "pagamentos", "estoque", "pedidos"), ("pagamentos", "pedidos", "envio", "estoque")],
                         ids="-".join)
def test_partida_em_outra_ordem_um_de_cada_vez(loja, ordem):
    """Cada um sobe, faz o que pode e morre antes do seguinte; os eventos ficam nas filas."""
    loja.enviar(cenario("sucesso", "p-1"), cenario("envio-recusado", "p-2"))
    for nome in itertools.islice(itertools.cycle(ordem), 12):
        loja.iniciar(nome)
        esperar(lambda: not loja.profundidade(nome) and not loja.consultar(nome, "SELECT 1 FROM caixa_saida WHERE enviado = 0"), que=f"{nome} trabalhar")
        loja.encerrar(nome)
        if not loja.pendentes():
            break
    loja.iniciar()
    loja.conferir_repouso()
    assert loja.resultado("p-1") == ("concluido", None)
    assert loja.resultado("p-2") == ("cancelado", "CEP fora da área de entrega")


def test_quatro_ao_mesmo_tempo_numa_pasta_nova(broker, tmp_path):
    """Ninguém preparou a pasta nem o vhost: os quatro os criam juntos, e nenhum tropeça no outro."""
    for rodada in range(3):
        url = f"amqp://guest:guest@127.0.0.1:{broker.porta}/{vhost_novo(broker)}"
        programas = [Programa(MICROSSERVICOS / f"servico_{nome}.py", "--dados", tmp_path / str(rodada), url=url) for nome in SERVICOS]
        inicio = time.monotonic()
        try:
            for programa in programas:
                programa.esperar_dizer(": pronto")
            assert time.monotonic() - inicio < 8, "um esperou pela trava do outro"
        finally:
            for programa in programas:
                programa.matar()


def test_cinco_copias_criam_o_mesmo_banco_ao_mesmo_tempo(url, tmp_path):
    programas = [Programa(MICROSSERVICOS / "servico_estoque.py", "--dados", tmp_path, url=url) for _ in range(5)]
    try:
        for programa in programas:
            programa.esperar_dizer(": pronto")
        with closing(sqlite3.connect(tmp_path / "microsservicos" / "estoque.db")) as banco:
            assert banco.execute("SELECT count(*) FROM produtos").fetchone() == (4,)
    finally:
        for programa in programas:
            programa.matar()


# --- cancelar ---

def test_cancelar_antes_do_despacho(loja):
    loja.iniciar("estoque", "pagamentos")
    loja.lancar("pedidos", "--id", "p-1").esperar_dizer(": pronto")
    esperar(lambda: loja.consultar("pagamentos", "SELECT 1 FROM cobrancas"), que="a cobrança")
    loja.matar("pedidos")  # duas cópias poderiam publicar o cancelamento duas vezes
    cancelador = loja.lancar("pedidos", "--cancelar", "p-1").esperar_dizer("p-1 está pendente")
    # O pedido de cancelamento está atrás do pagamento aprovado na fila do envio: chegará tarde. Troca-se a ordem.
    esperar(lambda: loja.profundidade("envio") == 2, que="os dois eventos na fila do envio")
    with loja.canal() as canal:
        metodo, p, corpo = canal.basic_get("envio")
        canal.basic_publish("", "envio", corpo, p)
        canal.basic_ack(metodo.delivery_tag)
    loja.iniciar("envio")
    loja.esperar_finais()
    assert loja.resultado("p-1") == ("cancelado", "cancelado a pedido do cliente")
    loja.enviados["p-1"] = cenario("sucesso")
    loja.conferir_repouso()
    assert cancelador.vivo(), "devia continuar ouvindo"


def test_cancelar_depois_do_despacho_nao_muda_nada(loja):
    loja.iniciar()
    loja.enviar(cenario("sucesso"))
    loja.conferir_repouso()
    cancelador = loja.lancar("pedidos", "--cancelar", "p-1").esperar_dizer(": pronto")
    assert cancelador.disse("p-1 está concluido")
    loja.conferir_repouso()
    assert loja.resultado("p-1") == ("concluido", None)


def test_cancelar_um_pedido_que_nao_existe_e_uma_linha(loja):
    programa = loja.lancar("pedidos", "--cancelar", "p-9")
    assert programa.fim() == 2 and len(programa.linhas) == 1 and "p-9" in programa.texto
    programa.limpo()
    assert loja.consultar("pedidos", "SELECT 1 FROM caixa_saida WHERE enviado = 0") == []


# --- encerrar ---

@pytest.mark.parametrize("nome", SERVICOS)
@pytest.mark.parametrize("sinal", [signal.SIGINT, signal.SIGTERM])
def test_encerrar_ouvindo_e_quieto_rapido_e_com_status_zero(loja, nome, sinal):
    programa = loja.lancar(nome).esperar_dizer(": pronto")
    inicio = time.monotonic()
    programa.sinal(sinal)
    assert programa.fim(5) == 0 and time.monotonic() - inicio < 3
    assert programa.linhas[-1] == f"{nome}: encerrado"
    programa.limpo()


@pytest.mark.parametrize("sinal", [signal.SIGINT, signal.SIGTERM])
def test_encerrar_enquanto_procura_o_broker_e_igual(tmp_path, sinal):
    programa = Programa(MICROSSERVICOS / "servico_envio.py", "--dados", tmp_path, url=SEM_BROKER).esperar_dizer("continuo tentando")
    programa.sinal(sinal)
    assert programa.fim(5) == 0 and programa.linhas[-1] == "envio: encerrado"
    programa.limpo()


def test_encerrar_no_meio_do_trabalho_nao_perde_nem_repete(loja):
    loja.repor()
    loja.enviar(*(cenario("sucesso", f"p-{n}") for n in range(600)))
    for rodada in range(3):
        loja.iniciar()
        loja.esperar_um_pouco(50)
        loja.encerrar()
        if not loja.pendentes():
            break
        loja.conferir_contas_parciais()
    loja.iniciar()
    loja.conferir_repouso()


# --- o broker ---

@pytest.fixture
def porta(broker):
    porta = Porta(broker.porta)
    yield porta
    porta.cortar()


def por(porta, loja) -> str:
    """O mesmo vhost, passando pela porta."""
    return f"amqp://guest:guest@127.0.0.1:{porta.numero}/{loja.url.rsplit('/', 1)[1]}"


def test_sem_broker_diz_uma_vez_continua_tentando_e_ele_aparece(loja, porta):
    programa = Programa(MICROSSERVICOS / "servico_pedidos.py", "--dados", loja.dados, "--id", "p-1", url=por(porta, loja))
    programa.esperar_dizer("continuo tentando")
    assert "python orquestracao.py" in programa.texto, "não disse como subir um"
    limite, ditas = time.monotonic() + 1.5, len(programa.linhas)  # tempo para várias tentativas, e nenhuma pode falar
    esperar(lambda: time.monotonic() > limite or len(programa.linhas) > ditas, que="o silêncio")
    assert len(programa.linhas) == ditas and programa.vivo(), programa.texto
    porta.abrir()
    programa.esperar_dizer(": pronto")
    loja.programas["pedidos"].append(programa)
    loja.iniciar(*SO_OUVEM)
    loja.enviados["p-1"] = cenario("sucesso")
    loja.conferir_repouso()


def test_rede_que_cai_e_volta_muitas_vezes_no_meio_do_trabalho(loja, porta):
    porta.abrir()
    loja.repor()
    for nome in SERVICOS:
        extra = ["--sem-pedido"] if nome == "pedidos" else []
        loja.programas[nome].append(Programa(MICROSSERVICOS / f"servico_{nome}.py", "--dados", loja.dados, *extra, url=por(porta, loja)))
    for rodada in range(5):
        loja.enviar(*(cenario(c, f"p-{rodada}-{n}") for n in range(60) for c in ("sucesso", "envio-recusado")))
        loja.esperar_um_pouco(30)
        porta.cortar()
        porta.abrir()
    loja.conferir_repouso()
    for nome in SERVICOS:
        assert loja.programas[nome][0].vivo()


@pytest.mark.skipif(sys.platform != "linux", reason="o tamanho do pipe é o do Linux")
def test_encerrar_com_a_saida_presa_num_pipe_que_ninguem_le(loja):
    """A escrita presa também é do lote em mãos: passados os segundos dele, o serviço larga o broker."""
    leitura, escrita = os.pipe()
    os.write(escrita, b"x" * (65536 - 200))  # sobra o lugar da linha que diz "pronto", e de pouco mais
    loja.iniciar("pedidos", "pagamentos", "envio")
    estoque = subprocess.Popen([sys.executable, MICROSSERVICOS / "servico_estoque.py", "--dados", loja.dados], stdout=escrita,
                               env={**os.environ, "RABBITMQ_URL": loja.url})
    try:
        loja.enviar(*(cenario("sucesso", f"p-{n}") for n in range(5)))
        loja.esperar_tratar("estoque", *(f"p-{n}:pedido.criado" for n in range(5)))
        estoque.terminate()
        esperar(lambda: loja.ouvintes("estoque") == 0, 20, "ele largar o broker")
        # Presa, agora, está a linha em que ele diz que encerrou: o próximo SIGTERM a interrompe.
        esperar(lambda: estoque.poll() is not None or estoque.terminate(), 20, "o fim dele")
    finally:
        estoque.kill()
        estoque.wait()
        os.close(leitura)
        os.close(escrita)
    loja.iniciar("estoque")
    loja.conferir_repouso()


def test_encerrar_enquanto_o_broker_nao_responde_por_um_lote(loja, porta):
    """O lote em mãos tem alguns segundos para acabar, e não mais que isso."""
    porta.abrir()
    estoque = Programa(MICROSSERVICOS / "servico_estoque.py", "--dados", loja.dados, url=por(porta, loja)).esperar_dizer(": pronto")
    porta.deixa_ir.clear()
    loja.iniciar("pedidos", "pagamentos", "envio")
    loja.enviar(cenario("sucesso"))
    esperar(lambda: loja.tratou("estoque", "p-1:pedido.criado"), que="o lote em mãos")
    assert estoque.encerrar().fim(15) == 0 and estoque.linhas[-1] == "estoque: encerrado"
    estoque.limpo()
    porta.cortar()
    loja.iniciar("estoque")
    loja.conferir_repouso()


@pytest.mark.parametrize("respostas", range(5))
def test_ligacao_que_cai_no_aperto_de_mao_nao_e_uma_recusa(loja, porta, respostas):
    """O broker morre depois de dizer olá, de aceitar a senha, de abrir o vhost, o canal: o serviço tenta de novo."""
    porta.respostas[:] = [respostas]
    porta.abrir()
    programa = Programa(MICROSSERVICOS / "servico_estoque.py", "--dados", loja.dados, url=por(porta, loja))
    programa.esperar_dizer(": pronto").encerrar()
    assert programa.fim(15) == 0 and not porta.respostas
    programa.limpo()


@pytest.mark.parametrize("script", ["orquestracao.py", "microsservicos/servico_estoque.py", "microsservicos/mortas.py"])
def test_broker_que_recusa_e_uma_linha_sem_a_senha(broker, tmp_path, script):
    extra = [] if "mortas" in script else ["--dados", tmp_path / "dados"]
    for url, trecho in ((f"amqp://guest:segredo-secreto@127.0.0.1:{broker.porta}/", "senha"),
                        (f"amqp://guest:guest@127.0.0.1:{broker.porta}/nao-existe", "vhost"),
                        ("amqp://guest:segredo-secreto@", "RABBITMQ_URL"), ("http://segredo-secreto/", "RABBITMQ_URL")):
        programa = rodar(script, *extra, url=url, prazo=20)
        assert programa.fim() == 2, (url, programa.texto)
        ditas = [linha for linha in programa.linhas if not linha.startswith("Só inicia")]
        assert len(ditas) == 1 and trecho in ditas[0] and "segredo" not in programa.texto, (url, programa.texto)
        programa.limpo()


# --- o banco ---

def test_banco_travado_por_um_momento_so_atrasa(loja):
    """O professor deixou um BEGIN EXCLUSIVE aberto no sqlite3."""
    loja.iniciar()
    with closing(sqlite3.connect(loja.pasta / "estoque.db", isolation_level=None)) as outro:
        outro.execute("BEGIN EXCLUSIVE")
        loja.enviar(cenario("sucesso"))
        esperar(lambda: not loja.consultar("pedidos", "SELECT 1 FROM caixa_saida WHERE enviado = 0"), que="o evento chegar ao estoque")
        esperar(lambda: not loja.profundidade("estoque"), que="o estoque pegá-lo")
        assert loja.pendentes() == 1
        outro.execute("ROLLBACK")
    loja.conferir_repouso()


@pytest.mark.longo
def test_banco_travado_por_muito_tempo_e_dito_e_recupera(loja):
    loja.iniciar()
    with closing(sqlite3.connect(loja.pasta / "estoque.db", isolation_level=None)) as outro:
        outro.execute("BEGIN EXCLUSIVE")
        loja.enviar(cenario("sucesso"))
        loja.programas["estoque"][0].esperar_dizer("está travado por outro programa", 40)
        outro.execute("ROLLBACK")
    loja.programas["estoque"][0].esperar_dizer("o banco voltou")
    loja.conferir_repouso()


def test_pasta_de_dados_que_nao_serve_e_uma_linha(tmp_path):
    (tmp_path / "arquivo").touch()
    for script in SCRIPTS[:-1]:
        programa = rodar(script, "--dados", tmp_path / "arquivo", url=SEM_BROKER, prazo=20)
        assert programa.fim() == 2, programa.texto
        assert "não é uma pasta" in programa.linhas[-1] and len(programa.linhas) == (2 if "orquestracao" in script else 1), programa.texto
        programa.limpo()


# --- o que todo script tem ---

@pytest.mark.parametrize("script", SCRIPTS)
def test_ajuda_em_portugues(script):
    programa = rodar(script, "--help")
    assert programa.fim() == 0 and programa.texto.startswith("uso: ") and "mostra esta ajuda e sai" in programa.texto
    for ingles in ("usage", "options", "show this help", "optional", "positional", "exit"):
        assert ingles not in programa.texto, ingles
    assert not linhas_largas(programa.texto), linhas_largas(programa.texto)


@pytest.mark.parametrize("script", SCRIPTS)
def test_uso_errado_e_uma_linha_com_status_2(script):
    programa = rodar(script, "--inventada", "sobrou")
    assert programa.fim() == 2 and len(programa.linhas) == 1, programa.texto
    for ingles in ("usage", "error", "unrecognized", "argument", "invalid"):
        assert ingles not in programa.texto, programa.texto


@pytest.mark.parametrize("script", SCRIPTS)
def test_sem_o_pika_instalado_diz_como_instalar(script):
    programa = rodar(script, python=(sys.executable, "-S"))
    assert programa.fim() == 2 and len(programa.linhas) == 1, programa.texto
    assert "pika" in programa.texto and "pip install -r requirements.txt" in programa.texto


def test_servicos_na_codificacao_mais_pobre(loja):
    loja.iniciar(ambiente={"PYTHONIOENCODING": "ascii"})
    loja.enviar(cenario("envio-recusado"))
    loja.conferir_repouso()
    for nome in SERVICOS:
        loja.programas[nome][0].limpo()
        assert loja.tela(nome).isascii() and "envio.recusado" in loja.tela("envio")


@pytest.mark.parametrize("nome", ["pedidos", "envio"])
def test_quem_le_a_saida_do_servico_vai_embora(loja, nome):
    """Um `| head -1`: o serviço acaba quieto; o evento que ele ia narrar não se perde."""
    servico = subprocess.Popen([sys.executable, str(MICROSSERVICOS / f"servico_{nome}.py"), "--dados", str(loja.dados)]
                               + ["--sem-pedido"] * (nome == "pedidos"), cwd=RAIZ, env={**os.environ, "RABBITMQ_URL": loja.url},
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert b"pronto" in servico.stdout.readline()
        servico.stdout.close()
        loja.iniciar(*(outro for outro in SERVICOS if outro != nome))
        loja.enviar(cenario("sucesso"))
        if nome == "pedidos":
            loja.iniciar("pedidos")  # ele acabou quando tentou narrar, e outro termina
        assert servico.wait(30) == 0 and servico.stderr.read() == b""
    finally:
        servico.kill()
        servico.wait()
    if nome != "pedidos":
        loja.iniciar(nome)
    loja.conferir_repouso()
