"""As máquinas dos alunos: o contêiner, a pasta que mudou de nome, o broker do professor.

Do contêiner se roda o comando de criação numa pasta nua, com o apt-get anotado em vez de feito. O
que aqui não se confere: a imagem, o Docker, o VS Code e o Codespaces. Do WSL2, nada se confere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile

import pytest

from cluster import rabbitmqctl
from conftest import RAIZ, carregar, no_path
from test_readme import AULA, READMES, blocos, secao
from verbos import M, banco_em_memoria, rodar

EXECUTAR, TESTAR = (blocos(secao("README.md", titulo), "sh")[0].strip()
                    for titulo in ("Executar", "Testar"))


@pytest.fixture
def falsos(tmp_path):
    """Um PATH em que o apt-get só anota o que lhe pediram, e o rabbitmqctl é o que se instalou."""
    ctl = carregar("microsservicos", "configuracao").localizar_rabbitmq().with_name("rabbitmqctl")
    return {**os.environ, "PATH": no_path(tmp_path / "bin", {
        "sudo": 'exec "$@"', "apt-get": f'echo "$@" >> {tmp_path}/pedidos',
        "rabbitmqctl": f'exec {ctl} "$@"', "hostname": "echo 127.0.0.1"})}


def projeto_nu(pasta):
    """Uma pasta com um requirements.txt que se instala sem rede, e um programa que o usa."""
    pasta.mkdir()
    with zipfile.ZipFile(pasta / "oi-1-py3-none-any.whl", "w") as pacote:
        pacote.writestr("oi.py", "")
        pacote.writestr("oi-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: oi\nVersion: 1\n")
        pacote.writestr("oi-1.dist-info/WHEEL",
                        "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        pacote.writestr("oi-1.dist-info/RECORD", "")
    (pasta / "requirements.txt").write_text("./oi-1-py3-none-any.whl\n")
    (pasta / "orquestracao.py").write_text("import oi; print('usei', oi.__file__)")


def digitar(comando: str, pasta, ambiente) -> str:
    fim = subprocess.run(["bash", "-c", comando], cwd=pasta, env=ambiente, encoding="utf-8",
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert fim.returncode == 0, fim.stdout
    return fim.stdout


def test_pasta_que_mudou_de_nome_ou_foi_copiada_com_a_venv(falsos, tmp_path):
    """O contêiner instala numa pasta nua; uma cópia dela, sem o pacote, instala em si mesma."""
    contido = json.loads((RAIZ / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
    assert contido["onCreateCommand"] in EXECUTAR.replace("$S", "sudo")
    projeto_nu(tmp_path / "um")
    digitar(contido["onCreateCommand"], tmp_path / "um", falsos)
    assert "install -y python3-venv rabbitmq-server sqlite3\n" in (tmp_path / "pedidos").read_text()

    outra = shutil.copytree(tmp_path / "um", tmp_path / "outro nome", symlinks=True)
    for parte in (outra / ".venv").rglob("oi*"):
        shutil.rmtree(parte) if parte.is_dir() else parte.unlink()
    assert f"usei {outra}/.venv/" in digitar(EXECUTAR, outra, falsos)
    ativada = ". .venv/bin/activate && python -c 'import sys; print(sys.prefix)'"
    assert digitar(ativada, outra, falsos).strip() == f"{outra}/.venv"


def test_os_dois_comandos_instalam_o_mesmo_e_pelo_python_do_ambiente():
    """.venv/bin/pip guarda o nome da pasta em que nasceu; .venv/bin/python -m pip, não."""
    assert EXECUTAR.rsplit("&&", 1)[0] == TESTAR.rsplit("&&", 1)[0]
    comandos = [bloco for readme in READMES for bloco in blocos(readme.read_text("utf-8"), "sh")]
    assert not [bloco for bloco in comandos if re.search(r"(?<!-m )\bpip3? install", bloco)]


def test_o_broker_do_professor_tem_um_vhost_para_cada_aluno(broker, falsos, tmp_path):
    """Os comandos impressos, num nó de verdade: cada aluno atende os seus pedidos, e não entra no do outro."""
    servidor = carregar("microsservicos", "configuracao").localizar_rabbitmq()
    deste_no = carregar("microsservicos", "configuracao").ambiente(
        servidor, broker.pasta, broker.nome,
        re.search(r"ERL_EPMD_PORT=(\d+)", (broker.pasta / "rabbitmqctl").read_text())[1])
    falsos |= {nome: valor for nome, valor in deste_no.items() if nome != "PATH"}
    criar, apagar = blocos(secao(AULA, "O broker do professor", "###"), "sh")
    linhas = digitar(criar.replace("seq 1 30", "seq 1 2"), broker.pasta, falsos).splitlines()
    assert len(linhas) == 2, linhas
    urls = [linha.removeprefix("export RABBITMQ_URL=").replace(":5672", f":{broker.porta}")
            for linha in linhas]
    fim = rodar("orquestracao.py", "--ate-concluir", "--dados", tmp_path, url=urls[1])
    assert fim.processo.returncode == 0, fim.texto
    intruso = rodar("microsservicos/mortas.py", url=urls[0].replace("/aluno1", "/aluno2"))
    assert intruso.processo.returncode == 2 and "recusou" in intruso.texto, intruso.texto
    digitar(apagar.replace("seq 1 30", "seq 1 2"), broker.pasta, falsos)
    assert not re.search(r"aluno\d", rabbitmqctl(broker, "list_vhosts") + rabbitmqctl(broker, "list_users"))


# --- o que se lê no terminal ---

@pytest.mark.parametrize("readme", READMES, ids=lambda arquivo: str(arquivo.relative_to(RAIZ)))
def test_nenhum_comando_tem_um_comentario_no_fim(readme):
    """O zsh, do macOS, entregaria o comentário ao programa."""
    for bloco in blocos(readme.read_text(encoding="utf-8"), "sh"):
        comandos = [linha for linha in bloco.splitlines() if not linha.lstrip().startswith("#")]
        assert not [linha for linha in comandos if re.search(r"\s#\s", linha)]


def test_as_linhas_iniciais_impressas_sao_as_do_programa():
    em_reais = lambda centavos: f"R$ {centavos / 100:,.2f}".translate(str.maketrans(",.", ".,"))
    quantos = dict(banco_em_memoria("estoque").execute("SELECT produto, inicial FROM produtos"))
    saldos = banco_em_memoria("pagamentos").execute("SELECT cliente, inicial FROM clientes")
    linhas = [f"| {produto} | {em_reais(preco)} | {quantos[produto]} |"
              for produto, preco in M.servico_pedidos.PRECOS.items()]
    linhas += [f"| {cliente} | {em_reais(saldo)} |" for cliente, saldo in saldos]
    impresso = secao("README.md", "Os dez primeiros minutos").splitlines()
    assert len(linhas) == 7 and not [linha for linha in linhas if linha not in impresso]
