"""O que o broker recusa, tira ou limita: dito uma vez, com as palavras dele, e sem perder nada."""

from __future__ import annotations

import itertools
import json
import re
import signal
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

from bloqueante import no_endereco
from cluster import rabbitmqctl
from conftest import esperar
from test_mortas import mortas
from test_saga import novo_id
from venenos import VALORES, Cruas, escrever
from verbos import (M, Loja, Porta, Programa, cenario, loja, loja_aberta, loja_do_arquivo, mistura,  # noqa: F401
                    rodar)

DE_AQUI = "rabbitmqctl; num nó privado, sh dados/rabbitmq/loja-5672/rabbitmqctl"
# A regra do README para set_permissions: configurar, escrever e ler só estes nomes.
REGRA = r"^(loja(\..*)?|(pedidos|estoque|pagamentos|envio)(\.mortas)?|amq\.default)$"


@contextmanager
def politica(broker, loja: Loja, fila: str, **regra):
    """O que um administrador impõe a esta fila enquanto o bloco dura."""
    rabbitmqctl(broker, "set_policy", "-p", loja.vhost, "dele", f"^{re.escape(fila)}$",
                json.dumps({nome.replace("_", "-"): valor for nome, valor in regra.items()}))
    try:
        yield
    finally:
        rabbitmqctl(broker, "clear_policy", "-p", loja.vhost, "dele")


def novas(programa: Programa, desde: int) -> list[str]:
    return [linha for linha in programa.linhas[desde:] if re.match(r"\w+: ", linha)]


def calado(programa: Programa, segundos: float) -> bool:
    """Se ele nada diz por tantos segundos."""
    desde, limite = len(programa.linhas), time.monotonic() + segundos
    esperar(lambda: time.monotonic() > limite or novas(programa, desde), que="o silêncio")
    return not novas(programa, desde)


# --- uma política que enche uma fila: sem reject-publish, o broker jogaria fora o que confirmou ---

def test_fila_cheia_e_uma_linha_sem_reconectar_e_os_outros_eventos_seguem(broker, loja_aberta):
    """Pagamentos desligado, e a fila dele recusa: estoque insiste aos poucos, e atende."""
    loja, marca = loja_aberta, novo_id()
    loja.matar("estoque", "pagamentos")
    loja.iniciar("estoque")
    estoque = loja.programas["estoque"][0]
    with politica(broker, loja, "pagamentos", max_length=5):
        loja.enviar(*(cenario("sucesso", f"{marca}-{n}") for n in range(800)))
        estoque.esperar_dizer("recusou guardar estoque.reservado")
        desde = len(estoque.linhas)
        # Continua a receber da sua fila, e o que vai a outra passa: a recusa do próprio estoque.
        loja.enviar(cenario("sem-estoque", marca))
        esperar(lambda: loja.resultado(marca) == ("cancelado", "estoque insuficiente"), que="o outro evento passar")
        assert calado(estoque, 3), estoque.texto  # tempo para várias tentativas
        assert "«pagamentos»" in estoque.texto and "max-length" in estoque.texto
        esperar(lambda: loja.a_enviar("estoque") > 2 * M.canal.LOTE, que="mais de dois lotes por enviar")
    loja.iniciar("pagamentos")
    estoque.esperar_dizer("voltou a aceitar estoque.reservado")
    loja.conferir_repouso()
    assert len(novas(estoque, desde)) == 1 and estoque.texto.count(": pronto") == 1, estoque.texto


def test_fila_de_mortas_cheia_guarda_a_morta_e_nao_para_o_servico(broker, loja_aberta):
    with politica(broker, loja_aberta, "estoque.mortas", max_length_bytes=1):
        for n in range(6):
            loja_aberta.publicar("pedido.criado", b"veneno", message_id=f"v-{n}", correlation_id="x")
        loja_aberta.programas["estoque"][0].esperar_dizer("recusou guardar estoque.mortas")
        loja_aberta.enviar(cenario("sucesso", novo_id()))
        loja_aberta.esperar_finais()
        assert loja_aberta.consultar("estoque", "SELECT 1 FROM tentativas")
    loja_aberta.esperar_morta("estoque", 6)
    loja_aberta.conferir_repouso(mortas=6)


