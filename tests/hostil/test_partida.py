"""O que cerca um programa quando ele começa: saídas fechadas, entrada sem fim, terminal que se fecha.

Cada um destes é um relato de quem usa programas assim; a resposta certa é trabalhar, ou uma linha.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from conftest import RAIZ
from verbos import M, SEM_BROKER, SERVICOS, linhas_largas

APP = "monolito/app.py"
SCRIPTS = [APP, "orquestracao.py", "microsservicos/mortas.py", "microsservicos/rastro.py",
           *(f"microsservicos/servico_{nome}.py" for nome in SERVICOS)]


def bash(comando: str, **ambiente) -> subprocess.CompletedProcess:
    """Roda uma linha de shell a partir da raiz; $PY é este Python."""
    return subprocess.run(
        ["bash", "-c", comando], cwd=RAIZ, encoding="utf-8", stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
        env={**os.environ, "PY": sys.executable, "RABBITMQ_URL": SEM_BROKER,
             "PYTHONIOENCODING": "utf-8", **ambiente})


@pytest.mark.parametrize("fechada", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_saida_ou_entrada_fechada_nao_atrapalha(fechada, tmp_path):
    fim = bash(f"$PY -X dev -W error {APP} --dados {tmp_path} --id p-1 {fechada}")
    assert fim.returncode == 0 and not fim.stderr, fim.stderr
    estado = json.loads(bash(f"$PY {APP} --dados {tmp_path} --estado").stdout)
    assert estado["pedidos"]["p-1"]["estado"] == "concluido"


@pytest.mark.parametrize("script", SCRIPTS)
def test_ajuda_em_portugues_mesmo_com_tudo_fechado_e_longe_da_pasta_do_script(script):
    fim = bash(f"$PY -X dev -W error {script} --help >&- 2>&- <&- && COLUMNS=80 $PY {script} --help",
               PYTHONSAFEPATH="1")
    assert fim.returncode == 0 and fim.stdout.startswith("uso: "), fim.stderr
    assert "mostra esta ajuda e sai" in fim.stdout and not linhas_largas(fim.stdout)
    for ingles in ("usage", "options", "show this help", "optional", "positional", "exit"):
        assert ingles not in fim.stdout, ingles


def test_saida_num_disco_cheio_e_uma_linha(tmp_path):
    for argumentos in ("--id p-1", "--help", "--estado"):
        fim = bash(f"$PY {APP} --dados {tmp_path} {argumentos} > /dev/full")
        assert fim.returncode == 1, argumentos
        assert fim.stderr == "disco cheio ao gravar a saída deste programa: libere espaço; nada do que já foi dito se perdeu\n"


PEDIDO = '{"cliente":"ana","itens":[{"produto":"livro","quantidade":1}],"cep":"01310100"}'


@pytest.mark.parametrize("linha, limite, diz", [
    (PEDIDO, {"MAIS_PEDIDOS": 50}, "no máximo 50 linhas"), ("", {"MAIS_PEDIDOS": 50}, "no máximo 50 linhas"),
    (" " * 600, {"MAIOR_ARQUIVO": 1000}, "MiB de cada vez")], ids=["pedidos", "em branco", "espaços"])
def test_entrada_sem_fim_e_recusada(linha, limite, diz, monkeypatch, tmp_path):
    for nome, valor in limite.items():
        monkeypatch.setattr(M.loja, nome, valor)
    os.mkfifo(tmp_path / "sem-fim")
    sem_fim = subprocess.Popen(["sh", "-c", f"yes '{linha}' > {tmp_path}/sem-fim"], stderr=subprocess.DEVNULL)
    try:
        with pytest.raises(M.falha.Falha, match=diz) as erro:
            M.loja.ler_arquivo(str(tmp_path / "sem-fim"))
        assert erro.value.codigo == 2
    finally:
        sem_fim.wait(30)


def test_ctrl_c_enquanto_o_programa_se_importa_nao_e_um_traceback():
    """O primeiro quarto de segundo, antes de tela.executar(); `comum` é o primeiro cômodo que todo programa abre."""
    morto, outro = (subprocess.run([sys.executable, "-c", f"import comum; {erro}"], cwd=RAIZ / "monolito", capture_output=True,
                                   text=True) for erro in ("raise KeyboardInterrupt", "1 / 0"))
    assert morto.returncode in (-signal.SIGINT, 130) and not morto.stderr
    assert "ZeroDivisionError" in outro.stderr
