"""As opções que todo serviço tem na linha de comando."""

from comum.opcoes import Opcoes


def opcoes_de_servico(descricao: str) -> Opcoes:
    """As opções comuns; quem chama acrescenta as suas, e lê a linha de comando."""
    opcoes = Opcoes(descricao)
    opcoes.dos_dados("microsservicos")
    opcoes.add_argument("--sem-eventos", action="store_true",
                        help="não mostra uma linha por evento")
    opcoes.devagar()
    opcoes.add_argument("--republicar", metavar="ID",
                        help="publica de novo o que este serviço já publicou do pedido ID, e "
                             "fica ouvindo")
    return opcoes
