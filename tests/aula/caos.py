"""Caos com semente: milhares de pedidos nas filas enquanto tudo é derrubado, e as contas no fim.

    python tests/aula/caos.py --segundos 60 --semente 7

A mesma semente planeja as mesmas falhas nos mesmos instantes: um plano que achou um defeito
pode ser rodado de novo (o que o sistema operacional faz entre dois instantes, não). No fim,
com tudo de pé: todo pedido terminado, as promessas do contrato conferidas nos bancos, e nas
filas de mensagens mortas todos os venenos e nada mais.

    matar / iniciar          kill -9 num serviço, e outro no lugar depois
    suspender / continuar    SIGSTOP e SIGCONT: um processo que para no meio de qualquer coisa
    copiar                   uma segunda cópia do serviço, ao mesmo tempo
    desconectar              o broker fecha todas as conexões
    derrubar, reiniciar      o broker, por SIGKILL ou com calma, e de novo
    repetir                  mensagens de verdade publicadas outra vez
    envenenar                uma mensagem que ninguém entende, na fila de um serviço
    cancelar                 um pedido qualquer, a qualquer hora
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pika

TESTES = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTES), str(TESTES / "apoio")]

from cluster import No, rabbitmqctl
from conftest import esperar
from verbos import M, SERVICOS, Loja, mistura

FALHAS = {"matar": 8, "suspender": 4, "copiar": 2, "desconectar": 2, "derrubar": 1, "reiniciar": 1,
          "repetir": 4, "envenenar": 4, "cancelar": 4}  # quanto maior, mais vezes


def planejar(semente: int, segundos: float) -> list[tuple[float, str, str]]:
    """O que fazer e quando: [(instante, falha, serviço), ...]; depende só dos argumentos."""
    sorte, plano, agora = random.Random(semente), [], 0.5
    # Cada falha ao menos uma vez, numa ordem sorteada; depois, ao acaso.
    fila = sorte.sample(list(FALHAS), len(FALHAS))
    while agora < segundos or fila:
        falha = fila.pop() if fila else sorte.choices(list(FALHAS), list(FALHAS.values()))[0]
        servico = sorte.choice(SERVICOS)
        plano.append((round(agora, 3), falha, servico))
        desfaz = {"matar": "iniciar", "suspender": "continuar", "copiar": "matar"}.get(falha)
        if desfaz:
            plano.append((round(agora + sorte.uniform(0.2, 1.5), 3), desfaz, servico))
            if desfaz == "matar":
                plano.append((plano[-1][0] + 0.1, "iniciar", servico))
        agora += sorte.uniform(0.2, 1.2)
    return sorted(plano)


def impressao(plano: list) -> str:
    """Oito letras que só são iguais se os planos são iguais."""
    return hashlib.sha256(repr(plano).encode()).hexdigest()[:8]


class Caos:
    """A loja sob um plano de falhas.

    loja: já com os serviços de pé. no: o No dela. sorte: de onde saem as escolhas miúdas.
    """

    def __init__(self, loja: Loja, no, semente: int):
        self.loja, self.no, self.sorte = loja, no, random.Random(semente)
        self.feitas: Counter = Counter()
        self.venenos: set[tuple[str, str]] = set()
        self.matar, self.suspender, self.continuar = loja.matar, loja.suspender, loja.continuar
        self.copiar = loja.lancar

    def rodar(self, plano: list[tuple[float, str, str]]) -> None:
        inicio = time.monotonic()
        for instante, falha, servico in plano:
            time.sleep(max(0.0, inicio + instante - time.monotonic()))
            getattr(self, falha)(servico)
            self.feitas[falha] += 1

    # --- serviços ---

    def iniciar(self, servico: str) -> None:
        if not self.loja.programas[servico]:
            self.loja.lancar(servico)

    # --- broker ---

    def desconectar(self, _: str) -> None:
        rabbitmqctl(self.no, "close_all_connections", "caos")

    def derrubar(self, _: str) -> None:
        self.no.matar()
        self.no.iniciar()

    def reiniciar(self, _: str) -> None:
        self.no.parar()
        self.no.iniciar()

    # --- mensagens ---

    def repetir(self, servico: str) -> None:
        """Espia mensagens de verdade na fila do serviço, sem tirá-las, e as publica outra vez."""
        def publicar_de_novo():
            with self.loja.canal() as canal:
                vistas = [canal.basic_get(servico) for _ in range(self.sorte.randint(1, 20))]
                for metodo, propriedades, corpo in vistas:
                    if metodo is not None and propriedades.type:
                        canal.basic_publish("loja", propriedades.type, corpo, propriedades)
                        self.feitas["mensagens repetidas"] += 1
        self._insistir(publicar_de_novo)

    def envenenar(self, servico: str) -> None:
        id = f"veneno-{len(self.venenos)}"
        corpo = self.sorte.choice([b"\xff\x00", b"{", b"[]", b'{"pedido": 1}', b"null",
                                   b"9" * 5000])
        self._insistir(lambda: self.loja.publicar_crua(servico, corpo, exchange="", message_id=id,
                                                       delivery_mode=2))
        self.venenos.add((servico, id))

    def cancelar(self, _: str) -> None:
        with suppress(M.falha.Falha):  # um Pedidos suspenso no meio de uma transação segura o banco
            self.loja.cancelar(self.sorte.choice(list(self.loja.enviados)))

    def _insistir(self, acao) -> None:
        def tentou() -> bool:
            try:
                acao()
                return True
            except pika.exceptions.AMQPError:
                return False
        esperar(tentou, 60, "o broker aceitar o que o caos publica")

    # --- o fim ---

    def sossegar(self, prazo: float = 180) -> None:
        """Tudo de pé outra vez, e todo pedido terminado."""
        for servico in SERVICOS:
            self.loja.continuar(servico)
            self.iniciar(servico)
        self.loja.esperar_finais(prazo)

    def conferir(self) -> None:
        """Contas certas, e nas mortas os venenos e nada mais; levanta AssertionError."""
        def nas_mortas() -> set:
            return {(nome, p.message_id) for nome in SERVICOS for _, p in self.loja.mortas(nome)}
        esperar(lambda: nas_mortas() >= self.venenos, 60, "todo veneno chegar às mortas")
        # Quantas: um veneno pode repetir, porque a fila entrega pelo menos uma vez.
        quantas = sum(len(self.loja.mortas(nome)) for nome in SERVICOS)
        self.loja.conferir_repouso(mortas=quantas)
        boas = nas_mortas() - self.venenos
        assert not boas, f"mensagens boas nas mortas: {boas}"


def executar(pasta: Path, segundos: float, semente: int, pedidos: int) -> Caos:
    """Liga tudo, roda o plano inteiro com `pedidos` na fila, sossega e confere; diz o que houve."""
    plano = planejar(semente, segundos)
    print(f"semente {semente}: {len(plano)} ações em {plano[-1][0]:.0f} s, "
          f"plano {impressao(plano)}")
    no = No(pasta / "rabbitmq").iniciar()
    loja = Loja(pasta / "dados", no.url, fartura=True)
    try:
        caos = Caos(loja, no, semente)
        loja.enviar(*mistura(pedidos, f"k{semente}"))
        for servico in SERVICOS:
            loja.lancar(servico)
        caos.rodar(plano)
        pendentes = loja.pendentes()
        caos.sossegar()
        caos.conferir()
        caos.feitas["pedidos"] = len(loja.enviados)
        caos.feitas["pendentes quando o plano acabou"] = pendentes
        print("  " + ", ".join(f"{nome} {n}" for nome, n in sorted(caos.feitas.items())))
        return caos
    finally:
        try:
            loja.fechar()
        finally:
            no.parar()


def main() -> int:
    opcoes = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    opcoes.add_argument("--segundos", type=float, default=60,
                        help="quanto dura o plano de falhas (padrão: 60)")
    opcoes.add_argument("--semente", type=int, default=1,
                        help="o número que decide o plano (padrão: 1)")
    opcoes.add_argument("--pedidos", type=int, default=20000,
                        help="quantos pedidos esperam nas filas (padrão: 20000)")
    escolha = opcoes.parse_args()
    with tempfile.TemporaryDirectory(prefix="caos-") as pasta:
        executar(Path(pasta), escolha.segundos, escolha.semente, escolha.pedidos)
    print("todas as promessas valem; nas mortas, os venenos e nada mais")
    return 0


if __name__ == "__main__":
    sys.exit(main())