# --- o que uma política faz e não se pode recusar: é dito, e há um comando que traz de volta ---

POLITICAS = {  # (a política sobre a fila do estoque, o que se lê nas mortas)
    "prazo": ({"message_ttl": 300}, "«expired»"),
    "descarte": ({"max_length": 3, "overflow": "drop-head"}, "«maxlen»"),
    "entregas": ({"delivery_limit": 1}, "«delivery_limit»"),
}


@pytest.mark.parametrize("qual", POLITICAS)
def test_o_que_a_politica_tira_da_fila_esta_nas_mortas_com_o_motivo_e_volta(broker, loja_aberta, qual):
    (regra, motivo), loja, marca = POLITICAS[qual], loja_aberta, novo_id()
    loja.matar("estoque")
    with politica(broker, loja, "estoque", **regra):
        loja.enviar(*(cenario("sucesso", f"{marca}-{n}") for n in range(20)))
        esperar(lambda: not loja.a_enviar("pedidos"), que="tudo publicado")
        for _ in range(3 * (qual == "entregas")):
            with loja.canal() as canal:  # recebe uma e vai embora sem o ack
                canal.basic_get("estoque")
        quantas = len(loja.esperar_morta("estoque"))
        lidas = mortas(loja, "estoque")
        assert lidas.fim() == 0 and lidas.texto.count(f"o broker desistiu de entregá-la: {motivo}") >= quantas
    loja.iniciar("estoque")
    esperar(lambda: not loja.profundidade("estoque"), que="estoque atender o que ficou na fila")
    assert mortas(loja, "estoque", "--reenviar").fim() == 0
    loja.conferir_repouso()


def test_fila_que_a_politica_apagou_e_declarada_de_novo_e_republicar_traz_o_pedido(broker, loja_aberta):
    """expires: a fila sem ouvinte some, com o que havia nela, e sem mensagem morta nenhuma."""
    loja, id = loja_aberta, novo_id()
    loja.matar("estoque")
    loja.enviar(cenario("sucesso", id))
    esperar(lambda: loja.profundidade("estoque") == 1, que="o evento na fila")
    with politica(broker, loja, "estoque", expires=300):
        esperar(lambda: not loja.existe("estoque"), que="a fila sumir")
    loja.matar("pedidos")
    loja.iniciar("estoque")
    assert loja.pendentes() == 1
    loja.lancar("pedidos", "--republicar", id).esperar_dizer(": pronto")
    loja.conferir_repouso()


# --- uma porta em que ainda não há um RabbitMQ ---

def responder(cliente: socket.socket, como: str) -> None:
    """"fecha", como o Docker, antes de o RabbitMQ de dentro ficar pronto; "cala"; "fala outra língua"."""
    if como != "fecha":
        cliente.recv(100)
    if como == "fala outra língua":
        cliente.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    if como != "cala":
        cliente.close()


def test_porta_que_nao_fala_amqp_e_esperada_ate_haver_um_rabbitmq(broker, loja):
    porta, abertos, modos = Porta(broker.porta), [], itertools.cycle(["cala", "fecha", "fala outra língua"])
    loja.url = loja.url.replace(f":{broker.porta}/", f":{porta.numero}/")
    with socket.create_server(("127.0.0.1", porta.numero)) as ainda_nao:
        def atender():
            with suppress(OSError):
                while True:
                    abertos.append(ainda_nao.accept()[0])
                    responder(abertos[-1], next(modos))
        threading.Thread(target=atender, daemon=True).start()
        estoque = loja.lancar("estoque").esperar_dizer("não fala AMQP")
        esperar(lambda: len(abertos) > 3, que="uma tentativa de cada")
        ainda_nao.shutdown(socket.SHUT_RDWR)
    for um in abertos:
        um.close()
    try:
        porta.abrir()
        estoque.esperar_dizer(": pronto")
    finally:
        porta.cortar()
    assert estoque.texto.count("não fala AMQP: pode ser um RabbitMQ que ainda está iniciando; se demora, é outro") == 1
    # Entre uma porta e outra, uma tentativa pode não achar ninguém: também é dito, uma vez.
    assert estoque.texto.count("continuo tentando") == 1 + ("não responde" in estoque.texto), estoque.texto


