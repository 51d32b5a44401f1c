"""As medidas de desempenho, lado a lado: o que cada garantia custa, e perto de que limite se está.

    python tests/desempenho/desempenho.py                   tudo, uns oito minutos
    python tests/desempenho/desempenho.py --rapido          tudo, menor e menos preciso, uns dois minutos
    python tests/desempenho/desempenho.py --secao saga      só uma parte

Liga um broker seu e usa uma pasta temporária. Cada número é a mediana de várias execuções,
com o menor e o maior entre colchetes. O que se compara é medido alternado, na mesma
execução e com a mesma durabilidade; o que vale em outra máquina são as razões.
"""

from __future__ import annotations

import argparse
import os
import subprocess
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
from conftest import RAIZ
from medidas import alternar, linha, maquina, percentil, razoes

SO_OUVEM = saga.SERVICOS[1:]


def medir_saga(broker, pasta: Path, rapido: bool) -> None:
    print("\n1. Vazão da saga, quatro serviços, da primeira publicação ao último resultado")
    quantos, vezes = (2000, 3) if rapido else (10000, 5)
    loja, url = saga.LojaMedida(pasta / "saga", broker), saga.url_nova(broker)
    loja.iniciar(*SO_OUVEM)
    medidas = alternar(
        vezes,
        como_vem=lambda: saga.vazao_do_rele(url, quantos, saga.salto_em_lote, True),
        em_lote=lambda: saga.vazao_do_rele(url, quantos, saga.salto_em_lote, False),
        livro=lambda: saga.vazao_do_rele(url, quantos // 10, saga.salto_de_livro_texto, str(pasta)),
        saga=lambda: loja.vazao(quantos))
    vazao, cpu = zip(*medidas["saga"])
    linha("a saga, com tudo gravado", vazao, "pedidos/s")
    linha("relé nu em lotes, com o pika como vem", medidas["como_vem"], "pedidos/s")
    linha("relé nu, mandando o lote de uma vez", medidas["em_lote"], "pedidos/s")
    linha("laço de livro-texto: uma mensagem por vez", medidas["livro"], "pedidos/s")
    linha("saga / relé nu em lotes, com o pika como vem", razoes(vazao, medidas["como_vem"]), alvo="alvo: 0,8")
    linha("saga / relé nu que manda o lote de uma vez", razoes(vazao, medidas["em_lote"]))
    linha("saga / livro-texto", razoes(vazao, medidas["livro"]), alvo="alvo: 5")
    linha("CPU dos quatro serviços, por pedido", cpu, "µs", "alvo: até 300")
    antigos = 100_000 if rapido else 1_000_000
    for n in (1000, quantos, 5 * quantos):
        linha(f"{n} pedidos", [1e6 / loja.vazao(n)[0]], "µs/pedido")
    print("     memória máxima: " + loja.memoria())
    loja.encerrar()
    loja.envelhecer(antigos)
    loja.iniciar(*SO_OUVEM)
    linha(f"{quantos} pedidos sobre {antigos} antigos", [1e6 / loja.vazao(quantos)[0] for _ in range(2)], "µs/pedido")
    print("     memória máxima: " + loja.memoria())
    loja.fechar()


def medir_latencia(broker, pasta: Path, rapido: bool) -> None:
    print("\n2. Latência de um pedido sozinho, de pedido.criado a pedido.concluido")
    loja = saga.LojaMedida(pasta / "latencia", broker).iniciar()
    rodadas = [saga.latencias(loja, 50 if rapido else 200) for _ in range(3 if rapido else 5)]
    for p in (50, 99):
        linha(f"p{p}", [1000 * percentil(tempos, p) for tempos in rodadas], "ms")
    loja.fechar()


def medir_2pc(broker, pasta: Path, rapido: bool) -> None:
    print("\n3. Vazão da 2PC")
    quantos, vezes = (200, 3) if rapido else (500, 5)
    monolito = duas_fases.Monolito(pasta / "2pc", linhas=64)
    valores = alternar(
        vezes,
        um=lambda: monolito.atender(1, quantos),
        limite=lambda: duas_fases.vazao_do_limite(pasta / "limite", quantos),
        sqlite=lambda: duas_fases.vazao_do_sqlite(pasta / "sqlite", quantos),
        muitos=lambda: monolito.atender(64, quantos // 10))
    monolito.fechar()
    linha("um cliente", valores["um"], "pedidos/s")
    linha("limite: cinco gravações forçadas", valores["limite"], "pedidos/s")
    linha("commit atômico do SQLite (ATTACH)", valores["sqlite"], "pedidos/s")
    linha("64 de cada vez", valores["muitos"], "pedidos/s")
    linha("um cliente / limite", razoes(valores["um"], valores["limite"]), alvo="alvo: 0,95")
    linha("um cliente / SQLite", razoes(valores["um"], valores["sqlite"]), alvo="alvo: 3")
    linha("64 de cada vez / um cliente", razoes(valores["muitos"], valores["um"]), alvo="alvo: 6")


def medir_contencao(broker, pasta: Path, rapido: bool) -> None:
    clientes, cada, vezes = (64, 5, 1) if rapido else (64, 25, 3)
    print(f"\n4. Contenção: {clientes} clientes, um pedido de cada vez, divididos entre muitos produtos ou poucos")
    loja = saga.LojaMedida(pasta / "contencao", broker, linhas=clientes).iniciar()
    monolito = duas_fases.Monolito(pasta / "contencao-2pc", clientes)
    for n in (64, 16, 4, 1):
        valores = alternar(vezes, saga=partial(saga.contencao, loja, clientes, cada, n),
                           duas_fases=partial(monolito.atender, clientes, cada, n))
        produtos = f"{n} produto{'s' if n > 1 else ''}"
        linha(f"saga, {produtos}", [vazao for vazao, _ in valores["saga"]], "pedidos/s")
        linha("     p99", [1000 * percentil(tempos, 99) for _, tempos in valores["saga"]], "ms")
        linha(f"2PC, {produtos}", valores["duas_fases"], "pedidos/s")
    monolito.fechar()
    loja.fechar()


def medir_disponibilidade(broker, pasta: Path, rapido: bool) -> None:
    """Um pedido a cada vigésimo de segundo; na 2PC, outro programa trava o banco de Pagamentos."""
    total, fora = (9, (3, 6)) if rapido else (60, (20, 30))
    print(f"\n5. Disponibilidade: 20 pedidos por segundo; Pagamentos fora do segundo {fora[0]} ao {fora[1]}")
    loja = saga.LojaMedida(pasta / "disponibilidade", broker).iniciar()
    monolito = duas_fases.Monolito(pasta / "disponibilidade-2pc", linhas=1)
    na_saga = por_segundo(total, fora, lambda id: loja.enviar(saga.pedido(id, "ana", "livro")), lambda: loja.encerrar("pagamentos"),
                          lambda: loja.iniciar("pagamentos"), lambda: loja.consultar("pedidos", duas_fases.CONCLUIDOS)[0][0])
    na_2pc = por_segundo(total, fora, lambda _: monolito.atender(1, 1), monolito.travar_pagamentos, monolito.soltar_pagamentos, monolito.concluidos)
    print("      s  saga conclui              2PC conclui")
    for segundo, (um, outro) in enumerate(zip(na_saga, na_2pc)):
        print(f"  {segundo:5}  {um:4} {'█' * (um // 10):20} {outro:4} {'█' * (outro // 10)}".rstrip())
    print(f"  de {20 * total}: a saga concluiu {sum(na_saga)}, e a 2PC {sum(na_2pc)}")
    monolito.fechar()
    loja.fechar()


def por_segundo(total: int, fora: tuple[int, int], pedir, parar, voltar, concluidos) -> list[int]:
    """Quantos pedidos se concluíram em cada segundo."""
    finais, inicio = [], time.monotonic()
    for segundo in range(total):
        parar() if segundo == fora[0] else voltar() if segundo == fora[1] else None
        for i in range(20):
            pedir(f"disp-{segundo}-{i}")
            time.sleep(max(0.0, inicio + segundo + (i + 1) / 20 - time.monotonic()))
        finais.append(concluidos() - sum(finais))
    return finais


def medir_inicio(broker, pasta: Path, rapido: bool) -> None:
    print("\n6. Início")
    ambiente = {**os.environ, "RABBITMQ_URL": saga.url_nova(broker)}

    def ate(*argumentos, dizer: str = "") -> float:
        """Milissegundos até o programa dizer isto; sem isto, até acabar."""
        inicio = time.perf_counter()
        with subprocess.Popen([sys.executable, *map(str, argumentos)], env=ambiente, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8") as processo:
            any(dizer in texto for texto in processo.stdout) if dizer else processo.stdout.read()
            fim = time.perf_counter() - inicio
            processo.terminate()
            processo.communicate()
        return 1000 * fim

    lancador = (RAIZ / "orquestracao.py", "--dados", pasta / "inicio")
    importar = f"import sys; sys.path.insert(0, {str(RAIZ / 'microsservicos')!r}); import servico_estoque"
    valores = alternar(3 if rapido else 10, **{
        "Python vazio": lambda: ate("-c", "pass"), "importar um serviço": lambda: ate("-c", importar),
        "orquestracao.py: primeira linha": lambda: ate(*lancador, dizer="Só inicia"),
        "orquestracao.py: primeiro pedido concluido": lambda: ate(*lancador, dizer="pedido.concluido"),
        "monolito/app.py: primeiro veredito": lambda: ate(RAIZ / "monolito" / "app.py", "--dados", pasta / "i", dizer="Veredito")})
    for nome, tempos in valores.items():
        linha(nome, tempos, "ms", "alvo: até 450" if "pedido" in nome else "")


SECOES = {"saga": medir_saga, "latencia": medir_latencia, "2pc": medir_2pc, "contencao": medir_contencao,
          "disponibilidade": medir_disponibilidade, "inicio": medir_inicio}


def main() -> int:
    opcoes = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    opcoes.add_argument("--rapido", action="store_true", help="menos repetições e menos pedidos")
    opcoes.add_argument("--secao", choices=SECOES, action="append", help="só esta parte (pode repetir)")
    escolha = opcoes.parse_args()
    print(maquina())
    with tempfile.TemporaryDirectory(prefix="desempenho-") as temporaria:
        pasta = Path(temporaria)
        broker = No(pasta / "rabbitmq").iniciar()
        try:
            for nome in escolha.secao or SECOES:
                SECOES[nome](broker, pasta, escolha.rapido)
        finally:
            broker.parar()
    return 0


if __name__ == "__main__":
    sys.exit(main())
