"""O rastro de um pedido: a história que só os bancos contam, e o comando que o tira de onde parou.

Com a maquete, a história tem de ser igual à que a tela mostrou ao vivo. Com processos e um
RabbitMQ de verdade, cada lugar de espera é feito de propósito, e os comandos que a tela propõe,
rodados como estão impressos, têm de levar o pedido até o fim.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shlex
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pika
import pytest

from bloqueante import conectar
from conftest import RAIZ, esperar, vhost_novo
from maquete import Maquete
from rastros import conferir_ordem, conferir_que_terminou
from verbos import (CENARIOS, M, MICROSSERVICOS, SEM_BROKER, SERVICOS, Loja, Programa,  # noqa: F401
                    cenario, linhas_largas, loja, pedido, rodar)

RASTRO = "microsservicos/rastro.py"


def historia(pasta: Path, id: str):
    with M.leitura.lendo(pasta, SERVICOS) as bancos:
        return M.historia.Historia(bancos, id)


def raias(pasta: Path, id: str) -> list[str]:
    return M.desenho.Desenho().historia(historia(pasta, id))


@pytest.fixture
def maquete(tmp_path, capsys):
    return Maquete(tmp_path)


# --- a história é a que a tela mostrou ---

@pytest.mark.parametrize("nome", [*CENARIOS, "produto-desconhecido"])
def test_o_rastro_de_um_pedido_e_o_que_a_tela_mostrou_ao_vivo(nome, maquete, capsys):
    capsys.readouterr()
    maquete.fazer(f"enviar p-1 {nome if nome in CENARIOS else 'ana violino 1 01310-100'}")
    maquete.fazer("andar")
    ao_vivo = capsys.readouterr().out.splitlines()
    assert ao_vivo and raias(maquete.pasta, "p-1") == ao_vivo
    assert M.rastro.onde_espera(maquete.pasta, "p-1") == []


def test_no_meio_do_caminho_o_rastro_e_o_que_a_tela_mostrou_ate_ali(maquete, capsys):
    maquete.fazer("desligar envio")
    capsys.readouterr()
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("andar")
    assert raias(maquete.pasta, "p-1") == capsys.readouterr().out.splitlines()
    [lugar] = M.rastro.onde_espera(maquete.pasta, "p-1")
    assert "pagamento.aprovado, na fila «envio»" in lugar
    assert "(pagamentos.db)" in lugar and "(envio.db)" in lugar


def test_compensacao_antes_da_acao_a_acao_atrasada_vem_depois_dela_e_nada_faz(maquete):
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
    h = historia(maquete.pasta, "p-1")
    assert h.eventos == ["pedido.criado", "estoque.reservado", "pedido.cancelamento_solicitado",
                         "envio.recusado", "pagamento.estornado", "estoque.liberado",
                         "pedido.cancelado"]
    desenho = raias(maquete.pasta, "p-1")
    [em_vao] = [n for n, linha in enumerate(desenho) if "nada a fazer: já tinha respondido" in linha]
    assert any("pagamento.estornado" in linha for linha in desenho[:em_vao]), "acima da resposta a que se refere"
    assert "pedido.cancelado" in desenho[-1]


def test_cancelamento_que_ninguem_tratou_ainda_espera_na_fila_de_envio(maquete):
    """Publicado, ele sai da caixa de saída: o serviço de pedidos tem de lembrar que o pediu."""
    maquete.fazer("desligar envio")
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("cancelar p-1")
    maquete.fazer("andar")
    lugares = M.rastro.onde_espera(maquete.pasta, "p-1")
    assert len(lugares) == 2
    assert any("pedido.cancelamento_solicitado, na fila «envio»" in lugar for lugar in lugares)
    assert ("pedidos.db", "o cliente pediu o cancelamento") in historia(maquete.pasta, "p-1").fatos


def test_cancelamento_tarde_demais_foi_em_vao(maquete):
    maquete.fazer("desligar pedidos")
    maquete.fazer("ligar pedidos")
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("andar estoque pagamentos envio")
    maquete.fazer("cancelar p-1")
    maquete.fazer("andar")
    assert historia(maquete.pasta, "p-1").eventos[-2:] == [
        "pedido.cancelamento_solicitado", "pedido.concluido"]


def test_evento_repetido_nao_muda_o_rastro(maquete):
    maquete.fazer("enviar p-1 envio-recusado")
    maquete.fazer("andar")
    antes = raias(maquete.pasta, "p-1")
    for tipo in ("pedido.criado", "pagamento.estornado"):
        maquete.fazer(f"repetir {tipo} p-1")
    maquete.fazer("andar")
    assert raias(maquete.pasta, "p-1") == antes


@pytest.mark.parametrize("semente", range(12))
def test_em_qualquer_ordem_de_entrega_cada_evento_vem_depois_da_sua_causa(semente, maquete):
    """Serviços que andam ao acaso, cancelamentos no meio: tudo está lá, na ordem das causas."""
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
        for id in ids:
            conferir_ordem(historia(maquete.pasta, id))
    maquete.fazer("andar")
    for id in ids:
        h = historia(maquete.pasta, id)
        conferir_ordem(h)
        conferir_que_terminou(h)


def test_o_diagrama_do_rastro_e_o_da_execucao(tmp_path, capsys):
    vivo = Maquete(tmp_path / "dados", M.diagrama.Diagrama(tmp_path / "vivo", M.desenho.NOMES, 1))
    vivo.fazer("enviar p-1 envio-recusado")
    vivo.fazer("andar")
    fim = rodar(RASTRO, "p-1", "--dados", tmp_path / "dados", "--diagrama", tmp_path / "depois")
    assert fim.processo.returncode == 0, fim.texto
    assert (tmp_path / "depois").read_text() == (tmp_path / "vivo").read_text()


# --- a linha de comando ---

def loja_parada(dados: Path, *ids: str) -> Path:
    maquete = Maquete(dados)
    for id in ids:
        maquete.fazer(f"enviar {id} sucesso")
    maquete.fazer("andar")
    for nome in SERVICOS:
        maquete.fazer(f"desligar {nome}")
    return dados / "microsservicos"


@pytest.mark.parametrize("argumentos, diz", [
    (["p-9"], "conhece o pedido p-9"), (["p-1", "p-9"], "conhece o pedido p-9"),
    (["p 1"], "não é um id de pedido"), (["\x1b[31m"], "não é um id de pedido"),
    ([], "diga o id de um pedido"), (["--pendentes", "p-1"], "ou --pendentes"),
    (["--diagrama", "/nao/existe", "p-1"], "não existe"), (["--outra"], "não conheço --outra")])
def test_uso_errado_e_uma_linha_com_status_2(argumentos, diz, tmp_path, capsys):
    loja_parada(tmp_path, "p-1")
    fim = rodar(RASTRO, *argumentos, "--dados", tmp_path)
    assert fim.processo.returncode == 2 and len(fim.linhas) == 1 and diz in fim.texto, fim.texto
    fim.limpo()


def de_outra_versao(arquivo: Path) -> None:
    with closing(sqlite3.connect(arquivo)) as banco:
        banco.execute("PRAGMA user_version=9")


@pytest.mark.parametrize("estrago, diz", [
    (lambda a: a.unlink(), "falta"),
    (lambda a: a.write_bytes(b"outra coisa" * 99), "não é um banco"),
    (lambda a: os.truncate(a, 5000), "corrompido"), (lambda a: a.write_bytes(b""), "está vazio"),
    (de_outra_versao, "versão 9")], ids=["falta", "outro", "cortado", "vazio", "versao"])
def test_banco_que_nao_serve_e_uma_linha(estrago, diz, tmp_path, capsys):
    pasta = loja_parada(tmp_path, "p-1")
    estrago(pasta / "pagamentos.db")
    fim = rodar(RASTRO, "p-1", "--dados", tmp_path)
    assert fim.processo.returncode == 2 and diz in fim.texto and len(fim.linhas) == 1, fim.texto
    fim.limpo()


def test_ids_repetidos_aparecem_uma_vez_e_um_terminado_nao_pergunta_ao_broker(tmp_path, capsys):
    loja_parada(tmp_path, "p-1", "p-2")
    fim = rodar(RASTRO, "p-2", "p-1", "p-2", "--dados", tmp_path)
    assert fim.processo.returncode == 0
    assert [linha for linha in fim.linhas if re.match("  p-.: ", linha)] == [
        "  p-2: concluido", "  p-1: concluido"]
    assert "não responde" not in fim.texto
    assert rodar(RASTRO, "--pendentes", "--dados", tmp_path).linhas == ["nenhum pedido pendente"]


def test_cabe_em_80_colunas_com_um_uuid_sem_cores_e_diz_que_nao_ha_broker(tmp_path, capsys):
    maquete = Maquete(tmp_path)
    id = "3f2b8c1e-6a5d-4e0f-9b7c-1d2e3f4a5b6c"
    maquete.fazer(f"enviar {id} sucesso")
    maquete.fazer("quebrar pagamentos cobrancas")
    maquete.fazer("andar")
    fim = rodar(RASTRO, "--pendentes", "--dados", tmp_path)
    assert fim.processo.returncode == 0 and "não responde: sem contar as filas" in fim.texto
    de_fora = [linha for linha in fim.linhas if str(tmp_path) in linha or "sem contar" in linha]
    assert set(linhas_largas(fim.texto)) <= set(de_fora), "só o nome desta pasta alonga uma linha"
    assert comandos(fim.texto)[0] == ("python microsservicos/mortas.py pagamentos "
                                      f"--mensagem {id}:estoque.reservado --reenviar")
    fim.limpo()


def test_sem_o_pika_tambem_diz_onde_espera(tmp_path, capsys):
    Maquete(tmp_path / "dados").fazer("enviar p-1 sucesso")
    (tmp_path / "pika.py").write_text("raise ImportError")
    fim = rodar(RASTRO, "p-1", "--dados", tmp_path / "dados",
                ambiente={"PYTHONPATH": str(tmp_path)})
    assert fim.processo.returncode == 0 and "falta o pacote pika" in fim.linhas[0], fim.texto
    assert "pedido.criado, na fila «estoque»" in em_linha(fim.texto)


# --- só lê ---

def retrato(pasta: Path) -> dict:
    return {a.name: (hashlib.sha256(a.read_bytes()).hexdigest(), a.stat().st_mtime_ns)
            for a in pasta.iterdir()}


def test_sem_servico_nenhum_no_ar_nada_e_escrito_nem_ao_lado(tmp_path, capsys):
    pasta = loja_parada(tmp_path, "p-1")
    antes = retrato(pasta)
    assert "concluido" in rodar(RASTRO, "p-1", "--dados", tmp_path).texto
    assert retrato(pasta) == antes and not list(pasta.glob("*-shm"))


def test_a_copia_com_wal_de_quem_morreu_e_lida_inteira_e_fica_como_estava(tmp_path, capsys):
    """O que ainda só está no WAL conta: aberta com immutable=1, esta cópia não teria o pedido."""
    Maquete(tmp_path / "viva").fazer("enviar p-1 sucesso")
    viva, copia = tmp_path / "viva" / "microsservicos", tmp_path / "copia" / "microsservicos"
    shutil.copytree(viva, copia, ignore=shutil.ignore_patterns("*-shm"))
    assert (copia / "pedidos.db-wal").stat().st_size > 0
    antes = retrato(copia)
    fim = rodar(RASTRO, "p-1", "--dados", tmp_path / "copia")
    assert fim.processo.returncode == 0, fim.texto
    assert "pedido.criado, na fila «estoque»" in em_linha(fim.texto)
    assert retrato(copia) == antes


@pytest.mark.parametrize("com_wal", [False, True], ids=["fechada", "com-wal"])
def test_a_copia_numa_pasta_so_de_leitura_e_lida_assim_mesmo(com_wal, tmp_path, capsys):
    if com_wal:
        Maquete(tmp_path / "viva").fazer("enviar p-1 sucesso")
    else:
        loja_parada(tmp_path / "viva", "p-1")
    copia = tmp_path / "copia" / "microsservicos"
    shutil.copytree(tmp_path / "viva" / "microsservicos", copia,
                    ignore=shutil.ignore_patterns("*-shm"))
    for arquivo in copia.iterdir():
        arquivo.chmod(0o444)
    copia.chmod(0o555)
    python = (sys.executable,)
    if os.geteuid() == 0:  # ao root nenhuma permissão falta
        for parte in [*copia.parents][:4]:
            parte.chmod(0o755)
        python = ("setpriv", "--bounding-set=-dac_override,-dac_read_search",
                      "--inh-caps=-dac_override,-dac_read_search", sys.executable)
    try:
        fim = rodar(RASTRO, "p-1", "--dados", tmp_path / "copia", python=python)
        assert fim.processo.returncode == 0 and "p-1: " in fim.texto, fim.texto
        assert not list(copia.glob("*-shm"))
    finally:
        copia.chmod(0o755)


# --- cada lugar de espera, e o comando que o desfaz ---

def comandos(tela: str) -> list[str]:
    """Os comandos que a tela propõe, cada um numa linha."""
    return re.findall(r"^      (python .*)$", re.sub(r" \\\n +", " ", tela), flags=re.M)


def rastrear(loja: Loja, id: str, url: str | None = None) -> str:
    fim = rodar(RASTRO, id, "--dados", loja.dados, url=url or loja.url)
    assert fim.processo.returncode == 0, fim.texto
    fim.limpo()
    return fim.texto


def em_linha(texto: str) -> str:
    return " ".join(texto.split())


def seguir_a_tela(loja: Loja, id: str, prazo: float = 60) -> None:
    """Roda o que a tela propõe, como está impresso, até o pedido terminar."""
    ligados: dict[str, Programa] = {}

    def terminou() -> bool:
        if loja.resultado(id)[0] != "pendente":
            return True
        for comando in comandos(rastrear(loja, id)):
            if comando in ligados:
                continue
            _, script, *opcoes = shlex.split(comando)
            if "mortas.py" in script:
                assert rodar(script, *opcoes, url=loja.url).processo.returncode == 0, comando
            else:
                ligados[comando] = Programa(RAIZ / script, *opcoes, url=loja.url)
                ligados[comando].esperar_dizer(": pronto")
        return False

    try:
        esperar(terminou, prazo, f"{id} terminar seguindo a tela")
    finally:
        for programa in ligados.values():
            programa.matar()
    h = historia(loja.pasta, id)
    assert h.eventos[-1] == f"pedido.{h.registro[2]}"


def test_com_todos_desligados_espera_na_caixa_de_saida_e_a_tela_leva_ate_o_fim(loja):
    loja.enviar(pedido("p-1"))
    tela = em_linha(rastrear(loja, "p-1"))
    assert "espera: pedido.criado, na caixa de saída (pedidos.db), sem a resposta do broker" in tela
    assert M.rastro.onde_espera(loja.pasta, "p-1") == [
        "pedido.criado, na caixa de saída (pedidos.db), sem a resposta do broker"]
    assert comandos(rastrear(loja, "p-1")) == [
        f"python microsservicos/servico_pedidos.py --sem-pedido --dados {loja.dados}"]
    seguir_a_tela(loja, "p-1")
    assert loja.resultado("p-1") == ("concluido", None)


@pytest.mark.parametrize("fora", ["estoque", "pagamentos", "envio"])
def test_com_um_servico_desligado_espera_na_fila_dele(loja, fora):
    outros = [nome for nome in SERVICOS if nome != fora]
    loja.enviar(cenario("envio-recusado"), cenario("envio-recusado", "p-2"))
    loja.iniciar(*outros)
    esperar(lambda: loja.profundidade(fora) == 2, que="as duas na fila")
    tela = em_linha(rastrear(loja, "p-1"))
    assert f"na fila «{fora}»: já saiu da caixa de saída" in tela
    assert "nela, neste broker, estão 2 mensagens" in tela
    loja.matar()
    seguir_a_tela(loja, "p-1")
    assert loja.resultado("p-1") == ("cancelado", "CEP fora da área de entrega")


def test_com_pedidos_desligado_o_resultado_espera_na_fila_dele(loja):
    loja.enviar(pedido("p-1"))
    loja.iniciar()
    loja.esperar_finais()
    loja.encerrar("pedidos")
    loja.enviar(pedido("p-2"))  # pela porta, que não precisa do processo
    loja.iniciar("pedidos")
    loja.esperar_finais()
    loja.matar("estoque")
    loja.enviar(pedido("p-3"))
    esperar(lambda: loja.profundidade("estoque") == 1, que="p-3 na fila de estoque")
    loja.matar("pedidos")
    loja.iniciar("estoque")
    esperar(lambda: loja.profundidade("pedidos") == 1, que="o resultado na fila de pedidos")
    assert "envio.despachado, na fila «pedidos»" in em_linha(rastrear(loja, "p-3"))
    seguir_a_tela(loja, "p-3")


def test_sem_broker_espera_na_caixa_de_saida_ate_ele_voltar(broker_proprio, tmp_path):
    loja = Loja(tmp_path / "dados", broker_proprio.url)
    try:
        loja.iniciar()
        broker_proprio.parar()
        loja.enviar(pedido("p-1"))
        tela = em_linha(rastrear(loja, "p-1"))
        assert "na caixa de saída (pedidos.db), sem a resposta do broker" in tela
        assert "sem contar as filas" in tela
        loja.matar()
        broker_proprio.iniciar()
        seguir_a_tela(loja, "p-1")
        assert loja.resultado("p-1") == ("concluido", None)
    finally:
        loja.fechar()


MORRE_ANTES_DE_PUBLICAR = """
import os, runpy, signal, sys
sys.path.insert(0, {pasta!r})
import caixas
original = caixas.a_enviar
def a_publicar(*argumentos, **opcoes):
    achados = original(*argumentos, **opcoes)
    if achados:
        os.kill(os.getpid(), signal.SIGKILL)
    return achados
