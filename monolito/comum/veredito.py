"""O estado final e o veredito, lidos dos bancos de dados e de nenhum outro lugar.

As duas arquiteturas prometem o mesmo, e é a mesma conta que confere. Só lê as tabelas do
negócio. Do programa vêm só os ids desta execução, e quantos estão em dúvida.
"""

import json
import time
from collections import Counter
from pathlib import Path

from comum.banco import lendo
from comum.loja import DONOS
from comum.raias import CORES
from comum.tela import curto, dizer, reais

OLHADAS = 10  # quantas vezes se olha de novo antes de acreditar numa violação

# Cada consulta devolve as violações de uma promessa: nenhuma linha, promessa cumprida. Retido: o
# que já saiu por um pedido que está pendente (na 2PC, só no meio da fase 2: travar não tira nada).
PROMESSAS = {
    "estoque": ("inicial = vendável + concluídos + retido; nada negativo", """
        SELECT produto, inicial, quantidade, fora FROM produtos LEFT JOIN (
            SELECT produto, sum(quantidade) AS fora FROM (
                SELECT produto, quantidade FROM itens JOIN pedidos USING (pedido)
                 WHERE estado = 'concluido'
                UNION ALL SELECT produto, quantidade FROM reservas JOIN pedidos USING (pedido)
                 WHERE estado = 'pendente')
             GROUP BY produto) USING (produto)
         WHERE quantidade < 0 OR inicial <> quantidade + ifnull(fora, 0)"""),
    "dinheiro": ("inicial = saldo + concluídos + retido; nada negativo", """
        SELECT cliente, inicial, saldo, fora FROM clientes LEFT JOIN (
            SELECT cliente, sum(total) AS fora FROM (
                SELECT cliente, total FROM pedidos WHERE estado = 'concluido'
                UNION ALL SELECT b.cliente, b.total FROM cobrancas b JOIN pedidos USING (pedido)
                 WHERE estado = 'pendente')
             GROUP BY cliente) USING (cliente)
         WHERE saldo < 0 OR inicial <> saldo + ifnull(fora, 0)"""),
    "envio": ("despachado se, e só se, concluido", """
        SELECT pedido, estado FROM pedidos LEFT JOIN envios USING (pedido)
         WHERE (estado = 'concluido') <> (situacao IS 'despachado') AND estado <> 'pendente'"""),
    "atomicidade": ("nenhum dono aplicou o que outro desfez", """
        WITH devido (dono, pedido, de_que, quanto) AS (
            SELECT 'estoque', pedido, produto, quantidade FROM itens JOIN pedidos USING (pedido)
             WHERE estado = 'concluido'
            UNION ALL SELECT 'pagamentos', pedido, cliente, total FROM pedidos
             WHERE estado = 'concluido'
            UNION ALL SELECT 'envio', pedido, cep, 'despachado' FROM enderecos
              JOIN pedidos USING (pedido) WHERE estado = 'concluido'),
        aplicado (dono, pedido, de_que, quanto) AS (
            SELECT 'estoque', pedido, produto, quantidade FROM reservas
            UNION ALL SELECT 'pagamentos', pedido, cliente, total FROM cobrancas
            UNION ALL SELECT 'envio', pedido, cep, situacao FROM envios)
        SELECT 'falta', * FROM (SELECT * FROM devido EXCEPT SELECT * FROM aplicado)
        UNION ALL SELECT 'sobra', * FROM (SELECT * FROM aplicado EXCEPT SELECT * FROM devido)
         WHERE pedido NOT IN (SELECT pedido FROM pedidos WHERE estado = 'pendente')"""),
}


def estado(pasta: Path, faltando: dict | None = None) -> dict:
    """O estado final de `--estado`: o mesmo dicionário nas duas arquiteturas.

    faltando: {dono: tabelas}, as do banco que ainda não existe.
    """
    with lendo(pasta, DONOS, faltando) as bancos:
        return {
            "clientes": dict(bancos.execute("SELECT cliente, saldo FROM clientes")),
            "envios": dict(bancos.execute("SELECT pedido, situacao FROM envios")),
            "pedidos": {pedido: {"estado": estado, "motivo": motivo, "total": total}
                        for pedido, estado, motivo, total in
                        bancos.execute("SELECT pedido, estado, motivo, total FROM pedidos")},
            "produtos": dict(bancos.execute("SELECT produto, quantidade FROM produtos")),
        }


