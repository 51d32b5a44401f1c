"""app.py --rastro: o que aconteceu com um pedido no monolito, e o que a próxima partida fará.

O que o rastro prevê para um pedido em dúvida é conferido rodando a próxima partida.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import signal
from pathlib import Path

import pytest

from monolito_apoio import app, conferir_repouso, consultar
from test_monolito_um_por_vez import Parado
from verbos import sem_poderes


def rastrear(dados: Path, *ids: str, **opcoes) -> str:
    fim = app(dados, "--rastro", *ids, **opcoes)
    assert fim.returncode == 0 and "\x1b" not in fim.tela, fim.tudo
    return fim.tela


def em_linha(texto: str) -> str:
    return " ".join(texto.split())


def comandos(tela: str) -> list[list[str]]:
    return [shlex.split(comando)[2:]
            for comando in re.findall(r"^      (python .*)$", tela, flags=re.M)]


def resultado(dados: Path, id: str) -> str | None:
    for estado, motivo in consultar(dados / "monolito", "pedidos",
                                    "SELECT estado, motivo FROM pedidos WHERE pedido = ?", id):
        return f"{estado}{f': {motivo}' if motivo else ''}"
    return None


def retrato(pasta: Path) -> dict:
    return {a.name: (hashlib.sha256(a.read_bytes()).hexdigest(), a.stat().st_mtime_ns)
            for a in pasta.iterdir() if not a.name.endswith("-shm")}


# ponto: (quem está preparado, o que o log diz, como a próxima partida termina)
NO_PONTO = {
    "entre-votos": (2, "aborto presumido", "cancelado"),
    "antes-da-decisao": (4, "aborto presumido", "cancelado"),
    "depois-da-decisao": (4, "tem CONFIRMAR", "concluido"),
    "entre-confirmacoes": (2, "tem CONFIRMAR", "concluido"),
    "antes-do-fim": (0, None, "concluido"),
}


@pytest.mark.parametrize("ponto", NO_PONTO)
def test_o_que_o_rastro_diz_que_a_proxima_partida_fara_e_o_que_ela_faz(ponto, tmp_path):
    preparados, log, fim = NO_PONTO[ponto]
    assert app(tmp_path, "--id", "p-1", "--cair-em", ponto).returncode == -signal.SIGKILL
    tela = rastrear(tmp_path, "p-1")
    assert len(re.findall(r"\.db +transação \w+-1 preparada; trava ", tela)) == preparados
    if log is None:
        assert "p-1: concluido\n" in tela and "espera" not in tela
        return
    [do_log] = re.findall(r"coordenador\.db (.*)", tela)
    assert do_log.endswith(log) and "p-1: pendente, em dúvida" in tela
    fara = "confirma em quem falta" if fim == "concluido" else "aborta em quem preparou"
    assert fara in em_linha(tela)
    assert tela.count("┃") >= preparados, "quem está em dúvida tem a raia grossa"
    [comando] = comandos(tela)
    assert comando[0] == "--sem-pedido" and app(tmp_path, comando[0]).returncode == 0
    assert resultado(tmp_path, "p-1").startswith(fim)
    assert "em dúvida" not in rastrear(tmp_path, "p-1")
    conferir_repouso(tmp_path / "monolito")


def test_uma_execucao_viva_ainda_conduz_e_nao_se_propoe_nada(tmp_path):
    viva = Parado(tmp_path, "antes-da-decisao", "--id", "p-1")
    try:
        tela = rastrear(tmp_path, "p-1")
        assert "espera: o programa que conduz pedidos nesta pasta agora" in em_linha(tela) and comandos(tela) == []
        assert viva.processo.poll() is None
        assert "um programa conduz pedidos nesta pasta agora" in app(tmp_path, "--em-duvida").tudo
        recusa = app(tmp_path, "--forcar", "x-1=abortar")
        assert recusa.returncode == 2 and "outro programa conduz pedidos" in recusa.tudo
    finally:
        viva.soltar()
    assert viva.processo.returncode == 0 and "p-1: concluido" in rastrear(tmp_path, "p-1")


def test_o_rastro_nao_escreve_em_banco_nenhum_nem_numa_copia_so_de_leitura(tmp_path):
    """O -shm, que o SQLite refaz, é o único que pode nascer ao lado de um -wal."""
    app(tmp_path, "--id", "p-1")
    copia = tmp_path / "copia" / "monolito"
    shutil.copytree(tmp_path / "monolito", copia)
    for arquivo in copia.iterdir():
        arquivo.chmod(0o444)
    copia.chmod(0o555)
    antes = retrato(copia)
    try:
        assert "p-1: concluido" in rastrear(tmp_path / "copia", "p-1", python=sem_poderes())
    finally:
        copia.chmod(0o755)
    assert retrato(copia) == antes
    app(tmp_path, "--id", "p-2", "--cair-em", "antes-da-decisao")
    antes = retrato(tmp_path / "monolito")
    assert "em dúvida" in rastrear(tmp_path, "p-2") and retrato(tmp_path / "monolito") == antes
