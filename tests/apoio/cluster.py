"""Um cluster de verdade numa máquina só, para os testes que derrubam um nó e continuam nos outros."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conftest import carregar, esperar

PRAZO = 120.0  # segundos para os nós se encontrarem; medido: 20 com três nós em 2 núcleos


def rabbitmqctl(no, *argumentos: str) -> str:
    """Roda o `rabbitmqctl` contra o nó e devolve o que ele disse; falha se ele falha."""
    servidor = carregar("microsservicos", "instalacao").localizar_rabbitmq()
    ambiente = carregar("microsservicos", "configuracao").ambiente(servidor, no.pasta, no.nome, no.anotado()["epmd_porta"])
    resposta = subprocess.run([servidor.with_name("rabbitmqctl"), "--quiet", *argumentos], cwd=no.pasta, env=ambiente,
                              capture_output=True, text=True, timeout=60)
    assert resposta.returncode == 0, resposta.stdout + resposta.stderr
    return resposta.stdout


class Cluster:
    """`n` nós com o mesmo cookie e um epmd comum; cada um liga, para, morre e volta sozinho.

        with Cluster(tmp_path) as cluster:
            cluster.nos[0].matar()
            ... cluster.url ...            # todos os endereços, separados por vírgula
            cluster.nos[0].iniciar()
    """

    def __init__(self, pasta, n: int = 3, **opcoes):
        instalacao, modulo = carregar("microsservicos", "instalacao"), carregar("microsservicos", "no")
        Path(pasta).mkdir(parents=True, exist_ok=True)
        self.epmd, epmd_porta = instalacao.ligar_epmd(pasta)
        portas: list[int] = []
        while len(portas) < n:
            portas.append(instalacao.porta_livre())
            portas = list(dict.fromkeys(portas))
        nomes = [f"loja-{porta}@localhost" for porta in portas]
        versao = instalacao.versao_instalada(instalacao.localizar_rabbitmq()) or "0"
        if instalacao.numeros(versao) >= (4, 3):
            # Sem isto, o 4.3 espera um minuto pelos ouvintes de um nó que morreu.
            opcoes.setdefault("configuracao_extra", {})["consumer_disconnected_timeout"] = 1000
        self.nos = [modulo.NoPrivado(pasta, porta, pagina=False, cookie="um-segredo-so-para-o-cluster",
                                     epmd_porta=epmd_porta, vizinhos=nomes, **opcoes) for porta in portas]

    @property
    def url(self) -> str:
        return ",".join(no.url for no in self.nos)

    def iniciar(self) -> Cluster:
        """Liga todos ao mesmo tempo (um nó espera pelos vizinhos) e espera que se vejam."""
        try:
            with ThreadPoolExecutor(len(self.nos)) as todos:
                list(todos.map(lambda no: no.iniciar(PRAZO), self.nos))
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
            list(todos.map(lambda no: no.parar(), self.nos))
        self.epmd.terminate()
        self.epmd.wait()

    __enter__ = iniciar

    def __exit__(self, *_):
        self.parar()
