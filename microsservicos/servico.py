"""O que todo serviço faz com um evento: quatro passos, sempre nesta ordem.

  1. receber: o lote chega da fila, e nada ainda recebeu ack;
  2. tratar: uma transação do SQLite: caixa de entrada + efeito + caixa de saída (um fsync);
  3. publicar: a caixa de saída vai ao broker, o lote recebe ack, e o broker responde por tudo;
  4. marcar: só então os eventos deixam de estar por enviar.

Morrer em qualquer ponto repete trabalho, e nunca o perde: antes de 2 a fila entrega de novo;
entre 2 e 4 a caixa de saída ainda diz o que falta publicar. Reconectar é de
rabbitmq/reconexao.py; tentar de novo, e desistir, de tentativas.py. No fim do arquivo, ouvir(): o
programa de um serviço.
"""

import signal
import sqlite3
from pathlib import Path

import caixas
import tentativas
from comum import banco as bancos
from comum.falha import Falha, em_portugues
from comum.identidade import identidade
from comum.loja import id_pelo_comeco
from comum.tela import adiando_o_fim, dizer, executar
from coreografia import o_que_ouve, o_que_publica
from rabbitmq.canal import LOTE, Canal
from rabbitmq.mensagem import MensagemInvalida, entender
from rabbitmq.reconexao import Reconexao
from terminal import Terminal, morrer_com_o_lancador, opcoes_de_servico

OCIOSO = 0.1  # segundos entre duas olhadas na caixa de saída, quando nada chega da fila
TABELAS = caixas.TABELAS + ";" + tentativas.TABELAS  # as de todo serviço, ao lado das do negócio


class BancoFora(Falha):
    """O banco não pôde ser lido ou gravado; nada do lote valeu, e ele será entregue de novo."""

    assunto = "banco"


