"""O que todo serviço faz com um evento: quatro passos, sempre nesta ordem.

  1. receber: o lote chega da fila, e nada ainda recebeu ack;
  2. tratar: uma transação do SQLite: caixa de entrada + efeito + caixa de saída (um fsync);
  3. publicar: a caixa de saída vai ao broker, o lote recebe ack, e o broker responde por tudo;
  4. retirar: só então os eventos saem da caixa de saída.

Morrer em qualquer ponto repete trabalho, e nunca o perde: antes de 2 a fila entrega de novo;
entre 2 e 4 a caixa de saída ainda guarda o que falta publicar. Reconectar é de rabbitmq/plantao.py;
tentar de novo, e enterrar, de falhas.py.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import caixas
import falhas
from comum import banco as bancos
from comum.falha import em_portugues
from comum.identidade import identidade
from coreografia import o_que_ouve
from palco.encerrar import Encerramento, morrer_com_o_lancador
from palco.narracao import Narrador
from palco.prontidao import avisar_pronto
from rabbitmq.canal import LOTE, Canal
from rabbitmq.erros import Passageira
from rabbitmq.mensagem import entender
from rabbitmq.plantao import Plantao

OCIOSO = 0.1  # segundos entre duas olhadas na caixa de saída, quando nada chega da fila
TABELAS = caixas.TABELAS + ";" + falhas.TABELAS  # as de todo serviço, ao lado das do negócio


class BancoFora(Passageira):
    """O banco não pôde ser lido ou gravado; nada do lote valeu, e ele será entregue de novo."""

    assunto = "banco"


class Servico:
    """Um serviço da coreografia.

    nome: o do serviço e da fila. tabelas: o SQL do negócio. ouve: {evento: função}.
    dados: a pasta escolhida com --dados. mostrar: se cada evento vira uma linha na tela.
    """

    def __init__(self, nome: str, tabelas: str, ouve: dict, dados: Path, mostrar: bool = True):
        if set(ouve) != set(o_que_ouve(nome)):
            raise ValueError(f"{nome} deve ouvir exatamente o que a coreografia diz")
        self.nome, self.ouve = nome, ouve
        pasta = pasta_dos_dados(dados)
        loja = identidade(pasta)
        self.banco = bancos.abrir(pasta / f"{nome}.db", tabelas + ";" + TABELAS, loja)
        self.narrador = Narrador(nome, mostrar)
        self.falhas = falhas.Falhas(self.banco, nome, lambda texto: self.narrador.avisar(texto))
        self.plantao = Plantao(nome, loja, vigiar=morrer_com_o_lancador)

    def rodar(self) -> None:
        """Atende até Ctrl-C. Levanta Falha se nem a primeira conexão é possível."""
        self.encerramento = Encerramento()
        self.plantao.manter(self.dar_uma_volta, ao_ligar=self.ao_ligar)

    def ao_ligar(self) -> None:
        self.sobrou = True  # a caixa de saída pode ter ficado cheia
        avisar_pronto()

    def dar_uma_volta(self, canal: Canal) -> None:
        """Um lote inteiro, antes que um Ctrl-C encerre o serviço."""
        morrer_com_o_lancador()
        with self.encerramento.depois_deste_lote():
            try:
                self.quatro_passos(canal)
            except sqlite3.DatabaseError as erro:
                self.narrador.recomecar()
                raise BancoFora(str(em_portugues(erro, str(self.banco.caminho)))) from erro

    def quatro_passos(self, canal: Canal) -> None:
        self.banco.conferir_arquivos()
        recebidas = canal.receber(0 if self.sobrou else OCIOSO)
        vencidas = self.falhas.vencidas()
        if recebidas or vencidas:
            self.tratar_lote(recebidas, vencidas)
        self.narrador.contar()
        self.sobrou = self.publicar_pendentes(canal, recebidas[-1].entrega if recebidas else 0)

    # --- passo 2 ---

    def tratar_lote(self, recebidas: list, vencidas: list) -> None:
        """Uma transação para o lote inteiro; dentro dela, cada mensagem falha sozinha."""
        self.narrador.recomecar()
        with bancos.transacao(self.banco):
            for mensagem in recebidas + vencidas:
                with self.falhas.de(mensagem):
                    evento = entender(self.nome, mensagem.corpo, mensagem.propriedades)
                    novos = caixas.tratar(self.banco, self.nome, self.ouve[evento.tipo], evento)
                    self.narrador.evento(evento, novos)
        self.plantao.passou("banco", "o banco voltou")

    # --- passos 3 e 4 ---

    def publicar_pendentes(self, canal: Canal, ate_entrega: int) -> bool:
        """Publica a caixa de saída e dá o ack do lote; True se ainda sobrou o que publicar."""
        em_pausa = canal.em_pausa()
        eventos = caixas.a_publicar(self.banco, 2 * LOTE, em_pausa)
        while estranhos := caixas.estranhos(self.nome, eventos):
            self.enterrar_estranhos(estranhos)
            eventos = caixas.a_publicar(self.banco, 2 * LOTE, em_pausa)
        mortas = [] if f"{self.nome}.mortas" in em_pausa else self.falhas.a_enterrar(LOTE)
        if not (eventos or mortas or ate_entrega):
            return False
        recusadas = canal.publicar(eventos, mortas, ate_entrega)
        caixas.publicados(self.banco, [evento[0] for posicao, evento in enumerate(eventos)
                                       if posicao not in recusadas])
        if mortas:
            with bancos.transacao(self.banco):
                self.falhas.enterradas([morta[0] for n, morta in enumerate(mortas, len(eventos))
                                        if n not in recusadas])
        return len(eventos) == 2 * LOTE or bool(mortas)

    def enterrar_estranhos(self, estranhos: list[tuple]) -> None:
        """O que outra versão, ou alguém, deixou na caixa de saída não para os outros eventos."""
        with bancos.transacao(self.banco):
            for ordem, corpo, propriedades, motivo in estranhos:
                self.falhas.enterrar("tirei um evento da caixa de saída", corpo, propriedades,
                                     motivo)
            caixas.retirar(self.banco, [linha[0] for linha in estranhos])
        self.narrador.contar()


def pasta_dos_dados(dados: Path) -> Path:
    return dados / "microsservicos"
