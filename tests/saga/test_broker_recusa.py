"""O que o broker recusa, tira ou limita: dito uma vez, com as palavras dele, e sem perder nada."""

from __future__ import annotations

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

from bloqueante import conectar, declarar, no_endereco
from cluster import rabbitmqctl
from conftest import esperar
from venenos import VALORES, Cruas, escrever
from verbos import (M, SERVICOS, Loja, Porta, Programa, cenario, loja, mistura, pedido,  # noqa: F401
                    rodar)

# A regra do README para set_permissions: configurar, escrever e ler só estes nomes.
REGRA = r"^(loja(\..*)?|(pedidos|estoque|pagamentos|envio)(\.mortas)?|amq\.default)$"


def vhost_de(loja: Loja) -> str:
    return loja.url.rsplit("/", 1)[1]


@contextmanager
def politica(broker, loja: Loja, fila: str, **regra):
    """O que um administrador impõe a esta fila enquanto o bloco dura."""
    rabbitmqctl(broker, "set_policy", "-p", vhost_de(loja), "dele", f"^{re.escape(fila)}$",
                json.dumps({nome.replace("_", "-"): valor for nome, valor in regra.items()}))
    try:
        yield
    finally:
        rabbitmqctl(broker, "clear_policy", "-p", vhost_de(loja), "dele")


def calado(programa: Programa, segundos: float) -> bool:
    """Se ele nada diz por tantos segundos."""
    desde, limite = len(programa.linhas), time.monotonic() + segundos
    esperar(lambda: time.monotonic() > limite or novas(programa, desde), que="o silêncio")
    return not novas(programa, desde)


def novas(programa: Programa, desde: int) -> list[str]:
    return [linha for linha in programa.linhas[desde:] if re.match(r"\w+: ", linha)]


# --- uma política que enche uma fila: sem reject-publish, o broker jogaria fora o que confirmou ---

def test_fila_cheia_e_uma_linha_sem_reconectar_e_os_outros_eventos_seguem(broker, loja):
    """Pagamentos desligado, e a fila dele recusa: estoque insiste aos poucos, e atende."""
    loja.repor()
    loja.iniciar("pedidos", "estoque", "envio")
    estoque = loja.programas["estoque"][0]
    conexoes = rabbitmqctl(broker, "list_connections", "-p", vhost_de(loja), "pid")
    with politica(broker, loja, "pagamentos", max_length=5):
        loja.enviar(*(cenario("sucesso", f"p-{n}") for n in range(1500)))
        estoque.esperar_dizer("recusou guardar estoque.reservado")
        desde = len(estoque.linhas)
        # Continua a receber da sua fila, e o que vai a outra passa: a recusa do próprio estoque.
        loja.enviar(pedido("sem-estoque", "ana", "notebook", 1000))
        esperar(lambda: loja.resultado("sem-estoque") == ("cancelado", "estoque insuficiente"),
                que="o outro evento passar")
        assert calado(estoque, 4), estoque.texto  # tempo para várias tentativas
        assert "«pagamentos»" in estoque.texto and "max-length" in estoque.texto
        assert loja.consultar("estoque", "SELECT count(*) FROM caixa_saida WHERE enviado = 0")[0][0] > 2 * M.canal.LOTE
        assert rabbitmqctl(broker, "list_connections", "-p", vhost_de(loja),
                           "pid") == conexoes, "reconectou por uma recusa"
    loja.iniciar("pagamentos")
    estoque.esperar_dizer("voltou a aceitar estoque.reservado")
    loja.conferir_repouso()
    assert len(novas(estoque, desde)) == 1 and estoque.texto.count(": pronto") == 1, estoque.texto


def test_fila_de_mortas_cheia_guarda_a_morta_e_nao_para_o_servico(broker, loja):
    loja.iniciar()
    with politica(broker, loja, "estoque.mortas", max_length_bytes=1):
        for n in range(6):
            loja.publicar("pedido.criado", b"veneno", message_id=f"v-{n}", correlation_id="x")
        loja.programas["estoque"][0].esperar_dizer("recusou guardar estoque.mortas")
        loja.enviar(cenario("sucesso"))
        loja.esperar_finais()
        assert loja.consultar("estoque", "SELECT 1 FROM tentativas")
    loja.esperar_morta("estoque", 6)
    loja.conferir_repouso(mortas=6)


