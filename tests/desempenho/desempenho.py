"""As medidas de desempenho, lado a lado: o que cada garantia custa, e perto de que limite se está.

    python tests/desempenho/desempenho.py                   tudo, uns dez minutos
    python tests/desempenho/desempenho.py --rapido          tudo, menor e menos preciso, uns dois minutos
    python tests/desempenho/desempenho.py --secao saga      só uma parte

Liga um broker seu e usa uma pasta temporária. Cada número é a mediana de várias execuções,
com o menor e o maior entre colchetes. O que se compara é medido alternado, na mesma
execução e com a mesma durabilidade; o que vale em outra máquina são as razões.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

# Quem usa o projeto só o compila na primeira vez que roda: a variável faria cada processo compilar.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
TESTES = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTES), str(TESTES / "apoio")]

import medidas_2pc as duas_fases
import medidas_saga as saga

from cluster import No
from medidas import RAIZ, alternar, grafico, linha, maquina, mediana, percentil, razoes, rodar_python


def medir_saga(url: str, pasta: Path, rapido: bool) -> None:
    print("\n1. Vazão da saga, quatro serviços, da primeira publicação ao último resultado")
    quantos, vezes = (2000, 3) if rapido else (10000, 5)
    loja = saga.Loja(pasta / "saga", url)
    loja.iniciar("estoque", "pagamentos", "envio")
    nomes = iter(range(10 ** 6))
    valores = alternar(
        vezes,
        rele=lambda: saga.vazao_do_rele(url, quantos, saga.salto_em_lote, None),
        rele_como_vem=lambda: saga.vazao_do_rele(url, quantos, saga.salto_encadeado, "como-vem"),
        rele_em_lote=lambda: saga.vazao_do_rele(url, quantos, saga.salto_encadeado, None),
        livro=lambda: saga.vazao_do_rele(url, quantos // 10, saga.salto_de_livro_texto, str(pasta)),
        saga=lambda: saga.vazao_da_saga(loja, quantos, f"v{next(nomes)}"))
    linha("a saga, com tudo gravado", valores["saga"], "pedidos/s")
    linha("relé nu do pika: sem banco nenhum", valores["rele"], "pedidos/s")
    linha("relé nu em lotes, com o pika como vem", valores["rele_como_vem"], "pedidos/s")
    linha("relé nu, mandando o lote de uma vez", valores["rele_em_lote"], "pedidos/s")
    linha("laço de livro-texto: uma mensagem por vez", valores["livro"], "pedidos/s")
    linha("saga / relé nu", razoes(valores["saga"], valores["rele"]), "", "alvo: 0,9")
    linha("saga / relé nu em lotes, com o pika como vem", razoes(valores["saga"], valores["rele_como_vem"]), "")
    linha("saga / relé nu que manda o lote de uma vez", razoes(valores["saga"], valores["rele_em_lote"]), "")
    linha("saga / livro-texto", razoes(valores["saga"], valores["livro"]), "", "alvo: 5")
    medir_custo(loja, rapido)
    loja.parar()


def medir_custo(loja: saga.Loja, rapido: bool) -> None:
    print("\n   O custo por pedido conforme a quantidade, e a memória de cada serviço")
    tamanhos = (100, 1000, 5000) if rapido else (100, 1000, 10000, 50000)
    for n in tamanhos:
        vezes = 3 if n <= 1000 else 1
        linha(f"{n} pedidos", [1e6 / saga.vazao_da_saga(loja, n, f"c{n}-{i}") for i in range(vezes)], "µs/pedido")
        print("     memória máxima: " + ", ".join(f"{nome} {mib:.0f} MiB" for nome, mib in loja.memoria().items()))
    antigos = 100_000 if rapido else 1_000_000
    loja.parar()
    loja.envelhecer(antigos)
    loja.iniciar("estoque", "pagamentos", "envio")
    n = tamanhos[-1] // 5
    linha(f"{n} pedidos sobre {antigos} antigos", [1e6 / saga.vazao_da_saga(loja, n, f"d{i}") for i in range(2)], "µs/pedido")
    print("     memória máxima: " + ", ".join(f"{nome} {mib:.0f} MiB" for nome, mib in loja.memoria().items()))


def medir_latencia(url: str, pasta: Path, rapido: bool) -> None:
    print("\n2. Latência de um pedido sozinho, de pedido.criado a pedido.concluido")
    loja = saga.Loja(pasta / "latencia", url)
    loja.iniciar(*saga.NOMES)
    vezes, quantos = (3, 50) if rapido else (5, 200)
    p50, p99, partes50, partes99 = [], [], [], []
    for _ in range(vezes):
        tempos = saga.latencias(loja, url, quantos)
        gravacoes, viagens = saga.partes_da_latencia(url, pasta, quantos)
        p50.append(1000 * mediana(tempos))
        p99.append(1000 * percentil(tempos, 99))
        partes50.append(4000 * (mediana(gravacoes) + mediana(viagens)))
        partes99.append(4000 * (percentil(gravacoes, 99) + percentil(viagens, 99)))
    loja.parar()
    linha("p50", p50, "ms")
    linha("p99", p99, "ms")
    linha("4 gravações + 4 viagens, sozinhas, p50", partes50, "ms")
    linha("p50 / soma das partes", razoes(p50, partes50), "", "alvo: até 1,4")
    linha("p99 / soma das partes no p99", razoes(p99, partes99), "", "alvo: até 1,4")


def medir_2pc(url: str, pasta: Path, rapido: bool) -> None:
    print("\n3. Vazão da 2PC")
    quantos, vezes = (200, 3) if rapido else (500, 5)
    monolito = duas_fases.Monolito(pasta / "2pc", linhas=64)
    valores = alternar(
        vezes,
        um=lambda: monolito.atender(1, quantos)[0],
        limite=lambda: duas_fases.vazao_do_limite(pasta / "limite", quantos),
        sqlite=lambda: duas_fases.vazao_do_sqlite(pasta / "sqlite", quantos),
        muitos=lambda: monolito.atender(64, quantos // 10)[0])
    monolito.fechar()
    linha("um cliente", valores["um"], "pedidos/s")
    linha("limite: cinco gravações forçadas", valores["limite"], "pedidos/s")
    linha("commit atômico do SQLite (ATTACH)", valores["sqlite"], "pedidos/s")
    linha("64 clientes, gravação em grupo", valores["muitos"], "pedidos/s")
    linha("um cliente / limite", razoes(valores["um"], valores["limite"]), "", "alvo: 0,8")
    linha("um cliente / SQLite", razoes(valores["um"], valores["sqlite"]), "", "alvo: 2,5")
    linha("o limite / SQLite: até onde o disco deixa", razoes(valores["limite"], valores["sqlite"]), "")
    linha("64 clientes / um cliente", razoes(valores["muitos"], valores["um"]), "", "alvo: 4")


def medir_contencao(url: str, pasta: Path, rapido: bool) -> None:
    clientes, cada, vezes = (64, 5, 1) if rapido else (64, 25, 3)
    print(f"\n4. Contenção: {clientes} clientes, um pedido de cada vez, divididos entre muitos produtos ou poucos")
    loja = saga.Loja(pasta / "contencao-saga", url, linhas=clientes)
    loja.iniciar(*saga.NOMES)
    paciente, apressado = (duas_fases.Monolito(pasta / f"contencao-{espera}", clientes, espera) for espera in (2.0, 0.1))
    arquiteturas = {"saga": lambda n: saga.contencao(loja, url, clientes, cada, n),
                    "2PC": lambda n: paciente.atender(clientes, cada, n),
                    "2PC, espera de 0,1 s": lambda n: apressado.atender(clientes, cada, n)}
    produtos = (64, 16, 4, 1)
    vazao: dict[str, list[float]] = {nome: [] for nome in arquiteturas}
    p99: dict[str, list[float]] = {nome: [] for nome in arquiteturas}
    for n in produtos:
        medidas = alternar(vezes, **{nome: partial(medir, n) for nome, medir in arquiteturas.items()})
        for nome, rodadas in medidas.items():
            tempos = [1000 * percentil(t, 99) for _, t, _ in rodadas]
            vazao[nome].append(mediana([v for v, _, _ in rodadas]))
            p99[nome].append(mediana(tempos))
            linha(f"{nome}, {n} produto{'s' if n > 1 else ''}", [v for v, _, _ in rodadas], "pedidos/s")
            linha("     p99", tempos, "ms", f"recusados {mediana([r for _, _, r in rodadas]):.1%}".replace(".", ","))
    grafico("pedidos por segundo, conforme o número de produtos", vazao, "n", produtos)
    grafico("p99 em milissegundos, conforme o número de produtos", p99, "n", produtos)
    for monolito in (paciente, apressado):
        monolito.fechar()
    loja.parar()


def medir_disponibilidade(url: str, pasta: Path, rapido: bool) -> None:
    total, fora = (12, (4, 8)) if rapido else (60, (20, 30))
    print(f"\n   Disponibilidade: {total} s de pedidos, 20 por segundo; Pagamentos fora do segundo {fora[0]} ao {fora[1]}")
    aceitos_saga, finais_saga = saga.disponibilidade(saga.Loja(pasta / "disp", url), total, fora)
    aceitos_2pc, finais_2pc = duas_fases.disponibilidade(pasta / "disp2", total, fora)
    grafico("pedidos por segundo", {"saga aceita": aceitos_saga, "saga conclui": finais_saga, "2PC conclui": finais_2pc}, "s")
    print(f"  saga: {sum(aceitos_saga):.0f} aceitos, {sum(finais_saga):.0f} concluídos; "
          f"2PC: {sum(aceitos_2pc):.0f} oferecidos, {sum(finais_2pc):.0f} concluídos")


def medir_partida(url: str, pasta: Path, rapido: bool) -> None:
    print("\n5. Partida")
    ambiente = {**os.environ, "RABBITMQ_URL": url}
    loja = saga.Loja(pasta / "partida", url)

    def ate(*argumentos, linha: str | None = None) -> float:
        inicio = time.perf_counter()
        with rodar_python(*argumentos, env=ambiente) as processo:
            for texto in processo.stdout:
                if linha is not None and linha in texto:
                    fim = time.perf_counter() - inicio
                    processo.terminate()
                    processo.communicate()
                    return fim
        return time.perf_counter() - inicio

    lancador = (RAIZ / "orquestracao.py", "--dados", loja.pasta)
    valores = alternar(
        3 if rapido else 10,
        vazio=lambda: ate("-c", "pass"),
        importar=lambda: ate("-c", f"import sys; sys.path.insert(0, {str(RAIZ / 'microsservicos')!r}); import servico_estoque"),
        primeira=lambda: ate(*lancador, linha="Só inicia"),
        saga=lambda: ate(*lancador, linha="pedido.concluido"),
        monolito=lambda: ate(RAIZ / "monolito" / "app.py", "--dados", pasta / "partida-2pc", linha="Veredito"))
    for nome, chave in (("Python vazio", "vazio"), ("importar um serviço", "importar"), ("orquestracao.py: primeira linha", "primeira"),
                        ("orquestracao.py: primeiro pedido concluido", "saga"), ("monolito/app.py: primeiro veredito", "monolito")):
        linha(nome, [1000 * v for v in valores[chave]], "ms")


SECOES = {"saga": medir_saga, "latencia": medir_latencia, "2pc": medir_2pc, "contencao": medir_contencao,
          "disponibilidade": medir_disponibilidade, "partida": medir_partida}


def main() -> int:
    opcoes = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    opcoes.add_argument("--rapido", action="store_true", help="menos repetições e menos pedidos")
    opcoes.add_argument("--secao", choices=SECOES, action="append", help="só esta parte (pode repetir)")
    escolha = opcoes.parse_args()
    print(maquina())
    with tempfile.TemporaryDirectory(prefix="desempenho-") as temporaria:
        pasta = Path(temporaria)
        no = No(pasta / "rabbitmq").iniciar()
        try:
            for nome in escolha.secao or SECOES:
                SECOES[nome](no.url, pasta, escolha.rapido)
        finally:
            no.parar()
    return 0


if __name__ == "__main__":
    sys.exit(main())
