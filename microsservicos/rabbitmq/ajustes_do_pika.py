"""O que o pika não faz, e aqui se faz por ele: juntar o que se manda, e ler propriedades ilegíveis.

Juntar: o pika manda cada mensagem em três pedaços (método, cabeçalho, corpo), e cada pedaço é uma
chamada ao sistema; num lote de duzentas, elas custam mais que todo o resto: a saga foi de 3.200 a
4.500 pedidos por segundo. Aqui, o que se escreve entre dois passos do laço sai num `send` só. Só o
pika sabe o que há nos pedaços, e é dele a espera se não couberem na rede. Tudo o que se usa é
público: a interface AbstractIOServices, que o SelectConnection recebe.

Ler: o pika derruba a conexão inteira quando não sabe ler as propriedades de uma só mensagem (uma
data no ano 36812, milhares de tabelas umas dentro das outras); a mensagem volta à fila, e a conexão
seguinte cai do mesmo jeito, para sempre. Não há uma maneira pública de evitar isso: a classe das
propriedades de uma mensagem que chega vem da tabela `pika.spec.props`. É o único lugar em que se
mexe por dentro do pika, e `test_o_pika_ainda_precisa_de_ajuda` falha no dia em que não for preciso.
"""

import pika
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter


class Transporte:
    """O do pika (um AbstractStreamTransport), com o que falta mandar na frente."""

    def __init__(self, do_pika, laco: IOLoop):
        self.do_pika, self.laco, self.a_mandar = do_pika, laco, []

    def write(self, data: bytes) -> None:
        if not self.a_mandar:
            self.laco.call_later(0, self.mandar)  # a primeira coisa do próximo passo
        self.a_mandar.append(data)

    def mandar(self) -> None:
        tudo, self.a_mandar = b"".join(self.a_mandar), []
        self.do_pika.write(tudo)

    def __getattr__(self, nome: str):
        return getattr(self.do_pika, nome)  # o resto da interface, que muda com a versão do pika


class Servicos(SelectorIOServicesAdapter):
    """O que o pika pede ao laço, com o nosso transporte em cada conexão que ele abre."""

    def create_streaming_connection(self, protocol_factory, **resto):
        def fabricar():
            protocolo = protocol_factory()
            conectar = protocolo.connection_made
            protocolo.connection_made = lambda do_pika: conectar(
                Transporte(do_pika, self.get_native_ioloop()))
            return protocolo
        return super().create_streaming_connection(fabricar, **resto)


class Propriedades(pika.BasicProperties):
    """As de uma mensagem que chega, por piores que sejam: lê o que der, e diz quando não deu."""

    def decode(self, encoded, offset=0):
        try:
            return super().decode(encoded, offset)
        except Exception:
            self.__init__()
            self.type = "(propriedades ilegíveis)"
            return self


pika.spec.props[pika.BasicProperties.INDEX] = Propriedades