caixas.a_enviar = a_publicar
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_morto_entre_o_commit_e_a_publicacao_espera_na_caixa_de_saida_dele(loja):
    loja.enviar(pedido("p-1"))
    loja.iniciar("pedidos")
    morto = Programa("-c", MORRE_ANTES_DE_PUBLICAR.format(pasta=str(MICROSSERVICOS)),
                     MICROSSERVICOS / "servico_estoque.py", "--dados", loja.dados, url=loja.url)
    assert morto.fim() == -signal.SIGKILL, morto.texto
    loja.matar()
    tela = em_linha(rastrear(loja, "p-1"))
    assert "estoque.reservado, na caixa de saída (estoque.db), sem a resposta do broker" in tela
    assert "estoque.db tratou pedido.criado → estoque.reservado" in tela
    assert "estoque.db vale agora: 2 livro" in tela
    seguir_a_tela(loja, "p-1")
    assert loja.resultado("p-1") == ("concluido", None)


QUEBRADO = "(estoque.db: IntegrityError: quebrado de propósito)"


def falhando(loja: Loja, id: str = "p-1") -> None:
    """Estoque falha no pedido, e é morto antes de se esgotarem as tentativas."""
    loja.quebrar("estoque", "reservas", id)
    loja.enviar(pedido(id))
    loja.iniciar("pedidos", "estoque")
    esperar(lambda: loja.consultar("estoque", "SELECT 1 FROM tentativas WHERE restam BETWEEN 1 AND 4"),
            que="a segunda tentativa")
    loja.matar()


