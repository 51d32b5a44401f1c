"""O que cerca um programa quando ele parte: saídas fechadas, poucos descritores, entrada sem fim.

Cada um destes é um relato de quem usa programas assim; a resposta certa é trabalhar, ou uma linha.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from conftest import RAIZ, carregar, esperar
from verbos import SEM_BROKER

ALAS = ("monolito", "microsservicos")
APP, ESTOQUE = "monolito/app.py", "microsservicos/servico_estoque.py"
SCRIPTS = [APP, "orquestracao.py", "microsservicos/mortas.py", "microsservicos/rastro.py",
           *(f"microsservicos/servico_{nome}.py"
             for nome in ("pedidos", "estoque", "pagamentos", "envio"))]


def bash(comando: str, **ambiente) -> subprocess.CompletedProcess:
    """Roda uma linha de shell a partir da raiz; $PY é este Python."""
    return subprocess.run(
        ["bash", "-c", comando], cwd=RAIZ, encoding="utf-8", stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
        env={**os.environ, "PY": sys.executable, "RABBITMQ_URL": SEM_BROKER,
             "PYTHONIOENCODING": "utf-8", **ambiente})


@pytest.mark.parametrize("fechada", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_saida_ou_entrada_fechada_nao_atrapalha(fechada, tmp_path):
    linha = f"$PY -X dev -W error {APP} --dados {tmp_path} --id p-1 {fechada}"
    fim = bash(linha)
    assert fim.returncode == 0 and not fim.stderr, fim.stderr
    estado = json.loads(bash(f"$PY {APP} --dados {tmp_path} --estado").stdout)
    assert estado["pedidos"]["p-1"]["estado"] == "concluido"


@pytest.mark.parametrize("fechada", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_ajuda_com_uma_saida_fechada(script, fechada):
    fim = bash(f"$PY -X dev -W error {script} --help {fechada}")
    assert fim.returncode == 0 and not fim.stderr, fim.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_pasta_do_script_fora_do_caminho_do_python(script):
    fim = bash(f"$PY {script} --help", PYTHONSAFEPATH="1")
    assert fim.returncode == 0 and fim.stdout.startswith("uso: "), fim.stderr


def test_saida_num_disco_cheio_e_uma_linha(tmp_path):
    for argumentos in ("--id p-1", "--help", "--estado"):
        fim = bash(f"$PY {APP} --dados {tmp_path} {argumentos} > /dev/full")
        assert fim.returncode == 1, argumentos
        assert fim.stderr == "disco cheio para onde vai a saída deste programa: libere espaço\n"


@pytest.mark.parametrize("script, quantos", [
    *((APP, n) for n in (10, 12, 14, 16, 20, 24, 28)), *((ESTOQUE, n) for n in (5, 6, 7))])
def test_poucos_descritores_e_uma_linha_com_o_limite(script, quantos, tmp_path):
    fim = bash(f"ulimit -n {quantos}; $PY {script} --dados {tmp_path}")
    assert fim.returncode == 2 and len(fim.stderr.splitlines()) == 1, fim.stderr
    assert f"limite de arquivos abertos ({quantos})" in fim.stderr
    # E nada ficou no meio: com o limite de volta, tudo anda.
    assert bash(f"$PY {APP} --dados {tmp_path}").stdout.splitlines()[-1] == "em dúvida: 0"


@pytest.mark.parametrize("ala", ALAS)
@pytest.mark.parametrize("linha", [b'{"cliente": "ana"}\n', b"\n"], ids=["pedidos", "em branco"])
def test_entrada_sem_fim_e_recusada(ala, linha, monkeypatch, tmp_path):
    loja, falha = carregar(ala, "loja"), carregar(ala, "falha")
    monkeypatch.setattr(loja, "MAIS_PEDIDOS", 50)
    monkeypatch.setattr(loja, "validar", lambda dados: dados)
    cano = tmp_path / "sem-fim"
    os.mkfifo(cano)
    sem_fim = subprocess.Popen(["sh", "-c", f"yes '{linha.decode().strip()}' > {cano}"],
                               stderr=subprocess.DEVNULL)
    try:
        with pytest.raises(falha.Falha, match="no máximo 50 linhas") as erro:
            loja.ler_arquivo(str(cano))
        assert erro.value.codigo == 2
    finally:
        sem_fim.wait(30)


@pytest.mark.parametrize("ala", ALAS)
def test_entrada_enorme_e_recusada_pelo_tamanho(ala, monkeypatch, tmp_path):
    loja, falha = carregar(ala, "loja"), carregar(ala, "falha")
    monkeypatch.setattr(loja, "MAIOR_ARQUIVO", 1000)
    (tmp_path / "f").write_bytes(b" " * 600 + b"\n" + b" " * 600)
    with pytest.raises(falha.Falha, match="MiB de cada vez"):
        loja.ler_arquivo(str(tmp_path / "f"))


@pytest.mark.longo
def test_pedidos_sem_fim_por_um_cano_de_verdade(tmp_path):
    pedido = '{"cliente":"ana","itens":[{"produto":"livro","quantidade":1}],"cep":"01310100"}'
    fim = bash(f"yes '{pedido}' | $PY {APP} --dados {tmp_path} --arquivo -")
    assert fim.returncode == 2 and "no máximo 1000000 linhas" in fim.stderr, fim.stderr
    assert not list(tmp_path.rglob("*.db"))


# --- a pasta de dados ---

def presentes(pasta: Path) -> list[str]:
    return sorted(arquivo.name for arquivo in pasta.glob("*.db"))


@pytest.mark.parametrize("ala", ALAS)
def test_limpar_sob_um_programa_vivo_cuja_presenca_foi_apagada(ala, tmp_path):
    pasta, presenca, falha = tmp_path / ala, carregar(ala, "presenca"), carregar(ala, "falha")
    comando = {"monolito": ["-c", MONOLITO_ABERTO, RAIZ / "monolito", pasta],
               "microsservicos": [RAIZ / ESTOQUE, "--dados", tmp_path]}[ala]
    with subprocess.Popen([sys.executable, *map(str, comando)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT,
                          env={**os.environ, "RABBITMQ_URL": SEM_BROKER}) as vivo:
        try:
            vivo.stdout.readline()
            havia = presentes(pasta)
            for prova in pasta.glob(".presenca*"):
                prova.unlink()
            with pytest.raises(falha.Falha, match="há programas usando"):
                presenca.limpar(pasta)
            assert havia and presentes(pasta) == havia
        finally:
            vivo.kill()
    presenca.limpar(pasta)
    assert not presentes(pasta)


MONOLITO_ABERTO = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import estoque
from participante import Participante
aberto = Participante(estoque.NEGOCIO, Path(sys.argv[2]))
print("aberto", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("ala", ALAS)
@pytest.mark.parametrize("apagado", ["x.db", "x.db-wal", "x.db-shm"])
def test_arquivo_do_conjunto_que_some_nao_recebe_mais_nada(ala, apagado, tmp_path):
    banco_py = carregar(ala, "banco")
    with closing(banco_py.abrir(tmp_path / "x.db", "CREATE TABLE t (a)")) as banco:
        with banco_py.transacao(banco):
            banco.execute("INSERT INTO t VALUES (1)")
        (tmp_path / apagado).unlink()
        with pytest.raises(sqlite3.OperationalError) as sumiu:
            with banco_py.transacao(banco):
                banco.execute("INSERT INTO t VALUES (2)")
        assert sumiu.value.arquivo == str(tmp_path / apagado)
        assert not banco.in_transaction
        if apagado == "x.db":
            with pytest.raises(banco_py.ArquivoSumiu):
                banco.refazer_diario()
            return
        with closing(sqlite3.connect(tmp_path / "copia.db")):
            banco.refazer_diario()  # o que estava no arquivo sem nome volta a ter um
        with banco_py.transacao(banco):
            banco.execute("INSERT INTO t VALUES (3)")
        with closing(sqlite3.connect(tmp_path / "x.db")) as outro:
            assert outro.execute("SELECT a FROM t ORDER BY a").fetchall() == [(1,), (3,)]


@pytest.mark.parametrize("ala", ALAS)
@pytest.mark.parametrize("data, antes", [(None, 0.2), (1, 0), (0, 0.2)], ids=["copia restaurada", "mesmo tique", "segundos inteiros"])
def test_arquivo_apagado_e_percebido_pela_data_da_pasta_e_apesar_dela(ala, data, antes, tmp_path, monkeypatch):
    """Bastam as datas da pasta, se já eram as mesmas; as recentes não bastam, que outra mudança no mesmo tique não as muda.

    data: nanossegundos além do segundo inteiro, num relógio parado (None: o de verdade). antes: segundos de conferências
    antes de apagar.
    """
    banco_py = carregar(ala, "banco")
    with closing(banco_py.abrir(tmp_path / "x.db", "CREATE TABLE t (a)")) as banco:
        agora = os.stat(tmp_path)
        if data is not None:
            parado = agora.st_dev, agora.st_ino, data, data
            monkeypatch.setattr(banco_py, "_retrato", lambda pasta: parado)
        ate = time.monotonic() + antes
        esperar(lambda: banco.conferir_arquivo() or time.monotonic() >= ate, que="as conferências")
        (tmp_path / "x.db-wal").unlink()
        os.utime(tmp_path, ns=(agora.st_atime_ns, agora.st_mtime_ns))  # como quem restaura uma cópia de segurança
        with pytest.raises(banco_py.ArquivoSumiu):
            banco.conferir_arquivo()


@pytest.mark.parametrize("ala", ALAS)
def test_diario_apagado_com_dois_programas_nao_se_refaz(ala, tmp_path):
    banco_py = carregar(ala, "banco")
    with closing(banco_py.abrir(tmp_path / "x.db", "CREATE TABLE t (a)")) as banco, \
            closing(sqlite3.connect(tmp_path / "x.db")) as outro:
        outro.execute("SELECT * FROM t").fetchall()
        (tmp_path / "x.db-wal").unlink()
        with pytest.raises(banco_py.ArquivoSumiu):
            banco.refazer_diario()


@pytest.mark.parametrize("ala", ALAS)
def test_apagado_depois_da_conferencia_ninguem_fica_sabendo_que_deu_certo(ala, tmp_path):
    """O COMMIT foi para um arquivo que já não tinha nome: quem gravou tem de saber."""
    banco_py = carregar(ala, "banco")
    with closing(banco_py.abrir(tmp_path / "x.db", "CREATE TABLE t (a)")) as banco:
        def apagar(_):
            (tmp_path / "x.db-wal").unlink(missing_ok=True)
            return 0
        banco.create_function("apagar", 1, apagar)
        conferir = banco.conferir_arquivo
        with pytest.raises(banco_py.ArquivoSumiu):
            with banco_py.transacao(banco):
                banco.execute("INSERT INTO t VALUES (1)")
                conferir()
                banco.execute("SELECT apagar(1)").fetchone()


@pytest.mark.parametrize("ala", ALAS)
def test_banco_que_volta_de_uma_copia_sem_wal_volta_ao_wal(ala, tmp_path):
    banco_py = carregar(ala, "banco")
    banco_py.abrir(tmp_path / "x.db", "CREATE TABLE t (a)").close()
    with closing(sqlite3.connect(tmp_path / "x.db")) as velho:
        velho.execute("VACUUM INTO ?", (str(tmp_path / "y.db"),))
    with closing(sqlite3.connect(tmp_path / "y.db")) as copia:
        assert copia.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    with closing(banco_py.abrir(tmp_path / "y.db", "CREATE TABLE t (a)")) as banco:
        assert banco.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert banco.execute("PRAGMA synchronous").fetchone() == (2,)


@pytest.mark.parametrize("ala", ALAS)
def test_atalhos_levam_ao_arquivo_de_verdade(ala, tmp_path):
    banco_py = carregar(ala, "banco")
    (tmp_path / "longe").mkdir()
    (tmp_path / "meio.db").symlink_to(Path("longe") / "x.db")
    (tmp_path / "x.db").symlink_to("meio.db")
    with closing(banco_py.abrir(tmp_path / "x.db", "CREATE TABLE t (a)")) as banco:
        assert banco.real == str(tmp_path.resolve() / "longe" / "x.db")
        (tmp_path / "longe" / "x.db-wal").unlink()
        with pytest.raises(banco_py.ArquivoSumiu):
            banco.conferir_arquivo()


def test_a_janela_do_terminal_se_fecha_e_o_programa_acaba(tmp_path):
    """SIGHUP: o serviço acaba; sob nohup, continua."""
    comando = [sys.executable, str(RAIZ / ESTOQUE), "--dados", str(tmp_path)]
    ambiente = {**os.environ, "RABBITMQ_URL": SEM_BROKER}
    for antes, acaba in (([], True), (["nohup"], False)):
        with subprocess.Popen(antes + comando, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, env=ambiente) as servico:
            try:
                assert b"RabbitMQ" in servico.stdout.readline()
                servico.send_signal(signal.SIGHUP)
                if acaba:
                    assert servico.wait(20) == 0
                else:
                    servico.send_signal(signal.SIGHUP)
                    os.kill(servico.pid, 0)
                    servico.send_signal(signal.SIGTERM)
                    esperar(lambda: servico.poll() is not None, 20, "o fim do serviço")
                    assert servico.returncode == 0  # de SIGTERM, e não do SIGHUP
            finally:
                servico.kill()


@pytest.mark.parametrize("ala", ["monolito", "microsservicos"])
def test_ctrl_c_enquanto_o_programa_se_importa_nao_e_um_traceback(ala):
    """O primeiro quarto de segundo, antes de tela.executar(); `comum` é o primeiro cômodo que todo programa abre."""
    morto = subprocess.run([sys.executable, "-c", "import comum; raise KeyboardInterrupt"], cwd=RAIZ / ala, capture_output=True, text=True)
    assert morto.returncode in (-signal.SIGINT, 130) and not morto.stderr
    outro = subprocess.run([sys.executable, "-c", "import comum; 1 / 0"], cwd=RAIZ / ala, capture_output=True, text=True)
    assert "ZeroDivisionError" in outro.stderr
