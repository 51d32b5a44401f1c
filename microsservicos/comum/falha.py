"""O que dá errado e uma pessoa pode resolver: uma linha em português, com o que fazer.

Não sabe de tela nenhuma: quem guarda dados ou conversa com o broker levanta Falha, e quem
está na linha de comando a mostra.
"""

from __future__ import annotations

import errno


class Falha(Exception):
    """Algo que a pessoa pode entender e resolver; vira uma linha, nunca um traceback.

    mensagem: o que houve e o que fazer. codigo: o status de saída do processo
    (1: a promessa não foi cumprida; 2: uso, arquivo ou ambiente errado).
    """

    def __init__(self, mensagem: str, codigo: int = 1):
        super().__init__(mensagem)
        self.codigo = codigo


def em_portugues(erro: Exception, onde: str = "") -> Falha:
    """Traduz os erros do SQLite e do sistema operacional que uma pessoa pode causar."""
    if isinstance(erro, Falha):
        return erro
    texto, onde = str(erro), onde or getattr(erro, "filename", None) or "um arquivo da pasta de dados"
    if "is full" in texto or getattr(erro, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return Falha(f"disco cheio ao gravar {onde}: libere espaço; nada do que já foi dito se perdeu", 1)
    for trecho, conselho in (
        ("not a database", "não é um banco SQLite: tire o arquivo dali ou recomece com --limpar"),
        ("malformed", "está corrompido: restaure uma cópia ou recomece com --limpar"),
        ("was moved", "foi trocado ou apagado com o programa no ar: devolva-o, ou encerre o programa antes de pôr outro"),
        ("disk I/O", "não pôde ser lido ou gravado: confira o disco"),
        ("locked", "está travado por outro programa: feche o sqlite3 (ou o outro processo) e tente de novo"),
        ("readonly", "está somente para leitura: dê permissão de escrita ou use --dados OUTRA_PASTA"),
        ("unable to open", "não pôde ser aberto: confira se existe, e as permissões, ou use --dados OUTRA_PASTA"),
        ("no such table", "é de outra versão deste projeto: recomece com --limpar"),
        ("no such column", "é de outra versão deste projeto: recomece com --limpar"),
        ("Permission denied", "não dá permissão de acesso: mude as permissões ou use --dados OUTRA_PASTA"),
        ("Read-only file system", "está num disco somente para leitura: use --dados OUTRA_PASTA"),
        ("Not a directory", "não é uma pasta: use --dados OUTRA_PASTA"),
        ("File exists", "existe e não é uma pasta: use --dados OUTRA_PASTA"),
        ("No such file", "não existe"),
        ("File name too long", "tem um nome longo demais: use --dados OUTRA_PASTA"),
        ("Is a directory", "é uma pasta, e aqui se esperava um arquivo"),
    ):
        if trecho in texto:
            return Falha(f"{onde} {conselho}", 2)
    return Falha(f"{onde}: {texto}", 1)
