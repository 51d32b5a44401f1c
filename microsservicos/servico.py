"""O que todo serviço faz: ouvir a sua fila, tratar em lote, publicar, reconectar.

O caminho de um evento, sempre nesta ordem:

  1. o lote chega da fila, e nada ainda recebeu ack;
  2. uma transação do SQLite: caixa de entrada + efeito + caixa de saída (um fsync);
  3. a caixa de saída é publicada, o lote recebe ack, e o broker responde por tudo;
  4. só então os eventos saem da caixa de saída.

Morrer em qualquer ponto repete trabalho, e nunca o perde: antes de 2 a fila entrega
de novo; entre 2 e 4 a caixa de saída ainda guarda o que falta publicar.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from pathlib import Path

from comum import banco as bancos
import caixas
from rabbitmq.conexao import onde
from coreografia import MensagemInvalida, entender, o_que_ouve
from rabbitmq.canal import LOTE, Canal
from comum.falha import Falha, em_portugues
from comum.presenca import Presenca
from comum.tela import Torneira, alertar, curto, dizer, visivel
from palco.prontidao import avisar_pronto
from rabbitmq.erros import BrokerFora

OCIOSO = 0.1  # segundos entre duas olhadas na caixa de saída, quando nada chega da fila
PRIMEIRA_PAUSA, MAIOR_PAUSA = 0.2, 5.0  # segundos antes de reconectar; dobra a cada vez


def pasta_dos_dados(dados: Path) -> Path:
    return dados / "microsservicos"


class Servico:
    """Um serviço da coreografia.

    nome: o do serviço e da fila. tabelas: o SQL do negócio. ouve: {evento: função}.
    dados: a pasta escolhida com --dados. mostrar: se cada evento vira uma linha na tela.
    """

    def __init__(self, nome: str, tabelas: str, ouve: dict, dados: Path, mostrar: bool = True):
        if set(ouve) != set(o_que_ouve(nome)):
            raise ValueError(f"{nome} deve ouvir exatamente o que a coreografia diz")
        self.nome, self.ouve, self.mostrar = nome, ouve, mostrar
        pasta = pasta_dos_dados(dados)
        self.presenca = Presenca(pasta)
        self.presenca.entrar()
        self.arquivo = pasta / f"{nome}.db"
        self.banco = bancos.abrir(self.arquivo, tabelas + ";" + caixas.TABELAS)
        self.vez: dict[int, float] = {}  # falha -> instante (monotônico) da próxima tentativa
        self.recusar_somente_leitura()
        self.banco_falhou = False  # a última transação não pôde ser gravada
        self.bloqueado = False  # o broker não está aceitando publicações
        self.ja_disse: str | None = None  # a mesma queda é uma linha só, por mais que dure
        self.lancador = os.environ.get("LOJA_LANCADOR")
        self.torneira, self.torneira_dos_avisos = Torneira(), Torneira()
        self.avisos: list[str] = []  # o que deu errado no lote: os eventos comuns não o afogam

    def rodar(self) -> None:
        """Atende até Ctrl-C, reconectando sempre que o broker ou o banco falham."""
        pausa, ja_esteve, canal = PRIMEIRA_PAUSA, False, None
        while True:
            try:
                canal = Canal(self.nome, self.ao_bloquear)
                ja_esteve = True
                if not (self.banco_falhou or self.bloqueado):  # senão, conectar de novo ainda não resolveu nada
                    dizer(f"{self.nome}: pronto, ouvindo a fila «{self.nome}» em {onde()}")
                    avisar_pronto()
                    pausa, self.ja_disse = PRIMEIRA_PAUSA, None
                self.atender(canal)
            except (Falha, sqlite3.DatabaseError) as erro:
                if canal:
                    canal.fechar()
                self.banco_falhou = isinstance(erro, sqlite3.DatabaseError)
                falha = em_portugues(erro, str(self.arquivo))
                if not ja_esteve and not isinstance(erro, (BrokerFora, sqlite3.Error)):
                    raise
                if str(falha) != self.ja_disse:
                    self.ja_disse = str(falha)
                    dica = "" if ja_esteve else " (para subir um: python orquestracao.py, ou: rabbitmq-server)"
                    alertar(f"{self.nome}: {falha}{dica}; continuo tentando (Ctrl-C encerra)")
            self.dormir(pausa * random.uniform(0.5, 1))  # o acaso evita que todos voltem juntos
            pausa = min(pausa * 2, MAIOR_PAUSA)

    def ao_bloquear(self, por_que: str | None) -> None:
        """O broker parou de aceitar publicações, e por quê; ou voltou a aceitá-las (None)."""
        if por_que and not self.bloqueado:
            self.ja_disse = por_que
            alertar(f"{self.nome}: {por_que}; espero (Ctrl-C encerra)")
        elif self.bloqueado and not por_que:
            dizer(f"{self.nome}: o RabbitMQ voltou a aceitar publicações")
        self.bloqueado = bool(por_que)

    def recusar_somente_leitura(self) -> None:
        # O SQLite o abriria assim mesmo, e nem a permissão devolvida depois o faria gravar.
        if not os.access(self.arquivo, os.W_OK):
            raise em_portugues(sqlite3.OperationalError("readonly"), str(self.arquivo))

    def atender(self, canal: Canal) -> None:
        """Um lote depois do outro, enquanto a conexão durar."""
        sobrou = True
        while True:
            recebidas = canal.receber(0 if sobrou else OCIOSO)
            self.morrer_com_o_lancador()
            vencidas = self.falhas_vencidas()
            if recebidas or vencidas:
                self.tratar_lote(recebidas, vencidas)
            else:
                self.narrar([])
            sobrou = self.publicar_pendentes(canal, recebidas[-1].entrega if recebidas else 0)

    def tratar_lote(self, recebidas: list, vencidas: list) -> None:
        """Uma transação para o lote inteiro; dentro dela, cada evento falha sozinho."""
        linhas: list[str] = []
        self.avisos.clear()
        with bancos.transacao(self.banco):
            for recebida in recebidas:
                self.tratar_mensagem(recebida.corpo, recebida.propriedades, linhas)
            for ordem, corpo, propriedades, restam in vencidas:
                self.tentar_de_novo(ordem, corpo, propriedades, restam, linhas)
        if self.banco_falhou:
            self.banco_falhou = False
            dizer(f"{self.nome}: o banco voltou")
        self.narrar(linhas)

    def tratar_mensagem(self, corpo: bytes, propriedades: dict, linhas: list) -> None:
        try:
            evento = entender(self.nome, corpo, propriedades)
        except Exception as erro:  # MensagemInvalida, ou uma estranheza que ninguém previu: não derruba o serviço
            motivo = visivel(str(erro) if isinstance(erro, MensagemInvalida) else explicar(erro))
            self.avisos.append(f"não entendi uma mensagem, vai para {self.nome}.mortas: {motivo}")
            caixas.guardar_falha(self.banco, None, corpo, propriedades, motivo, 0)
            return
        try:
            self.tratar_evento(evento, linhas)
        except Exception as erro:
            if da_maquina(erro):
                raise  # disco cheio, banco travado: o problema não é deste evento
            self.avisos.append(f"{curto(evento.pedido):12} falhei em {evento.tipo} ({erro}); tento de novo")
            caixas.guardar_falha(self.banco, evento.mensagem, corpo, propriedades, explicar(erro), caixas.TENTATIVAS)

    def tratar_evento(self, evento, linhas: list) -> None:
        novos = caixas.tratar(self.banco, self.nome, self.ouve[evento.tipo], evento)
        if self.mostrar:
            repetido = "  (repetido: já tratado, nada muda)" if novos is None else ""
            linhas.append(f"{curto(evento.pedido):12} ◀ {evento.tipo}{repetido}")
            linhas += [f"{curto(n.pedido):12} ▶ {n.tipo}{': ' + n.dados['motivo'] if 'motivo' in n.dados else ''}"
                       for n in novos or ()]

    def falhas_vencidas(self) -> list[tuple]:
        """As falhas cuja pausa já passou; as de uma execução anterior vencem logo."""
        agora, vencidas = time.monotonic(), []
        for falha in self.banco.execute("SELECT ordem, corpo, propriedades, restam FROM falhas WHERE restam > 0"):
            if self.vez.setdefault(falha[0], agora + self.pausa(falha[3])) <= agora:
                vencidas.append(falha)
        return vencidas

    @staticmethod
    def pausa(restam: int) -> float:
        return PRIMEIRA_PAUSA * 2 ** (caixas.TENTATIVAS - restam)

    def tentar_de_novo(self, ordem: int, corpo: bytes, propriedades: str, restam: int, linhas: list) -> None:
        """Mais uma tentativa de um evento que falhou; a última que falha o manda para as mortas."""
        del self.vez[ordem]
        try:
            self.tratar_evento(entender(self.nome, corpo, caixas.ler_propriedades(propriedades)), linhas)
            self.banco.execute("DELETE FROM falhas WHERE ordem = ?", (ordem,))
        except Exception as erro:
            if da_maquina(erro):
                raise
            self.banco.execute("UPDATE falhas SET restam = ?, motivo = ? WHERE ordem = ?", (restam - 1, explicar(erro), ordem))
            if restam == 1:
                self.avisos.append(f"desisti de uma mensagem, vai para {self.nome}.mortas: {explicar(erro)}")

    def publicar_pendentes(self, canal: Canal, ate_entrega: int) -> bool:
        """Publica o que há na caixa de saída e dá o ack do lote; True se ainda sobrou o que publicar."""
        eventos = caixas.a_publicar(self.banco, 2 * LOTE)
        mortas = caixas.a_enterrar(self.banco, LOTE)
        if eventos or mortas or ate_entrega:
            canal.publicar(eventos, [(f"{self.nome}.mortas", c, caixas.ler_propriedades(p), m) for _, c, p, m in mortas],
                           ate_entrega)
        if eventos or mortas:
            self.ao_bloquear(None)  # se já não estava aceitando, agora aceitou
        if eventos:
            caixas.publicados(self.banco, eventos[-1][0])
        if mortas:
            caixas.enterradas(self.banco, mortas)
        return len(eventos) == 2 * LOTE or bool(mortas)

    def narrar(self, linhas: list[str]) -> None:
        """Uma linha por evento ou aviso; numa enxurrada, um resumo por segundo."""
        avisos, self.avisos = self.avisos, []
        for linha in self.torneira_dos_avisos.passar(avisos) + self.torneira.passar(linhas):
            dizer(visivel(f"{self.nome:10} {linha}"))

    def morrer_com_o_lancador(self) -> None:
        """Se orquestracao.py foi morto com kill -9, os serviços que ele iniciou não ficam órfãos."""
        if self.lancador and os.name != "nt" and os.getppid() != int(self.lancador):
            raise KeyboardInterrupt

    def dormir(self, segundos: float) -> None:
        fim = time.monotonic() + segundos
        while (falta := fim - time.monotonic()) > 0:
            self.morrer_com_o_lancador()
            time.sleep(min(falta, 0.5))


def da_maquina(erro: Exception) -> bool:
    """Se o que falhou foi o banco, e não o tratamento de um evento (onde um SQL errado também é uma falha do evento).

    Um arquivo corrompido chega como o DatabaseError puro; os filhos dele são erros de quem escreveu o SQL.
    """
    sql_errado = getattr(erro, "sqlite_errorcode", None) == 1  # SQLITE_ERROR; o Python o conta desde o 3.11
    return type(erro) is sqlite3.DatabaseError or isinstance(erro, sqlite3.OperationalError) and not sql_errado


def explicar(erro: Exception) -> str:
    return visivel(f"{type(erro).__name__}: {erro}"[:300])


def opcoes_de_servico(descricao: str):
    """As opções que todo serviço tem."""
    from comum.opcoes import Opcoes
    opcoes = Opcoes(descricao)
    opcoes.dos_dados("microsservicos")
    opcoes.add_argument("--sem-eventos", action="store_true", help="não mostra uma linha por evento")
    opcoes.add_argument("--criar-banco", action="store_true",
                        help="cria o banco deste serviço, se ainda não existe, e sai")
    return opcoes


def criar_banco(nome: str, tabelas: str, dados: Path) -> int:
    bancos.abrir(pasta_dos_dados(dados) / f"{nome}.db", tabelas + ";" + caixas.TABELAS).close()
    return 0


def ouvir(nome: str, tabelas: str, ouve: dict, descricao: str) -> int:
    """O `main` de um serviço que só ouve."""
    opcoes = opcoes_de_servico(descricao).parse_args()
    if opcoes.criar_banco:
        return criar_banco(nome, tabelas, opcoes.dados)
    try:
        Servico(nome, tabelas, ouve, opcoes.dados, not opcoes.sem_eventos).rodar()
    except KeyboardInterrupt:
        dizer(f"{nome}: encerrado")
    return 0