class Servico:
    """Um serviço da coreografia.

    nome: o do serviço e da fila. tabelas: o SQL do negócio. ouve: {evento: função}.
    dados: a pasta escolhida com --dados. mostrar: se cada evento vira uma linha na tela.
    segundos: os de --devagar.
    """

    def __init__(self, nome: str, tabelas: str, ouve: dict, dados: Path, mostrar: bool = True,
                 segundos: float = 0):
        if set(ouve) != set(o_que_ouve(nome)):
            raise ValueError(f"{nome} deve ouvir exatamente o que a coreografia diz")
        self.nome, self.ouve = nome, ouve
        pasta = dados / "microsservicos"
        loja = identidade(pasta)
        self.banco = bancos.abrir(pasta / f"{nome}.db", tabelas + ";" + TABELAS, loja)
        self.terminal = Terminal(nome, mostrar, segundos)
        self.tentativas = tentativas.Tentativas(self.banco, nome, self.terminal.linhas.append)
        self.reconexao = Reconexao(nome, loja, vigiar=morrer_com_o_lancador)
        self.sobrou = True  # pode ter ficado algo por publicar

    def rodar(self) -> int:
        """Atende até Ctrl-C; o status de saída. Levanta Falha se a primeira conexão é recusada."""
        try:
            self.reconexao.manter(self.dar_uma_volta)
        except KeyboardInterrupt:
            dizer(f"{self.nome}: encerrado")
        return 0

    def dar_uma_volta(self, canal: Canal) -> None:
        """Um lote inteiro, antes que um Ctrl-C encerre o serviço."""
        morrer_com_o_lancador()
        try:
            with adiando_o_fim() as self.terminal.fim:
                self.quatro_passos(canal)
        except sqlite3.DatabaseError as erro:
            raise BancoFora(str(em_portugues(erro, str(self.banco.caminho)))) from erro
        finally:
            # O pedido de fim que ficou anotado vale agora, e vira KeyboardInterrupt.
            if self.terminal.fim.sinal:
                signal.raise_signal(self.terminal.fim.sinal)

    def quatro_passos(self, canal: Canal) -> None:
        recebidas = self.receber(canal)
        self.tratar(recebidas)
        confirmados = self.publicar(canal, recebidas)
        self.marcar(*confirmados)

    # --- os quatro passos ---

    def receber(self, canal: Canal) -> list:
        """O que espera na fila; se nada há a fazer, aguarda OCIOSO segundos."""
        recebidas = canal.receber(0 if self.sobrou else OCIOSO)
        if devolvidas := sum(recebida.devolvida for recebida in recebidas):
            # Quem as tinha em mãos morreu, ou perdeu a conexão, antes do ack.
            dizer(f"{self.nome:10} devolvidas à fila: {devolvidas}")
        self.terminal.com_o_lote_em_maos(canal, recebidas)
        return recebidas

    def tratar(self, recebidas: list) -> None:
        """Uma transação para o lote inteiro; dentro dela, cada mensagem falha sozinha."""
        lote = recebidas + self.tentativas.vencidas()
        if lote:
            self.terminal.linhas.clear()  # já contadas, ou de uma transação que não valeu
            with bancos.transacao(self.banco):
                for mensagem in lote:
                    self.tratar_uma(mensagem)
            self.reconexao.passou("banco", "o banco voltou")
            self.terminal.contar()

    def tratar_uma(self, mensagem) -> None:
        try:
            evento = entender(self.nome, mensagem.corpo, mensagem.propriedades)
            novos = caixas.tratar(self.banco, self.nome, self.ouve[evento.tipo], evento)
        except MensagemInvalida as erro:
            self.tentativas.desistir(mensagem, str(erro))
        except Exception as erro:
            self.tentativas.falhou(mensagem, erro)
        else:
            self.tentativas.deu_certo(mensagem)
            self.terminal.evento(evento, novos)

    def publicar(self, canal: Canal, recebidas: list) -> tuple[list[int], list[int]]:
        """Publica o que está por enviar e dá o ack do lote.

        Devolve o que o broker guardou: números da caixa de saída, e números das tentativas.
        """
        bancos.conferir_arquivos(self.banco)
        em_pausa, fila = self.reconexao.em_pausa(), f"{self.nome}.mortas"
        tipos = [tipo for tipo in o_que_publica(self.nome) if tipo not in em_pausa]
        eventos = caixas.a_enviar(self.banco, tipos, 2 * LOTE)
        mortas = [] if fila in em_pausa else self.tentativas.esgotadas()
        self.sobrou = len(eventos) == 2 * LOTE or bool(mortas)
        self.terminal.antes_de_publicar(canal, recebidas, eventos)
        recusadas = canal.publicar(eventos, mortas, recebidas[-1].entrega if recebidas else 0)
        self.reconexao.responderam([linha[1] for linha in eventos] + [fila] * len(mortas),
                                   recusadas)
        return ([linha[0] for n, linha in enumerate(eventos) if n not in recusadas],
                [linha[0] for n, linha in enumerate(mortas, len(eventos)) if n not in recusadas])

    def marcar(self, eventos: list, mortas: list) -> None:
        """Estes o broker já tem: não estão mais por enviar.

        Esta escrita dispensa o fsync: se ela se perder numa queda de energia, os eventos são
        publicados de novo, e a caixa de entrada de quem os ouve os reconhece.
        """
        if eventos or mortas:
            with bancos.transacao(self.banco, forcada=False):
                caixas.marcar_enviados(self.banco, eventos)
                self.tentativas.marcar_mortas(mortas)

    def republicar(self, dito: str) -> None:
        """--republicar: o que este serviço já publicou de um pedido volta a estar por enviar.

        dito: o id, ou o começo dele. Levanta Falha (código 2) se ele nada publicou desse pedido.
        """
        pedido = id_pelo_comeco(dito, caixas.pedidos_de(self.banco, dito))
        with bancos.transacao(self.banco):
            quantos = caixas.por_enviar_de_novo(self.banco, pedido)
        dizer(f"{self.nome:10} {pedido}: publico de novo o que já publiquei dele ({quantos})")


def montar(nome: str, tabelas: str, ouve: dict, escolha) -> Servico:
    """O serviço que a linha de comando pede, com o banco aberto e ainda sem broker."""
    servico = Servico(nome, tabelas, ouve, escolha.dados, not escolha.sem_eventos,
                      escolha.devagar)
    if escolha.republicar:
        servico.republicar(escolha.republicar)
    return servico


def ouvir(nome: str, tabelas: str, ouve: dict, descricao: str) -> None:
    """O programa de um serviço que só ouve, da linha de comando ao status de saída."""
    opcoes = opcoes_de_servico(descricao)
    executar(lambda: montar(nome, tabelas, ouve, opcoes.parse_args()).rodar())
