"""Inicia os quatro serviços, na ordem, e os mantém de pé. Não orquestra a saga.

O nome é o da tarefa, e engana: a saga é coreografada, ninguém a comanda. Este programa
só faz o que uma pessoa faria com cinco terminais: garante que há um RabbitMQ, abre um
serviço por terminal, entrega o pedido do cliente à porta de entrada e assiste.
Com ele desligado, tudo funciona igual.
"""

from __future__ import annotations

import queue
import signal
import sys
import time
from pathlib import Path

MICROSSERVICOS = Path(__file__).resolve().parent / "microsservicos"
if not MICROSSERVICOS.is_dir():
    print(f"falta a pasta {MICROSSERVICOS}: baixe o projeto inteiro, ou use monolito/app.py", file=sys.stderr)
    sys.exit(2)
sys.path.insert(0, str(MICROSSERVICOS))

from comum import banco as bancos
from no_privado import compartilhado as broker
import caixas
from rabbitmq import filas
import servico_envio
import servico_estoque
import servico_pagamentos
import servico_pedidos
from comum import veredito
from comum.opcoes import Opcoes, confirmar_limpeza, inteiro, pedidos_escolhidos
from comum.presenca import limpar
from coreografia import SERVICOS
from comum.diagrama import Diagrama
from rabbitmq.canal import Plateia
from palco.desenho import NOMES, RAIAS, desenhar_recebidas
from palco.processo import Processo
from rastro import Movimento, onde_espera
from servico import pasta_dos_dados
from comum.falha import Falha
from comum.tela import Progresso, Torneira, alertar, dizer, executar

MODULOS = {"pedidos": servico_pedidos, "estoque": servico_estoque, "pagamentos": servico_pagamentos, "envio": servico_envio}
POUCOS = 4  # até tantos pedidos, a saga é desenhada; acima disso, uma linha de progresso


class Lancador:
    """A execução inteira: o broker, os quatro processos, a plateia e a espera."""

    def __init__(self, dados: Path, no, diagrama: Diagrama | None = None):
        self.dados, self.pasta, self.no = dados, pasta_dos_dados(dados), no
        self.diagrama = diagrama
        self.linhas: queue.Queue = queue.Queue()
        self.processos = {nome: Processo(nome, dados, self.linhas) for nome in SERVICOS}
        self.iniciados: list[Processo] = []
        self.plateia: Plateia | None = None
        self.torneira = Torneira()
        self.proxima_plateia = 0.0

    def iniciar(self) -> None:
        for processo in self.processos.values():
            processo.iniciar()
            self.iniciados.append(processo)
            try:
                processo.esperar_pronto()
            finally:
                self.mostrar_linhas()

    def enviar(self, pedidos: list[dict]) -> None:
        """Faz o papel do cliente: entrega os pedidos à porta de entrada do serviço de pedidos."""
        banco = bancos.abrir(self.pasta / "pedidos.db", servico_pedidos.TABELAS + ";" + caixas.TABELAS)
        servico_pedidos.entrar_na_saga(banco, servico_pedidos.receber, pedidos)
        banco.close()

    def assistir(self, espera: float) -> None:
        """Mostra os eventos dos próximos instantes (até `espera` segundos) e vigia os processos."""
        self.vigiar()
        if not self.plateia and time.monotonic() >= self.proxima_plateia:
            self.abrir_plateia()
        if not self.plateia:
            time.sleep(espera)
            return
        try:
            for linha in self.torneira.passar(desenhar_recebidas(self.plateia.receber(espera), self.diagrama)):
                dizer(linha)
        except Falha:
            self.plateia.fechar()
            self.plateia = None  # os serviços já disseram que o broker caiu

    def vigiar(self) -> None:
        """Mostra o que os serviços disseram e reinicia quem morreu, serviço ou nó privado."""
        self.mostrar_linhas()
        for processo in self.processos.values():
            if aviso := processo.manter():
                alertar(aviso)
        if self.no and not self.no.vivo():
            self.reviver_no()

    def abrir_plateia(self) -> None:
        self.proxima_plateia = time.monotonic() + 1
        try:
            self.plateia = Plateia()
        except Falha:
            pass

    def reviver_no(self) -> None:
        alertar("o nó privado do RabbitMQ morreu: inicio de novo")
        self.no.sair()  # senão, no fim, acharíamos que ainda há outro programa usando o nó
        try:
            self.no = broker.ligar_no_privado(self.dados / "rabbitmq")
        except Falha as falha:
            alertar(f"{falha}; tento de novo")

    def mostrar_linhas(self) -> None:
        while not self.linhas.empty():
            linha = self.linhas.get()
            dizer(linha, "fraco" if ": pronto" in linha else "vermelho" if ": " in linha else None)

    def esperar_finais(self, pedidos: list[str], paciencia: float | None) -> bool:
        """Espera o resultado de todos; False se nada se moveu por `paciencia` segundos (None: sem limite)."""
        progresso = Progresso(len(pedidos), "pedidos") if len(pedidos) > POUCOS else None
        movimento = Movimento(self.pasta)
        inicio = time.monotonic()
        faltam = set(pedidos)
        while faltam := faltam.intersection(veredito.pendentes(self.pasta)):
            if progresso:
                feitos = len(pedidos) - len(faltam)
                progresso.mostrar(feitos, f"{feitos / (time.monotonic() - inicio):.0f}/s")
                self.vigiar()
                time.sleep(0.1 if len(faltam) < 1000 else 0.5)  # ler milhares de pendentes rouba CPU dos serviços
            else:
                self.assistir(0.1)
            if paciencia and movimento.parado_ha() > paciencia:
                return False
        if progresso:
            progresso.mostrar(len(pedidos), f"{len(pedidos) / (time.monotonic() - inicio):.0f}/s")
            dizer(f"{len(pedidos)} pedidos terminados")
        return True

    def ver_o_resto(self) -> None:
        """Mostra os eventos que ainda vêm: o resultado é gravado antes de ser publicado."""
        saida = veredito.abrir_leitura(self.pasta)
        while self.plateia and saida.execute("SELECT 1 FROM pedidos_db.caixa_saida").fetchone():
            self.assistir(0.05)
        self.assistir(0.1)

    def parar(self) -> None:
        for processo in reversed(self.iniciados):
            processo.parar()
        for processo in self.iniciados:
            processo.aguardar_fim()
        if self.no:
            self.no.largar()


