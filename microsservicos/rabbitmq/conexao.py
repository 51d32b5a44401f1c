"""A conexão com o RabbitMQ: onde ele está, como se entra, e como se anda com ela passo a passo.

O SelectConnection do pika avisa tudo por callbacks, de dentro do seu laço. Aqui o laço roda um
passo de cada vez, no fio de quem chama, e o que o broker encerra (o canal, a conexão, o consumo)
vira um erro nosso no mesmo passo, com as palavras dele. Só se usam nomes públicos do pika.

O pika 1.5 traz pika.Connection, com um fio só para ela: quando sair, `andar` pode virar uma espera
numa fila que esse fio enche, `pedir` some (os métodos dela já esperam a resposta), e o resto
deste cômodo fica como está.
(Manual do RabbitMQ: "Access Control", "TLS Support", "Detecting Dead TCP Connections with
Heartbeats".)
"""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import suppress
from typing import Callable
from urllib.parse import urlsplit

from comum.falha import Falha
from rabbitmq.erros import BrokerFora, explicar

try:
    import pika
    from pika.adapters.select_connection import IOLoop
    from rabbitmq import ilegiveis  # noqa: F401 (importar já instala)
    from rabbitmq.transporte import Servicos
except ImportError:
    print("falta o pacote pika: instale com  python -m pip install -r requirements.txt  "
          "(ou use o Python da pasta .venv, como no README)", file=sys.stderr)
    sys.exit(2)

# O pika avisa cada tropeço por conta própria; aqui, cada falha vira uma linha nossa.
logging.getLogger("pika").setLevel(logging.CRITICAL + 1)

SEGUNDA_OPINIAO = 0.5  # segundos antes de acreditar que ali não há mesmo um RabbitMQ que nos aceite
PACIENCIA = 60.0  # segundos por uma resposta do broker, antes de reconectar
PRAZO_DE_FECHO = 3.0  # segundos para o broker responder ao adeus
URL_PADRAO = "amqp://guest:guest@localhost:5672/"


def enderecos() -> list[pika.URLParameters]:
    """Os endereços de RABBITMQ_URL, na ordem das tentativas; Falha (código 2) se ilegíveis."""
    urls = [u.strip() for u in os.environ.get("RABBITMQ_URL", URL_PADRAO).split(",") if u.strip()]
    try:
        lista = []
        for url in urls:
            partes = urlsplit(url.encode().decode())  # de um terminal em Latin-1, nem UTF-8 seria
            if partes.scheme not in ("amqp", "amqps") or not partes.hostname or partes.port == 0:
                raise ValueError
            # Uma senha com / ? ou # sem código passaria por porta, vhost ou opção, e seria
            # mostrada na tela.
            if "@" in partes.path + partes.query + partes.fragment:
                raise ValueError
            lista.append(pika.URLParameters(url))
        if not lista:
            raise ValueError
    except Exception:  # o pika levanta de tudo aqui, e o texto do erro poderia mostrar a senha
        raise Falha("RABBITMQ_URL não está na forma amqp://usuario:senha@servidor:5672/vhost (na "
                    "senha, escreva / @ : ? # , como %2F %40 %3A %3F %23 %2C; entre endereços, "
                    "vírgula)", 2) from None
    for endereco in lista:
        endereco.heartbeat = 10  # segundos; uma rede que engole pacotes é percebida entre 15 e 30
        endereco.blocked_connection_timeout = 15
        endereco.socket_timeout = endereco.stack_timeout = 5
        endereco.connection_attempts = 1
    return lista


def onde() -> str:
    """Os endereços para mostrar na tela: sem usuário nem senha."""
    return ", ".join(f"{e.host}:{e.port}{'' if e.virtual_host == '/' else '/' + e.virtual_host}"
                     for e in enderecos())


