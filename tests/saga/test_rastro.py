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
from test_saga import novo_id
from verbos import (CENARIOS, M, SEM_BROKER, SERVICOS, Loja, Programa, linhas_largas, loja_aberta, loja_do_arquivo,  # noqa: F401
                    onde_espera, pedido, rodar)

RASTRO = "microsservicos/rastro.py"


def raias(pasta: Path) -> list[str]:
    [historia] = M.rastro.ler(pasta, ["p-1"])
    return M.desenho.Desenho().historia(historia)


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


def test_depois_de_milhares_de_pedidos_as_raias_ainda_mostram_o_que_esta_retido():
    desenho = M.desenho.Desenho()
    for n in range(3 * M.desenho.LEMBRADOS):
        for tipo in ("estoque.reservado", "envio.despachado"):
            desenho.evento(tipo, f"p-{n}", {})
    assert "┊" not in desenho.nota("x", "envio", "")[0] and len(desenho.vistos) <= M.desenho.LEMBRADOS + 1
    desenho.evento("estoque.reservado", "p", {})
    assert "┊" in desenho.nota("x", "envio", "")[0]


@pytest.mark.parametrize("semente", range(8))
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
        for h in M.rastro.ler(maquete.pasta, ids):
            conferir_ordem(h)
    maquete.fazer("andar")
    for h in M.rastro.ler(maquete.pasta, ids):
        desenho = M.desenho.Desenho()
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


def test_uso_errado_e_uma_linha_com_status_2(maquete):
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("enviar p-2 sucesso")
    for argumentos, diz in (
            (["p-9"], "não há nenhum pedido 'p-9'"), (["p-1", "\x1b[31m"], "não há nenhum pedido"),
            (["p"], "é o começo de 2 pedidos"), ([], "diga o id de um pedido"),
            (["--pendentes", "p-1"], "ou --pendentes"), (["--diagrama", "/nao/existe", "p-1"], "não existe")):
        fim = rodar(RASTRO, *argumentos, "--dados", maquete.dados)
        assert fim.processo.returncode == 2 and len(fim.linhas) == 1 and diz in fim.texto, fim.texto
        fim.limpo()


def test_o_comeco_de_um_id_basta_e_tudo_cabe_na_tela(maquete):
    for id in (UUID, "p-2"):
        maquete.fazer(f"enviar {id} envio-recusado")
    maquete.fazer("quebrar pagamentos cobrancas")
    maquete.fazer("andar")
    for dito in UUID, UUID[:11] + "…", "3f":
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
    vivo = Maquete(tmp_path / "dados", M.raias.Diagrama(tmp_path / "vivo", M.desenho.NOMES, 1))
    vivo.fazer("enviar p-1 envio-recusado")
    vivo.fazer("andar")
    fim = rodar(RASTRO, "p-1", "--dados", tmp_path / "dados", "--diagrama", tmp_path / "depois")
    assert fim.processo.returncode == 0, fim.texto
    texto = (tmp_path / "depois").read_text()
    assert texto == (tmp_path / "vivo").read_text()
    assert re.findall(r"^    (?:de)?activate \w+", texto, re.M) == [
        "    activate Estoque", "    activate Pagamentos", "    deactivate Pagamentos", "    deactivate Estoque"]


# --- cada lugar de espera, e o comando que o desfaz ---

def comandos(tela: str) -> list[str]:
    """Os comandos que a tela propõe, cada um numa linha."""
    return re.findall(r"^      (python .*)$", tela, flags=re.M)


def rastrear(loja: Loja, id: str, url: str | None = None) -> str:
    fim = rodar(RASTRO, id, "--dados", loja.dados, url=url or loja.url)
    assert fim.processo.returncode == 0, fim.texto
    fim.limpo()
    return fim.texto


def em_linha(texto: str) -> str:
    return " ".join(texto.split())


def na_fila(loja: Loja, broker, id: str) -> None:
    esperar(lambda: loja.profundidade("estoque") == 1, que="o pedido na fila")


def perdido(loja: Loja, broker, id: str) -> None:
    na_fila(loja, broker, id)
    with loja.canal() as canal:
        canal.queue_purge("estoque")


def morto_pelo_broker(loja: Loja, broker, id: str) -> None:
    perdido(loja, broker, id)
    rabbitmqctl(broker, "set_policy", "-p", loja.vhost, "prazo", "^estoque$", '{"message-ttl": 0}')
    loja.publicar("pedido.criado", {**pedido(id), "total": 10000})
    loja.esperar_morta("estoque")
    rabbitmqctl(broker, "clear_policy", "-p", loja.vhost, "prazo")


def estragado(loja: Loja, broker, id: str) -> None:
    perdido(loja, broker, id)
    loja.publicar("pedido.criado", b"isto nao e JSON", message_id="outra")
    loja.iniciar("estoque")
    loja.esperar_morta("estoque")


def morto_depois_do_commit(loja: Loja, broker, id: str) -> None:
    morto = Programa(RAIZ / "tests" / "apoio" / "morrer_em.py", "estoque", "depois-do-commit", "1",
                     "--dados", loja.dados, url=loja.url)
    assert morto.fim() == -signal.SIGKILL, morto.texto


