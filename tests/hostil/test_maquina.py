"""As falhas da máquina: disco cheio, arquivo corrompido, relógio.

O que se promete: uma linha clara, nenhum traceback, nada perdido, e a volta sem ajuda onde ela é possível. Onde
não é (um banco corrompido), nada é dado por feito: os pedidos esperam na fila por quem restaure o arquivo.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest

from conftest import RAIZ, esperar
from verbos import M, SEM_BROKER, SERVICOS, Loja, Programa, cenario, loja, mistura, propriedades, rodar  # noqa: F401

pytestmark = pytest.mark.skipif(os.name == "nt", reason="os discos, aqui, são os de um Unix")


# --- disco cheio ---

class Disco:
    """Um disco pequeno, só deste teste, que se enche com um lastro."""

    def __init__(self, ponto: Path):
        self.ponto, self.lastro, self.dados = ponto, ponto / "lastro", ponto / "dados"
        ponto.mkdir()

    def montar(self, megabytes: int, *opcoes: str) -> Disco:
        comando = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={megabytes}m,mode=0700", *opcoes]), "tmpfs", self.ponto]
        if os.geteuid() or subprocess.run(comando, capture_output=True).returncode:
            pytest.skip("encher um disco de verdade pede licença para montar um tmpfs (root, fora de um contêiner fechado)")
        return self

    def encher(self) -> None:
        with open(self.lastro, "wb", buffering=0) as lastro, suppress(OSError):
            while lastro.write(bytes(4096)) == 4096:
                pass


@pytest.fixture
def disco(tmp_path):
    disco = Disco(tmp_path / "disco")
    yield disco
    subprocess.run(["umount", "-l", disco.ponto], capture_output=True)


def test_disco_cheio_com_pedidos_nas_filas_e_depois_liberado(disco, url):
    """Os quatro bancos no mesmo disco. Ninguém morre, cada um diz uma vez, e todos voltam sozinhos."""
    loja = Loja(disco.montar(40).dados, url, fartura=True)
    try:
        loja.iniciar()
        loja.suspender("pagamentos")
        loja.enviar(*mistura(300, "a"))
        esperar(lambda: loja.consultar("estoque", "SELECT count(*) FROM caixa_entrada")[0][0] == 300, que="o estoque tratar a metade")
        loja.suspender("estoque")
        loja.enviar(*mistura(300, "b"))
        esperar(lambda: not loja.a_enviar("pedidos"), que="pedidos publicar a outra")
        disco.encher()
        for nome in ("estoque", "pagamentos"):
            loja.continuar(nome)
            loja.programas[nome][0].esperar_dizer("disco cheio ao gravar")
        assert loja.pendentes() > 300, "sem pedidos a meio caminho este teste não prova nada"
        disco.lastro.unlink()
        loja.conferir_repouso()
        for nome in SERVICOS:
            [programa] = loja.programas[nome]
            assert programa.vivo() and programa.texto.count("disco cheio") == programa.texto.count("o banco voltou") <= 1, programa.texto
            programa.limpo()
    finally:
        loja.fechar()


@pytest.mark.parametrize("liberado_a_tempo", [True, pytest.param(False, marks=pytest.mark.longo)])
def test_disco_cheio_no_monolito_termina_sozinho_ou_fica_em_duvida_ate_haver_espaco(disco, liberado_a_tempo):
    dados = disco.montar(20).dados
    programa = Programa(RAIZ / "monolito/app.py", "--dados", dados, "--pedidos", 20_000, url=SEM_BROKER)

    def comecou() -> bool:
        with suppress(M.falha.Falha):  # um banco que ainda não existe
            return len(M.veredito.estado(dados / "monolito")["pedidos"]) > 500

    try:
        esperar(comecou, que="os primeiros pedidos")
        disco.encher()
        programa.esperar_dizer("insisto por 5 s")
        if liberado_a_tempo:
            disco.lastro.unlink()
            assert programa.interromper().fim() == 130 and programa.disse("em dúvida: 0"), programa.texto
            return
        # Conforme o banco em que o espaço acabou: depois da decisão, ou antes dela.
        fins = "a recuperação termina", "o pedido recusado não foi anotado"
        assert programa.fim() == 1 and any(fim in programa.linhas[-1] for fim in fins), programa.texto
        cheio = rodar("monolito/app.py", "--dados", dados, "--id", "z-1")
        assert cheio.fim() in (1, 2) and cheio.linhas, cheio.texto
        cheio.limpo()
        disco.lastro.unlink()
        fim = rodar("monolito/app.py", "--dados", dados, "--id", "z-2")
        assert fim.fim() == 0 and fim.disse("em dúvida: 0") and not fim.disse("FALHOU"), fim.texto
    finally:
        programa.matar()
        programa.limpo()


# --- o arquivo corrompido com o programa no ar ---

def corromper(arquivo: Path, *tabelas: str) -> bytes:
    """Leva tudo ao arquivo principal e põe lixo onde começam estas tabelas; devolve o que ele era."""
    with closing(sqlite3.connect(arquivo, timeout=30)) as banco:
        esperar(lambda: banco.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, que="o checkpoint")
        tamanho = banco.execute("PRAGMA page_size").fetchone()[0]
        paginas = dict(banco.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'"))
    certo = arquivo.read_bytes()
    with open(arquivo, "r+b") as aberto:
        for tabela in tabelas:
            aberto.seek((paginas[tabela] - 1) * tamanho)
            aberto.write(b"lixo" * (tamanho // 4))
    return certo


def test_banco_corrompido_com_o_servico_no_ar_os_pedidos_esperam_por_uma_copia(loja):
    """Só as tabelas do negócio: as caixas do serviço estão inteiras."""
    loja.repor()
    loja.iniciar()
    loja.enviar(*mistura(100, "a"))
    loja.conferir_repouso()
    arquivo = loja.pasta / "estoque.db"
    certo = corromper(arquivo, "reservas", "respostas")
    loja.enviar(*mistura(100, "b"))
    estoque = loja.programas["estoque"][0].esperar_dizer("está corrompido: restaure uma cópia")
    esperar(lambda: not loja.a_enviar("pedidos"), que="pedidos publicar")
    assert loja.pendentes() == 100 and loja.profundidade("estoque.mortas") == 0 and estoque.vivo()
    estoque.limpo()
    loja.matar("estoque")
    for sobra in loja.pasta.glob("estoque.db-*"):
        sobra.unlink()
    arquivo.write_bytes(certo)
    loja.iniciar("estoque")
    loja.conferir_repouso()


def test_arquivo_corrompido_nao_e_culpa_do_evento(tmp_path):
    """Senão cada pedido seria tentado cinco vezes e condenado às mortas, por um defeito que não é dele."""
    servico = M.servico.Servico("estoque", M.servico_estoque.TABELAS, dict(M.servico_estoque.OUVE), tmp_path)
    dados = {**cenario("sucesso"), "total": 10000}

    def falhar(banco, evento):
        raise sqlite3.DatabaseError("database disk image is malformed")

    servico.ouve["pedido.criado"] = falhar
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        servico.tratar([M.canal.Recebida(1, json.dumps(dados).encode(), propriedades("pedido.criado", dados))])
    assert not any(servico.banco.execute(f"SELECT 1 FROM {tabela}").fetchone() for tabela in ("tentativas", "caixa_entrada"))
    assert servico.banco.forcada, "o ack vem depois: o lote tem de estar no disco"


# --- o relógio ---

def test_a_hora_do_dia_so_e_lida_para_carimbar_mensagens():
    """Quem não a lê não tem como errar se o relógio voltar: nem a ordem, nem as tentativas, nem os prazos."""
    leem = re.compile(r"\btime\.time(_ns)?\b|\.(now|utcnow|today)\(|\bdatetime\b|unixepoch|julianday|'now'")
    fontes = [*(RAIZ / "monolito").rglob("*.py"), *(RAIZ / "microsservicos").rglob("*.py"), RAIZ / "orquestracao.py"]
    assert {fonte.name for fonte in fontes if leem.search(fonte.read_text(encoding="utf-8"))} == {"canal.py"}
