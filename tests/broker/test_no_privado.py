"""O nó privado do RabbitMQ: não incomoda ninguém, não perde nada e não fica para trás."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from cluster import No, modulo, rabbitmqctl
from bloqueante import conectar, declarar
from conftest import RAIZ, carregar, conferir_que_acabou, esperar, processos_do_no, vhost_novo
from verbos import SERVICOS, Loja, Programa, mistura

instalacao = carregar("microsservicos", "configuracao")
Falha, em_portugues = carregar("microsservicos", "falha").Falha, carregar("microsservicos", "falha").em_portugues
precisa_de_proc = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="só o Linux mostra /proc")
LOCAL = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")  # 127.0.0.1 e ::1


def escutas(pids) -> set[tuple[str, int]]:
    """Onde estes processos escutam: (endereço em hexadecimal, porta)."""
    sockets = set()
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            alvo = os.readlink(fd) if fd.is_symlink() else ""
            if alvo.startswith("socket:["):
                sockets.add(alvo[8:-1])
    linhas = [linha.split() for arquivo in ("/proc/net/tcp", "/proc/net/tcp6") if Path(arquivo).exists()
              for linha in Path(arquivo).read_text().splitlines()[1:]]
    enderecos = [campos[1].split(":") for campos in linhas if campos[3] == "0A" and campos[9] in sockets]
    return {(maquina, int(porta, 16)) for maquina, porta in enderecos}


@precisa_de_proc
@pytest.mark.longo
def test_em_pasta_com_espacos_e_acentos_nada_escuta_fora_e_nada_fica(no_novo, tmp_path, monkeypatch):
    """Também: o ambiente do usuário não entra, e senha e vhost podem ter qualquer caractere."""
    for nome in ("RABBITMQ_NODENAME", "NODENAME", "RABBITMQ_NODE_PORT", "RABBITMQ_CONFIG_FILE", "ERL_FLAGS",
                 "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "RABBITMQ_MNESIA_DIR", "http_proxy", "LC_ALL", "PYTHONPATH"):
        monkeypatch.setenv(nome, "intruso")
    no = no_novo(tmp_path / "aula de sábado" / ("dados é 日本 " * 12) / "rabbitmq", None, "professora",
                 "p@ss #:/ç%", "aula 1/ã", pagina=True).iniciar()
    conectar(no.url).close()
    assert "aula 1/" in rabbitmqctl(no, "list_vhosts"), "o script que se aconselha"
    sem_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with sem_proxy.open(no.pagina_url, timeout=60) as pagina:
        assert b"RabbitMQ" in pagina.read()

    assert os.getsid(no.pid) != os.getsid(0)  # outra sessão: o Ctrl-C deste terminal não chega ao nó

    processos = processos_do_no(no)
    abertas = escutas(processos)
    portas = {porta for _, porta in abertas}  # AMQP, página, epmd e a distribuição do Erlang
    assert {no.porta, no.porta + 10000} < portas and len(portas) == 4
    assert [(maquina, porta) for maquina, porta in abertas if maquina not in LOCAL] == []
    assert sum("epmd" in comando.split()[0] for comando in processos.values()) == 1

    no.parar()
    conferir_que_acabou(no)


# --- quem o usa, e quem o desliga ---

@pytest.fixture
def lancadores(no_novo, tmp_path):
    """(um nó ainda desligado, uma função que inicia mais um lançador dele)."""
    no, todos = no_novo(familia="loja"), []

    def mais_um() -> Programa:
        todos.append(Programa(RAIZ / "orquestracao.py", "--so-broker", "--dados", tmp_path, url=no.url))
        return todos[-1]

    yield no, mais_um
    for lancador in todos:
        lancador.matar()


@precisa_de_proc
@pytest.mark.longo
def test_lancadores_dividem_um_no_e_so_o_ultimo_desliga(lancadores):
    """Dois iniciam juntos; um morre sem se despedir; um terceiro adota; os que saem não derrubam os que ficam."""
    no, lancar = lancadores
    ana, bruno = lancar(), lancar()
    for um in ana, bruno:
        um.esperar_dizer("Ligue cada serviço", 60)
    pid = no.pid
    ana.matar()
    carla = lancar().esperar_dizer("Ligue cada serviço")
    bruno.matar()
    no.iniciar()
    assert carla.interromper().fim() == 0
    assert no.vivo() and no.responde() and no.pid == pid
    no.largar()
    conferir_que_acabou(no)


@precisa_de_proc
def test_kill_9_no_lancador_com_o_no_a_meio_caminho_nao_deixa_nada(lancadores):
    no, lancar = lancadores
    lancador = lancar()
    esperar(lambda: no.pid, que="a máquina virtual aparecer")
    assert not no.responde()
    lancador.matar()
    esperar(lambda: not processos_do_no(no), que="o fim do nó, do epmd e do guardião")


@pytest.fixture(scope="module")
def no_ligado(tmp_path_factory):
    """Um nó como o de um lançador, que os testes daqui dividem."""
    no = No(tmp_path_factory.mktemp("dividido") / "rabbitmq", familia="loja").iniciar()
    yield no
    no.matar()


@precisa_de_proc
def test_kill_9_no_guardiao_leva_o_no_que_volta_com_tudo_o_que_ja_tinha_confirmado(no_ligado):
    """Sem gravar_ultima_fila, a última fila que nasceu volta sem o que confirmou, do 3.10 ao 4.3."""
    declarar(no_ligado.url, "00000001")
    filas = [fila for nome in SERVICOS for fila in (nome, f"{nome}.mortas")]
    with conectar(no_ligado.url) as conexao:
        canal = conexao.channel()
        canal.confirm_delivery()
        for fila in filas:
            canal.basic_publish("", fila, b"guarde", mandatory=True)
    [guardiao] = [pid for pid, comando in processos_do_no(no_ligado).items() if "guardiao.py" in comando]
    os.kill(guardiao, signal.SIGKILL)
    esperar(lambda: not no_ligado.vivo(), que="o nó, sem guardião, acabar")
    conferir_que_acabou(no_ligado)
    no_ligado.iniciar()
    with conectar(no_ligado.url) as conexao:
        canal = conexao.channel()
        for fila in filas:
            metodo, _, corpo = next(canal.consume(fila, inactivity_timeout=20))
            assert metodo and corpo == b"guarde", f"{fila} perdeu o que tinha confirmado"
            canal.cancel()


# --- o broker no limite ---

@pytest.fixture
def loja(no_ligado, tmp_path):
    loja = Loja(tmp_path / "dados", f"{no_ligado.url.rsplit('/', 1)[0]}/{vhost_novo(no_ligado)}", fartura=True)
    yield loja
    loja.fechar()


def test_broker_no_limite_bloqueia_e_tudo_anda_quando_ele_se_alivia(no_ligado, loja):
    loja.enviar(*mistura(200, "a"))
    loja.iniciar("pedidos", "estoque")
    esperar(lambda: loja.profundidade("pagamentos") == 150, que="a fila de pagamentos")
    try:
        rabbitmqctl(no_ligado, "set_vm_memory_high_watermark", "0.0001")
        loja.iniciar("pagamentos", "envio")
        loja.enviar(*mistura(200, "b"))
        for nome in ("pedidos", "pagamentos"):
            loja.programas[nome][0].esperar_dizer("não aceita publicações agora (memória ou disco no limite)")
        assert loja.pendentes() >= 350 and all(loja.programas[nome][0].vivo() for nome in SERVICOS)
    finally:
        rabbitmqctl(no_ligado, "set_vm_memory_high_watermark", "0.4")
    esperar(lambda: loja.programas["pedidos"][0].texto.count(": pronto") == 2, que="pedidos dizer que voltou")
    loja.conferir_repouso()
    for nome in SERVICOS:
        [programa] = loja.programas[nome]
        assert programa.texto.count("não aceita publicações") <= 1 and programa.texto.count(": pronto") <= 2, programa.texto
        programa.limpo()


# --- o broker de outro ---

def test_copia_da_pasta_nao_toma_o_no_para_si_nem_o_desliga(no_ligado, tmp_path, monkeypatch):
    """De quem é o nó não está escrito em arquivo nenhum; e o lançador da cópia diz o que fazer."""
    da_pasta = no_ligado.pasta.parent
    shutil.copytree(da_pasta, tmp_path / "cópia")
    copia = No(tmp_path / "cópia", no_ligado.porta, familia="loja")
    assert not copia.vivo() and not copia.usar()
    copia.largar()
    assert no_ligado.vivo() and no_ligado.responde()
    monkeypatch.setenv("RABBITMQ_URL", no_ligado.url)
    with pytest.raises(Falha, match=r"use outra, com RABBITMQ_URL=amqp://guest:guest@localhost:\d+/"):
        modulo.garantir(tmp_path / "cópia")
    assert modulo.garantir(da_pasta).vivo(), "o da própria pasta é nosso"


def test_broker_alheio_na_porta_e_usado_e_nao_desligado(broker, tmp_path, monkeypatch):
    monkeypatch.setenv("RABBITMQ_URL", broker.url)
    assert modulo.garantir(tmp_path) is None and not [*tmp_path.iterdir()]
    assert not No(tmp_path, broker.porta).usar()
    assert broker.responde()


def test_com_um_broker_de_outra_maquina_o_no_privado_desligado_fica_desligado(tmp_path, monkeypatch):
    """A pasta dele existe, de outro dia; quem respondeu foi o primeiro endereço, e o segundo é desta máquina."""
    monkeypatch.setenv("RABBITMQ_URL", f"amqp://outra.maquina/,amqp://localhost:{instalacao.porta_livre()}/")
    monkeypatch.setattr(modulo, "quem_responde", lambda: "outra.maquina")
    (tmp_path / "rabbitmq").mkdir()
    assert modulo.garantir(tmp_path / "rabbitmq") is None
    assert not [*(tmp_path / "rabbitmq").iterdir()]


def test_porta_de_outro_programa_so_e_recusada_depois_do_prazo(no_novo, monkeypatch):
    """Antes, pode ser o Docker, que abre a porta antes que o RabbitMQ de dentro fique pronto."""
    monkeypatch.setattr(modulo, "PRAZO_INICIO", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as outro:
        no = no_novo(porta=outro.getsockname()[1])
        monkeypatch.setattr(no, "responde", lambda: False)
        with pytest.raises(Falha, match=f"porta {no.porta} está ocupada") as falha:
            no.usar()
        assert "\n" not in str(falha.value) and falha.value.codigo == 2
        respostas = iter([False, False, True])
        monkeypatch.setattr(no, "responde", lambda: next(respostas))
        assert no.usar() is False


# --- o que impede, em uma linha ---

def test_rabbitmq_ausente_ensina_a_instalar(no_novo, monkeypatch):
    monkeypatch.setattr(instalacao, "SERVIDORES", ("rabbitmq-server",))
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(Falha) as falha:
        no_novo().iniciar()
    for comando in ("apt install", "brew install", "WSL2", "docker run"):
        assert comando in str(falha.value)
    assert falha.value.codigo == 2


@pytest.mark.parametrize("erro, linha", [
    (OSError(errno.ENOSPC, "No space left on device"), "disco cheio"),
    (PermissionError(errno.EACCES, "Permission denied", "dados"), "dados não dá permissão de acesso: é de outro usuário (de um sudo?)")])
def test_erro_do_disco_com_o_no_ja_ligado_e_uma_linha_e_nao_deixa_nada(no_novo, tmp_path, monkeypatch, erro, linha):
    no = no_novo(tmp_path / "dados" / "rabbitmq")

    def falhar_depois_de_ligar() -> bool:
        if no.pid:
            raise erro
        return False

    monkeypatch.setattr(no, "responde", falhar_depois_de_ligar)
    with pytest.raises(OSError) as falha:
        no.iniciar()
    assert linha in str(em_portugues(falha.value))
    no.largar()  # como o fim do lançador
    conferir_que_acabou(no)


# O que o rabbitmq-server diz, no registro, antes de acabar; e a linha que se mostra.
REGISTROS = {
    "Cookie file ./.erlang.cookie must be accessible by owner only": "não guarda permissões.*--dados",
    '{error,{cannot_read_file,"dados/x",eacces}}': "sudo chown -R .*dados",
    "write failed: enospc": "disco cheio",
    "{error,{already_started,eaddrinuse}}": "tomou uma porta.*rode de novo",
    "um motivo que ninguém conhece": "o motivo está em .*no.log",
}


@pytest.mark.parametrize("registro", REGISTROS)
def test_no_que_nao_inicia_diz_por_que_em_uma_linha(no_novo, tmp_path, monkeypatch, registro):
    servidor = tmp_path / "sbin" / "rabbitmq-server"
    servidor.parent.mkdir()
    servidor.write_text(f"#!/bin/sh\necho '{registro}'\nexit 1\n")
    servidor.chmod(0o755)
    monkeypatch.setattr(instalacao, "SERVIDORES", (str(servidor),))
    no = no_novo(tmp_path / "dados" / "rabbitmq")
    with pytest.raises(Falha, match=REGISTROS[registro]) as falha:
        no.iniciar()
    vezes = 3 if "eaddrinuse" in registro else 1  # as portas tomadas são trocadas por outras
    assert no.registro.read_text().count(registro) == vezes
    assert falha.value.codigo == 2 and "\n" not in str(falha.value)
    conferir_que_acabou(no)


@pytest.mark.longo
def test_dados_que_esta_versao_nao_le_sao_ditos_com_as_duas_versoes(no_novo):
    no = no_novo()
    (no.pasta / "dados").mkdir(parents=True)
    (no.pasta / "dados" / no.nome).write_text("aqui devia haver uma pasta")
    (no.pasta / "versao").write_text("1.2.3\n")
    with pytest.raises(Falha) as falha:
        no.iniciar()
    instalada = instalacao.versao_instalada(instalacao.localizar_rabbitmq())
    assert "RabbitMQ 1.2.3" in str(falha.value) and f"o {instalada}, agora" in str(falha.value)
    assert "\n" not in str(falha.value) and falha.value.codigo == 2
    assert (no.pasta / "dados" / no.nome).exists(), "apagou sem licença"
    conferir_que_acabou(no)


@pytest.mark.longo
@pytest.mark.parametrize("idioma", [None, "C", "C.UTF-8"])
def test_pasta_com_acentos_que_muda_de_lugar_leva_as_filas(no_novo, tmp_path, monkeypatch, idioma):
    """Nem o idioma do sistema nem o caminho fazem parte dos dados: renomear a pasta não os perde."""
    for nome in ("LANG", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(nome, raising=False)
    if idioma:
        monkeypatch.setenv("LANG", idioma)
    no = no_novo(tmp_path / "aula é 日本" / "rabbitmq").iniciar()
    declarar(no.url, "00000001")
    with conectar(no.url) as conexao:
        canal = conexao.channel()
        canal.confirm_delivery()
        canal.basic_publish("", "estoque", b"guarde", mandatory=True)
    no.parar()
    (tmp_path / "aula é 日本").rename(tmp_path / "outro nome, ç")
    monkeypatch.setenv("LANG", "C.UTF-8")
    mudou = no_novo(tmp_path / "outro nome, ç" / "rabbitmq", no.porta).iniciar()
    with conectar(mudou.url) as conexao:
        assert conexao.channel().basic_get("estoque")[2] == b"guarde"
    mudou.parar()


def test_quem_larga_um_guardiao_suspenso_nao_o_espera_para_sempre(tmp_path, monkeypatch):
    monkeypatch.setattr(carregar("microsservicos", "guardiao"), "PRAZO_PARADA", -4.5)
    no = carregar("microsservicos", "no").NoPrivado(tmp_path, 1)
    no._uso, no.vivo = open(tmp_path / "uso", "ab"), iter(range(1, 300)).__next__
    no.largar()
