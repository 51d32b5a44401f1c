"""Quedas: kill -9 em cada instante com centenas de pedidos na fila, cópias, conexões e filas perdidas, broker morto.

Com a fila vazia um teste de queda não prova nada: aqui cada morte encontra centenas de
pedidos pelo caminho, e metade deles precisa ser compensada.
"""

from __future__ import annotations

import random
import signal

import pytest

from cluster import rabbitmqctl
from conftest import RAIZ, esperar
from morrer_em import PONTOS
from test_saga import novo_id
from verbos import SERVICOS, Loja, Programa, loja_aberta, loja_do_arquivo, mistura  # noqa: F401


def acumular(loja: Loja, nome: str, quantos: int) -> None:
    """Deixa o serviço morto, com centenas de mensagens na fila dele."""
    if nome == "pedidos":  # é ele quem abre as sagas: primeiro abre, depois morre
        loja.suspender("estoque")
        loja.enviar(*mistura(quantos, novo_id()))
        esperar(lambda: not loja.a_enviar("pedidos"), que="as sagas abertas")
        loja.matar("pedidos")
        loja.continuar("estoque")
    else:
        loja.matar(nome)
        loja.enviar(*mistura(quantos, novo_id()))
    esperar(lambda: loja.profundidade(nome) >= quantos // 2, que=f"a fila de {nome} encher")


def morrer(loja: Loja, nome: str, ponto: str, vez: int) -> bool:
    """Roda o serviço até ele morrer no ponto; False se ele deu conta de tudo antes disso."""
    opcoes = ["--sem-pedido"] if nome == "pedidos" else []
    programa = Programa(RAIZ / "tests" / "apoio" / "morrer_em.py", nome, ponto, vez, "--dados", loja.dados, "--sem-eventos", *opcoes, url=loja.url)
    esperar(lambda: not programa.vivo() or not loja.pendentes(), que=f"{nome} morrer em {ponto}")
    if programa.vivo():
        programa.matar()
        return False
    assert programa.fim() == -signal.SIGKILL, programa.texto
    return True


# --- em cada ponto do caminho de um evento ---

@pytest.mark.parametrize("ponto", PONTOS)
def test_morte_no_ponto_nao_perde_nem_repete(loja_aberta, ponto):
    for nome in SERVICOS:
        acumular(loja_aberta, nome, 300)
        for vez in ((1, 60) if ponto == "no-meio-do-lote" else (1,)):
            assert morrer(loja_aberta, nome, ponto, vez), f"{nome} não passou por {ponto}"
        loja_aberta.iniciar(nome)
        loja_aberta.esperar_finais()
    loja_aberta.conferir_repouso()


@pytest.mark.longo
@pytest.mark.parametrize("nome", SERVICOS)
def test_morte_em_qualquer_linha_nao_perde_nem_repete(loja_aberta, nome):
    """Trinta instantes por serviço, escolhidos entre todas as linhas que ele executa com um lote em mãos."""
    acaso = random.Random(nome)
    mortes = 0
    for _ in range(30):
        acumular(loja_aberta, nome, 100)
        mortes += morrer(loja_aberta, nome, "linha", acaso.randrange(1, acaso.choice([100, 3000, 30000])))
        loja_aberta.iniciar(nome)
        loja_aberta.esperar_finais()
        loja_aberta.conferir_contas()
    loja_aberta.conferir_repouso()
    assert mortes > 15, "os instantes escolhidos passaram quase sempre do fim do lote"


@pytest.mark.parametrize("ponto", [*PONTOS, "linha"])
def test_ctrl_c_no_ponto_termina_antes_o_lote_em_maos(loja_aberta, ponto):
    """Nada do que ele tratou volta pela fila, nem fica na caixa de saída.

    Dois sinais, como no terminal do lançador: o Ctrl-C chega a todos, e o SIGTERM do lançador logo depois.
    """
    nome = "estoque"
    opcoes = {"ambiente": {"SINAIS_DA_QUEDA": f"{int(signal.SIGINT)} {int(signal.SIGTERM)}"}}
    for vez in (1, 333, 4444) if ponto == "linha" else (1,):
        acumular(loja_aberta, nome, 100)
        programa = Programa(RAIZ / "tests" / "apoio" / "morrer_em.py", nome, ponto, vez, "--dados", loja_aberta.dados, url=loja_aberta.url, **opcoes)
        assert programa.fim() == 0 and programa.linhas[-1] == "estoque: encerrado", programa.texto
        assert not loja_aberta.a_enviar(nome)
        programa.limpo()
        loja_aberta.iniciar(nome)
        loja_aberta.conferir_repouso()
        assert "repetido" not in loja_aberta.tela(nome)


# --- duas cópias ---

def test_duas_copias_de_cada_servico_dividem_o_trabalho_sem_repetir(loja_aberta):
    for nome in SERVICOS:
        loja_aberta.lancar(nome).esperar_dizer(": pronto")
        assert loja_aberta.ouvintes(nome) == 2
    loja_aberta.enviar(*mistura(600, novo_id()))
    loja_aberta.esperar_finais()
    loja_aberta.enviar(*mistura(300, novo_id()))
    for nome in SERVICOS:  # uma de cada morre no meio
        loja_aberta.programas[nome].pop(0).matar()
    loja_aberta.conferir_repouso()


# --- conexões e filas ---

def test_conexao_fechada_por_um_operador_volta_sozinha(loja_aberta, broker):
    telas = {nome: len(loja_aberta.programas[nome][0].linhas) for nome in SERVICOS}
    loja_aberta.enviar(*mistura(300, novo_id()))
    rabbitmqctl(broker, "close_all_connections", "--vhost", loja_aberta.url.rsplit("/", 1)[1], "manutenção")
    for nome in SERVICOS:
        esperar(lambda: loja_aberta.ouvintes(nome) == 1, que=f"{nome} voltar")
    loja_aberta.enviar(*mistura(50, novo_id()))
    loja_aberta.conferir_repouso()
    for nome in SERVICOS:
        ditas = [linha for linha in loja_aberta.programas[nome][0].linhas[telas[nome]:] if linha.startswith(f"{nome}: ")]
        assert len(ditas) == 2 and "encerrou a conexão" in ditas[0] and "pronto" in ditas[1], ditas


def test_fila_apagada_enquanto_se_ouve_e_declarada_de_novo(loja_aberta):
    for nome in SERVICOS:
        with loja_aberta.canal() as canal:
            canal.queue_delete(nome)
        loja_aberta.programas[nome][0].esperar_dizer("cancelou o consumo")
        esperar(lambda: loja_aberta.existe(nome) and loja_aberta.ouvintes(nome), que=f"{nome} declarar a fila de novo")
    loja_aberta.enviar(*mistura(40, novo_id()))
    loja_aberta.conferir_repouso()


def test_ligacao_desfeita_nao_vira_silencio(loja_aberta):
    """Sem a ligação, o evento não tem fila: o publicador percebe, declara de novo e publica outra vez."""
    with loja_aberta.canal() as canal:
        for nome, tipo in (("estoque", "pedido.criado"), ("pagamentos", "estoque.reservado"), ("pedidos", "envio.despachado")):
            canal.queue_unbind(nome, "loja", tipo)
    loja_aberta.enviar(*mistura(40, novo_id()))
    loja_aberta.conferir_repouso()


# --- o broker ---

@pytest.mark.longo
def test_broker_reiniciado_e_depois_morto_sob_os_servicos(no_novo, tmp_path):
    no = no_novo().iniciar()
    loja = Loja(tmp_path / "dados", no.url, fartura=True).iniciar()
    try:
        loja.suspender("envio")
        loja.enviar(*mistura(300, "a"))
        esperar(lambda: len(loja.consultar("pagamentos", "SELECT 1 FROM cobrancas")) > 100, que="a fila do envio crescer")

        no.matar()  # sem aviso, com centenas de mensagens nas filas
        loja.continuar("envio")
        loja.enviar(*mistura(100, "b"))  # a porta de entrada não precisa do broker
        for nome in SERVICOS:
            loja.programas[nome][0].esperar_dizer("continuo tentando")
        no.iniciar()
        loja.esperar_finais()

        loja.enviar(*mistura(300, "c"))
        no.parar()  # com calma, no meio do trabalho
        loja.enviar(*mistura(100, "d"))
        no.iniciar()
        loja.conferir_repouso()
        assert all(loja.ouvintes(nome) == 1 for nome in SERVICOS)
        for nome in SERVICOS:
            [programa] = loja.programas[nome]
            assert programa.vivo() and sum("pronto" in linha for linha in programa.linhas) == 3
            assert sum("continuo tentando" in linha for linha in programa.linhas) <= 6, programa.texto
    finally:
        loja.fechar()
