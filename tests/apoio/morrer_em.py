"""Roda um serviço de verdade que morre (SIGKILL) num ponto exato; o código do serviço não sabe disto.

    python morrer_em.py SERVICO PONTO VEZ [opções do serviço]

Com SINAIS_DA_QUEDA="2 15" no ambiente, recebe ali esses em vez do SIGKILL, e decide o que fazer.
Morre na VEZ-ésima passagem pelo PONTO, contada depois que há mensagens da fila em mãos.
O ponto "linha" conta cada linha de Python executada em microsservicos/: com ele, uma
varredura passa por todo instante em que o processo poderia morrer.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path

MICROSSERVICOS = Path(__file__).resolve().parents[2] / "microsservicos"
PONTOS = {
    "com-o-lote-em-maos": "recebeu, e ainda não tratou nada",
    "no-meio-do-lote": "tratou alguns eventos, e não houve COMMIT",
    "depois-do-commit": "gravou, e ainda não publicou nem deu ack",
    "antes-da-resposta": "mandou ao broker, e ele ainda não respondeu",
    "depois-da-resposta": "o broker respondeu, e na caixa de saída está tudo por enviar",
    "depois-de-tudo": "marcou o que foi enviado",
}


def main() -> None:
    servico_escolhido, ponto, vez = sys.argv[1], sys.argv[2], int(sys.argv[3])
    sys.path.insert(0, str(MICROSSERVICOS))
    sys.argv = [str(MICROSSERVICOS / f"servico_{servico_escolhido}.py"), *sys.argv[4:]]
    armar(ponto, vez)
    runpy.run_path(sys.argv[0], run_name="__main__")


def armar(ponto: str, vez: int) -> None:
    import caixas
    import servico
    from rabbitmq import canal

    passagens, em_maos = iter(range(1, 10 ** 9)), []

    def passar(*_) -> None:
        if em_maos and next(passagens) == vez:
            for sinal in os.environ.get("SINAIS_DA_QUEDA", str(int(signal.SIGKILL))).split():
                os.kill(os.getpid(), int(sinal))

    def embrulhar(dono, nome, antes=lambda *_: None, depois=lambda *_: None):
        original = getattr(dono, nome)

        def embrulhada(*argumentos):
            antes(*argumentos)
            resultado = original(*argumentos)
            depois(*argumentos)
            return resultado
        setattr(dono, nome, embrulhada)

    def chegaram(eu, recebidas) -> None:
        em_maos[:] = recebidas
        if ponto == "linha" and not sys.gettrace():
            contar_linhas(passar)

    def sair_para_a_rede(ligacao) -> None:
        ligacao.andar(0)
        passar()

    dono, nome, quando, fazer = {
        "linha": (servico.Servico, "tratar", "depois", lambda *_: None),
        "com-o-lote-em-maos": (servico.Servico, "tratar", "antes", passar),
        "no-meio-do-lote": (caixas, "tratar", "depois", passar),
        "depois-do-commit": (servico.Servico, "publicar", "antes", passar),
        "antes-da-resposta": (canal.Canal, "esperar_respostas", "antes", sair_para_a_rede),
        "depois-da-resposta": (servico.Servico, "marcar", "antes", passar),
        "depois-de-tudo": (servico.Servico, "marcar", "depois", passar)}[ponto]
    embrulhar(dono, nome, **{quando: fazer})
    embrulhar(servico.Servico, "tratar", antes=chegaram)


def contar_linhas(passar) -> None:
    """Chama `passar` a cada linha de microsservicos/ que o processo executa daqui em diante."""
    def seguir(quadro, evento, _):
        if not quadro.f_code.co_filename.startswith(str(MICROSSERVICOS)):
            return None
        if evento == "line":
            passar()
        return seguir

    sys.settrace(seguir)
    quadro = sys._getframe()
    while quadro:  # os quadros que já estão abertos também
        quadro.f_trace = seguir
        quadro = quadro.f_back


if __name__ == "__main__":
    main()
