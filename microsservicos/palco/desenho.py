"""O desenho da saga, na tela e no diagrama: um evento que sai de uma raia e chega a outra.

Quem desenha só assiste: tira de cada mensagem o tipo e o pedido, e a tabela da
coreografia diz de onde ela vem e para onde vai.
"""

from __future__ import annotations

import textwrap

from comum.diagrama import Diagrama
from comum.loja import ler_json
from comum.raias import Raias
from comum.tela import largura, pintar, visivel
from coreografia import COMPENSACOES, EVENTOS, SERVICOS, quem_ouve, quem_publica
from rabbitmq.mensagem import MensagemInvalida

NOMES = [servico.capitalize() for servico in SERVICOS]
RAIAS = Raias(NOMES)
NA_MENSAGEM = "(o motivo está na mensagem)"


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


def desenhar(tipo: str, pedido: str, dados: dict) -> list[str]:
    """As linhas de um evento na tela."""
    return [pintar(RAIAS.seta(pedido, de, para, texto, traco) if para else
                   RAIAS.nota(pedido, de, texto), _cor(tipo))
            for de, para, texto, traco in passos(tipo, dados)]


def anotar(diagrama: Diagrama, tipo: str, pedido: str, dados: dict) -> None:
    """O mesmo evento no diagrama."""
    for de, para, texto, traco in passos(tipo, dados):
        diagrama.seta(pedido, de, para, texto, traco) if para else diagrama.nota(pedido, de, texto)


def em_colunas(comeco: str, texto: str) -> str:
    """O texto depois de `comeco`, em quantas linhas precisar, todas na mesma coluna."""
    return "\n".join(textwrap.wrap(visivel(texto), largura(), initial_indent=comeco,
                                   subsequent_indent=" " * len(comeco)))


def em_linhas(comando: str) -> str:
    """O comando, cortado antes de uma opção onde não cabe, como o shell aceita."""
    unido = comando.replace(" ", "\xa0").replace("\xa0--", " --")
    linhas = textwrap.wrap(unido, largura() - 8, break_long_words=False, break_on_hyphens=False)
    return "      " + " \\\n        ".join(linhas).replace("\xa0", " ")


def contar(historia, diagrama: Diagrama | None = None) -> list[str]:
    """O que já aconteceu com um pedido (uma Historia), nas raias que a tela mostra ao vivo.

    O que parou é uma nota onde parou. diagrama: onde mais anotar os passos, se houver um.
    """
    linhas = []

    def nota(servico: str, texto: str) -> None:
        linhas.append(RAIAS.nota(historia.pedido, servico.capitalize(), texto))
        if diagrama:
            diagrama.nota(historia.pedido, servico.capitalize(), texto)

    for tipo in historia.eventos:
        tratado = any((ouvinte, tipo) in historia.tratou for ouvinte in quem_ouve(tipo))
        falhou = any((ouvinte, tipo) in historia.falhas for ouvinte in quem_ouve(tipo))
        if tipo in historia.saida and not (tratado or falhou):
            nota(quem_publica(tipo), f"na caixa de saída: {tipo}")
            continue
        leva_motivo = EVENTOS[tipo][2] == "motivo"
        dados = {"motivo": historia.motivos[tipo] or NA_MENSAGEM} if leva_motivo else {}
        linhas += desenhar(tipo, historia.pedido, dados)
        if diagrama:
            anotar(diagrama, tipo, historia.pedido, dados)
        for ouvinte in quem_ouve(tipo):
            if historia.foi_em_vao(tipo):
                nota(ouvinte, "nada a fazer: já tinha respondido")
            elif (ouvinte, tipo) in historia.falhas:
                nota(ouvinte, f"falhou: {historia.falhas[ouvinte, tipo][1]}")
    return linhas


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
