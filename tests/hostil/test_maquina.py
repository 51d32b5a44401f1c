"""As falhas da máquina: disco cheio, arquivo corrompido, relógio, broker sem memória.

O que se promete: uma linha clara, nenhum traceback, nada perdido, e a volta sem ajuda onde ela é possível. Onde
não é (um banco corrompido), nada é dado por feito: os pedidos esperam na fila por quem restaure o arquivo.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from cluster import rabbitmqctl
from conftest import RAIZ, carregar, esperar
from verbos import M, SEM_BROKER, SERVICOS, Escuta, Loja, Programa, cenario, loja, mistura, propriedades, rodar  # noqa: F401

pytestmark = pytest.mark.skipif(os.name == "nt", reason="discos e permissões, aqui, são os de um Unix")

APP = RAIZ / "monolito" / "app.py"
SERVICO = "microsservicos/servico_estoque.py"


# --- o que uma pessoa faria com a máquina ---

class Disco:
    """Um disco pequeno, só deste teste, que se enche com um lastro."""

    def __init__(self, ponto: Path, megabytes: int):
        self.ponto = ponto
        ponto.mkdir()
        comando = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(ponto)]
        if os.geteuid() or not shutil.which("mount") or subprocess.run(comando, capture_output=True).returncode:
            pytest.skip("encher um disco de verdade pede licença para montar um tmpfs (root, fora de um contêiner fechado)")

    def encher(self) -> None:
        with open(self.ponto / "lastro", "wb", buffering=0) as lastro:
            try:
                while lastro.write(bytes(4096)) == 4096:
                    pass
            except OSError:
                pass

    def liberar(self) -> None:
        (self.ponto / "lastro").unlink()

    def crescer(self, megabytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={megabytes}m", str(self.ponto)], check=True)

    def desmontar(self) -> None:
        subprocess.run(["umount", "-l", str(self.ponto)], capture_output=True)


@pytest.fixture
def disco(tmp_path):
    """Fábrica de discos; no fim nenhum fica montado."""
    feitos = []

    def novo(megabytes: int = 40, nome: str = "disco com ação") -> Disco:
        feitos.append(Disco(tmp_path / nome, megabytes))
        return feitos[-1]

    yield novo
    for um in feitos:
        um.desmontar()


# --- disco cheio ---

def test_disco_cheio_com_pedidos_nas_filas_e_depois_liberado(disco, url):
    """Os quatro bancos no mesmo disco. Ninguém morre, cada um diz uma vez, e todos voltam sozinhos."""
    disco = disco(40)
    loja = Loja(disco.ponto / "dados", url, fartura=True)
    try:
        loja.iniciar()
        loja.suspender("pagamentos")
        loja.enviar(*mistura(500, "a"))
        esperar(lambda: loja.consultar("estoque", "SELECT count(*) FROM caixa_entrada")[0][0] == 500, que="o estoque tratar a metade")
        loja.suspender("estoque")
        loja.enviar(*mistura(500, "b"))
        esperar(lambda: not loja.consultar("pedidos", "SELECT 1 FROM caixa_saida WHERE enviado = 0"), que="pedidos publicar a outra")
        disco.encher()
        for nome in ("estoque", "pagamentos"):
            loja.continuar(nome)
            loja.programas[nome][0].esperar_dizer("disco cheio ao gravar")
        assert loja.pendentes() > 500, "sem pedidos a meio caminho este teste não prova nada"
        disco.liberar()
        loja.conferir_repouso()
        assert len(loja.enviados) == 1000
        for nome in SERVICOS:
            [programa] = loja.programas[nome]
            assert programa.vivo() and programa.texto.count("disco cheio") == programa.texto.count("o banco voltou") <= 1, programa.texto
            programa.limpo()
    finally:
        loja.fechar()


@contextmanager
def monolito_no_ar(dados: Path, *opcoes, **mais):
    """Um monolito no meio de muitos pedidos."""
    programa = Programa(APP, "--dados", dados, "--pedidos", 100_000, *opcoes, url=SEM_BROKER, **mais)
    try:
        esperar_pedidos(dados)
        yield programa
        programa.limpo()
    finally:
        programa.matar()


def acaba_bem(programa: Programa, status: int = 0) -> None:
    assert programa.fim() == status and programa.disse("em dúvida: 0") and not programa.disse("FALHOU"), programa.texto


def test_disco_cheio_no_monolito_liberado_a_tempo_termina_sozinho(disco):
    disco = disco(20)
    with monolito_no_ar(disco.ponto / "dados") as programa:
        disco.encher()
        programa.esperar_dizer("insisto por 5 s")
        disco.liberar()
        acaba_bem(programa.interromper(), 130)


@pytest.mark.longo
def test_disco_cheio_no_monolito_fica_em_duvida_ate_haver_espaco(disco):
    disco = disco(20)
    dados = disco.ponto / "dados"
    with monolito_no_ar(dados) as programa:
        disco.encher()
        # Conforme o banco em que o espaço acabou: depois da decisão, ou antes dela.
        fins = "a recuperação termina na próxima partida", "o pedido recusado não foi anotado"
        assert programa.fim() == 1 and any(fim in programa.linhas[-1] for fim in fins), programa.texto
        cheio = rodar("monolito/app.py", "--dados", dados, "--id", "z-1")
        assert cheio.fim() in (1, 2) and cheio.linhas, cheio.texto
        cheio.limpo()
        disco.liberar()
        acaba_bem(rodar("monolito/app.py", "--dados", dados, "--id", "z-2"))


@pytest.mark.longo
def test_disco_quase_cheio_bloqueia_o_no_privado_e_a_saga_anda_quando_ha_espaco(disco):
    """O RabbitMQ para de aceitar publicações com menos de 50 MB livres, desde a partida.

    (O 3.10 não vigia o disco num caminho com espaços: o `df` que ele roda não os entende.)
    """
    disco = disco(45, "disco")
    porta = carregar("microsservicos", "instalacao").porta_livre()
    programa = Programa(RAIZ / "orquestracao.py", "--dados", disco.ponto / "dados", "--id", "p-1", "--ate-concluir",
                        url=f"amqp://guest:guest@127.0.0.1:{porta}/")
    try:
        programa.esperar_dizer("não aceita publicações agora", 90)
        disco.crescer(400)
        assert programa.fim(60) == 0 and programa.disse("voltou a aceitar publicações"), programa.texto
        assert programa.disse("em dúvida: 0") and programa.texto.count("não aceita publicações") == 1
        programa.limpo()
    finally:
        programa.encerrar() if programa.vivo() else None
        programa.fim(60)


# --- o arquivo corrompido com o programa no ar ---

def quantos_pedidos(dados: Path) -> int:
    """Quantos o monolito já fez; não cria arquivo nenhum."""
    try:
        with closing(sqlite3.connect(f"file:{dados}/monolito/pedidos.db?mode=ro", uri=True)) as banco:
            return banco.execute("SELECT count(*) FROM pedidos").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def esperar_pedidos(dados: Path, quantos: int = 20) -> None:
    esperar(lambda: quantos_pedidos(dados) >= quantos, que=f"{quantos} pedidos")


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
    loja.enviar(*mistura(200, "a"))
    loja.conferir_repouso()
    arquivo = loja.pasta / "estoque.db"
    certo = corromper(arquivo, "reservas", "respostas")
    loja.enviar(*mistura(300, "b"))
    estoque = loja.programas["estoque"][0].esperar_dizer("está corrompido: restaure uma cópia")
    esperar(lambda: not loja.consultar("pedidos", "SELECT 1 FROM caixa_saida WHERE enviado = 0"), que="pedidos publicar")
    assert loja.pendentes() == 300 and loja.profundidade("estoque.mortas") == 0 and estoque.vivo()
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
    recebida = M.canal.Recebida(1, json.dumps(dados).encode(), propriedades("pedido.criado", dados))

    def falhar(banco, evento):
        raise sqlite3.DatabaseError("database disk image is malformed")

    servico.ouve["pedido.criado"] = falhar
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        servico.tratar([recebida])
    assert servico.banco.execute("SELECT * FROM tentativas UNION ALL SELECT *, 1, 1, 1, 1 FROM caixa_entrada").fetchall() == []


def monolito_farto(dados: Path) -> None:
    assert rodar("monolito/app.py", "--dados", dados, "--estado").fim() == 0
    for banco, sql in (("estoque", "UPDATE produtos SET inicial = inicial + 1000000, quantidade = quantidade + 1000000"),
                       ("pagamentos", "UPDATE clientes SET inicial = inicial + 1000000000000, saldo = saldo + 1000000000000")):
        with closing(sqlite3.connect(dados / "monolito" / f"{banco}.db", isolation_level=None)) as conexao:
            conexao.execute(sql)


@pytest.mark.longo  # os cinco segundos em que o coordenador insiste
def test_banco_corrompido_com_o_monolito_no_ar_e_uma_linha_e_a_copia_resolve(tmp_path):
    dados = tmp_path / "dados"
    monolito_farto(dados)
    arquivo = dados / "monolito" / "estoque.db"
    with monolito_no_ar(dados) as programa:
        certo = parado_corromper(programa, arquivo)
        programa.esperar_dizer("estoque.db está corrompido")
        assert programa.interromper().fim() in (1, 2), programa.texto
        assert programa.texto.count("está corrompido") <= 3, "uma linha, e não uma por pedido"
    for sobra in arquivo.parent.glob("estoque.db-*"):
        sobra.unlink()
    arquivo.write_bytes(certo)
    acaba_bem(rodar("monolito/app.py", "--dados", dados, "--id", "z-1"))


def parado_corromper(programa: Programa, arquivo: Path) -> bytes:
    """Para o programa num instante em que ele não esteja no meio de uma gravação, e corrompe o arquivo."""
    def parou() -> bool:
        programa.sinal(signal.SIGSTOP)
        with closing(sqlite3.connect(arquivo, timeout=0)) as banco:
            try:
                if banco.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0:
                    return True
            except sqlite3.OperationalError:
                pass
        programa.sinal(signal.SIGCONT)
        return False
    esperar(parou, que="o programa parar sem trava no arquivo")
    certo = corromper(arquivo, "produtos", "preparadas", "travas")
    programa.sinal(signal.SIGCONT)
    return certo


# --- o relógio ---

ATRASO = 10 * 365 * 24 * 3600  # segundos: o relógio volta dez anos
RELOGIO = f"""
import os, time
def atrasado(de, por_segundo):
    return lambda: de() - {ATRASO} * por_segundo * os.path.exists(os.environ["RELOGIO_VOLTOU"])
