"""O rastro de um pedido: a história que só os bancos contam, e o comando que o tira de onde parou.

Com a maquete, a história tem de ser igual à que a tela mostrou ao vivo. Com processos e um
RabbitMQ de verdade, cada lugar de espera é feito de propósito, e os comandos que a tela propõe,
rodados como estão impressos, têm de levar o pedido até o fim.
"""

from __future__ import annotations

import hashlib
import random
import re
import shlex
import signal
from pathlib import Path

import pytest

from cluster import rabbitmqctl
from conftest import RAIZ, esperar, vhost_novo
from maquete import Maquete
from rastros import conferir_ordem, conferir_que_terminou
from verbos import CENARIOS, M, SEM_BROKER, SERVICOS, Loja, Programa, linhas_largas, loja, onde_espera, pedido, rodar  # noqa: F401

RASTRO = "microsservicos/rastro.py"


def historia(pasta: Path, id: str = "p-1"):
    with M.leitura.lendo(pasta, M.rastro.que_rodaram(pasta)) as banco:
        return M.historia.Historia(banco, id)


def raias(pasta: Path, id: str = "p-1") -> list[str]:
    return M.desenho.Desenho().historia(historia(pasta, id))


@pytest.fixture
def maquete(tmp_path, capsys):
    return Maquete(tmp_path)


# --- a história é a que a tela mostrou ---

@pytest.mark.parametrize("envio", ["ligado", "desligado"])
@pytest.mark.parametrize("nome", [*CENARIOS, "produto-desconhecido"])
def test_o_rastro_de_um_pedido_e_o_que_a_tela_mostrou_ao_vivo(nome, envio, maquete, capsys):
    if envio == "desligado":
        maquete.fazer("desligar envio")
    capsys.readouterr()
    maquete.fazer(f"enviar p-1 {nome if nome in CENARIOS else 'ana violino 1 01310-100'}")
    maquete.fazer("andar")
    ao_vivo = capsys.readouterr().out.splitlines()
    assert ao_vivo and raias(maquete.pasta) == ao_vivo
    lugares = onde_espera(maquete.pasta, "p-1")
    assert len(lugares) == (envio == "desligado" and nome in ("sucesso", "envio-recusado"))
    assert all("pagamento.aprovado, na fila «envio»" in lugar for lugar in lugares)


def test_o_que_foi_em_vao_vem_depois_da_resposta_a_que_se_refere(maquete):
    maquete.fazer("desligar pagamentos")
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("andar")
    maquete.fazer("cancelar p-1")
    maquete.fazer("andar")
    atrasada = maquete.filas["pagamentos"].popleft()  # estoque.reservado fica para trás
    maquete.fazer("ligar pagamentos")
    maquete.fazer("andar")
    maquete.filas["pagamentos"].append(atrasada)
    maquete.fazer("andar")
    desenho = raias(maquete.pasta)
    [em_vao] = [n for n, linha in enumerate(desenho) if "nada a fazer: já tinha respondido" in linha]
    assert any("pagamento.estornado" in linha for linha in desenho[:em_vao]), desenho
    assert "pedido.cancelado" in desenho[-1]


@pytest.mark.parametrize("semente", range(12))
def test_em_qualquer_ordem_de_entrega_cada_evento_vem_depois_da_sua_causa(semente, maquete):
    """Serviços que andam ao acaso, cancelamentos e repetições no meio: tudo está lá, na ordem das causas."""
    sorte = random.Random(semente)
    ids = [f"p-{n}" for n in range(6)]
    for n, id in enumerate(ids):
        maquete.fazer(f"enviar {id} {list(CENARIOS)[n % 4]}")
    for _ in range(60):
        maquete.tratar(nome := sorte.choice(SERVICOS))
        maquete.publicar(nome)
        if sorte.random() < 0.1:
            maquete.fazer(f"cancelar {sorte.choice(ids)}")
        if sorte.random() < 0.2:
            sorte.shuffle(maquete.filas[nome])
            maquete.fazer(f"repetir pedido.criado {sorte.choice(ids)}")
        for id in ids:
            conferir_ordem(historia(maquete.pasta, id))
    maquete.fazer("andar")
    for id in ids:
        h, desenho = historia(maquete.pasta, id), M.desenho.Desenho()
        conferir_ordem(h)
        conferir_que_terminou(h)
        desenho.historia(h)
        assert "┊" not in desenho.nota("x", "envio", "")[0], "terminado, nada mais se compensa"


