"""Uma maquete da saga: os quatro serviços de verdade, e um correio que entrega na ordem que se mandar.

    maquete = Maquete(pasta)
    maquete.fazer("enviar p-1 sucesso")
    maquete.fazer("andar")                   até não haver mais nada a entregar

Tudo é o código de produção (Servico, caixas, o Canal que publica, o desenho da tela), menos o
RabbitMQ: as filas são listas. Por isso cada execução é igual à outra, e um traço pode ser comparado
linha por linha. Os verbos estão em VERBOS; `tests/tracos/saga-*.txt` são escritos com eles.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

from verbos import M, MODULOS, SERVICOS, cenario, pedido

dizer = M.tela.dizer


class NaMaquete(M.servico.Servico):
    """Um serviço que fala no terminal dele só do que as raias não mostram."""

    def __init__(self, nome: str, dados: Path):
        super().__init__(nome, MODULOS[nome].TABELAS, MODULOS[nome].OUVE, dados)
        self.terminal = DoQueAsRaiasNaoMostram(nome, True, 0)
        self.tentativas.avisar = self.terminal.linhas.append


class DoQueAsRaiasNaoMostram(M.terminal.Terminal):
    def contar(self) -> None:
        self.linhas[:] = [linha for linha in self.linhas if "◀" not in linha and "▶" not in linha or "repetido" in linha]
        super().contar()


class Correio(M.canal.Canal):
    """O Canal de verdade, sobre filas que são listas; só o pika é de mentira."""

    def __init__(self, maquete: Maquete, nome: str):
        self.quem, self._ultima, self._saindo, self._maquete = nome, 0, [], maquete

    def enfileirar(self, exchange, chave, corpo, propriedades, mandatory):
        corpo = corpo.encode() if isinstance(corpo, str) else corpo
        self._saindo.append((exchange, chave, M.canal.Recebida(1, corpo, M.mensagem.simplificar(propriedades))))

    def esperar_respostas(self):
        """O broker guarda tudo o que lhe foi publicado, e responde por tudo."""
        for exchange, chave, mensagem in self._saindo:
            self._maquete.chegar(exchange, chave, mensagem)
        self._saindo.clear()
        return set()


class Maquete:
    """dados: uma pasta vazia, para os quatro bancos. diagrama: onde mais desenhar o que passa, ou None."""

    def __init__(self, dados: Path, diagrama=None):
        self.desenho = M.desenho.Desenho(diagrama)
        self.dados, self.pasta = dados, dados / "microsservicos"
        self.filas = {nome: deque() for nome in SERVICOS}
        self.mortas = {nome: deque() for nome in SERVICOS}
        self.publicadas: dict[str, object] = {}
        self.ligados: dict[str, NaMaquete] = {}
        self.pedidos: list[str] = []
        for nome in SERVICOS:
            self.ligar(nome)
        dizer(self.desenho.cabecalho())

    def fazer(self, linha: str) -> None:
        verbo, *resto = linha.split(maxsplit=1)
        VERBOS[verbo](self, *(resto[0].split(maxsplit=1) if verbo == "veneno" else " ".join(resto).split()))

    # --- o correio ---

    def chegar(self, exchange: str, chave: str, mensagem) -> None:
        """O que o broker faria: copiar a mensagem para a fila de cada ouvinte. A plateia vê passar."""
        if not exchange:
            self.mortas[chave.removesuffix(".mortas")].append(mensagem)
            return
        for linha in self.desenho.recebidas([mensagem]):
            dizer(linha)
        self.publicadas[mensagem.propriedades["message_id"]] = mensagem
        for ouvinte in M.coreografia.quem_ouve(chave):
            self.filas[ouvinte].append(mensagem)

    def publicar(self, nome: str) -> None:
        servico = self.ligados[nome]
        servico.sobrou = True
        while servico.sobrou:
            servico.marcar(*servico.publicar(Correio(self, nome), []))

    def tratar(self, nome: str) -> bool:
        """A próxima mensagem da fila, e o que falhou antes; False se não havia nada."""
        servico = self.ligados[nome]
        servico.tentativas.vencidas()  # marca a hora de cada uma, que chega logo: aqui o tempo voa
        horas = servico.tentativas.quando = dict.fromkeys(servico.tentativas.quando, 0.0)
        ha_o_que_fazer = bool(horas or self.filas[nome])
        servico.tratar([self.filas[nome].popleft()] if self.filas[nome] else [])
        return ha_o_que_fazer

    # --- os verbos ---

    def enviar(self, id: str, *quais: str) -> None:
        """enviar ID CENARIO, ou: enviar ID CLIENTE PRODUTO QUANTIDADE CEP"""
        novo = cenario(quais[0], id) if len(quais) == 1 else pedido(id, quais[0], quais[1], int(quais[2]), quais[3])
        self.pedidos.append(id)
        self.entrar(MODULOS["pedidos"].receber, M.loja.validar(novo))

    def cancelar(self, id: str) -> None:
        """cancelar ID"""
        self.entrar(MODULOS["pedidos"].solicitar_cancelamento, id)

    def entrar(self, funcao, entrada) -> None:
        banco = M.banco.abrir(self.pasta / "pedidos.db", "")
        repetidos = MODULOS["pedidos"].entrar_na_saga(banco, funcao, [entrada])
        if isinstance(entrada, dict):  # um pedido, e não o id de um cancelamento
            outros = M.loja.de_outro_conteudo(banco, repetidos)
            iguais = [repetido["pedido"] for repetido in repetidos if not outros]
            M.opcoes.dizer_repetidos(iguais, outros, M.servico_pedidos.MARGEM)
        banco.close()
        if "pedidos" in self.ligados:
            self.publicar("pedidos")

    def andar(self, *so: str) -> None:
        """andar, ou: andar SERVICO...: entrega tudo, uma mensagem de cada vez, a cada serviço na sua vez"""
        andou = True
        while andou:
            andou = False
            for nome in so or SERVICOS:
                if nome in self.ligados and self.tratar(nome):
                    andou = True
                    self.publicar(nome)

    def ligar(self, nome: str) -> None:
        """ligar SERVICO: o que estava na caixa de saída é publicado logo"""
        self.ligados[nome] = NaMaquete(nome, self.dados)
        self.publicar(nome)

    def desligar(self, nome: str) -> None:
        """desligar SERVICO"""
        servico = self.ligados.pop(nome)
        servico.banco.close()

    def morrer(self, nome: str) -> None:
        """morrer SERVICO: trata a próxima mensagem e morre antes do ack; ela volta à fila"""
        mensagem = self.filas[nome][0]
        self.tratar(nome)
        self.filas[nome].appendleft(mensagem)
        self.desligar(nome)

    def repetir(self, tipo: str, id: str) -> None:
        """repetir EVENTO ID: a mesma mensagem é publicada outra vez"""
        self.chegar("loja", tipo, self.publicadas[f"{id}:{tipo}"])

    def veneno(self, nome: str, corpo: str) -> None:
        """veneno SERVICO CORPO: alguém põe na fila uma mensagem com este corpo"""
        tipo = M.coreografia.o_que_ouve(nome)[0]
        propriedades = {"type": tipo, "message_id": "veneno", "headers": {"versao": 1}}
        self.filas[nome].append(M.canal.Recebida(1, corpo.encode(), propriedades))

    def quebrar(self, nome: str, tabela: str) -> None:
        """quebrar SERVICO TABELA: um gatilho no banco recusa toda escrita na tabela"""
        self.ligados[nome].banco.execute(f"CREATE TRIGGER quebrado BEFORE INSERT ON {tabela} "
                                         "BEGIN SELECT RAISE(ABORT, 'quebrado de propósito'); END")

    def consertar(self, nome: str) -> None:
        """consertar SERVICO"""
        self.ligados[nome].banco.execute("DROP TRIGGER quebrado")

    def ver_mortas(self, nome: str) -> None:
        """mortas SERVICO"""
        for mensagem in self.mortas[nome]:
            dizer(f"{nome}.mortas  {mensagem.propriedades.get('message_id')}")
            dizer(f"    motivo: {mensagem.propriedades['headers']['motivo']}")

    def reenviar(self, nome: str) -> None:
        """reenviar SERVICO: as mensagens mortas voltam à fila dele"""
        while self.mortas[nome]:
            mensagem = self.mortas[nome].popleft()
            del mensagem.propriedades["headers"]["motivo"]
            self.filas[nome].append(mensagem)

    def ver_filas(self) -> None:
        """filas: quantas mensagens esperam em cada uma"""
        cheias = {**self.filas, **{f"{nome}.mortas": fila for nome, fila in self.mortas.items()}}
        dizer("filas: " + (", ".join(f"{nome} {len(fila)}" for nome, fila in cheias.items() if fila) or "vazias"))

    def ver_produto(self, produto: str) -> None:
        """produto NOME: quanto dele pode ser vendido agora"""
        dizer(f"{produto}: {M.veredito.estado(self.pasta)['produtos'][produto]} à venda")

    def rastro(self, id: str) -> None:
        """rastro ID: o que rastro.py mostraria agora, sem broker a que perguntar"""
        with M.banco.lendo(self.pasta, SERVICOS) as bancos:
            M.rastro.mostrar(M.historia.Historia(bancos, id), M.opcoes.DADOS, None)

    def pendentes(self) -> list[str]:
        pedidos = M.veredito.estado(self.pasta)["pedidos"]
        return [id for id, como in pedidos.items() if como["estado"] == "pendente"]

    def veredito(self) -> None:
        """veredito"""
        M.veredito.veredito(self.pasta, self.pedidos, len(self.pendentes()))


VERBOS = {nome: getattr(Maquete, nome) for nome in (
    "enviar", "cancelar", "andar", "ligar", "desligar", "morrer", "repetir", "veneno", "quebrar", "consertar",
    "reenviar", "rastro", "veredito")} | {"mortas": Maquete.ver_mortas, "filas": Maquete.ver_filas, "produto": Maquete.ver_produto}
