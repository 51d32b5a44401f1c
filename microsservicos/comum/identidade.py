"""A identidade de uma loja: de quem são os bancos de uma pasta, e como recomeçar com outra.

São oito algarismos hexadecimais, no arquivo `.loja` da pasta e no carimbo de cada banco: dois
números do cabeçalho dele, escritos quando ele é criado, que dizem de que versão do projeto e de
que loja ele é (manual do SQLite, "PRAGMA user_version" e "PRAGMA application_id"). Uma pasta com
bancos de mais de uma loja não é aberta. Por isso `--limpar` começa por trocar a identidade, num
passo só: dali em diante, o que sobrar da loja antiga é de outra, morra quem limpa onde morrer. Em
várias máquinas, o `.loja` é copiado para a pasta de cada uma.
"""

import os
import re
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path
from typing import Iterator

from comum.arquivos import em_uso, nascendo
from comum.falha import Falha
from comum.loja import DONOS

VERSAO = 3
LOJA = ".loja"


# --- o carimbo de um banco ---

def carimbo(loja: str | None) -> str:
    """O SQL que carimba um banco. loja: oito algarismos hexadecimais; None, de nenhuma."""
    return f"PRAGMA application_id={int(loja or '0', 16)}; PRAGMA user_version={VERSAO}"


def ler_carimbo(banco: sqlite3.Connection, anexado: str = "main") -> tuple[int, str | None]:
    """(versão, loja); 0 e None se ninguém as escreveu."""
    versao, loja = (banco.execute(f"PRAGMA {anexado}.{qual}").fetchone()[0]
                    for qual in ("user_version", "application_id"))
    return versao, f"{loja:08x}" if loja else None


def carimbo_do_arquivo(arquivo: Path) -> tuple[int, str | None]:
    """(versão, loja) de um arquivo fechado; -1 e None se não existe, ou não é um banco.

    Com immutable=1 o SQLite não pega trava, não cria arquivo nenhum e não olha o WAL; mas, se um
    disco cheio interrompeu a ida do WAL para o arquivo, só com ele o arquivo faz sentido.
    """
    for modo in ("mode=ro&immutable=1", "mode=ro"):
        uri = f"{arquivo.resolve().as_uri()}?{modo}"
        with suppress(sqlite3.Error), closing(sqlite3.connect(uri, uri=True)) as banco:
            return ler_carimbo(banco)
    return -1, None


def recusar_outra_versao(versao: int, caminho: Path, loja: str | None = None) -> None:
    """Levanta Falha (código 2) se o banco não é da versão deste programa.

    loja: a da pasta, para o conselho.
    """
    if versao == 0:
        raise Falha(f"{caminho} não diz de que versão é: ou é de outro programa (use --dados "
                    "OUTRA_PASTA), ou está vazio (apague-o), ou foi refeito de um .dump, que perde "
                    f"isso (sqlite3 '{caminho}' '{carimbo(loja)}')", 2)
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


# --- a identidade da pasta ---


def identidade(pasta: Path) -> str:
    """A identidade da loja cujos bancos ficam em `pasta`; se ainda não há, é sorteada, uma vez.

    Levanta OSError se não dá para ler ou criar o arquivo, e Falha (código 2) se ele não é isso, ou
    se algum banco é de outra loja.
    """
    pasta.mkdir(mode=0o700, parents=True, exist_ok=True)  # pedidos de clientes: só do dono
    if not (pasta / LOJA).exists():
        ja_ditas = [loja for _, loja in _bancos(pasta) if loja]
        with nascendo(pasta / LOJA) as novo:
            novo.write_text((ja_ditas or [_sortear()])[0] + "\n")
    lida = _no_arquivo(pasta)
    for arquivo, dele in _bancos(pasta):
        recusar_outra_loja(arquivo, dele, dele and lida)
    return lida


def identidade_se_houver(pasta: Path) -> str | None:
    """A identidade da loja, sem criar nada; None se nesta pasta não há loja nenhuma."""
    return identidade(pasta) if (pasta / LOJA).exists() or any(_bancos(pasta)) else None


def lojas_da_pasta(pasta: Path) -> list[str]:
    """As lojas de que ainda há algo aqui: uma; ou duas, se um --limpar morreu no meio."""
    if not (pasta / LOJA).exists():
        identidade(pasta)
    return [*{_no_arquivo(pasta), *(loja for _, loja in _bancos(pasta) if loja)}]


def trocar_identidade(pasta: Path) -> str:
    """O começo de uma limpeza, num passo só: a loja que estava ali já não existe; devolve a nova.

    Levanta Falha (código 2) se alguém usa os bancos. Quem abrir um deles enquanto isso vê a
    identidade nova (recusar_outra_loja), ou o arquivo sumir (comum/arquivos.py).
    """
    if any(em_uso(arquivo) for arquivo, _ in _bancos(pasta)):
        raise Falha(f"há programas usando {pasta}: encerre-os (Ctrl-C em cada terminal) "
                    "antes de --limpar", 2)
    pasta.mkdir(mode=0o700, parents=True, exist_ok=True)
    nova, escrita = _sortear(), pasta / f"{LOJA}.nova"
    escrita.write_text(nova + "\n")
    os.replace(escrita, pasta / LOJA)
    return nova


def apagar_bancos(pasta: Path) -> None:
    """O fim: os nossos bancos que não são da loja do .loja; um novo pode já ter nascido."""
    for arquivo, loja in _bancos(pasta):
        if loja != _no_arquivo(pasta):
            for fim in ("-wal", "-shm", "-journal", ""):  # por último, o que diz de quem são
                arquivo.with_name(arquivo.name + fim).unlink(missing_ok=True)


def _no_arquivo(pasta: Path) -> str:
    """O que o .loja diz."""
    lida = (pasta / LOJA).read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch("[0-7][0-9a-f]{7}", lida):
        raise Falha(f"{pasta / LOJA} não é a identidade de uma loja: apague-o, e ele é refeito "
                    "a partir dos bancos", 2)
    return lida


def _bancos(pasta: Path) -> Iterator[tuple[Path, str | None]]:
    """(banco, a loja que ele diz) dos nossos, pelo nome, mesmo estragados; lido na hora.

    O que outro programa pôs ali com um nome nosso não diz versão nenhuma, e não é nosso.
    """
    for arquivo in (pasta / f"{nome}.db" for nome in (*DONOS, "coordenador")):
        versao, loja = carimbo_do_arquivo(arquivo)
        if versao and arquivo.exists():
            yield arquivo, loja


def _sortear() -> str:
    # Zero é o application_id de quem não tem nenhum, e ele é um inteiro com sinal.
    return f"{uuid.uuid4().int >> 97 | 1:08x}"
