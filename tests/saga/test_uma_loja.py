"""Uma loja, um vhost: a segunda pasta é recusada numa linha, e nada da primeira se perde."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

from conftest import esperar
from verbos import MICROSSERVICOS, SERVICOS, M, Programa, cenario, loja, rodar, vhost_novo  # noqa: F401

PROGRAMAS = ["orquestracao.py", "microsservicos/mortas.py", *(f"microsservicos/servico_{nome}.py" for nome in SERVICOS)]
LIMPAR = "--limpar", "--sim", "--estado"


def recusado(programa: Programa) -> str:
    """A linha da recusa: status 2, e o que fazer."""
    assert programa.fim() == 2, programa.texto
    programa.limpo()
    [linha] = [linha for linha in programa.linhas if "é da loja" in linha]
    assert "use outro vhost em RABBITMQ_URL" in linha
    assert "--dados" in linha and "--tomar-vhost" in linha
    return linha


def test_outra_pasta_no_mesmo_vhost_e_recusada_por_todos(loja, tmp_path):
    """Com a primeira no ar, e parada."""
    loja.enviar(cenario("sucesso"))
    loja.iniciar()
    loja.conferir_repouso()
    outra = "--dados", tmp_path / "outra"
    M.identidade.identidade(tmp_path / "outra" / "microsservicos")  # mortas.py não a sortearia, e não teria o que comparar
    comandos = [*([script] for script in PROGRAMAS), ["microsservicos/mortas.py", "--reenviar"], ["orquestracao.py", "--so-broker"]]
    with ThreadPoolExecutor(3) as juntos:
        for programa in juntos.map(lambda comando: rodar(*comando, *outra, url=loja.url), comandos):
            assert M.identidade.identidade(loja.pasta) in recusado(programa)
    loja.encerrar()
    recusado(rodar("microsservicos/servico_estoque.py", *outra, url=loja.url))
    loja.iniciar()
    loja.enviar(cenario("envio-recusado", "p-2"))
    loja.conferir_repouso()


def test_duas_lojas_que_partem_no_mesmo_instante_so_uma_fica(broker, tmp_path):
    for rodada in range(3):
        url = f"amqp://guest:guest@127.0.0.1:{broker.porta}/{vhost_novo(broker)}"
        dupla = [Programa(MICROSSERVICOS / f"servico_{nome}.py", "--dados", tmp_path / f"{rodada}-{nome}", url=url)
                 for nome in ("estoque", "envio")]
        try:
            esperar(lambda: any(p.disse(": pronto") for p in dupla)
                    and any(not p.vivo() for p in dupla), que="um vencedor e um recusado")
            fica, sai = sorted(dupla, key=Programa.vivo, reverse=True)
            recusado(sai)
            assert fica.vivo() and fica.disse(": pronto")
        finally:
            for programa in dupla:
                programa.matar()


def test_limpar_nao_esvazia_as_filas_de_outra_loja_e_tomar_vhost_as_toma(loja, tmp_path):
    loja.enviar(cenario("sucesso"))
    loja.iniciar("pedidos")
    esperar(lambda: loja.profundidade("estoque") == 1, que="o evento na fila do estoque")
    outra = "orquestracao.py", "--dados", tmp_path / "outra"
    em_uso = rodar(*outra, *LIMPAR, "--tomar-vhost", url=loja.url)
    assert em_uso.fim() == 2 and "recebendo destas filas em" in em_uso.linhas[-1] + em_uso.linhas[-2]
    loja.encerrar("pedidos")
    recusado(rodar(*outra, *LIMPAR, url=loja.url))
    assert loja.profundidade("estoque") == 1
    tomou = rodar(*outra, *LIMPAR, "--tomar-vhost", url=loja.url)
    assert tomou.fim() == 0, tomou.texto
    recusado(rodar("microsservicos/servico_estoque.py", "--dados", loja.dados, url=loja.url))
    assert rodar(*outra, "--cenario", "sucesso", "--ate-concluir", url=loja.url).fim() == 0


def test_identidade_apagada_volta_dos_bancos_e_copiada_e_a_mesma_loja(loja, tmp_path):
    """Os serviços em várias máquinas: o .loja vai junto, os bancos são de cada uma."""
    antes = M.identidade.identidade(loja.pasta)
    loja.iniciar("pedidos", "estoque", "pagamentos")
    (loja.pasta / ".loja").unlink()
    assert M.identidade.identidade(loja.pasta) == antes
    longe = tmp_path / "longe"
    (longe / "microsservicos").mkdir(parents=True)
    shutil.copy(loja.pasta / ".loja", longe / "microsservicos")
    envio = Programa(MICROSSERVICOS / "servico_envio.py", "--dados", longe, url=loja.url)
    loja.programas["envio"].append(envio.esperar_dizer(": pronto"))
    loja.enviar(cenario("sucesso"))
    loja.esperar_finais()
    de_longe = rodar("microsservicos/mortas.py", "--dados", tmp_path / "sem loja", url=loja.url)
    assert de_longe.fim() == 0 and not (tmp_path / "sem loja").exists()
