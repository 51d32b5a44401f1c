"""Threads e processos disputando os mesmos produtos e clientes, mortos ao acaso: as promessas valem, nada se perde."""

from __future__ import annotations

import itertools
import linecache
import os
import random
import sqlite3
import sys
import threading
import time
from contextlib import closing
from types import SimpleNamespace

import pytest

if not hasattr(os, "fork"):
    pytest.skip("estes testes matam processos filhos feitos com fork", allow_module_level=True)

from monolito_apoio import (M, Filho, Retrato, abrir, conferir_repouso, consultar, em_threads, no_filho, nova_pasta,
                            pedido, so_recuperar)

PRODUTOS, CLIENTES, CEPS = ["livro", "caneca", "teclado", "notebook"], ["ana", "bruno", "carla"], ["01310-100", "69900-062"]


def sortear(acaso: random.Random, id: str) -> dict:
    itens = [{"produto": p, "quantidade": acaso.randint(1, 3)} for p in acaso.sample(PRODUTOS, acaso.randint(1, 3))]
    return {"pedido": id, "cliente": acaso.choice(CLIENTES), "itens": itens, "cep": acaso.choice(CEPS[:1] * 9 + CEPS)}


def martelar(pasta, semente, threads, dito):
    """Pede sem parar, em várias threads; cada resultado que o programa deu vai para o arquivo `dito`."""
    lote = M.lote.Lote(abrir(pasta, espera=0.3))
    vistos = os.open(dito, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def cliente(numero):
        acaso = random.Random(f"{semente}-{numero}")
        leitura = sqlite3.connect(pasta / "pedidos.db", isolation_level=None)
        for n in range(10**6):
            # De vez em quando repete um id já usado, dele ou de outro: um pedido vale uma vez.
            id = f"{semente}-{numero}-{n}" if acaso.random() > 0.1 or not n else f"{semente}-{numero}-{acaso.randrange(n)}"
            lote.executar(sortear(acaso, id))
            estado, = leitura.execute("SELECT estado FROM pedidos WHERE pedido = ?", (id,)).fetchone()
            os.write(vistos, f"{id} {estado}\n".encode())

    for numero in range(threads):
        threading.Thread(target=cliente, args=(numero,), daemon=True).start()
    threading.Event().wait()


def repor(pasta):
    """Como um professor: soma o mesmo às duas colunas, com o programa no ar."""
    for banco, sql in (("estoque", "UPDATE produtos SET inicial = inicial + 50, quantidade = quantidade + 50"),
                       ("pagamentos", "UPDATE clientes SET inicial = inicial + 900000, saldo = saldo + 900000")):
        with closing(sqlite3.connect(pasta / f"{banco}.db", timeout=30)) as conexao, conexao:
            conexao.execute(sql)


@pytest.mark.parametrize("segundos", [6, pytest.param(60, marks=pytest.mark.longo)])
def test_tres_processos_de_quatro_threads_mortos_ao_acaso(segundos, tmp_path, capsys):
    pasta, dito = nova_pasta(tmp_path / "d"), tmp_path / "dito.txt"
    acaso, mortes = random.Random(42), 0
    filhos = [Filho(martelar, pasta, f"f{n}", 4, dito) for n in range(3)]
    fim = time.monotonic() + segundos
    while time.monotonic() < fim:
        time.sleep(acaso.uniform(0.02, 0.4))  # o instante da morte é o acaso que se quer
        vitima = acaso.randrange(len(filhos))
        filhos[vitima].matar()
        assert filhos[vitima].esperar().morto
        mortes += 1
        filhos[vitima] = Filho(martelar, pasta, f"f{len(filhos)}-{mortes}", 4, dito)
        repor(pasta)
    for filho in filhos:
        filho.matar()
        filho.esperar()
    no_filho(so_recuperar, pasta)
    conferir_repouso(pasta)
    retrato = Retrato(pasta)
    ditos = [linha.split() for linha in dito.read_text().splitlines()]
    for id, estado in ditos:
        # Um id repetido enquanto o primeiro ainda está em dúvida mostra "pendente"; todo o resto é definitivo.
        assert retrato.pedidos[id] == estado or estado == "pendente", (id, estado)
    concluidos = sum(estado == "concluido" for estado in retrato.pedidos.values())
    assert mortes > segundos and concluidos > 50
    with capsys.disabled():
        print(f"\n  {mortes} mortes, {len(retrato.pedidos)} pedidos, {concluidos} concluídos, {len(ditos)} respostas")


def test_muitas_threads_no_mesmo_produto_ninguem_fica_para_tras(tmp_path):
    pasta = nova_pasta(tmp_path / "d")
    no_filho(todas_no_livro, pasta, 24)
    conferir_repouso(pasta)
    assert list(Retrato(pasta).pedidos.values()) == ["concluido"] * 24 * 2
    assert consultar(pasta, "estoque", "SELECT quantidade FROM produtos WHERE produto = 'livro'") == [(4,)]


def todas_no_livro(pasta, threads):
    coordenador = abrir(pasta, espera=30)
    em_threads(coordenador, [[pedido(f"p-{numero}-{n}") for n in range(2)] for numero in range(threads)])
    coordenador.encerrar()


def test_um_erro_na_rodada_acorda_todas_as_threads(tmp_path):
    """Nenhuma thread pode ficar esperando por um líder que já desistiu."""
    erros = no_filho(errar_no_lote, nova_pasta(tmp_path / "d")).saida
    assert erros and set(erros) == {"ZeroDivisionError"}


def errar_no_lote(pasta):
    coordenador = abrir(pasta)
    coordenador.log.decidir = lambda *_: 1 / 0
    # Cada uma com o seu cliente preso: as que não chegam à decisão desistem pela espera (0 s).
    erros = em_threads(coordenador, [[pedido(f"p-{numero}")] for numero in range(8)])
    return [type(erro).__name__ for erro in erros]


class Pedinte:
    """O que a gravação em grupo precisa saber de uma transação."""

    def __init__(self, pedido):
        self.pedido, self.parada_em = pedido, None


def interromper_na_linha(n: int, executar) -> bool:
    """Um Ctrl-C na n-ésima linha de lote.py que esta thread executa; False se ela acabou antes.

    Não nas do `with` do mutex: ao sair dele o Python não atende sinais antes de o soltar, e um traço, sim.
    """
    faltam = [n]

    def na_linha(quadro, evento, _):
        mutex = linecache.getline(M.lote.__file__, quadro.f_lineno).strip() == "with self._mutex:"
        faltam[0] -= evento == "line" and not mutex
        if not faltam[0]:
            faltam[0] = -1
            raise KeyboardInterrupt
        return na_linha

    sys.settrace(lambda quadro, *_: na_linha if quadro.f_code.co_filename == M.lote.__file__ else None)
    try:
        executar("interrompido")
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.parametrize("lidera", [True, False])
def test_quem_e_interrompido_em_qualquer_linha_nao_fica_com_a_vez(lidera):
    """Um Ctrl-C em quem lidera, ou espera: os outros terminam assim mesmo, e quem chega depois também."""
    for n in itertools.count(1):
        com_a_vez, soltar = threading.Event(), threading.Event()

        def rodada(transacoes):
            com_a_vez.set()
            soltar.wait(10)
            return transacoes[:1]

        lote = M.lote.Lote(SimpleNamespace(nova=Pedinte, rodada=rodada))
        outros = [threading.Thread(target=lote.executar, args=(quem,), daemon=True) for quem in range(3)]
        if not lidera:
            outros[0].start()
            com_a_vez.wait(10)
            threading.Timer(0.01, soltar.set).start()
        else:
            soltar.set()
        interrompido = interromper_na_linha(n, lote.executar)
        soltar.set()
        for outro in outros:
            if not outro.ident:
                outro.start()
        for outro in outros:
            outro.join(10)
            assert not outro.is_alive(), f"interrompido na linha {n}, alguém ficou esperando"
        if not interrompido:
            break
    assert n > 10
