"""O terminal de uma pessoa: o que ela lê nele, e como ela pede o fim (Ctrl-C, fechar a janela).

Nada sai mais largo que o terminal (80 colunas num pipe), e a linha que não cabe se parte entre
palavras. A cor é um enfeite: nada é dito só por ela, e todas se leem em fundo claro e em fundo
escuro (por isso não há amarelo nem azul). Onde o terminal não conhece um caractere, sai o mais
parecido que ele tem, em vez de um erro.

O pedido de fim vira KeyboardInterrupt na linha em que o programa estiver. No meio de um lote nada
se perderia, mas o trabalho seria repetido: ali ele só fica anotado, e quem trabalha o vê ao acabar.
"""

import codecs
import errno
import os
import re
import shutil
import signal
import sqlite3
import sys
import textwrap
import unicodedata
from contextlib import contextmanager
from typing import Iterator

from comum.falha import Falha, em_portugues

CORES = {"verde": "32", "vermelho": "31", "roxo": "35", "fraco": "2", "forte": "1"}
DE_COR = re.compile(r"\x1b\[\d+m")
POUCOS = 4  # pedidos que ainda se leem um por um, na tela ou num desenho; se são mais, só quantos
SEM_UNICODE = dict(zip("─═│┃┊├┤╞╡▶◀●○…·█░«»—×", "-=|H:||||><*o~-#.\"\"-x"))


def executar(principal) -> None:
    """Roda `principal()` e encerra o processo com um status, sem traceback previsível."""
    try:
        encerrar_uma_vez_so()
        preparar_saida()
        status = principal() or 0
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        # Quem lia (um `| head`) foi embora: não há mais a quem falar. Quem promete um veredito
        # trata disto antes de chegar aqui: para ele, 0 diria que tudo foi visto e conferido.
        status = 0
    except (Falha, sqlite3.Error, OSError) as erro:
        erro = em_portugues(erro)
        alertar(str(erro))
        status = erro.codigo
    sys.exit(status)


def preparar_saida() -> None:
    """Faz a saída sobreviver a qualquer codificação, e a ter sido fechada (`>&-`).

    No lugar de uma das três que falta fica o /dev/null, antes que outro arquivo o tome.
    """
    for nome, modo in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, nome) is None:  # o sistema dá o menor número livre, que é o que falta
            setattr(sys, nome, open(os.open(os.devnull, os.O_RDWR), modo, encoding="utf-8",
                                    closefd=False))
    codecs.register_error("aproximar", _aproximar)
    for saida in (sys.stdout, sys.stderr):
        if hasattr(saida, "reconfigure"):
            saida.reconfigure(errors="aproximar", line_buffering=True)


def _aproximar(erro: UnicodeEncodeError):
    """Troca o que a codificação não tem pelo caractere mais parecido, um por um."""
    def parecido(c: str) -> str:
        sem_acento = unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode()
        return SEM_UNICODE.get(c) or sem_acento[:1] or "?"
    return "".join(map(parecido, erro.object[erro.start:erro.end])), erro.end


def largura() -> int:
    """Quantas colunas tem a tela, agora: a janela pode mudar de tamanho. COLUMNS manda mais."""
    return max(shutil.get_terminal_size((80, 24)).columns, 20)


