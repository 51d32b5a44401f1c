"""Os verbos das peças: iniciar, matar, parar, continuar, enviar, esperar, ler, publicar.

    loja = Loja(tmp_path, url).iniciar()          os quatro serviços, cada um no seu processo
    loja.enviar(pedido("p-1"))
    loja.matar("estoque"); loja.iniciar("estoque")
    loja.esperar_finais()
    loja.conferir_repouso()                       nada perdido, nada duas vezes, nada negativo

As contas de `conferir_repouso` não usam nada do projeto: o que o veredito diz e o que se
soma aqui, a partir do que foi enviado, têm de concordar.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pika
import pytest

from bloqueante import conectar, declarar
from conftest import PRAZO, RAIZ, carregar, esperar, modulos, vhost_novo

MICROSSERVICOS = RAIZ / "microsservicos"
SERVICOS = ("pedidos", "estoque", "pagamentos", "envio")
PRECOS = {"livro": 5000, "caneca": 2500, "teclado": 20000, "notebook": 450000}
INICIAL = {"produtos": {"livro": 100, "caneca": 50, "teclado": 10, "notebook": 2},
           "clientes": {"ana": 1000000, "bruno": 10000, "carla": 100000}}
CENARIOS = {  # cenário: (o pedido, como termina, por quê)
    "sucesso": (("ana", "livro", 2, "01310-100"), "concluido", None),
    "sem-estoque": (("ana", "notebook", 3, "01310-100"), "cancelado", "estoque insuficiente"),
    "pagamento-recusado": (("bruno", "teclado", 1, "20040-002"), "cancelado", "saldo insuficiente"),
    "envio-recusado": (("carla", "caneca", 1, "69900-062"), "cancelado", "CEP fora da área de entrega"),
}
FELIZ = ("pedido.criado", "estoque.reservado", "pagamento.aprovado", "envio.despachado")

_fechada = socket.socket()
_fechada.bind(("127.0.0.1", 0))  # reservada, e ninguém escuta nela: nem root a toma
SEM_BROKER = f"amqp://guest:guest@127.0.0.1:{_fechada.getsockname()[1]}/"

M = SimpleNamespace(**{arquivo.stem: carregar("microsservicos", arquivo.stem) for arquivo in modulos("microsservicos")})
MODULOS = {nome: getattr(M, f"servico_{nome}") for nome in SERVICOS}


def onde_espera(pasta: Path, id: str) -> list[str]:
    """Os lugares em que um pedido espera, para quem não perguntou ao broker."""
    return [onde for onde, *_ in M.rastro.esperas(*M.rastro.ler(pasta, [id]), None)]


def pedido(id: str, cliente: str = "ana", produto: str = "livro", quantidade: int = 2, cep: str = "01310-100", **mais) -> dict:
    itens = [{"produto": produto, "quantidade": quantidade}] + [{"produto": p, "quantidade": q} for p, q in mais.items()]
    return {"pedido": id, "cliente": cliente, "itens": itens, "cep": cep}


def cenario(nome: str, id: str = "p-1") -> dict:
    return pedido(id, *CENARIOS[nome][0])


def mistura(quantos: int, prefixo: str = "p") -> list[dict]:
    """Pedidos dos quatro cenários, alternados: metade tem de ser compensada."""
    nomes = list(CENARIOS)
    return [cenario(nomes[i % 4], f"{prefixo}-{i:05}") for i in range(quantos)]


def total(dados: dict) -> int:
    """O preço do pedido em centavos; 0 se algum produto não existe."""
    if any(item["produto"] not in PRECOS for item in dados["itens"]):
        return 0
    return sum(PRECOS[item["produto"]] * item["quantidade"] for item in dados["itens"])


def contas(pedidos, concluidos, inicial: dict = INICIAL) -> dict:
    """O que há em cada dono se destes pedidos só os `concluidos` (ids) se concluíram, somado aqui."""
    fim = {"produtos": dict(inicial["produtos"]), "clientes": dict(inicial["clientes"]), "envios": dict.fromkeys(concluidos, "despachado")}
    for dados in pedidos:
        if dados["pedido"] in concluidos:
            fim["clientes"][dados["cliente"]] -= total(dados)
            for item in dados["itens"]:
                fim["produtos"][item["produto"]] -= item["quantidade"]
    return fim


def na_memoria(tabelas: str) -> sqlite3.Connection:
    """Um banco que não tem arquivo nenhum."""
    banco = sqlite3.connect(":memory:", isolation_level=None, factory=M.banco.Banco)
    banco.executescript(tabelas)
    return banco


def banco_em_memoria(nome: str) -> sqlite3.Connection:
    """O banco de um serviço, com as linhas iniciais, sem arquivo nenhum."""
    return na_memoria(MODULOS[nome].TABELAS + ";" + M.servico.TABELAS)


# --- processos ---

class Programa:
    """Um script do projeto rodando, e o que ele já disse (as duas saídas juntas)."""

    def __init__(self, *comando, url: str, entrada: str | None = None, ambiente: dict | None = None, python=(sys.executable,),
                 terminal: int | None = None, pasta: Path = RAIZ):
        self._lido = b""
        variaveis = {**os.environ, "RABBITMQ_URL": url, "PYTHONIOENCODING": "utf-8", **(ambiente or {})}
        self.processo = subprocess.Popen(
            [*python, *map(str, comando)], env=variaveis, cwd=pasta, start_new_session=True,
            stdin=terminal or (subprocess.DEVNULL if entrada is None else subprocess.PIPE),
            stdout=terminal or subprocess.PIPE, stderr=terminal or subprocess.STDOUT)
        if terminal:
            os.close(terminal)
        self.pid = self.processo.pid
        self._leitor = threading.Thread(target=self._ler, daemon=True)
        self._leitor.start()
        if entrada is not None:
            self.processo.stdin.write(entrada.encode())
            self.processo.stdin.close()

    def _ler(self) -> None:
        while pedaco := self.processo.stdout.read1():
            self._lido += pedaco

    @property
    def texto(self) -> str:
        return self._lido.decode("utf-8", "replace").removesuffix("\n")

    @property
    def linhas(self) -> list[str]:
        return self.texto.split("\n") if self._lido else []

    def disse(self, trecho: str) -> bool:
        return trecho in self.texto

    def esperar_dizer(self, trecho: str, prazo: float = PRAZO) -> Programa:
        """Espera uma linha com `trecho`; falha logo se o programa acabar sem dizê-la."""
        esperar(lambda: self.disse(trecho) or self.acabou(), prazo, f"{trecho!r} na tela; o que há nela:\n{self.texto}")
        assert self.disse(trecho), f"acabou sem dizer {trecho!r}:\n{self.texto}"
        return self

    def vivo(self) -> bool:
        return self.processo.poll() is None

    def acabou(self) -> bool:
        """Se ele já não vive, e tudo o que disse foi lido."""
        return not self.vivo() and not self._leitor.is_alive()

    def sinal(self, qual: int) -> Programa:
        self.processo.send_signal(qual)
        return self

    def interromper(self) -> Programa:
        return self.sinal(signal.SIGINT)

    def encerrar(self) -> Programa:
        return self.sinal(signal.SIGTERM)

    def matar(self) -> None:
        """SIGKILL, e a certeza de que acabou."""
        self.processo.kill()
        self.fim()

    def fim(self, prazo: float = PRAZO) -> int:
        """Espera o programa acabar sozinho e devolve o status de saída."""
        try:
            self.processo.wait(prazo)
        except subprocess.TimeoutExpired:
            self.processo.kill()
            pytest.fail(f"passaram {prazo:g} s e o programa não acabou:\n{self.texto}")
        self._leitor.join(10)
        return self.processo.returncode

    def limpo(self) -> None:
        """Acabou sem traceback e sem cores."""
        assert "Traceback" not in self.texto and "\x1b" not in self.texto, self.texto


def rodar(script: str, *argumentos, url: str = SEM_BROKER, prazo: float = PRAZO, **opcoes) -> Programa:
    """Roda um script do projeto até ele acabar."""
    programa = Programa(RAIZ / script, *argumentos, url=url, **opcoes)
    programa.fim(prazo)
    return programa


def sem_poderes() -> tuple:
    """Como rodar o Python sem o poder do root de passar por cima das permissões; quem não é root já roda assim."""
    if os.geteuid():
        return (sys.executable,)
    poderes = "-dac_override,-dac_read_search"
    comando = ("setpriv", f"--bounding-set={poderes}", f"--inh-caps={poderes}")
    if not shutil.which("setpriv") or subprocess.run([*comando, "true"], capture_output=True).returncode:
        pytest.skip("para o root nenhuma permissão falta, e aqui não há setpriv que tire dele esse poder")
    return (*comando, sys.executable)


def processos() -> dict[int, tuple[int, list[bytes]]]:
    """Os que vivem: {pid: (o pai, o comando)}; um zumbi já acabou."""
    achados = {}
    for pasta in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            estado, pai = (pasta / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            if estado != "Z":
                achados[int(pasta.name)] = int(pai), (pasta / "cmdline").read_bytes().split(b"\0")
    return achados


def filhos(pid: int) -> list[int]:
    """Os processos que `pid` iniciou."""
    return [filho for filho, (pai, _) in processos().items() if pai == pid]


def existe(pid: int) -> bool:
    return pid in processos()


def processos_dos_dados(pasta: Path) -> list[int]:
    """Os programas vivos que trabalham sobre esta pasta de dados."""
    return [pid for pid, (_, comando) in processos().items() if str(pasta).encode() in comando]


# --- a loja ---

class Loja:
    """Os quatro serviços sobre uma pasta de dados e um vhost, e tudo o que já lhes foi pedido.

    dados: a pasta de --dados. url: o endereço AMQP. fartura: se há estoque e saldo de sobra.
    """

    def __init__(self, dados: Path, url: str, fartura: bool = False):
        self.dados, self.pasta, self.url = Path(dados), Path(dados) / "microsservicos", url
        self.programas: dict[str, list[Programa]] = {nome: [] for nome in SERVICOS}
        self.enviados: dict[str, dict] = {}
        self.inicial = json.loads(json.dumps(INICIAL))
        self._conexao = None
        for nome in SERVICOS:
            M.banco.abrir(self.pasta / f"{nome}.db", MODULOS[nome].TABELAS + ";" + M.servico.TABELAS, self.identidade()).close()
        if fartura:
            self.repor()

    def identidade(self) -> str:
        return M.identidade.identidade(self.pasta)

    @property
    def vhost(self) -> str:
        return self.url.rsplit("/", 1)[1]

    def repor(self, quanto: int = 10 ** 9) -> None:
        """O que um professor faria no sqlite3: o mesmo tanto nas duas colunas."""
        self.escrever("estoque", "UPDATE produtos SET inicial = inicial + ?, quantidade = quantidade + ? "
                      "WHERE produto <> 'notebook'", quanto, quanto)
        self.escrever("pagamentos", "UPDATE clientes SET inicial = inicial + ?, saldo = saldo + ? "
                      "WHERE cliente <> 'bruno'", quanto, quanto)
        for tabela, fora in (("produtos", "notebook"), ("clientes", "bruno")):
            for nome in self.inicial[tabela]:
                self.inicial[tabela][nome] += quanto * (nome != fora)

    # processos

    def iniciar(self, *nomes: str, **opcoes) -> Loja:
        """Inicia os serviços (todos, se nenhum é dito) e espera que cada um ouça a sua fila."""
        try:
            for programa in [self.lancar(nome, **opcoes) for nome in nomes or SERVICOS]:
                programa.esperar_dizer(": pronto")
        except BaseException:  # numa fixture, ou com um Ctrl-C, ninguém mais os encerraria
            self.matar()
            raise
        return self

    def lancar(self, nome: str, *argumentos, **opcoes) -> Programa:
        """Inicia um serviço sem esperar por nada."""
        extra = [] if nome != "pedidos" or argumentos else ["--sem-pedido"]
        programa = Programa(MICROSSERVICOS / f"servico_{nome}.py", "--dados", self.dados, *extra, *argumentos,
                            url=self.url, **opcoes)
        self.programas[nome].append(programa)
        return programa

    def matar(self, *nomes: str) -> None:
        for nome in nomes or SERVICOS:
            for programa in self.programas[nome]:
                programa.matar()
            self.programas[nome].clear()

    def encerrar(self, *nomes: str) -> None:
        """SIGTERM, como um administrador faria; o fim é calmo."""
        for nome in nomes or SERVICOS:
            for programa in self.programas[nome]:
                programa.encerrar()
        for nome in nomes or SERVICOS:
            for programa in self.programas[nome]:
                assert programa.fim() == 0, programa.texto
            self.programas[nome].clear()

    def suspender(self, nome: str) -> None:
        for programa in self.programas[nome]:
            programa.sinal(signal.SIGSTOP)

    def continuar(self, nome: str) -> None:
        for programa in self.programas[nome]:
            programa.sinal(signal.SIGCONT)

    def tela(self, nome: str) -> str:
        return "\n".join(programa.texto for programa in self.programas[nome])

    # pedidos

    def enviar(self, *pedidos: dict) -> None:
        """Entrega os pedidos à porta de entrada, numa transação só."""
        pedidos = [M.loja.validar(p) for p in pedidos]
        with closing(M.banco.abrir(self.pasta / "pedidos.db", "")) as banco:
            M.servico_pedidos.entrar_na_saga(banco, M.servico_pedidos.receber, pedidos)
        for novo in pedidos:
            self.enviados.setdefault(novo["pedido"], novo)

    def cancelar(self, *ids: str) -> None:
        with closing(M.banco.abrir(self.pasta / "pedidos.db", "")) as banco:
            M.servico_pedidos.entrar_na_saga(banco, M.servico_pedidos.solicitar_cancelamento, ids)

    def pendentes(self) -> int:
        return self.consultar("pedidos", "SELECT count(*) FROM pedidos WHERE estado = 'pendente'")[0][0]

    def esperar_um_pouco(self, quantos: int) -> None:
        """Espera que `quantos` dos pendentes terminem, ou todos, se já eram menos."""
        meta = max(self.pendentes() - quantos, 0)
        esperar(lambda: self.pendentes() <= meta, que="um pouco de trabalho")

    def esperar_finais(self, prazo: float = PRAZO) -> Loja:
        """Se não terminam, diz onde esperam, e o que cada serviço disse por último."""
        with suppress(pytest.fail.Exception):
            esperar(lambda: not self.pendentes(), prazo)
            return self
        parados = self.consultar("pedidos", "SELECT pedido FROM pedidos WHERE estado = 'pendente' LIMIT 5")
        ditas = [f"{nome}: {programa.linhas[-3:]}" for nome in SERVICOS for programa in self.programas[nome]]
        pytest.fail("\n".join([f"passaram {prazo:g} s", *(f"{id}: {onde_espera(self.pasta, id)}" for id, in parados), *ditas]))

    def resultado(self, id: str) -> tuple:
        """(estado, motivo) de um pedido."""
        return self.consultar("pedidos", "SELECT estado, motivo FROM pedidos WHERE pedido = ?", id)[0]

    # bancos

    def consultar(self, nome: str, sql: str, *valores) -> list[tuple]:
        with closing(sqlite3.connect(self.pasta / f"{nome}.db", timeout=30)) as banco:
            return banco.execute(sql, valores).fetchall()

    def escrever(self, nome: str, sql: str, *valores) -> None:
        with closing(sqlite3.connect(self.pasta / f"{nome}.db", timeout=30, isolation_level=None)) as banco:
            banco.execute(sql, valores)

    def a_enviar(self, nome: str) -> int:
        """Quantos eventos da caixa de saída ainda não foram ao broker."""
        return self.consultar(nome, "SELECT count(*) FROM caixa_saida WHERE enviado = 0")[0][0]

    def tratou(self, nome: str, mensagem: str) -> bool:
        """Se a mensagem já está na caixa de entrada do serviço."""
        return bool(self.consultar(nome, "SELECT 1 FROM caixa_entrada WHERE mensagem = ?", mensagem))

    def esperar_tratar(self, nome: str, *mensagens: str, prazo: float = PRAZO) -> None:
        for mensagem in mensagens:
            esperar(lambda: self.tratou(nome, mensagem), prazo, f"{nome} tratar {mensagem}")

    def quebrar(self, nome: str, tabela: str, id: str) -> None:
        """Faz o serviço falhar em todo evento do pedido `id`: um gatilho recusa a escrita dele."""
        self.escrever(nome, f"CREATE TRIGGER quebrado BEFORE INSERT ON {tabela} WHEN NEW.pedido = '{id}' "
                      "BEGIN SELECT RAISE(ABORT, 'quebrado de propósito'); END")

    def consertar(self, nome: str) -> None:
        self.escrever(nome, "DROP TRIGGER quebrado")

    # mensagens

    @contextmanager
    def canal(self):
        """Um canal do pika, com as filas já declaradas; a conexão é uma só, enquanto durar."""
        try:
            canal = self._conexao.channel()
        except (AttributeError, pika.exceptions.AMQPError):
            declarar(self.url, self.identidade())
            self._conexao = conectar(self.url, heartbeat=0)  # o teste passa muito tempo sem falar com o broker
            canal = self._conexao.channel()
        try:
            yield canal
        finally:
            with suppress(pika.exceptions.AMQPError):  # a peça pode ter fechado o canal, ou matado o broker
                canal.close()

    def publicar(self, tipo: str, dados, **trocas) -> None:
        """Publica um evento no exchange, como quem manda; `trocas` troca propriedades (None: tira)."""
        self.publicar_crua(tipo, dados if isinstance(dados, bytes) else json.dumps(dados).encode(),
                           **{**propriedades(tipo, dados), **trocas})

    def publicar_crua(self, rota: str, corpo: bytes, exchange: str = "loja", vezes: int = 1, **props) -> None:
        with self.canal() as canal:
            canal.confirm_delivery()
            for _ in range(vezes):
                canal.basic_publish(exchange, rota, corpo, pika.BasicProperties(**props), mandatory=True)

    def profundidade(self, *filas: str) -> int:
        """Quantas mensagens esperam nas filas (as dos quatro serviços, se nenhuma é dita)."""
        with self.canal() as canal:
            return sum(canal.queue_declare(fila, passive=True).method.message_count for fila in filas or SERVICOS)

    def ouvintes(self, fila: str) -> int:
        with self.canal() as canal:
            return canal.queue_declare(fila, passive=True).method.consumer_count

    def existe(self, fila: str) -> bool:
        """Se há a fila, sem a declarar por conta do teste."""
        try:
            return self.ouvintes(fila) >= 0
        except pika.exceptions.ChannelClosedByBroker:
            return False

    def entregas(self, fila: str) -> int:
        """Quantas vezes a próxima mensagem da fila já foi entregue e voltou; espiar também conta."""
        with self.canal() as canal:
            metodo, p, _ = canal.basic_get(fila)
            return 0 if metodo is None else (p.headers or {}).get("x-delivery-count", 0)

    def mortas(self, nome: str) -> list[tuple[bytes, pika.BasicProperties]]:
        """O que há em NOME.mortas, sem tirar de lá."""
        with self.canal() as canal:
            lidas = iter(lambda: canal.basic_get(f"{nome}.mortas"), (None, None, None))
            return [(corpo, props) for _, props, corpo in lidas]

    def esperar_morta(self, nome: str, quantas: int = 1, prazo: float = PRAZO) -> list:
        esperar(lambda: self.profundidade(f"{nome}.mortas") >= quantas, prazo, f"{quantas} em {nome}.mortas")
        return self.mortas(nome)

    # o fim da peça

    def conferir_repouso(self, mortas: int = 0) -> None:
        """Tudo parado e certo: nada perdido, nada duas vezes, nada negativo, nada esquecido no caminho.

        mortas: quantas mensagens mortas esta peça produziu de propósito.
        """
        self.esperar_finais()
        for nome in SERVICOS:
            esperar(lambda: not self.consultar(nome, "SELECT 1 FROM caixa_saida WHERE enviado = 0 UNION ALL SELECT 1 FROM tentativas"), 30,
                    f"{nome} publicar o que deve")
        esperar(lambda: not self.profundidade(), que="as filas esvaziarem")
        # As que este teste acabou de ler sem tirar ainda podem estar voltando à fila.
        filas = [f"{nome}.mortas" for nome in SERVICOS]
        esperar(lambda: self.profundidade(*filas) == mortas, que=f"haver {mortas} mensagens mortas")
        self.conferir_contas()

    def conferir_contas(self) -> None:
        """As promessas do contrato, pelo veredito e por uma soma independente do que foi enviado."""
        violadas = {nome: linhas for nome, linhas in M.veredito.violacoes(self.pasta).items() if linhas}
        assert not violadas, violadas
        estado = M.veredito.estado(self.pasta)
        assert set(estado["pedidos"]) == set(self.enviados), "um pedido se perdeu, ou apareceu do nada"
        for id, fim in estado["pedidos"].items():
            assert fim["estado"] in ("concluido", "cancelado") and fim["total"] == total(self.enviados[id]), (id, fim)
            assert (fim["motivo"] is None) == (fim["estado"] == "concluido"), (id, fim)
        concluidos = {id for id, fim in estado["pedidos"].items() if fim["estado"] == "concluido"}
        certas = contas(self.enviados.values(), concluidos, self.inicial)
        assert {dono: estado[dono] for dono in certas} == certas
        assert min(*estado["produtos"].values(), *estado["clientes"].values()) >= 0
        for nome, tipo in zip(("estoque", "pagamentos", "envio", "pedidos"), FELIZ):
            tratados = {m for m, in self.consultar(nome, "SELECT mensagem FROM caixa_entrada")}
            assert {f"{id}:{tipo}" for id in concluidos} <= tratados, f"{nome} não tratou tudo o que acabou bem"

    def limpa(self) -> bool:
        """Se outro teste pode usar esta loja: nada pendente, nada nas mortas, e os quatro de pé."""
        with self.canal() as canal:
            for nome in SERVICOS:
                canal.queue_purge(f"{nome}.mortas")
        vivos = all(len(ps) == 1 and ps[0].vivo() for ps in self.programas.values())
        return vivos and not self.pendentes() and not any(self.consultar(nome, "SELECT 1 FROM tentativas") for nome in SERVICOS)

    def fechar(self) -> None:
        """Nenhum processo fica; SIGKILL serve, porque a peça já acabou."""
        self.matar()
        if self._conexao and self._conexao.is_open:
            with suppress(pika.exceptions.AMQPError):  # se o broker foi derrubado, ela já não existe
                self._conexao.close()


def propriedades(tipo: str, dados) -> dict:
    """As propriedades que o contrato manda, escritas à parte das do projeto."""
    dono = {"pedido": "pedidos", "estoque": "estoque", "pagamento": "pagamentos", "envio": "envio"}[tipo.split(".")[0]]
    id = dados.get("pedido") if isinstance(dados, dict) else "x"
    return {"content_type": "application/json", "delivery_mode": 2, "correlation_id": id, "message_id": f"{id}:{tipo}",
            "type": tipo, "app_id": dono, "timestamp": 1700000000, "headers": {"causa": None, "versao": 1}}


class Porta:
    """Uma porta desta máquina que leva a outra, e que se abre, se corta e se fecha como uma rede ruim."""

    def __init__(self, destino: int):
        self.destino = destino
        self._entrada = socket.create_server(("127.0.0.1", 0))
        self.numero = self._entrada.getsockname()[1]
        self._ligacoes: list[socket.socket] = []
        self.respostas: list[int] = []  # para cada ligação nova: quantas respostas passam antes de ela cair
        self.deixa_ir = threading.Event()  # apagado, o que se manda fica retido aqui, sem ninguém ficar sabendo
        self.deixa_ir.set()
        self.cortar()

    def abrir(self) -> None:
        self._entrada = socket.create_server(("127.0.0.1", self.numero))
        threading.Thread(target=self._atender, args=(self._entrada,), daemon=True).start()

    def cortar(self) -> None:
        """Derruba o que está passando; quem tentar de novo encontra a porta fechada."""
        self._desligar(self._entrada, *self._ligacoes)
        self._ligacoes.clear()
        self.deixa_ir.set()

    def _atender(self, entrada: socket.socket) -> None:
        with suppress(OSError):
            while True:
                de_fora = entrada.accept()[0]
                para_dentro = socket.create_connection(("127.0.0.1", self.destino))
                self._ligacoes += [de_fora, para_dentro]
                passam = self.respostas.pop(0) if self.respostas else None
                for de, para, quantos in ((de_fora, para_dentro, None), (para_dentro, de_fora, passam)):
                    threading.Thread(target=self._levar, args=(de, para, quantos), daemon=True).start()

    def _levar(self, de: socket.socket, para: socket.socket, quantos: int | None) -> None:
        """Leva o que chega, sem fim ou só `quantos` pedaços."""
        with suppress(OSError):
            while quantos != 0 and (pedaco := de.recv(65536)):
                if para.getpeername()[1] == self.destino:
                    self.deixa_ir.wait()
                para.sendall(pedaco)
                quantos = quantos and quantos - 1
        self._desligar(de, para)

    @staticmethod
    def _desligar(*sockets: socket.socket) -> None:
        for um in sockets:
            with suppress(OSError):
                um.shutdown(socket.SHUT_RDWR)
            um.close()


# --- para quem importa estes nomes como fixtures ---

@pytest.fixture
def loja(tmp_path, url):
    """Uma loja só deste teste, ainda sem nenhum serviço ligado."""
    loja = Loja(tmp_path / "dados", url)
    yield loja
    loja.fechar()


@pytest.fixture(scope="module")
def loja_do_arquivo(broker, tmp_path_factory):
    """A loja que os testes de um arquivo dividem: uma lista com ela, ou vazia enquanto não há."""
    abertas: list[Loja] = []
    yield abertas
    for loja in abertas:
        loja.fechar()


@pytest.fixture
def loja_aberta(loja_do_arquivo, broker, tmp_path_factory):
    """Os quatro serviços ligados o tempo todo, com fartura; quem a deixa suja não atrapalha o teste seguinte."""
    if not loja_do_arquivo:
        url = f"amqp://guest:guest@127.0.0.1:{broker.porta}/{vhost_novo(broker)}"
        loja_do_arquivo.append(Loja(tmp_path_factory.mktemp("loja") / "dados", url, fartura=True).iniciar())
    [loja] = loja_do_arquivo
    yield loja
    if not loja.limpa():
        loja.fechar()
        loja_do_arquivo.clear()


def linhas_largas(texto: str) -> list[str]:
    """As linhas que não cabem em 80 colunas."""
    return [linha for linha in re.split(r"[\r\n]", texto) if len(linha) > 80]