# --- o que uma política faz e não se pode recusar: é dito, e há um comando que traz de volta ---

POLITICAS = {  # (a política sobre a fila do estoque, o que se lê nas mortas)
    "prazo": ({"message_ttl": 300}, "venceu o prazo de uma política (message-ttl)"),
    "descarte": ({"max_length": 3, "overflow": "drop-head"}, "não cabia na fila (max-length"),
    "entregas": ({"delivery_limit": 1}, "foi entregue vezes demais sem ack (delivery-limit)"),
}


@pytest.mark.parametrize("qual", POLITICAS)
def test_o_que_a_politica_tira_da_fila_esta_nas_mortas_com_o_motivo_e_volta(broker, loja, qual):
    regra, motivo = POLITICAS[qual]
    loja.repor()
    loja.iniciar("pedidos")
    with politica(broker, loja, "estoque", **regra):
        loja.enviar(*(cenario("sucesso", f"p-{n}") for n in range(20)))
        esperar(lambda: not loja.consultar("pedidos", "SELECT 1 FROM caixa_saida WHERE enviado = 0"),
                que="tudo publicado")
        for _ in range(3 * (qual == "entregas")):
            with loja.canal() as canal:  # recebe uma e vai embora sem o ack
                canal.basic_get("estoque")
        mortas = len(loja.esperar_morta("estoque"))
        lidas = rodar("microsservicos/mortas.py", "--dados", loja.dados, "estoque", url=loja.url)
        assert lidas.fim() == 0 and lidas.texto.count(f"o broker desistiu de entregá-la: {motivo}") >= mortas
    loja.iniciar("estoque", "pagamentos", "envio")
    esperar(lambda: not loja.profundidade("estoque"), que="estoque atender o que ficou na fila")
    assert rodar("microsservicos/mortas.py", "--dados", loja.dados, "estoque", "--reenviar",
                 url=loja.url).fim() == 0
    loja.conferir_repouso()


def test_fila_que_a_politica_apagou_e_declarada_de_novo_e_republicar_traz_o_pedido(broker, loja):
    """expires: a fila sem ouvinte some, com o que havia nela, e sem mensagem morta nenhuma."""
    loja.enviar(cenario("sucesso"))
    loja.iniciar("pedidos")
    esperar(lambda: loja.profundidade("estoque") == 1, que="o evento na fila")
    loja.encerrar()
    with politica(broker, loja, "estoque", expires=300):
        esperar(lambda: "estoque\n" not in rabbitmqctl(broker, "list_queues", "-p", vhost_de(loja), "name"),
                que="a fila sumir")
    loja.iniciar("estoque", "pagamentos", "envio")
    assert loja.pendentes() == 1
    loja.lancar("pedidos", "--republicar", "p-1").esperar_dizer(": pronto")
    loja.conferir_repouso()


# --- uma porta em que ainda não há um RabbitMQ ---

def fechar_logo(cliente: socket.socket) -> None:
    cliente.close()  # como o Docker, antes de o RabbitMQ de dentro ficar pronto


def calar(cliente: socket.socket) -> None:
    cliente.recv(100)


def falar_outra_lingua(cliente: socket.socket) -> None:
    cliente.recv(100)
    cliente.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    cliente.close()


@pytest.mark.parametrize("responder", [fechar_logo, calar, falar_outra_lingua])
def test_porta_que_nao_fala_amqp_e_esperada_ate_haver_um_rabbitmq(broker, loja, responder):
    porta, abertos = Porta(broker.porta), []
    loja.url = loja.url.replace(f":{broker.porta}/", f":{porta.numero}/")
    with socket.create_server(("127.0.0.1", porta.numero)) as ainda_nao:
        def atender():
            with suppress(OSError):
                while True:
                    abertos.append(ainda_nao.accept()[0])
                    responder(abertos[-1])
        threading.Thread(target=atender, daemon=True).start()
        estoque = loja.lancar("estoque").esperar_dizer("não fala AMQP")
        esperar(lambda: len(abertos) > 2, que="várias tentativas")
        ainda_nao.shutdown(socket.SHUT_RDWR)
    for um in abertos:
        um.close()
    try:
        porta.abrir()
        estoque.esperar_dizer(": pronto")
    finally:
        porta.cortar()
    assert estoque.texto.count("não fala AMQP: pode ser um RabbitMQ que ainda está iniciando; se demora, é outro") == 1


