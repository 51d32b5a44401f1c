"""Um broker para quem precisa: o que já responde, ou um nó de RabbitMQ só desta pasta.

    no = garantir(pasta)                 # None: responde um broker que não é nosso
    ...
    no.largar()                          # o último que sai desliga

O nó privado, que os lançadores da pasta dividem, é o `rabbitmq-server` instalado, como o usuário
atual, sem tocar no RabbitMQ do sistema: pasta, nome, cookie, epmd e configuração são próprios, e
nada escuta além do loopback. Na pasta dele:

    guardiao      travado enquanto o nó está ligado, por guardiao.py, que é o pai dele
    uso           travado por todo lançador que usa o nó (ver guardiao.py)
    rabbitmq.conf, plugins, definicoes.json   a configuração, refeita a cada início
    rabbitmqctl   um script que fala com este nó:   sh rabbitmqctl status
    dados         filas e mensagens;   versao   a do RabbitMQ que as escreveu
    no.log        tudo o que o nó disse

Uma trava é do arquivo, e não do que está escrito nele: numa cópia da pasta, com o nó da original
ligado, não há trava nenhuma. E nenhuma fica para trás: o sistema a solta com o processo.
"""

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN
from pathlib import Path

from comum.falha import Falha
from comum.tela import dizer
from no_privado import guardiao
from no_privado.configuracao import (COMO_INSTALAR, ambiente, configuracao, definicoes,
                                     localizar_rabbitmq, numeros, porta_livre, rabbitmqctl,
                                     versao_instalada)
from no_privado.guardiao import travar
from rabbitmq.acesso import DESTA_MAQUINA, BrokerFora, enderecos
from rabbitmq.conexao import Conexao

PRAZO_INICIO = 60.0  # segundos; medido: 7 numa máquina de 2 núcleos
PASSO = 0.05         # segundos entre duas perguntas "já?"
INICIOS = 3          # vezes que se tenta com outras portas, se tomaram as que estavam livres

PORTA_TOMADA = "outro programa tomou uma porta que estava livre: rode de novo"
MOTIVOS = (  # (o que o nó escreveu no registro, o que isso quer dizer)
    (rb"accessible by owner only", "o disco de {pasta} não guarda permissões, e o Erlang precisa "
                                   "delas: use --dados com uma pasta num disco do Linux"),
    (rb"eacces|cannot_read_file|[Pp]ermission denied",
     "há arquivos de outro usuário em {dados} (de um sudo?): devolva-os com  sudo chown -R "
     "$(id -un) {dados}  ou use --dados OUTRA_PASTA"),
    (rb"enospc|No space left", "disco cheio em {pasta}: libere espaço"),
    (rb"eaddrinuse|already_used", PORTA_TOMADA),
)
OCUPADA = ("a porta {porta} está ocupada por outro programa (ou é proibida): libere-a, ou escolha "
           "outra em RABBITMQ_URL")
DEMOROU = "o RabbitMQ não respondeu a tempo; ver {registro}"
NAO_SE_SABE = "o RabbitMQ não ficou de pé; o motivo está em {registro}"
OUTRA_VERSAO = ("os dados do nó privado são do RabbitMQ {escreveu}, e o {instalada}, agora "
                "instalado, não os lê. Há pedidos pendentes (python microsservicos/rastro.py "
                "--pendentes)? Volte à versão anterior e termine-os (--sem-pedido --ate-concluir). "
                "Não há? Apague {pasta} e rode de novo")


