"""A conexão com o RabbitMQ: como se entra, como se anda com ela passo a passo, como se sai.

O SelectConnection do pika avisa tudo por callbacks, de dentro do seu laço. Aqui o laço roda um
passo de cada vez, no fio de quem chama, e o que o broker encerra (o canal, a conexão, o consumo)
vira um erro nosso no mesmo passo, com as palavras dele. Só se usam nomes públicos do pika.

O pika 1.5 traz pika.Connection, com um fio só para ela: quando sair, `andar` pode virar uma espera
numa fila que esse fio enche, `pedir` some (os métodos dela já esperam a resposta), e o resto
deste cômodo fica como está.
(Manual do RabbitMQ: "Access Control", "TLS Support", "Detecting Dead TCP Connections with
Heartbeats", "Memory and Disk Alarms".)
"""

import logging
import time
from contextlib import AbstractContextManager, suppress
from typing import Callable

from comum.falha import Falha
from rabbitmq.acesso import BrokerFora, enderecos, explicar, onde, pika
from rabbitmq.ajustes_do_pika import IOLoop, Servicos

# O pika avisa cada tropeço por conta própria; aqui, cada falha vira uma linha nossa.
logging.getLogger("pika").setLevel(logging.CRITICAL + 1)

PACIENCIA = 60.0  # segundos por uma resposta do broker, antes de reconectar
PRAZO_DE_FECHO = 3.0  # segundos para o broker responder ao adeus


