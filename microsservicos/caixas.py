"""Caixa de entrada e caixa de saída: cada evento age uma vez só, e nenhum se perde.

A fila entrega pelo menos uma vez; o efeito de "exatamente uma vez" se faz aqui.
Na MESMA transação do SQLite ficam:

  - a caixa de entrada: o id do evento tratado (consumidor idempotente);
  - o efeito: o que a função do negócio escreveu;
  - a caixa de saída: os eventos que ela devolveu, até o broker responder por eles.

Separar qualquer dos três em outra transação abre uma janela em que um `kill -9`
perde ou repete um pedido. (Padrões "Transactional outbox" e "Idempotent consumer",
Richardson, "Microservices Patterns", 2018.) Aqui não se sabe o que é pika nem produto.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Callable, Iterable

from comum.banco import transacao
from comum.loja import MAIOR_LINHA, id_valido
from coreografia import EVENTOS, Evento, quem_publica

TABELAS = """
CREATE TABLE caixa_entrada (mensagem TEXT PRIMARY KEY, publicou TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE caixa_saida (
    -- AUTOINCREMENT: um número já usado não volta. Sem ele, uma cópia do serviço que apaga
    -- tarde "o 10" apagaria um evento novo, que ainda não saiu.
    ordem INTEGER PRIMARY KEY AUTOINCREMENT, tipo TEXT NOT NULL, pedido TEXT NOT NULL,
    corpo TEXT NOT NULL, causa TEXT)
"""

em_json = json.JSONEncoder(ensure_ascii=False).encode
MAIOR_CAUSA = 255  # caracteres do id de uma mensagem

# A função de negócio: recebe o banco e o evento, devolve [(tipo, dados), ...] a publicar.
Funcao = Callable[[sqlite3.Connection, Evento], "list[tuple[str, dict]]"]


def tratar(banco: sqlite3.Connection, servico: str, funcao: Funcao,
           evento: Evento) -> list[Evento] | None:
    """Trata um evento na transação aberta por quem chama; None se ele já tinha sido tratado.

    Se a função falha, nada do que ela fez fica (nem a caixa de entrada: senão a
    próxima tentativa pareceria uma repetição e o evento se perderia).
    """
    if ja_tratado(banco, evento):
        return None
    banco.execute("SAVEPOINT evento")
    try:
        novos = publicar(banco, servico, funcao(banco, evento), evento.mensagem)
        banco.execute("INSERT INTO caixa_entrada VALUES (?, ?)",
                      (evento.mensagem, " ".join(novo.tipo for novo in novos)))
        banco.execute("RELEASE evento")
        return novos
    except Exception:
        if banco.in_transaction:  # um erro grave do SQLite já pode ter desfeito tudo
            banco.execute("ROLLBACK TO evento")
            banco.execute("RELEASE evento")
        raise


def ja_tratado(banco: sqlite3.Connection, evento: Evento) -> bool:
    """Se a caixa de entrada já tem este evento: a fila o entregou de novo."""
    return banco.execute("SELECT 1 FROM caixa_entrada WHERE mensagem = ?",
                         (evento.mensagem,)).fetchone() is not None


def publicar(banco: sqlite3.Connection, servico: str, eventos: Iterable[tuple[str, dict]],
             causa: str | None = None) -> list[Evento]:
    """Põe eventos na caixa de saída, na transação de quem chama, até o broker responder.

    Levanta ValueError se a coreografia diz que o evento é de outro serviço.
    """
    novos = [Evento(tipo, dados["pedido"], dados, causa) for tipo, dados in eventos]
    for novo in novos:
        if quem_publica(novo.tipo) != servico:
            raise ValueError(f"{servico} não publica {novo.tipo}")
        banco.execute("INSERT INTO caixa_saida (tipo, pedido, corpo, causa) VALUES (?, ?, ?, ?)",
                      (novo.tipo, novo.pedido, em_json(novo.dados), causa))
    return novos


def a_publicar(banco: sqlite3.Connection, limite: int, menos: Iterable[str] = ()) -> list[tuple]:
    """Os que o broker ainda não respondeu ter guardado: (ordem, tipo, pedido, corpo, causa).

    menos: os tipos que agora não adianta publicar.
    """
    return banco.execute(
        "SELECT ordem, tipo, pedido, corpo, causa FROM caixa_saida "
        "WHERE tipo NOT IN (SELECT value FROM json_each(?)) ORDER BY ordem LIMIT ?",
        (json.dumps(list(menos)), limite)).fetchall()


def estranhos(servico: str, eventos: list[tuple]) -> list[tuple]:
    """Destes, os que o serviço não pode publicar: [(ordem, corpo, propriedades, motivo)].

    Quem os deixou na caixa foi outra versão deste programa, ou alguém com o sqlite3.
    """
    achados = []
    for ordem, tipo, pedido, corpo, causa in eventos:
        if tipo not in EVENTOS or quem_publica(tipo) != servico:
            motivo = f"esta versão de {servico} não publica {tipo!r:.80}"
        elif not (id_valido(pedido) and isinstance(corpo, str) and len(corpo) <= MAIOR_LINHA):
            motivo = "não tem a forma de um evento"
        elif causa is not None and not (isinstance(causa, str) and len(causa) <= MAIOR_CAUSA):
            motivo = "a causa não é o id de uma mensagem"
        else:
            continue
        achados.append((ordem, corpo, {"type": tipo, "correlation_id": pedido, "headers": {
            "causa": causa}}, f"estava na caixa de saída de {servico}: {motivo}"))
    return achados


def publicados(banco: sqlite3.Connection, ordens: list[int]) -> None:
    """O broker guardou estes: saem da caixa.

    Esta escrita dispensa o fsync: se ela se perder numa queda de energia, os eventos são
    publicados de novo, e a caixa de entrada de quem os ouve os reconhece.
    """
    if not ordens:
        return
    with transacao(banco, forcada=False):
        retirar(banco, ordens)


def retirar(banco: sqlite3.Connection, ordens: list[int]) -> None:
    """Estes e só estes: entre eles pode haver algum que o broker recusou."""
    banco.executemany("DELETE FROM caixa_saida WHERE ordem = ?", [(ordem,) for ordem in ordens])


def lembrar(banco: sqlite3.Connection, eventos: list[Evento]) -> None:
    """Deixa na caixa de entrada o que entrou pela porta: sem causa, nada mais o lembraria."""
    banco.executemany("INSERT OR IGNORE INTO caixa_entrada VALUES (?, '')",
                      [(evento.mensagem,) for evento in eventos])