class NoPrivado:
    """O nó, ligado ou não, em `pasta/loja-PORTA/`.

    pasta: onde guardar tudo (é criada). porta: a do AMQP, em 127.0.0.1 e em ::1.
    usuario, senha, vhost: criados ou atualizados a cada início, com todas as permissões.
    """

    familia = "loja"  # o começo do nome Erlang

    def __init__(self, pasta, porta: int, usuario: str = "guest", senha: str = "guest",
                 vhost: str = "/"):
        self.porta = porta
        self.usuario, self.senha, self.vhost = usuario, senha, vhost
        self.nome = f"{self.familia}-{porta}@localhost"
        self.pasta = Path(pasta).absolute() / self.nome.split("@")[0]
        self.registro = self.pasta / "no.log"
        self._uso, self._instalada = None, ""  # o arquivo travado; a versão do RabbitMQ que há

    def vivo(self) -> bool:
        """Se o nó está ligado, seja por quem for: se alguém tem a trava do guardião."""
        with suppress(OSError), open(self.pasta / "guardiao", "rb+") as trava:
            return not travar(trava, LOCK_EX)
        return False

    def responde(self) -> bool:
        """Se já se entra em algum endereço de RABBITMQ_URL, seja de quem for o broker."""
        with suppress(BrokerFora):
            quem_responde()
            return True
        return False

    @property
    def pagina_url(self) -> str:
        """O endereço da página de administração, de um nó já ligado uma vez."""
        porta = re.search(r"management\.tcp\.port = (\d+)", self._ler("rabbitmq.conf"))[1]
        return f"http://127.0.0.1:{porta}/"

    # --- usar, e deixar de usar ---

    def usar(self) -> bool:
        """Passa a usar o nó, ligando-o se preciso; volta quando ele responde. Pode repetir.

        A partir da trava de `uso`, enquanto este processo viver, o guardião não acaba; depois, ou
        com largar(), acaba, mesmo se isto foi interrompido no meio.
        False se quem responde na porta não é o desta pasta: não há o que ligar.
        Levanta OSError, e Falha (código 2): não instalado, porta ocupada, prazo.
        """
        self.largar()
        self.pasta.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._uso = open(self.pasta / "uso", "ab")
        inicios, limite = 0, time.monotonic() + PRAZO_INICIO
        while not (travar(self._uso, LOCK_SH) and self.vivo() and self.responde()):
            with open(self.pasta / "guardiao", "ab") as trava:
                # Sem as duas, alguém o está ligando ou desligando.
                if travar(self._uso, LOCK_SH) and travar(trava, LOCK_EX):
                    if self.responde():
                        return False
                    if inicios:
                        self._depois_de_acabar(inicios)
                    if porta_livre(self.porta):
                        inicios += 1
                        self._ligar(trava)
            if time.monotonic() > limite:
                raise self._falha(DEMOROU if inicios or self.vivo() else OCUPADA)
            time.sleep(PASSO)
        if inicios:
            self._gravar("versao", self._instalada)
        return True

    def largar(self) -> None:
        """Deixa de usar o nó; se era o último, espera que o guardião o desligue. Pode repetir."""
        if self._uso is None:
            return
        # Um guardião suspenso (SIGSTOP) não acaba nunca.
        prazo = time.monotonic() + guardiao.PRAZO_PARADA + 5
        with self._uso as uso:
            while self.vivo() and time.monotonic() < prazo:
                # Trocar a trava solta a que se tinha. Se dá para ter a compartilhada, e não a
                # exclusiva, há quem continue; se nem ela, o guardião está acabando.
                if not travar(uso, LOCK_EX) and travar(uso, LOCK_SH):
                    break
                travar(uso, LOCK_UN)
                time.sleep(PASSO)
        self._uso = None

    # --- ligar ---

    def _ligar(self, trava) -> None:
        """trava: o arquivo `guardiao`, já travado; o guardião a herda."""
        servidor = localizar_rabbitmq()
        if servidor is None:
            raise Falha(COMO_INSTALAR, 2)
        self._instalada = versao_instalada(servidor)
        if numeros(self._instalada) < numeros(self._ler("versao")):
            # Nem tentar: o 3.10 inicia com os dados do 4.3, e não vê nenhuma das filas deles.
            raise self._falha(OUTRA_VERSAO)
        variaveis = ambiente(servidor, self.pasta, self.nome, self.configurar())
        self._gravar("rabbitmqctl", rabbitmqctl(servidor, variaveis))
        with open(self.registro, "ab") as registro:
            self._inicio = registro.tell()
            # start_new_session: o Ctrl-C do terminal não chega ao nó.
            subprocess.Popen(
                [sys.executable, "-I", guardiao.__file__, servidor, str(self.porta),
                 str(trava.fileno())], pass_fds=[trava.fileno()], cwd=self.pasta, env=variaveis,
                umask=0o077, start_new_session=True, stdin=subprocess.DEVNULL, stdout=registro,
                stderr=registro)

    def configurar(self) -> int:
        """Escreve o que o nó vai ler ao iniciar; devolve a porta para o epmd."""
        pagina = porta_livre(self.porta + 10000) or porta_livre()
        self._gravar("rabbitmq.conf", configuracao(self.porta, pagina))
        self._gravar("plugins", "[rabbitmq_management].\n")
        self._gravar("definicoes.json", definicoes(self.usuario, self.senha, [self.vhost]))
        self._gravar(".erlang.cookie", self._ler(".erlang.cookie") or os.urandom(16).hex())
        return porta_livre()

    def _depois_de_acabar(self, inicios: int) -> None:
        """O nó acabou sem ter respondido: levanta Falha, se outras portas não bastam."""
        disse = self.registro.read_bytes()[self._inicio:]
        outra = self._ler("versao") not in ("", self._instalada)
        frase = next((frase for trecho, frase in MOTIVOS if re.search(trecho, disse)),
                     OUTRA_VERSAO if outra else NAO_SE_SABE)
        if frase != PORTA_TOMADA or inicios == INICIOS:
            raise self._falha(frase)

    def _falha(self, frase: str) -> Falha:
        return Falha(frase.format(pasta=self.pasta, dados=self.pasta.parents[1], porta=self.porta,
                                  registro=self.registro, escreveu=self._ler("versao"),
                                  instalada=self._instalada), 2)

    # --- os arquivos dele ---

    def _ler(self, nome: str) -> str:
        with suppress(OSError):
            return (self.pasta / nome).read_text(errors="replace").strip()
        return ""

    def _gravar(self, nome: str, texto: str) -> None:
        """Legível só pelo dono: o Erlang recusa um cookie que outros possam ler."""
        with open(self.pasta / nome, "w", opener=lambda *onde: os.open(*onde, 0o600)) as arquivo:
            arquivo.write(texto)


