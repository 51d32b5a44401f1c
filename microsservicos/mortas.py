"""As filas de mensagens mortas: ver o que há nelas e por quê, e mandar de volta.

    python microsservicos/mortas.py                      o que há em cada uma
    python microsservicos/mortas.py estoque --reenviar   devolve à fila do estoque

Uma mensagem vai para NOME.mortas quando o serviço não a entende, ou quando falhou nela várias
vezes. Depois de consertada a causa, ela pode passar de novo: se já tiver sido tratada por outro
caminho, a caixa de entrada a reconhece e nada muda.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # o Python já o faz, menos com PYTHONSAFEPATH

from comum.identidade import identidade_se_houver
from comum.opcoes import Opcoes, chaves
from comum.tela import dizer, executar, visivel
from coreografia import SERVICOS
from rabbitmq.mensagens_mortas import ler


def main() -> int:
    opcoes = Opcoes("Mostra as mensagens mortas de cada serviço, e as manda de volta à fila dele.")
    opcoes.dos_dados("microsservicos")
    opcoes.add_argument("servico", nargs="?", metavar="SERVICO", choices=SERVICOS,
                        help=", ".join(SERVICOS) + " (padrão: todos)")
    chaves(opcoes, {"--reenviar": "devolve as mensagens à fila do serviço"})
    opcoes.add_argument("--mensagem", metavar="ID", action="append", default=[],
                        help="só a mensagem com este message_id")
    escolha = opcoes.parse_args()
    servicos = (escolha.servico,) if escolha.servico else SERVICOS
    loja = identidade_se_houver(escolha.dados / "microsservicos")
    mortas = ler(servicos, escolha.mensagem, loja, escolha.reenviar)
    uma = len(mortas) == 1
    if escolha.reenviar:
        dizer("1 mensagem devolvida à fila" if uma else
              f"{len(mortas)} mensagens devolvidas às filas")
        return 1 if escolha.mensagem and not mortas else 0
    for morta in mortas:  # já saíram da rede: quem lê devagar não segura nada de ninguém
        for linha in (f"{morta.servico}.mortas  {str(morta.id)[:64]}  {str(morta.tipo)[:40]}",
                      f"    motivo: {morta.motivo}",
                      f"    corpo:  {morta.comeco}"):
            dizer(visivel(linha))
    if mortas:
        dizer("consertada a causa, --reenviar as devolve às filas; onde cada pedido espera, "
              "quem diz é  python microsservicos/rastro.py --pendentes")
    dizer("1 mensagem morta" if uma else f"{len(mortas)} mensagens mortas")
    return 0


if __name__ == "__main__":
    executar(main)
