"""Cada serviço sozinho no seu terminal: quem começa, quem espera, o que diz, como acaba."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from bloqueante import no_endereco
from conftest import esperar
from test_saga import novo_id
from verbos import (M, MICROSSERVICOS, SEM_BROKER, Porta, Programa, cenario, linhas_largas, loja,  # noqa: F401
                    loja_aberta, loja_do_arquivo, pedido)

SO_OUVEM = ("estoque", "pagamentos", "envio")


# --- quem começa ---

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


# --- o mesmo id, o cancelamento ---

VEZES = {  # o que se pede depois de p-1 (dois livros para ana), o que se diz, o status
    "igual": (["--id", "p-1"], "p-1 já existia: nada foi feito de novo", 0),
    "outra quantidade": (["--id", "p-1", "--quantidade", "3"], "p-1 já existe com outro conteúdo: este não foi atendido", 1),
    "outro cep": (["--id", "p-1", "--cep", "69900062"], "p-1 já existe com outro conteúdo: este não foi atendido", 1),
    "muitos": (["--id", "n", "--pedidos", "6"], "6 pedidos já existiam: nada foi feito de novo", 0),
    "muitos, outros": (["--arquivo", "outros"], "6 pedidos já existem com outro conteúdo: estes não foram atendidos", 1),
    "cancelar o que acabou": (["--cancelar", "p-"], "p-1 está concluido", 0),
    "cancelar o que não há": (["--cancelar", "x"], "não há nenhum pedido 'x'", 2),
}


def test_o_mesmo_id_outra_vez_e_dito_com_o_status_do_contrato(loja, tmp_path):
    """--so-enviar deixa o pedido para a cópia que está no ar: é ela que o leva até o fim."""
    loja.iniciar()
    loja.enviados |= {"p-1": cenario("sucesso"), **{f"n-{n}": cenario("sucesso", f"n-{n}") for n in range(1, 7)}}
    for opcoes in (["--id", "p-1"], ["--id", "n", "--pedidos", "6"]):
        assert loja.lancar("pedidos", "--so-enviar", *opcoes).fim() == 0
    loja.conferir_repouso()
    (tmp_path / "outros").write_text("".join(json.dumps(pedido(f"n-{n}", caneca=1)) + "\n" for n in range(1, 7)))
    for opcoes, diz, status in VEZES.values():
        opcoes = [tmp_path / "outros" if opcao == "outros" else opcao for opcao in opcoes]
        programa = loja.lancar("pedidos", "--so-enviar", *opcoes)
        assert programa.fim() == status and programa.disse(diz), (opcoes, programa.texto)
        programa.limpo()
    loja.conferir_repouso()


def test_cancelar_antes_do_despacho(loja_aberta):
    """O cancelamento chega ao envio antes do pedido."""
    loja, id = loja_aberta, novo_id()
    loja.matar("pedidos", "estoque")  # duas cópias de pedidos poderiam publicar o cancelamento duas vezes
    loja.enviar(cenario("sucesso", id))
    cancelador = loja.lancar("pedidos", "--cancelar", id).esperar_dizer("está pendente")
    loja.esperar_tratar("envio", f"{id}:pedido.cancelamento_solicitado")
    loja.iniciar("estoque")
    loja.esperar_finais()
    assert loja.resultado(id) == ("cancelado", "cancelado a pedido do cliente")
    loja.conferir_repouso()
    assert cancelador.vivo(), "devia continuar ouvindo"


# --- devagar ---

def test_devagar_cada_parada_diz_o_que_morre_e_nada_se_perde(loja_aberta):
    loja, id = loja_aberta, "devagar"
    loja.matar("estoque")
    loja.enviar(cenario("sucesso", id))
    em_maos = loja.lancar("estoque", "--devagar", "60").esperar_dizer(f"em mãos: {id} pedido.criado; morto agora, volta à fila")
    assert not loja.tratou("estoque", f"{id}:pedido.criado")
    em_maos.matar()
    depois = loja.lancar("estoque", "--devagar", "0.5").esperar_dizer("devolvidas à fila: 1")
    depois.esperar_dizer("COMMIT feito, por publicar estoque.reservado: está na caixa de saída").matar()
    assert loja.consultar("estoque", "SELECT tipo FROM caixa_saida WHERE enviado = 0") == [("estoque.reservado",)]
    loja.matar("estoque")
    loja.iniciar("estoque")
    loja.conferir_repouso()


def test_devagar_o_ctrl_c_nao_espera(loja_aberta):
    loja_aberta.matar("estoque")
    loja_aberta.enviar(cenario("sucesso", novo_id()))
    estoque = loja_aberta.lancar("estoque", "--devagar", "60").esperar_dizer("em mãos").interromper()
    assert estoque.fim() == 0 and estoque.linhas[-1] == "estoque: encerrado"
    estoque.limpo()
    loja_aberta.matar("estoque")
    loja_aberta.iniciar("estoque")
    loja_aberta.conferir_repouso()


@pytest.mark.longo
def test_devagar_mais_que_o_heartbeat_nao_perde_a_conexao(loja):
    loja.enviar(cenario("sucesso"))
    loja.iniciar("pedidos", "pagamentos", "envio")
    estoque = loja.lancar("estoque", "--devagar", "35")
    loja.esperar_finais(120)
    assert estoque.texto.count(": pronto") == 1 and "continuo tentando" not in estoque.texto


# --- encerrar ---

def test_encerrar_ouvindo_ou_procurando_o_broker_e_quieto_e_com_status_zero(loja):
    loja.iniciar()
    procurando = Programa(MICROSSERVICOS / "servico_envio.py", "--dados", loja.dados, url=SEM_BROKER).esperar_dizer("continuo tentando")
    um_de_cada = [(nome, programa) for nome, [programa] in loja.programas.items()]
    for n, (nome, programa) in enumerate([*um_de_cada, ("envio", procurando)]):
        programa.sinal(signal.SIGTERM if n % 2 else signal.SIGINT)
        assert programa.fim() == 0
        assert programa.linhas[-1] == f"{nome}: encerrado"
        programa.limpo()


# --- o broker ---

@pytest.fixture
def porta(broker):
    porta = Porta(broker.porta)
    yield porta
    porta.cortar()


def por(porta, loja) -> str:
    """O mesmo vhost, passando pela porta."""
    return f"amqp://guest:guest@127.0.0.1:{porta.numero}/{loja.vhost}"


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


@pytest.mark.skipif(sys.platform != "linux", reason="o tamanho do pipe é o do Linux")
def test_encerrar_com_a_saida_presa_num_pipe_que_ninguem_le(loja_aberta):
    """A escrita presa também é do lote em mãos: o segundo sinal não espera por ela, e larga o broker."""
    loja, ids = loja_aberta, [novo_id() for _ in range(5)]
    loja.matar("estoque")
    leitura, escrita = os.pipe()
    os.write(escrita, b"x" * (65536 - 200))  # sobra o lugar da linha que diz "pronto", e de pouco mais
    estoque = subprocess.Popen([sys.executable, MICROSSERVICOS / "servico_estoque.py", "--dados", loja.dados], stdout=escrita,
                               env={**os.environ, "RABBITMQ_URL": loja.url})
    try:
        loja.enviar(*(cenario("sucesso", id) for id in ids))
        loja.esperar_tratar("estoque", *(f"{id}:pedido.criado" for id in ids))
        esperar(lambda: estoque.terminate() or loja.ouvintes("estoque") == 0, que="ele largar o broker")
    finally:
        estoque.kill()
        estoque.wait()
        os.close(leitura)
        os.close(escrita)
    loja.iniciar("estoque")
    loja.conferir_repouso()


def test_encerrar_enquanto_o_broker_nao_responde_por_um_lote(loja_aberta, porta):
    """O primeiro sinal espera o lote em mãos; o mesmo outra vez, não."""
    loja, id = loja_aberta, novo_id()
    loja.matar("estoque")
    porta.abrir()
    estoque = Programa(MICROSSERVICOS / "servico_estoque.py", "--dados", loja.dados, url=por(porta, loja)).esperar_dizer(": pronto")
    porta.deixa_ir.clear()
    loja.enviar(cenario("sucesso", id))
    esperar(lambda: loja.tratou("estoque", f"{id}:pedido.criado"), que="o lote em mãos")
    esperar(lambda: estoque.encerrar() and not estoque.vivo(), que="o fim dele")
    assert estoque.fim() == 0 and estoque.linhas[-1] == "estoque: encerrado"
    estoque.limpo()
    porta.cortar()
    loja.iniciar("estoque")
    loja.conferir_repouso()


def test_ligacao_que_cai_no_aperto_de_mao_nao_e_uma_recusa(loja, porta):
    """O broker morre depois de dizer olá, de aceitar a senha, de abrir o vhost, o canal: tenta-se de novo."""
    porta.respostas[:] = range(4)
    porta.abrir()
    with no_endereco(por(porta, loja)):
        while porta.respostas:
            with pytest.raises(M.acesso.BrokerFora):
                M.conexao.Conexao("teste")
        M.conexao.Conexao("teste").fechar()


# --- o banco e a tela ---

def test_banco_travado_por_um_momento_so_atrasa(loja_aberta):
    """O professor deixou um BEGIN EXCLUSIVE aberto no sqlite3."""
    loja = loja_aberta
    with closing(sqlite3.connect(loja.pasta / "estoque.db", isolation_level=None)) as outro:
        outro.execute("BEGIN EXCLUSIVE")
        loja.enviar(cenario("sucesso", novo_id()))
        esperar(lambda: not loja.a_enviar("pedidos"), que="o evento chegar ao estoque")
        esperar(lambda: not loja.profundidade("estoque"), que="o estoque pegá-lo")
        assert loja.pendentes() == 1
        outro.execute("ROLLBACK")
    loja.conferir_repouso()


def test_quem_le_a_saida_do_servico_vai_embora(loja_aberta):
    """Um `| head -1`: o serviço acaba quieto; o evento que ele ia narrar não se perde."""
    loja_aberta.matar("envio")
    servico = subprocess.Popen([sys.executable, MICROSSERVICOS / "servico_envio.py", "--dados", loja_aberta.dados],
                               env={**os.environ, "RABBITMQ_URL": loja_aberta.url}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with servico:
        assert b"pronto" in servico.stdout.readline()
        servico.stdout.close()
        loja_aberta.enviar(cenario("sucesso", novo_id()))
        assert servico.wait(30) == 0 and servico.stderr.read() == b""
    loja_aberta.iniciar("envio")
    loja_aberta.conferir_repouso()
