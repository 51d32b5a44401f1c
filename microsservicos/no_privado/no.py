"""Um nó de RabbitMQ só desta pasta: liga, desliga, sobrevive a quem o ligou.

Roda o `rabbitmq-server` instalado, como o usuário atual, sem tocar no RabbitMQ do
sistema: pasta, nome, cookie, epmd e configuração são próprios, e nada escuta além
do loopback. O que fica na pasta dele: ver pasta.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from comum.falha import Falha, em_portugues
from no_privado.configuracao import ambiente, gravar
from no_privado.instalacao import (COMO_INSTALAR, WINDOWS_USA_SERVICO, comando_do_processo,
                                   ligar_epmd, localizar_rabbitmq, numeros, porta_livre,
                                   responde, tem_pagina, versao_instalada)
from no_privado.pasta import PastaDoNo

PRAZO_PARTIDA = 60.0  # segundos; medido: 7 numa máquina de 2 núcleos
PRAZO_PARADA = 30.0   # segundos até trocar o pedido gentil por SIGKILL; medido: 1, e 6 com a página
PASSO = 0.05          # segundos entre duas perguntas "já?"


class NaoFicouDePe(Falha):
    """O nó partiu, e acabou antes de responder ou não respondeu a tempo."""


class OutraVersao(Falha):
    """Os dados do nó são de outra versão do RabbitMQ, e a instalada não os lê. pasta: a do nó."""

    def __init__(self, no: NoPrivado, escreveu: str, instalada: str, por_que: str):
        super().__init__(f"os dados do nó privado são do RabbitMQ {escreveu}, e o {instalada}, "
                         f"agora instalado, {por_que}", 2)
        self.pasta = no.pasta


class NoPrivado(PastaDoNo):
    """Liga e desliga o nó que mora numa PastaDoNo, e aceita os argumentos dela.

    recomecar: se os dados são de outra versão do RabbitMQ, apagá-los em vez de desistir.
    """

    def __init__(self, *args, recomecar: bool = False, **opcoes):
        super().__init__(*args, **opcoes)
        self._recomecar = recomecar
        self._processos: list[subprocess.Popen] = []  # os filhos que este objeto precisa colher
        self._partida = 0  # onde, no registro, começa o que esta partida diz

    # --- quem é o nó ---

    @property
    def pid(self) -> int | None:
        """O processo da máquina virtual Erlang, ou None se o nó não está vivo."""
        return self.anotado()["pid"] if self.vivo() else None

    @property
    def pagina_url(self) -> str | None:
        """O endereço da página de administração, ou None se não há."""
        porta = self.anotado().get("pagina_porta")
        return f"http://127.0.0.1:{porta}/" if porta and self.vivo() else None

    def vivo(self) -> bool:
        """Se o processo do nó existe, ligado por quem for. A ficha afasta um pid reaproveitado."""
        anotado = self.anotado()
        for processo in self._processos:
            if processo.pid == anotado.get("pid"):
                return processo.poll() is None
        return bool(anotado) and anotado["ficha"] in comando_do_processo(anotado["pid"])

    def responde(self) -> bool:
        """Se alguém responde AMQP na porta dele (até 2 s). Um nó suspenso vive e não responde."""
        return responde(self.maquina, self.porta)

    # --- ligar ---

    def iniciar(self, prazo: float = PRAZO_PARTIDA) -> NoPrivado:
        """Liga o nó e volta quando ele responde AMQP; se já está vivo, só espera a resposta.

        prazo: segundos. Levanta Falha (uma linha) se não der, e não deixa nada ligado.
        """
        if not self._ja_ligado(prazo):
            self._ligar(self._servidor(), prazo)
        return self

    def aguardar(self, prazo: float = PRAZO_PARTIDA) -> NoPrivado:
        """Espera até `prazo` segundos que o nó vivo responda.

        Levanta NaoFicouDePe se ele não responde, ou morre antes.
        """
        limite = time.monotonic() + prazo
        while not self.responde():
            if not self.vivo():
                raise NaoFicouDePe("o RabbitMQ não ficou de pé; o motivo está em "
                                   f"{self.registro}", 2)
            if time.monotonic() > limite:
                raise NaoFicouDePe(f"o RabbitMQ (processo {self.pid}) não respondeu em "
                                   f"{prazo:.0f} s; ver {self.registro}", 2)
            time.sleep(PASSO)
        return self

    def _ja_ligado(self, prazo: float) -> bool:
        """Se ele já estava vivo, e agora responde. Levanta Falha se está vivo e mudo."""
        if not self.vivo():
            return False
        try:
            self.aguardar(prazo)
        except Falha:
            if self.vivo():
                raise  # mudo, mas vivo: não é nosso direito matá-lo
            return False  # estava morrendo
        return True

    def _servidor(self) -> Path:
        """O programa que se vai ligar; Falha se não há como."""
        if os.name == "nt":
            raise Falha(WINDOWS_USA_SERVICO, 2)
        servidor = localizar_rabbitmq()
        if servidor is None:
            raise Falha(COMO_INSTALAR, 2)
        if porta_livre(self.porta, self.maquina) is None:
            raise Falha(f"a porta {self.porta} de {self.maquina} está ocupada por outro programa "
                        "(ou é proibida): libere-a, ou escolha outra em RABBITMQ_URL", 2)
        return servidor

    def _ligar(self, servidor: Path, prazo: float) -> None:
        try:
            self._partir(servidor, prazo)
        except OutraVersao:
            if not self._recomecar:
                raise
            self.apagar_dados()
            self._partir(servidor, prazo)
        except NaoFicouDePe:
            if not self._tomaram_uma_porta():
                raise
            self._partir(self._servidor(), prazo)  # com outras; se foi a dele, Falha diz qual

    def _tomaram_uma_porta(self) -> bool:
        """Se ele morreu porque uma porta, livre ao ser escolhida, já não estava ao ser usada."""
        disse = self.registro.read_bytes()[self._partida:]
        return b"eaddrinuse" in disse or b"dist_port_already_used" in disse

    def _partir(self, servidor: Path, prazo: float) -> None:
        escreveu, instalada = self.versao_dos_dados(), versao_instalada(servidor)
        if escreveu and instalada and numeros(instalada) < numeros(escreveu):
            # Nem tentar: o 3.10 parte com os dados do 4.3, e não vê nenhuma das filas que há neles.
            raise OutraVersao(self, escreveu, instalada, "é mais antigo, e não sabe lê-los")
        try:
            self._encerrar_epmd()  # o que um nó morto com SIGKILL tenha deixado
            self.lancar(servidor)
            self.aguardar(prazo)
            gravar(self.pasta, "versao", instalada or "")
        except BaseException as erro:  # um Ctrl-C no meio também não pode deixar um nó solto
            self.matar()
            if isinstance(erro, NaoFicouDePe) and escreveu and instalada != escreveu:
                raise OutraVersao(self, escreveu, instalada or "", "não parte com eles "
                                  f"(o motivo está em {self.registro})") from None
            if isinstance(erro, OSError):
                raise em_portugues(erro, str(self.pasta)) from erro
            raise

    def lancar(self, servidor: Path) -> None:
        self.criar()
        pagina_porta = None
        if self._quer_pagina and tem_pagina(servidor):
            pagina_porta = porta_livre(self.porta + 10000) or porta_livre()
        self.configurar(pagina_porta)
        anotado = {"ficha": os.urandom(8).hex(), "pagina_porta": pagina_porta,
                   **self._ligar_epmd()}
        with open(self.registro, "ab") as registro:
            self._partida = registro.tell()
            # start_new_session: o Ctrl-C do terminal não chega ao nó; quem o desliga é `parar`.
            # A ficha viaja como uma opção que o Erlang ignora: é lá que `vivo` a procura.
            no = subprocess.Popen([servidor, "-loja_ficha", anotado["ficha"]], cwd=self.pasta,
                                  umask=0o077,
                                  env=ambiente(servidor, self.pasta, self.nome,
                                               anotado["epmd_porta"]),
                                  stdin=subprocess.DEVNULL, stdout=registro, stderr=registro,
                                  start_new_session=True)
        self._processos.append(no)
        self.anotar({"pid": no.pid, **anotado})

    # --- desligar ---

    def parar(self, prazo: float = PRAZO_PARADA) -> None:
        """Desliga com calma (SIGTERM); depois de `prazo` segundos, à força. Pode repetir."""
        self.continuar()  # um processo suspenso não ouve o pedido
        self._sinalizar(signal.SIGTERM)
        self._esperar_o_fim(prazo)
        self.matar()

    def matar(self) -> None:
        """SIGKILL: o que acontece numa queda. Os dados duráveis ficam; `iniciar` os encontra."""
        self._sinalizar(signal.SIGKILL)
        self._esperar_o_fim(PRAZO_PARADA)
        self._encerrar_epmd()
        for processo in self._processos:
            if processo.poll() is None:
                os.killpg(processo.pid, signal.SIGKILL)
            processo.wait()
        self._processos.clear()

    def suspender(self) -> None:
        """SIGSTOP: o nó some sem fechar nada, como numa rede que engole pacotes."""
        self._sinalizar(signal.SIGSTOP)

    def continuar(self) -> None:
        """SIGCONT: desfaz `suspender`."""
        self._sinalizar(signal.SIGCONT)

    def _sinalizar(self, sinal: int) -> None:
        if pid := self.pid:
            with suppress(ProcessLookupError):
                os.killpg(pid, sinal)  # o grupo: o script, se ainda não virou a máquina virtual

    def _esperar_o_fim(self, prazo: float) -> None:
        limite = time.monotonic() + prazo
        while self.vivo() and time.monotonic() < limite:
            time.sleep(PASSO)

    # --- o epmd, que o Erlang ligaria sozinho em todas as interfaces e deixaria para sempre ---

    def _ligar_epmd(self) -> dict[str, int]:
        if self._epmd_comum:
            return {"epmd_porta": self._epmd_comum}
        epmd, porta = ligar_epmd(self.pasta)
        self._processos.append(epmd)
        return {"epmd_porta": porta, "epmd_pid": epmd.pid}

    def _encerrar_epmd(self) -> None:
        anotado = self.anotado()
        pid = anotado.get("epmd_pid")
        if pid and f"epmd -port {anotado['epmd_porta']} " in comando_do_processo(pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
