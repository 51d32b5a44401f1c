"""O que os testes do monolito têm em comum: filhos que morrem de verdade, e o que conferir depois.

Um filho é um fork deste processo: começa em milissegundos, com os módulos já carregados, e
morre por SIGKILL onde o teste manda. Centenas de mortes cabem em poucos segundos.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import signal
import sqlite3
import traceback
from contextlib import closing
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
    """Um processo filho que roda `funcao(*argumentos)`; `saida` é o que ela devolveu, ou None se morreu."""

    def __init__(self, funcao, *argumentos):
        self._caixa = mmap.mmap(-1, 1 << 16)  # memória que o filho e este processo dividem
        self.pid = os.fork()
        if self.pid == 0:
            self._rodar(funcao, argumentos)

    def _rodar(self, funcao, argumentos) -> None:
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            mudo = os.open(os.devnull, os.O_WRONLY)
            os.dup2(mudo, 1)
            os.dup2(mudo, 2)
            texto = json.dumps(funcao(*argumentos)).encode()
            self._caixa[:len(texto)] = texto
            os._exit(0)
        except BaseException:
            texto = json.dumps({"erro": traceback.format_exc()[-4000:]}).encode()
            self._caixa[:len(texto)] = texto
            os._exit(1)

    def esperar(self) -> Filho:
        _, status = os.waitpid(self.pid, 0)
        self.morto = os.WIFSIGNALED(status)
        texto = self._caixa[:].rstrip(b"\0")
        self.saida = json.loads(texto) if texto else None
        if not self.morto and os.WEXITSTATUS(status):
            raise AssertionError(self.saida["erro"])
        return self

    def matar(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def no_filho(funcao, *argumentos) -> Filho:
    return Filho(funcao, *argumentos).esperar()


# --- dentro do filho ---

def abrir(pasta: Path, recuperar: bool = True, espera: float = 0.0, narrar=None):
    """Uma partida do monolito, como a de app.py; devolve o coordenador."""
    presenca = M.presenca.Presenca(pasta)
    presenca.entrar()
    participantes = [M.participante.Participante(negocio, pasta) for negocio in M.app.NEGOCIOS]
    log = M.decisoes.LogDeDecisoes(pasta)
    M.operador.conferir(participantes, log)
    if recuperar:
        M.recuperacao.recuperar(pasta, participantes, log, narrar)
    coordenador = M.coordenador.Coordenador(participantes, log, M.execucao.Execucao(pasta), espera, narrar)
    coordenador.presenca = presenca
    return coordenador


def atender(pasta: Path, pedidos: list[dict], juntos: bool = False, **opcoes) -> None:
    """Uma execução inteira; juntos: os pedidos dividem as rodadas, em vez de virem um depois do outro."""
    coordenador = abrir(pasta, **opcoes)
    if juntos:
        andamento = [coordenador.nova(p) for p in pedidos]
        while andamento:
            terminadas = coordenador.rodada(andamento)
            andamento = [t for t in andamento if t not in terminadas]
    else:
        for p in pedidos:
            coordenador.executar(p)
    coordenador.encerrar()


def so_recuperar(pasta: Path) -> None:
    """A recuperação e o fim dela, sem pedido nenhum."""
    abrir(pasta).encerrar()


def cair_no_passo(passo: int) -> None:
    M.quedas._faltam = passo


# --- depois ---

def nova_pasta(onde: Path) -> Path:
    """Uma pasta de dados recém-criada, com as linhas iniciais e tudo já nos arquivos principais."""
    no_filho(_criar, onde)
    return onde


def _criar(onde: Path) -> None:
    for negocio in M.app.NEGOCIOS:
        M.participante.Participante(negocio, onde).arquivo.fechar()
    M.decisoes.LogDeDecisoes(onde).arquivo.fechar()


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
                self.travas[dono] = dict(banco.execute("SELECT linha, transacao FROM travas"))
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

    def __init__(self, antes: Disco | None = None):
        self._caixa = mmap.mmap(-1, 4096)
        if antes:
            self._caixa[:] = antes._caixa[:]

    def vigiar(self) -> None:
        """No filho: anota o tamanho do WAL cada vez que ele é forçado."""
        sincronizar, forcar, qual = M.arquivo.Arquivo.sincronizar, M.arquivo.forcar_ao_disco, []

        def sincronizar_sabendo(self):
            qual[:] = [self.caminho.stem]
            sincronizar(self)

        def forcar_e_anotar(wal):
            forcar(wal)
            texto = json.dumps({**self.forcado(), qual[0]: os.fstat(wal).st_size}).encode()
            self._caixa[:] = texto.ljust(4096, b"\0")

        M.arquivo.Arquivo.sincronizar, M.arquivo.forcar_ao_disco = sincronizar_sabendo, forcar_e_anotar

    def forcado(self) -> dict[str, int]:
        texto = self._caixa[:].rstrip(b"\0")
        return json.loads(texto) if texto else {}

    def restos(self, pasta: Path) -> list[str]:
        """Os bancos cujo WAL tem algo que ainda não foi forçado."""
        return [banco for banco in BANCOS if (wal := pasta / f"{banco}.db-wal").exists()
                and wal.stat().st_size > self.forcado().get(banco, 0)]

    def cortar(self, pasta: Path, bancos: list[str]) -> None:
        for banco in bancos:
            os.truncate(pasta / f"{banco}.db-wal", self.forcado().get(banco, 0))
