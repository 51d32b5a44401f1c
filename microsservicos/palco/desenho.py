"""O desenho da saga, na tela e no diagrama: um evento que sai de uma raia e chega a outra.

Quem desenha só assiste: tira de cada mensagem o tipo e o pedido, e a tabela da
coreografia diz de onde ela vem e para onde vai.
"""

from __future__ import annotations

from comum.diagrama import Diagrama
from comum.loja import ler_json
from comum.raias import Raias
from comum.tela import largura, pintar, visivel
from coreografia import COMPENSACOES, EVENTOS, SERVICOS, quem_ouve, quem_publica
from palco.historia import Historia

NOMES = [servico.capitalize() for servico in SERVICOS]
NA_MENSAGEM = "(o motivo está na mensagem)"
DESCONHECIDA = "… passou uma mensagem que a coreografia não conhece …"


def passos(tipo: str, dados: dict) -> list[tuple]:
    """Um evento em raias, [(de, para, texto, traço)]: uma seta por ouvinte.

    Se ninguém o ouve, uma nota (para None).
    """
    de, ouvintes, _ = EVENTOS[tipo]
    if not ouvintes:
        motivo = f": {dados['motivo']}" if "motivo" in dados else ""
        return [(de.capitalize(), None, tipo + motivo, None)]
    recusa = []
    if tipo.endswith(".recusado"):
        recusa = [(de.capitalize(), None, f"recusa: {dados.get('motivo')}", None)]
    traco = "═" if tipo in COMPENSACOES else "─"
    return recusa + [(de.capitalize(), para.capitalize(), tipo, traco) for para in ouvintes]


class Desenho:
    """As raias da tela e, se há um, o diagrama: cada passo vai aos dois.

    diagrama: o arquivo em que também se anota, ou None. Os métodos devolvem linhas para a tela.
    """

    def __init__(self, diagrama: Diagrama | None = None):
        self.raias, self.diagrama = Raias(NOMES), diagrama

    def cabecalho(self) -> str:
        return self.raias.cabecalho()

    def evento(self, tipo: str, pedido: str, dados: dict, so_para: str = "") -> list[str]:
        """Um evento publicado. dados: com o motivo, se ele leva um. so_para: um dos ouvintes."""
        linhas = []
        for de, para, texto, traco in passos(tipo, dados):
            if para and so_para and para != so_para.capitalize():
                continue
            if not para:
                linhas += self.nota(pedido, de, texto, _cor(tipo))
                continue
            linhas.append(pintar(self.raias.seta(pedido, de, para, texto, traco), _cor(tipo)))
            if self.diagrama:
                self.diagrama.seta(pedido, de, para, texto, traco)
        return linhas

    def nota(self, pedido: str, servico: str, texto: str, cor: str | None = None) -> list[str]:
        """O que aconteceu dentro de um serviço."""
        if self.diagrama:
            self.diagrama.nota(pedido, servico.capitalize(), texto)
        return [pintar(self.raias.nota(pedido, servico.capitalize(), texto), cor)]

    def recebidas(self, recebidas: list) -> list[str]:
        """As mensagens que a plateia recebeu; o que não é da coreografia não se desenha."""
        linhas = []
        for recebida in recebidas:
            evento = _resumo(recebida)
            linhas += self.evento(*evento) if evento else [pintar(DESCONHECIDA, "fraco")]
        return linhas

    def historia(self, historia: Historia) -> list[str]:
        """O que os bancos dizem que já aconteceu; o que parou é uma nota onde parou."""
        linhas, ditos = [], set()

        def contar(tipo: str) -> None:
            ditos.add(tipo)
            falhas = [(ouvinte, historia.falhas[ouvinte, tipo][1]) for ouvinte in quem_ouve(tipo)
                      if (ouvinte, tipo) in historia.falhas]
            tratado = any((ouvinte, tipo) in historia.tratados for ouvinte in quem_ouve(tipo))
            if tipo in historia.por_enviar and not (tratado or falhas):
                linhas.extend(self.nota(historia.pedido, quem_publica(tipo),
                                        f"na caixa de saída: {tipo}"))
                return
            leva_motivo = EVENTOS[tipo][2] == "motivo"
            dados = {"motivo": historia.motivos.get(tipo) or NA_MENSAGEM} if leva_motivo else {}
            linhas.extend(self.evento(tipo, historia.pedido, dados))
            for ouvinte, motivo in falhas:
                linhas.extend(self.nota(historia.pedido, ouvinte, f"falhou: {motivo}"))

        for servico, tratou, publicou in historia.passos:
            if tratou and tratou not in ditos:
                contar(tratou)  # ninguém o tem na caixa de saída: foi publicado à mão
            if tratou and not publicou:
                linhas += self.nota(historia.pedido, servico, "nada a fazer: já tinha respondido")
            for tipo in publicou:
                contar(tipo)
        for tipo in [tipo for tipo in historia.eventos if tipo not in ditos]:
            contar(tipo)
        return linhas


def _resumo(recebida) -> tuple[str, str, dict] | None:
    tipo = recebida.propriedades.get("type")
    try:
        dados = ler_json(recebida.corpo)
        if tipo in EVENTOS and isinstance(dados["pedido"], str):
            return tipo, dados["pedido"], dados
    except (ValueError, KeyError, TypeError):
        pass
    return None


def _cor(tipo: str) -> str | None:
    if tipo in COMPENSACOES:
        return "roxo"
    if tipo.endswith((".recusado", ".cancelado", ".cancelamento_solicitado")):
        return "vermelho"
    return "verde" if tipo == "pedido.concluido" else None
