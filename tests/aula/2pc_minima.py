"""Uma confirmação em duas fases inteira, no tamanho de uma página, só com o Python.

    python tests/aula/2pc_minima.py

Três donos de dados, cada um com o seu banco, e um coordenador com o seu log. Fase 1: todos
prometem (gravam e travam) e votam. A decisão, gravada no log, é o ponto sem volta. Fase 2: todos
são avisados. O processo morre duas vezes com os três votos dados: antes da decisão e depois dela.
As duas mortes deixam a mesma dúvida, e quem a resolve, no início seguinte, é o log.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile

NEGOCIOS = {  # dono: (as tabelas, o que trava, o que confere antes de votar, o efeito)
    "pedidos": ("CREATE TABLE pedidos (pedido PRIMARY KEY);",
                "SELECT :pedido", "SELECT 1", "INSERT INTO pedidos VALUES (:pedido)"),
    "estoque": ("CREATE TABLE prateleira (livros CHECK (livros >= 0));"
                "INSERT INTO prateleira VALUES (2);",
                "SELECT 'livro'", "SELECT livros > 0 FROM prateleira",
                "UPDATE prateleira SET livros = livros - 1"),
    "pagamentos": ("CREATE TABLE clientes (cliente PRIMARY KEY, saldo CHECK (saldo >= 0));"
                   "INSERT INTO clientes VALUES ('ana', 100), ('bruno', 10);",
                   "SELECT :cliente", "SELECT saldo >= 50 FROM clientes WHERE cliente = :cliente",
                   "UPDATE clientes SET saldo = saldo - 50 WHERE cliente = :cliente")}
PREPARADAS = "CREATE TABLE preparadas (pedido, cliente, trava);"
# O que a aula faz: cada linha é um processo, e o que lhe acontece.
AULA = [("p-1", "ana", "morre antes da decisão"), ("p-2", "ana", "não recupera"),
        ("p-3", "bruno", ""), ("p-4", "ana", "morre depois da decisão"), ("p-5", "ana", "")]


# --- o participante ---

def preparar(nome, banco, compra):
    """O voto. Um SIM já está gravado, com a trava, quando o coordenador o ouve."""
    _, linha, confere, _ = NEGOCIOS[nome]
    with banco:
        banco.execute("BEGIN IMMEDIATE")
        travada, = banco.execute(linha, compra).fetchone()
        if banco.execute("SELECT 1 FROM preparadas WHERE trava = ?", (travada,)).fetchone():
            return f"NÃO: {travada} está com uma transação em dúvida"
        if not banco.execute(confere, compra).fetchone()[0]:
            return "NÃO: não há, ou não chega"
        banco.execute("INSERT INTO preparadas VALUES (:pedido, :cliente, :trava)",
                      {**compra, "trava": travada})
    return "SIM"


def aplicar(nome, banco, pedido, confirmar):
    """Cumpre a promessa, ou a esquece, e solta a trava. O mesmo aviso outra vez não muda nada."""
    *_, efeito = NEGOCIOS[nome]
    with banco:
        banco.execute("BEGIN IMMEDIATE")
        for cliente, in banco.execute("DELETE FROM preparadas WHERE pedido = ? RETURNING cliente",
                                      (pedido,)).fetchall():
            if confirmar:
                banco.execute(efeito, {"pedido": pedido, "cliente": cliente})
            print(f"{nome:11} {pedido} {'cumpre o que prometeu' if confirmar else 'esquece'}")


# --- o coordenador ---

def executar(bancos, log, compra, roteiro):
    pedido, confirmar = compra["pedido"], True
    for nome, banco in bancos.items():  # fase 1: o primeiro NÃO encerra a votação
        voto = preparar(nome, banco, compra)
        print(f"{nome:11} {pedido} {voto}")
        if voto != "SIM":
            confirmar = False
            break
    talvez_morrer(roteiro, "morre antes da decisão")
    if confirmar:
        log.execute("INSERT INTO decisoes VALUES (?)", (pedido,))  # o COMMIT é o ponto sem volta
    print(f"coordenador {pedido} {'CONFIRMAR, gravado no log' if confirmar else 'ABORTAR'}")
    talvez_morrer(roteiro, "morre depois da decisão")
    for nome, banco in bancos.items():  # fase 2
        aplicar(nome, banco, pedido, confirmar)


def recuperar(bancos, log):
    """Quem ficou em dúvida pergunta ao log. O silêncio dele é aborto: nada foi decidido."""
    for nome, banco in bancos.items():
        for pedido, in banco.execute("SELECT pedido FROM preparadas").fetchall():
            achado = log.execute("SELECT 1 FROM decisoes WHERE pedido = ?", (pedido,)).fetchone()
            aplicar(nome, banco, pedido, confirmar=achado is not None)


# --- o programa ---

def talvez_morrer(roteiro, ponto):
    if roteiro == ponto:
        print("MORRE (como num kill -9)", flush=True)
        os._exit(9)


def abrir(pasta, nome, tabelas):
    banco = sqlite3.connect(os.path.join(pasta, f"{nome}.db"), isolation_level=None)
    if not banco.execute("SELECT 1 FROM sqlite_master").fetchone():
        banco.executescript(f"BEGIN; {tabelas} COMMIT;")
    return banco


def trabalhar(pasta, pedido, cliente, roteiro):
    """Um processo: recupera, executa um pedido, e confere as contas (0 se fecham)."""
    log = abrir(pasta, "log", "CREATE TABLE decisoes (pedido PRIMARY KEY);")
    bancos = {nome: abrir(pasta, nome, sql + PREPARADAS) for nome, (sql, *_) in NEGOCIOS.items()}
    if roteiro != "não recupera":
        recuperar(bancos, log)
    executar(bancos, log, {"pedido": pedido, "cliente": cliente}, roteiro)
    ler = lambda nome, consulta: bancos[nome].execute(consulta).fetchone()[0]
    concluidos = ler("pedidos", "SELECT count(*) FROM pedidos")
    livros = ler("estoque", "SELECT livros FROM prateleira")
    dinheiro = ler("pagamentos", "SELECT sum(saldo) FROM clientes")
    duvidas = ler("estoque", "SELECT count(*) FROM preparadas")
    print(f"fim: {concluidos} concluidos, {livros} livros, {dinheiro} em dinheiro, "
          f"{duvidas} em dúvida")
    decididos, = log.execute("SELECT count(*) FROM decisoes").fetchone()
    return (concluidos, livros, dinheiro) != (decididos, 2 - decididos, 110 - 50 * decididos)


def main():
    if sys.argv[1:]:
        return trabalhar(*sys.argv[1:])
    with tempfile.TemporaryDirectory() as pasta:
        for processo in AULA:
            print("---", *processo, flush=True)
            if sys.stdin.isatty():
                input("(Enter) ")  # tempo para a turma prever
            fim = subprocess.run([sys.executable, __file__, pasta, *processo])
    return fim.returncode


if __name__ == "__main__":
    sys.exit(main())

# O que falta aqui, e onde está na loja de verdade:
# - por que só cinco gravações forçadas, e quando o log pode esquecer    monolito/coordenador.py
# - o log que some, ou que não é o desta transação                       monolito/decisoes.py
# - a espera pela trava, e o banco que não responde                      monolito/participante.py
# - a morte no meio da recuperação                                       monolito/recuperacao.py
# - a pessoa que decide sem o log (decisão heurística)                   monolito/recuperacao.py
# - a energia que cai, o disco cheio, o arquivo apagado                  monolito/comum/arquivos.py
# - o veredito, lido dos bancos                                          monolito/comum/veredito.py
