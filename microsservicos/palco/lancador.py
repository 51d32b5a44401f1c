"""O que uma pessoa faria com um terminal por serviço: iniciar cada um, e ficar de olho."""

from __future__ import annotations

import json
import queue
import tempfile
import time
from contextlib import closing
from pathlib import Path

from comum import veredito
from comum.diagrama import Diagrama
from comum.falha import Falha
from comum.tela import Progresso, alertar, dizer
from coreografia import SERVICOS, quem_publica
from palco.desenho import RAIAS
from palco.espectador import Espectador
from palco.movimento import Movimento
from palco.processo import Processo
from rabbitmq.dona import identidade

POUCOS = 4  # até tantos pedidos, a saga é desenhada; acima disso, uma linha de progresso
ESPERA_PELO_RESTO = 10.0  # segundos para os últimos eventos, já com todos os resultados
PORTA = quem_publica("pedido.criado")  # o serviço que recebe os pedidos do cliente


class Lancador:
    """Os processos, a plateia e a espera.

    dados: a pasta de --dados. no: o NoCompartilhado, ou None se o broker é de outro.
    pedidos: os que a porta de entrada recebe ao ser iniciada. ids: os que se quer ver terminar.
    """

    def __init__(self, dados: Path, no, pedidos: list[dict], ids: list[str],
                 diagrama: Diagrama | None = None):
        self.pasta, self.no, self.ids = dados / "microsservicos", no, ids
        self.linhas: queue.Queue = queue.Queue()
        self.entrada = em_arquivo(pedidos) if pedidos else None
        self.processos = {nome: Processo(nome, dados, self.linhas,
                                         self.entrada if nome == PORTA else None)
                          for nome in SERVICOS}
        self.de_pe: list[Processo] = []  # os que já ficaram prontos uma vez
        self.desde = 0.0  # quando o primeiro partiu: daí em diante há pedidos a caminho
        self.espectador = Espectador(identidade(self.pasta), diagrama)

    def iniciar(self) -> None:
        """A plateia antes de todos, para ver também os primeiros eventos; depois, um por um."""
        if len(self.ids) <= POUCOS:
            self.espectador.abrir()
        for processo in self.processos.values():
            processo.iniciar()
            self.desde = self.desde or time.monotonic()
            try:
                processo.esperar_pronto(self.enquanto_se_espera)
            finally:
                self.mostrar_linhas()
            self.de_pe.append(processo)
        if len(self.ids) <= POUCOS:
            dizer()
            dizer(RAIAS.cabecalho(), "forte")

    def enquanto_se_espera(self) -> None:
        self.espectador.guardar()
        self.vigiar()

    def assistir(self, espera: float) -> None:
        """Mostra os eventos dos próximos instantes (até `espera` segundos) e vigia os processos."""
        self.vigiar()
        self.espectador.mostrar(espera)

    def vigiar(self) -> None:
        """Mostra o que os serviços disseram e reinicia quem morreu, serviço ou nó privado."""
        self.mostrar_linhas()
        for processo in self.de_pe:
            if aviso := processo.manter():
                alertar(aviso)
        if self.no and not self.no.vivo():
            self.reviver_no()

    def reviver_no(self) -> None:
        alertar("o nó privado do RabbitMQ morreu: inicio de novo")
        try:
            if not self.no.reviver():
                self.no = None  # nessa porta já responde um broker que não é nosso
        except Falha as falha:
            alertar(f"{falha}; tento de novo")

    def mostrar_linhas(self) -> None:
        while not self.linhas.empty():
            linha = self.linhas.get()
            cor = "fraco" if ": pronto" in linha else "vermelho" if ": " in linha else None
            dizer(linha, cor)

    def esperar_finais(self, paciencia: float | None = None) -> bool:
        """Espera o resultado de todos; False se nada se moveu por `paciencia` segundos.

        paciencia: None espera sem limite.
        """
        movimento = Movimento(self.pasta)
        try:
            espera = self._com_desenho if len(self.ids) <= POUCOS else self._com_progresso()
            while faltam := set(self.ids).intersection(veredito.pendentes(self.pasta)):
                espera(faltam)
                if paciencia and movimento.parado_ha() > paciencia:
                    return False
            espera(faltam)
        finally:
            movimento.fechar()
        return True

    def _com_desenho(self, faltam: set[str]) -> None:
        self.assistir(0.1 if faltam else 0)

    def _com_progresso(self):
        total = len(self.ids)
        progresso = Progresso(total, "pedidos")

        def mostrar(faltam: set[str]) -> None:
            feitos = total - len(faltam)
            progresso.mostrar(feitos, f"{feitos / (time.monotonic() - self.desde):.0f}/s")
            if not faltam:
                dizer(f"{total} pedidos terminados")
                return
            self.vigiar()
            # Ler milhares de pendentes rouba CPU dos serviços.
            time.sleep(0.1 if len(faltam) < 1000 else 0.5)
        return mostrar

    def ver_o_resto(self) -> None:
        """Mostra os eventos que ainda vêm: o resultado é gravado antes de ser publicado.

        Não espera para sempre: com o broker bloqueado, nada sai, e o resultado já está no banco.
        """
        prazo = time.monotonic() + ESPERA_PELO_RESTO
        with closing(veredito.abrir_leitura(self.pasta, (PORTA,))) as banco:
            consulta = f"SELECT 1 FROM {PORTA}_db.caixa_saida"
            while (self.espectador.plateia and time.monotonic() < prazo
                   and banco.execute(consulta).fetchone()):
                self.assistir(0.05)
        self.assistir(0.1)

    def parar(self) -> None:
        """Encerra os serviços, o último primeiro."""
        iniciados = [processo for processo in self.processos.values() if processo.processo]
        for processo in reversed(iniciados):
            processo.parar()
        for processo in iniciados:
            processo.aguardar_fim()
        self.espectador.fechar()
        if self.entrada:
            self.entrada.close()


def em_arquivo(pedidos: list[dict]):
    """Um arquivo temporário, já sem nome, com um pedido JSON por linha."""
    arquivo = tempfile.TemporaryFile()
    for pedido in pedidos:
        arquivo.write(json.dumps(pedido, ensure_ascii=False).encode() + b"\n")
    arquivo.flush()
    return arquivo