def test_o_que_falha_espera_outra_tentativa_com_o_motivo_e_quando(loja):
    falhando(loja)
    [(restam,)] = loja.consultar("estoque", "SELECT restam FROM tentativas")
    tela = em_linha(rastrear(loja, "p-1"))
    assert f"pedido.criado, outra tentativa em estoque {QUEBRADO}" in tela
    pausa = f"{0.2 * 2 ** (5 - restam):.1f}".replace(".", ",")
    assert f"restam {restam}, e com estoque no ar a próxima vem em até {pausa} s" in tela
    loja.consertar("estoque")
    seguir_a_tela(loja, "p-1")
    assert loja.resultado("p-1") == ("concluido", None)


@pytest.mark.longo
def test_o_que_esgotou_as_tentativas_esta_nas_mortas_e_o_comando_o_traz_de_volta(loja):
    loja.quebrar("estoque", "reservas", "p-1")
    loja.enviar(pedido("p-1"))
    loja.iniciar()
    loja.esperar_morta("estoque")
    esperar(lambda: loja.consultar("estoque", "SELECT 1 FROM mortas"), que="o banco lembrar")
    tela = rastrear(loja, "p-1")
    assert (f"pedido.criado, em «estoque.mortas» {QUEBRADO}; nela, neste broker, está 1 mensagem"
            in em_linha(tela))
    assert comandos(tela)[0] == ("python microsservicos/mortas.py estoque "
                                 "--mensagem p-1:pedido.criado --reenviar")
    loja.consertar("estoque")
    loja.matar()
    seguir_a_tela(loja, "p-1")
    assert loja.resultado("p-1") == ("concluido", None)


