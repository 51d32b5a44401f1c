"""Exercício 3: na 2PC, quem só lê vota LEITURA e vai embora: não grava, não trava e não espera aviso.

    EXERCICIO=3 python -m pytest tests/exercicios
"""

from __future__ import annotations

import sqlite3
from itertools import count

import pytest

from enunciado import enunciado, exigir, modulo, test_o_que_o_enunciado_pede_esta_no_lugar  # noqa: F401
from monolito_apoio import (DONOS, M, Ouvinte, Retrato, abrir, app, cair_no_passo, cenario, conduzir, conferir_repouso, consultar, copiar,
                            no_filho, nova_pasta, so_recuperar)
from test_monolito_quedas import conferir_fim, conferir_queda, rapida  # noqa: F401
from verbos import linhas_largas

EU, NOME, ARQUIVO = "Coordenador", "Antifraude", "antifraude"


def o_que_se_pede():
    negocio = modulo(M, "monolito", "antifraude", "NEGOCIO").NEGOCIO
    exigir((negocio.nome, negocio.arquivo) == (NOME, ARQUIVO), "o Negocio se chamar Antifraude, e o arquivo, antifraude")
    exigir(negocio.confirmar is None, "o NEGOCIO de antifraude.py dizer confirmar=None: ele só lê")
    exigir([n.arquivo for n in M.app.NEGOCIOS] == [*DONOS, ARQUIVO], "Antifraude no fim de NEGOCIOS, em monolito/app.py")
    exigir(NOME in M.narracao.RAIAS, "a raia de Antifraude, em monolito/palco/narracao.py")


@pytest.fixture(params=[4, 2], ids=["por último", "no meio"])
def posicao(request, monkeypatch):
    """O protocolo tem de servir em qualquer ordem de votação (só Pedidos é sempre o primeiro)."""
    outros = [negocio for negocio in M.app.NEGOCIOS if negocio.arquivo != ARQUIVO]
    outros.insert(request.param, M.antifraude.NEGOCIO)
    monkeypatch.setattr(M.app, "NEGOCIOS", outros)


class Rodada:
    """Uma execução, com tudo o que o coordenador contou e o que foi escrito em Antifraude."""

    def __init__(self, pasta, *pedidos):
        self.pasta, self.ouvinte = pasta, Ouvinte()
        self.coordenador = abrir(pasta, narrador=self.ouvinte)
        [self.antifraude] = [p for p in self.coordenador.participantes if p.nome == NOME]
        self.forcadas = conduzir(self.coordenador, [M.loja.validar(p) for p in pedidos])

    def disse(self, de: str, para: str) -> list[str]:
        return [texto for _, d, p, texto in self.ouvinte.contado if (d, p) == (de, para)]

    def fim(self) -> Retrato:
        self.coordenador.esquecer_execucoes()
        self.coordenador.log.banco.close()
        assert not self.antifraude.banco.total_changes, "quem só lê não tem o que gravar"
        conferir_repouso(self.pasta)
        return Retrato(self.pasta)


def test_cinco_participantes_custam_as_gravacoes_de_quatro(tmp_path, posicao):
    rodada = Rodada(tmp_path, cenario("sucesso"))
    assert rodada.forcadas == 5, "quatro votos SIM e uma decisão: LEITURA não espera pelo disco"
    assert rodada.fim().efeitos("p-1") == set(DONOS)


@pytest.mark.parametrize("nome", ["sucesso", "envio-recusado", "pagamento-recusado"])
def test_quem_votou_leitura_nao_e_avisado_e_os_outros_sao(nome, tmp_path, posicao):
    rodada = Rodada(tmp_path, cenario(nome))
    votou = rodada.disse(NOME, EU)
    assert votou == (["LEITURA"] if rodada.disse(EU, NOME) else []) and set(rodada.disse(EU, NOME)) <= {"preparar"}
    for dono in ("Pedidos", "Estoque", "Pagamentos", "Envio"):
        sim = "SIM" in rodada.disse(dono, EU)
        assert ({"confirmar", "abortar"} & set(rodada.disse(EU, dono)) != set()) == (sim or dono == "Pedidos")
    rodada.fim()


def test_cliente_bloqueado_e_um_nao(tmp_path, posicao):
    Rodada(tmp_path).fim()
    sqlite3.connect(tmp_path / "antifraude.db", isolation_level=None).execute("INSERT INTO bloqueados (cliente) VALUES ('carla')")
    rodada = Rodada(tmp_path, cenario("sucesso", "p-1"), {**cenario("sucesso", "p-2"), "cliente": "carla"})
    assert rodada.disse(NOME, EU) == ["LEITURA", "NÃO: cliente bloqueado"]
    retrato = rodada.fim()
    assert retrato.pedidos == {"p-1": "concluido", "p-2": "cancelado"} and retrato.motivos["p-2"] == "cliente bloqueado"


def test_quem_le_respeita_a_trava_de_quem_escreve(tmp_path):
    """Uma transação em dúvida pode estar bloqueando este cliente: ler por cima dela seria adivinhar."""
    Rodada(tmp_path).fim()
    sqlite3.connect(tmp_path / "antifraude.db", isolation_level=None).execute("INSERT INTO preparadas VALUES ('outra-1', 'outra', 'p-0', 'cliente/ana', '{}')")
    rodada = Rodada(tmp_path, cenario("sucesso"))
    assert "ana travado pela transação outra-1" in rodada.fim().motivos["p-1"]


# --- mortes ---

def morrer_em(pasta, ponto):
    M.quedas.armado = ponto
    Rodada(pasta, cenario("sucesso"))


@pytest.mark.parametrize("ponto, estado", [("antes-da-decisao", "cancelado"), ("depois-da-decisao", "concluido")])
def test_quem_votou_leitura_nao_fica_em_duvida(ponto, estado, tmp_path):
    pasta = nova_pasta(tmp_path / "dados")
    assert no_filho(morrer_em, pasta, ponto).morto
    assert Retrato(pasta).esperando("p-1") == set(DONOS)
    assert not consultar(pasta, ARQUIVO, "SELECT * FROM preparadas"), "Antifraude deixou uma promessa"
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    assert Retrato(pasta).pedidos == {"p-1": estado}


def morrer_no_passo(pasta, passo):
    cair_no_passo(passo)
    Rodada(pasta, cenario("sucesso")).fim()


def test_morte_em_cada_passo_duravel(rapida):  # noqa: F811
    modelo, mortes = nova_pasta(rapida / "modelo"), 0
    for passo in count(1):
        caida = copiar(modelo, rapida / "caida")
        if not no_filho(morrer_no_passo, caida, passo).morto:
            break
        antes, mortes = conferir_queda(caida, ["p-1"]), mortes + 1
        no_filho(so_recuperar, caida)
        conferir_fim(caida, antes)
    assert mortes >= 8


# --- a tela ---

def test_a_raia_nova_cabe_na_tela(tmp_path):
    fim = app(tmp_path, "--id", "p-1", COLUMNS="80")
    assert fim.returncode == 0 and not linhas_largas(fim.tela), fim.tela
    assert NOME in fim.tela and "LEITURA" in fim.tela and "gravações forçadas: 5" in fim.tela, fim.tela
