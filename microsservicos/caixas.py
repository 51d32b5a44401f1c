"""Caixa de entrada e caixa de saída: cada evento age uma vez só, e nenhum se perde.

A fila entrega pelo menos uma vez; o efeito de "exatamente uma vez" se faz aqui.
Na MESMA transação do SQLite ficam:

  - a caixa de entrada: o id do evento tratado (consumidor idempotente);
  - o efeito: o que a função do negócio escreveu;
  - a caixa de saída: os eventos que ela devolveu, por enviar até o broker responder por eles.

Separar qualquer dos três em outra transação abre uma janela em que um `kill -9`
perde ou repete um pedido. (Padrões "Transactional outbox" e "Idempotent consumer",
Richardson, "Microservices Patterns", 2018.)

Nada se apaga: as duas caixas são o log do serviço, com o que ele tratou e o que publicou, em que
ordem e por causa de quê. Quem conta a história de um pedido (palco/historia.py) a tira delas.
Aqui não se sabe o que é pika nem produto.
"""

import json
import sqlite3
from typing import Callable, Iterable

from coreografia import Evento, quem_publica

TABELAS = """
CREATE TABLE caixa_entrada (  -- os eventos tratados, na ordem em que este serviço os tratou
    ordem INTEGER PRIMARY KEY, mensagem TEXT NOT NULL UNIQUE) STRICT;

CREATE TABLE caixa_saida (  -- os eventos deste serviço, na ordem em que ele os decidiu publicar
    ordem INTEGER PRIMARY KEY, tipo TEXT NOT NULL,
    pedido TEXT NOT NULL CHECK (length(pedido) BETWEEN 1 AND 64),
    corpo TEXT NOT NULL CHECK (length(corpo) <= 65536), causa TEXT CHECK (length(causa) <= 255),
    enviado INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX por_enviar ON caixa_saida (ordem) WHERE enviado = 0;
CREATE INDEX do_pedido ON caixa_saida (pedido)
"""

em_json = json.JSONEncoder(ensure_ascii=False).encode


def tratar(banco: sqlite3.Connection, servico: str, funcao: Callable,
           evento: Evento) -> list[Evento] | None:
    """Trata um evento na transação aberta por quem chama; None se ele já tinha sido tratado.

    funcao: a do negócio; recebe o banco e o evento, e devolve [(tipo, dados), ...] a publicar.
    Se a função falha, nada do que ela fez fica (nem a caixa de entrada: senão a
    próxima tentativa pareceria uma repetição e o evento se perderia).
    """
    banco.execute("SAVEPOINT evento")
    try:
        novos = None
        if anotar(banco, evento):
            novos = guardar(banco, servico, funcao(banco, evento), evento.mensagem)
        banco.execute("RELEASE evento")
        return novos
    except Exception:
        if banco.in_transaction:  # um erro grave do SQLite já pode ter desfeito tudo
            banco.execute("ROLLBACK TO evento")
            banco.execute("RELEASE evento")
        raise


def anotar(banco: sqlite3.Connection, evento: Evento) -> bool:
    """Põe o evento na caixa de entrada; False se ele já estava lá: a fila o entregou de novo."""
    return banco.execute("INSERT OR IGNORE INTO caixa_entrada (mensagem) VALUES (?)",
                         (evento.mensagem,)).rowcount == 1


def guardar(banco: sqlite3.Connection, servico: str, eventos: Iterable[tuple[str, dict]],
            causa: str | None = None) -> list[Evento]:
    """Põe eventos na caixa de saída, por enviar, na transação de quem chama.

    causa: o id da mensagem que os provocou; None se foi um pedido do cliente.
    Levanta ValueError se a coreografia diz que o evento é de outro serviço.
    """
    novos = [Evento(tipo, dados["pedido"], dados, causa) for tipo, dados in eventos]
    for novo in novos:
        if quem_publica(novo.tipo) != servico:
            raise ValueError(f"{servico} não publica {novo.tipo}")
        banco.execute("INSERT INTO caixa_saida (tipo, pedido, corpo, causa) VALUES (?, ?, ?, ?)",
                      (novo.tipo, novo.pedido, em_json(novo.dados), causa))
    return novos


def a_enviar(banco: sqlite3.Connection, tipos: Iterable[str], limite: int) -> list[tuple]:
    """Os eventos que o broker ainda não disse ter guardado: (ordem, tipo, pedido, corpo, causa).

    tipos: os que o serviço publica, e que agora adianta publicar. O que outra versão dele deixou
    aqui, e esta não conhece, fica à espera dela, e não para os outros.
    """
    return banco.execute(
        "SELECT ordem, tipo, pedido, corpo, causa FROM caixa_saida WHERE enviado = 0 "
        "AND tipo IN (SELECT value FROM json_each(?)) ORDER BY ordem LIMIT ?",
        (json.dumps([*tipos]), limite)).fetchall()


def marcar_enviados(banco: sqlite3.Connection, ordens: Iterable[int]) -> None:
    """O broker guardou estes, e só estes: entre eles pode haver algum que ele recusou."""
    banco.executemany("UPDATE caixa_saida SET enviado = 1 WHERE ordem = ?",
                      [(ordem,) for ordem in ordens])


def por_enviar_de_novo(banco: sqlite3.Connection, pedido: str) -> int:
    """Tudo o que este serviço já publicou do pedido volta a estar por enviar; devolve quantos.

    Serve para o que o broker perdeu; quem já tratou um deles reconhece a repetição.
    """
    return banco.execute("UPDATE caixa_saida SET enviado = 0 WHERE pedido = ?", (pedido,)).rowcount


def pedidos_de(banco: sqlite3.Connection, comeco: str, caixa: str = "caixa_saida") -> list[str]:
    """Os pedidos de que se publicou algo, e cujo id começa assim (pode acabar em `…`).

    caixa: com o nome do banco antes, se há vários na mesma conexão.
    """
    return [pedido for pedido, in banco.execute(
        f"SELECT DISTINCT pedido FROM {caixa} WHERE pedido GLOB ?", (comeco.rstrip("…") + "*",))]
