"""A bateria dos exercícios 4 e 5: um serviço a mais na saga, e as promessas de sempre.

Quem a usa diz em QUINTO o que o serviço novo tem de próprio, e importa daqui os testes.
"""

from __future__ import annotations

import random
from typing import Callable, NamedTuple

import pytest

import maquete as maquetes
from conftest import carregar
from enunciado import enunciado, exigir, modulo, test_o_que_o_enunciado_pede_esta_no_lugar  # noqa: F401
from verbos import CENARIOS, M, MODULOS, cenario, contas, onde_espera, pedido, rodar

A_PEDIDO = "cancelado a pedido do cliente"


class Quinto(NamedTuple):
    """nome: o do serviço. eventos: {evento: (quem publica, quem ouve, o que leva)}.
    caminhos: {cenário: tudo o que passa pelo broker, em ordem}. desmente: dois eventos do mesmo
    pedido que não podem existir. conferir(banco, concluidos): o que o banco dele tem de ter."""

    nome: str
    eventos: dict
    caminhos: dict
    desmente: tuple
    conferir: Callable = lambda banco, concluidos: None


def exigir_o_servico(quinto: Quinto) -> None:
    modulo(M, "microsservicos", f"servico_{quinto.nome}", "TABELAS", "OUVE")
    exigir(quinto.nome in M.coreografia.SERVICOS, f"{quinto.nome} em SERVICOS, em microsservicos/coreografia.py")
    for tipo, quem in quinto.eventos.items():
        exigir(M.coreografia.EVENTOS.get(tipo) == quem, f"{tipo} ser {quem}, em EVENTOS de microsservicos/coreografia.py")
    for nome, servico in {**MODULOS, quinto.nome: getattr(M, f"servico_{quinto.nome}")}.items():
        ouve = set(M.coreografia.o_que_ouve(nome))
        exigir(set(servico.OUVE) == ouve, f"OUVE de servico_{nome}.py ter exatamente {', '.join(sorted(ouve))}")


@pytest.fixture
def quinto(request) -> Quinto:
    return request.module.QUINTO


@pytest.fixture(autouse=True)
def cinco_servicos(enunciado, quinto, monkeypatch):  # noqa: F811
    """A maquete do projeto, agora com o serviço novo."""
    monkeypatch.setitem(MODULOS, quinto.nome, getattr(M, f"servico_{quinto.nome}", None))
    monkeypatch.setattr(maquetes, "SERVICOS", M.coreografia.SERVICOS)


@pytest.fixture
def maquete(tmp_path):
    return maquetes.Maquete(tmp_path)


def passou(maquete, id: str = "p-1") -> list[str]:
    return [mensagem.split(":")[1] for mensagem in maquete.publicadas if mensagem.startswith(f"{id}:")]


def conferir(maquete, quinto: Quinto, fins: dict) -> None:
    """Tudo entregue, nada nas mortas, as promessas de sempre, e cada pedido no seu fim."""
    assert not any(maquete.filas.values()) and not any(maquete.mortas.values())
    assert not any(M.veredito.violacoes(maquete.pasta).values())
    achados = {id: (fim["estado"], fim["motivo"]) for id, fim in M.veredito.estado(maquete.pasta)["pedidos"].items()}
    assert achados == fins
    quinto.conferir(maquete.ligados[quinto.nome].banco,
                    [cenario("sucesso", id) for id, fim in fins.items() if fim[0] == "concluido"])


# --- na saga ---

@pytest.mark.parametrize("nome", CENARIOS)
def test_os_eventos_passam_na_ordem_pedida(nome, maquete, quinto):
    maquete.fazer(f"enviar p-1 {nome}")
    maquete.fazer("andar")
    assert passou(maquete) == quinto.caminhos[nome]
    conferir(maquete, quinto, {"p-1": CENARIOS[nome][1:]})