def falhando(loja: Loja, broker, id: str) -> None:
    """Estoque falha no pedido, e é morto antes de se esgotarem as tentativas."""
    loja.quebrar("estoque", "reservas", id)
    loja.iniciar("estoque")
    esperar(lambda: loja.consultar("estoque", "SELECT 1 FROM tentativas WHERE restam BETWEEN 1 AND 4"),
            que="a segunda tentativa")
    loja.matar("estoque")


def a_caminho(loja: Loja, broker, id: str) -> None:
    falhando(loja, broker, id)
    loja.escrever("estoque", "UPDATE tentativas SET restam = 0")  # sem esperar pelas pausas que faltam


def nas_mortas(loja: Loja, broker, id: str) -> None:
    a_caminho(loja, broker, id)
    loja.iniciar("estoque")
    esperar(lambda: loja.consultar("estoque", "SELECT 1 FROM mortas WHERE mensagem LIKE ?", f"{id}:%"), que="o banco lembrar")


QUEBRADO = "(estoque.db: IntegrityError: quebrado de propósito)"
LUGARES = {  # (quem está fora do ar, como se chega ao lugar, o que se lê, quantos comandos)
    "caixa-de-saida": ("pedidos", lambda *_: None, "pedido.criado, na caixa de saída (pedidos.db), sem a resposta do broker", 1),
    "morto-antes-de-publicar": ("estoque", morto_depois_do_commit, "estoque.reservado, na caixa de saída (estoque.db)", 1),
    "fila": ("estoque", na_fila, "na fila «estoque»: já saiu da caixa de saída (pedidos.db), e não foi tratado (estoque.db); "
                                 "neste broker: 1 em «estoque», 0 em «estoque.mortas»", 1),
    "perdido-pelo-broker": ("estoque", perdido, "neste broker: 0 em «estoque», 0 em «estoque.mortas»; se não é de outro", 2),
    "estragado": ("estoque", estragado, "0 em «estoque», 1 em «estoque.mortas»", 2),
    "morto-pelo-broker": ("estoque", morto_pelo_broker, "em «estoque.mortas», ou a caminho de lá quando estoque estiver no ar (na mensagem: o broker desistiu de "
                                                        "entregá-la: «expired»)", 2),
    "outra-tentativa": ("estoque", falhando, f"pedido.criado, outra tentativa em estoque {QUEBRADO}; restam", 1),
    "a-caminho-das-mortas": ("estoque", a_caminho, f"em «estoque.mortas», ou a caminho de lá quando estoque estiver no ar {QUEBRADO}", 2),
    "mortas": ("estoque", nas_mortas, f"pedido.criado, em «estoque.mortas», ou a caminho de lá quando estoque estiver no ar {QUEBRADO}", 2),
}


@pytest.mark.parametrize("lugar", LUGARES)
def test_onde_espera_e_os_comandos_que_levam_ate_o_fim(lugar, loja_aberta, broker):
    """Rodam-se como estão impressos, com os outros serviços no ar."""
    (fora, preparar, diz, quantos), loja, id = LUGARES[lugar], loja_aberta, novo_id()
    loja.matar(fora)
    loja.enviar(pedido(id))
    preparar(loja, broker, id)
    tela = rastrear(loja, id)
    assert diz in em_linha(tela) and len(comandos(tela)) == quantos, tela
    loja.matar(fora)
    if QUEBRADO in diz:
        loja.consertar("estoque")
    for comando in comandos(tela):
        _, script, *opcoes = shlex.split(comando)
        if "mortas.py" in script:  # a mensagem pode ainda estar a caminho de lá
            esperar(lambda: rodar(script, *opcoes, url=loja.url).fim() == 0, que=comando)
        else:
            nome = Path(script).stem.removeprefix("servico_")
            loja.matar(nome)
            loja.programas[nome].append(Programa(RAIZ / script, *opcoes, url=loja.url).esperar_dizer(": pronto"))
    loja.esperar_finais()
    assert loja.resultado(id) == ("concluido", None)
    [historia] = M.rastro.ler(loja.pasta, [id])
    assert historia.eventos[-1] == "pedido.concluido"


def test_perguntado_a_outro_broker_so_diz_o_que_sabe(loja_aberta, broker, tmp_path):
    """Os mesmos dados, outros brokers: nada se cria onde só se olha, e o de outra loja nada conta."""
    id = novo_id()
    loja_aberta.matar("estoque")
    loja_aberta.enviar(pedido(id))
    na_fila(loja_aberta, broker, id)
    vazio, de_outra = (f"amqp://guest:guest@127.0.0.1:{broker.porta}/{vhost_novo(broker)}" for _ in range(2))
    for _ in range(2):  # quem só olha não deixa filas num vhost que não é dele
        assert "neste broker: não há em «estoque»" in em_linha(rastrear(loja_aberta, id, vazio))
    Loja(tmp_path / "outra", de_outra).profundidade()  # o vhost passa a ser de outra loja
    for url in (de_outra, SEM_BROKER):
        tela = em_linha(rastrear(loja_aberta, id, url))
        assert "sem contar as filas" in tela and "neste broker" not in tela
    loja_aberta.iniciar("estoque")
    loja_aberta.esperar_finais()