class Conexao:
    """Uma conexão com um canal. Quem abre, fecha: `with Conexao("quem") as conexao: ...`.

    quem: o nome que aparece na página de administração.
    Levanta BrokerFora se nenhum endereço responde, e Falha (código 2) se algum recusa a entrada.
    """

    def __init__(self, quem: str):
        self._laco = IOLoop()
        self._servicos = Servicos(self._laco)
        self._conexao: pika.SelectConnection | None = None
        self._erro: Falha | None = None  # o que o broker encerrou, já nas nossas palavras
        self._acordando = False
        try:
            self._entrar(quem)
            self.canal = self.abrir_canal()
        except BaseException:
            self.fechar()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.fechar()

    # --- abrir e fechar ---

    def _entrar(self, quem: str) -> None:
        lista = enderecos()
        for endereco in lista:
            endereco.client_properties = {"connection_name": f"loja: {quem}"}
        falha = self._tentar(lista)
        if falha and not isinstance(falha, BrokerFora):
            # Um broker que morre bem agora parece outra coisa (nem é um RabbitMQ): só a segunda
            # vez convence.
            time.sleep(SEGUNDA_OPINIAO)
            falha = self._tentar(lista)
        if falha:
            raise falha
        self._conexao.add_on_close_callback(self._ao_encerrar)

    def _tentar(self, lista: list) -> Falha | None:
        """Cada endereço, um depois do outro; a falha, se nenhum serviu.

        De um nome com vários IPs, o pika só deixa o primeiro se ele nem aceita a ligação.
        """
        fracassos: list[BaseException] = []
        for endereco in lista:
            fim: list = []
            chegou = lambda *resultado: (fim.append(resultado), self.acordar())  # noqa: E731
            conexao = pika.SelectConnection(
                endereco, on_open_callback=chegou, on_open_error_callback=chegou,
                custom_ioloop=self._servicos)
            try:
                while not fim:
                    self._girar(1)
            except BaseException:  # um Ctrl-C: o pika fecha o que abriu, se lhe pedirem
                with suppress(Exception):
                    conexao.close()
                    self._girar(0.2)
                raise
            if len(fim[0]) == 1:  # só a conexão, sem um erro ao lado
                self._conexao = conexao
                return None
            fracassos.append(fim[0][1])
        return explicar(fracassos, onde())

    def abrir_canal(self, ao_encerrar: Callable | None = None):
        """Um canal do pika, já aberto.

        ao_encerrar: recebe (canal, motivo) se o broker o encerra; sem ela, isso derruba `andar`.
        """
        aberto: list = []
        with traduzindo():
            canal = self._conexao.channel(
                on_open_callback=lambda canal: (aberto.append(canal), self.acordar()))
        canal.add_on_close_callback(ao_encerrar or self._ao_encerrar)
        self.esperar(lambda: aberto, "a abertura de um canal")
        return canal

    def fechar(self) -> None:
        """Larga a conexão: o que estava em mãos, sem ack, volta à fila na hora. Pode repetir.

        Uma conexão apenas esquecida continuaria ouvinte, e seguraria até o próximo heartbeat as
        mensagens que já recebeu. Serve também depois de um Ctrl-C no meio de um passo.
        """
        conexao, self._conexao = self._conexao, None
        prazo = time.monotonic() + PRAZO_DE_FECHO
        try:
            with suppress(Exception):  # a que já caiu não precisa ser fechada
                if conexao and not (conexao.is_closed or conexao.is_closing):
                    conexao.close()
                while conexao and not conexao.is_closed and time.monotonic() < prazo:
                    self._girar(0.2)
        finally:
            # Um Ctrl-C no primeiro instante de um passo deixa o laço do pika dizendo que ainda
            # roda: ele não se fecha, e o sistema operacional fecha o socket no fim do processo.
            with suppress(Exception):
                self._laco.close()

    def _ao_encerrar(self, de_que, motivo: BaseException) -> None:
        if isinstance(motivo, pika.exceptions.ChannelClosedByClient):
            return
        if self._conexao and not self._erro:  # o primeiro motivo é o verdadeiro
            self._erro = explicar([motivo], onde())
        self.acordar()

    # --- andar ---

    def andar(self, segundos: float) -> None:
        """Um passo: manda o que espera e recebe por até `segundos`, ou até que algo chegue.

        Levanta BrokerFora ou Falha se o broker encerrou o canal, a conexão ou o consumo.
        """
        if not self._erro:
            self._girar(segundos)
        if self._erro:
            raise self._erro

    def _girar(self, segundos: float) -> None:
        despertador = self._laco.call_later(segundos, self.acordar)
        try:
            if self.transporte:
                self.transporte.mandar()
            self._laco.start()
        finally:  # um Ctrl-C também passa por aqui
            self._laco.remove_timeout(despertador)
            self._acordando = False
            if self.transporte:
                self.transporte.juntar()

    transporte = property(lambda self: self._servicos.transporte)  # None antes de haver conexão

    def acordar(self) -> None:
        """Para os callbacks: há o que ver, e o passo pode acabar."""
        if not self._acordando:
            self._acordando = True
            self._laco.stop()

    def esperar(self, condicao: Callable, o_que: str) -> None:
        """Anda até `condicao()` valer; BrokerFora se ela não vem em PACIENCIA segundos."""
        prazo = time.monotonic() + PACIENCIA
        while not condicao():
            self.andar(1)
            if time.monotonic() > prazo:
                raise BrokerFora(f"o RabbitMQ em {onde()} não respondeu em {PACIENCIA:.0f} s: "
                                 f"esperava {o_que}")

    def pedir(self, metodo: Callable, *argumentos, **opcoes):
        """Chama um método do canal que o broker responde, e devolve a resposta.

        metodo: como `conexao.canal.queue_declare`. Levanta o mesmo que `andar`.
        """
        resposta: list = []
        with traduzindo():
            metodo(*argumentos, callback=lambda quadro: (resposta.append(quadro), self.acordar()),
                   **opcoes)
        self.esperar(lambda: resposta, f"a resposta a {metodo.__name__}")
        return resposta[0].method


class traduzindo:
    """Dentro deste bloco, todo erro do pika sai como BrokerFora ou Falha."""

    def __enter__(self):
        return self

    def __exit__(self, tipo, erro, rastro):
        if isinstance(erro, (pika.exceptions.AMQPError, OSError)):
            raise explicar([erro], onde()) from None
