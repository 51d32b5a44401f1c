"""Ninguém entra: rede, senhas, certificados, arquivos, e o que uma mensagem poderia mandar fazer."""

from __future__ import annotations

import ast
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from cluster import No
from conftest import RAIZ, carregar, conferir_que_acabou, esperar, processos_do_no
from test_no_privado import LOCAL, escutas, precisa_de_proc
from venenos import venenos
from verbos import M, SEM_BROKER, SERVICOS, Loja, Programa, cenario, na_memoria, rodar

SENHA = "segredo@da:loja/100%"
SENHA_NA_URL = "segredo%40da%3Aloja%2F100%25"
FONTES = [*sorted((RAIZ / "monolito").rglob("*.py")), *sorted((RAIZ / "microsservicos").rglob("*.py")), RAIZ / "orquestracao.py"]


def sem_senha(texto: str) -> None:
    assert "segredo" not in texto, f"a senha apareceu:\n{texto}"


def como_outro_usuario(*comando) -> subprocess.CompletedProcess:
    """Roda um comando como `nobody`; só o root pode trocar de usuário."""
    return subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *map(str, comando)], capture_output=True)


# --- certificados ---

def certificar(pasta: Path, nome: str, *opcoes: str) -> None:
    """NOME.pem e NOME.key; sem `opcoes`, de uma autoridade."""
    pronto = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={nome}",
                             "-keyout", f"{nome}.key", "-out", f"{nome}.pem", *(opcoes or ("-addext", "keyUsage=critical,keyCertSign"))],
                            cwd=pasta, capture_output=True, text=True)
    assert pronto.returncode == 0, pronto.stderr


@pytest.fixture(scope="module")
def no_tls(tmp_path_factory):
    """Um nó privado com uma segunda porta, de TLS, e uma senha cheia de sinais.

    O certificado dele é da autoridade `ca`, e só para o nome `localhost`.
    """
    if not shutil.which("openssl"):
        pytest.skip("falta o comando openssl, que faz os certificados deste teste")
    pasta = tmp_path_factory.mktemp("tls")
    for autoridade in ("ca", "alheia"):
        certificar(pasta, autoridade)
    certificar(pasta, "servidor", "-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE",
               "-addext", "subjectAltName=DNS:localhost")
    livre = carregar("microsservicos", "configuracao").porta_livre
    porta_tls = livre()
    no = No(
        pasta / "dados" / "rabbitmq", livre(), "professora", SENHA, conf={
            "listeners.ssl.loja": f"127.0.0.1:{porta_tls}", "ssl_options.cacertfile": pasta / "ca.pem",
            "ssl_options.certfile": pasta / "servidor.pem", "ssl_options.keyfile": pasta / "servidor.key",
            "ssl_options.verify": "verify_none", "ssl_options.fail_if_no_peer_cert": "false"})
    no.certificados, no.porta_tls = pasta, porta_tls
    no.iniciar()
    esperar(lambda: aceita(porta_tls), que="a porta de TLS, que se abre depois da outra")
    yield no
    no.parar()
    conferir_que_acabou(no)


def aceita(porta: int) -> bool:
    with socket.socket() as tentativa:
        return tentativa.connect_ex(("127.0.0.1", porta)) == 0


def por_tls(no, script: str, dados: Path, *opcoes, maquina: str = "localhost", ca: str = "ca") -> Programa:
    """Um programa que fala com o nó por TLS, e confia só na autoridade `ca`."""
    onde = [] if script.endswith("mortas.py") else ["--dados", dados]
    return Programa(RAIZ / script, *onde, *opcoes, url=f"amqps://professora:{SENHA_NA_URL}@{maquina}:{no.porta_tls}/%2F",
                    ambiente={"SSL_CERT_FILE": str(no.certificados / f"{ca}.pem"), "SSL_CERT_DIR": os.devnull})


