"""O que uma pessoa faria com um terminal por serviço: iniciar cada um, e ficar de olho."""

from __future__ import annotations

import json
import queue
import tempfile
import time
from pathlib import Path

from comum.diagrama import Diagrama
from comum.falha import Falha, em_portugues
from comum.prazo import Prazo
from comum.tela import Progresso, alertar, dizer
from coreografia import SERVICOS, quem_publica
from palco import espera
from palco.espectador import Espectador
from palco.processo import Processo

POUCOS = 4  # até tantos pedidos, a saga é desenhada; acima disso, uma linha de progresso
PORTA = quem_publica("pedido.criado")  # o serviço que recebe os pedidos do cliente
# Segundos para um serviço dizer que está pronto; para os últimos eventos, já com todos os
# resultados; e para o fim: o lote em mãos, o adeus ao broker, e uma folga.
INICIO, RESTO, FIM = 30.0, 10.0, 10.0


class Lancador:
    """Os processos, a plateia e a espera.

    pasta: a dos bancos. no: o nó privado, ou None se o broker é de outro. loja: a identidade dela.
    ids: os pedidos que se quer ver terminar.
    """

    def __init__(self, pasta: Path, no, loja: str, ids: list[str],
                 diagrama: Diagrama | None = None):
        self.pasta, self.no, self.ids = pasta, no, list(dict.fromkeys(ids))
        self.linhas: queue.Queue = queue.Queue()
        self.processos: list[Processo] = []
        self.desde = 0.0  # quando o primeiro foi iniciado: daí em diante há pedidos a caminho
        self.poucos = len(self.ids) <= POUCOS
        # Para a conta da tela: os que já tinham terminado não foram feitos nesta execução.
        como = {} if self.poucos else espera.estados(pasta, self.ids)
        self.ja_finais = sum(estado != "pendente" for estado in como.values())
        self.espectador = Espectador(loja, diagrama)

    def iniciar(self, pedidos: list[dict], opcoes: list[str]) -> None:
        """A plateia antes de todos, para ver também os primeiros eventos; depois, um por um.

        pedidos: os que a porta de entrada recebe ao ser iniciada. opcoes: as de todo serviço.
        """
        if self.poucos:
            self.espectador.abrir()
        entrada = em_arquivo(pedidos, self.pasta) if pedidos else None
        self.desde = time.monotonic()
        for nome in SERVICOS:
            self.processos.append(Processo(nome, opcoes, self.linhas,
                                           entrada if nome == PORTA else None))
            self.esperar_pronto(self.processos[-1])

    def esperar_pronto(self, processo: Processo) -> None:
        """Levanta Falha se ele demora demais, ou se desistiu; quem foi morto é iniciado de novo."""
        prazo = Prazo(INICIO)
        while not processo.pronto.wait(0.02):
            if processo.desistiu() or prazo.acabou():
                self.mostrar_linhas()
                raise Falha(f"{processo.nome} não ficou pronto; veja a mensagem acima", 2)
            self.vigiar()
            self.espectador.guardar()
        self.mostrar_linhas()

    def assistir(self, segundos: float) -> None:
        """Mostra os eventos dos próximos instantes e vigia os processos."""
        self.vigiar()
        self.espectador.mostrar(segundos)

    def vigiar(self) -> None:
        """Mostra o que os serviços disseram e reinicia quem morreu, serviço ou nó privado."""
        for processo in self.processos:
            processo.manter()
        self.mostrar_linhas()
        if self.no and not self.no.vivo():
            self.reviver_no()

    def reviver_no(self) -> None:
        alertar("o nó privado do RabbitMQ morreu: inicio de novo")
        try:
            if not self.no.usar():
                self.no = None  # nessa porta já responde um broker que não é nosso
        except Falha as falha:
            alertar(f"{falha}; tento de novo")

    def mostrar_linhas(self) -> None:
        while not self.linhas.empty():
            linha = self.linhas.get()
            quem = linha.split(" ", 1)[0]
            aviso = quem.endswith(":") or "morreu (" in linha  # não é a linha de um evento
            dizer(linha, "fraco" if ": pronto" in linha else "vermelho" if aviso else None)

    def esperar_finais(self, paciencia: float = float("inf")) -> bool:
        """Espera o resultado de todos; False se nada se moveu por `paciencia` segundos."""
        mostrar = self._com_desenho if self.poucos else self._com_progresso()
        silencio, antes = Prazo(paciencia), None
        while True:
            faltam, agora = espera.olhar(self.pasta, self.ids)
            mostrar(len(faltam))
            if not faltam:
                return True
            if agora != antes:
                silencio.recomecar()
                antes = agora
            elif silencio.acabou():
                return False

    def _com_desenho(self, faltam: int) -> None:
        self.assistir(0.1 if faltam else 0)

    def _com_progresso(self):
        total = len(self.ids)
        progresso = Progresso(total, "pedidos")

        def mostrar(faltam: int) -> None:
            feitos, segundos = total - faltam, time.monotonic() - self.desde
            progresso.mostrar(feitos, f"{(feitos - self.ja_finais) / segundos:.0f}/s")
            if not faltam:
                dizer(f"{total} pedidos terminados")
                return
            self.vigiar()
            # Ler milhares de pendentes rouba CPU dos serviços.
            time.sleep(0.1 if faltam < 1000 else 0.5)
        return mostrar

    def ver_o_resto(self) -> None:
        """Mostra os eventos que ainda vêm: o resultado é gravado antes de ser publicado.

        Não espera para sempre: com o broker bloqueado, nada sai, e o resultado já está no banco.
        """
        prazo = Prazo(RESTO)
        while (self.espectador.plateia and espera.falta_publicar(self.pasta, PORTA)
               and not prazo.acabou()):
            self.assistir(0.05)
        self.assistir(0.1)

    def parar(self) -> None:
        """Encerra os serviços, o último primeiro."""
        for processo in reversed(self.processos):
            processo.processo.terminate()
        prazo = Prazo(FIM)
        while any(um.processo.poll() is None for um in self.processos) and not prazo.acabou():
            time.sleep(0.02)
        for um in self.processos:  # quem está parado com SIGSTOP, por exemplo, não ouviu
            um.processo.kill()
            um.processo.wait()
        self.espectador.fechar()


def em_arquivo(pedidos: list[dict], pasta: Path):
    """Um arquivo já sem nome, na pasta dos bancos, com um pedido JSON por linha.

    Levanta Falha (código 2) se ali não se pode escrever.
    """
    try:
        arquivo = tempfile.TemporaryFile(dir=pasta)
        for pedido in pedidos:
            arquivo.write(json.dumps(pedido, ensure_ascii=False).encode() + b"\n")
        arquivo.flush()
        return arquivo
    except OSError as erro:
        raise em_portugues(erro, str(pasta)) from erro
