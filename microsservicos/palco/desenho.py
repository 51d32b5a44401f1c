"""O desenho da saga, na tela e no diagrama: um evento que sai de uma raia e chega a outra.

Quem desenha só assiste: tira de cada mensagem o tipo e o pedido, e a tabela da
coreografia diz de onde ela vem e para onde vai.
"""

from __future__ import annotations

from coreografia import COMPENSACOES, EVENTOS, SERVICOS
from comum.diagrama import Diagrama
from comum.loja import ler_json
from comum.raias import Raias
from comum.tela import pintar
from rabbitmq.mensagem import MensagemInvalida

NOMES = [servico.capitalize() for servico in SERVICOS]
RAIAS = Raias(NOMES)


def passos(tipo: str, dados: dict) -> list[tuple]:
    """Um evento em raias, [(de, para, texto, traço)]: uma seta por ouvinte, ou uma nota (para None) se não há."""
    de, ouvintes, _ = EVENTOS[tipo]
    if not ouvintes:
        motivo = f": {dados['motivo']}" if "motivo" in dados else ""
        return [(de.capitalize(), None, tipo + motivo, None)]
    recusa = [(de.capitalize(), None, f"recusa: {dados.get('motivo')}", None)] if tipo.endswith(".recusado") else []
    traco = "═" if tipo in COMPENSACOES else "─"
    return recusa + [(de.capitalize(), para.capitalize(), tipo, traco) for para in ouvintes]


def desenhar(tipo: str, pedido: str, dados: dict) -> list[str]:
    """As linhas de um evento na tela."""
    return [pintar(RAIAS.seta(pedido, de, para, texto, traco) if para else RAIAS.nota(pedido, de, texto), _cor(tipo))
            for de, para, texto, traco in passos(tipo, dados)]


def anotar(diagrama: Diagrama, tipo: str, pedido: str, dados: dict) -> None:
    """O mesmo evento no diagrama."""
    for de, para, texto, traco in passos(tipo, dados):
        diagrama.seta(pedido, de, para, texto, traco) if para else diagrama.nota(pedido, de, texto)


def desenhar_recebidas(recebidas: list, diagrama: Diagrama | None = None) -> list[str]:
    """As linhas das mensagens que a plateia recebeu; o que não é da coreografia não se desenha.

    diagrama: o arquivo em que elas também são anotadas, se houver um.
    """
    linhas = []
    for recebida in recebidas:
        try:
            evento = _resumo(recebida)
        except MensagemInvalida:
            linhas.append(pintar("… passou uma mensagem que a coreografia não conhece …", "fraco"))
            continue
        linhas += desenhar(*evento)
        if diagrama:
            anotar(diagrama, *evento)
    return linhas


def _resumo(recebida) -> tuple[str, str, dict]:
    tipo = recebida.propriedades.get("type")
    try:
        dados = ler_json(recebida.corpo)
        if tipo in EVENTOS and isinstance(dados["pedido"], str):
            return tipo, dados["pedido"], dados
    except (ValueError, KeyError, TypeError):
        pass
    raise MensagemInvalida("não é um evento da coreografia")


def _cor(tipo: str) -> str | None:
    if tipo in COMPENSACOES:
        return "roxo"
    if tipo.endswith((".recusado", ".cancelado", ".cancelamento_solicitado")):
        return "vermelho"
    return "verde" if tipo == "pedido.concluido" else None