@pytest.mark.parametrize("fim, vhost", [("", "/"), ("/", "/"), ("//", "/"), ("/%2F", "/"), ("/loja", "loja")])
def test_o_vhost_que_cada_endereco_diz(fim, vhost):
    """amqp://…//, como o Celery escreve, é o vhost /."""
    with no_endereco(f"amqp://ana:senha@servidor:5672{fim}"):
        [endereco] = M.enderecos.enderecos()
    assert endereco.virtual_host == vhost


@pytest.mark.parametrize("nome, comando, outro", [
    ("", "rabbitmqctl; num nó privado, sh dados/rabbitmq/loja-5672/rabbitmqctl", "outro vhost em RABBITMQ_URL"),
    ("loja-5672@vm", "sh dados/rabbitmq/loja-5672/rabbitmqctl", "outra porta em RABBITMQ_URL (amqp://guest:guest@localhost:5673/)"),
    ("rabbit@escola", "rabbitmqctl", "outro vhost em RABBITMQ_URL")])
def test_o_conselho_serve_onde_e_dado(broker, loja, nome, comando, outro):
    """A um nó privado o rabbitmqctl do sistema não chega, e nele não se cria vhost."""
    with no_endereco(loja.url), M.conexao.Conexao("teste") as conexao:
        assert conexao.nome_do_broker.split("@")[0] == broker.nome.split("@")[0]
    with no_endereco("amqp://guest:guest@localhost:5672/"):
        sem = M.erros.explicar([ChannelClosedByBroker(406, "inequivalent arg 'alternate-exchange' for exchange 'loja.identidade' "
                                                      "in vhost '/': received 'loja.1' but current is 'loja.2'")], nome)
        falta = M.erros.explicar([ConnectionClosedByBroker(530, "NOT_ALLOWED - vhost x not found")], nome)
    assert f"é da loja 2, e esta pasta de dados é de outra: use {outro}, ou" in str(sem)
    assert f"(add_vhost, com {comando})" in str(falta) and isinstance(falta, M.erros.BrokerRecusa)


# --- o canal encerrado, e não a conexão ---

def test_exchange_apagado_e_notado_na_hora_e_declarado_de_novo(loja):
    loja.iniciar()
    pedidos = loja.programas["pedidos"][0]
    with loja.canal() as canal:
        canal.exchange_delete("loja")
    loja.enviar(cenario("sucesso"))
    pedidos.esperar_dizer("encerrou o canal: «NOT_FOUND - no exchange 'loja'", 10)
    loja.esperar_finais(30)
    loja.conferir_repouso()
    assert pedidos.texto.count("encerrou o canal") == 1 and pedidos.texto.count(": pronto") == 2


@pytest.fixture
def usuario(broker, loja):
    """Um usuário que só pode o que a regra do README dá; a loja passa a entrar com ele."""
    vhost = vhost_de(loja)
    nome = f"aluno-{vhost}"
    rabbitmqctl(broker, "add_user", nome, "segredo")
    rabbitmqctl(broker, "set_permissions", "-p", vhost, nome, REGRA, REGRA, REGRA)
    loja.de_guest, loja.url = loja.url, loja.url.replace("guest:guest", f"{nome}:segredo")
    yield nome
    loja.fechar()
    rabbitmqctl(broker, "delete_user", nome)


def test_usuario_com_direito_so_aos_nomes_da_regra_faz_tudo(loja, usuario):
    """O lançador com a sua plateia, as mortas, o reenvio, --limpar."""
    for nome in SERVICOS:  # a loja de teste criou os bancos; o lançador os encontra
        assert (loja.pasta / f"{nome}.db").exists()
    programa = rodar("orquestracao.py", "--dados", loja.dados, "--cenario", "todos",
                     "--ate-concluir", url=loja.url)
    assert programa.fim() == 0 and programa.disse("em dúvida: 0") and programa.disse(
        "pedido.concluido"), programa.texto
    loja.publicar_crua("estoque.mortas", b"ruim", exchange="", message_id="x")
    assert rodar("microsservicos/mortas.py", "--dados", loja.dados,
                 url=loja.url).linhas[-1].startswith("1 ")
    assert rodar("microsservicos/mortas.py", "--dados", loja.dados, "--reenviar",
                 url=loja.url).linhas[-1].startswith("1 ")
    assert rodar("orquestracao.py", "--dados", loja.dados, "--limpar", "--sim", "--estado",
                 url=loja.url).fim() == 0