time.time, time.time_ns = atrasado(time.time, 1), atrasado(time.time_ns, 10 ** 9)
"""


@pytest.fixture
def relogio(tmp_path):
    """(ambiente, voltar): quem roda com este ambiente vê o relógio dez anos atrás depois que se chama voltar().

    Só o relógio que o Python lê; mexer no da máquina mexeria com os outros programas dela.
    """
    (tmp_path / "relogio").mkdir()
    (tmp_path / "relogio" / "sitecustomize.py").write_text(RELOGIO)
    sinal = tmp_path / "relogio" / "voltou"
    return {"PYTHONPATH": str(tmp_path / "relogio"), "RELOGIO_VOLTOU": str(sinal)}, sinal.touch


def test_relogio_atrasado_no_meio_da_saga_nao_muda_nada(loja, relogio):
    """Nem a ordem, nem as novas tentativas, nem os prazos dependem da hora do dia."""
    ambiente, voltar = relogio
    loja.repor()
    loja.quebrar("estoque", "reservas", "a-00000")
    with Escuta(loja) as escuta:
        loja.iniciar(ambiente=ambiente)
        loja.enviar(*mistura(200, "a"))
        loja.programas["estoque"][0].esperar_dizer("tento de novo")
        loja.enviar(cenario("sucesso", "depois"))
        loja.esperar_tratar("estoque", "depois:pedido.criado")  # a essa altura a nova tentativa já tem hora marcada
        voltar()
        loja.enviar(*mistura(200, "b"))
        loja.consertar("estoque")
        loja.conferir_repouso()
        horas = [p.timestamp for _, p, _ in escuta.ouvir()]
    agora = time.time()
    assert min(horas) < agora - ATRASO + 600 and max(horas) > agora - 600, "o relógio não voltou: este teste não prova nada"
    assert loja.resultado("a-00000") == ("concluido", None)


def test_relogio_atrasado_no_monolito_nao_muda_nada(tmp_path, relogio):
    ambiente, voltar = relogio
    dados = tmp_path / "dados"
    monolito_farto(dados)
    with monolito_no_ar(dados, "--paralelos", 4, ambiente=ambiente) as programa:
        voltar()
        esperar_pedidos(dados, quantos_pedidos(dados) + 50)
        acaba_bem(programa.interromper(), 130)
    assert rodar("monolito/app.py", "--dados", dados, "--id", "p-1", "--cair-em", "depois-da-decisao", ambiente=ambiente).fim() < 0
    depois = rodar("monolito/app.py", "--dados", dados, "--id", "p-2", ambiente=ambiente)
    acaba_bem(depois)
    assert depois.disse("o log tem CONFIRMAR")


def test_a_hora_do_dia_so_e_lida_para_carimbar_mensagens():
    achados = set()
    for fonte in [*(RAIZ / "monolito").rglob("*.py"), *(RAIZ / "microsservicos").rglob("*.py"), RAIZ / "orquestracao.py"]:
        for no in ast.walk(ast.parse(fonte.read_text(encoding="utf-8"))):
            if isinstance(no, ast.Attribute) and (ast.unparse(no) in ("time.time", "time.time_ns") or no.attr in ("now", "utcnow", "today")):
                achados.add(fonte.name)
            if isinstance(no, (ast.Import, ast.ImportFrom)) and "datetime" in ast.unparse(no):
                achados.add(fonte.name)
    assert achados == {"canal.py"}


# --- o broker no limite ---

def test_broker_no_limite_bloqueia_e_tudo_anda_quando_ele_se_alivia(broker, loja):
    loja.repor()
    loja.enviar(*mistura(400, "a"))
    loja.iniciar("pedidos", "estoque")
    esperar(lambda: loja.profundidade("pagamentos") == 200 + 100, que="a fila de pagamentos")
    try:
        rabbitmqctl(broker, "set_vm_memory_high_watermark", "0.0001")
        loja.iniciar("pagamentos", "envio")
        loja.enviar(*mistura(400, "b"))
        for nome in ("pedidos", "pagamentos"):
            loja.programas[nome][0].esperar_dizer("não aceita publicações agora («low on", 10)
        assert loja.pendentes() >= 700 and all(loja.programas[nome][0].vivo() for nome in SERVICOS)
    finally:
        rabbitmqctl(broker, "set_vm_memory_high_watermark", "0.4")
    loja.programas["pedidos"][0].esperar_dizer("voltou a aceitar publicações")
    loja.conferir_repouso()
    for nome in SERVICOS:
        [programa] = loja.programas[nome]
        assert programa.texto.count("não aceita publicações") <= 1 and programa.texto.count(": pronto") == 1, programa.texto
        programa.limpo()
