"""Um serviço no terminal dele: as opções que todos têm, e o Ctrl-C que o encerra."""

from __future__ import annotations

from comum.opcoes import Opcoes
from comum.tela import dizer
from servico import Servico


def opcoes_de_servico(descricao: str) -> Opcoes:
    """As opções que todo serviço tem."""
    opcoes = Opcoes(descricao)
    opcoes.dos_dados("microsservicos")
    opcoes.add_argument("--sem-eventos", action="store_true",
                        help="não mostra uma linha por evento")
    opcoes.add_argument("--criar-banco", action="store_true",
                        help="só cria o banco deste serviço, se ainda não existe, e sai")
    return opcoes


def ouvir(nome: str, tabelas: str, ouve: dict, descricao: str) -> int:
    """O `main` de um serviço que só ouve."""
    escolha = opcoes_de_servico(descricao).parse_args()
    servico = Servico(nome, tabelas, ouve, escolha.dados, not escolha.sem_eventos)
    return 0 if escolha.criar_banco else atender(servico)


def atender(servico: Servico) -> int:
    """Roda o serviço até Ctrl-C; o status de saída."""
    try:
        servico.rodar()
    except KeyboardInterrupt:
        dizer(f"{servico.nome}: encerrado")
    return 0
