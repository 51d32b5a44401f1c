"""A identidade de uma loja: de quem são os bancos de uma pasta, e como recomeçar com outra.

São oito algarismos hexadecimais, no arquivo `.loja` da pasta e no carimbo de cada banco. Uma pasta
com bancos de mais de uma loja não é aberta. Por isso `--limpar` começa por trocar a identidade, num
passo só: dali em diante, o que sobrar da loja antiga é de outra, morra quem limpa onde morrer. Em
várias máquinas, o `.loja` é copiado para a pasta de cada uma.
"""

import os
import re
import uuid
from pathlib import Path
from typing import Iterator

from comum.banco import em_uso, nascendo
from comum.carimbo import LOJA, do_arquivo, recusar_outra_loja
from comum.falha import Falha
from comum.loja import DONOS


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


def conferir_sem_uso(pasta: Path) -> None:
    """Levanta Falha (código 2) se alguém usa algum dos nossos bancos."""
    if any(em_uso(arquivo) for arquivo, _ in _bancos(pasta)):
        raise Falha(f"há programas usando {pasta}: encerre-os (Ctrl-C em cada terminal) "
                    "antes de --limpar", 2)


def trocar_identidade(pasta: Path) -> str:
    """O começo de uma limpeza, num passo só: a loja que estava ali já não existe; devolve a nova.

    Levanta Falha (código 2) se alguém usa os bancos. Quem abrir um deles enquanto isso vê a
    identidade nova (comum/carimbo.py), ou o arquivo sumir (comum/arquivos.py).
    """
    conferir_sem_uso(pasta)
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


def limpar(pasta: Path) -> None:
    """A limpeza de quem só tem bancos."""
    trocar_identidade(pasta)
    apagar_bancos(pasta)


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
        versao, loja = do_arquivo(arquivo)
        if versao and arquivo.exists():
            yield arquivo, loja


def _sortear() -> str:
    # Zero é o application_id de quem não tem nenhum, e ele é um inteiro com sinal.
    return f"{uuid.uuid4().int >> 97 | 1:08x}"