@pytest.mark.longo
def test_permissao_tirada_com_o_servico_no_ar_e_uma_linha_e_volta_com_ela(broker, loja, usuario):
    loja.iniciar("pedidos")
    pedidos, vhost = loja.programas["pedidos"][0], vhost_de(loja)
    so_le = r"^(loja|pedidos|estoque|pagamentos|envio|amq\.default).*$"
    rabbitmqctl(broker, "set_permissions", "-p", vhost, usuario, so_le,
                "^amq.default|pedidos|estoque|pagamentos|envio$", so_le)
    loja.enviar(cenario("sucesso"))
    pedidos.esperar_dizer("falta uma permissão", 20)
    assert calado(pedidos, 3), pedidos.texto
    assert "ACCESS_REFUSED" in pedidos.texto and "'loja'" in pedidos.texto
    rabbitmqctl(broker, "set_permissions", "-p", vhost, usuario, REGRA, REGRA, REGRA)
    pedidos.esperar_dizer(": pronto")
    esperar(lambda: not loja.consultar("pedidos", "SELECT 1 FROM caixa_saida WHERE enviado = 0"),
            que="a caixa de saída esvaziar")


# --- a conexão ---

def test_ctrl_c_no_meio_de_um_passo_ainda_deixa_fechar(loja, monkeypatch):
    """O que estava em mãos volta à fila na hora: a conexão é fechada, e não largada."""
    loja.iniciar("pedidos")
    loja.enviar(*mistura(300))
    esperar(lambda: loja.profundidade("estoque") == 300, que="os eventos na fila")
    with no_endereco(loja.url):
        canal = M.canal.Canal("estoque", M.reconexao.Reconexao("estoque", None))
        original, vezes = M.canal.em_dicionario, iter(range(1000))

        def interromper(propriedades):
            if next(vezes) == 50:  # no meio de um callback do pika, com o laço dele rodando
                signal.raise_signal(signal.SIGINT)
            return original(propriedades)
        monkeypatch.setattr(M.canal, "em_dicionario", interromper)
        loja.enviar(*mistura(300, "q"))  # os primeiros podem já ter chegado todos
        with pytest.raises(KeyboardInterrupt):
            while True:
                canal.receber(1)
        inicio = time.monotonic()
        canal.fechar()
        assert time.monotonic() - inicio < 2 * M.conexao.PRAZO_DE_FECHO
        esperar(lambda: loja.profundidade("estoque") == 600 and not loja.ouvintes("estoque"), 20,
                "as 600 voltarem à fila")
        with M.canal.Canal("estoque", M.reconexao.Reconexao("estoque", None)) as outro:
            recebidas = esperar(lambda: outro.receber(1), que="a fila entregar")
            assert recebidas[0].devolvida, "o broker já as tinha entregado"


def test_o_pika_ainda_precisa_de_ajuda(monkeypatch):
    """Quando isto falhar, o pika instalado já lê tudo, e ilegiveis.py pode sair."""
    ilegiveis = []
    for valor in VALORES.values():
        prontas = escrever({"headers": [("x", valor)]})
        quadro = pika.frame.Header(1, 5, Cruas(prontas)).marshal()
        monkeypatch.undo()
        assert type(pika.frame.decode_frame(quadro)[1].properties) is M.ilegiveis.Propriedades
        monkeypatch.setitem(pika.spec.props, pika.BasicProperties.INDEX, pika.BasicProperties)
        try:
            pika.frame.decode_frame(quadro)
        except Exception:
            ilegiveis.append(prontas)
    assert ilegiveis, "o pika já não derruba a conexão por propriedades que não lê"
    for prontas in ilegiveis:
        assert M.ilegiveis.Propriedades().decode(prontas).type == "(propriedades ilegíveis)"


def test_fechar_com_o_laco_do_pika_ainda_rodando_nao_e_um_erro(loja):
    """É como o deixa um Ctrl-C no primeiro instante de um passo, antes de o pika tomar cuidado."""
    with no_endereco(loja.url):
        conexao = M.conexao.Conexao("teste")
        conexao._laco.call_later(0, lambda: (conexao.fechar(), conexao.acordar()))
        conexao._girar(1)