def criar_bancos(dados: Path) -> None:
    """Cria os bancos que faltarem, com as linhas iniciais, para que se possa lê-los."""
    for nome, modulo in MODULOS.items():
        bancos.abrir(pasta_dos_dados(dados) / f"{nome}.db", modulo.TABELAS + ";" + caixas.TABELAS).close()


def opcoes():
    opcoes = Opcoes("Inicia os quatro serviços, envia um pedido, mostra cada evento da saga\n"
                    "e fica ouvindo. Não comanda a saga, que é coreografada: só inicia e\n"
                    "vigia os processos.")
    opcoes.dos_dados("microsservicos")
    opcoes.dos_pedidos()
    opcoes.add_argument("--sem-pedido", action="store_true", help="não envia nada, só ouve")
    opcoes.add_argument("--ate-concluir", action="store_true", help="para quando todo pedido terminar, com o veredito")
    opcoes.add_argument("--paciencia", metavar="S", type=inteiro, default=60,
                        help="com --ate-concluir: desiste depois de S segundos sem nada se mover (padrão: 60)")
    opcoes.add_argument("--diagrama", metavar="F", help="escreve em F o diagrama de sequência (Mermaid) desta execução")
    opcoes.add_argument("--estado", action="store_true", help="mostra o estado final em JSON e sai; não precisa de broker")
    opcoes.add_argument("--limpar", action="store_true", help="antes de tudo, volta às linhas iniciais e esvazia as filas")
    opcoes.add_argument("--sim", action="store_true", help="com --limpar: não pergunta")
    return opcoes


def main() -> int:
    escolha = opcoes().parse_args()
    dados, pasta = escolha.dados, pasta_dos_dados(escolha.dados)
    pedidos = pedidos_escolhidos(escolha)
    if escolha.estado and not escolha.limpar:
        criar_bancos(dados)
        veredito.imprimir_estado(pasta)
        return 0
    if escolha.limpar:
        confirmar_limpeza(pasta, escolha.sim)
    diagrama = Diagrama(escolha.diagrama, NOMES, len(pedidos)) if escolha.diagrama else None
    dizer("Só inicia e vigia os serviços: a saga é coreografada, e ninguém a comanda.")
    lancador = None
    try:
        lancador = Lancador(dados, broker.garantir(dados / "rabbitmq"), diagrama)
        if escolha.limpar:
            limpar(pasta)
            filas.esvaziar_filas()
            dizer(f"dados de {pasta} de volta às linhas iniciais; filas vazias")
        if escolha.estado:
            criar_bancos(dados)
            veredito.imprimir_estado(pasta)
            return 0
        return conduzir(lancador, pedidos, escolha)
    except KeyboardInterrupt:
        return 0
    finally:
        if lancador:
            encerrar(lancador)


def conduzir(lancador: Lancador, pedidos: list[dict], escolha) -> int:
    """Inicia tudo, envia os pedidos e assiste: até Ctrl-C, ou até o último resultado."""
    lancador.iniciar()
    ids = [pedido["pedido"] for pedido in pedidos] or veredito.pendentes(lancador.pasta)
    if len(pedidos) <= POUCOS:
        lancador.abrir_plateia()
        dizer()
        dizer(RAIAS.cabecalho(), "forte")
    lancador.enviar(pedidos)
    terminou = lancador.esperar_finais(ids, escolha.paciencia if escolha.ate_concluir else None)
    lancador.ver_o_resto()
    if not escolha.ate_concluir:
        if len(ids) > POUCOS:
            veredito.mostrar_finais(lancador.pasta, ids)
        dizer("Ouvindo; Ctrl-C encerra.")
        while True:
            lancador.assistir(0.2)
    if not terminou:
        explicar_espera(lancador.pasta, ids, escolha.paciencia)
    pendentes = set(veredito.pendentes(lancador.pasta))
    if alheios := pendentes.difference(ids):
        dizer(f"de outra execução, ainda a caminho: {len(alheios)} pedidos")
    return 0 if veredito.veredito(lancador.pasta, ids, len(pendentes.intersection(ids))) else 1


def explicar_espera(pasta: Path, ids: list[str], paciencia: int) -> None:
    pendentes = set(ids).intersection(veredito.pendentes(pasta))
    alertar(f"nada se moveu por {paciencia} s; {len(pendentes)} pedidos pendentes:")
    for pedido in sorted(pendentes)[:20]:
        alertar(f"  {pedido}: {'; '.join(onde_espera(pasta, pedido)) or 'nada à espera'}")
    try:
        alertar("filas: " + ", ".join(f"{nome} {n}" for nome, n in filas.profundidades().items() if n))
    except Falha as falha:
        alertar(str(falha))


def encerrar(lancador: Lancador) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # um segundo Ctrl-C não interrompe a limpeza
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if lancador.no:
        dizer("encerrando os serviços e o nó privado do RabbitMQ (alguns segundos)…")
    lancador.parar()
    dizer("tudo encerrado")


if __name__ == "__main__":
    executar(main)
