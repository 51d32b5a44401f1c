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

from coreografia import Evento, quem_publica

TABELAS = """
CREATE TABLE caixa_entrada (mensagem TEXT PRIMARY KEY, publicou TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE caixa_saida (
    -- AUTOINCREMENT: um número já usado não volta. Sem ele, apagar "até o 10" depois de
    -- esvaziada a tabela apagaria eventos novos que ainda não saíram.
    ordem INTEGER PRIMARY KEY AUTOINCREMENT, tipo TEXT NOT NULL, pedido TEXT NOT NULL,
    corpo TEXT NOT NULL, causa TEXT);

-- O que falhou: tentativas que restam (0: vai para a fila de mensagens mortas).
CREATE TABLE falhas (
    ordem INTEGER PRIMARY KEY AUTOINCREMENT, mensagem TEXT UNIQUE, corpo BLOB NOT NULL,
    propriedades TEXT NOT NULL, restam INTEGER NOT NULL, motivo TEXT NOT NULL);

-- Os eventos que já foram para a fila de mensagens mortas, e por quê: é lá que está o corpo.
CREATE TABLE enterradas (mensagem TEXT PRIMARY KEY, motivo TEXT NOT NULL) WITHOUT ROWID
"""
MAIOR_ENTERRO = 8 * 1024 * 1024  # bytes de mensagens mortas publicadas de uma vez
TENTATIVAS = 5  # quantas vezes se tenta de novo um evento em que o serviço falhou

# A função de negócio: recebe o banco e o evento, devolve [(tipo, dados), ...] a publicar.
Funcao = Callable[[sqlite3.Connection, Evento], "list[tuple[str, dict]]"]


def tratar(banco: sqlite3.Connection, servico: str, funcao: Funcao, evento: Evento) -> list[Evento] | None:
    """Trata um evento na transação aberta por quem chama; None se ele já tinha sido tratado.

    Se a função falha, nada do que ela fez fica (nem a caixa de entrada: senão a
    próxima tentativa pareceria uma repetição e o evento se perderia).
    """
    banco.execute("SAVEPOINT evento")
    try:
        if banco.execute("INSERT OR IGNORE INTO caixa_entrada VALUES (?, '')", (evento.mensagem,)).rowcount == 0:
            novos = None
        else:
            novos = publicar(banco, servico, funcao(banco, evento), evento.mensagem)
            if novos:
                banco.execute("UPDATE caixa_entrada SET publicou = ? WHERE mensagem = ?",
                              (" ".join(n.tipo for n in novos), evento.mensagem))
        banco.execute("RELEASE evento")
        return novos
    except Exception:
        if banco.in_transaction:  # um erro grave do SQLite já pode ter desfeito tudo
            banco.execute("ROLLBACK TO evento")
            banco.execute("RELEASE evento")
        raise


def publicar(banco: sqlite3.Connection, servico: str, eventos: Iterable[tuple[str, dict]],
             causa: str | None = None) -> list[Evento]:
    """Põe eventos na caixa de saída, na transação de quem chama; saem de lá quando o broker responder.

    Levanta ValueError se a coreografia diz que o evento é de outro serviço.
    """
    novos = [Evento(tipo, dados["pedido"], dados, causa) for tipo, dados in eventos]
    for novo in novos:
        if quem_publica(novo.tipo) != servico:
            raise ValueError(f"{servico} não publica {novo.tipo}")
        banco.execute("INSERT INTO caixa_saida (tipo, pedido, corpo, causa) VALUES (?, ?, ?, ?)",
                      (novo.tipo, novo.pedido, json.dumps(novo.dados, ensure_ascii=False), causa))
    return novos


def a_publicar(banco: sqlite3.Connection, limite: int) -> list[tuple]:
    """Os eventos que o broker ainda não respondeu ter guardado: (ordem, tipo, pedido, corpo, causa)."""
    return banco.execute("SELECT ordem, tipo, pedido, corpo, causa FROM caixa_saida ORDER BY ordem LIMIT ?",
                         (limite,)).fetchall()


def publicados(banco: sqlite3.Connection, ate: int) -> None:
    """O broker respondeu por tudo até `ate`: sai da caixa.

    Esta escrita dispensa o fsync: se ela se perder numa queda de energia, os eventos
    são publicados de novo, e a caixa de entrada de quem os ouve os reconhece.
    """
    banco.execute("PRAGMA synchronous=NORMAL")
    try:
        banco.execute("DELETE FROM caixa_saida WHERE ordem <= ?", (ate,))
    finally:
        banco.execute("PRAGMA synchronous=FULL")


def guardar_falha(banco, mensagem: str | None, corpo: bytes, propriedades: dict, motivo: str, restam: int) -> None:
    """Guarda uma mensagem que não deu certo, para tentar de novo (restam > 0) ou para as mortas (0)."""
    banco.execute("INSERT INTO falhas (mensagem, corpo, propriedades, restam, motivo) VALUES (?, ?, ?, ?, ?) "
                  "ON CONFLICT (mensagem) DO NOTHING",
                  (mensagem, corpo, json.dumps(propriedades, default=str), restam, motivo))



def a_enterrar(banco: sqlite3.Connection, limite: int) -> list[tuple]:
    """As falhas sem mais tentativas, que vão para a fila de mensagens mortas: (ordem, corpo, propriedades, motivo).

    Até `limite`, e menos se os corpos são grandes: o lote inteiro fica na memória.
    """
    lote, tamanho = [], 0
    for falha in banco.execute("SELECT ordem, corpo, propriedades, motivo FROM falhas WHERE restam = 0 "
                               "ORDER BY ordem LIMIT ?", (limite,)):
        lote.append(falha)
        tamanho += len(falha[1])
        if tamanho > MAIOR_ENTERRO:
            break
    return lote


def enterradas(banco: sqlite3.Connection, mortas: list[tuple]) -> None:
    """O broker guardou na fila de mensagens mortas estas, as que a_enterrar() devolveu.

    Só estas: outra cópia do serviço pode ter acabado de esgotar as tentativas de uma
    mais antiga, e apagar "até a última" a perderia. Do evento de um pedido fica o motivo: onde ele parou.
    """
    quais = f"ordem IN ({', '.join('?' * len(mortas))})"
    ordens = [m[0] for m in mortas]
    banco.execute("INSERT OR REPLACE INTO enterradas SELECT mensagem, motivo FROM falhas "
                  f"WHERE mensagem IS NOT NULL AND {quais}", ordens)
    banco.execute(f"DELETE FROM falhas WHERE {quais}", ordens)


def lembrar(banco: sqlite3.Connection, eventos: list[Evento]) -> None:
    """Deixa na caixa de entrada o que entrou pela porta: sem causa, nada mais o lembraria."""
    banco.executemany("INSERT OR IGNORE INTO caixa_entrada VALUES (?, '')",
                      [(evento.mensagem,) for evento in eventos])


def ler_propriedades(texto: str) -> dict:
    return json.loads(texto)
