"""Um broker para quem precisa: o que já responde, ou um nó privado, dividido entre lançadores.

    no = garantir(pasta)                 # None: responde um broker que não é nosso
    ...
    no.largar()                          # o último que sai desliga

Como saber quem é o último, mesmo que alguém seja morto com SIGKILL? Um contador num
arquivo ficaria errado para sempre. Uma trava que o sistema operacional solta com o
processo, não. O SQLite as oferece em qualquer sistema: num banco vazio, sem WAL
(manual do SQLite, "File Locking And Concurrency In SQLite Version 3", seção 3),

    quem usa o nó         mantém uma leitura aberta       SHARED     vários ao mesmo tempo
    quem vai ligar        pede BEGIN IMMEDIATE            RESERVED   um só, sem expulsar leitores
    quem sai              pede BEGIN EXCLUSIVE            EXCLUSIVE  só se ninguém mais lê

Dois lançadores que partem juntos disputam RESERVED: um liga, o outro espera e encontra
o nó pronto. Quem chega enquanto o último está desligando espera o SHARED. E se o último foi
morto com SIGKILL, quem desliga é vigia.py, que pede EXCLUSIVE de vez em quando.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

from no_privado.instalacao import endereco_de_casa
from no_privado.no import PRAZO_PARADA, PRAZO_PARTIDA, NoPrivado, OutraVersao  # noqa: F401
from rabbitmq.conexao import Conexao, enderecos
from comum.falha import Falha, em_portugues
from comum.tela import dizer
from rabbitmq.erros import BrokerFora

# Segundos que quem sai espera pelas outras leituras. Não pode ser zero: dois que saem no
# mesmo instante se veriam um ao outro, os dois achariam que não são o último, e o nó ficaria.
ESPERA_DE_QUEM_SAI = 0.5


def bater_a_porta() -> None:
    """Entra no broker e sai; levanta o mesmo que Conexao()."""
    Conexao("orquestracao").fechar()


def garantir(pasta: Path, recomecar: bool = False, entrar=bater_a_porta) -> NoCompartilhado | None:
    """Usa o RabbitMQ que responde; se nenhum, e o endereço é desta máquina, liga um em `pasta`.

    entrar(): a primeira conexão; levanta BrokerFora se ninguém responde.
    recomecar: se os dados que há ali são de outra versão do RabbitMQ, apaga-os.
    Devolve o nó privado, ou None se o broker é de outro. Levanta Falha (código 2), e
    OutraVersao se os dados são de outra versão.
    """
    try:
        entrar()
        # Quem responde pode ser o nó de outro orquestracao.py: aí ele passa a ser nosso também.
        return ligar_no_privado(pasta) if no_ligado(pasta) else None
    except BrokerFora as fora:
        if not endereco_local():
            raise Falha(f"{fora}: suba-o, ou tire RABBITMQ_URL para usar um nó privado nesta "
                        "máquina", 2) from None
    dizer(f"nenhum RabbitMQ responde: inicio um nó privado em {pasta}")
    no = ligar_no_privado(pasta, recomecar)
    if no and no.pagina_url:
        dizer(f"página de administração: {no.pagina_url} (usuário guest, senha guest)")
    return no


def ligar_no_privado(pasta: Path, recomecar: bool = False) -> NoCompartilhado | None:
    """O nó privado no endereço de RABBITMQ_URL.

    None se ele não é desta máquina, ou se ali responde outro broker.
    """
    if local := endereco_local():
        maquina, *resto = local
        return usar_no_privado(pasta, *resto, maquina=maquina, recomecar=recomecar)
    return None


def no_ligado(pasta: Path) -> bool:
    """Se o nó privado de `pasta`, no endereço de RABBITMQ_URL, está vivo."""
    local = endereco_local() if pasta.exists() else None
    return bool(local) and NoPrivado(pasta, *local[1:], maquina=local[0]).vivo()


def endereco_local() -> tuple | None:
    """O primeiro endereço de RABBITMQ_URL em que um nó privado pode responder, ou None.

    Como (127.0.0.1 ou ::1, porta, usuário, senha, vhost).
    """
    for e in enderecos():
        if e.ssl_options is None and (de_casa := endereco_de_casa(e.host)):
            quem = e.credentials
            return de_casa, e.port, quem.username, quem.password, e.virtual_host
    return None


def usar_no_privado(pasta, porta: int, usuario: str = "guest", senha: str = "guest",
                    vhost: str = "/", **opcoes) -> NoCompartilhado | None:
    """Entra no nó privado de `pasta` e `porta`, ligando-o se preciso; devolve-o já respondendo.

    Devolve None se quem responde AMQP nessa porta é um broker que não é desta pasta:
    não há o que ligar nem desligar. opcoes: as de NoPrivado (`pagina=False`...).
    Levanta Falha: não instalado (COMO_INSTALAR), porta ocupada, pasta sem permissão, prazo.
    """
    no = NoCompartilhado(pasta, porta, usuario, senha, vhost, **opcoes)
    no.entrar()
    try:
        e_nosso = no.garantir()
    except BaseException:
        no.largar()
        raise
    if not e_nosso:
        no.sair()
    return no if e_nosso else None


class NoCompartilhado(NoPrivado):
    """Um NoPrivado com uma lista de presença."""

    _presenca: sqlite3.Connection | None = None

    def entrar(self) -> None:
        """Marca presença: enquanto este processo viver, ou até `largar`, ninguém desliga o nó."""
        if self._presenca is not None:
            return
        try:
            self.pasta.mkdir(mode=0o700, parents=True, exist_ok=True)
            presenca = self._abrir(PRAZO_PARADA + 10)
            presenca.execute("BEGIN")
            presenca.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except (OSError, sqlite3.Error) as erro:
            raise em_portugues(erro, str(self.pasta)) from erro
        self._presenca = presenca

    def garantir(self, prazo: float = PRAZO_PARTIDA) -> bool:
        """Liga o nó se ele não está vivo (ou caiu); False se a porta já é de um broker alheio.

        prazo: segundos. Um de cada vez: quem espera aqui encontra o nó que o outro ligou.
        """
        try:
            with closing(self._abrir(prazo + 10)) as vez:
                vez.execute("BEGIN IMMEDIATE")
                if not self.vivo() and self.responde():
                    return False
                self.iniciar(prazo)
                return True
        except sqlite3.Error as erro:
            raise em_portugues(erro, str(self.pasta / "presenca.db")) from erro

    def reviver(self) -> bool:
        """Depois que o nó morreu: entra e garante de novo; devolve o mesmo que garantir()."""
        self.sair()  # senão, no fim, acharíamos que ainda há outro programa usando o nó
        self.entrar()
        return self.garantir()

    def largar(self) -> bool:
        """Sai; se era o último, desliga o nó. Devolve se desligou. Pode repetir."""
        if self._presenca is None:
            return False
        self.sair()
        return self.desligar_se_ninguem_usa(ESPERA_DE_QUEM_SAI)

    def desligar_se_ninguem_usa(self, espera: float) -> bool:
        """Devolve se desligou. espera: segundos pelos que estão saindo agora."""
        with ExitStack() as fim:
            try:
                vez = fim.enter_context(closing(self._abrir(espera)))
                vez.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as erro:
                if "locked" in str(erro):
                    return False  # há mais alguém usando
                # Apagaram a pasta com o nó ligado: ninguém mais o acharia para desligar.
            self.parar()
            return True

    def lancar(self, servidor: Path) -> None:
        super().lancar(servidor)
        self._processos.append(subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("vigia.py")), str(self.pasta.parent),
             str(self.porta)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, cwd="/", start_new_session=True))

    def sair(self) -> None:
        """Tira a presença sem desligar nada."""
        if self._presenca is not None:
            self._presenca.close()
            self._presenca = None

    def _abrir(self, espera: float) -> sqlite3.Connection:
        # check_same_thread: quem larga pode ser o tratador do Ctrl-C, em outra thread.
        return sqlite3.connect(self.pasta / "presenca.db", timeout=espera, isolation_level=None,
                               check_same_thread=False)