@precisa_de_proc
def test_amqps_com_a_autoridade_certa_funciona_e_a_senha_nao_aparece_em_lugar_nenhum(no_tls, tmp_path):
    """A saga inteira por TLS. Enquanto ela anda, olha a linha de comando de todo processo da máquina."""
    dados, vistas = tmp_path / "dados", set()
    lancador = por_tls(no_tls, "orquestracao.py", dados, "--cenario", "todos", "--ate-concluir")
    while lancador.vivo():
        for processo in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                vistas.add(processo.read_bytes())
            except OSError:
                continue  # terminou
        time.sleep(0.1)
    assert lancador.fim() == 0, lancador.texto
    assert lancador.disse("em dúvida: 0") and f"localhost:{no_tls.porta_tls}" in lancador.texto
    assert any(b"servico_pagamentos.py" in linha for linha in vistas), "os serviços foram vistos na lista de processos"
    assert not [linha for linha in vistas if SENHA.encode() in linha or SENHA_NA_URL.encode() in linha]
    sem_senha(lancador.texto)
    assert not (dados / "rabbitmq").exists(), "um endereço amqps:// não é motivo para ligar um nó privado"
    for arquivo in [*dados.rglob("*"), *no_tls.pasta.rglob("*")]:
        if arquivo.is_file():
            assert SENHA.encode() not in arquivo.read_bytes() and SENHA_NA_URL.encode() not in arquivo.read_bytes(), arquivo


@pytest.mark.parametrize("programa", ["orquestracao.py", "microsservicos/servico_estoque.py", "microsservicos/mortas.py"])
@pytest.mark.parametrize("ca, maquina", [("alheia", "localhost"), ("ca", "127.0.0.1")], ids=["autoridade-desconhecida", "nome-errado"])
def test_certificado_que_nao_confere_e_uma_linha_e_nenhuma_conexao(no_tls, tmp_path, programa, ca, maquina):
    antes = len(no_tls.registro.read_bytes())
    recusado = por_tls(no_tls, programa, tmp_path / "dados", maquina=maquina, ca=ca)
    assert recusado.fim() == 2, recusado.texto
    [linha] = [linha for linha in recusado.linhas if "Só inicia e vigia" not in linha]
    assert "certificado" in linha and "SSL_CERT_FILE" in linha
    recusado.limpo()
    sem_senha(recusado.texto)
    registro = no_tls.registro.read_bytes()[antes:]
    assert b"accepting AMQP connection" not in registro and b"authenticated" not in registro
    assert not (tmp_path / "dados" / "rabbitmq").exists()


def test_tls_na_porta_errada_e_uma_linha(no_tls):
    for esquema, porta in (("amqps", no_tls.porta), ("amqp", no_tls.porta_tls)):
        recusado = rodar("microsservicos/mortas.py", url=f"{esquema}://professora:{SENHA_NA_URL}@localhost:{porta}/")
        assert recusado.fim() != 0 and len(recusado.linhas) == 1, recusado.texto
        sem_senha(recusado.texto)


def test_conexao_segura_que_cai_vale_uma_nova_tentativa():
    """Um broker que morre no meio da conversa não é um certificado errado: o serviço não desiste dele."""
    import ssl
    explicar, BrokerFora, x = M.acesso.explicar, M.acesso.BrokerFora, "x"
    assert isinstance(explicar([ssl.SSLEOFError(8, "EOF occurred")], x), BrokerFora)
    assert isinstance(explicar([ssl.SSLZeroReturnError(6, "closed")], x), BrokerFora)
    errado = explicar([ssl.SSLCertVerificationError(1, "certificate verify failed")], x)
    assert not isinstance(errado, BrokerFora) and errado.codigo == 2


# --- a rede e os arquivos ---

@precisa_de_proc
def test_nada_escuta_fora_desta_maquina(no_tls):
    """AMQP, AMQP seguro, epmd e distribuição: nenhum.

    (A página de administração é conferida em test_no_privado.py.)
    """
    abertas = escutas(processos_do_no(no_tls))
    assert len({porta for _, porta in abertas}) == 4
    assert [item for item in abertas if item[0] not in LOCAL] == []


def test_cookie_e_configuracao_sao_so_do_dono(no_tls):
    for nome in (".erlang.cookie", "rabbitmq.conf", "definicoes.json", "rabbitmqctl"):
        assert stat.S_IMODE((no_tls.pasta / nome).stat().st_mode) == 0o600, nome
    assert stat.S_IMODE(no_tls.pasta.stat().st_mode) == 0o700