class Conexao(AbstractContextManager):
    """Uma conexão com um canal. Quem abre, fecha: `with Conexao("quem") as conexao: ...`.

    quem: o nome que aparece na página de administração. loja: de quem o vhost tem de ser, para
    quem declara (None: de ninguém em particular).
    Levanta BrokerFora se nenhum endereço responde, e Falha (código 2) se algum recusa a entrada.
    """

    def __init__(self, quem: str, loja: str | None = None):
        self.quem, self.loja = quem, loja
        self._laco = IOLoop()
        self._conexao: pika.SelectConnection | None = None
        self._erro: Falha | None = None  # o que o broker encerrou, já nas nossas palavras
        self.nome_do_broker = ""  # o do cluster; o de um nó privado é loja-PORTA@máquina
        self._acordando = False
        try:
            self._entrar()
            self.canal = self.abrir_canal()
            self.preparar()
        except BaseException:
            self.fechar()
            raise

    def preparar(self) -> None:
        """O que cada tipo de conexão faz assim que entra."""

    def __exit__(self, *_):
        self.fechar()

    # --- abrir e fechar ---

    def _entrar(self) -> None:
        """Cada endereço, um depois do outro, até um que nos aceite.

        De um nome com vários IPs, o pika só deixa o primeiro se ele nem aceita a ligação.
        """
        fracassos: list[BaseException] = []
        for endereco in enderecos():
            endereco.client_properties = {"connection_name": f"loja: {self.quem}"}
            chegou, ouvir = self.resposta()
            self._conexao = conexao = pika.SelectConnection(
                endereco, on_open_callback=ouvir, on_open_error_callback=ouvir,
                custom_ioloop=Servicos(self._laco))
            while not chegou:
                self._girar(1)
            if conexao.is_open:
                self.nome_do_broker = str(conexao.server_properties.get("cluster_name", ""))
                conexao.add_on_close_callback(self._ao_encerrar)
                return
            fracassos += chegou[1:]  # depois da conexão, o erro
        raise explicar(fracassos)

    def abrir_canal(self, ao_encerrar: Callable | None = None):
        """Um canal do pika, já aberto.

        ao_encerrar: recebe (canal, motivo) se o broker o encerra; sem ela, isso derruba `andar`.
        """
        aberto, ouvir = self.resposta()
        canal = self._conexao.channel(on_open_callback=ouvir)
        canal.add_on_close_callback(ao_encerrar or self._ao_encerrar)
        self.esperar(lambda: aberto)
        return canal

    def fechar(self) -> None:
        """Larga a conexão: o que estava em mãos, sem ack, volta à fila na hora. Pode repetir.

        Uma conexão apenas esquecida continuaria ouvinte, e seguraria até o próximo heartbeat as
        mensagens que já recebeu. Serve também depois de um Ctrl-C no meio de um passo.
        """
        conexao, self._conexao = self._conexao, None
        prazo = time.monotonic() + PRAZO_DE_FECHO
        with suppress(Exception):  # a que já caiu, ou nem se abriu, não precisa ser fechada
            conexao.close()
            while not conexao.is_closed and time.monotonic() < prazo:
                self._girar(0.2)
        # Um Ctrl-C no primeiro instante de um passo deixa o laço do pika dizendo que ainda roda:
        # ele não se fecha, e o sistema operacional fecha o socket no fim do processo.
        with suppress(Exception):
            self._laco.close()

    # --- o que o broker diz sem ser perguntado ---

    def _ao_encerrar(self, de_que, motivo: BaseException) -> None:
        if self._conexao and not isinstance(motivo, pika.exceptions.ChannelClosedByClient):
            self.derrubar(explicar([motivo], self.nome_do_broker))
        self.acordar()  # também quem espera, em fechar(), pelo adeus do broker

    def derrubar(self, erro: Falha) -> None:
        """Faz o passo em curso acabar neste erro; o primeiro é o verdadeiro."""
        self._erro = self._erro or erro
        self.acordar()

    # --- andar ---

    def andar(self, segundos: float) -> None:
        """Um passo: manda o que espera e recebe por até `segundos`, ou até que algo chegue.

        Levanta BrokerFora ou Falha se o broker encerrou o canal, a conexão ou o consumo. Nada muda
        entre dois passos: se este voltou, o canal está aberto, e os métodos dele não falham.
        """
        if not self._erro:
            self._girar(segundos)
        if self._erro:
            raise self._erro

    def _girar(self, segundos: float) -> None:
        despertador = self._laco.call_later(segundos, self.acordar)
        try:
            self._laco.start()
        finally:  # um Ctrl-C também passa por aqui
            self._laco.remove_timeout(despertador)
            self._acordando = False

    def acordar(self) -> None:
        """Para os callbacks: há o que ver, e o passo pode acabar."""
        if not self._acordando:
            self._acordando = True
            self._laco.stop()

    def resposta(self) -> tuple[list, Callable]:
        """Uma lista vazia, e o callback que põe nela o que o pika lhe passar e acaba o passo."""
        chegou: list = []
        return chegou, lambda *dito: (chegou.extend(dito), self.acordar())

    def esperar(self, condicao: Callable) -> None:
        """Anda até `condicao()` valer; BrokerFora se ela não vem em PACIENCIA segundos."""
        prazo = time.monotonic() + PACIENCIA
        while not condicao():
            self.andar(1)
            if time.monotonic() > prazo:
                raise BrokerFora(f"o RabbitMQ em {onde()} não respondeu em {PACIENCIA:.0f} s")

    def pedir(self, metodo: Callable, *argumentos, **opcoes):
        """Chama um método do canal que o broker responde, e devolve a resposta.

        metodo: como `conexao.canal.queue_declare`. Levanta o mesmo que `andar`.
        """
        chegou, ouvir = self.resposta()
        metodo(*argumentos, callback=ouvir, **opcoes)
        self.esperar(lambda: chegou)
        return chegou[0].method

    def perguntar(self, nao: int, metodo: str, *argumentos, **opcoes):
        """Como pedir(), num canal só para isso, que o broker encerra para dizer que não: None.

        nao: o código com que ele o diz (404: não existe; 405: outro o tem).
        """
        chegou, ouvir = self.resposta()
        canal = self.abrir_canal(ao_encerrar=ouvir)
        getattr(canal, metodo)(*argumentos, callback=ouvir, **opcoes)
        self.esperar(lambda: chegou)
        *_, resposta = chegou  # a do método ou, depois do canal, por que ele se encerrou
        if not isinstance(resposta, BaseException):
            canal.close()
            return resposta.method
        if getattr(resposta, "reply_code", None) != nao:
            raise explicar([resposta], self.nome_do_broker)
        return None
