"""O protocolo do monolito: votos, decisão, travas, o log, e o que acontece quando cada um deles falha."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

if not hasattr(os, "fork"):
    pytest.skip("estes testes usam processos filhos feitos com fork", allow_module_level=True)

from monolito_apoio import (DONOS, MONOLITO, M, Filho, Retrato, abrir, atender, cenario, conferir_repouso, consultar,
                            em_threads, no_filho, nova_pasta, pedido, so_recuperar)


@pytest.fixture
def pasta(tmp_path):
    return nova_pasta(tmp_path / "dados com espaço e ação")


def cair_em(pasta, ponto, p):
    M.quedas.armar(ponto)
    atender(pasta, [p])


def cair(pasta, ponto="antes-da-decisao", p=None):
    """Deixa uma transação em dúvida; devolve o nome dela."""
    assert no_filho(cair_em, pasta, ponto, p or pedido("p-1")).morto
    return Retrato(pasta, log=False).preparadas["pedidos"][(p or pedido("p-1"))["pedido"]]


# --- gravações forçadas ---

FORCADAS = {"sucesso": 5, "sem-estoque": 1, "pagamento-recusado": 2, "envio-recusado": 3}


@pytest.mark.parametrize("nome", FORCADAS)
def test_gravacoes_forcadas_sao_no_maximo_n_mais_1(nome, pasta):
    """Contadas pelo programa, e de novo por quem só olha os COMMIT que o SQLite executa."""
    contadas, vistas, no_log = no_filho(contar_gravacoes, pasta, cenario(nome)).saida
    assert contadas == FORCADAS[nome]
    assert vistas[:2 * contadas] == ["commit", "fsync"] * contadas
    assert set(vistas[2 * contadas:]) == {"commit"}, "os avisos não são forçados"
    assert no_log == (1 if nome == "sucesso" else 0), "um aborto não força nada no log"


def contar_gravacoes(pasta, p):
    """Quem olha por fora: os COMMIT que o SQLite executa, e os fsync pedidos logo depois deles."""
    coordenador, vistas = abrir(pasta), []
    for arquivo in [*(participante.arquivo for participante in coordenador.participantes), coordenador.log.arquivo]:
        arquivo.banco.set_trace_callback(lambda sql: vistas.append("commit") if sql == "COMMIT" else None)
    forcar = M.arquivo.forcar_ao_disco
    M.arquivo.forcar_ao_disco = lambda wal: (forcar(wal), vistas.append("fsync"))
    no_log = coordenador.log.arquivo.forcadas
    coordenador.executar(p)
    return coordenador.forcadas(), vistas, coordenador.log.arquivo.forcadas - no_log


@pytest.mark.skipif(not shutil.which("strace"), reason="conta os fsync do sistema com o strace, que não está instalado")
def test_o_sistema_operacional_ve_cinco_fsync_por_pedido(tmp_path):
    def fsyncs(quantos):
        dados, rastro = tmp_path / str(quantos), tmp_path / f"{quantos}.txt"
        subprocess.run([sys.executable, MONOLITO / "app.py", "--dados", dados, "--estado"], check=True, capture_output=True)
        feito = subprocess.run(["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", rastro, sys.executable,
                                MONOLITO / "app.py", "--dados", dados, "--pedidos", str(quantos)], capture_output=True)
        if not rastro.exists() or feito.returncode:
            pytest.skip(f"o strace não pôde rodar aqui: {feito.stderr.decode()[-200:]}")
        return rastro.read_text().count("sync(")

    assert fsyncs(30) - fsyncs(10) == 20 * 5


def test_gravacao_em_grupo_divide_as_gravacoes_forcadas(pasta):
    forcadas = no_filho(forcadas_em_grupo, pasta).saida
    assert forcadas == 5, "oito pedidos que não disputam nada custam o que custa um"
    conferir_repouso(pasta)
    assert len(Retrato(pasta).pedidos) == 8


def forcadas_em_grupo(pasta):
    repor(pasta, 8)
    coordenador = abrir(pasta)
    coordenador.rodada([coordenador.nova(pedido(f"p-{n}", f"c{n}", f"produto{n}")) for n in range(8)])
    forcadas = coordenador.forcadas()
    coordenador.encerrar()
    return forcadas


def repor(pasta, quantos):
    """Clientes c0, c1... e produtos produto0, produto1..., para pedidos que não disputam nada."""
    M.pedidos.PRECOS.update({f"produto{n}": 100 for n in range(quantos)})
    with closing(sqlite3.connect(pasta / "estoque.db")) as banco, banco:
        banco.executemany("INSERT OR IGNORE INTO produtos VALUES (?, 1000, 1000)", [(f"produto{n}",) for n in range(quantos)])
    with closing(sqlite3.connect(pasta / "pagamentos.db")) as banco, banco:
        banco.executemany("INSERT OR IGNORE INTO clientes VALUES (?, 100000, 100000)", [(f"c{n}",) for n in range(quantos)])


# --- travas ---

@pytest.mark.parametrize("p, linha", [
    (pedido("p-2", "carla", "livro"), "livro"),
    (pedido("p-2", "ana", "caneca"), "ana"),
    (pedido("p-1"), "p-1"),
])
def test_linha_travada_vira_nao_que_diz_quem_a_tem(p, linha, pasta):
    transacao = cair(pasta)
    no_filho(atender_sem_recuperar, pasta, [p])
    retrato = Retrato(pasta)
    if p["pedido"] == "p-1":  # o mesmo id: o pedido em dúvida continua como está
        assert retrato.pedidos == {"p-1": "pendente"}
    else:
        assert retrato.pedidos["p-2"] == "cancelado"
        assert retrato.motivos["p-2"] == f"{linha} travado pela transação {transacao} em dúvida"
    assert retrato.esperando("p-1") == set(DONOS)


def atender_sem_recuperar(pasta, pedidos):
    atender(pasta, pedidos, recuperar=False)


def test_linhas_livres_passam_ao_lado_de_uma_transacao_em_duvida(pasta):
    cair(pasta)
    no_filho(atender_sem_recuperar, pasta, [pedido("p-2", "carla", "caneca")])
    assert Retrato(pasta).pedidos == {"p-1": "pendente", "p-2": "concluido"}


def test_travas_so_existem_entre_o_voto_e_o_aviso(pasta):
    transacao = cair(pasta, "entre-confirmacoes")
    assert Retrato(pasta).travas == {"pedidos": {"pedido/p-1": transacao}, "estoque": {}, "pagamentos": {},
                                     "envio": {"pedido/p-1": transacao}}


def test_quem_espera_por_uma_trava_passa_quando_ela_cai(pasta):
    """Dois clientes e o mesmo produto, em threads: ninguém é recusado por esperar."""
    no_filho(disputar, pasta, 12)
    retrato = Retrato(pasta)
    retrato.conferir_repouso()
    assert set(retrato.pedidos.values()) == {"concluido"} and len(retrato.pedidos) == 12


def disputar(pasta, quantos):
    coordenador = abrir(pasta, espera=30)
    em_threads(coordenador, [[pedido(f"p-{n}")] for n in range(quantos)])
    coordenador.encerrar()


def test_o_mesmo_id_de_novo_nao_muda_nada(pasta):
    for _ in range(2):
        no_filho(atender, pasta, [pedido("p-1"), pedido("p-1", "carla", "caneca"), cenario("sem-estoque", "p-2"), pedido("p-2")])
    retrato = Retrato(pasta)
    retrato.conferir_repouso()
    assert retrato.pedidos == {"p-1": "concluido", "p-2": "cancelado"}
    assert consultar(pasta, "estoque", "SELECT quantidade FROM produtos WHERE produto = 'livro'") == [(98,)]


def test_o_mesmo_id_ao_mesmo_tempo_vale_uma_vez(pasta):
    no_filho(atender, pasta, [pedido("p-1")] * 5, True)
    assert consultar(pasta, "estoque", "SELECT quantidade FROM produtos WHERE produto = 'livro'") == [(98,)]
    conferir_repouso(pasta)


def test_avisos_repetidos_nao_mudam_nada(pasta):
    no_filho(avisar_duas_vezes, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": "concluido", "p-2": "cancelado"}


def avisar_duas_vezes(pasta):
    """Como uma rede que entrega cada aviso duas vezes, e depois um aviso contrário atrasado."""
    encerrar = M.participante.Participante.encerrar

    def repetir(self, decididas):
        encerrar(self, decididas)
        encerrar(self, decididas)
        encerrar(self, [(nome, pedido, "atrasado" if motivo is None else None) for nome, pedido, motivo in decididas])

    M.participante.Participante.encerrar = repetir
    atender(pasta, [pedido("p-1"), cenario("envio-recusado", "p-2")])


# --- falhas de gravação ---

CHEIO = sqlite3.OperationalError("database or disk is full")


def falhar(objeto, metodo, erros):
    """Faz as primeiras chamadas de `metodo` levantarem os `erros`, e as outras funcionarem."""
    original, faltam = getattr(objeto, metodo), list(erros)

    def tentar(*argumentos):
        if faltam:
            raise faltam.pop(0)
        return original(*argumentos)

    setattr(objeto, metodo, tentar)


@pytest.mark.parametrize("qual", range(4))
def test_participante_sem_disco_ao_preparar_e_um_nao(qual, pasta):
    no_filho(sem_disco_ao_preparar, pasta, qual)
    retrato = Retrato(pasta)
    retrato.conferir_repouso()
    assert retrato.pedidos == {"p-1": "cancelado", "p-2": "concluido"}
    assert retrato.motivos["p-1"] == f"{M.app.NEGOCIOS[qual].nome} não conseguiu gravar"


def sem_disco_ao_preparar(pasta, qual):
    coordenador = abrir(pasta)
    falhar(coordenador.participantes[qual], "_votar", [CHEIO])
    coordenador.executar(pedido("p-1"))
    coordenador.executar(pedido("p-2"))
    coordenador.encerrar()


def test_decisao_que_nao_pode_ser_gravada_e_aborto(pasta):
    no_filho(sem_disco_ao_decidir, pasta)
    retrato = Retrato(pasta)
    retrato.conferir_repouso()
    assert retrato.pedidos == {"p-1": "cancelado", "p-2": "concluido"}
    assert retrato.motivos["p-1"] == "a decisão não pôde ser gravada"


def sem_disco_ao_decidir(pasta):
    coordenador = abrir(pasta)
    falhar(coordenador.log, "_renovar", [CHEIO])
    coordenador.executar(pedido("p-1"))
    coordenador.executar(pedido("p-2"))
    coordenador.encerrar()


@pytest.mark.parametrize("qual", range(5))
def test_fsync_que_falha_cala_o_coordenador_ate_a_recuperacao(qual, pasta):
    """Ninguém sabe se o que foi gravado está no disco; avisar seria adivinhar. E não se crê no fsync seguinte."""
    primeira, segunda = no_filho(sem_fsync, pasta, qual).saida
    assert "em dúvida até a próxima partida" in primeira and "em dúvida até a próxima partida" in segunda
    retrato = Retrato(pasta)
    assert len(retrato.esperando("p-1")) == min(qual + 1, 4) and not retrato.efeitos("p-1")
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos["p-1"] == ("concluido" if qual == 4 else "cancelado"), "o COMMIT ficou"


def sem_fsync(pasta, qual):
    coordenador, avisos = abrir(pasta), []
    original, faltam = M.arquivo.forcar_ao_disco, [qual]

    def forcar(wal):
        faltam[0] -= 1
        if faltam[0] == -1:
            raise OSError(5, "Input/output error")
        original(wal)

    M.arquivo.forcar_ao_disco = forcar
    for p in (pedido("p-1"), pedido("p-2", "carla", "caneca")):
        try:
            coordenador.executar(p)
        except M.falha.Falha as falha:
            avisos.append(str(falha))
    return avisos


@pytest.mark.parametrize("qual", range(4))
def test_insiste_com_o_participante_que_falha_ao_confirmar(qual, pasta):
    no_filho(falhar_ao_confirmar, pasta, qual, 3)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": "concluido"}


@pytest.mark.parametrize("qual", range(4))
def test_participante_que_nunca_confirma_fica_em_duvida_ate_a_recuperacao(qual, pasta):
    assert "em dúvida" in no_filho(falhar_ao_confirmar, pasta, qual, 10**6).saida
    assert DONOS[qual] in Retrato(pasta).esperando("p-1")
    Retrato(pasta).conferir_promessas()
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": "concluido"}


def falhar_ao_confirmar(pasta, qual, vezes):
    M.arquivo.PACIENCIA = 30 if vezes < 10 else 0
    coordenador = abrir(pasta)
    falhar(coordenador.participantes[qual], "encerrar", [CHEIO] * min(vezes, 1000))
    try:
        coordenador.executar(pedido("p-1"))
    except M.falha.Falha as falha:
        return str(falha)
    coordenador.encerrar()


def test_arquivos_que_nao_podem_crescer_em_nenhum_ponto(pasta, tmp_path):
    """O limite de tamanho faz a gravação falhar de verdade, cada vez num lugar diferente do protocolo."""
    pytest.importorskip("resource")
    terminou, limites = 0, range(33000, 120000, 4000)
    for limite in limites:
        shutil.rmtree(tmp_path / "x", ignore_errors=True)
        x = shutil.copytree(pasta, tmp_path / "x")
        terminou += no_filho(limitado, x, limite).saida is None
        no_filho(so_recuperar, x)
        conferir_repouso(x)
    assert 0 < terminou < len(limites), "o limite deveria barrar alguns e deixar passar outros"


def limitado(pasta, limite):
    import resource
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limite, resource.RLIM_INFINITY))
    M.arquivo.PACIENCIA = 0
    try:
        atender(pasta, [pedido("p-1"), cenario("envio-recusado", "p-2"), pedido("p-3")])
    except (M.falha.Falha, sqlite3.Error, OSError) as erro:
        return str(M.falha.em_portugues(erro))


# --- o log ---

def apagar(pasta):
    for arquivo in pasta.glob("coordenador.db*"):
        arquivo.unlink()


def so_o_principal(pasta):
    (pasta / "coordenador.db").unlink()


def apagar_wal(pasta):
    for arquivo in [*pasta.glob("coordenador.db-wal"), *pasta.glob("coordenador.db-shm")]:
        arquivo.unlink()


def esvaziar(pasta):
    apagar(pasta)
    (pasta / "coordenador.db").write_bytes(b"")


def trocar(pasta):
    """O log de outra loja: perfeito, e não é o desta."""
    outra = nova_pasta(pasta.parent / "outra loja")
    no_filho(atender, outra, [pedido("p-1")])
    apagar(pasta)
    shutil.copy(outra / "coordenador.db", pasta)


def copia_antiga(pasta):
    apagar(pasta)
    shutil.copy(pasta.parent / "copia-antiga.db", pasta / "coordenador.db")


def lixo(pasta):
    apagar(pasta)
    (pasta / "coordenador.db").write_bytes(b"isto nunca foi um banco de dados" * 500)


def truncar(pasta):
    with closing(sqlite3.connect(pasta / "coordenador.db")) as banco:
        banco.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    tamanho = (pasta / "coordenador.db").stat().st_size
    os.truncate(pasta / "coordenador.db", tamanho - 4096)


ESTRAGOS = [apagar, so_o_principal, apagar_wal, esvaziar, trocar, copia_antiga, lixo, truncar]


@pytest.mark.parametrize("estrago", ESTRAGOS)
@pytest.mark.parametrize("ponto", ["antes-da-decisao", "depois-da-decisao", "entre-confirmacoes"])
def test_sem_o_log_certo_nada_e_adivinhado(estrago, ponto, pasta):
    shutil.copy(pasta / "coordenador.db", pasta.parent / "copia-antiga.db")
    transacao = cair(pasta, ponto)
    certo = pasta.parent / "o log certo"
    certo.mkdir()
    for arquivo in [*pasta.glob("coordenador.db"), *pasta.glob("coordenador.db-wal")]:
        shutil.copy(arquivo, certo)
    antes = Retrato(pasta, log=False)
    estrago(pasta)
    avisos = no_filho(partida, pasta).saida
    assert "EM DÚVIDA" in avisos and transacao in avisos
    depois = Retrato(pasta, log=False)
    assert (depois.preparadas, depois.travas) == (antes.preparadas, antes.travas)
    assert depois.efeitos("p-1") == antes.efeitos("p-1") and depois.pedidos["p-1"] == "pendente"
    assert depois.pedidos.get("p-9") == (None if estrago in (lixo, truncar) else "concluido")
    # O log certo volta, e só então há resposta.
    apagar(pasta)
    for arquivo in certo.iterdir():
        shutil.copy(arquivo, pasta)
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos["p-1"] == ("cancelado" if ponto == "antes-da-decisao" else "concluido")


def partida(pasta):
    """O que o programa diz ao partir, até onde ele chegar; outro pedido, de outras linhas, passa se puder."""
    avisos = []
    M.recuperacao.alertar = M.app.alertar = avisos.append
    participantes = [M.participante.Participante(negocio, pasta) for negocio in M.app.NEGOCIOS]
    try:
        M.recuperacao.recuperar(pasta, participantes, M.app.abrir_log(pasta, participantes))
    except M.falha.Falha as falha:
        avisos.append(f"EM DÚVIDA? {falha}" if "em dúvida" in str(falha) else str(falha))
        return "\n".join(avisos + [nome for p in participantes for nome, _, _ in p.em_duvida()])
    atender(pasta, [pedido("p-9", "carla", "caneca")], recuperar=False)
    return "\n".join(avisos)


# --- a pessoa que decide ---

@pytest.mark.parametrize("escolha, estado", [("confirmar", "concluido"), ("abortar", "cancelado")])
def test_decisao_heuristica_sem_log(escolha, estado, pasta):
    transacao = cair(pasta)
    apagar(pasta)
    assert no_filho(operar, pasta, f"{transacao}={escolha}").saida == ""
    retrato = Retrato(pasta)
    assert retrato.pedidos == {"p-1": estado} and not any(retrato.travas.values())
    assert consultar(pasta, "estoque", "SELECT transacao, decisao FROM heuristicas") == [
        (transacao, "CONFIRMAR" if escolha == "confirmar" else "ABORTAR")]
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)


def operar(pasta, escolha):
    participantes = [M.participante.Participante(negocio, pasta) for negocio in M.app.NEGOCIOS]
    try:
        log = M.decisoes.LogDeDecisoes(pasta)
        M.operador.forcar(pasta, participantes, log, escolha)
    except M.falha.Falha as falha:
        return str(falha)
    return ""


@pytest.mark.parametrize("ponto, escolha, diverge", [
    ("depois-da-decisao", "abortar", True), ("depois-da-decisao", "confirmar", False),
    ("antes-da-decisao", "confirmar", True), ("antes-da-decisao", "abortar", False)])
def test_divergencia_com_o_log_e_dita_a_cada_partida_ate_ser_reconhecida(ponto, escolha, diverge, pasta):
    transacao = cair(pasta, ponto)
    guardado = shutil.copytree(pasta, pasta.parent / "guardado")
    apagar(pasta)
    assert no_filho(operar, pasta, f"{transacao}={escolha}").saida == ""
    assert no_filho(divergencias, pasta).saida == [], "o log novo não sabe de nada: não há o que comparar"
    assert "não há divergência" in no_filho(reconhecer, pasta, transacao).saida, "calaria a que ainda vai aparecer"
    apagar(pasta)
    for arquivo in guardado.glob("coordenador.db*"):
        shutil.copy(arquivo, pasta)
    for _ in range(3):  # o log certo já esqueceu a transação na segunda vez; a divergência, não
        assert [transacao in aviso for aviso in no_filho(divergencias, pasta).saida] == [True] * diverge
    assert ("não há divergência" in no_filho(reconhecer, pasta, transacao).saida) != diverge
    assert no_filho(divergencias, pasta).saida == []


def divergencias(pasta):
    avisos = []
    M.operador.alertar = avisos.append
    so_recuperar(pasta)
    return avisos


def reconhecer(pasta, transacao):
    try:
        M.operador.reconhecer([M.participante.Participante(negocio, pasta) for negocio in M.app.NEGOCIOS], transacao)
    except M.falha.Falha as falha:
        return str(falha)
    return ""


def recuperar_e_atender_outro(pasta, id):
    avisos = []
    M.recuperacao.alertar = avisos.append
    coordenador = abrir(pasta)
    coordenador.executar(pedido(id, "carla", "caneca"))
    coordenador.encerrar()
    return avisos


def test_dados_mudados_depois_do_voto_so_seguram_a_transacao_deles(pasta):
    """Quem votou SIM só não confirma se alguém mexeu nos dados depois: o resto da loja segue, e devolvidos, ela também."""
    transacao = cair(pasta, "depois-da-decisao")
    with closing(sqlite3.connect(pasta / "estoque.db")) as banco, banco:
        banco.execute("UPDATE produtos SET inicial = 0, quantidade = 0 WHERE produto = 'livro'")
    for n in range(2):
        [aviso] = no_filho(recuperar_e_atender_outro, pasta, f"outro-{n}").saida
        assert aviso.startswith(f"FICA EM DÚVIDA: transação {transacao}, pedido p-1, em Estoque. estoque.db já não aceita")
        assert Retrato(pasta).pedidos[f"outro-{n}"] == "concluido"
    assert Retrato(pasta).esperando("p-1") == {"estoque", "pedidos"}, "o resultado só aparece depois dos efeitos"
    with closing(sqlite3.connect(pasta / "estoque.db")) as banco, banco:
        banco.execute("UPDATE produtos SET inicial = 100, quantidade = 100 WHERE produto = 'livro'")
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos["p-1"] == "concluido"


def test_nao_se_forca_o_que_o_log_sabe_nem_o_que_ainda_vive(pasta):
    transacao = cair(pasta)
    assert "o log conhece" in no_filho(operar, pasta, f"{transacao}=abortar").saida
    assert "nenhuma transação" in no_filho(operar, pasta, "outra-1=abortar").saida
    assert "use TRANSACAO=" in no_filho(operar, pasta, transacao).saida
    assert Retrato(pasta).esperando("p-1") == set(DONOS)


def test_forcar_pela_metade_so_continua_na_mesma_direcao(pasta):
    transacao = cair(pasta)
    apagar(pasta)
    assert no_filho(forcar_e_morrer, pasta, f"{transacao}=confirmar").morto
    assert "ao contrário" in no_filho(operar, pasta, f"{transacao}=abortar").saida
    assert no_filho(operar, pasta, f"{transacao}=confirmar").saida == ""
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": "concluido"}


def forcar_e_morrer(pasta, escolha):
    original = M.participante.Participante.forcar

    def forcar(self, *argumentos):
        if self.nome == "Estoque":
            M.quedas.morrer()
        original(self, *argumentos)

    M.participante.Participante.forcar = forcar
    operar(pasta, escolha)


def test_duas_recuperacoes_ao_mesmo_tempo(pasta):
    for rodada in range(5):
        cair(pasta, ("depois-da-decisao", "antes-da-decisao")[rodada % 2], pedido(f"p-{rodada}"))
        filhos = [Filho(so_recuperar, pasta) for _ in range(4)]
        for filho in filhos:
            filho.esperar()
        no_filho(so_recuperar, pasta)
        conferir_repouso(pasta)
        assert Retrato(pasta).pedidos[f"p-{rodada}"] == ("concluido", "cancelado")[rodada % 2]
