"""Um serviço avisa quem o iniciou que está pronto: um byte num pipe que só os dois conhecem.

É um fato, que não muda com as palavras da tela; e quem morre antes fecha o pipe. (A mesma
ideia das "notification fd" do s6 e do sd_notify do systemd.)
"""

from __future__ import annotations

import os
from contextlib import suppress

VARIAVEL = "LOJA_PRONTO"


class PipeDePronto:
    """O lado de quem inicia: dê `opcoes()` ao Popen, depois chame `iniciado()` e `esperar()`."""

    def __init__(self):
        self._leitura, self._escrita = os.pipe()

    def opcoes(self, ambiente: dict[str, str]) -> dict:
        """As opções de subprocess.Popen que levam o pipe ao filho, dentro de `ambiente`."""
        return {"env": {**ambiente, VARIAVEL: str(self._escrita)}, "pass_fds": [self._escrita]}

    def iniciado(self) -> None:
        """O filho tem a ponta dele; esta já não serve, e aberta esconderia a morte dele."""
        os.close(self._escrita)

    def esperar(self) -> bool:
        """True quando o filho disser que está pronto; False se ele acabar antes."""
        try:
            return os.read(self._leitura, 1) == b"1"
        finally:
            os.close(self._leitura)


def avisar_pronto() -> None:
    """O lado de quem foi iniciado, uma vez só; sem ninguém à espera, não faz nada."""
    ponta = os.environ.pop(VARIAVEL, None)
    with suppress(OSError):  # quem esperava já se foi
        if ponta:
            os.write(int(ponta), b"1")
            os.close(int(ponta))
