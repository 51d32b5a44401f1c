"""Os nós dos testes: um nó privado que se mata, se suspende e se configura; e um cluster de verdade deles."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import quote

from conftest import carregar, esperar, processos_do_no

instalacao = carregar("microsservicos", "configuracao")
modulo = carregar("microsservicos", "no")
PRAZO = 120.0  # segundos para os nós se encontrarem; medido: 20 com três nós em 2 núcleos


def responde(porta: int, maquina: str = "127.0.0.1") -> bool:
    """Se um broker AMQP responde ali: ao cabeçalho, o quadro Connection.Start (AMQP 0-9-1, seção 4.2.2)."""
    with suppress(OSError), socket.create_connection((maquina, porta), timeout=2) as conexao:
        conexao.sendall(b"AMQP\x00\x00\x09\x01")
        with conexao.makefile("rb") as chegando:
            return chegando.read(11)[7:] == b"\x00\x0a\x00\x0a"
    return False


class No(modulo.NoPrivado):
    """Um nó de teste, sem página. Os argumentos de NoPrivado, e:

    familia: "loja" para ver de fora o que um lançador ligou (o lançador recusa o de outra pasta).
    conf: mais linhas de rabbitmq.conf, {chave: valor}.
    cookie, epmd: num cluster, o segredo comum e a porta do epmd comum.
    """

    def __init__(self, pasta, porta=None, *args, familia="teste", pagina=False, conf=None,
                 cookie=None, epmd=None):
        self.familia, self.pagina = familia, pagina
        self.conf, self.cookie, self.epmd = conf or {}, cookie, epmd
        super().__init__(pasta, porta or instalacao.porta_livre(), *args)

    @property
    def url(self) -> str:
        """O endereço para RABBITMQ_URL ou pika.URLParameters."""
        usuario, senha, vhost = (quote(parte, safe="") for parte in (self.usuario, self.senha, self.vhost))
        return f"amqp://{usuario}:{senha}@127.0.0.1:{self.porta}/{vhost}"

    @property
    def pid(self) -> int | None:
        """O processo da máquina virtual Erlang, ou None."""
        return next((pid for pid, comando in processos_do_no(self).items() if "beam" in comando.partition(" ")[0]), None)

    def responde(self) -> bool:
        return responde(self.porta)

    def configurar(self) -> int:
        if self.cookie:
            self._gravar(".erlang.cookie", self.cookie)
        do_no = super().configurar()
        if not self.pagina:
            self._gravar("plugins", "[].\n")
        self._gravar("rabbitmq.conf", self._ler("rabbitmq.conf") + "\n"
                     + "".join(f"{chave} = {valor}\n" for chave, valor in self.conf.items()))
        return self.epmd or do_no

    def iniciar(self) -> No:
        assert self.usar(), "outro broker na porta deste"
        return self

    parar = modulo.NoPrivado.largar

    def matar(self) -> None:
        """SIGKILL em tudo o que é do nó: uma queda, ou a limpeza do fim de um teste."""
        for pid in processos_do_no(self):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        esperar(lambda: not self.vivo(), que="o fim do nó")


def rabbitmqctl(no, *argumentos: str) -> str:
    """Roda o `rabbitmqctl` contra o nó e devolve o que ele disse; falha se ele falha."""
    resposta = subprocess.run(["sh", no.pasta / "rabbitmqctl", "--quiet", *argumentos], capture_output=True, text=True,
                              errors="replace", timeout=120)
    assert resposta.returncode == 0, resposta.stdout + resposta.stderr
    return resposta.stdout


class Cluster:
    """`n` nós com o mesmo cookie e um epmd comum; cada um liga, para, morre e volta sozinho.

        with Cluster(tmp_path) as cluster:
            cluster.nos[0].matar()
            ... cluster.url ...            # todos os endereços, separados por vírgula
            cluster.nos[0].iniciar()
    """

    def __init__(self, pasta, n: int = 3):
        pasta.mkdir(parents=True, exist_ok=True)
        porta = instalacao.porta_livre()
        self.epmd = subprocess.Popen(["epmd", "-port", str(porta), "-address", "127.0.0.1"], cwd=pasta)
        portas = {}
        while len(portas) < n:
            portas[instalacao.porta_livre()] = None
        # Manual: "Cluster Formation", "Config File Peer Discovery Backend".
        conf = {"cluster_formation.peer_discovery_backend": "classic_config",
                **{f"cluster_formation.classic_config.nodes.{ordem}": f"teste-{de}@localhost"
                   for ordem, de in enumerate(portas, 1)}}
        if instalacao.numeros(instalacao.versao_instalada(instalacao.localizar_rabbitmq())) >= (4, 3):
            # Sem isto, o 4.3 espera um minuto pelos ouvintes de um nó que morreu.
            conf["consumer_disconnected_timeout"] = 1000
        self.nos = [No(pasta, de, conf=conf, cookie="um-segredo-so-para-o-cluster", epmd=porta) for de in portas]

    @property
    def url(self) -> str:
        return ",".join(no.url for no in self.nos)

    def iniciar(self) -> Cluster:
        """Liga todos ao mesmo tempo (um nó espera pelos vizinhos) e espera que se vejam."""
        try:
            with ThreadPoolExecutor(len(self.nos)) as todos:
                list(todos.map(No.iniciar, self.nos))
            esperar(lambda: len(self.ativos()) == len(self.nos), PRAZO, f"o cluster com {len(self.nos)} nós")
        except BaseException:
            self.parar()
            raise
        return self

    def ativos(self) -> list[str]:
        """Os nós que o primeiro nó vivo vê ligados no cluster."""
        vivo = next(no for no in self.nos if no.responde())
        return json.loads(rabbitmqctl(vivo, "cluster_status", "--formatter", "json"))["running_nodes"]

    def parar(self) -> None:
        """Desliga todos, sem esperar um pelo outro, e o epmd comum."""
        with ThreadPoolExecutor(len(self.nos)) as todos:
            list(todos.map(No.parar, self.nos))
        self.epmd.terminate()
        self.epmd.wait()

    __enter__ = iniciar

    def __exit__(self, *_):
        self.parar()
