"""O fim do lançador, seja qual for: nada fica ligado, e 0 só de quem viu o veredito."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from functools import partial
from types import SimpleNamespace

import pytest

from cluster import No
from conftest import PRAZO, carregar, esperar, processos_do_no
from test_orquestracao import ORQUESTRACAO, concluir, dados, estado, orquestrar  # noqa: F401
from verbos import M, SEM_BROKER, SERVICOS, Loja, Programa, cenario, filhos, mistura, processos, processos_dos_dados

# Um emulador de terminal: quem o mata fecha a janela, e o sistema manda SIGHUP a quem está nela.
JANELA = "import pty, sys; pty.spawn(sys.argv[1:])"


def na_janela(url, *comando) -> Programa:
    return Programa("-c", JANELA, *comando, url=url)


@pytest.fixture
def privado(dados):  # noqa: F811
    """O nó que o lançador vai ligar: (o endereço, o No que o vê de fora)."""
    porta = carregar("microsservicos", "configuracao").porta_livre()
    no = No(dados / "rabbitmq", porta, familia="loja")
    yield f"amqp://guest:guest@localhost:{porta}/", no
    no.matar()


def nada_fica(dados, no=None, prazo: float = PRAZO) -> None:  # noqa: F811
    esperar(lambda: not processos_dos_dados(dados), prazo, "o fim dos serviços")
    if no:
        esperar(lambda: not processos_do_no(no), prazo, "o fim do nó privado e do epmd")


# --- a janela do terminal ---

def test_janela_do_terminal_fechada_para_tudo(url, privado, dados):
    """Os serviços, com um broker que já havia; o nó privado, o epmd e o guardião, com o nó ainda a iniciar."""
    lancador = sys.executable, ORQUESTRACAO, "--dados", dados
    na_janela(url, *lancador, "--id", "p-1").esperar_dizer("Ouvindo; Ctrl-C encerra.").matar()
    nada_fica(dados)
    assert estado(dados)["pedidos"]["p-1"]["estado"] == "concluido"
    do_no, no = privado
    janela = na_janela(do_no, *lancador, "--so-broker")
    esperar(lambda: no.pid, que="o nó partir")
    janela.matar()
    nada_fica(dados, no)


def test_com_nohup_a_janela_fechada_nao_para_nada(url, dados, tmp_path):
    tela = tmp_path / "tela.txt"
    comando = 'nohup "$@" >"$TELA" 2>&1'
    programa = Programa("-c", JANELA, "sh", "-c", comando, "sh", sys.executable, ORQUESTRACAO,
                        "--dados", dados, "--sem-pedido", url=url, ambiente={"TELA": str(tela)})
    esperar(lambda: tela.exists() and "Ouvindo" in tela.read_text(), que="o lançador ouvir")
    programa.matar()
    loja = Loja(dados, url)
    loja.enviar(cenario("sucesso", "depois"))
    esperar(lambda: "pedido.concluido" in tela.read_text(), que="o pedido de depois na tela")
    [lancador] = [pid for pid in processos_dos_dados(dados) if str(ORQUESTRACAO).encode() in processos()[pid][1]]
    os.kill(lancador, signal.SIGTERM)
    nada_fica(dados)
    assert "tudo encerrado" in tela.read_text()


# --- interrompido antes do veredito ---

@pytest.mark.parametrize("sinal", [signal.SIGINT, signal.SIGTERM])
def test_interrompido_com_pedidos_pendentes_diz_quais_e_sai_com_130(url, dados, sinal):
    Loja(dados, url).quebrar("estoque", "reservas", "p-1")
    programa = orquestrar(url, dados, "--ate-concluir", "--id", "p-1")
    programa.esperar_dizer("pedido.criado").sinal(sinal)
    assert programa.fim() == 130, programa.texto
    assert programa.disse("interrompido sem veredito: 1 de 1 pedidos sem resultado (p-1)")
    assert not programa.disse("Veredito") and programa.disse("tudo encerrado")
    programa.limpo()
    nada_fica(dados)


def test_interrompido_com_tudo_ja_terminado_nao_manda_repetir_nada(url, dados):
    assert orquestrar(url, dados, "--ate-concluir", "--id", "p-1").fim() == 0
    programa = orquestrar(url, dados, "--ate-concluir", "--id", "p-1").esperar_dizer("Só inicia")
    programa.interromper()
    assert programa.fim() == 130 and programa.disse("já tinham terminado"), programa.texto


def test_interrompido_enquanto_o_no_privado_parte(privado, dados):
    url, no = privado
    programa = orquestrar(url, dados, "--ate-concluir", "--id", "p-1")
    programa.esperar_dizer("inicio um nó privado")
    esperar(no.vivo, que="o nó partir")
    programa.interromper()
    assert programa.fim() == 130, programa.texto
    assert programa.disse("1 de 1 pedidos sem resultado")
    programa.limpo()
    nada_fica(dados, no)


def test_outros_sinais_nao_cortam_a_limpeza_ao_meio(request):
    for sinal in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        request.addfinalizer(partial(signal.signal, sinal, signal.getsignal(sinal)))
    M.tela.encerrar_uma_vez_so()
    vezes = 0
    for sinal in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        try:
            signal.raise_signal(sinal)
        except KeyboardInterrupt:
            vezes += 1
    assert vezes == 1


# --- os pedidos que a porta de entrada recebe ---

def test_pedidos_morto_antes_de_ficar_pronto_recebe_os_mesmos_pedidos(url, dados):
    loja = Loja(dados, url)
    with closing(sqlite3.connect(loja.pasta / "pedidos.db", isolation_level=None)) as trava:
        trava.execute("BEGIN IMMEDIATE")  # o serviço lê os pedidos, e não consegue gravá-los
        programa = orquestrar(url, dados, "--ate-concluir", "--pedidos", 3, "--id", "p")
        [pid] = esperar(lambda: filhos(programa.pid), que="pedidos partir")
        esperar(lambda: leu_tudo(pid), que="pedidos ler a entrada padrão")
        os.kill(pid, signal.SIGKILL)
        programa.esperar_dizer("pedidos morreu (sinal 9): inicio outro")
        trava.execute("ROLLBACK")
    assert programa.fim() == 0, programa.texto
    assert sorted(estado(dados)["pedidos"]) == ["p-1", "p-2", "p-3"]
    assert not programa.disse("FALHOU")


def leu_tudo(pid: int) -> bool:
    """Se o processo já chegou ao fim do arquivo que é a entrada padrão dele."""
    with suppress(OSError, IndexError), open(f"/proc/{pid}/fdinfo/0", encoding="ascii") as info:
        return int(info.readline().split()[1]) == os.stat(f"/proc/{pid}/fd/0").st_size > 0
    return False


def test_os_pedidos_que_outra_execucao_deixou_sao_vistos_desde_o_comeco(url, dados):
    """A lista e a plateia vêm antes do primeiro serviço: nada termina sem ser visto."""
    loja = Loja(dados, url).iniciar("pedidos", "estoque")
    loja.enviar(cenario("sucesso", "reservado"))
    loja.esperar_tratar("estoque", "reservado:pedido.criado")
    loja.encerrar("pedidos", "estoque")
    loja.enviar(*(cenario("sucesso", f"velho-{n}") for n in range(3)))
    programa = concluir(url, dados, "--sem-pedido")
    veredito = programa.texto.partition("Veredito")[2]
    for n in range(3):
        assert f"velho-{n}" in veredito
        desenho = [linha for linha in programa.linhas if linha.startswith(f"velho-{n}")]
        assert "pedido.criado" in desenho[0] and "pedido.concluido" in desenho[-1]
    [despacho] = [linha for linha in programa.linhas if linha.startswith("reservado") and "pagamento.aprovado" in linha]
    assert despacho.index("┊") < despacho.index("pagamento.aprovado"), "a reserva ainda podia ser desfeita"


def test_devagar_a_tela_diz_o_que_cada_servico_tem_em_maos_e_so_acaba_com_o_ultimo_evento(url, dados):
    programa = concluir(url, dados, "--id", "p-1", "--devagar", "0.2")
    assert all(any(linha.startswith(f"{nome:10} em mãos: p-1") for linha in programa.linhas) for nome in SERVICOS)
    assert "COMMIT feito, por publicar pedido.concluido" in programa.texto
    assert programa.texto.index("por publicar pedido.concluido") < programa.texto.index("● pedido.concluido")


# --- um nó de outra versão ---

def test_dados_de_outra_versao_sao_uma_linha_que_diz_o_que_fazer_deles_e_nem_sao_tocados(privado, dados):
    """O 3.10 iniciaria com os dados do 4.3, sem ver nenhuma das filas que há neles."""
    url, no = privado
    (no.pasta / "dados").mkdir(parents=True)
    (no.pasta / "versao").write_text("99.1.0\n")
    programa = orquestrar(url, dados, "--limpar", "--sim")
    assert programa.fim() == 2, programa.texto
    disse = " ".join(programa.linhas[1:])
    assert "RabbitMQ 99.1.0" in disse and f"Apague {no.pasta} e rode de novo" in disse
    assert [*(no.pasta / "dados").iterdir()] == []
    nada_fica(dados, no)


# --- outro jeito de dizer "esta máquina" ---

@pytest.mark.parametrize("maquina", ["[::1]", "127.0.0.1"])
@pytest.mark.longo
def test_no_privado_responde_no_endereco_que_se_pediu(privado, dados, maquina):
    url, no = privado
    endereco = url.replace("localhost", maquina)
    concluir(endereco, dados, "--id", "p-1")
    assert estado(dados)["pedidos"]["p-1"]["estado"] == "concluido"
    nada_fica(dados, no)


# --- parado com Ctrl-Z ---

def test_o_tempo_em_que_tudo_esteve_parado_nao_conta_contra_ninguem(tmp_path, monkeypatch):
    """Uma hora parado, enquanto se espera por um serviço mudo: ele tem os seus trinta segundos assim mesmo."""
    relogio = [0.0]  # o que marcava em cada olhada: passa um décimo entre duas, e uma hora depois da centésima
    dormir = lambda _: relogio.append(relogio[-1] + (3600 if len(relogio) == 100 else 0.1))
    monkeypatch.setattr(M.lancador, "time", SimpleNamespace(sleep=dormir, monotonic=lambda: relogio[-1]))
    lancador = M.lancador.Lancador(tmp_path, None, [], None)
    with pytest.raises(M.falha.Falha, match="estoque não ficou pronto"):
        lancador.esperar_pronto(SimpleNamespace(nome="estoque", pronto=False, desistiu=lambda: False))
    assert 280 < len(relogio) < 310


def test_quem_nao_ouve_o_fim_e_morto_depois_do_prazo(tmp_path, monkeypatch):
    """Um suspenso, que só ouve o SIGTERM quando continua; e um que se interrompeu enquanto se perguntava por ele."""
    monkeypatch.setattr(M.lancador, "FIM", 0.3)
    lancador = M.lancador.Lancador(tmp_path, None, [], SimpleNamespace(fechar=lambda: None))
    suspenso, perguntado = (subprocess.Popen(["sleep", "60"]) for _ in range(2))
    perguntado._waitpid_lock.acquire()
    suspenso.send_signal(signal.SIGSTOP)
    os.waitpid(suspenso.pid, os.WUNTRACED)  # só depois de parar: até lá o SIGTERM passaria à frente
    lancador.processos = [SimpleNamespace(processo=um) for um in (suspenso, perguntado)]
    depois = threading.Timer(10, lambda: (suspenso.send_signal(signal.SIGCONT), perguntado._waitpid_lock.release()))
    depois.start()
    lancador.parar()
    assert depois.is_alive() and suspenso.returncode == -signal.SIGKILL, "ninguém o matou: ouviu o SIGTERM, ao continuar"
    depois.cancel()


# --- só assistir ---

def test_so_assistir_desenha_a_saga_dos_servicos_de_outros_terminais(url, dados):
    """Antes deles e depois; e com um deles morto no meio."""
    antes = orquestrar(url, dados, "--so-assistir").esperar_dizer("assistindo em")
    loja = Loja(dados, url).iniciar()
    try:
        depois = orquestrar(url, dados, "--so-assistir").esperar_dizer("assistindo em")
        loja.enviar(cenario("sucesso", "a"))
        for programa in antes, depois:
            programa.esperar_dizer("pedido.concluido")
        loja.matar("estoque")
        loja.enviar(cenario("sucesso", "b"))
        loja.iniciar("estoque")
        for programa in antes, depois:
            esperar(lambda: sum("pedido.concluido" in linha for linha in programa.linhas) == 2, que="o segundo")
            assert filhos(programa.pid) == [], "iniciou alguém"
            assert sum("Pagamentos" in linha for linha in programa.linhas) == 1, "num pipe, um cabeçalho basta"
            programa.interromper()
            assert programa.fim() == 0 and len(loja.programas) == 4
            programa.limpo()
        loja.conferir_repouso()
    finally:
        loja.fechar()


def test_so_assistir_espera_pelo_broker_e_recusa_o_de_outra_loja(url, dados, tmp_path):
    loja = Loja(dados, url)
    loja.enviar(*mistura(5))  # mais do que se desenha: nem assim ele desiste
    sem = orquestrar(SEM_BROKER, dados, "--so-assistir").esperar_dizer("continuo tentando")
    sem.interromper()
    assert sem.fim() == 0
    sem.limpo()
    loja.profundidade()  # o vhost passa a ser desta loja
    outra = orquestrar(url, tmp_path / "outra", "--so-assistir")
    assert outra.fim() == 2 and outra.disse("e esta pasta de dados é"), outra.texto


def test_os_pedidos_nao_dependem_de_uma_pasta_de_temporarios(tmp_path, monkeypatch):
    entregues = {}
    monkeypatch.setattr(M.lancador.tempfile, "tempdir", str(tmp_path / "não existe"))
    monkeypatch.setattr(M.lancador, "Processo", lambda nome, _, arquivo: entregues.update({nome: arquivo}) or SimpleNamespace(pronto=True))
    M.lancador.Lancador(tmp_path, None, [], SimpleNamespace(abrir=lambda: None)).iniciar([cenario("sucesso")], [])
    with entregues.pop("pedidos") as arquivo:
        arquivo.seek(0)
        assert '"p-1"' in arquivo.read() and not list(tmp_path.iterdir()) and not any(entregues.values())
