"""Propriedades que o pika não consegue ler: o único lugar em que se mexe por dentro dele.

O pika derruba a conexão inteira quando não sabe ler as propriedades de uma só mensagem (uma data
no ano 36812, milhares de tabelas umas dentro das outras); a mensagem volta à fila, e a conexão
seguinte cai do mesmo jeito, para sempre. Não há uma maneira pública de evitar isso: a classe das
propriedades de uma mensagem que chega vem da tabela `pika.spec.props`. Aqui ela é trocada por uma
que lê o que der, e diz quando não deu; só a mensagem é que não se entende.

`test_o_pika_ainda_precisa_de_ajuda` falha no dia em que o pika deixar de precisar disto.
"""

import pika


class Propriedades(pika.BasicProperties):
    """As de uma mensagem que chega, por piores que sejam."""

    def decode(self, encoded, offset=0):
        try:
            return super().decode(encoded, offset)
        except Exception:
            self.__init__()
            self.type = "(propriedades ilegíveis)"
            return self


pika.spec.props[pika.BasicProperties.INDEX] = Propriedades
