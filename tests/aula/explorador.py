"""Toda ordem possível: os serviços de verdade, contra uma rede que faz o que quiser.

    python tests/aula/explorador.py                               todos os cenários
    python tests/aula/explorador.py --cenario sucesso --rastro    um só, e o caminho até cada fim

Um teste comum roda uma ordem de acontecimentos; este programa roda todas. De cada estado dá
todos os passos possíveis, anota os estados novos e segue por eles, em largura, até não haver
mais nenhum. (É o que o TLC faz com uma especificação em TLA+. Aqui a especificação é o próprio
código: Servico, caixas e os quatro servico_*.py, com o SQLite na memória.) O que se procura são
os três males das sagas: ação repetida, compensação sem ação, ação depois da compensação (a
documentação do dtm, "sub-transaction barrier", os enumera).

Um estado é o conteúdo de todas as tabelas dos quatro bancos, sem os números de ordem, mais o
conjunto das mensagens já publicadas. De cada estado, tudo isto pode vir a seguir:

  - o cliente manda o pedido, ou manda de novo o mesmo id; ou cancela, onde o cenário deixa;
  - uma mensagem publicada chega. Nenhuma sai da rede: a que já chegou pode chegar outra vez e
    fora de ordem, como em transaction_commit, dos exemplos do TLA+;
  - um serviço publica a sua caixa de saída, ou cai antes disso, ou cai quando só uma das
    mensagens dela já saiu (e de novo, com outra). Fica o que está nas tabelas: o que um processo
    lembrasse fora delas não é parte do estado, e não é examinado aqui;
  - uma cópia do serviço publica enquanto outra, no mesmo banco, publica também e trata algo.

Cair antes do COMMIT desfaz tudo (promessa do SQLite): não dá um estado novo. Um lote de eventos
é a mesma sequência com menos coisas no meio. Pedir o cancelamento outra vez é repetir a mesma
mensagem. O que se confere em cada estado está nas funções `conferir_...`.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Iterator, NamedTuple

if __name__ == "__main__":  # quem importa usa carregar("microsservicos", "explorador")
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "microsservicos"))

from comum import banco as bancos
import caixas
import coreografia
import servico_envio
import servico_estoque
import servico_pagamentos
import servico_pedidos
from comum.opcoes import Opcoes
from comum.loja import CENARIOS
from rabbitmq.canal import Recebida, envelope
from rabbitmq.mensagem import simplificar
from palco.desenho import Desenho
from servico import TABELAS as DE_TODOS, Servico
from tentativas import Tentativas
from comum.tela import dizer, executar
from comum.veredito import PROMESSAS

MODULOS = {"pedidos": servico_pedidos, "estoque": servico_estoque,
           "pagamentos": servico_pagamentos, "envio": servico_envio}
# As outras tabelas são do negócio.
DO_PROTOCOLO = ("respostas", "caixa_entrada", "caixa_saida", "tentativas", "mortas")
CANCELAMENTO = "pedido.cancelamento_solicitado"
SE_DESMENTEM = (("pedido.concluido", "pedido.cancelado"), ("envio.despachado", "envio.recusado"),
                ("estoque.reservado", "estoque.recusado"), ("estoque.recusado", "estoque.liberado"),
                ("pagamento.aprovado", "pagamento.recusado"),
                ("pagamento.recusado", "pagamento.estornado"),
                ("envio.despachado", "estoque.liberado"))


def disputa(quantidade: int, **do_segundo) -> list[dict]:
    """Dois pedidos do mesmo produto, que só tem duas unidades; o segundo quer uma, e uma caneca."""
    primeiro = {"pedido": "p-1", "cliente": "ana", "cep": "01310-100",
                "itens": [{"produto": "notebook", "quantidade": quantidade}]}
    itens = [{"produto": "caneca", "quantidade": 1}, {"produto": "notebook", "quantidade": 1}]
    return [primeiro, {**primeiro, "pedido": "p-2", "itens": itens, **do_segundo}]


PEDIDOS = {nome: [{"pedido": "p-1", **dados}] for nome, dados in CENARIOS.items()} | {
    "ultima-unidade": disputa(2), "disputa-sem-saldo": disputa(2, cliente="bruno"),
    "disputa-sem-entrega": disputa(2, cep="69900-062"),
    "cabem-os-dois": disputa(1, cep="69900-062")}
# cenário: (os pedidos, os ids que podem ser cancelados)
ROTEIROS = {nome: (pedidos, ()) for nome, pedidos in PEDIDOS.items()}
ROTEIROS |= {f"{nome}+cancelamento": (pedidos, ("p-1",)) for nome, pedidos in PEDIDOS.items()}
ROTEIROS["ultima-unidade+cancelamentos"] = (PEDIDOS["ultima-unidade"], ("p-1", "p-2"))


class Mensagem(NamedTuple):
    """Uma mensagem na rede: as colunas da caixa de saída, menos a ordem."""

    tipo: str
    pedido: str
    corpo: str
    causa: str | None

    def chegar(self) -> Recebida:
        propriedades = envelope(self.tipo, self.pedido, self.causa, 0)
        return Recebida(1, self.corpo.encode(), simplificar(propriedades))


class Passo(NamedTuple):
    """Algo que acontece num serviço; entre parênteses, o alvo de cada verbo: receber (pedido),
    cancelar (pedido), tratar (mensagem), publicar (as mensagens da caixa de saída), cair (a única
    delas que saiu, ou None), em dobro (a mensagem que a outra cópia trata)."""

    verbo: str
    servico: str
    alvo: object


class Violacao(Exception):
    """Uma promessa desmentida: o motivo, e o caminho mais curto até ela."""

    def __init__(self, motivo: str, passos: list[Passo]):
        super().__init__(f"{motivo} (em {len(passos)} passos)")
        self.motivo, self.passos = motivo, passos


class Queda(BaseException):
    """O processo morre aqui."""


class Rede:
    """O canal de um serviço com o broker, durante um passo; `saiu` é o que passou por ele."""

    def __init__(self, passo: Passo, durante=lambda: None):
        self.passo, self.durante, self.saiu = passo, durante, set()

    def publicar(self, eventos: list[tuple], *_) -> set:
        mensagens = {Mensagem(*evento[1:]) for evento in eventos}
        if self.passo.verbo == "cair":
            self.saiu = mensagens & {self.passo.alvo}
            raise Queda
        self.saiu = mensagens
        self.durante()
        return set()  # nenhuma foi recusada


class NaMemoria(Servico):
    """O serviço de verdade, com o banco na memória, e que pode voltar a qualquer estado seu."""

    def __init__(self, nome: str):
        with tempfile.TemporaryDirectory() as pasta:
            negocio = MODULOS[nome]
            super().__init__(nome, negocio.TABELAS, negocio.OUVE, Path(pasta), mostrar=False)
            self.banco.close()
        self.banco = sqlite3.connect(":memory:", isolation_level=None, factory=bancos.Banco)
        self.banco.executescript(MODULOS[nome].TABELAS + ";" + DE_TODOS)
        # Aqui, quem conta a história é o rastro.
        self.tentativas = Tentativas(self.banco, nome, avisar=lambda texto: None)
        criacao = dict(self.banco.execute(
            "SELECT name, sql FROM sqlite_master"
            " WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"))
        self.negocio = {t: sql for t, sql in criacao.items() if t not in DO_PROTOCOLO}
        colunas = lambda t: [c[1] for c in self.banco.execute(f"PRAGMA table_info({t})")]
        self.colunas = {t: [coluna for coluna in colunas(t) if coluna != "ordem"]
                        for t in sorted(criacao, key=lambda t: t in DO_PROTOCOLO)}

    def ler(self) -> tuple:
        """O conteúdo de todas as tabelas, as do negócio primeiro, sem os números de ordem."""
        linhas = lambda tabela, colunas: self.banco.execute(
            f"SELECT {', '.join(colunas)} FROM {tabela}")
        return tuple(tuple(sorted(linhas(*tabela), key=repr)) for tabela in self.colunas.items())

    def tabela(self, conteudo: tuple, nome: str) -> tuple:
        return conteudo[list(self.colunas).index(nome)]

    def dar(self, passo: Passo, pedidos: dict) -> set[Mensagem]:
        """Dá um passo a partir do que está nas tabelas; devolve as mensagens que saíram."""
        rede, tratar = Rede(passo), lambda: self.tratar([passo.alvo.chegar()])
        publicar = lambda por: self.marcar(*self.publicar(por, []))
        entrar = servico_pedidos.entrar_na_saga
        if passo.verbo == "receber":
            entrar(self.banco, servico_pedidos.receber, [pedidos[passo.alvo]])
        elif passo.verbo == "cancelar":
            entrar(self.banco, servico_pedidos.solicitar_cancelamento, [passo.alvo])
        elif passo.verbo == "tratar":
            tratar()
        else:
            if passo.verbo == "em dobro":
                rede.durante = lambda: (publicar(Rede(passo)), tratar())
            with suppress(Queda):
                publicar(rede)
        return rede.saiu


def escrever(banco: sqlite3.Connection, colunas: dict, conteudo: tuple) -> None:
    """Faz as tabelas (as primeiras de `colunas`) conterem o que `ler` devolveu."""
    for (tabela, nomes), linhas in zip(colunas.items(), conteudo):
        banco.execute(f"DELETE FROM {tabela}")
        valores = ", ".join("?" * len(nomes))
        banco.executemany(f"INSERT INTO {tabela} ({', '.join(nomes)}) VALUES ({valores})", linhas)


class Numeros(dict):
    """Um número para cada conteúdo: comparar estados passa a ser comparar números."""

    def __init__(self):
        self.conteudos = []

    def __missing__(self, conteudo) -> int:
        self.conteudos.append(conteudo)
        return self.setdefault(conteudo, len(self.conteudos) - 1)


class Explorador:
    """Visita todos os estados de um roteiro.

    pedidos: os que o cliente manda. cancelaveis: os ids que ele pode cancelar.
    Depois de explorar(): `estados`, `transicoes` e `fins`, {como os pedidos acabaram: o estado
    mais próximo}.
    """

    def __init__(self, pedidos: list[dict], cancelaveis=()):
        self.pedidos, self.cancelaveis = {p["pedido"]: p for p in pedidos}, set(cancelaveis)
        self.servicos = [NaMemoria(nome) for nome in MODULOS]
        self.locais, self.redes = [Numeros() for _ in MODULOS], Numeros()
        self.dados, self.saltos, self.conferidos = {}, {}, set()  # o que já foi calculado uma vez
        self.contas = sqlite3.connect(":memory:", isolation_level=None)
        for sql in (sql for servico in self.servicos for sql in servico.negocio.values()):
            self.contas.execute(sql)
        inicio = (*(numeros[servico.ler()] for numeros, servico in zip(self.locais, self.servicos)),
                  self.redes[frozenset()])
        self.estados, self.de_onde, self.transicoes, self.fins = [inicio], [(0, None)], 0, {}

    def explorar(self) -> Explorador:
        """Busca em largura; levanta Violacao na primeira promessa desmentida, a mais próxima."""
        indice, rumo = {self.estados[0]: 0}, []
        for i, estado in enumerate(self.estados):  # a lista cresce enquanto é percorrida
            rumo.append(i)
            for s in range(len(MODULOS)):
                tentados, saltos = self.saltos.get((s, estado[s], estado[-1])) or self.saltar(i, s)
                self.transicoes += tentados
                for passo, local, rede in saltos:
                    seguinte = (*estado[:s], local, *estado[s + 1:-1], rede)
                    j = indice.setdefault(seguinte, len(self.estados))
                    if j == len(self.estados):
                        self.estados.append(seguinte)
                        self.de_onde.append((i, passo))
                        self.conferir_promessas(j)
                    if rumo[i] == i:
                        rumo[i] = j
            if rumo[i] == i:
                self.conferir_fim(i)
        self.conferir_rumo(rumo)
        return self

    def saltar(self, i: int, s: int) -> tuple[int, list]:
        """Quantos passos o serviço `s` pode dar no estado `i`, e os que mudam algo.

        Cada um destes é (passo, banco, rede). Só dependem do banco dele e da rede: cada combinação
        se calcula uma vez, por mais estados em que apareça. É o que torna a busca possível.
        """
        antes, rede = self.estados[i][s], self.estados[i][-1]
        passos, destinos, saltos = list(self.passos(s, antes, rede)), {}, []
        for passo in passos:
            destino = destinos[passo.verbo] = self.dar(passo, s, antes, rede)
            if passo.verbo == "em dobro":
                if destino == self.dar(passo._replace(verbo="tratar"), s, *destinos["publicar"]):
                    continue  # deu no mesmo que publicar e depois tratar: não é um atalho
            if destino != (antes, rede):
                self.conferir_salto(i, passo, s, *destino)
                saltos.append((passo, *destino))
        self.saltos[s, antes, rede] = len(passos), saltos
        return len(passos), saltos

    def passos(self, s: int, local: int, rede: int) -> Iterator[Passo]:
        """Tudo o que pode acontecer a um serviço; cair e as duas cópias por último."""
        servico, conteudo = self.servicos[s], self.locais[s].conteudos[local]
        rede = self.redes.conteudos[rede]
        saida = [Mensagem(*linha) for *linha, enviado in servico.tabela(conteudo, "caixa_saida")
                 if not enviado]
        ouve = lambda mensagem: servico.nome in coreografia.quem_ouve(mensagem.tipo)
        chegam = sorted(filter(ouve, rede), key=repr)
        if servico.nome == "pedidos":
            yield from (Passo("receber", "pedidos", pedido) for pedido in self.pedidos)
        yield from (Passo("tratar", servico.nome, mensagem) for mensagem in chegam)
        if saida:
            yield Passo("publicar", servico.nome, tuple(saida))
        if servico.nome == "pedidos":
            ja = {m.pedido for m in (*rede, *saida) if m.tipo == CANCELAMENTO}
            existem = {linha[0] for linha in servico.tabela(conteudo, "pedidos")}
            for pedido in sorted(self.cancelaveis & existem - ja):
                yield Passo("cancelar", "pedidos", pedido)
        if saida:
            yield from (Passo("cair", servico.nome, mensagem) for mensagem in (None, *saida))
            yield from (Passo("em dobro", servico.nome, mensagem) for mensagem in chegam)

    def dar(self, passo: Passo, s: int, antes: int, rede: int) -> tuple[int, int]:
        """O banco do serviço `s` e a rede depois de um passo, que só se dá de verdade uma vez."""
        servico, numeros = self.servicos[s], self.locais[s]
        if (passo, antes) not in self.dados:
            escrever(servico.banco, servico.colunas, numeros.conteudos[antes])
            saiu = servico.dar(passo, self.pedidos)
            self.dados[passo, antes] = numeros[servico.ler()], saiu
        depois, saiu = self.dados[passo, antes]
        return depois, self.redes[self.redes.conteudos[rede] | saiu]

    def conferir_salto(self, i: int, passo: Passo, s: int, depois: int, rede: int) -> None:
        """Ninguém falha num evento de outro; o encerrado não muda; nada desmente outra mensagem."""
        servico, conteudos = self.servicos[s], self.locais[s].conteudos
        rede = self.redes.conteudos[rede]
        antes, depois, motivos = conteudos[self.estados[i][s]], conteudos[depois], []
        for mensagem, *_, motivo in servico.tabela(depois, "tentativas"):
            motivos.append(f"{servico.nome} falhou em {mensagem}: {motivo}")
        if servico.nome == "pedidos":
            mudaram = set(servico.tabela(antes, "pedidos")) - set(servico.tabela(depois, "pedidos"))
            motivos += [f"{pedido} já estava {estado}, e mudou"
                        for pedido, _, _, estado, *_ in mudaram if estado != "pendente"]
        tipos = {(m.pedido, m.tipo) for m in rede}
        if len(tipos) < len(rede):
            motivos.append("duas mensagens diferentes têm o mesmo id")
        motivos += [f"{pedido}: {um} e {outro}"
                    for pedido in self.pedidos for um, outro in SE_DESMENTEM
                    if {(pedido, um), (pedido, outro)} <= tipos]
        if motivos:
            raise Violacao(motivos[0], [*self.caminho(i), passo])

    def conferir_promessas(self, i: int) -> None:
        """As promessas do contrato: as consultas de veredito.py, sobre as tabelas do negócio."""
        trios = zip(self.servicos, self.locais, self.estados[i])
        negocio = tuple(numeros.conteudos[local][:len(servico.negocio)]
                        for servico, numeros, local in trios)
        if negocio in self.conferidos:
            return
        self.conferidos.add(negocio)
        for servico, conteudo in zip(self.servicos, negocio):
            escrever(self.contas, servico.colunas, conteudo)
        for nome, (promessa, consulta) in PROMESSAS.items():
            for linha in self.contas.execute(consulta):
                motivo = f"{nome}: {promessa}: {' | '.join(map(str, linha))}"
                raise Violacao(motivo, self.caminho(i))

    def conferir_fim(self, i: int) -> None:
        """Nada mais muda neste estado: todo pedido tem de estar encerrado, e isso publicado."""
        publicadas = {(m.pedido, m.tipo) for m in self.redes.conteudos[self.estados[i][-1]]}
        pedidos = self.servicos[0].tabela(self.locais[0].conteudos[self.estados[i][0]], "pedidos")
        for pedido, _, _, estado, *_ in pedidos:
            if (pedido, f"pedido.{estado}") not in publicadas:
                raise Violacao(f"término: nada mais há a fazer, e {pedido} está {estado}, "
                               "sem que isso se publique", self.caminho(i))
        fim = tuple((pedido, estado, motivo) for pedido, _, _, estado, motivo, *_ in pedidos)
        self.fins.setdefault(fim, i)

    def conferir_rumo(self, rumo: list[int]) -> None:
        """De todo estado se chega a um fim, pelo primeiro passo que muda algo (nunca uma queda).

        rumo: para cada estado, o seguinte; um fim leva a si mesmo. Dobra o passo a cada volta.
        """
        fins = {i for i, seguinte in enumerate(rumo) if seguinte == i}
        for _ in range(len(rumo).bit_length()):
            rumo = [rumo[seguinte] for seguinte in rumo]
        for i, ultimo in enumerate(rumo):
            if ultimo not in fins:
                raise Violacao("término: os serviços andam em círculos", self.caminho(i))

    def caminho(self, i: int) -> list[Passo]:
        """Os passos do começo até o estado `i`: nenhum caminho é mais curto."""
        passos = []
        while i:
            i, passo = self.de_onde[i]
            passos.append(passo)
        return passos[::-1]


def rastro(passos: list[Passo]) -> list[str]:
    """Um caminho, nas raias do projeto: a seta de uma mensagem é a chegada dela."""
    desenho = Desenho()
    linhas, notas = desenho.cabecalho().split("\n"), []
    for n, passo in enumerate(passos):
        verbo, servico, alvo = passo
        if verbo == "receber":
            notas = [(alvo, "chega o pedido" + (" outra vez" if passo in passos[:n] else ""))]
        elif verbo == "cancelar":
            notas = [(alvo, "o cliente pede para cancelar")]
        elif verbo == "publicar":
            notas = [(mensagem.pedido, f"publica {mensagem.tipo}") for mensagem in alvo]
        elif verbo == "cair":
            notas = [("", "CAI antes de publicar")]
            if alvo:
                notas = [(alvo.pedido, f"publica {alvo.tipo} e CAI")]
        elif verbo == "em dobro":
            notas = [(alvo.pedido, f"publica; outra cópia publica e trata {alvo.tipo}")]
        else:
            linhas += desenho.evento(alvo.tipo, alvo.pedido, json.loads(alvo.corpo))
            notas = [(alvo.pedido, "chegou outra vez")] if passo in passos[:n] else []
        for pedido, texto in notas:
            linhas += desenho.nota(pedido, servico, texto)
    return linhas


def explorar(nome: str, com_rastro: bool) -> bool:
    """Explora um roteiro e conta na tela como foi; True se nenhuma promessa foi desmentida."""
    inicio, explorador = time.monotonic(), Explorador(*ROTEIROS[nome])
    try:
        explorador.explorar()
    except Violacao as violacao:
        dizer(f"{nome}: FALHOU, em {len(violacao.passos)} passos, "
              f"após {len(explorador.estados)} estados", "vermelho")
        dizer(violacao.motivo + "\n", "vermelho")
        dizer("\n".join(rastro(violacao.passos)))
        return False
    segundos = f"{time.monotonic() - inicio:.1f}".replace(".", ",")
    dizer(f"{nome:33} {len(explorador.estados):>9} {explorador.transicoes:>11} {segundos:>8} s"
          "  vale", "verde")
    for fim, i in explorador.fins.items():
        for n, (pedido, estado, motivo) in enumerate(fim):
            margem, por_que = "     " if n else "  fim", f": {motivo}" if motivo else ""
            dizer(f"{margem}  {pedido} {estado}{por_que}")
        if com_rastro:
            dizer("\n" + "\n".join(rastro(explorador.caminho(i))) + "\n")
    return True


def main():
    opcoes = Opcoes("Visita todos os estados a que os microsserviços podem chegar,\n"
                    "e confere as promessas em cada um.")
    opcoes.add_argument("--cenario", metavar="NOME", choices=ROTEIROS,
                        help=f"{', '.join(PEDIDOS)}; com +cancelamento no fim, p-1 pode ser "
                             "cancelado a qualquer instante; ultima-unidade+cancelamentos: "
                             "os dois podem (meio minuto)")
    opcoes.add_argument("--rastro", action="store_true",
                        help="mostra o caminho mais curto até cada fim")
    escolha = opcoes.parse_args()
    dizer(f"{'cenário':33} {'estados':>9} {'transições':>11} {'tempo':>10}", "forte")
    nomes = [escolha.cenario] if escolha.cenario else ROTEIROS
    resultados = [explorar(nome, escolha.rastro) for nome in nomes]
    return 0 if all(resultados) else 1


if __name__ == "__main__":
    executar(main)
