"""Uma saga coreografada inteira, no tamanho de uma página, só com o Python.

    python tests/aula/saga_minima.py

Três serviços, cada um com o seu banco, e uma fila entre eles, que entrega pelo menos uma vez (aqui
ela é mais um arquivo; na loja de verdade é o RabbitMQ). Ninguém manda: cada serviço ouve um evento,
faz a sua parte, grava e publica outro. Ana compra um livro; Bruno tenta, e não tem saldo. No meio
disso o processo morre no pior instante, e outro continua de onde ele parou.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile

PRECO = 50
COMPRAS = [("p-1", "ana"), ("p-2", "bruno")]
NEGOCIOS = {
    "pedidos": "CREATE TABLE pedidos (pedido PRIMARY KEY, estado);",
    "estoque": "CREATE TABLE prateleira (livros CHECK (livros >= 0));"
               "INSERT INTO prateleira VALUES (10);",
    "pagamentos": "CREATE TABLE clientes (cliente PRIMARY KEY, saldo CHECK (saldo >= 0));"
                  "INSERT INTO clientes VALUES ('ana', 100), ('bruno', 10);"}
CAIXAS = """CREATE TABLE caixa_entrada (mensagem PRIMARY KEY);
            CREATE TABLE caixa_saida (tipo, pedido, cliente);"""


# --- os negócios: cada função faz a sua parte, e devolve o evento que a conta aos outros ---

def reservar(banco, pedido, cliente):
    tirados = banco.execute("UPDATE prateleira SET livros = livros - 1 WHERE livros > 0").rowcount
    return "estoque.reservado" if tirados else "estoque.recusado"


def cobrar(banco, pedido, cliente):
    pagos = banco.execute("UPDATE clientes SET saldo = saldo - ? WHERE cliente = ? AND saldo >= ?",
                          (PRECO, cliente, PRECO)).rowcount
    return "pagamento.aprovado" if pagos else "pagamento.recusado"


def liberar(banco, pedido, cliente):  # a compensação: desfaz o que já valia para todos
    banco.execute("UPDATE prateleira SET livros = livros + 1")
    return "estoque.liberado"


def concluir(banco, pedido, cliente):
    banco.execute("UPDATE pedidos SET estado = 'concluido' WHERE pedido = ?", (pedido,))


def cancelar(banco, pedido, cliente):
    banco.execute("UPDATE pedidos SET estado = 'cancelado' WHERE pedido = ?", (pedido,))


COREOGRAFIA = {  # evento: (quem o ouve, o que faz com ele)
    "pedido.criado": ("estoque", reservar),
    "estoque.reservado": ("pagamentos", cobrar),
    "pagamento.aprovado": ("pedidos", concluir),
    "pagamento.recusado": ("estoque", liberar),
    "estoque.recusado": ("pedidos", cancelar),
    "estoque.liberado": ("pedidos", cancelar)}


# --- o que todo serviço faz com um evento ---

def dar_uma_volta(nome, banco, fila, morrer_em):
    """Recebe uma mensagem, trata, publica, e só então a dá por recebida (o ack)."""
    chegou = fila.execute("SELECT rowid, tipo, pedido, cliente FROM fila WHERE servico = ?"
                          " ORDER BY rowid LIMIT 1", (nome,)).fetchone()
    if chegou:
        tratar(nome, banco, *chegou[1:])
        if chegou[1] == morrer_em:
            print(f"{nome:11} MORRE: gravou e não publicou (como num kill -9)", flush=True)
            os._exit(9)
    for linha, *evento in banco.execute("SELECT rowid, * FROM caixa_saida").fetchall():
        fila.execute("INSERT INTO fila VALUES (?, ?, ?, ?)", (COREOGRAFIA[evento[0]][0], *evento))
        banco.execute("DELETE FROM caixa_saida WHERE rowid = ?", (linha,))
        print(f"{nome:11} ▶ {evento[1]} {evento[0]}")
    if chegou:
        fila.execute("DELETE FROM fila WHERE rowid = ?", chegou[:1])
    return chegou


def tratar(nome, banco, tipo, pedido, cliente):
    """Caixa de entrada, efeito e caixa de saída, na mesma transação: ou os três, ou nenhum."""
    with banco:
        banco.execute("BEGIN IMMEDIATE")
        if banco.execute("INSERT OR IGNORE INTO caixa_entrada VALUES (?)",
                         (f"{pedido}:{tipo}",)).rowcount == 0:
            print(f"{nome:11} ◀ {pedido} {tipo}: repetido, nada muda")
            return
        print(f"{nome:11} ◀ {pedido} {tipo}")
        publica = COREOGRAFIA[tipo][1](banco, pedido, cliente)
        if publica:
            banco.execute("INSERT INTO caixa_saida VALUES (?, ?, ?)", (publica, pedido, cliente))


# --- o programa ---

def abrir(pasta, nome, tabelas):
    banco = sqlite3.connect(os.path.join(pasta, f"{nome}.db"), isolation_level=None)
    if not banco.execute("SELECT 1 FROM sqlite_master").fetchone():
        banco.executescript(f"BEGIN; {tabelas} COMMIT;")
    return banco


def trabalhar(pasta, morrer_em=None):
    """Os três serviços, um de cada vez, até que a fila fique vazia; 0 se as contas fecham."""
    fila = abrir(pasta, "fila", "CREATE TABLE fila (servico, tipo, pedido, cliente);")
    bancos = {nome: abrir(pasta, nome, sql + CAIXAS) for nome, sql in NEGOCIOS.items()}
    for pedido, cliente in COMPRAS:
        with bancos["pedidos"] as banco:  # o mesmo pedido outra vez não faz nada de novo
            banco.execute("BEGIN IMMEDIATE")
            if banco.execute("INSERT OR IGNORE INTO pedidos VALUES (?, 'pendente')",
                             (pedido,)).rowcount:
                banco.execute("INSERT INTO caixa_saida VALUES ('pedido.criado', ?, ?)",
                              (pedido, cliente))
    # A lista inteira: um gerador pararia no primeiro serviço com algo a fazer.
    while any([dar_uma_volta(nome, banco, fila, morrer_em) for nome, banco in bancos.items()]):
        pass
    estados = dict(bancos["pedidos"].execute("SELECT * FROM pedidos"))
    livros, = bancos["estoque"].execute("SELECT livros FROM prateleira").fetchone()
    saldos = dict(bancos["pagamentos"].execute("SELECT * FROM clientes"))
    em_linha = lambda dados: ", ".join(f"{nome} {valor}" for nome, valor in dados.items())
    print(f"fim: {em_linha(estados)}; {livros} livros; saldos: {em_linha(saldos)}")
    return (estados, livros, saldos) != ({"p-1": "concluido", "p-2": "cancelado"}, 9,
                                         {"ana": 50, "bruno": 10})


def main():
    if sys.argv[1:]:
        return trabalhar(*sys.argv[1:])
    with tempfile.TemporaryDirectory() as pasta:
        for titulo, morte in (("Um processo, que morre no meio:", ["pagamento.recusado"]),
                              ("Outro, com os mesmos arquivos:", [])):
            print(titulo, flush=True)
            if sys.stdin.isatty():
                input("(Enter) ")  # tempo para a turma prever
            fim = subprocess.run([sys.executable, __file__, pasta, *morte])
    return fim.returncode


if __name__ == "__main__":
    sys.exit(main())

# O que falta aqui, e onde está na loja de verdade:
# - a compensação que chega antes da ação       microsservicos/servico_estoque.py
# - o pivô, e o cliente que cancela             microsservicos/servico_envio.py
# - o erro que se tenta de novo                 microsservicos/tentativas.py
# - muitas mensagens por gravação               microsservicos/servico.py
# - um serviço só publica o que é dele         microsservicos/caixas.py
# - a caixa de saída que fica, e é o log       microsservicos/caixas.py
# - uma fila que responde pelo que guardou      microsservicos/rabbitmq/canal.py
# - um processo por serviço, vigiado            orquestracao.py
# - onde foi parar um pedido                    microsservicos/rastro.py
# - todas as ordens possíveis, conferidas       tests/aula/explorador.py