def test_o_que_alguem_escreveu_a_mao_nos_bancos_nao_derruba_o_rastro(maquete):
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("andar")
    for tipo, corpo in [("envio.despachado", "[" * 60_000), ("envio.recusado", "{"), ("envio.recusado", "[1]"),
                        ("fidelidade.pontuada", "{}"), ("pedido.criado", "{}")]:
        maquete.ligados["envio"].banco.execute(
            "INSERT INTO caixa_saida (tipo, pedido, corpo) VALUES (?, 'p-1', ?)", (tipo, corpo))
        assert any("pedido.concluido" in linha for linha in raias(maquete.pasta))


# --- a linha de comando ---

UUID = "3f2b8c1e-6a5d-4e0f-9b7c-1d2e3f4a5b6c"


@pytest.mark.parametrize("argumentos, diz", [
    (["p-9"], "não há nenhum pedido 'p-9'"), (["p-1", "\x1b[31m"], "não há nenhum pedido"),
    (["p"], "é o começo de 2 pedidos"), ([], "diga o id de um pedido"),
    (["--pendentes", "p-1"], "ou --pendentes"), (["--diagrama", "/nao/existe", "p-1"], "não existe")])
def test_uso_errado_e_uma_linha_com_status_2(argumentos, diz, maquete):
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("enviar p-2 sucesso")
    fim = rodar(RASTRO, *argumentos, "--dados", maquete.dados)
    assert fim.processo.returncode == 2 and len(fim.linhas) == 1 and diz in fim.texto, fim.texto
    fim.limpo()


@pytest.mark.parametrize("dito", [UUID, UUID[:11] + "…", "3f"])
def test_o_comeco_de_um_id_basta_e_tudo_cabe_na_tela(dito, maquete):
    for n, id in enumerate((UUID, "p-2")):
        maquete.fazer(f"enviar {id} envio-recusado")
    maquete.fazer("quebrar pagamentos cobrancas")
    maquete.fazer("andar")
    fim = rodar(RASTRO, dito, "p-2", "p-2", "--dados", maquete.dados, ambiente={"COLUMNS": "80"})
    assert fim.processo.returncode == 0 and "não responde" in fim.texto
    assert len([linha for linha in fim.linhas if re.match("  (3f2b8c1e-6a|p-2).*: pendente", linha)]) == 2
    copiar = [linha for linha in fim.linhas if linha.startswith("      python ")]
    assert set(linhas_largas(fim.texto)) <= set(copiar), "só o que se copia pode passar da tela"
    assert comandos(fim.texto)[1].startswith("python microsservicos/mortas.py pagamentos "
                                             f"--mensagem {UUID}:estoque.reservado --reenviar")
    fim.limpo()


def test_sem_servico_no_ar_nada_se_escreve_nem_se_pergunta_ao_broker(maquete):
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("andar")
    for nome in SERVICOS:
        maquete.fazer(f"desligar {nome}")
    retrato = lambda: {a.name: hashlib.sha256(a.read_bytes()).hexdigest() for a in maquete.pasta.iterdir()}
    antes = retrato()
    fim = rodar(RASTRO, "p-1", "--dados", maquete.dados)
    assert fim.linhas[-1] == "  p-1: concluido" and "não responde" not in fim.texto
    assert rodar(RASTRO, "--pendentes", "--dados", maquete.dados).linhas == ["nenhum pedido pendente"]
    assert retrato() == antes


def test_sem_o_pika_e_com_um_servico_que_ainda_nao_rodou_tambem_diz_onde_espera(tmp_path, url):
    assert rodar("microsservicos/servico_pedidos.py", "--so-enviar", "--id", "p-1", "--dados", tmp_path,
                 url=SEM_BROKER).fim() == 0
    M.caixas.marcar_enviados(M.banco.abrir(tmp_path / "microsservicos" / "pedidos.db", ""), [1])
    (tmp_path / "pika.py").write_text("raise ImportError(name='pika')")
    fim = rodar(RASTRO, "p-1", "--dados", tmp_path, ambiente={"PYTHONPATH": str(tmp_path)})
    assert fim.processo.returncode == 0 and "falta o pacote pika" in fim.linhas[0], fim.texto
    assert "estoque ainda não rodou nesta pasta (não há estoque.db)" in em_linha(fim.texto)