@pytest.mark.parametrize("fim, vhost", [("", "/"), ("/", "/"), ("//", "/"), ("/%2F", "/"), ("/loja", "loja")])
def test_o_vhost_que_cada_endereco_diz(fim, vhost):
    """amqp://…//, como o Celery escreve, é o vhost /."""
    with no_endereco(f"amqp://ana:senha@servidor:5672{fim}"):
        [endereco] = M.acesso.enderecos()
    assert endereco.virtual_host == vhost


@pytest.mark.parametrize("maquina, nome, comando, outro", [
    ("localhost", "", DE_AQUI, "outro vhost em RABBITMQ_URL"),
    ("localhost", "loja-5672@vm", DE_AQUI, "outra porta em RABBITMQ_URL (amqp://guest:guest@localhost:5673/)"),
    ("broker.escola", "rabbit@escola", "rabbitmqctl", "outro vhost em RABBITMQ_URL")])
def test_o_conselho_serve_onde_e_dado(maquina, nome, comando, outro):
    """A um nó privado o rabbitmqctl do sistema não chega, e nele não se cria vhost."""
    with no_endereco(f"amqp://guest:guest@{maquina}:5672/"):
        sem = M.acesso.explicar([ChannelClosedByBroker(406, "inequivalent arg 'alternate-exchange' for exchange 'loja.identidade' "
                                                       "in vhost '/': received 'loja.1' but current is 'loja.2'")], nome)
        falta = M.acesso.explicar([ConnectionClosedByBroker(530, "NOT_ALLOWED - vhost x not found")], nome)
    assert f"é da loja 2, e esta pasta de dados é de outra: use {outro}, ou" in str(sem)
    assert f"(add_vhost, com {comando})" in str(falta) and falta.codigo == 2


# --- o canal encerrado, e não a conexão ---

def test_exchange_apagado_e_notado_na_hora_e_declarado_de_novo(loja_aberta):
    pedidos = loja_aberta.programas["pedidos"][0]
    desde = len(pedidos.linhas)
    with loja_aberta.canal() as canal:
        canal.exchange_delete("loja")
    loja_aberta.enviar(cenario("sucesso", novo_id()))
    pedidos.esperar_dizer("encerrou o canal: «NOT_FOUND - no exchange 'loja'", 10)
    loja_aberta.conferir_repouso()
    [encerrou, pronto] = novas(pedidos, desde)
    assert "encerrou o canal" in encerrou and ": pronto" in pronto


@pytest.fixture
def usuario(broker, loja):
    """Um usuário que só pode o que a regra do README dá; a loja passa a entrar com ele."""
    nome = f"aluno-{loja.vhost}"
    rabbitmqctl(broker, "add_user", nome, "segredo")
    rabbitmqctl(broker, "set_permissions", "-p", loja.vhost, nome, REGRA, REGRA, REGRA)
    loja.url = loja.url.replace("guest:guest", f"{nome}:segredo")
    yield nome
    loja.fechar()
    rabbitmqctl(broker, "delete_user", nome)


def test_usuario_com_direito_so_aos_nomes_da_regra_faz_tudo(loja, usuario):
    """O lançador com a sua plateia, as mortas, o reenvio, --limpar."""
    programa = rodar("orquestracao.py", "--dados", loja.dados, "--cenario", "todos",
                     "--ate-concluir", url=loja.url)
    assert programa.fim() == 0 and programa.disse("pedido.concluido"), programa.texto
    loja.publicar_crua("estoque.mortas", b"ruim", exchange="", message_id="x")
    for argumentos in [], ["--reenviar"]:
        assert mortas(loja, *argumentos).linhas[-1].startswith("1 ")
    assert rodar("orquestracao.py", "--dados", loja.dados, "--limpar", "--sim", "--estado",
                 url=loja.url).fim() == 0


