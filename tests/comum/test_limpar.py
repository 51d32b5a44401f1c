"""`--limpar` troca a identidade da pasta num passo só: morra onde morrer, nada velho se mistura ao novo."""

from __future__ import annotations

import shlex
import sqlite3
import sys
from contextlib import closing

import pytest

from conftest import RAIZ, esperar
from verbos import SEM_BROKER, SERVICOS, M, Programa, cenario, loja, rodar  # noqa: F401

# Roda um script do projeto, e na enésima vez que ele passa por um evento do Python (os.rename,
# os.remove, sqlite3.connect...) com este trecho entre os argumentos, morre, ou roda um comando.
COM_GANCHO = """
import os, re, runpy, signal, subprocess, sys
evento, trecho, n, comando, *sys.argv = sys.argv[1:]
vistos = []
def gancho(nome, argumentos):
    if re.fullmatch(evento, nome) and any(re.search(trecho, str(um)) for um in argumentos):
        vistos.append(nome)
        if len(vistos) == int(n):
            os.kill(os.getpid(), signal.SIGKILL) if comando == "morrer" else subprocess.run(comando, shell=True)
sys.addaudithook(gancho)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def com_gancho(evento: str, trecho: str, n: int, comando: str, script: str, *argumentos, url: str = SEM_BROKER) -> Programa:
    programa = Programa("-c", COM_GANCHO, evento, trecho, n, comando, RAIZ / script, *argumentos, url=url)
    programa.fim()
    return programa


def monolito(dados, *argumentos) -> Programa:
    return rodar("monolito/app.py", "--dados", dados, *argumentos)


@pytest.fixture
def pasta(tmp_path):
    """A de um monolito que já vendeu, e que uma pessoa usa também para outras coisas."""
    assert monolito(tmp_path, "--id", "velho").fim() == 0
    pasta = tmp_path / "monolito"
    (pasta / "anotações.txt").write_text("minhas")
    with closing(sqlite3.connect(pasta / "outra coisa.db")) as banco:
        banco.executescript("CREATE TABLE minha (x); PRAGMA user_version=3")
    with closing(sqlite3.connect(pasta / "sem-versão.db")) as banco:
        banco.executescript("CREATE TABLE minha (x); PRAGMA application_id=1")
    return pasta


def nossas_coisas(pasta) -> list[str]:
    return sorted(arquivo.name for arquivo in pasta.iterdir()
                  if arquivo.name in ("anotações.txt", "outra coisa.db", "sem-versão.db"))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 11, 15, 19, 22, 23])
def test_o_monolito_morto_em_cada_passo_da_limpeza(n, pasta):
    """Ou nada mudou, ou todo programa recusa os bancos que sobraram e diz como terminar."""
    dados = pasta.parent
    morto = com_gancho("os.remove|os.rename", "monolito/.*[.](db|loja)", n, "morrer", "monolito/app.py", "--dados", dados, "--limpar", "--sim")
    assert morto.fim() in (-9, 0), morto.texto
    comecou = morto.fim() == -9 and n > 1
    if comecou and any((pasta / f"{nome}.db").exists() for nome in (*SERVICOS, "coordenador")):
        for recusa in (monolito(dados, "--id", "novo"), monolito(dados, "--estado")):
            assert recusa.fim() == 2 and len(recusa.linhas) == 1, recusa.texto
            assert "se um --limpar foi interrompido, rode-o de novo" in recusa.linhas[0]
        assert monolito(dados, "--limpar", "--sim").fim() == 0
    depois = monolito(dados, "--estado")
    assert depois.fim() == 0 and ('"velho"' in depois.texto) != comecou or not comecou, depois.texto
    assert monolito(dados, "--id", "novo").fim() == 0
    assert len(nossas_coisas(pasta)) == 3
    assert n < 23 or morto.fim() == 0, "a limpeza tem mais passos do que se pensava"


@pytest.mark.parametrize("n", [1, 2, 14])
def test_o_lancador_morto_em_cada_passo_da_limpeza(n, loja):
    """As filas também: nenhum evento da loja velha chega aos bancos da nova, e um --limpar comum termina."""
    loja.iniciar("pedidos")
    loja.enviar(cenario("sucesso", "velho"))
    esperar(lambda: loja.profundidade("estoque") == 1, que="o evento na fila do estoque")
    loja.encerrar()
    limpeza = ("--dados", loja.dados, "--limpar", "--sim")
    morto = com_gancho("os.remove|os.rename", "microsservicos/[^/]*[.](db|loja)", n, "morrer", "orquestracao.py", *limpeza, url=loja.url)
    assert morto.fim() in (-9, 0), morto.texto
    if sobrou := [*loja.pasta.glob("*.db")] if n > 1 else []:
        for script in ("orquestracao.py", "microsservicos/servico_pedidos.py", "microsservicos/servico_estoque.py"):
            recusa = rodar(script, "--dados", loja.dados, url=loja.url)
            assert recusa.fim() == 2 and recusa.linhas[-1].count("se um --limpar foi interrompido, rode-o de novo") == 1, recusa.texto
        assert {*loja.pasta.glob("*.db")} == {*sobrou}
    assert rodar("orquestracao.py", *limpeza, url=loja.url).fim() == 0
    assert loja.profundidade("estoque") == 0 and not [*loja.pasta.glob("*.db")]
    loja.enviados.clear()
    loja.iniciar()
    loja.enviar(cenario("envio-recusado", "novo"))
    loja.conferir_repouso()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_um_programa_que_se_inicia_em_qualquer_instante_de_uma_limpeza(n, pasta):
    """Uma limpeza inteira cabe entre dois passos dele: ou vê a pasta nova, ou é recusado numa linha."""
    limpeza = shlex.join([sys.executable, str(RAIZ / "monolito/app.py"), "--dados", str(pasta.parent), "--limpar", "--sim"])
    meio = com_gancho("sqlite3.connect", "monolito/estoque.db", n, limpeza, "monolito/app.py", "--dados", pasta.parent, "--id", "meio")
    ditas = [linha for linha in meio.linhas if "linhas iniciais" not in linha]
    assert meio.fim() == 0 or meio.fim() == 2 and len(ditas) == 1, meio.texto
    assert "Traceback" not in meio.texto
    if monolito(pasta.parent, "--estado").fim():
        assert monolito(pasta.parent, "--limpar", "--sim").fim() == 0
    estado = monolito(pasta.parent, "--estado")
    assert estado.fim() == 0 and ('"meio"' in estado.texto) == (meio.fim() == 0)
    assert len(nossas_coisas(pasta)) == 3


def test_um_banco_que_nasce_no_meio_da_limpeza_ja_e_da_loja_nova_e_fica(tmp_path):
    """Esvaziar as filas leva segundos: outro programa pode se iniciar entre os dois passos."""
    M.banco.abrir(tmp_path / "estoque.db", "CREATE TABLE a (x)", M.identidade.identidade(tmp_path)).close()
    nova = M.identidade.trocar_identidade(tmp_path)
    M.banco.abrir(tmp_path / "envio.db", "CREATE TABLE a (x)", nova).close()
    M.identidade.apagar_bancos(tmp_path)
    assert [arquivo.name for arquivo in tmp_path.glob("*.db")] == ["envio.db"]


@pytest.mark.parametrize("banco, sql", [("estoque", "DELETE FROM reservas"), ("estoque", "INSERT INTO reservas VALUES ('x', 'livro', 1)"),
                                        ("envio", "INSERT INTO envios VALUES ('x', '0', 'despachado')"), ("pagamentos", "DELETE FROM cobrancas")])
def test_um_dono_que_aplicou_ou_desfez_sozinho_desmente_a_atomicidade(banco, sql, pasta):
    """Antes disso, o veredito vale: é o status de quem vendeu."""
    with closing(sqlite3.connect(pasta / f"{banco}.db")) as aberto:
        aberto.executescript(sql)
    assert M.veredito.violacoes(pasta)["atomicidade"]


def test_atras_de_links_so_o_link_e_apagado(pasta, tmp_path):
    """O arquivo do outro disco não é tocado."""
    fora = tmp_path / "outro disco"
    fora.mkdir()
    (pasta / "estoque.db").rename(fora / "estoque.db")
    (pasta / "estoque.db").symlink_to(fora / "estoque.db")
    assert monolito(tmp_path, "--limpar", "--sim").fim() == 0
    assert (fora / "estoque.db").exists() and not (pasta / "estoque.db").is_symlink()
    assert monolito(tmp_path, "--id", "novo").fim() == 0