# --- para quem precisa de um broker ---

def garantir(pasta: Path) -> NoPrivado | None:
    """Usa o RabbitMQ que responde; se nenhum, e o endereço é desta máquina, liga um em `pasta`.

    Devolve o nó privado, ou None se o broker é de outro. Levanta Falha (código 2).
    """
    no = next((NoPrivado(pasta, e.port, e.credentials.username, e.credentials.password,
                         e.virtual_host)
               for e in enderecos() if e.ssl_options is None and e.host in DESTA_MAQUINA), None)
    try:
        quem = quem_responde()
        if no is None or quem != no.pasta.name:
            return None
    except BrokerFora as fora:
        if no is None:
            raise Falha(f"{fora}: suba-o, ou tire RABBITMQ_URL para usar um nó privado nesta "
                        "máquina", 2) from None
        if porta_livre(no.porta):
            dizer(f"nenhum RabbitMQ responde: inicio um nó privado em {pasta}")
        else:  # o Docker abre a porta antes que o RabbitMQ de dentro fique pronto
            dizer(f"quem tem a porta {no.porta} ainda não responde como um RabbitMQ: espero por "
                  "ele")
    if no.usar():  # o de outro orquestracao.py desta pasta passa a ser nosso também
        senha = ", senha guest" if no.senha == "guest" else ""
        dizer(f"página de administração: {no.pagina_url} (usuário {no.usuario}{senha})")
        return no
    if quem_responde() != no.pasta.name:  # um broker que só não respondia ainda
        return None
    # Entrar no de outra pasta misturaria duas lojas, e ninguém cria outro vhost num nó privado.
    raise Falha(f"na porta {no.porta} responde o nó privado de outra pasta (de outra pessoa, ou da "
                "original de que esta é cópia): use outra, com "
                f"RABBITMQ_URL=amqp://guest:guest@localhost:{no.porta + 1}/", 2)


def quem_responde() -> str:
    """O nome do broker: o de um nó privado, seja de que pasta for, é loja-PORTA."""
    with Conexao("orquestracao") as conexao:
        return conexao.nome_do_broker.split("@")[0]