@pytest.mark.longo
def test_permissao_tirada_com_o_servico_no_ar_e_uma_linha_e_volta_com_ela(broker, loja, usuario):
    loja.iniciar("pedidos")
    pedidos, vhost = loja.programas["pedidos"][0], loja.vhost
    so_le = r"^(loja|pedidos|estoque|pagamentos|envio|amq\.default).*$"
    rabbitmqctl(broker, "set_permissions", "-p", vhost, usuario, so_le,
                "^amq.default|pedidos|estoque|pagamentos|envio$", so_le)
    loja.enviar(cenario("sucesso"))
    pedidos.esperar_dizer("falta uma permissão", 20)
    assert calado(pedidos, 3), pedidos.texto
    assert "ACCESS_REFUSED" in pedidos.texto and "'loja'" in pedidos.texto
    rabbitmqctl(broker, "set_permissions", "-p", vhost, usuario, REGRA, REGRA, REGRA)
    pedidos.esperar_dizer(": pronto")
    esperar(lambda: not loja.a_enviar("pedidos"), que="a caixa de saída esvaziar")


# --- a conexão ---

def test_ctrl_c_no_meio_de_um_passo_ainda_deixa_fechar(loja, monkeypatch):
    """O que estava em mãos volta à fila na hora: a conexão é fechada, e não largada."""
    loja.iniciar("pedidos")
    loja.enviar(*mistura(300))
    esperar(lambda: loja.profundidade("estoque") == 300, que="os eventos na fila")
    with no_endereco(loja.url):
        canal = M.canal.Canal("estoque", None)
        original, vezes = M.canal.simplificar, iter(range(1000))

        def interromper(propriedades):
            if next(vezes) == 50:  # no meio de um callback do pika, com o laço dele rodando
                signal.raise_signal(signal.SIGINT)
            return original(propriedades)
        monkeypatch.setattr(M.canal, "simplificar", interromper)
        loja.enviar(*mistura(300, "q"))  # os primeiros podem já ter chegado todos
        with pytest.raises(KeyboardInterrupt):
            while True:
                canal.receber(1)
        inicio = time.monotonic()
        canal.fechar()
        assert time.monotonic() - inicio < 2 * M.conexao.PRAZO_DE_FECHO
        esperar(lambda: loja.profundidade("estoque") == 600 and not loja.ouvintes("estoque"),
                que="as 600 voltarem à fila")
        with M.canal.Canal("estoque", None) as outro:
            recebidas = esperar(lambda: outro.receber(1), que="a fila entregar")
            assert recebidas[0].devolvida, "o broker já as tinha entregado"


def test_o_pika_ainda_precisa_de_ajuda(monkeypatch):
    """Quando isto falhar, o pika instalado já lê tudo, e Propriedades pode sair."""
    ilegiveis = []
    for valor in VALORES.values():
        prontas = escrever({"headers": [("x", valor)]})
        quadro = pika.frame.Header(1, 5, Cruas(prontas)).marshal()
        monkeypatch.undo()
        assert type(pika.frame.decode_frame(quadro)[1].properties) is M.ajustes_do_pika.Propriedades
        monkeypatch.setitem(pika.spec.props, pika.BasicProperties.INDEX, pika.BasicProperties)
        try:
            pika.frame.decode_frame(quadro)
        except Exception:
            ilegiveis.append(prontas)
    assert ilegiveis, "o pika já não derruba a conexão por propriedades que não lê"
    for prontas in ilegiveis:
        assert M.ajustes_do_pika.Propriedades().decode(prontas).type == "(propriedades ilegíveis)"


def test_fechar_com_o_laco_do_pika_ainda_rodando_nao_e_um_erro(loja):
    """É como o deixa um Ctrl-C no primeiro instante de um passo, antes de o pika tomar cuidado."""
    with no_endereco(loja.url):
        conexao = M.conexao.Conexao("teste")
        conexao._laco.call_later(0, lambda: (conexao.fechar(), conexao.acordar()))
        conexao._girar(1)
