"""O lançador, como uma pessoa o usa: a linha de comando inteira, o que a tela diz, o status de saída."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from cluster import No, responde
from conftest import RAIZ, carregar, esperar
from terminal import Terminal
from verbos import (CENARIOS, SEM_BROKER, SERVICOS, Loja, Programa, cenario, contas, existe, filhos,
                    linhas_largas, mistura, processos_dos_dados, rodar, total)

ORQUESTRACAO = RAIZ / "orquestracao.py"


@pytest.fixture
def dados(tmp_path):
    """Uma pasta de dados com espaço e acento no nome, que ainda não existe."""
    pasta = tmp_path / "minha lojá"
    yield pasta
    for pid in processos_dos_dados(pasta):
        os.kill(pid, signal.SIGKILL)


def orquestrar(url, dados, *argumentos, **opcoes) -> Programa:
    """Inicia o lançador, e não espera por ele."""
    return Programa(ORQUESTRACAO, "--dados", dados, *argumentos, url=url, **opcoes)


def concluir(url, dados, *argumentos, status: int = 0, **opcoes) -> Programa:
    """Roda com --ate-concluir até o fim; confere o status, a limpeza da tela e que nada ficou rodando."""
    programa = orquestrar(url, dados, "--ate-concluir", *argumentos, **opcoes)
    assert programa.fim() == status, programa.texto
    programa.limpo()
    largas = linhas_largas(programa.texto.replace(str(dados), "dados"))  # o caminho é de quem o escolheu
    assert status or not largas, largas
    assert processos_dos_dados(dados) == []
    return programa


def estado(dados) -> dict:
    """O que --estado mostra; sem broker nenhum ao alcance."""
    programa = rodar("orquestracao.py", "--estado", "--dados", dados, url=SEM_BROKER)
    assert programa.fim() == 0, programa.texto
    return json.loads(programa.texto)


def esperado(**quais: str) -> dict:
    """O estado final destes pedidos, {id: cenário}, feitos um depois do outro."""
    fins = {id: {"estado": CENARIOS[nome][1], "motivo": CENARIOS[nome][2], "total": total(cenario(nome))}
            for id, nome in quais.items()}
    concluidos = {id for id, fim in fins.items() if fim["estado"] == "concluido"}
    return {"pedidos": fins, **contas((cenario(nome, id) for id, nome in quais.items()), concluidos)}


# --- os cenários ---

def test_todos_os_cenarios_do_comando_ao_veredito(url, dados):
    programa = concluir(url, dados, "--cenario", "todos", "--id", "t")
    assert programa.linhas[0].startswith("Só inicia e vigia os serviços: a saga é coreografada")
    assert [linha.split(":")[0] for linha in programa.linhas if ": pronto" in linha] == list(SERVICOS), "fora da ordem"
    assert all(f"  {promessa:12} vale" in programa.texto for promessa in ("estoque", "dinheiro", "envio", "atomicidade", "término"))
    assert programa.disse("em dúvida: 0") and not programa.disse("FALHOU")
    desenho = [linha for linha in programa.linhas if linha.startswith("t-4")]
    assert [linha for linha in desenho if "═" in linha] and [linha for linha in desenho if "◀" in linha], "a volta não se reconhece"
    assert estado(dados) == esperado(**{f"t-{n}": nome for n, nome in enumerate(CENARIOS, 1)})


def test_num_terminal_ha_cores_que_NO_COLOR_tira_e_a_conta_da_tela_e_a_verdadeira(url, dados):
    comando = [sys.executable, str(ORQUESTRACAO), "--dados", str(dados), "--ate-concluir"]
    with Terminal([*comando, "--cenario", "todos"], url, COLUMNS="80") as terminal:
        assert terminal.fim() == 0 and "\x1b[" in terminal.texto
        assert terminal.texto.count("Pagamentos") == 2, "os nomes das raias saíram da tela e não voltaram"
    with Terminal([*comando, "--pedidos", "60"], url, NO_COLOR="1", COLUMNS="80") as terminal:
        assert terminal.fim() == 0 and "\x1b" not in terminal.texto
        assert "60/60" in terminal.texto and "█" in terminal.texto and "\r" in terminal.texto
        assert not linhas_largas(terminal.texto)
        assert terminal.disse("49  concluido") and terminal.disse("11  cancelado: estoque insuficiente")
        assert len(terminal.linhas) < 40, "centenas de pedidos afogaram a tela"
    fim = estado(dados)
    assert sum(f["estado"] == "concluido" for f in fim["pedidos"].values()) == 50 and fim["produtos"]["livro"] == 0


# --- um arquivo de pedidos ---

def test_pedidos_de_todo_tipo_na_entrada_padrao(url, dados):
    pedidos = mistura(40)
    linhas = [*map(json.dumps, pedidos[:20]), "", "   ", *map(json.dumps, pedidos[20:]), json.dumps(pedidos[0])]
    concluir(url, dados, "--arquivo", "-", entrada="\n".join(linhas))  # brancos são pulados; o repetido não conta
    assert estado(dados) == esperado(**{p["pedido"]: nome for p, nome in zip(pedidos, itertools.cycle(CENARIOS))})


def test_kill_9_nos_servicos_durante_um_arquivo_grande(url, dados, tmp_path):
    """Desde o primeiro instante: o lançador reinicia quem morre, e no fim o veredito vale."""
    pedidos = mistura(600)
    (tmp_path / "pedidos.jsonl").write_text("\n".join(map(json.dumps, pedidos)))
    programa = orquestrar(url, dados, "--ate-concluir", "--arquivo", tmp_path / "pedidos.jsonl")
    mortos = 0
    while programa.vivo() and mortos < 10:
        esperar(lambda: filhos(programa.pid) or not programa.vivo(), que="algum serviço partir")
        for pid in filhos(programa.pid)[:1 + mortos % 3]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                mortos += 1
        esperar(lambda: len(filhos(programa.pid)) == 4 or not programa.vivo(), que="os serviços voltarem")
    assert mortos >= 4 and programa.fim() == 0, programa.texto
    assert programa.disse("morreu (sinal 9): inicio outro") and programa.disse("em dúvida: 0")
    loja = Loja(dados, url)
    loja.enviados = {p["pedido"]: p for p in pedidos}
    loja.conferir_contas()


# --- ficar ouvindo, e parar ---

def ouvindo(url, dados, *argumentos, **opcoes) -> Programa:
    return orquestrar(url, dados, *argumentos, **opcoes).esperar_dizer("Ouvindo; Ctrl-C encerra.")


@pytest.mark.parametrize("sinal", ["Ctrl-C no terminal", "SIGTERM"])
def test_encerrar_e_quieto_rapido_e_nao_deixa_ninguem(url, dados, sinal):
    """Até lá, --estado lê os bancos, faltem ou estejam em uso; e o lançador não abre nenhum para escrever."""
    assert estado(dados) == esperado()
    Loja(dados, url)
    (dados / "microsservicos" / "envio.db").unlink()
    assert estado(dados) == esperado()
    programa = ouvindo(url, dados, "--id", "p-1")
    assert estado(dados) == esperado(**{"p-1": "sucesso"})
    for fd in os.listdir(f"/proc/{programa.pid}/fd"):
        with suppress(OSError):
            assert not os.readlink(f"/proc/{programa.pid}/fd/{fd}").endswith(".db")
    servicos = filhos(programa.pid)
    assert len(servicos) == 4
    if sinal == "SIGTERM":
        programa.encerrar()
    else:
        os.killpg(programa.pid, signal.SIGINT)  # o terminal manda a todos os que estão nele
    assert programa.fim() == 0 and programa.linhas[-1] == "tudo encerrado"
    programa.limpo()
    assert not any(existe(pid) for pid in servicos)
    assert estado(dados) == esperado(**{"p-1": "sucesso"})


@pytest.mark.parametrize("fim", ["Ctrl-C", "kill -9"])
def test_parado_no_meio_de_centenas_de_pedidos_nao_perde_nenhum(url, dados, fim):
    programa = orquestrar(url, dados, "--pedidos", 300, "--id", "p").esperar_dizer("envio: pronto")
    servicos = filhos(programa.pid)
    programa.matar() if fim == "kill -9" else programa.interromper()
    assert programa.fim() == (-9 if fim == "kill -9" else 0)
    esperar(lambda: not any(existe(pid) for pid in servicos), que="os serviços saírem")
    programa.limpo()
    segundo = concluir(url, dados, "--sem-pedido")  # quem ficou pendente termina agora
    assert segundo.disse("em dúvida: 0")
    fim = estado(dados)
    assert sum(f["estado"] == "concluido" for f in fim["pedidos"].values()) == 50 and len(fim["pedidos"]) == 300


def test_quando_um_servico_nao_consegue_diz_quem_espera_e_onde(url, dados):
    loja = Loja(dados, url)
    loja.quebrar("estoque", "reservas", "p-1")
    programa = concluir(url, dados, "--id", "p-1", "--paciencia", 1, status=1)
    assert programa.disse("nada se moveu por 1 s; 1 pedidos pendentes:")
    assert programa.disse("p-1: pedido.criado, outra tentativa em estoque"), programa.texto
    assert programa.disse("em dúvida: 1")
    assert programa.disse("FALHOU")
    loja.consertar("estoque")
    concluir(url, dados, "--sem-pedido")
    assert estado(dados) == esperado(**{"p-1": "sucesso"})


@pytest.mark.parametrize("ate_concluir, status", [(["--ate-concluir"], 130), ([], 0)])
def test_quem_le_tres_linhas_e_vai_embora(url, dados, ate_concluir, status):
    """Um `| head -3`: o lançador acaba quieto, sem deixar ninguém; 0 só de quem não devia um veredito."""
    lancador = subprocess.Popen([sys.executable, str(ORQUESTRACAO), "--dados", str(dados), *ate_concluir], cwd=RAIZ,
                                env={**os.environ, "RABBITMQ_URL": url}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(3):
        lancador.stdout.readline()
    lancador.stdout.close()
    erros = lancador.stderr.read()
    lancador.stderr.close()
    assert lancador.wait(30) == status and erros == b"", erros
    assert processos_dos_dados(dados) == []


# --- recomeçar ---

def test_limpar_pergunta_a_quem_esta_num_terminal_e_so_ele_substitui_o_banco_que_nao_serve(url, dados):
    todos = concluir(url, dados, "--cenario", "todos", "--id", "t") and estado(dados)
    loja = Loja(dados, url)
    filas = [fila for nome in SERVICOS for fila in (nome, f"{nome}.mortas")]
    for fila in filas:
        loja.publicar_crua(fila, b"lixo", exchange="")
    comando = [sys.executable, str(ORQUESTRACAO), "--dados", str(dados), "--limpar", "--estado"]
    with Terminal(comando, url) as terminal:
        terminal.esperar("[s/N]").digitar("\n")
        assert terminal.fim() == 1
    assert estado(dados) == todos and loja.profundidade(*filas) == len(filas), "apagou sem licença"
    estoque = loja.pasta / "estoque.db"
    estoque.write_bytes(b"isto nao e um banco de dados " * 100)
    programa = orquestrar(url, dados)
    assert programa.fim() == 2 and programa.disse("não é um banco"), programa.texto
    assert processos_dos_dados(dados) == []
    assert estoque.read_bytes() == b"isto nao e um banco de dados " * 100, "mexeu num arquivo que não é seu"
    with Terminal(comando, url) as terminal:
        terminal.esperar("[s/N]").digitar("s\n")
        assert terminal.fim() == 0 and terminal.disse("linhas iniciais")
    assert estado(dados) == esperado() and loja.profundidade(*filas) == 0
    concluir(url, dados, "--id", "p-1")
    assert estado(dados) == esperado(**{"p-1": "sucesso"})


# --- o broker ---

def test_sem_broker_liga_um_no_privado_conclui_e_o_desliga(dados):
    """O primeiro comando do README, numa máquina em que nada está ligado."""
    porta = carregar("microsservicos", "configuracao").porta_livre()
    url = f"amqp://guest:guest@127.0.0.1:{porta}/"
    programa = concluir(url, dados, "--id", "p-1")
    assert programa.disse("inicio um nó privado") and programa.disse("página de administração: http://127.0.0.1:")
    assert not responde(porta)
    assert estado(dados) == esperado(**{"p-1": "sucesso"})


def test_so_broker_deixa_os_servicos_para_os_outros_terminais(url, dados):
    programa = orquestrar(url, dados, "--so-broker").esperar_dizer("Ligue cada serviço no seu terminal")
    assert filhos(programa.pid) == [] and programa.interromper().fim() == 0, programa.texto
    for so in "--so-broker", "--so-assistir":
        recusa = orquestrar(url, dados, so, "--id", "p-1")
        assert recusa.fim() == 2 and recusa.disse(f"use só uma destas: {so}, --id")


@pytest.mark.longo
def test_no_privado_morto_enquanto_se_ouve_volta_e_os_pedidos_continuam(dados):
    porta = carregar("microsservicos", "configuracao").porta_livre()
    url = f"amqp://guest:guest@127.0.0.1:{porta}/"
    programa = ouvindo(url, dados, "--id", "p-1")
    no = No(dados / "rabbitmq", porta, familia="loja")
    assert no.vivo()
    try:
        os.kill(no.pid, signal.SIGKILL)  # só a máquina virtual, como faria a falta de memória
        programa.esperar_dizer("o nó privado do RabbitMQ morreu: inicio de novo")
        loja = Loja(dados, url)
        loja.enviados["p-1"] = cenario("sucesso")
        loja.enviar(*mistura(40, "q"))
        loja.esperar_finais(90)
        loja.conferir_contas()
        programa.interromper()
        assert programa.fim() == 0 and not no.responde(), programa.texto
    finally:
        no.matar()
