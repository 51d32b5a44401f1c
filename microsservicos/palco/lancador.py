"""O que uma pessoa faria com um terminal por serviço: iniciar cada um, e ficar de olho."""

import json
import tempfile
import time
from pathlib import Path

from comum.falha import Falha
from comum.leitura import lendo
from comum.tela import Progresso, alertar, dizer
from coreografia import SERVICOS
from palco.espectador import Espectador
from palco.prazo import Prazo
from palco.processo import Processo

POUCOS = 4  # até tantos pedidos, a saga é desenhada; acima disso, uma linha de progresso
# Segundos para um serviço dizer que está pronto; e para o fim: o lote em mãos, o adeus ao
# broker, e uma folga.
INICIO, FIM = 30.0, 10.0


class Lancador:
    """Os processos, a plateia e a espera.

    pasta: a dos bancos. no: o nó privado, ou None se o broker é de outro.
    ids: os pedidos que se quer ver terminar. espectador: None se ninguém assiste.
    """

    def __init__(self, pasta: Path, no, ids: list[str], espectador: Espectador | None):
        self.pasta, self.no, self.ids, self.espectador = pasta, no, ids, espectador
        self.poucos = len(ids) <= POUCOS
        self.processos: list[Processo] = []

    def iniciar(self, pedidos: list[dict], opcoes: list[str]) -> None:
        """A plateia antes de todos, para ver também os primeiros eventos; depois, um por um.

        pedidos: os que a porta de entrada recebe ao ser iniciada. opcoes: as de todo serviço.
        """
        if self.poucos:
            self.espectador.guardar()
        entrada = em_arquivo(pedidos, self.pasta) if pedidos else None
        for nome in SERVICOS:
            self.processos.append(Processo(nome, opcoes, entrada if nome == "pedidos" else None))
            self.esperar_pronto(self.processos[-1])

    def esperar_pronto(self, processo: Processo) -> None:
        """Levanta Falha se ele demora demais, ou se desistiu; quem foi morto é iniciado de novo."""
        prazo = Prazo(INICIO)
        while not processo.pronto:
            desistiu = processo.desistiu() or prazo.acabou()
            self.vigiar()
            if desistiu:
                raise Falha(f"{processo.nome} não ficou pronto; veja a mensagem acima", 2)
            if self.poucos:
                self.espectador.guardar()
            time.sleep(0.01)

    def assistir(self, segundos: float) -> None:
        """Mostra os eventos dos próximos instantes e vigia os processos."""
        self.vigiar()
        self.espectador.mostrar(segundos) if self.espectador else time.sleep(segundos)

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
        """Até todos terem resultado, e ele ter sido visto; ou nada se mover por tantos segundos."""
        silencio, antes = Prazo(paciencia), None
        barra = Progresso(len(self.ids), "pedidos")
        while True:
            faltam, por_anunciar, tratados = self.olhar()
            if self.poucos:
                self.assistir(0.1)
            else:
                barra.mostrar(len(self.ids) - len(faltam))
                self.vigiar()
                # Ler milhares de pendentes rouba CPU dos serviços.
                time.sleep(0.1 if len(faltam) < 1000 else 0.5)
            if not (faltam or por_anunciar) or silencio.acabou():
                break
            if tratados != antes:
                silencio.recomecar()
                antes = tratados

    def olhar(self) -> tuple[set[str], list, list]:
        """(os de `ids` sem resultado, se há um por anunciar, quanto cada serviço já tratou).

        Abre os bancos e os larga: quem só olha não segura um que o serviço dele precise refazer.
        """
        with lendo(self.pasta, SERVICOS) as bancos:
            perguntar = lambda sql: bancos.execute(sql).fetchall()  # noqa: E731
            pendentes = perguntar("SELECT pedido FROM pedidos WHERE estado = 'pendente'")
            return ({pedido for pedido, in pendentes}.intersection(self.ids),
                    perguntar("SELECT 1 FROM pedidos_db.caixa_saida WHERE enviado = 0 LIMIT 1"),
                    [perguntar(f"SELECT max(ordem) FROM {um}_db.caixa_entrada") for um in SERVICOS])

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
        if self.espectador:
            self.espectador.fechar()


def em_arquivo(pedidos: list[dict], pasta: Path):
    """Um arquivo já sem nome, na pasta dos bancos, com um pedido JSON por linha."""
    arquivo = tempfile.TemporaryFile("w+", dir=pasta, encoding="utf-8")
    arquivo.writelines(json.dumps(pedido, ensure_ascii=False) + "\n" for pedido in pedidos)
    arquivo.flush()
    return arquivo
