"""Tudo o que uma pessoa pode errar antes que um programa trabalhe: uma linha em português, status 2.

Uma situação é uma preparação, os programas que a encontram e a frase. A mesma tabela está em
tests/README.md; o último teste as compara.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bloqueante import conectar
from cluster import rabbitmqctl
from conftest import RAIZ
from verbos import SEM_BROKER, SERVICOS, Loja, Programa, rodar, sem_poderes

APP, LANCADOR = "monolito/app.py", "orquestracao.py"
PEDIDOS, ESTOQUE, PAGAMENTOS, ENVIO = (f"microsservicos/servico_{nome}.py" for nome in SERVICOS)
MORTAS, RASTRO = "microsservicos/mortas.py", "microsservicos/rastro.py"
TODOS = (APP, LANCADOR, PEDIDOS, ESTOQUE, PAGAMENTOS, ENVIO, MORTAS, RASTRO)
DA_SAGA = TODOS[1:]
COM_DADOS, COM_BROKER, DONOS = TODOS[:6], (LANCADOR, ESTOQUE, MORTAS), (APP, LANCADOR, ESTOQUE)
# O que se diz antes dela, e o lançador depois de um serviço a ter dito.
EM_VOLTA = re.compile("Só inicia|: pronto, ouvindo|: assistindo em|tudo encerrado|Recuperação: nada| está pendente|veja a mensagem acima")


class Cena:
    """Onde, e com que opções e ambiente, se rodam os programas de uma situação; a preparação muda o que precisa."""

    def __init__(self, programas: tuple, pasta: Path, request):
        self.programas, self.pasta, self.dados, self.request = programas, pasta, pasta / "dados", request
        self.url, self.opcoes, self.python = SEM_BROKER, [], (sys.executable,)

    def broker(self):
        self.url = self.request.getfixturevalue("url")
        return self.request.getfixturevalue("broker")

    def usar(self) -> list[Path]:
        """Os bancos das duas alas, como os deixa um programa que acabou; devolve as pastas deles."""
        if LANCADOR in self.programas:
            self.broker()
        shutil.copytree(self.request.getfixturevalue("bancos_prontos"), self.dados, copy_function=shutil.copy)
        return [self.dados / "monolito", self.dados / "microsservicos"]

    def rodar(self, programa: str):
        dados = ["--dados", self.dados] * (programa in COM_DADOS) * ("--dados" not in self.opcoes)
        return rodar(programa, *dados, *self.opcoes, url=self.url, python=self.python)


# --- as preparações ---

def com(*opcoes, bancos: bool = False):
    def preparar(cena):
        cena.opcoes = list(opcoes)
        if bancos:
            cena.usar()
    return preparar


def endereco(url: str):
    def preparar(cena):
        cena.url = url.replace(":1/", f":{SEM_BROKER.rsplit(':', 1)[1]}")
    return preparar


def no_broker(usuario: str = "guest:guest", vhost: str = ""):
    def preparar(cena):
        cena.broker()
        cena.url = cena.url.replace("guest:guest", usuario) + vhost
    return preparar


def dados_num_arquivo(cena):
    cena.dados.touch()


def pasta_fechada(cena):
    cena.usar()
    cena.python = sem_poderes()
    cena.dados.chmod(0)
    cena.request.addfinalizer(lambda: cena.dados.chmod(0o700))


def pasta_que_nao_se_cria(cena):
    (cena.pasta / "fechada").mkdir(mode=0o500)
    cena.python, cena.dados = sem_poderes(), cena.pasta / "fechada" / "nova"


def so_de_leitura(cena):
    cena.python = sem_poderes()
    for pasta in cena.usar():
        for arquivo in pasta.rglob("*.db*"):
            arquivo.chmod(0o444)


def disco_so_de_leitura(cena):
    pasta = cena.usar()[0].parent
    if subprocess.run(["mount", "--bind", pasta, pasta], capture_output=True).returncode:
        pytest.skip("montar um disco pede root, fora de um contêiner fechado")
    cena.request.addfinalizer(lambda: subprocess.run(["umount", "-l", pasta]))
    subprocess.run(["mount", "-o", "remount,ro,bind", pasta], check=True)


def limpar_sem_permissao(cena):
    for pasta in cena.usar():
        pasta.chmod(0o500)
    cena.python, cena.opcoes = sem_poderes(), ["--limpar", "--sim", "--estado"]


def banco(como):
    def preparar(cena):
        for pasta in cena.usar():
            for sobra in pasta.glob("estoque.db-*"):
                sobra.unlink()
            como(pasta / "estoque.db")
    return preparar


def com_sql(sql: str):
    def como(arquivo):
        with closing(sqlite3.connect(arquivo)) as aberto:
            aberto.executescript(sql)
    return como


def de_outro_programa(arquivo):
    arquivo.unlink()
    com_sql("CREATE TABLE produtos (de_outro_programa)")(arquivo)


def pedidos(conteudo: bytes | None):
    """Um arquivo de pedidos com este conteúdo; None: uma pasta no lugar dele."""
    def preparar(cena):
        arquivo = cena.pasta / "pedidos.jsonl"
        arquivo.mkdir() if conteudo is None else arquivo.write_bytes(conteudo)
        cena.opcoes = ["--arquivo", arquivo]
    return preparar


def arquivo_secreto(cena):
    pedidos(BOM)(cena)
    cena.opcoes[1].chmod(0)
    cena.python = sem_poderes()


def no_shell(comando: str, *opcoes):
    """O programa, com as suas opções, é "$@"."""
    def preparar(cena):
        cena.opcoes, cena.python = list(opcoes), ("sh", "-c", comando, "sh", sys.executable)
    return preparar


def outro_conduz(*opcoes):
    def preparar(cena):
        outro = Programa(RAIZ / APP, "--dados", cena.dados, "--id", "p-1", "--devagar", "60", url=SEM_BROKER)
        cena.request.addfinalizer(outro.matar)
        outro.esperar_dizer("preparar")
        cena.opcoes = list(opcoes)
    return preparar


def sem_o_pika(cena):
    cena.python = (sys.executable, "-S")


def sem_os_servicos(cena):
    cena.python = (sys.executable, shutil.copy(RAIZ / LANCADOR, cena.pasta))


def aluno(*permissoes):
    """Entra com um usuário que tem no vhost estas permissões, ou nenhuma."""
    def preparar(cena):
        no = cena.broker()
        rabbitmqctl(no, "add_user", "aluno", "segredo")
        cena.request.addfinalizer(lambda: rabbitmqctl(no, "delete_user", "aluno"))
        if permissoes:
            rabbitmqctl(no, "set_permissions", "-p", cena.url.rsplit("/", 1)[1], "aluno", *permissoes)
        cena.url = cena.url.replace("guest:guest", "aluno:segredo")
    return preparar


def limite(limites: str):
    def preparar(cena):
        rabbitmqctl(cena.broker(), "set_vhost_limits", "-p", cena.url.rsplit("/", 1)[1], limites)
    return preparar


def fila(nome: str, **argumentos):
    """Uma fila com o nome de uma das nossas, que não é como as nossas."""
    def preparar(cena):
        cena.broker()
        with conectar(cena.url) as conexao:
            conexao.channel().queue_declare(nome, durable=True, arguments={nome.replace("_", "-"): v for nome, v in argumentos.items()})
    return preparar


def nome_que_nao_e_utf8(cena):
    cena.dados = Path(os.fsdecode(os.fsencode(cena.pasta) + b"/ruim\xff"))
    cena.dados.mkdir()


def identidade_ilegivel(cena):
    (cena.dados / "microsservicos").mkdir(parents=True)
    (cena.dados / "microsservicos" / ".loja").write_text("xis")


BOM = b'{"pedido": "a", "cliente": "ana", "itens": [{"produto": "livro", "quantidade": 1}], "cep": "01310100"}\n'
DA_PORTA = (APP, LANCADOR, PEDIDOS)
SITUACOES = {  # situação: (preparação, programas, a frase)
    "opção que não existe": (com("--inventada"), TODOS, "não conheço"),
    "a pasta de dados é um arquivo": (dados_num_arquivo, DONOS, "não é uma pasta"),
    "a pasta de dados não se pode abrir": (pasta_fechada, DONOS, "não dá permissão de acesso"),
    "a pasta de dados não se pode criar": (pasta_que_nao_se_cria, DONOS, "não dá permissão de acesso"),
    "bancos só de leitura": (so_de_leitura, (*DONOS, PEDIDOS), "permiss"),
    "a pasta tem um nome que não é UTF-8": (nome_que_nao_e_utf8, DONOS, "não é UTF-8"),
    "disco montado só para leitura": (disco_so_de_leitura, DONOS, "--dados OUTRA_PASTA"),
    "--limpar onde não se pode escrever": (limpar_sem_permissao, (APP, LANCADOR), "permiss"),
    "lixo no lugar do banco": (banco(lambda a: a.write_bytes(b"lixo " * 1000)), DONOS, "não é um banco SQLite"),
    "banco de outra versão": (banco(com_sql("PRAGMA user_version=99")), DONOS, "versão 99"),
    "banco de outro programa": (banco(de_outro_programa), DONOS, "de outro programa"),
    "banco de outra loja": (banco(com_sql("PRAGMA application_id=1")), (LANCADOR, ESTOQUE), "é da loja 00000001"),
    "identidade da loja ilegível": (identidade_ilegivel, (ESTOQUE,), "não é a identidade de uma loja"),
    "arquivo de pedidos que não existe": (com("--arquivo", "/não/existe"), DA_PORTA, "não existe"),
    "uma pasta no lugar dele": (pedidos(None), DA_PORTA, "é uma pasta"),
    "arquivo de pedidos vazio": (pedidos(b"\n \r\n"), DA_PORTA, "não há nenhum pedido"),
    "um pedido ruim entre bons": (pedidos(BOM * 2 + BOM.replace(b": 1}", b": 0}")), DA_PORTA, "linha 3: quantidade"),
    "arquivo comprimido": (pedidos(gzip.compress(BOM)), DA_PORTA, "linha 1: não é UTF-8"),
    "arquivo de pedidos que não se pode ler": (arquivo_secreto, DA_PORTA, "permiss"),
    "entrada padrão fechada": (no_shell('exec "$@" <&-', "--arquivo", "-"), DA_PORTA, "não há nenhum pedido"),
    "ulimit -n 7": (no_shell('ulimit -n 7; exec "$@"'), (APP, ESTOQUE), "limite de arquivos abertos"),
    "ulimit -n 14": (no_shell('ulimit -n 14; exec "$@"'), (APP,), "limite de arquivos abertos"),
    "outro programa conduz pedidos": (outro_conduz(), (APP,), "outro programa conduz pedidos em"),
    "o mesmo, e uma pessoa decide": (outro_conduz("--forcar", "x=abortar"), (APP,), "outro programa conduz pedidos em"),
    "duas coisas de uma vez": (com("--estado", "--forcar", "x=confirmar"), (APP,), "use só uma destas"),
    "limpar, e olhar o que havia": (com("--limpar", "--sim", "--rastro", "p-0", bancos=True), (APP,), "use só uma destas"),
    "rastro de um pedido que não existe": (com("--rastro", "p-9", bancos=True), (APP,), "não há nenhum pedido"),
    "o pika não está instalado": (sem_o_pika, DA_SAGA[:-1], "pip install -r requirements.txt"),
    "falta a pasta dos serviços": (sem_os_servicos, (LANCADOR,), "baixe o projeto inteiro"),
    "cancelar um pedido que não existe": (com("--cancelar", "p-9"), (PEDIDOS,), "não há nenhum pedido"),
    "mensagens mortas de quem não existe": (com("cozinha"), (MORTAS,), "escolha entre"),
    "RABBITMQ_URL malformada": (endereco("amqp://ana:segredo@"), COM_BROKER, "não está na forma amqp://"),
    "outro protocolo em RABBITMQ_URL": (endereco("http://ana:segredo@localhost/"), COM_BROKER, "RABBITMQ_URL"),
    "senha errada": (no_broker("guest:segredo"), COM_BROKER, "recusou o usuário ou a senha"),
    "vhost que não existe": (no_broker(vhost="-nao-existe"), COM_BROKER, "não tem esse vhost"),
    "sem permissão no vhost": (aluno(), COM_BROKER, "não tem permissão no vhost"),
    "permissão só para outros nomes": (aluno("^x$", "^x$", "^x$"), COM_BROKER, "falta uma permissão ao usuário"),
    "limite de conexões do vhost": (limite('{"max-connections": 0}'), COM_BROKER, "encerre programas que não usa"),
    "limite de filas do vhost": (limite('{"max-queues": 3}'), COM_BROKER, "encerre programas que não usa"),
    "outro nome desta máquina, sem broker": (endereco("amqp://guest:guest@127.0.0.2:1/"), (LANCADOR,), "127.0.0.2"),
    "outra máquina, que não responde": (endereco("amqp://guest:guest@192.0.2.1:5672/"), (LANCADOR,), "192.0.2.1"),
    "fila com o nome da nossa, de outro programa": (fila("estoque"), (ESTOQUE,), "se são de outro programa, use outro vhost"),
    "filas de uma versão anterior": (fila("pedidos.mortas", x_queue_type="quorum", x_delivery_limit=100_000), (LANCADOR, ESTOQUE), "termine com ela o que há nelas"),
}

@pytest.fixture(scope="module")
def bancos_prontos(tmp_path_factory) -> Path:
    dados = tmp_path_factory.mktemp("prontos") / "dados"
    assert rodar(APP, "--dados", dados, "--id", "p-0").fim() == 0
    Loja(dados, SEM_BROKER)
    return dados


@pytest.mark.parametrize("nome", SITUACOES)
def test_e_uma_linha_com_status_2(nome, tmp_path, request):
    preparar, programas, frase = SITUACOES[nome]
    cena = Cena(programas, tmp_path, request)
    preparar(cena)
    antes = fotografar(cena.dados)
    for programa in programas:
        feito = cena.rodar(programa)
        feito.limpo()
        [dita] = [linha for linha in feito.linhas if not EM_VOLTA.search(linha)] or [""]
        assert feito.fim() == 2 and frase in dita and "segredo" not in feito.texto, (programa, feito.texto)
        assert not re.search(r"\b(error|usage|invalid|Errno|denied)\b", dita, re.I), dita
        assert antes.items() <= fotografar(cena.dados).items(), f"{programa} mexeu no que já havia"


def fotografar(dados: Path) -> dict:
    return {a: a.read_bytes() for a in dados.rglob("estoque.db")} if dados.is_dir() else {}


def test_a_tabela_do_readme_e_esta():
    linhas = "".join(f"| {nome} | {programas_de(nome)} | «{frase}» |\n" for nome, (*_, frase) in SITUACOES.items())
    readme = (RAIZ / "tests" / "README.md").read_text(encoding="utf-8")
    assert f"| situação | programas | a linha diz |\n|---|---|---|\n{linhas}\n" in readme, "a tabela, hoje:\n" + linhas


def programas_de(nome: str) -> str:
    programas = SITUACOES[nome][1]
    return "todos" if programas == TODOS else ", ".join(f"`{Path(p).name}`" for p in programas)
