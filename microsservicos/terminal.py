"""O que um serviço é para quem está no terminal dele: as opções, as linhas, as paradas, o fim."""

import os
import time

from comum.opcoes import Opcoes, chaves
from comum.tela import Fim, curto, dizer, visivel
from coreografia import Evento


def opcoes_de_servico(descricao: str) -> Opcoes:
    """As opções que todo serviço tem; quem chama acrescenta as suas, e lê a linha de comando."""
    opcoes = Opcoes(descricao)
    opcoes.dos_dados("microsservicos")
    chaves(opcoes, {"--sem-eventos": "não mostra uma linha por evento"})
    opcoes.devagar()
    opcoes.add_argument("--republicar", metavar="ID", help=(
        "publica de novo o que este serviço já publicou do pedido ID, e fica ouvindo"))
    return opcoes


def morrer_com_o_lancador() -> None:
    """Se orquestracao.py foi morto com kill -9, os serviços que ele iniciou não ficam órfãos.

    Levanta KeyboardInterrupt se era ele o pai deste processo, e já não é.
    """
    pai = str(os.getppid())
    if os.environ.get("LOJA_LANCADOR", pai) != pai:
        raise KeyboardInterrupt


class Terminal:
    """O que um serviço conta, e onde para com --devagar, que é onde uma turma quer vê-lo parado.

    nome: o do serviço. mostrar: se cada evento vira uma linha.
    segundos: quanto dura cada parada; zero, nenhuma. fim: se alguém pediu o fim deste lote.
    """

    fim = Fim()

    def __init__(self, nome: str, mostrar: bool, segundos: float):
        self.nome, self.mostrar, self.segundos = nome, mostrar, segundos
        self.linhas: list[str] = []  # o que contar, se a transação valer; também os avisos

    # --- as linhas ---

    def evento(self, evento: Evento, novos: list[Evento] | None) -> None:
        """Um evento tratado e os que ele fez publicar (None: já tinha sido tratado)."""
        if self.mostrar:
            repetido = "  (repetido: já tratado, nada muda)" if novos is None else ""
            self.linhas.append(f"{curto(evento.pedido):12} ◀ {evento.tipo}{repetido}")
            self.linhas += [f"{curto(novo.pedido):12} ▶ {novo.tipo}" +
                            (f": {novo.dados['motivo']}" if "motivo" in novo.dados else "")
                            for novo in novos or ()]

    def contar(self) -> None:
        for linha in self.linhas:
            self._dizer(linha)

    def _dizer(self, linha: str) -> None:
        dizer(visivel(f"{self.nome:10} {linha}"), recuo=11)

    # --- as paradas: cada uma diz o que se perde com o serviço morto ali ---

    def com_o_lote_em_maos(self, canal, recebidas: list) -> None:
        """Entre receber e tratar: nada foi gravado, e nada recebeu ack."""
        if self.segundos and recebidas:
            primeira = recebidas[0].propriedades
            resto = f" (e mais {len(recebidas) - 1})" if len(recebidas) > 1 else ""
            self._parar(canal, f"em mãos: {curto(str(primeira.get('correlation_id')), 8)} "
                               f"{primeira.get('type')}{resto}; morto agora, volta à fila")

    def antes_de_publicar(self, canal, recebidas: list, eventos: list) -> None:
        """Entre o COMMIT e a publicação: gravado, e ninguém mais sabe."""
        if self.segundos and recebidas:
            tipos = ", ".join(dict.fromkeys(evento[1] for evento in eventos)) or "nada"
            self._parar(canal, f"COMMIT feito, por publicar {tipos}: está na caixa de saída")

    def _parar(self, canal, texto: str) -> None:
        """Para andando com a conexão: parada também ela, o broker a daria por morta (heartbeat)."""
        self._dizer(texto)
        ate = time.monotonic() + self.segundos
        while (falta := ate - time.monotonic()) > 0:
            morrer_com_o_lancador()
            if self.fim.sinal:  # parar aqui não custa nada a ninguém
                raise KeyboardInterrupt
            canal.andar(min(falta, 0.2))