def test_com_ele_desligado_o_pedido_espera_e_da_para_ver_onde(maquete, quinto):
    maquete.fazer(f"desligar {quinto.nome}")
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("andar")
    parou = passou(maquete)[-1]
    assert quinto.nome in M.coreografia.quem_ouve(parou), f"alguém andou sem {quinto.nome}"
    [lugar] = onde_espera(maquete.pasta, "p-1")
    assert f"{parou}, na fila «{quinto.nome}»" in lugar
    maquete.fazer(f"ligar {quinto.nome}")
    maquete.fazer("andar")
    assert onde_espera(maquete.pasta, "p-1") == []
    conferir(maquete, quinto, {"p-1": ("concluido", None)})


# --- em qualquer ordem ---

@pytest.mark.parametrize("semente", range(4))
def test_muitos_pedidos_disputando_tudo(semente, maquete, quinto):
    """Os serviços andam ao acaso, com as filas embaralhadas, repetições e cancelamentos."""
    acaso, enviados = random.Random(semente), []
    for n in range(20):
        enviados.append(pedido(f"p-{n:02}", acaso.choice(["ana", "bruno", "carla", "zé"]),
                               acaso.choice(["livro", "caneca", "teclado", "notebook"]), acaso.randint(1, 6),
                               acaso.choice(["01310-100", "69900-062"])))
        maquete.entrar(M.servico_pedidos.receber, enviados[-1])
        if acaso.random() < 0.3:
            maquete.fazer(f"cancelar p-{n:02}")
        for _ in range(acaso.randrange(6)):
            fila = maquete.filas[nome := acaso.choice(M.coreografia.SERVICOS)]
            acaso.shuffle(fila)
            if fila and acaso.random() < 0.3:
                fila.append(fila[0])
            maquete.tratar(nome)
            maquete.publicar(nome)
    maquete.fazer("andar")
    estado = M.veredito.estado(maquete.pasta)
    assert set(estado["pedidos"]) == {p["pedido"] for p in enviados} and not maquete.pendentes()
    certas = contas(enviados, {id for id, fim in estado["pedidos"].items() if fim["estado"] == "concluido"})
    assert {dono: estado[dono] for dono in certas} == certas
    quinto.conferir(maquete.ligados[quinto.nome].banco, [p for p in enviados if p["pedido"] in certas["envios"]])


@pytest.mark.parametrize("nome", [f"{nome}+cancelamento" for nome in CENARIOS])
def test_em_toda_ordem_possivel(nome, quinto, monkeypatch):
    """Com repetições, e quedas em cada instante."""
    explorador = carregar("microsservicos", "explorador")
    monkeypatch.setitem(explorador.MODULOS, quinto.nome, MODULOS[quinto.nome])
    monkeypatch.setattr(explorador, "SE_DESMENTEM", (*explorador.SE_DESMENTEM, quinto.desmente))
    visita = explorador.Explorador(*explorador.ROTEIROS[nome]).explorar()
    assert {motivo for (_, _, motivo), in visita.fins} == {CENARIOS[nome.split("+")[0]][2], A_PEDIDO}


# --- os programas ---

def test_o_servico_e_o_lancador_o_conhecem(tmp_path, quinto):
    assert rodar(f"microsservicos/servico_{quinto.nome}.py", "--help").processo.returncode == 0
    lancador = rodar("orquestracao.py", "--estado", "--dados", tmp_path)
    assert lancador.processo.returncode == 0, lancador.texto


@pytest.mark.longo
def test_com_rabbitmq_os_cinco_processos_atendem_os_quatro_cenarios(url, tmp_path, quinto):
    fim = rodar("orquestracao.py", "--cenario", "todos", "--id", "p", "--ate-concluir", "--dados", tmp_path, url=url)
    assert fim.processo.returncode == 0 and fim.disse(f"{quinto.nome}: pronto"), fim.texto
    achados = [(fim["estado"], fim["motivo"]) for fim in M.veredito.estado(tmp_path / "microsservicos")["pedidos"].values()]
    assert achados == [tuple(fim[1:]) for fim in CENARIOS.values()]
