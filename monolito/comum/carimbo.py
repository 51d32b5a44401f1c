"""O que um banco diz de si: de que versão do projeto ele é, e de que loja.

São dois números do cabeçalho do arquivo, escritos quando ele é criado, antes de ele ter um WAL
(manual do SQLite, "PRAGMA user_version" e "PRAGMA application_id"). A loja é a da pasta em que ele
está, que a diz no arquivo `.loja` (comum/identidade.py).
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from comum.falha import Falha

VERSAO = 3
LOJA = ".loja"


def escrever(loja: str | None) -> str:
    """O SQL que carimba um banco. loja: oito algarismos hexadecimais; None, de nenhuma."""
    return f"PRAGMA application_id={int(loja or '0', 16)}; PRAGMA user_version={VERSAO}"


def ler(banco: sqlite3.Connection, anexado: str = "main") -> tuple[int, str | None]:
    """(versão, loja); 0 e None se ninguém as escreveu."""
    versao, loja = (banco.execute(f"PRAGMA {anexado}.{qual}").fetchone()[0]
                    for qual in ("user_version", "application_id"))
    return versao, f"{loja:08x}" if loja else None


def do_arquivo(arquivo: Path) -> tuple[int, str | None]:
    """O mesmo; -1 e None se o arquivo não existe, ou não é um banco.

    Com immutable=1 o SQLite não pega trava, não cria arquivo nenhum e não olha o WAL; mas, se um
    disco cheio interrompeu a ida do WAL para o arquivo, só com ele o arquivo faz sentido.
    """
    for modo in ("mode=ro&immutable=1", "mode=ro"):
        uri = f"{arquivo.resolve().as_uri()}?{modo}"
        with suppress(sqlite3.Error), closing(sqlite3.connect(uri, uri=True)) as banco:
            return ler(banco)
    return -1, None


def recusar_outra_versao(versao: int, caminho: Path, loja: str | None = None) -> None:
    """Levanta Falha (código 2) se o banco não é da versão deste programa.

    loja: a da pasta, para o conselho.
    """
    if versao == 0:
        raise Falha(f"{caminho} não diz de que versão é: ou é de outro programa (use --dados "
                    "OUTRA_PASTA), ou está vazio (apague-o), ou foi refeito de um .dump, que perde "
                    f"isso (sqlite3 '{caminho}' '{escrever(loja)}')", 2)
    if versao != VERSAO:
        raise Falha(f"{caminho} é da versão {versao} do projeto, e este programa é da versão "
                    f"{VERSAO}: use o programa daquela versão, ou recomece com --limpar", 2)


def recusar_outra_loja(caminho: Path, dele: str | None, loja: str | None) -> None:
    """Levanta Falha (código 2) se o banco não é da loja; loja None: de nenhuma em particular.

    O .loja é lido outra vez, agora que um --limpar já nos vê: quem limpa o troca e só depois
    procura quem usa os bancos. Ou ele nos acha, ou nós achamos aqui a identidade nova.
    """
    arquivo = caminho.with_name(LOJA)
    da_pasta = arquivo.read_text().strip() if loja and arquivo.exists() else loja
    if loja and {dele, da_pasta} != {loja}:
        raise Falha(f"{caminho} é da loja {dele}, e a pasta dele é da {da_pasta}: se um --limpar "
                    "foi interrompido, rode-o de novo; se não, ponha cada banco na pasta da sua "
                    "loja", 2)
