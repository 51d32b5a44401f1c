"""O desenho da saga na tela: um evento que sai de uma raia e chega a outra.

Quem desenha só assiste: tira de cada mensagem o tipo e o pedido, e a tabela da
coreografia diz de onde ela vem e para onde vai.
"""

from __future__ import annotations

from coreografia import COMPENSACOES, EVENTOS, SERVICOS, MensagemInvalida
from loja import ler_json
from tela import Raias, pintar

RAIAS = Raias([servico.capitalize() for servico in SERVICOS])


def desenhar(tipo: str, pedido: str, dados: dict) -> list[str]:
    """As linhas de um evento: uma seta por ouvinte; sem ouvinte, uma nota na raia de quem publicou."""
    de, ouvintes, _ = EVENTOS[tipo]
    cor = _cor(tipo)
    if not ouvintes:
        motivo = f": {dados['motivo']}" if "motivo" in dados else ""
        return [pintar(RAIAS.nota(pedido, de.capitalize(), tipo + motivo), cor)]
    traco = "═" if tipo in COMPENSACOES else "─"
    return [pintar(RAIAS.seta(pedido, de.capitalize(), para.capitalize(), tipo, traco), cor) for para in ouvintes]


def desenhar_recebidas(recebidas: list) -> list[str]:
    """As linhas das mensagens que a plateia recebeu; o que não é da coreografia não se desenha."""
    linhas = []
    for recebida in recebidas:
        try:
            linhas += desenhar(*_resumo(recebida))
        except MensagemInvalida:
            linhas.append(pintar("… passou uma mensagem que a coreografia não conhece …", "fraco"))
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
        return "amarelo"
    if tipo.endswith((".recusado", ".cancelado", ".cancelamento_solicitado")):
        return "vermelho"
    return "verde" if tipo == "pedido.concluido" else None