def test_o_que_volta_das_mortas_e_falha_de_novo_e_outra_vez_uma_tentativa(loja):
    loja.quebrar("estoque", "reservas", "p-1")
    loja.enviar(pedido("p-1"))
    loja.iniciar("pedidos", "estoque")
    esperar(lambda: loja.consultar("estoque", "SELECT 1 FROM tentativas"), que="a falha")
    loja.escrever("estoque", "UPDATE tentativas SET restam = 0")  # sem esperar pelas cinco pausas
    loja.esperar_morta("estoque")
    esperar(lambda: not loja.consultar("estoque", "SELECT 1 FROM tentativas"), que="o enterro")
    fim = rodar("microsservicos/mortas.py", "estoque", "--reenviar", url=loja.url)
    assert fim.processo.returncode == 0, fim.texto
    esperar(lambda: loja.consultar("estoque", "SELECT 1 FROM tentativas"), que="a nova tentativa")
    assert "outra tentativa em estoque" in em_linha(rastrear(loja, "p-1"))


def test_a_caminho_das_mortas_sem_o_broker_responder(loja):
    falhando(loja)
    loja.escrever("estoque", "UPDATE tentativas SET restam = 0")  # sem esperar pelas pausas que faltam
    tela = rastrear(loja, "p-1")
    assert "a caminho de «estoque.mortas»" in em_linha(tela) and len(comandos(tela)) == 2
    loja.consertar("estoque")
    ligar, reenviar = (shlex.split(comando) for comando in comandos(tela))
    ligado = Programa(RAIZ / ligar[1], *ligar[2:], url=loja.url).esperar_dizer(": pronto")
    try:
        loja.esperar_morta("estoque")
        assert rodar(reenviar[1], *reenviar[2:], url=loja.url).processo.returncode == 0
        loja.esperar_tratar("estoque", "p-1:pedido.criado")
    finally:
        ligado.matar()
    seguir_a_tela(loja, "p-1")


