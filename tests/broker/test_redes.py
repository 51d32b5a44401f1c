"""Cada serviço na sua máquina, até onde uma máquina deixa: um espaço de rede para cada um, e um cabo que se corta.

Os espaços de rede (network namespaces do Linux) têm endereço, rotas e conexões próprios; só uma ponte os liga ao
RabbitMQ. Cabo cortado é silêncio: ninguém recebe um RST nem um FIN, os pacotes somem. Pede root e o `ip`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from conftest import esperar
from verbos import SERVICOS, Loja, mistura

pytestmark = pytest.mark.longo

PRAZO_DA_PERCEPCAO = 40  # segundos; o heartbeat é de 10, e o pika o confere a cada 15


def ip(*argumentos: str) -> None:
    subprocess.run(["ip", *argumentos], check=True, capture_output=True, text=True)


class Redes:
    """Uma ponte nesta máquina, e um espaço de rede por serviço, cada um ligado a ela por um cabo."""

    def __init__(self):
        self.marca = f"lj{os.getpid() % 100000}"  # um nome de interface tem até 15 letras
        self.prefixo = f"10.213.{os.getpid() % 250}"
        self.endereco = f"{self.prefixo}.1"

    def criar(self) -> Redes:
        ip("link", "add", self.marca, "type", "bridge")
        ip("addr", "add", f"{self.endereco}/24", "dev", self.marca)
        ip("link", "set", self.marca, "up")
        for n, servico in enumerate(SERVICOS, 2):
            espaco, cabo = self.espaco(servico), self.cabo(servico)
            ip("netns", "add", espaco)
            ip("link", "add", cabo, "type", "veth", "peer", "name", "eth0", "netns", espaco)
            ip("link", "set", cabo, "master", self.marca, "up")
            ip("-n", espaco, "addr", "add", f"{self.prefixo}.{n}/24", "dev", "eth0")
            for interface in ("eth0", "lo"):  # o pika acorda a si mesmo pelo loopback
                ip("-n", espaco, "link", "set", interface, "up")
        return self

    def espaco(self, servico: str) -> str:
        return f"{self.marca}-{servico}"

    def cabo(self, servico: str) -> str:
        return f"{self.marca}c{SERVICOS.index(servico)}"

    def cortar(self, servico: str) -> None:
        ip("link", "set", self.cabo(servico), "down")

    def religar(self, servico: str) -> None:
        ip("link", "set", self.cabo(servico), "up")

    def desfazer(self) -> None:
        for servico in SERVICOS:
            subprocess.run(["ip", "netns", "del", self.espaco(servico)], capture_output=True)
            subprocess.run(["ip", "link", "del", self.cabo(servico)], capture_output=True)
        subprocess.run(["ip", "link", "del", self.marca], capture_output=True)


@pytest.fixture
def redes():
    if not hasattr(os, "geteuid") or os.geteuid() or not shutil.which("ip"):
        pytest.skip("criar espaços de rede pede root, Linux e o comando ip (iproute2)")
    redes = Redes()
    try:
        yield redes.criar()
    except subprocess.CalledProcessError as erro:
        pytest.skip(f"esta máquina não deixa criar espaços de rede: {erro.stderr.strip()}")
    finally:
        redes.desfazer()


@pytest.fixture
def loja_em_rede(redes, no_novo, tmp_path):
    """Os quatro serviços, cada um no seu espaço; o RabbitMQ ouve também na ponte (guest, de fora, não entraria)."""
    no = no_novo(tmp_path / "rabbitmq", None, "loja", "segredo")
    no.conf["listeners.tcp.rede"] = f"{redes.endereco}:{no.porta}"
    no.iniciar()
    loja = Loja(tmp_path / "dados", no.url.replace("127.0.0.1", redes.endereco), fartura=True)
    try:
        for servico in SERVICOS:
            loja.lancar(servico, python=("ip", "netns", "exec", redes.espaco(servico), sys.executable))
        for servico in SERVICOS:
            loja.programas[servico][0].esperar_dizer(": pronto")
        yield loja
    finally:
        loja.fechar()
        no.parar()


def trabalhar_e_cortar(loja: Loja, redes: Redes, servico: str) -> None:
    """Corta o cabo do serviço com pedidos a meio caminho, e os outros continuam a receber.

    A metade dos pedidos passa por Envio, suspenso até depois do corte: por mais rápidos que
    os outros sejam, essa metade não termina antes.
    """
    loja.suspender("envio")
    loja.enviar(*mistura(2000, f"{servico}-antes"))
    loja.esperar_um_pouco(100)
    redes.cortar(servico)
    loja.enviar(*mistura(400, f"{servico}-depois"))
    assert loja.pendentes() >= 1000 + 400
    loja.continuar("envio")


@pytest.mark.parametrize("servico", ["pagamentos", "pedidos"])
def test_um_corte_curto_nem_e_notado_e_num_longo_o_servico_percebe_diz_uma_linha_e_retoma_sozinho(loja_em_rede, redes, servico):
    trabalhar_e_cortar(loja_em_rede, redes, "estoque")
    for dono in ("pagamentos", "envio"):
        esperar(lambda: not loja_em_rede.profundidade(dono), que=f"{dono} fazer o que já tinha chegado")
    redes.religar("estoque")  # o TCP guarda e reenvia; nenhuma conexão cai
    loja_em_rede.conferir_repouso()
    trabalhar_e_cortar(loja_em_rede, redes, servico)
    cortado = loja_em_rede.programas[servico][0]
    inicio = time.monotonic()
    cortado.esperar_dizer("não responde", PRAZO_DA_PERCEPCAO)
    percebeu = time.monotonic() - inicio
    assert loja_em_rede.pendentes(), "um serviço cortado não poderia ter terminado tudo"
    redes.religar(servico)
    inicio = time.monotonic()
    loja_em_rede.conferir_repouso()
    print(f"cabo de {servico} cortado: percebeu em {percebeu:.0f} s; religado, terminou tudo em {time.monotonic() - inicio:.0f} s")
    assert len(loja_em_rede.enviados) == 2 * 2400
    for nome in SERVICOS:
        [programa] = loja_em_rede.programas[nome]
        assert programa.texto.count("continuo tentando") == (nome == servico), programa.texto
        assert programa.texto.count(": pronto") == 1 + (nome == servico) and programa.vivo(), programa.texto
        programa.limpo()


def test_cabos_cortados_um_depois_do_outro_sem_parar_de_receber_pedidos(loja_em_rede, redes):
    for rodada, servico in enumerate(SERVICOS):
        loja_em_rede.enviar(*mistura(500, f"r{rodada}"))
        loja_em_rede.esperar_um_pouco(100)
        redes.cortar(servico)
        loja_em_rede.enviar(*mistura(300, f"c{rodada}"))
        outro = SERVICOS[(rodada + 1) % 4]
        loja_em_rede.matar(outro)
        loja_em_rede.lancar(outro, python=("ip", "netns", "exec", redes.espaco(outro), sys.executable))
        loja_em_rede.programas[outro][0].esperar_dizer(": pronto")
        redes.religar(servico)
    loja_em_rede.conferir_repouso()
    assert len(loja_em_rede.enviados) == 4 * 800
