"""O que os testes do monolito têm em comum: filhos que morrem de verdade, e o que conferir depois.

Um filho é um fork de um processo à parte, que já carregou os módulos: começa em
milissegundos, e morre por SIGKILL onde o teste manda. Centenas de mortes cabem em poucos segundos.
O que o teste troca neste processo, o filho não vê.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import traceback
from contextlib import closing
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

from conftest import carregar, modulos

RAIZ = Path(__file__).resolve().parents[2]
MONOLITO = RAIZ / "monolito"
DONOS = ("pedidos", "estoque", "pagamentos", "envio")
BANCOS = (*DONOS, "coordenador")

M = SimpleNamespace(**{arquivo.stem: carregar("monolito", arquivo.stem) for arquivo in modulos("monolito")})


def pedido(id: str, cliente: str = "ana", produto: str = "livro", quantidade: int = 2, cep: str = "01310-100") -> dict:
    return {"pedido": id, "cliente": cliente, "itens": [{"produto": produto, "quantidade": quantidade}], "cep": cep}


def cenario(nome: str, id: str = "p-1") -> dict:
    return {**M.loja.CENARIOS[nome], "pedido": id}


# --- filhos ---

class Filho:
    """Um processo filho que roda `funcao(*argumentos)`; `saida` é o que ela devolveu, ou None se morreu.

    A função tem de ser de um módulo, e os argumentos, dos que o pickle sabe levar.
    """

    def __init__(self, funcao, *argumentos):
        self.pid = _no_viveiro((funcao, argumentos))

    def esperar(self) -> Filho:
        status, dito = _no_viveiro(self.pid)
        self.morto = os.WIFSIGNALED(status)
        self.saida, erro = (None, None) if self.morto else pickle.loads(dito)
        assert not erro, erro
        return self

    def matar(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _no_viveiro(pedido):
    cano = _viveiro()[0]
    cano.send(pedido)
    return cano.recv()


@cache
def _viveiro() -> tuple[Connection, subprocess.Popen]:
    """De onde nascem os filhos: um fork copia o processo inteiro, e o do pytest é grande, e tem threads."""
    nosso, dele = socket.socketpair()
    with dele:
        processo = subprocess.Popen(
            [sys.executable, "-c", f"import monolito_apoio; monolito_apoio.ser_o_viveiro({dele.fileno()})"],
            pass_fds=[dele.fileno()], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return Connection(nosso.detach()), processo


def ser_o_viveiro(descritor: int) -> None:
    """A cada (função, argumentos), um fork; a cada pid, como ele acabou, e o que disse."""
    cano, filhos = Connection(descritor), {}
    while True:
        try:
            pedido = cano.recv()
        except EOFError:
            os.killpg(0, signal.SIGKILL)  # quem pedia foi embora: os filhos que ninguém esperou vão junto
        if isinstance(pedido, int):
            dito = filhos.pop(pedido).read()
            cano.send((os.waitpid(pedido, 0)[1], dito))
            continue
        ler, escrever = os.pipe()
        if not (pid := os.fork()):
            cano.close()
            viver(escrever, *pedido)
        os.close(escrever)
        filhos[pid] = open(ler, "rb")
        cano.send(pid)


def viver(escrever: int, funcao, argumentos) -> None:
    """No filho: faz o que se pediu, diz como foi, e acaba sem fechar nada."""
    try:
        dito = pickle.dumps((funcao(*argumentos), None))
    except BaseException:
        dito = pickle.dumps((None, traceback.format_exc()[-4000:]))
    with open(escrever, "wb") as cano:
        cano.write(dito)
    os._exit(0)


def no_filho(funcao, *argumentos) -> Filho:
    return Filho(funcao, *argumentos).esperar()


def app(dados: Path, *opcoes, entrada: str = "", python=(sys.executable,), **ambiente) -> subprocess.CompletedProcess:
    """app.py rodado até o fim: o que disse na `tela`, o `erro`, e `tudo`; nunca pode haver um traceback."""
    feito = subprocess.run([*python, MONOLITO / "app.py", "--dados", dados, *map(str, opcoes)], input=entrada.encode(),
                           capture_output=True, env={**os.environ, "PYTHONUTF8": "1", **ambiente}, timeout=120)
    feito.tela, feito.erro = feito.stdout.decode("utf-8", "replace"), feito.stderr.decode("utf-8", "replace")
    feito.tudo = feito.tela + feito.erro
    assert "Traceback" not in feito.tudo, feito.tudo
    return feito


# --- dentro do filho ---

class Ouvinte(M.narracao.Narrador):
    """Ouve o que o coordenador conta, em vez de desenhar: (pedido, de, para, texto)."""

    def __init__(self):
        super().__init__(False)
        self.contado = []

    def seta(self, pedido, de, para, texto, cor=None):
        self.contado.append((pedido, de, para, texto))

    def nota(self, pedido, raia, texto, cor=None):
        self.contado.append((pedido, raia, None, texto))


def participantes(pasta: Path) -> list:
    loja = M.identidade.identidade(pasta)
    return [M.participante.Participante(negocio, pasta, loja) for negocio in M.app.NEGOCIOS]


def abrir(pasta: Path, recuperar: bool = True, espera: float = 0.0, narrador=None):
    """Um início do monolito, pela mesma função de app.py; devolve o coordenador."""
    ps, loja = participantes(pasta), M.identidade.identidade(pasta)
    log = M.app.abrir_log(pasta, loja, ps)
    coordenador = M.app.iniciar(ps, log, narrador or M.narracao.Narrador(False), not recuperar)
    coordenador.espera = espera
    return coordenador


def conduzir(coordenador, pedidos: list[dict], paralelos: int = 1) -> int:
    """Devolve quantas gravações forçadas os pedidos custaram."""
    antes = coordenador.forcadas()
    M.app.conduzir(coordenador, pedidos, paralelos)
    return coordenador.forcadas() - antes


def atender(pasta: Path, pedidos: list[dict], paralelos: int = 1, **opcoes) -> None:
    """Uma execução inteira."""
    coordenador = abrir(pasta, **opcoes)
    conduzir(coordenador, pedidos, paralelos)
    coordenador.esquecer_execucoes()


def cair_em(pasta: Path, ponto: str, p: dict) -> None:
    """No filho: morre num dos pontos de --cair-em."""
    M.quedas.armado = ponto
    atender(pasta, [p])


def so_recuperar(pasta: Path) -> None:
    """A recuperação e o fim dela, sem pedido nenhum."""
    abrir(pasta).esquecer_execucoes()


def ao_gravar(antes=lambda banco: None, depois=lambda banco: None) -> None:
    """Chama antes(banco) e depois(banco) em volta de cada COMMIT que grava algo."""
    executar = M.banco.Banco.execute

    def vigiado(banco, sql, *valores):
        if sql == "BEGIN IMMEDIATE":
            banco.mudancas = banco.total_changes
        if sql != "COMMIT" or banco.total_changes == banco.mudancas:
            return executar(banco, sql, *valores)
        antes(banco)
        resposta = executar(banco, sql, *valores)
        depois(banco)
        return resposta

    M.banco.Banco.execute = vigiado


def cair_no_passo(passo: int) -> None:
    """Morre antes ou depois de um COMMIT que grava algo; cada um dá dois passos."""
    passos = iter(range(1, 10**9))

    def passar(_):
        if next(passos) == passo:
            os.kill(os.getpid(), signal.SIGKILL)

    ao_gravar(passar, passar)


# --- depois ---

def nova_pasta(onde: Path) -> Path:
    """Uma pasta de dados recém-criada, com as linhas iniciais e tudo já nos arquivos principais."""
    no_filho(_criar, onde)
    return onde


def _criar(onde: Path) -> None:
    for participante in participantes(onde):
        participante.banco.close()
    M.decisoes.LogDeDecisoes(onde, M.identidade.identidade(onde)).banco.close()


def copiar(de: Path, para: Path) -> Path:
    """O que um reinício da máquina encontraria: os bancos e os WAL; o -shm é refeito."""
    shutil.rmtree(para, ignore_errors=True)
    return Path(shutil.copytree(de, para, ignore=shutil.ignore_patterns("*-shm")))


def consultar(pasta: Path, banco: str, sql: str, *valores) -> list[tuple]:
    with closing(sqlite3.connect(pasta / f"{banco}.db")) as conexao:
        return conexao.execute(sql, valores).fetchall()


class Retrato:
    """Tudo o que interessa numa pasta de dados, lido de uma vez; log: se o do coordenador também."""

    def __init__(self, pasta: Path, log: bool = True):
        self.pasta, self.decisoes, self.execucoes = pasta, [], []
        self.pedidos = dict(consultar(pasta, "pedidos", "SELECT pedido, estado FROM pedidos"))
        self.motivos = dict(consultar(pasta, "pedidos", "SELECT pedido, motivo FROM pedidos"))
        self.preparadas, self.travas, aplicados = {}, {}, {"pedidos": {p for p, e in self.pedidos.items() if e == "concluido"}}
        for dono, tabela in (("pedidos", None), ("estoque", "reservas"), ("pagamentos", "cobrancas"), ("envio", "envios")):
            with closing(sqlite3.connect(pasta / f"{dono}.db")) as banco:
                self.preparadas[dono] = dict(banco.execute("SELECT pedido, transacao FROM preparadas"))
                self.travas[dono] = {linha: com for com, travas in banco.execute("SELECT transacao, travas FROM preparadas")
                                     for linha in travas.split("\n")}
                if tabela:
                    aplicados[dono] = {p for p, in banco.execute(f"SELECT DISTINCT pedido FROM {tabela}")}
        self.aplicados = aplicados
        if log:
            self.decisoes = consultar(pasta, "coordenador", "SELECT pedido, decisao FROM decisoes")
            self.execucoes = consultar(pasta, "coordenador", "SELECT execucao FROM execucoes")

    def tudo(self) -> tuple:
        """Para comparar dois retratos; os nomes das transações mudam a cada execução."""
        return (self.pedidos, self.aplicados, {dono: set(ids) for dono, ids in self.preparadas.items()},
                sorted(self.decisoes), len(self.execucoes))

    def efeitos(self, id: str) -> set[str]:
        """Em que donos o pedido já foi aplicado."""
        return {dono for dono, ids in self.aplicados.items() if id in ids}

    def esperando(self, id: str) -> set[str]:
        """Em que donos o pedido está preparado, à espera de uma decisão."""
        return {dono for dono, ids in self.preparadas.items() if id in ids}

    def decididos(self) -> set[str]:
        return {p for p, decisao in self.decisoes if decisao == "CONFIRMAR"}

    def conferir_promessas(self) -> None:
        """As promessas do contrato, e a da 2PC: aplicado em todos os donos, ou em nenhum."""
        violadas = {nome: linhas for nome, linhas in M.veredito.violacoes(self.pasta).items() if linhas}
        assert not violadas, violadas
        for id, estado in self.pedidos.items():
            if estado != "pendente":
                assert self.efeitos(id) == (set(DONOS) if estado == "concluido" else set()), (id, estado)

    def conferir_repouso(self) -> None:
        """Tudo decidido: nada em dúvida, nenhuma trava, nenhum pendente, e o log sem nada a lembrar."""
        self.conferir_promessas()
        assert not any(self.preparadas.values()) and not any(self.travas.values())
        assert "pendente" not in self.pedidos.values()
        assert self.decisoes == self.execucoes == []


def conferir_repouso(pasta: Path) -> None:
    Retrato(pasta).conferir_repouso()


# --- queda de energia ---

class Disco:
    """Lembra até onde cada WAL foi forçado, e tira o resto: o que uma queda de energia poderia levar."""

    def __init__(self, anotacoes: Path, antes: Disco | None = None):
        self.anotacoes = anotacoes
        anotacoes.write_text(antes.anotacoes.read_text() if antes else "{}")

    def vigiar(self) -> None:
        """No filho: anota o tamanho do WAL depois de cada COMMIT com synchronous=FULL, que o força.

        Depois de cair_no_passo(), para que haja um passo entre o COMMIT e a anotação.
        """
        def anotar(banco):
            if banco.execute("PRAGMA synchronous").fetchone()[0] == 2:
                nome = Path(banco.caminho).stem
                anotado = {**self.forcado(), nome: _wal(Path(banco.caminho).parent, nome).stat().st_size}
                self.anotacoes.write_text(json.dumps(anotado))

        ao_gravar(depois=anotar)

    def forcado(self) -> dict[str, int]:
        return json.loads(self.anotacoes.read_text())

    def restos(self, pasta: Path) -> list[str]:
        """Os bancos cujo WAL tem algo que ainda não foi forçado."""
        return [banco for banco in BANCOS if (wal := _wal(pasta, banco)).exists()
                and wal.stat().st_size > self.forcado().get(banco, 0)]

    def cortar(self, pasta: Path, bancos: list[str]) -> None:
        for banco in bancos:
            os.truncate(_wal(pasta, banco), self.forcado().get(banco, 0))


def _wal(pasta: Path, banco: str) -> Path:
    """O WAL fica ao lado do arquivo, onde quer que ele esteja."""
    real = (pasta / f"{banco}.db").resolve()
    return real.with_name(f"{real.name}-wal")


