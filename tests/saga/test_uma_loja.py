"""Uma loja, um vhost: a segunda pasta é recusada numa linha, e nada da primeira se perde."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import RAIZ, esperar
from verbos import (MICROSSERVICOS, SEM_BROKER, SERVICOS, Loja, M, Programa, cenario,  # noqa: F401
                    loja, rodar, vhost_novo)

PROGRAMAS = ["orquestracao.py", *(f"microsservicos/servico_{nome}.py" for nome in SERVICOS)]


def numero(pasta, nome: str) -> int:
    with closing(sqlite3.connect(pasta / f"{nome}.db")) as banco:
        return banco.execute("PRAGMA application_id").fetchone()[0]


def recusado(programa: Programa) -> str:
    """A linha da recusa: status 2, e o que fazer."""
    assert programa.fim() == 2, programa.texto
    programa.limpo()
    [linha] = [linha for linha in programa.linhas if "é da loja" in linha]
    assert "outra porta em RABBITMQ_URL" in linha
    assert "--dados" in linha and "--tomar-vhost" in linha
    return linha


@pytest.mark.parametrize("no_ar", [True, False], ids=["a-primeira-no-ar", "a-primeira-parada"])
def test_outra_pasta_no_mesmo_vhost_e_recusada_por_todos(loja, tmp_path, no_ar):
    loja.enviar(cenario("sucesso"))
    loja.iniciar()
    loja.conferir_repouso()
    if not no_ar:
        loja.encerrar()
    with ThreadPoolExecutor(3) as juntos:
        programas = list(juntos.map(lambda s: rodar(s, "--dados", tmp_path / "outra", url=loja.url),
                                    PROGRAMAS))
    for programa in programas:
        assert M.identidade.identidade(loja.pasta) in recusado(programa)
    assert M.identidade.identidade(tmp_path / "outra" / "microsservicos") != M.dona.identidade(loja.pasta)
    loja.iniciar(*(nome for nome in SERVICOS if not no_ar))
    loja.enviar(cenario("envio-recusado", "p-2"))
    loja.conferir_repouso()


def test_duas_lojas_que_partem_no_mesmo_instante_so_uma_fica(broker, tmp_path):
    for rodada in range(4):
        url = f"amqp://guest:guest@127.0.0.1:{broker.porta}/{vhost_novo(broker)}"
        dupla = [Programa(MICROSSERVICOS / f"servico_{nome}.py", "--dados",
                          tmp_path / f"{rodada}-{nome}", url=url)
                 for nome in ("estoque", "envio")]
        try:
            esperar(lambda: any(p.disse(": pronto") for p in dupla)
                    and any(not p.vivo() for p in dupla), que="um vencedor e um recusado")
            [fica] = [p for p in dupla if p.vivo()]
            [sai] = [p for p in dupla if p is not fica]
            recusado(sai)
            assert fica.vivo() and fica.disse(": pronto")
        finally:
            for programa in dupla:
                programa.matar()


def test_limpar_nao_esvazia_as_filas_de_outra_loja_e_tomar_vhost_as_toma(loja, tmp_path):
    loja.enviar(cenario("sucesso"))
    loja.iniciar("pedidos")
    esperar(lambda: loja.profundidade("estoque") == 1, que="o evento na fila do estoque")
    loja.encerrar("pedidos")
    outra = ("orquestracao.py", "--dados", tmp_path / "outra", "--limpar", "--sim", "--estado")
    recusado(rodar(*outra, url=loja.url))
    assert loja.profundidade("estoque") == 1
    tomou = rodar(*outra, "--tomar-vhost", url=loja.url)
    assert tomou.fim() == 0, tomou.texto
    recusado(rodar("microsservicos/servico_estoque.py", "--dados", loja.dados, url=loja.url))
    assert rodar("orquestracao.py", "--dados", tmp_path / "outra", "--ate-concluir",
                 url=loja.url).fim() == 0



def test_identidade_apagada_volta_dos_bancos(loja):
    loja.iniciar()
    antes = M.identidade.identidade(loja.pasta)
    assert {numero(loja.pasta, nome) for nome in SERVICOS} == {int(antes, 16)}
    loja.encerrar()
    (loja.pasta / ".loja").unlink()
    loja.iniciar()
    assert (loja.pasta / ".loja").read_text().strip() == antes


def test_pasta_copiada_para_outra_maquina_e_a_mesma_loja(loja, tmp_path):
    """Os serviços em várias máquinas: o .loja vai junto, os bancos são de cada uma."""
    loja.iniciar("pedidos", "estoque", "pagamentos")
    longe = tmp_path / "longe"
    (longe / "microsservicos").mkdir(parents=True)
    shutil.copy(loja.pasta / ".loja", longe / "microsservicos")
    programa = Programa(MICROSSERVICOS / "servico_envio.py", "--dados", longe, url=loja.url)
    try:
        programa.esperar_dizer(": pronto")
        loja.enviar(cenario("sucesso"))
        loja.esperar_finais()
    finally:
        programa.matar()


def test_banco_de_outra_loja_na_pasta_e_uma_linha(loja, tmp_path, broker):
    loja.iniciar("estoque", "envio")
    loja.encerrar("estoque", "envio")
    outra = Loja(tmp_path / "outra",
                 f"amqp://guest:guest@127.0.0.1:{broker.porta}/{vhost_novo(broker)}")
    try:
        outra.iniciar("estoque")
        outra.encerrar("estoque")
        shutil.copy(outra.pasta / "estoque.db", loja.pasta / "estoque.db")
        programa = rodar("microsservicos/servico_estoque.py", "--dados", loja.dados, url=loja.url)
        assert programa.fim() == 2 and len(
            programa.linhas) == 1 and "estoque.db é da loja" in programa.texto
        (loja.pasta / ".loja").unlink()
        programa = rodar("microsservicos/servico_envio.py", "--dados", loja.dados, url=loja.url)
        assert programa.fim() == 2 and len(
            programa.linhas) == 1 and "bancos de lojas diferentes" in programa.texto
    finally:
        outra.fechar()


@pytest.mark.parametrize("conteudo", ["", "xis", "0000", "ffffffff", "1" * 100])
def test_identidade_ilegivel_e_uma_linha(tmp_path, conteudo):
    pasta = tmp_path / "microsservicos"
    pasta.mkdir()
    (pasta / ".loja").write_text(conteudo)
    programa = rodar("microsservicos/servico_envio.py", "--dados", tmp_path, url=SEM_BROKER)
    assert programa.fim() == 2 and len(
        programa.linhas) == 1 and "não é a identidade de uma loja" in programa.texto


def test_mortas_de_outra_loja_nao_se_leem_nem_se_reenviam(loja, tmp_path, broker):
    loja.iniciar("estoque")
    outra = tmp_path / "outra"
    M.identidade.identidade(outra / "microsservicos")
    recusado(rodar("microsservicos/mortas.py", "--dados", outra, url=loja.url))
    recusado(rodar("microsservicos/mortas.py", "--dados", outra, "--reenviar", url=loja.url))
    de_longe = rodar("microsservicos/mortas.py", "--dados", tmp_path / "sem loja nenhuma",
                     url=loja.url)
    assert de_longe.fim() == 0 and not (tmp_path / "sem loja nenhuma").exists()


def test_muitos_que_criam_a_mesma_identidade_concordam(tmp_path):
    codigo = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; "
        "from comum.identidade import identidade; "
              "print(identidade(Path(sys.argv[2])))")
    programas = [Programa("-c", codigo, MICROSSERVICOS, tmp_path / "m", url=SEM_BROKER)
                 for _ in range(8)]
    assert all(p.fim() == 0 for p in programas)
    assert len({p.texto for p in programas}) == 1, [p.texto for p in programas]
    assert os.listdir(tmp_path / "m") == [".loja"]


@pytest.mark.parametrize("nome", SERVICOS)
def test_criar_banco_cria_o_seu_com_as_linhas_iniciais_e_sai_sem_broker(tmp_path, nome):
    for _ in range(2):
        programa = rodar(f"microsservicos/servico_{nome}.py", "--dados", tmp_path, "--criar-banco",
                         url=SEM_BROKER)
        assert (programa.fim(), programa.texto) == (0, "")
    assert [a.name for a in (tmp_path / "microsservicos").glob("*.db")] == [f"{nome}.db"]
    with closing(sqlite3.connect(tmp_path / "microsservicos" / f"{nome}.db")) as banco:
        tabela, linhas = {"pedidos": ("pedidos", 0), "estoque": ("produtos", 4),
                          "pagamentos": ("clientes", 3), "envio": ("envios", 0)}[nome]
        assert banco.execute(f"SELECT count(*) FROM {tabela}").fetchone() == (linhas,)
