"""O que dá errado e uma pessoa pode resolver: uma linha em português, com o que fazer.

Não sabe de tela nenhuma: quem guarda dados ou conversa com o broker levanta Falha, e quem
está na linha de comando a mostra.
"""

import re


class Falha(Exception):
    """Algo que a pessoa pode entender e resolver; vira uma linha, nunca um traceback.

    mensagem: o que houve e o que fazer. codigo: o status de saída do processo
    (1: a promessa não foi cumprida; 2: uso, arquivo ou ambiente errado).
    """

    def __init__(self, mensagem: str, codigo: int = 1):
        super().__init__(mensagem)
        self.codigo = codigo


CONSELHOS = (  # o que se acha no que o SQLite ou o sistema disse, e o que isso quer dizer
    ("not a database", "não é um banco SQLite: tire o arquivo dali ou recomece com --limpar"),
    ("STRICT", "pede o SQLite 3.37, e este Python traz um mais antigo: use outro Python"),
    ("malformed", "está corrompido: restaure uma cópia ou recomece com --limpar"),
    ("constraint failed|cannot store", "tem dados que alguém mudou, e já não aceita esta gravação: "
                                       "devolva-os (sqlite3), e rode de novo"),
    ("disk I/O", "não pôde ser lido ou gravado: confira o disco"),
    ("locked", "está travado por outro programa: feche o sqlite3 (ou o outro processo) "
               "e tente de novo"),
    ("readonly|Read-only file system", "está somente para leitura: dê permissão de escrita ou use "
                                       "--dados OUTRA_PASTA"),
    ("unable to open|Too many open", "não pôde ser aberto: confira se existe, as permissões dele e "
     "da pasta, e o limite de arquivos abertos (ulimit -n 256), ou use --dados OUTRA_PASTA"),
    ("no such (table|column)", "é de outra versão deste projeto: recomece com --limpar"),
    ("Operation not permitted|Permission denied", "não dá permissão de acesso: é de outro usuário "
     "(de um sudo?) ou protegido; devolva-o (sudo chown -R $(id -un) PASTA) ou use --dados "
     "OUTRA_PASTA"),
    ("Not a directory|File exists", "não é uma pasta: use --dados OUTRA_PASTA"),
    ("No such file", "não existe"),
    ("File name too long", "tem um nome longo demais: use --dados OUTRA_PASTA"),
    ("Is a directory", "é uma pasta, e aqui se esperava um arquivo"),
)


def em_portugues(erro: Exception, onde: str = "") -> Falha:
    """Traduz os erros do SQLite e do sistema operacional que uma pessoa pode causar.

    onde: o arquivo de que se fala, se o erro não disser.
    """
    if isinstance(erro, Falha):
        return erro
    texto = str(erro)
    onde = onde or getattr(erro, "filename", None) or "um arquivo da pasta de dados"
    if re.search("is full|No space left|quota exceeded", texto):
        return Falha(f"disco cheio ao gravar {onde}: libere espaço; "
                     "nada do que já foi dito se perdeu", 1)
    for trecho, conselho in CONSELHOS:
        if re.search(trecho, texto):
            return Falha(f"{onde} {conselho}", 2)
    return Falha(f"{onde}: {texto}", 1)
