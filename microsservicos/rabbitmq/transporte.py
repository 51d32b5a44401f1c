"""O transporte que junta: o que se escreve entre dois passos sai num `send` só.

O pika manda cada mensagem em três pedaços (método, cabeçalho, corpo), e cada pedaço é uma chamada
ao sistema; num lote de duzentas, elas custam mais que todo o resto. Aqui ficam à espera do passo
seguinte, que começa por mandá-los. Só o pika sabe o que há neles, e é dele a espera se não couberem
na rede. Tudo o que se usa é público: a interface AbstractIOServices, que o SelectConnection recebe.
"""

from __future__ import annotations

from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter


class Transporte:
    """O do pika (um AbstractStreamTransport), com uma mesa de saída na frente."""

    def __init__(self, do_pika):
        self.do_pika, self.mesa, self.juntando = do_pika, [], False

    def write(self, data: bytes) -> None:
        if self.juntando:
            self.mesa.append(data)
        else:
            self.do_pika.write(data)

    def mandar(self) -> None:
        """Manda o que está na mesa; daqui em diante, até juntar(), nada espera."""
        self.juntando = False
        if self.mesa:
            tudo, self.mesa = b"".join(self.mesa), []
            self.do_pika.write(tudo)

    def juntar(self) -> None:
        self.juntando = True

    def __getattr__(self, nome: str):
        return getattr(self.do_pika, nome)  # o resto da interface, que muda com a versão do pika


class Servicos(SelectorIOServicesAdapter):
    """O que o pika pede ao laço, com o nosso transporte em cada conexão que ele abre."""

    def __init__(self, laco: IOLoop):
        super().__init__(laco)
        self.transporte: Transporte | None = None

    def create_streaming_connection(self, protocol_factory, sock, on_done, ssl_context=None,
                                    server_hostname=None):
        def fabricar():
            protocolo = protocol_factory()
            do_pika = protocolo.connection_made
            protocolo.connection_made = lambda transporte: do_pika(self._nosso(transporte))
            return protocolo
        return super().create_streaming_connection(fabricar, sock, on_done, ssl_context,
                                                   server_hostname)

    def _nosso(self, transporte) -> Transporte:
        self.transporte = Transporte(transporte)
        return self.transporte
