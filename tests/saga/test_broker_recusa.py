"""O que o broker recusa, tira ou limita: dito uma vez, com as palavras dele, e sem perder nada."""

from __future__ import annotations

import json
import re
import signal
import time
from contextlib import contextmanager

import pika
import pytest

from bloqueante import conectar, no_endereco
from cluster import rabbitmqctl
from conftest import esperar
from venenos import VALORES, Cruas, escrever
from verbos import M, SERVICOS, Loja, Programa, cenario, loja, mistura, pedido, rodar  # noqa: F401

# A regra do README para set_permissions: configurar, escrever e ler só estes nomes.
REGRA = r"^(loja(\..*)?|(pedidos|estoque|pagamentos|envio)(\.mortas)?|amq\.default)$"


def vhost_de(loja: Loja) -> str:
    return loja.url.rsplit("/", 1)[1]


@contextmanager
def cheia(broker, loja: Loja, fila: str, cabem: int):
    """Uma política que faz a fila recusar publicações a partir de `cabem` mensagens."""
    rabbitmqctl(broker, "set_policy", "-p", vhost_de(loja), "cheia", f"^{re.escape(fila)}$",
                json.dumps({"max-length": cabem, "overflow": "reject-publish"}))
    try:
        yield
    finally:
        rabbitmqctl(broker, "clear_policy", "-p", vhost_de(loja), "cheia")


def novas(programa: Programa, desde: int) -> list[str]:
    return [linha for linha in programa.linhas[desde:] if re.match(r"\w+: ", linha)]


# --- uma fila cheia ---

def test_fila_cheia_e_uma_linha_sem_reconectar_e_os_outros_eventos_seguem(broker, loja):
    """Pagamentos desligado, e a fila dele recusa: estoque insiste aos poucos, e atende."""
    loja.repor()
    loja.iniciar("pedidos", "estoque", "envio")
    estoque = loja.programas["estoque"][0]
    conexoes = rabbitmqctl(broker, "list_connections", "-p", vhost_de(loja), "pid")
    with cheia(broker, loja, "pagamentos", 5):
        loja.enviar(*(cenario("sucesso", f"p-{n}") for n in range(600)))
        estoque.esperar_dizer("recusou guardar estoque.reservado")
        desde = len(estoque.linhas)
        # Continua a receber da sua fila, e o que vai a outra passa: a recusa do próprio estoque.
        loja.enviar(pedido("sem-estoque", "ana", "notebook", 1000))
        esperar(lambda: loja.resultado("sem-estoque") == ("cancelado", "estoque insuficiente"),
                que="o outro evento passar")
        limite = time.monotonic() + 4  # tempo para várias tentativas, e nenhuma pode falar
        esperar(lambda: time.monotonic() > limite or novas(estoque, desde), que="o silêncio")
        assert not novas(estoque, desde), estoque.texto
        assert "«pagamentos»" in estoque.texto and "max-length" in estoque.texto
        assert loja.consultar("estoque", "SELECT count(*) FROM caixa_saida WHERE enviado = 0")[0][0] > 100
        assert rabbitmqctl(broker, "list_connections", "-p", vhost_de(loja),
                           "pid") == conexoes, "reconectou por uma recusa"
    loja.iniciar("pagamentos")
    estoque.esperar_dizer("voltou a aceitar estoque.reservado")
    loja.conferir_repouso()
    assert len(novas(estoque, desde)) == 1 and estoque.texto.count(": pronto") == 1, estoque.texto


def test_fila_de_mortas_cheia_guarda_a_morta_e_nao_para_o_servico(broker, loja):
    loja.iniciar()
    with cheia(broker, loja, "estoque.mortas", 1):
        for n in range(6):
            loja.publicar("pedido.criado", b"veneno", message_id=f"v-{n}", correlation_id="x")
        loja.programas["estoque"][0].esperar_dizer("recusou guardar estoque.mortas")
        loja.enviar(cenario("sucesso"))
        loja.esperar_finais()
        assert loja.consultar("estoque", "SELECT 1 FROM tentativas")
    loja.esperar_morta("estoque", 6)
    loja.conferir_repouso(mortas=6)


def test_recusa_do_broker_ignorada_seria_um_evento_perdido(broker, loja):
    """O nack de uma publicação: o evento tem de ficar na caixa de saída."""
    loja.repor()
    loja.iniciar("pedidos")
    ids = {f"p-{n}" for n in range(600)}  # a fila demora algumas dezenas a perceber que encheu
    with cheia(broker, loja, "estoque", 1):
        loja.enviar(*(cenario("sucesso", id) for id in ids))
        loja.programas["pedidos"][0].esperar_dizer("recusou guardar pedido.criado")
        loja.matar("pedidos")
        na_caixa = {pedido for pedido,
                    in loja.consultar("pedidos", "SELECT pedido FROM caixa_saida WHERE enviado = 0")}
        with loja.canal() as canal:
            na_fila = set()
            while (resposta := canal.basic_get("estoque"))[0]:
                na_fila.add(resposta[1].correlation_id)
        assert na_caixa | na_fila == ids, "um evento recusado saiu da caixa"
        assert na_caixa and na_fila
    loja.iniciar()
    loja.conferir_repouso()


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


