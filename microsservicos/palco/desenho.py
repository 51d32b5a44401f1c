"""O desenho da saga, na tela e no diagrama: um evento que sai de uma raia e chega a outra.

Quem desenha só assiste: tira de cada mensagem o tipo e o pedido, e a tabela da coreografia diz de
onde ela vem, para onde vai, e o que fica retido: a raia de um serviço é `┊` enquanto o que ele fez
ainda pode ser compensado, isto é, até a compensação dele ou até o pivô.
"""

from comum.loja import ler_json
from comum.raias import Diagrama, Raias
from comum.tela import pintar
from coreografia import (COMPENSACOES, COMPENSAVEL, EVENTOS, PIVO, SERVICOS, quem_ouve,
                         quem_publica)
from palco.historia import Historia

NOMES = [servico.capitalize() for servico in SERVICOS]
LEGENDA = "o que este serviço fez ainda pode ser compensado; depois do pivô, nada pode"
NA_MENSAGEM = "(o motivo está na mensagem)"
DESCONHECIDA = "… passou uma mensagem que a coreografia não conhece …"
LEMBRADOS = 1000  # pedidos de que a tela lembra o que está retido


class Desenho:
    """As raias da tela e, se há um, o diagrama: cada passo vai aos dois.

    diagrama: o arquivo em que também se anota, ou None. Os métodos devolvem linhas para a tela.
    """

    def __init__(self, diagrama: Diagrama | None = None):
        self.raias, self.vistos = Raias(NOMES, "┊", diagrama), {}

    def cabecalho(self) -> str:
        """A legenda e, na última linha, o nome de cada raia."""
        return f"{self.raias.retida} {LEGENDA}\n{self.raias.cabecalho()}"

    def evento(self, tipo: str, pedido: str, dados: dict) -> list[str]:
        """Um evento publicado: uma seta por ouvinte.

        dados: com o motivo, se ele leva um.
        """
        de, ouvintes, _ = EVENTOS[tipo]
        traco, motivo, linhas = "═" if tipo in COMPENSACOES else "─", dados.get("motivo"), []
        if tipo.endswith(".recusado"):
            linhas += self.nota(pedido, de, f"recusa: {motivo}", _cor(tipo))
        if not ouvintes:
            texto = f"{tipo}: {motivo}" if "motivo" in dados else tipo
            linhas += self.nota(pedido, de, texto, _cor(tipo))
        for para in ouvintes:
            raias = de.capitalize(), para.capitalize()
            linhas.append(pintar(self.raias.seta(pedido, *raias, tipo, traco), _cor(tipo)))
        self.reter(tipo, pedido)
        return linhas

    def nota(self, pedido: str, servico: str, texto: str, cor: str | None = None) -> list[str]:
        """O que aconteceu dentro de um serviço."""
        return [pintar(self.raias.nota(pedido, servico.capitalize(), texto), cor)]

    def reter(self, tipo: str, pedido: str) -> None:
        """O que se retém depois deste evento; o de um serviço pode passar antes do de outro."""
        if len(self.vistos) > LEMBRADOS:  # quem ainda anda o mostra de novo no próximo evento
            self.vistos.clear()
        vistos = self.vistos.setdefault(pedido, set())
        vistos.add(tipo)
        for servico, (desde, ate) in COMPENSAVEL.items():
            retem = desde in vistos and not {ate, PIVO} & vistos
            self.raias.reter(servico.capitalize(), pedido, retem)

    def recebidas(self, recebidas: list) -> list[str]:
        """As mensagens que a plateia recebeu; o que não é da coreografia não se desenha."""
        linhas = []
        for recebida in recebidas:
            try:
                dados = ler_json(recebida.corpo)
                tipo, pedido = recebida.propriedades.get("type"), str(dados["pedido"])
                linhas += self.evento(tipo, pedido, dados)
            except (ValueError, KeyError, TypeError):  # o tipo ou o corpo não é dela
                linhas.append(pintar(DESCONHECIDA, "fraco"))
        return linhas

    def historia(self, historia: Historia) -> list[str]:
        """O que os bancos dizem que já aconteceu; o que parou é uma nota onde parou."""
        linhas, ditos = [], set()
        for servico, tratou, publicou in historia.passos:
            # O que ninguém tem na caixa de saída foi publicado à mão.
            for tipo in [*[tratou] * (tratou not in {*ditos, None}), *publicou]:
                linhas += self._um(historia, tipo)
                ditos.add(tipo)
            if not publicou:
                linhas += self.nota(historia.pedido, servico, "nada a fazer: já tinha respondido")
        for tipo in [tipo for tipo in historia.eventos if tipo not in ditos]:
            linhas += self._um(historia, tipo)
        return linhas

    def _um(self, historia: Historia, tipo: str) -> list[str]:
        falhas = [(quem, historia.falhas[quem, tipo][1]) for quem in quem_ouve(tipo)
                  if (quem, tipo) in historia.falhas]
        chegou = falhas or any((quem, tipo) in historia.tratados for quem in quem_ouve(tipo))
        if tipo in historia.por_enviar and not chegou:
            return self.nota(historia.pedido, quem_publica(tipo), f"na caixa de saída: {tipo}")
        leva_motivo = EVENTOS[tipo][2] == "motivo"
        dados = {"motivo": historia.motivos.get(tipo) or NA_MENSAGEM} if leva_motivo else {}
        return self.evento(tipo, historia.pedido, dados) + [
            linha for quem, motivo in falhas
            for linha in self.nota(historia.pedido, quem, f"falhou: {motivo}")]


def _cor(tipo: str) -> str | None:
    if tipo in COMPENSACOES:
        return "roxo"
    if tipo.endswith((".recusado", ".cancelado", ".cancelamento_solicitado")):
        return "vermelho"
    return "verde" if tipo == "pedido.concluido" else None
