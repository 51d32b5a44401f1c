"""O protocolo do monolito: votos, decisão, travas, o log, e o que acontece quando cada um deles falha."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing

import pytest

if not hasattr(os, "fork"):
    pytest.skip("estes testes usam processos filhos feitos com fork", allow_module_level=True)

from monolito_apoio import (DONOS, M, Ouvinte, Retrato, abrir, ao_gravar, atender, cair_em, cenario, conduzir,
                            conferir_repouso, no_filho, nova_pasta, participantes, pedido, so_recuperar)


@pytest.fixture
def pasta(tmp_path):
    return nova_pasta(tmp_path / "dados com espaço e ação")


def cair(pasta, ponto="antes-da-decisao", p=None):
    """Deixa uma transação em dúvida; devolve o nome dela."""
    assert no_filho(cair_em, pasta, ponto, p or pedido("p-1")).morto
    return Retrato(pasta, log=False).preparadas["pedidos"][(p or pedido("p-1"))["pedido"]]


# --- gravações forçadas ---

FORCADAS = {"sucesso": 5, "sem-estoque": 1, "pagamento-recusado": 2, "envio-recusado": 3}


@pytest.mark.parametrize("nome", FORCADAS)
def test_gravacoes_forcadas_sao_no_maximo_n_mais_1(nome, pasta):
    """Contadas pelo programa, e de novo por quem só olha os COMMIT, e se o SQLite os força."""
    contadas, vistas = no_filho(contar_gravacoes, pasta, cenario(nome)).saida
    assert contadas == FORCADAS[nome]
    assert [forcada for _, forcada in vistas[:contadas]] == [True] * contadas
    assert not any(forcada for _, forcada in vistas[contadas:]), "os avisos não são forçados"
    assert [nome for nome, forcada in vistas if forcada].count("coordenador") == (1 if nome == "sucesso" else 0), \
        "um aborto não força nada no log"


def contar_gravacoes(pasta, p):
    coordenador, vistas = abrir(pasta), []
    ao_gravar(depois=lambda banco: vistas.append(
        (os.path.basename(banco.caminho)[:-3], banco.execute("PRAGMA synchronous").fetchone()[0] == 2)))
    return conduzir(coordenador, [p]), vistas


def test_gravacao_em_grupo_divide_as_gravacoes_forcadas(pasta):
    assert no_filho(forcadas_em_grupo, pasta).saida == 5, "três pedidos que não disputam nada custam o que custa um"
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == dict.fromkeys(["p-1", "p-2", "p-3"], "concluido")


def forcadas_em_grupo(pasta):
    coordenador = abrir(pasta)
    forcadas = conduzir(coordenador, [pedido("p-1"), pedido("p-2", "bruno", "caneca"), pedido("p-3", "carla", "teclado")], 3)
    coordenador.esquecer_execucoes()
    return forcadas


# --- travas ---

@pytest.mark.parametrize("p, linha", [
    (pedido("p-2", "carla", "livro"), "livro"), (pedido("p-2", "ana", "caneca"), "ana"), (pedido("p-1"), "p-1"),
    (pedido("p-2", "carla", "caneca"), None)])
def test_linha_travada_vira_nao_que_diz_quem_a_tem(p, linha, pasta):
    """O mesmo id: o pedido em dúvida continua como está. Linhas livres passam ao lado dele."""
    transacao = cair(pasta)
    no_filho(atender_sem_recuperar, pasta, [p])
    retrato = Retrato(pasta)
    assert retrato.pedidos == {"p-1": "pendente", p["pedido"]: {None: "concluido", "p-1": "pendente"}.get(linha, "cancelado")}
    if linha and linha != "p-1":
        assert retrato.motivos["p-2"] == f"{linha} travado pela transação {transacao} em dúvida"
    assert retrato.esperando("p-1") == set(DONOS)


def atender_sem_recuperar(pasta, pedidos):
    atender(pasta, pedidos, recuperar=False)


def test_quem_espera_por_uma_trava_passa_na_rodada_seguinte(pasta):
    """Doze pedidos do mesmo produto em andamento: ninguém é recusado por esperar, e a espera é contada uma vez."""
    contado = no_filho(disputar, pasta, 12).saida
    retrato = Retrato(pasta)
    retrato.conferir_repouso()
    assert list(retrato.pedidos) == [f"p-{n}" for n in range(12)], "na ordem em que chegaram"
    assert set(retrato.pedidos.values()) == {"concluido"}
    esperas = [(pedido, texto) for pedido, _, para, texto in contado if "espera" in texto]
    assert ("p-1", "espera livro, com p-0") in esperas and len(esperas) == len(set(esperas)) == 11


def disputar(pasta, quantos):
    ouvinte = Ouvinte()
    coordenador = abrir(pasta, espera=0.0, narrador=ouvinte)
    conduzir(coordenador, [pedido(f"p-{n}") for n in range(quantos)], quantos)
    coordenador.esquecer_execucoes()
    return ouvinte.contado


def test_avisos_repetidos_nao_mudam_nada(pasta):
    no_filho(avisar_duas_vezes, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": "concluido", "p-2": "cancelado"}


def avisar_duas_vezes(pasta):
    """Como uma rede que entrega cada aviso duas vezes, e depois um aviso contrário atrasado."""
    aplicar, contraria = M.participante.Participante.aplicar, {"CONFIRMAR": "ABORTAR", "ABORTAR": "CONFIRMAR"}

    def repetir(self, decisoes):
        aplicar(self, decisoes)
        aplicar(self, decisoes)
        aplicar(self, [d._replace(qual=contraria[d.qual], motivo="atrasado") for d in decisoes])

    M.participante.Participante.aplicar = repetir
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


@pytest.mark.parametrize("qual", range(5))
def test_participante_sem_disco_ao_preparar_e_um_nao(qual, pasta):
    """E a decisão que não pode ser gravada é um aborto."""
    no_filho(sem_disco, pasta, qual)
    retrato = Retrato(pasta)
    retrato.conferir_repouso()
    assert retrato.pedidos == {"p-1": "cancelado", "p-2": "concluido"}
    assert retrato.motivos["p-1"] == (
        f"{M.app.NEGOCIOS[qual].nome} não conseguiu gravar" if qual < 4 else "a decisão não pôde ser gravada")


def sem_disco(pasta, qual):
    coordenador = abrir(pasta)
    falhar(*((coordenador.participantes[qual], "_votar") if qual < 4 else (coordenador.log, "anotar")), [CHEIO])
    conduzir(coordenador, [pedido("p-1"), pedido("p-2")])
    coordenador.esquecer_execucoes()
    if qual < 4:
        assert coordenador.log.execucoes() == [coordenador.execucao], "o que tiver ficado preparado precisa de resposta"
        coordenador.log.esquecer([coordenador.execucao])


@pytest.mark.parametrize("qual, ficou, fim", [(4, True, "concluido"), (4, False, "cancelado"),
                                              (1, True, "cancelado"), (1, False, "cancelado")])
def test_commit_que_falha_sem_se_saber_se_ficou(qual, ficou, fim, pasta):
    """No log, ninguém sabe: para, e ninguém é avisado. Num participante é um NÃO, e o log responde pelo que ficou."""
    dito = no_filho(commit_que_falha, pasta, M.app.NEGOCIOS[qual].arquivo if qual < 4 else "coordenador", ficou).saida
    retrato = Retrato(pasta)
    if qual == 4:
        assert "não sei se a decisão ficou, e não aviso ninguém" in dito
        assert retrato.esperando("p-1") == set(DONOS) and not retrato.efeitos("p-1")
    else:
        assert retrato.pedidos == {"p-1": "cancelado"} and retrato.motivos["p-1"] == "Estoque não conseguiu gravar"
        assert retrato.esperando("p-1") == ({"estoque"} if ficou else set())
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": fim}


def commit_que_falha(pasta, qual, ficou):
    """O disco responde com um erro ao primeiro COMMIT deste banco; ficou: se a gravação estava nele assim mesmo."""
    coordenador, executar = abrir(pasta), M.banco.Banco.execute

    def falhar_uma_vez(banco, sql, *valores):
        if sql == "COMMIT" and os.path.basename(banco.caminho) == f"{qual}.db":
            M.banco.Banco.execute = executar
            if ficou:  # a conexão não sabe: para ela, a transação não valeu
                executar(banco, "COMMIT")
            raise sqlite3.OperationalError("disk I/O error")
        return executar(banco, sql, *valores)

    M.banco.Banco.execute = falhar_uma_vez
    aplicar = M.participante.Participante.aplicar
    if qual == "estoque" and ficou:  # nem o aviso a vê, como com um índice (-shm) que não pôde crescer
        M.participante.Participante.aplicar = lambda self, decisoes: self.nome == "Estoque" or aplicar(self, decisoes)
    try:
        conduzir(coordenador, [pedido("p-1")])
        coordenador.esquecer_execucoes()
    except M.falha.Falha as falha:
        return str(falha)


def test_insiste_com_o_participante_que_falha_ao_confirmar(pasta):
    for qual in range(4):
        no_filho(falhar_ao_confirmar, pasta, qual, 3, f"p-{qual}")
    conferir_repouso(pasta)
    assert set(Retrato(pasta).pedidos.values()) == {"concluido"}


@pytest.mark.parametrize("qual", range(4))
def test_participante_que_nunca_confirma_fica_em_duvida_ate_a_recuperacao(qual, pasta):
    assert "em dúvida: a recuperação termina no próximo início" in no_filho(falhar_ao_confirmar, pasta, qual, 10**6).saida
    assert DONOS[qual] in Retrato(pasta).esperando("p-1")
    Retrato(pasta).conferir_promessas()
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": "concluido"}


def falhar_ao_confirmar(pasta, qual, vezes, id="p-1"):
    M.participante.PACIENCIA = 30 if vezes < 10 else 0
    coordenador = abrir(pasta)
    falhar(coordenador.participantes[qual], "aplicar", [CHEIO] * min(vezes, 1000))
    try:
        conduzir(coordenador, [pedido(id)])
    except M.falha.Falha as falha:
        return str(falha)
    coordenador.esquecer_execucoes()


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
    M.participante.PACIENCIA = 0
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


ESTRAGOS = [apagar, so_o_principal, apagar_wal, trocar, copia_antiga, lixo, truncar]


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
    avisos = no_filho(inicio, pasta).saida
    if estrago is trocar:  # o carimbo do outro log já diz que ele não é daqui, e nada é aberto
        assert "coordenador.db é da loja" in avisos
    else:
        assert "EM DÚVIDA" in avisos and transacao in avisos
    depois = Retrato(pasta, log=False)
    assert (depois.preparadas, depois.travas) == (antes.preparadas, antes.travas)
    assert depois.efeitos("p-1") == antes.efeitos("p-1") and depois.pedidos["p-1"] == "pendente"
    assert depois.pedidos.get("p-9") == (None if estrago in (so_o_principal, trocar, lixo, truncar) else "concluido")
    # O log certo volta, e só então há resposta.
    apagar(pasta)
    for arquivo in certo.iterdir():
        shutil.copy(arquivo, pasta)
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos["p-1"] == ("cancelado" if ponto == "antes-da-decisao" else "concluido")


def inicio(pasta, id="p-9"):
    """O que o programa diz ao iniciar, até onde ele chegar; outro pedido, de outras linhas, passa se puder."""
    avisos = []
    M.recuperacao.alertar = avisos.append
    try:
        coordenador = abrir(pasta)
    except M.falha.Falha as falha:
        return "\n".join([*avisos, str(falha)])
    conduzir(coordenador, [pedido(id, "carla", "caneca")])
    coordenador.esquecer_execucoes()
    return "\n".join(avisos)


# --- a pessoa que decide ---

def forcar(pasta, o_que):
    try:
        log = M.decisoes.LogDeDecisoes(pasta, M.identidade.identidade(pasta), espera=0)
        M.recuperacao.forcar(participantes(pasta), log, o_que)
    except M.falha.Falha as falha:
        return str(falha)
    return ""


@pytest.mark.parametrize("ponto, possivel", [("entre-votos", "abortar"), ("entre-confirmacoes", "confirmar"),
                                             (None, "abortar"), (None, "confirmar")])
def test_nao_se_forca_o_que_os_bancos_provam_impossivel(ponto, possivel, pasta):
    """A decisão é uma só: quem não votou SIM prova que não foi CONFIRMAR; quem já aplicou, que foi. None: um --forcar morto no meio."""
    impossivel, diz, fim = {"abortar": ("confirmar", "não está preparado, e nada aplicou do pedido p-1", "cancelado"),
                            "confirmar": ("abortar", "já aplicou o pedido p-1", "concluido")}[possivel]
    transacao = cair(pasta, ponto or "antes-da-decisao")
    apagar(pasta)
    assert ponto or no_filho(forcar_e_morrer, pasta, f"{transacao}={possivel}").morto
    assert diz in no_filho(forcar, pasta, f"{transacao}={impossivel}").saida
    assert no_filho(forcar, pasta, f"{transacao}={possivel}").saida == ""
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": fim}


@pytest.mark.parametrize("ponto, escolha, diverge", [
    ("depois-da-decisao", "abortar", True), ("depois-da-decisao", "confirmar", False),
    ("antes-da-decisao", "confirmar", True), ("antes-da-decisao", "abortar", False)])
def test_divergencia_com_o_log_e_dita_a_cada_partida_ate_ser_apagada(ponto, escolha, diverge, pasta):
    transacao = cair(pasta, ponto)
    guardado = shutil.copytree(pasta, pasta.parent / "guardado")
    apagar(pasta)
    assert no_filho(forcar, pasta, f"{transacao}={escolha}").saida == ""
    assert no_filho(divergencias, pasta).saida == [], "o log novo não sabe de nada: não há o que comparar"
    apagar(pasta)
    for arquivo in guardado.glob("coordenador.db*"):
        shutil.copy(arquivo, pasta)
    for _ in range(3):  # o log não a esquece até lá
        avisos = no_filho(divergencias, pasta).saida
        assert [transacao in aviso for aviso in avisos] == [True] * 4 * diverge
    for n, dono in enumerate(DONOS):
        comando = f"DELETE FROM heuristicas WHERE transacao = '{transacao}';"
        assert not diverge or avisos[n].endswith(f"rode, em {dono}.db: {comando}")
        with closing(sqlite3.connect(pasta / f"{dono}.db")) as banco, banco:
            banco.execute(comando)
    assert no_filho(divergencias, pasta).saida == []
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": "concluido" if escolha == "confirmar" else "cancelado"}


def divergencias(pasta):
    avisos = []
    M.recuperacao.alertar = avisos.append
    so_recuperar(pasta)
    return avisos


def test_dados_mudados_depois_do_voto_so_seguram_a_transacao_deles(pasta):
    """Quem votou SIM só não confirma se alguém mexeu nos dados depois: o resto da loja segue, e devolvidos, ela também."""
    transacao = cair(pasta, "depois-da-decisao")
    with closing(sqlite3.connect(pasta / "estoque.db")) as banco, banco:
        banco.execute("UPDATE produtos SET inicial = 0, quantidade = 0 WHERE produto = 'livro'")
    for n in range(2):
        [aviso] = no_filho(inicio, pasta, f"outro-{n}").saida.splitlines()
        assert aviso.startswith(f"FICA EM DÚVIDA: transação {transacao}, pedido p-1, em Pedidos, Estoque. estoque.db já não aceita")
        assert Retrato(pasta).pedidos[f"outro-{n}"] == "concluido"
    assert Retrato(pasta).esperando("p-1") == {"estoque", "pedidos"}, "o resultado só aparece depois dos efeitos"
    with closing(sqlite3.connect(pasta / "estoque.db")) as banco, banco:
        banco.execute("UPDATE produtos SET inicial = 100, quantidade = 100 WHERE produto = 'livro'")
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos["p-1"] == "concluido"


def test_nao_se_forca_o_que_o_log_sabe(pasta):
    transacao = cair(pasta)
    assert "o log conhece" in no_filho(forcar, pasta, f"{transacao}=abortar").saida
    assert "nenhuma transação" in no_filho(forcar, pasta, "outra-1=abortar").saida
    assert "use TRANSACAO=" in no_filho(forcar, pasta, transacao).saida
    assert Retrato(pasta).esperando("p-1") == set(DONOS)


def forcar_e_morrer(pasta, escolha):
    original = M.participante.Participante.decidir_sem_log

    def decidir_sem_log(self, *argumentos):
        if self.nome == "Estoque":
            os.kill(os.getpid(), 9)
        original(self, *argumentos)

    M.participante.Participante.decidir_sem_log = decidir_sem_log
    forcar(pasta, escolha)