def imprimir_estado(pasta: Path, faltando: dict | None = None) -> None:
    dizer(json.dumps(estado(pasta, faltando), sort_keys=True, indent=2, ensure_ascii=False),
          inteira=True)


def violacoes(pasta: Path) -> dict[str, list]:
    """As linhas que desmentem cada promessa (vazio: todas cumpridas).

    Enquanto outros programas trabalham, não há como fotografar quatro bancos no mesmo
    instante; uma foto tremida desmente uma promessa por acaso. Uma violação de verdade
    não passa, por mais que se olhe de novo.
    """
    for _ in range(OLHADAS):
        with lendo(pasta, DONOS) as bancos:
            bancos.execute("BEGIN")
            # As quatro fotos, uma logo depois da outra, e os pedidos antes: o resultado é gravado
            # por último.
            for dono in DONOS:
                bancos.execute(f"SELECT count(*) FROM {dono}_db.sqlite_master").fetchone()
            achadas = {nome: bancos.execute(consulta).fetchall()
                       for nome, (_, consulta) in PROMESSAS.items()}
        if not any(achadas.values()):
            break
        time.sleep(0.02)
    return achadas


def veredito(pasta: Path, pedidos: list[str], em_duvida: int) -> bool:
    """Mostra os estados finais, cada promessa conferida e `em dúvida`; True se tudo vale.

    pasta: onde estão os bancos. pedidos: os ids desta execução.
    em_duvida: quantas transações esperam uma decisão (na saga, pedidos pendentes).
    """
    dizer()
    dizer("Veredito", "forte")
    finais = mostrar_finais(pasta, pedidos)
    achadas = violacoes(pasta)
    for nome, (promessa, _) in PROMESSAS.items():
        _linha(nome, promessa, achadas[nome])
    if any(achadas.values()):
        dizer("se esta pasta é uma cópia, foi feita com um programa no ar: copie de novo, com ele "
              "encerrado")
    em_aberto = [f[:1] for f in finais if f[3] == "pendente"]
    if perdidos := len(set(pedidos)) - len(finais):
        em_aberto.append((f"{perdidos} pedidos não chegaram ao banco",))
    _linha("término", "nenhum desta execução pendente, nenhum perdido", em_aberto)
    dizer(f"em dúvida: {em_duvida}", "vermelho" if em_duvida else None)
    return not (any(achadas.values()) or em_aberto or em_duvida)


def mostrar_finais(pasta: Path, pedidos: list[str]) -> list[tuple]:
    """Mostra como terminou cada um dos `pedidos` (se são muitos, quantos de cada jeito).

    Devolve [(pedido, cliente, total em centavos, estado, motivo)].
    """
    with lendo(pasta, DONOS) as bancos:
        finais = bancos.execute("SELECT pedido, cliente, total, estado, motivo FROM pedidos WHERE "
                                "pedido IN (SELECT value FROM json_each(?)) ORDER BY rowid",
                                (json.dumps(pedidos),)).fetchall()
    if len(finais) > 12:
        for (como, motivo), quantos in sorted(Counter((f[3], f[4] or "") for f in finais).items()):
            dizer(f"  {quantos:6}  {como}{': ' + motivo if motivo else ''}")
        return finais
    for pedido, cliente, total, como, motivo in finais:
        linha = f"  {curto(pedido):12} {curto(cliente, 10):10} {reais(total):>13}  {como}"
        linha += f": {motivo}" if motivo else ""
        dizer(linha, CORES.get(como, "vermelho"), recuo=6)
    return finais


def _linha(nome: str, promessa: str, violacoes: list) -> None:
    como, cor = ("FALHOU", "vermelho") if violacoes else ("vale  ", "verde")
    dizer(f"  {nome:12} {como}  {promessa}", cor)
    for linha in violacoes[:5]:
        dizer(f"      {' | '.join(map(str, linha))}", "vermelho")
    if len(violacoes) > 5:
        dizer(f"      … e mais {len(violacoes) - 5}", "vermelho")