def test_mensagem_que_chegou_estragada_a_tela_aponta_as_mortas(loja):
    """O banco não sabe de quem ela era: diz a fila, e que há algo nas mortas de quem a leria."""
    loja.enviar(pedido("p-1"))
    loja.iniciar("pedidos")
    esperar(lambda: loja.profundidade("estoque") == 1, que="pedido.criado na fila")
    with loja.canal() as canal:
        canal.queue_purge("estoque")
    loja.publicar("pedido.criado", b"isto nao e JSON", message_id="p-1:pedido.criado")
    loja.iniciar("estoque")
    loja.esperar_morta("estoque")
    tela = em_linha(rastrear(loja, "p-1"))
    assert "neste broker ela está vazia" in tela
    assert "em «estoque.mortas» há 1: python microsservicos/mortas.py estoque" in tela


def test_perguntado_a_outro_broker_so_diz_o_que_sabe(loja, broker, tmp_path):
    """Os mesmos dados, outros brokers: a fila de lá não é onde ele espera, e nada se cria lá."""
    loja.enviar(pedido("p-1"))
    loja.iniciar("pedidos")
    esperar(lambda: loja.profundidade("estoque") == 1, que="pedido.criado na fila")
    vazio, de_outra = (f"amqp://guest:guest@127.0.0.1:{broker.porta}/{vhost_novo(broker)}"
                       for _ in range(2))
    tela = em_linha(rastrear(loja, "p-1", vazio))
    assert "neste broker ela não existe: é de outro broker" in tela
    assert not ha_filas(vazio), "quem só olha deixou filas num vhost que não é dele"
    outra = Loja(tmp_path / "outra", de_outra).iniciar("pedidos")
    outra.fechar()
    tela = em_linha(rastrear(loja, "p-1", de_outra))
    assert "sem contar as filas" in tela and "neste broker" not in tela
    assert "nela, neste broker, está 1 mensagem" in em_linha(rastrear(loja, "p-1"))
    loja.encerrar("pedidos")
    with loja.canal() as canal:
        canal.queue_purge("estoque")
    assert ("neste broker ela está vazia: é de outro broker, ou já está em mãos de um serviço"
            in em_linha(rastrear(loja, "p-1")))
    assert "neste broker" not in em_linha(rastrear(loja, "p-1", SEM_BROKER))


def ha_filas(url: str) -> bool:
    conexao = conectar(url)
    try:
        conexao.channel().queue_declare("estoque", passive=True)
        return True
    except pika.exceptions.ChannelClosedByBroker:
        return False
    finally:
        conexao.close()


def test_o_que_alguem_escreveu_a_mao_nos_bancos_nao_derruba_o_rastro(maquete):
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("andar")
    for tipo, corpo in [("envio.despachado", "[" * 60_000), ("envio.recusado", "{"), ("envio.recusado", "[1]"),
                        ("fidelidade.pontuada", "{}"), ("pedido.criado", "{}")]:
        maquete.ligados["envio"].banco.execute(
            "INSERT INTO caixa_saida (tipo, pedido, corpo) VALUES (?, 'p-1', ?)", (tipo, corpo))
        assert any("pedido.concluido" in linha for linha in raias(maquete.pasta, "p-1"))
