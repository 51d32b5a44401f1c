"""--devagar: o serviço para onde uma turma quer vê-lo parado, e diz o que se perde com ele ali."""

import time

from comum.encerramento import Fim
from comum.tela import curto, dizer, visivel
from terminal.orfao import morrer_com_o_lancador


class Devagar:
    """Espera `segundos` em dois pontos do caminho de um lote; com zero, não espera.

    nome: o do serviço. fim: se alguém pediu o fim deste lote.
    """

    fim = Fim()

    def __init__(self, nome: str, segundos: float):
        self.nome, self.segundos = nome, segundos

    def com_o_lote_em_maos(self, canal, recebidas: list) -> None:
        """Entre receber e tratar: nada foi gravado, e nada recebeu ack."""
        if self.segundos and recebidas:
            primeira = recebidas[0].propriedades
            resto = f" (e mais {len(recebidas) - 1})" if len(recebidas) > 1 else ""
            self._esperar(canal, f"em mãos: {curto(str(primeira.get('correlation_id')), 8)} "
                                 f"{primeira.get('type')}{resto}; morto agora, volta à fila")

    def antes_de_publicar(self, canal, recebidas: list, eventos: list) -> None:
        """Entre o COMMIT e a publicação: gravado, e ninguém mais sabe."""
        if self.segundos and recebidas:
            tipos = ", ".join(dict.fromkeys(evento[1] for evento in eventos)) or "nada"
            self._esperar(canal, f"COMMIT feito, por publicar {tipos}: está na caixa de saída")

    def _esperar(self, canal, texto: str) -> None:
        """Espera andando com a conexão: parado, o broker a daria por morta (heartbeat)."""
        dizer(visivel(f"{self.nome:10} {texto}"), recuo=11)
        ate = time.monotonic() + self.segundos
        while (falta := ate - time.monotonic()) > 0:
            morrer_com_o_lancador()
            if self.fim.sinal:  # parar aqui não custa nada a ninguém
                raise KeyboardInterrupt
            canal.andar(min(falta, 0.2))