def test_o_diagrama_do_rastro_e_o_da_execucao(tmp_path, capsys):
    vivo = Maquete(tmp_path / "dados", M.diagrama.Diagrama(tmp_path / "vivo", M.desenho.NOMES, 1))
    vivo.fazer("enviar p-1 envio-recusado")
    vivo.fazer("andar")
    fim = rodar(RASTRO, "p-1", "--dados", tmp_path / "dados", "--diagrama", tmp_path / "depois")
    assert fim.processo.returncode == 0, fim.texto
    texto = (tmp_path / "depois").read_text()
    assert texto == (tmp_path / "vivo").read_text()
    assert re.findall(r"^    (?:de)?activate \w+", texto, re.M) == [
        "    activate Estoque", "    activate Pagamentos", "    deactivate Pagamentos", "    deactivate Estoque"]


def test_o_resumo_do_lancador_diz_a_fila_e_quantas_o_broker_tem_nela(maquete, monkeypatch, capsys):
    maquete.fazer("desligar estoque")
    maquete.fazer("enviar p-1 sucesso")
    monkeypatch.setattr(M.rastro, "perguntar_ao_broker", lambda pasta: M.rastro.Broker({"estoque": 1}, {}))
    M.rastro.resumir(maquete.pasta, ["p-1"])
    assert "p-1: pedido.criado, na fila «estoque»" in (dito := em_linha(capsys.readouterr().err))
    assert "neste broker: 1 em «estoque», não há em «estoque.mortas»" in dito


# --- cada lugar de espera, e o comando que o desfaz ---

def comandos(tela: str) -> list[str]:
    """Os comandos que a tela propõe, cada um numa linha."""
    return re.findall(r"^      (python .*)$", tela, flags=re.M)


def rastrear(loja: Loja, url: str | None = None) -> str:
    fim = rodar(RASTRO, "p-1", "--dados", loja.dados, url=url or loja.url)
    assert fim.processo.returncode == 0, fim.texto
    fim.limpo()
    return fim.texto


def em_linha(texto: str) -> str:
    return " ".join(texto.split())


def seguir_a_tela(loja: Loja, prazo: float = 60) -> None:
    """Roda o que a tela propõe, como está impresso, até o pedido terminar."""
    ligados: dict[str, Programa] = {}

    def terminou() -> bool:
        if loja.resultado("p-1")[0] != "pendente":
            return True
        for comando in comandos(rastrear(loja)):
            if comando in ligados:
                continue
            _, script, *opcoes = shlex.split(comando)
            if "mortas.py" in script:
                assert rodar(script, *opcoes, url=loja.url).processo.returncode in (0, 1), comando
            else:
                ligados[comando] = Programa(RAIZ / script, *opcoes, url=loja.url)
                ligados[comando].esperar_dizer(": pronto")
        return False

    try:
        esperar(terminou, prazo, "p-1 terminar seguindo a tela")
    finally:
        for programa in ligados.values():
            programa.matar()
    h = historia(loja.pasta)
    assert h.eventos[-1] == f"pedido.{h.registro[2]}"


def na_fila(loja: Loja, broker, fora: str = "estoque") -> None:
    loja.iniciar(*(nome for nome in SERVICOS if nome != fora))
    esperar(lambda: loja.profundidade(fora) == 1, que="p-1 na fila")


def perdido(loja: Loja, broker) -> None:
    na_fila(loja, broker)
    with loja.canal() as canal:
        canal.queue_purge("estoque")


def morto_pelo_broker(loja: Loja, broker) -> None:
    rabbitmqctl(broker, "set_policy", "-p", vhost(loja), "prazo", "^estoque$", '{"message-ttl": 0}')
    loja.iniciar("pedidos")
    loja.esperar_morta("estoque")
    rabbitmqctl(broker, "clear_policy", "-p", vhost(loja), "prazo")


def estragado(loja: Loja, broker) -> None:
    perdido(loja, broker)
    loja.publicar("pedido.criado", b"isto nao e JSON", message_id="outra")
    loja.iniciar("estoque")
    loja.esperar_morta("estoque")


