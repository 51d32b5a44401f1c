"""Inicia os serviços, na ordem, e os mantém de pé. Não toma parte na saga.

O nome foi pedido assim, e engana: a saga é coreografada, ninguém a comanda. Este programa só faz o
que uma pessoa faria com um terminal por serviço: garante que há um RabbitMQ, inicia Pedidos já
com os pedidos do cliente, depois os outros, e assiste. Não grava em banco nenhum (só --limpar os
apaga). Com ele desligado, tudo funciona igual.
"""

import sys
import time
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

MICROSSERVICOS = Path(__file__).resolve().parent / "microsservicos"
if not MICROSSERVICOS.is_dir():
    print(f"falta a pasta {MICROSSERVICOS}: baixe o projeto inteiro", file=sys.stderr)
    sys.exit(2)
sys.path.insert(0, str(MICROSSERVICOS))

from comum import veredito  # comum antes: diz se falta o _sqlite3
from comum.banco import lendo
from comum.identidade import apagar_bancos, identidade, lojas_da_pasta, trocar_identidade
from comum.loja import de_outro_conteudo
from comum.opcoes import Opcoes, chaves, confirmar_limpeza, inteiro, pedidos_escolhidos
from comum.raias import Diagrama
from comum.tela import alertar, dizer, executar

import rastro
from coreografia import SERVICOS
from no_privado.no import garantir
from palco.desenho import NOMES
from palco.lancador import Espectador, Lancador
from rabbitmq import filas
from rabbitmq.acesso import onde
from rabbitmq.canal import Plateia


def opcoes():
    opcoes = Opcoes("Inicia os serviços, envia um pedido, mostra cada evento da saga e fica\n"
                    "ouvindo. Não comanda a saga, que é coreografada: só inicia e vigia os\n"
                    "processos.")
    opcoes.dos_dados("microsservicos")
    opcoes.dos_pedidos()
    so_uma = opcoes.de_quem_acompanha(
        "não envia nada, só ouve", "volta às linhas iniciais e esvazia as filas")
    chaves(so_uma, {
        "--so-broker": "só liga um RabbitMQ, se nenhum responde: para um serviço por terminal",
        "--so-assistir": "só desenha a saga dos serviços de outros terminais; não inicia nada"})
    chaves(opcoes, {
        "--ate-concluir": "para quando todo pedido terminar, com o veredito",
        "--tomar-vhost": "com --limpar: se o vhost é de outra loja, passa a ser desta"})
    opcoes.add_argument("--paciencia", metavar="S", type=inteiro, default=60, help=(
        "com --ate-concluir: desiste depois de S segundos sem nada se mover (padrão: 60)"))
    opcoes.devagar()
    return opcoes


def main() -> int:
    escolha = opcoes().parse_args()
    pasta = escolha.dados / "microsservicos"
    pedidos = pedidos_escolhidos(escolha)
    if escolha.limpar:
        confirmar_limpeza(pasta, escolha.sim)
    elif escolha.estado:
        veredito.imprimir_estado(pasta, recem_criados())
        return 0
    diagrama = Diagrama(escolha.diagrama, NOMES, len(pedidos)) if escolha.diagrama else None
    # Antes do primeiro serviço: depois, os pedidos mais rápidos já teriam terminado.
    ids = list(dict.fromkeys(pedido["pedido"] for pedido in pedidos))
    if not (pedidos or escolha.limpar):
        ids = rastro.pendentes(pasta)
    try:
        with ExitStack() as fim:
            return executar_tudo(escolha, pedidos, ids, diagrama, fim)
    except (KeyboardInterrupt, BrokenPipeError) as interrupcao:
        if escolha.ate_concluir and not isinstance(interrupcao, BrokenPipeError):
            dizer_o_que_faltou(pasta, ids)
        return 130 if escolha.ate_concluir else 0  # 130: não há veredito; senão, é o fim normal