@pytest.fixture
def dados_dos_dois(tmp_path):
    """Uma pasta de dados usada pelas duas arquiteturas, criada com a máscara mais aberta que há."""
    antes = os.umask(0)
    try:
        dados = tmp_path / "dados"
        assert rodar("monolito/app.py", "--dados", dados).fim() == 0
        Loja(dados, SEM_BROKER)  # os quatro bancos, como os serviços os criam
    finally:
        os.umask(antes)
    return dados


def test_pastas_dos_bancos_sao_so_do_dono(dados_dos_dois):
    """Há nomes, saldos e endereços de clientes nos bancos."""
    for ala in ("monolito", "microsservicos"):
        assert stat.S_IMODE((dados_dos_dois / ala).stat().st_mode) == 0o700


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("setpriv"),
                    reason="só o root pode experimentar ser outro usuário")
def test_outro_usuario_da_maquina_nao_le_nada(dados_dos_dois, no_tls):
    for pasta in (dados_dos_dois, *dados_dos_dois.parents, *no_tls.pasta.parents):  # o caminho até lá não é o que protege
        if Path(tempfile.gettempdir()) in pasta.parents:
            pasta.chmod(pasta.stat().st_mode | 0o055)
    assert como_outro_usuario("ls", dados_dos_dois).returncode == 0
    segredos = [dados_dos_dois / "monolito" / "pedidos.db", dados_dos_dois / "microsservicos" / "pagamentos.db",
                no_tls.pasta / ".erlang.cookie", no_tls.registro]
    for arquivo in segredos:
        assert arquivo.exists() and como_outro_usuario("cat", arquivo).returncode != 0, arquivo


# --- senhas ---

MALFORMADAS = [
    "amqp://ana:segredo@", "amqp://ana:segredo", "ana:segredo@localhost", "http://ana:segredo@localhost/", "amqp//ana:segredo@localhost",
    "amqp://ana:segredo@[::1", "amqp://ana:segredo@[segredo]/", "amqp://ana:segredo@localhost:porta/", "amqp://ana:segredo@localhost:99999/",
    "amqp://ana:segredo@localhost:0/", "amqp://ana:99/segredo@localhost:1/", "amqp://ana:12?segredo@localhost:1/", "amqp://ana:#segredo@localhost:1/",
    "amqp://ana:1/segredo@localhost", "amqp://ana:seg,segredo@localhost/", "amqp://ana:1,segredo@localhost/", "amqp:ana:segredo@localhost",
    "amqp://ana:segredo@127.0.0.1:1/?heartbeat=segredo", "amqp://ana:segredo@127.0.0.1:1/?ssl_options=segredo", "amqp://ana:segredo@/",
    "amqp://ana:segredo@127.0.0.1:1/?retry_delay=segredo&x=segredo", "amqp://ana:segredo@127.0.0.1:1/?locale=segredo", "amqp:///segredo",
    "amqp://ana:segredo @localhost:1/", "amqp://ana:segredo\x1b[2J@localhost:1/", "amqp://ana:segredo\n@127.0.0.1:1/", ",", " ", "segredo",
    "amqp://ana:segredo@127.0.0.1:1/", "amqp://ana:%E0%FFsegredo@127.0.0.1:1/", "amqp://ana:segredo@127.0.0.1:1/" + "v" * 300,
    "amqp://" + "a" * 300 + ":segredo@127.0.0.1:1/", "amqp://ana:segredo@nao.existe.invalid:1/", "amqp://ana@segredo@127.0.0.1:1/",
    "amqp://ana:segredo\udce9@127.0.0.1:1/", "amqps://ana:segredo@127.0.0.1:1/", "amqp://ana:segredo@127.0.0.1:1/,amqp://bia:segredo@127.0.0.1:2/",
]


@pytest.mark.parametrize("url", MALFORMADAS, ids=range(len(MALFORMADAS)))
def test_endereco_ruim_com_senha_e_uma_linha_sem_a_senha(url, monkeypatch):
    fechada = SEM_BROKER.rsplit(":", 1)[1]  # uma porta em que ninguém escuta
    monkeypatch.setenv("RABBITMQ_URL", url.replace(":1/", f":{fechada}"))
    with pytest.raises(M.falha.Falha) as falha:
        M.conexao.Conexao("teste")
    texto = str(falha.value)
    sem_senha(texto)
    sem_senha(repr(falha.value.__cause__))
    assert falha.value.__suppress_context__ or falha.value.__context__ is None
    assert "RABBITMQ_URL" in texto or "não responde" in texto, texto


