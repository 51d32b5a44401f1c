"""Os exercícios têm solução: sem ela o teste de cada um falha e diz o que falta; com ela, passa.

As soluções ficam em .gabarito/, e são postas sobre uma cópia do projeto de hoje: se ele mudar onde
uma delas mexe, é aqui que se descobre.

    python -m pytest -m longo tests/projeto/test_exercicios.py    com cada defeito, o teste falha
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from conftest import RAIZ
from test_monolito_quedas import rapida  # noqa: F401

sys.path.insert(0, str(RAIZ / ".gabarito"))
import aplicar  # noqa: E402

# Em cada exercício, o que do projeto continua valendo depois dele, e cabe em poucos segundos.
DOS_SERVICOS = ["tests/saga/test_servicos.py", "tests/saga/test_servicos_caixas.py"]
GEMEOS = "tests/projeto/test_gemeos.py"
CONTINUAM = {"A": [], "D": [], **dict.fromkeys("12", [*DOS_SERVICOS, GEMEOS]), **dict.fromkeys("345", [GEMEOS])}
DEFEITOS = {  # exercício: (arquivo, o que havia na solução, o defeito)
    "1": ("microsservicos/servico_pagamentos.py", 'responder(banco, pedido, "recusado")\n        ', ""),  # não lembra
    "2": ("microsservicos/servico_pedidos.py",  # o prazo conta do início do serviço
          "lambda banco: vencer_prazos(banco, time.time() - escolha.prazo)",
          "lambda banco, inicio=time.time(): vencer_prazos("
          "banco, time.time() - escolha.prazo if time.time() - inicio > escolha.prazo else 0)"),
    "3": ("monolito/coordenador.py", "t.leram.append(participante)", "t.sim.append(participante)"),  # é avisado
    "4": ("microsservicos/servico_fidelidade.py", 'if resposta_dada(banco, pedido) == "estornado"', "if False"),  # sem a lápide
    "5": ("microsservicos/servico_orquestrador.py", '"pagamento.aprovado":   "pagamento.estornar",',  # desiste depois do pivô
          '"pagamento.aprovado":   "pagamento.estornar", "envio.despachado": "pagamento.estornar",'),
}


def rodar(copia, numero: str, *outros: str) -> tuple[int, str]:
    """Os testes de um exercício numa cópia, e outros, ou outras opções: (status, o que se leu)."""
    fim = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--processos", "1",
         "--basetemp", copia / "dados", "tests/exercicios", *outros],
        cwd=copia, env={**os.environ, "EXERCICIO": numero, "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", timeout=300)
    return fim.returncode, fim.stdout


@pytest.fixture(scope="module")
def sem_solucao(tmp_path_factory):
    return aplicar.copiar(tmp_path_factory.mktemp("exercicios") / "sem")


def resolver(numero: str, pasta):
    copia = aplicar.copiar(pasta / "resolvido")
    aplicar.resolver(numero, copia)
    return copia


@pytest.mark.parametrize("numero", CONTINUAM)
def test_sem_a_solucao_o_teste_diz_o_que_falta(numero, sem_solucao):
    status, texto = rodar(sem_solucao, numero, "-x")  # os outros só esperam: nem se liga o que pediriam
    assert status == 1 and "1 failed" in texto and "\nainda falta " in texto, texto
    assert "Error" not in texto and "Traceback" not in texto, texto


@pytest.mark.parametrize("numero", CONTINUAM)
def test_com_a_solucao_passa_e_o_projeto_continua_de_pe(numero, rapida):  # noqa: F811
    status, texto = rodar(resolver(numero, rapida), numero, *CONTINUAM[numero])
    assert status == 0 and "skipped" not in texto, texto


@pytest.mark.longo
@pytest.mark.parametrize("numero", DEFEITOS)
def test_com_um_defeito_na_solucao_falha(numero, rapida):  # noqa: F811
    copia, (arquivo, certo, errado) = resolver(numero, rapida), DEFEITOS[numero]
    aplicar.trocar(copia / arquivo, certo, errado)
    status, texto = rodar(copia, numero)
    assert status == 1 and "ainda falta" not in texto, texto


def test_o_explorador_acha_a_guarda_que_falta(tmp_path):
    copia = aplicar.copiar(tmp_path / "copia")
    aplicar.trocar(copia / "microsservicos" / "caixas.py", "(evento.mensagem,)).rowcount == 1", "(evento.mensagem,)).rowcount < 2")
    fim = subprocess.run([sys.executable, "tests/aula/explorador.py", "--cenario", "sucesso"],
                         cwd=copia, stdout=subprocess.PIPE, encoding="utf-8")
    assert fim.returncode == 1 and "sucesso: FALHOU, em " in fim.stdout, fim.stdout


@pytest.mark.parametrize("caso, resposta, status", [
    ("1", "depois-da-decisao", 0), ("3", "entre-votos", 0), ("4", "estoque", 0), ("5", "pagamentos", 0), ("6", "envio", 0), ("6", "estoque", 1)])
def test_quem_morreu_mostra_o_rastro_e_confere_a_resposta(caso, resposta, status):
    fim = subprocess.run([sys.executable, RAIZ / "tests/exercicios/quem_morreu.py", caso, resposta],
                         stdout=subprocess.PIPE, encoding="utf-8")
    assert fim.returncode == status and "  p-1: pendente" in fim.stdout, fim.stdout


def test_toda_pergunta_tem_a_sua_resposta():
    respostas = (RAIZ / ".gabarito" / "respostas.md").read_text(encoding="utf-8")
    roteiro = (RAIZ / "tests" / "aula" / "README.md").read_text(encoding="utf-8")
    titulos = re.findall(r"^#+ (Capítulo um|Experimento [1-9]\d*)", roteiro, flags=re.M)
    assert len(titulos) > 13 and titulos == re.findall(r"^### (.*)$", respostas, flags=re.M)
    enunciado = (RAIZ / "tests" / "exercicios" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\*\*(\w)\.\*\*", respostas, flags=re.M) == re.findall(r"^## (\w)\. ", enunciado, flags=re.M)


def test_cada_exercicio_tem_enunciado_teste_e_solucao():
    enunciado = (RAIZ / "tests" / "exercicios" / "README.md").read_text(encoding="utf-8")
    for numero in CONTINUAM:
        assert f"\n## {numero}. " in enunciado
        assert len(list((RAIZ / "tests" / "exercicios").glob(f"test_exercicio_{numero}_*.py"))) == 1
    assert len(list(aplicar.GABARITO.glob("exercicio-*"))) == len(CONTINUAM)