def morto_depois_do_commit(loja: Loja, broker) -> None:
    loja.iniciar("pedidos")
    morto = Programa(RAIZ / "tests" / "apoio" / "morrer_em.py", "estoque", "depois-do-commit", "1",
                     "--dados", loja.dados, url=loja.url)
    assert morto.fim() == -signal.SIGKILL, morto.texto


def falhando(loja: Loja, broker) -> None:
    """Estoque falha no pedido, e é morto antes de se esgotarem as tentativas."""
    loja.quebrar("estoque", "reservas", "p-1")
    loja.iniciar("pedidos", "estoque")
    esperar(lambda: loja.consultar("estoque", "SELECT 1 FROM tentativas WHERE restam BETWEEN 1 AND 4"),
            que="a segunda tentativa")
    loja.matar("estoque")


def a_caminho(loja: Loja, broker) -> None:
    falhando(loja, broker)
    loja.escrever("estoque", "UPDATE tentativas SET restam = 0")  # sem esperar pelas pausas que faltam


def nas_mortas(loja: Loja, broker) -> None:
    a_caminho(loja, broker)
    loja.iniciar("estoque")
    loja.esperar_morta("estoque")
    esperar(lambda: loja.consultar("estoque", "SELECT 1 FROM mortas"), que="o banco lembrar")


def vhost(loja: Loja) -> str:
    return loja.url.rsplit("/", 1)[1]


QUEBRADO = "(estoque.db: IntegrityError: quebrado de propósito)"
LUGARES = {
    "caixa-de-saida": (lambda *_: None, "pedido.criado, na caixa de saída (pedidos.db), sem a resposta do broker", 1),
    "morto-antes-de-publicar": (morto_depois_do_commit, "estoque.reservado, na caixa de saída (estoque.db)", 1),
    "fila": (na_fila, "na fila «estoque»: já saiu da caixa de saída (pedidos.db), e não foi tratado (estoque.db); "
                      "neste broker: 1 em «estoque», 0 em «estoque.mortas»", 1),
    "fila-de-envio": (lambda *da_loja: na_fila(*da_loja, "envio"), "pagamento.aprovado, na fila «envio»", 1),
    "perdido-pelo-broker": (perdido, "neste broker: 0 em «estoque», 0 em «estoque.mortas»; se não é de outro", 2),
    "estragado": (estragado, "0 em «estoque», 1 em «estoque.mortas»", 2),
    "morto-pelo-broker": (morto_pelo_broker, "em «estoque.mortas», ou a caminho (estoque.db: o broker desistiu de entregá-la: "
                                             "venceu o prazo de uma política (message-ttl))", 2),
    "outra-tentativa": (falhando, f"pedido.criado, outra tentativa em estoque {QUEBRADO}; restam", 1),
    "a-caminho-das-mortas": (a_caminho, f"em «estoque.mortas», ou a caminho {QUEBRADO}", 2),
    "mortas": (nas_mortas, f"pedido.criado, em «estoque.mortas», ou a caminho {QUEBRADO}", 2),
}


@pytest.mark.parametrize("lugar", LUGARES)
def test_onde_espera_e_os_comandos_que_levam_ate_o_fim(lugar, loja, broker):
    preparar, diz, quantos = LUGARES[lugar]
    loja.enviar(pedido("p-1"))
    preparar(loja, broker)
    tela = rastrear(loja)
    assert diz in em_linha(tela) and len(comandos(tela)) == quantos, tela
    loja.matar()
    if QUEBRADO in diz:
        loja.consertar("estoque")
    seguir_a_tela(loja)
    assert loja.resultado("p-1") == ("concluido", None)


def test_perguntado_a_outro_broker_so_diz_o_que_sabe(loja, broker, tmp_path):
    """Os mesmos dados, outros brokers: nada se cria onde só se olha, e o de outra loja nada conta."""
    loja.enviar(pedido("p-1"))
    na_fila(loja, broker)
    vazio, de_outra = (f"amqp://guest:guest@127.0.0.1:{broker.porta}/{vhost_novo(broker)}" for _ in range(2))
    for _ in range(2):  # quem só olha não deixa filas num vhost que não é dele
        assert "neste broker: não há em «estoque»" in em_linha(rastrear(loja, vazio))
    Loja(tmp_path / "outra", de_outra).iniciar("pedidos").fechar()
    for url in (de_outra, SEM_BROKER):
        tela = em_linha(rastrear(loja, url))
        assert "sem contar as filas" in tela and "neste broker" not in tela