def test_permissao_que_falta_nao_e_culpa_da_senha(broker, loja, usuario):
    rabbitmqctl(broker, "clear_permissions", "-p", vhost_de(loja), usuario)
    for script in ("orquestracao.py", "microsservicos/servico_estoque.py",
                   "microsservicos/mortas.py"):
        programa = rodar(script, "--dados", loja.dados, url=loja.url)
        [linha] = [linha for linha in programa.linhas if "permiss" in linha]
        assert programa.fim(
            ) == 2 and "senha" not in linha and "access to vhost" in linha, programa.texto
    rabbitmqctl(broker, "set_permissions", "-p", vhost_de(loja), usuario, "^x$", "^x$", "^x$")
    for script in ("orquestracao.py", "microsservicos/servico_estoque.py",
                   "microsservicos/mortas.py"):
        programa = rodar(script, "--dados", loja.dados, url=loja.url)
        [linha] = [linha for linha in programa.linhas if "permiss" in linha]
        assert programa.fim() == 2 and "senha" not in linha and "loja.identidade" in linha, programa.texto


@pytest.mark.longo
def test_permissao_tirada_com_o_servico_no_ar_e_uma_linha_e_volta_com_ela(broker, loja, usuario):
    loja.iniciar("pedidos")
    pedidos, vhost = loja.programas["pedidos"][0], vhost_de(loja)
    so_le = r"^(loja|pedidos|estoque|pagamentos|envio|amq\.default).*$"
    rabbitmqctl(broker, "set_permissions", "-p", vhost, usuario, so_le,
                "^amq.default|pedidos|estoque|pagamentos|envio$", so_le)
    loja.enviar(cenario("sucesso"))
    pedidos.esperar_dizer("falta uma permissão", 20)
    desde = len(pedidos.linhas)
    limite = time.monotonic() + 3
    esperar(lambda: time.monotonic() > limite or novas(pedidos, desde), que="o silêncio")
    assert not novas(pedidos, desde), pedidos.texto
    assert "ACCESS_REFUSED" in pedidos.texto and "'loja'" in pedidos.texto
    rabbitmqctl(broker, "set_permissions", "-p", vhost, usuario, REGRA, REGRA, REGRA)
    pedidos.esperar_dizer(": pronto")
    esperar(lambda: not loja.consultar("pedidos", "SELECT 1 FROM caixa_saida WHERE enviado = 0"),
            que="a caixa de saída esvaziar")


# --- limites do vhost ---

def limitar(broker, loja: Loja, **limites) -> None:
    rabbitmqctl(broker, "set_vhost_limits", "-p", vhost_de(loja),
                json.dumps({n.replace("_", "-"): v for n, v in limites.items()}))


@pytest.mark.parametrize("limites", [{"max_connections": 0}, {"max_queues": 3}],
                         ids=["conexões", "filas"])
@pytest.mark.longo
def test_limite_do_vhost_e_dito_com_as_palavras_do_broker(broker, loja, limites):
    limitar(broker, loja, **limites)
    for script in ("microsservicos/servico_estoque.py", "microsservicos/mortas.py",
                   "orquestracao.py"):
        programa = rodar(script, "--dados", loja.dados, url=loja.url)
        [linha] = [linha for linha in programa.linhas if "limit" in linha]
        assert programa.fim(
            ) == 2 and "is reached" in linha and "apag" not in programa.texto, programa.texto
    limitar(broker, loja, max_connections=-1, max_queues=-1)
    loja.iniciar()
    loja.enviar(cenario("sucesso"))
    loja.conferir_repouso()


def test_filas_de_outro_programa_ninguem_manda_apagar(loja):
    with conectar(loja.url) as conexao:
        conexao.channel().queue_declare("envio", durable=True)
    programa = rodar("microsservicos/servico_envio.py", "--dados", loja.dados, url=loja.url)
    assert programa.fim() == 2 and len(programa.linhas) == 1, programa.texto
    assert "outra porta em RABBITMQ_URL" in programa.texto and "apag" not in programa.texto


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
        assert M.ilegiveis.Propriedades().decode(prontas).ilegiveis


def test_fechar_com_o_laco_do_pika_ainda_rodando_nao_e_um_erro(loja):
    """É como o deixa um Ctrl-C no primeiro instante de um passo, antes de o pika tomar cuidado."""
    with no_endereco(loja.url):
        conexao = M.conexao.Conexao("teste")
        conexao._laco.call_later(0, lambda: (conexao.fechar(), conexao.acordar()))
        conexao._girar(1)