# --- o que uma mensagem poderia mandar fazer ---

# O que o interpretador avisa quando algo é aberto, executado, importado ou conectado (PEP 578).
PERIGOS = ("open", "os.", "subprocess.", "shutil.", "socket.", "exec", "compile", "import", "pickle.", "marshal.", "ctypes.", "sqlite3.connect")
vigia: dict = {"ligado": False, "vistos": []}


def _vigiar(evento: str, argumentos: tuple) -> None:
    if vigia["ligado"] and evento.startswith(PERIGOS):
        vigia["vistos"].append((evento, str(argumentos)[:200]))


def test_ler_uma_mensagem_nao_abre_nem_executa_nada():
    """Centenas de venenos pelo caminho que percorrem num serviço, sob a vigilância do próprio Python."""
    sys.addaudithook(_vigiar)  # não há como tirá-lo: desliga-se ao fim
    bancos = {nome: M.tentativas.Tentativas(na_memoria(M.tentativas.TABELAS), nome, print) for nome in SERVICOS}
    for ligado, quantos in ((False, 50), (True, 100)):  # na primeira volta, o Python ainda importa o que usa
        doses = {nome: venenos(nome, quantos, 7) for nome in SERVICOS}
        vigia["ligado"] = ligado
        try:
            for nome, falhas in bancos.items():
                for dose in doses[nome]:
                    props = M.ajustes_do_pika.Propriedades()
                    props.decode(dose.propriedades)
                    lidas = M.mensagem.simplificar(props)
                    with pytest.raises(M.mensagem.MensagemInvalida):
                        M.mensagem.entender(nome, dose.corpo, lidas)
                    falhas.guardar(dose.corpo, lidas, "motivo")
                    mortas = falhas.esgotadas()
                    for _, corpo, props, motivo in mortas:
                        M.canal.refazer(props, motivo).encode()
                    falhas.marcar_mortas(linha[0] for linha in mortas)
        finally:
            vigia["ligado"] = False
    assert vigia["vistos"] == []


# O que numa importação ou numa chamada seria um perigo, como o ast as escreve; em que arquivos pode, e por quê.
PERIGOS_NO_CODIGO = {
    r"(from|import) (\w+, )*(pickle|marshal|shelve|dbm|copyreg|code|codeop|ctypes|cffi|xml|yaml|pty|telnetlib|ftplib|http|urllib.request|smtplib|"
    r"webbrowser|importlib|runpy|imp)\b|from (os|subprocess)\b": {"orquestracao.py": "as tabelas de cada serviço, que a coreografia nomeia"},
    r"(eval|exec|compile|__import__|breakpoint)\(|[^']*\bshell=": {},
    r"(os|subprocess)\.(system|popen|startfile|Popen|run|call|check_\w+|get\w*output|exec\w+|spawn\w+|posix_spawn\w*)\(": {
        "lancador.py": "inicia os quatro serviços",
        "guardiao.py": "liga o epmd e o rabbitmq-server instalados", "no.py": "o guardião: um script daqui"},
    r".*\.execute(many|script)?\((?!('[^']*'|\"[^\"]*\")[,)])": dict.fromkeys(  # um PRAGMA e um nome de tabela não aceitam parâmetros
        ("banco.py", "caixas.py", "decisoes.py", "historia.py", "identidade.py", "lancador.py",
         "rastro.py", "recuperacao.py", "veredito.py"), "constantes do arquivo, números, ou nomes que a coreografia dá"),
}


def test_o_programa_nao_executa_nem_monta_sql_com_o_que_vem_de_fora():
    trechos = {(fonte.name, ast.unparse(no)) for fonte in FONTES for no in ast.walk(ast.parse(fonte.read_text(encoding="utf-8")))
               if isinstance(no, (ast.Import, ast.ImportFrom, ast.Call))}
    for perigo, permitidos in PERIGOS_NO_CODIGO.items():
        assert {nome for nome, trecho in trechos if re.match(perigo, trecho, re.S)} == set(permitidos), perigo
