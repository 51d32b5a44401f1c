"""O que uma pessoa faria com um terminal por serviço: iniciar cada um, ficar de olho, assistir.

Quem morre é iniciado de novo; quem morre sempre, uma vez por segundo. A plateia ouve por uma fila
só sua, que some com ela, e não diz nada a ninguém: os serviços nem sabem se há alguém assistindo.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from comum.banco import lendo
from comum.falha import Falha
from comum.raias import Diagrama
from comum.tela import POUCOS, Progresso, alertar, dizer
from coreografia import SERVICOS
from palco.desenho import Desenho
from rabbitmq.acesso import BrokerFora, onde
from rabbitmq.canal import Plateia

MICROSSERVICOS = Path(__file__).resolve().parent.parent
PAUSA = 1.0  # segundos entre dois inícios do mesmo serviço, se ele morre logo
# Segundos para um serviço dizer que está pronto; e para o fim: o lote em mãos, o adeus ao
# broker, e uma folga.
INICIO, FIM = 30.0, 10.0
OLHADA = 1.0  # segundos: o máximo que uma olhada desconta de um prazo


class Prazo:
    """Tantos segundos para alguém fazer alguma coisa, enquanto se olha para ele.

    segundos: quantos. Quem espera pergunta `acabou()` várias vezes por segundo. Se entre duas
    perguntas passou mais que OLHADA, este programa esteve parado (Ctrl-Z, um computador que
    dormiu), e em geral os outros também: esse tempo não conta contra ninguém.
    """

    def __init__(self, segundos: float):
        self.restam, self.vista = segundos, time.monotonic()

    def acabou(self) -> bool:
        agora = time.monotonic()
        self.restam -= min(agora - self.vista, OLHADA)
        self.vista = agora
        return self.restam < 0


class Processo:
    """Um serviço no seu próprio processo, como se estivesse no terminal ao lado.

    nome: o do serviço. opcoes: as da linha de comando dele. pedidos: só para a porta de entrada;
    um arquivo com os pedidos desta execução, que o serviço recebe pela entrada padrão até ficar
    pronto uma vez: a essa altura eles estão no banco dele.
    """

    def __init__(self, nome: str, opcoes: list[str], pedidos=None):
        self.nome, self.opcoes, self.pedidos = nome, opcoes, pedidos
        self.pronto = False  # alguma vez
        self.iniciar()

    def iniciar(self) -> None:
        pedidos = None if self.pronto else self.pedidos
        if pedidos:
            pedidos.seek(0)
        de_onde = ["--arquivo", "-"] if pedidos else ["--sem-pedido"] * (self.nome == "pedidos")
        self.inicio, self.resto = time.monotonic(), b""
        self.processo = subprocess.Popen(
            [sys.executable, MICROSSERVICOS / f"servico_{self.nome}.py", *self.opcoes, *de_onde],
            stdin=pedidos or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            bufsize=0, env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "10000",
                            "LOJA_LANCADOR": str(os.getpid())})
        os.set_blocking(self.processo.stdout.fileno(), False)

    def ouvir(self) -> list[str]:
        """As linhas que ele disse desde a última vez; uma delas diz que está pronto."""
        dito = self.resto + (self.processo.stdout.read() or b"")
        *linhas, self.resto = dito.split(b"\n")
        linhas = [linha.decode("utf-8", "replace") for linha in linhas]
        self.pronto |= any(linha.startswith(f"{self.nome}: pronto") for linha in linhas)
        return linhas

    def desistiu(self) -> bool:
        """Se acabou por conta própria sem nunca ter ficado pronto; o que ele disse explica."""
        return not self.pronto and (self.processo.poll() or 0) > 0  # um sinal é negativo

    def manter(self) -> None:
        """Se o serviço morreu, diz isso e inicia outro, no máximo um a cada PAUSA."""
        status, idade = self.processo.poll(), time.monotonic() - self.inicio
        if status is not None and not self.desistiu() and idade > PAUSA:
            como = f"sinal {-status}" if status < 0 else f"status {status}"
            alertar(f"{self.nome} morreu ({como}): inicio outro")
            self.iniciar()


class Espectador:
    """Mostra os eventos; se a ligação com o broker cai, diz isso uma vez, e abre outra.

    loja: a identidade dela. diagrama: onde mais anotar os eventos, ou None.
    """

    def __init__(self, loja: str, diagrama: Diagrama | None):
        self.loja, self.desenho = loja, Desenho(diagrama)
        self.plateia: Plateia | None = None
        self.dito, self.desenhadas = "", 0  # desenhadas: linhas

    def abrir(self) -> None:
        """Daqui em diante nenhum evento passa sem ser visto, nem antes de mostrar(). Pode repetir.

        Levanta BrokerFora se ninguém responde, e Falha se o broker recusa a plateia.
        """
        if not self.plateia:
            self.plateia, self.dito = Plateia("plateia", self.loja), ""
            dizer(f"plateia: assistindo em {onde()}")

    def mostrar(self, segundos: float) -> None:
        """Mostra os eventos dos próximos instantes; os nomes das raias não saem da tela.

        Sem ligação, abre outra. Levanta Falha se o broker recusa a plateia.
        """
        try:
            self.abrir()
            recebidas = self.plateia.receber(segundos)
        except BrokerFora as falha:
            self.fechar()
            if self.dito != str(falha):
                self.dito = str(falha)
                alertar(f"plateia: {falha}; continuo tentando (Ctrl-C encerra)")
            time.sleep(segundos)
            return
        cabem = max(shutil.get_terminal_size().lines - 5, 8) if sys.stdout.isatty() else sys.maxsize
        for linha in self.desenho.recebidas(recebidas):
            if self.desenhadas % cabem == 0:
                dizer()
                dizer(self.desenho.cabecalho(), "forte")
            dizer(linha)
            self.desenhadas += 1

    def fechar(self) -> None:
        if self.plateia:
            self.plateia.fechar()
            self.plateia = None


class Lancador:
    """Os processos, a plateia e a espera.

    pasta: a dos bancos. no: o nó privado, ou None se o broker é de outro.
    ids: os pedidos que se quer ver terminar. espectador: a plateia, ainda por abrir.
    """

    def __init__(self, pasta: Path, no, ids: list[str], espectador: Espectador):
        self.pasta, self.no, self.ids, self.espectador = pasta, no, ids, espectador
        self.poucos = len(ids) <= POUCOS
        self.processos: list[Processo] = []

    def iniciar(self, pedidos: list[dict], opcoes: list[str]) -> None:
        """A plateia antes de todos, para ver também os primeiros eventos; depois, um por um.

        pedidos: os que a porta de entrada recebe ao ser iniciada. opcoes: as de todo serviço.
        """
        if self.poucos:
            self.espectador.abrir()
        # Um arquivo já sem nome, e na pasta dos bancos: noutro lugar pode não se poder escrever.
        arquivo = tempfile.TemporaryFile("w+", dir=self.pasta)
        arquivo.writelines(json.dumps(pedido) + "\n" for pedido in pedidos)
        for nome in SERVICOS:
            da_porta = arquivo if pedidos and nome == "pedidos" else None
            self.processos.append(Processo(nome, opcoes, da_porta))
            self.esperar_pronto(self.processos[-1])

    def esperar_pronto(self, processo: Processo) -> None:
        """Levanta Falha se ele demora demais, ou se desistiu; quem foi morto é iniciado de novo."""
        prazo = Prazo(INICIO)
        while not processo.pronto:
            desistiu = processo.desistiu() or prazo.acabou()
            self.vigiar()
            if desistiu:
                raise Falha(f"{processo.nome} não ficou pronto; veja a mensagem acima", 2)
            time.sleep(0.01)

    def vigiar(self) -> None:
        """Mostra o que os serviços disseram e reinicia quem morreu, serviço ou nó privado.

        Levanta Falha se o nó não volta: sem broker, nada anda.
        """
        for um in self.processos:
            for linha in um.ouvir():
                aviso = linha.startswith(f"{um.nome}:")  # não é a linha de um evento
                dizer(linha, "fraco" if ": pronto" in linha else "vermelho" if aviso else None, 11)
            um.manter()
        if self.no and not self.no.vivo():
            alertar("o nó privado do RabbitMQ morreu: inicio de novo")
            if not self.no.usar():
                self.no = None  # nessa porta já responde um broker que não é nosso

    def esperar_finais(self, paciencia: float = float("inf")) -> None:
        """Até todos terem resultado, já anunciado; ou nada se mover por tantos segundos."""
        barra, antes = Progresso(len(self.ids), "pedidos"), None
        while True:
            faltam, por_anunciar, tratados = self.olhar()
            if tratados != antes:
                silencio, antes = Prazo(paciencia), tratados
            self.vigiar()
            if self.poucos:
                self.espectador.mostrar(0.1)
            else:
                barra.mostrar(len(self.ids) - len(faltam))
                # Ler milhares de pendentes rouba CPU dos serviços.
                time.sleep(0.1 if len(faltam) < 1000 else 0.5)
            if not (faltam or por_anunciar) or silencio.acabou():
                break

    def olhar(self) -> tuple[set[str], list, list]:
        """(os de `ids` sem resultado, se Pedidos tem o que enviar, quanto cada serviço já tratou).

        Abre os bancos e os larga: quem só olha não segura um que o serviço dele precise refazer.
        """
        with lendo(self.pasta, SERVICOS) as bancos:
            perguntar = lambda sql: bancos.execute(sql).fetchall()  # noqa: E731
            pendentes = perguntar("SELECT pedido FROM pedidos WHERE estado = 'pendente'")
            return ({pedido for pedido, in pendentes}.intersection(self.ids),
                    perguntar("SELECT 1 FROM pedidos_db.caixa_saida WHERE enviado = 0 LIMIT 1"),
                    [perguntar(f"SELECT max(ordem) FROM {um}_db.caixa_entrada") for um in SERVICOS])

    def parar(self) -> None:
        """Encerra os serviços, o último primeiro, e a plateia."""
        for processo in reversed(self.processos):
            processo.processo.terminate()
        prazo = Prazo(FIM)
        while any(um.processo.poll() is None for um in self.processos) and not prazo.acabou():
            time.sleep(0.02)
        for um in self.processos:  # quem está parado com SIGSTOP, por exemplo, não ouviu
            um.processo.kill()
            # Um Ctrl-C no meio de um poll() deixa fechada a trava dele: wait() nem voltaria.
            with suppress(subprocess.TimeoutExpired):
                um.processo.wait(1)
        self.espectador.fechar()