def em_linhas(texto: str, recuo: int | None = None) -> list[str]:
    """O texto em linhas que cabem na tela, partido entre palavras.

    recuo: colunas em branco no começo das linhas de continuação; None, as da primeira.
    """
    linhas: list[str] = []
    for linha in texto.split("\n"):
        margem = len(linha) - len(linha.lstrip()) if recuo is None else recuo
        linhas += [linha] if len(DE_COR.sub("", linha)) <= largura() else textwrap.wrap(
            linha, largura(), subsequent_indent=" " * min(margem, largura() // 2),
            break_long_words=False, break_on_hyphens=False)
    return linhas


def pintar(texto: str, cor: str | None, saida=None) -> str:
    colorida = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    if not (cor and colorida and (saida or sys.stdout).isatty()):
        return texto
    return f"\x1b[{CORES[cor]}m{texto}\x1b[0m"


def visivel(texto: str) -> str:
    """Tira do texto os caracteres de controle: o que vem de fora não comanda o terminal."""
    return "".join(c if c.isprintable() else "?" for c in texto)


def dizer(texto: str = "", cor: str | None = None, recuo: int | None = None,
          inteira: bool = False, saida=None) -> None:
    """Um texto na saída, apagando antes a barra de progresso que houver.

    recuo: como em em_linhas(). inteira: não se parte, porque alguém vai copiá-la.
    saida: sys.stdout, se não se diz outra.
    """
    saida = saida or sys.stdout
    linhas = texto.split("\n") if inteira else em_linhas(texto, recuo)
    Progresso.limpar()
    _escrever("".join(pintar(linha, cor, saida) + "\n" for linha in linhas), saida)


def alertar(texto: str) -> None:
    """Uma linha na saída de erros: o que houve e o que fazer."""
    dizer(visivel(texto), "vermelho", saida=sys.stderr)


def _escrever(texto: str, saida) -> None:
    """Levanta BrokenPipeError se quem lia foi embora; com o terminal fechado, cala-se."""
    try:
        saida.write(texto)
        saida.flush()
    except OSError as erro:
        with open(os.devnull, "w") as nada:  # daqui em diante, o que se disser nela vai para lá
            os.dup2(nada.fileno(), saida.fileno())
        if erro.errno != errno.EIO:
            erro.filename = "a saída deste programa"
            raise


def reais(centavos: int) -> str:
    """5000 -> 'R$ 50,00'; o dinheiro é um inteiro de centavos em todo o resto do projeto."""
    inteiro = f"{abs(centavos) // 100:,}".replace(",", ".")
    return f"{'-' if centavos < 0 else ''}R$ {inteiro},{abs(centavos) % 100:02d}"


def curto(texto: str, largura: int = 12) -> str:
    """Um id, ou um nome, em até `largura` colunas; o começo de um UUID basta para reconhecê-lo."""
    return texto if len(texto) <= largura else texto[: largura - 1] + "…"


class Progresso:
    """Uma barra que se redesenha no terminal; num pipe, nada."""

    _na_tela = False

    def __init__(self, total: int, texto: str):
        self.total, self.texto = total, texto

    def mostrar(self, feitos: int, resto: str = "") -> None:
        """feitos: quantos dos `total` já terminaram. resto: o que mais dizer na mesma linha."""
        if not sys.stdout.isatty():
            return
        # Uma coluna a menos: escrever na última já passa à linha seguinte em alguns terminais.
        cabe, dito = largura() - 1, f" {feitos}/{self.total} {resto}".rstrip()
        barra = max(0, min(24, cabe - len(self.texto) - len(dito) - 1))
        cheio = barra * feitos // max(self.total, 1)
        linha = f"{self.texto} {'█' * cheio}{'░' * (barra - cheio)}{dito}"
        _escrever("\r" + linha[:cabe].ljust(cabe), sys.stdout)
        Progresso._na_tela = True

    @staticmethod
    def limpar() -> None:
        """Apaga a barra que houver."""
        if Progresso._na_tela:
            Progresso._na_tela = False
            _escrever("\r" + " " * (largura() - 1) + "\r", sys.stdout)


# --- o pedido de fim ---

class Fim:
    """sinal: o que pediu o fim deste programa; None, nenhum."""

    sinal: int | None = None


@contextmanager
def adiando_o_fim() -> Iterator[Fim]:
    """Dentro do bloco, um pedido de fim só fica anotado no Fim que ele dá; o mesmo outra vez, não.

    No terminal de orquestracao.py um Ctrl-C chega a todos, e o SIGTERM com que ele encerra os
    serviços vem logo depois: não é insistência de ninguém.
    """
    fim = Fim()

    def anotar(sinal, quadro):
        if fim.sinal == sinal:
            raise KeyboardInterrupt
        fim.sinal = fim.sinal or sinal
    antes = {sinal: signal.signal(sinal, anotar) for sinal in sinais_de_fim()}
    try:
        yield fim
    finally:
        for sinal, tratador in antes.items():
            signal.signal(sinal, tratador)


def encerrar_uma_vez_so() -> None:
    """O primeiro pedido de fim interrompe o programa; outro não corta a limpeza."""
    sinais = sinais_de_fim()

    def ao_chegar(sinal, quadro):
        for um in sinais:
            signal.signal(um, signal.SIG_IGN)
        raise KeyboardInterrupt
    for sinal in sinais:
        signal.signal(sinal, ao_chegar)


def sinais_de_fim() -> list[int]:
    """Os que interrompem este programa: não os que o nohup, por exemplo, mandou ignorar."""
    todos = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [sinal for sinal in todos if signal.getsignal(sinal) != signal.SIG_IGN]