def executar_tudo(escolha, pedidos: list[dict], ids: list[str], diagrama, fim: ExitStack) -> int:
    """A execução inteira: o broker, a limpeza, e então trabalhar().

    fim: o que se encerra ao sair, haja o que houver; o último que se põe nele é o primeiro.
    Devolve o status de saída; levanta KeyboardInterrupt num Ctrl-C.
    """
    no, pasta = None, escolha.dados / "microsservicos"
    sem_servicos = escolha.so_broker or escolha.so_assistir
    so_limpar = escolha.limpar and not (pedidos or escolha.sem_pedido or sem_servicos)
    if not (so_limpar or sem_servicos):
        dizer("Só inicia e vigia os serviços: a saga é coreografada, e ninguém a comanda.")
    if not escolha.limpar:
        identidade(pasta)  # uma pasta que não serve é recusada antes de se ligar um broker à toa
    if not escolha.so_assistir:
        no = garantir(escolha.dados / "rabbitmq")
        fim.callback(dizer, "tudo encerrado")
    if no:
        fim.callback(no.largar)
    if escolha.limpar:
        voltar_ao_inicio(pasta, escolha.tomar_vhost)
    if escolha.estado:
        veredito.imprimir_estado(pasta, recem_criados())
    if so_limpar:
        return 0
    if not escolha.so_assistir:  # quem só assiste espera pelo broker
        Plateia("plateia", identidade(pasta)).fechar()  # antes dos serviços: o vhost é desta loja?
    lancador = Lancador(pasta, no, ids, Espectador(identidade(pasta), diagrama))
    fim.callback(lancador.parar)
    if no:
        fim.callback(dizer, "encerrando os serviços e, se ninguém mais o usa, o nó privado…")
    return trabalhar(lancador, pedidos, escolha)


def voltar_ao_inicio(pasta: Path, tomar_vhost: bool) -> None:
    """Nada é apagado se o vhost é de outra loja, e ninguém disse para tomá-lo."""
    filas.conferir_limpeza(lojas_da_pasta(pasta), tomar_vhost)
    filas.esvaziar_filas(trocar_identidade(pasta))
    apagar_bancos(pasta)  # por último: enquanto sobra um, ele diz de que loja eram as filas
    dizer(f"dados de {pasta} de volta às linhas iniciais; filas vazias")


def trabalhar(lancador: Lancador, pedidos: list[dict], escolha) -> int:
    if escolha.so_broker:
        dizer(f"RabbitMQ em {onde()}. Ligue cada serviço no seu terminal; Ctrl-C encerra.")
    elif escolha.so_assistir:
        dizer("Só assisto: não inicio serviço nenhum, e a saga nem sabe que há plateia.")
    else:
        # O que outra execução fez destes pedidos, e ainda pode ser compensado: as raias o mostram.
        for historia in rastro.ler(lancador.pasta, lancador.ids if lancador.poucos else []):
            for tipo in historia.motivos:
                lancador.espectador.desenho.reter(tipo, historia.pedido)
        lancador.iniciar(pedidos, ["--dados", str(escolha.dados), "--sem-eventos",
                                   "--devagar", str(escolha.devagar)])
        with lendo(lancador.pasta, ["pedidos"]) as banco:  # ele já disse quais recusou
            outros = {*de_outro_conteudo(banco, pedidos)}
        lancador.ids = [pedido for pedido in lancador.ids if pedido not in outros]
        if escolha.ate_concluir:
            return concluir(lancador, escolha.paciencia) or bool(outros)
        lancador.esperar_finais()
        if not lancador.poucos:
            veredito.mostrar_finais(lancador.pasta, lancador.ids)
        dizer("Ouvindo; Ctrl-C encerra.")
    while True:  # até Ctrl-C, que chega aqui como KeyboardInterrupt
        lancador.vigiar()
        time.sleep(0.2) if escolha.so_broker else lancador.espectador.mostrar(0.2)


def concluir(lancador: Lancador, paciencia: int) -> int:
    """Até o último resultado; 0 só se toda promessa foi vista cumprida."""
    lancador.esperar_finais(paciencia)
    pasta, ids = lancador.pasta, lancador.ids
    if pendentes := sorted({*ids}.intersection(rastro.pendentes(pasta))):
        alertar(f"nada se moveu por {paciencia} s; {len(pendentes)} pedidos pendentes:")
        rastro.resumir(pasta, pendentes[:20])
    return 0 if veredito.veredito(pasta, ids, len(pendentes)) else 1


def dizer_o_que_faltou(pasta: Path, ids: list[str]) -> None:
    """Depois de um Ctrl-C antes do veredito."""
    with lendo(pasta, ["pedidos"], recem_criados()) as banco:
        prontos = banco.execute("SELECT pedido FROM pedidos WHERE estado <> 'pendente'")
        faltam = sorted({*ids}.difference(pedido for pedido, in prontos))
    quais = ", ".join(faltam[:5]) + ", …" * (len(faltam) > 5)
    alertar("interrompido sem veredito: " + (
        f"{len(faltam)} de {len(ids)} pedidos sem resultado ({quais}). Nada se perdeu: "
        "--sem-pedido --ate-concluir termina os que Pedidos registrou; os outros, envie-os de "
        "novo, com os mesmos ids" if faltam else "os pedidos desta execução já tinham terminado"))


def recem_criados() -> dict[str, str]:
    """{serviço: as tabelas dele}: o que se lê no lugar de um banco que ainda não existe."""
    return {nome: import_module(f"servico_{nome}").TABELAS for nome in SERVICOS}


if __name__ == "__main__":
    executar(main)
