"""O que os bancos dizem sobre um pedido, posto na ordem das causas.

Cada caixa de entrada lembra o que um evento fez publicar: seguir isso, de banco em banco, é
seguir as causas, sem relógio nenhum. O que não tem causa entrou pela porta (um pedido novo, um
pedido de cancelamento) ou foi publicado à mão. Entre dois eventos que um serviço tratou, o que
nada publicou veio depois: ele não tinha o que fazer porque o outro chegou antes.
"""

from __future__ import annotations

import json

from comum.tela import reais
from coreografia import EVENTOS, quem_ouve

PRIMEIRO = "pedido.criado"
# O que vale neste instante em cada negócio, se houver uma linha.
RETIDO = {"estoque": "SELECT group_concat(quantidade || ' ' || produto, ', ') FROM reservas WHERE pedido = ?",
          "pagamentos": "SELECT 'cobrado de ' || cliente FROM cobrancas WHERE pedido = ?",
          "envio": "SELECT situacao FROM envios WHERE pedido = ?"}


class Historia:
    """Tudo o que os bancos dizem sobre um pedido.

    tratou: {(serviço, evento): [o que publicou por causa dele]}, das caixas de entrada.
    saida: {evento: dados}, das caixas de saída. falhas: {(serviço, evento): (restam, motivo)}.
    eventos: na ordem das causas. fatos: [(banco, o que ele diz)].
    """

    def __init__(self, bancos: dict, pedido: str):
        self.pedido, self.tratou, self.saida, self.falhas, self.fatos = pedido, {}, {}, {}, []
        self.registro = bancos["pedidos"].execute(
            "SELECT cliente, total, estado, motivo FROM pedidos WHERE pedido = ?", (pedido,)).fetchone()
        for servico, banco in bancos.items():
            self._ler(servico, banco)
        self.eventos = self._em_ordem()
        self.motivos: dict[str, str | None] = {}
        for tipo in reversed(self.eventos):  # uma compensação repassa o motivo: ele se acha no fim, e vale até a causa
            sabidos = [self.saida.get(tipo, {}).get("motivo"), *(self.motivos.get(c) for c in self.causados(tipo))]
            self.motivos[tipo] = next(filter(None, sabidos), None)
            if tipo == "pedido.cancelado" and self.registro:
                self.motivos[tipo] = self.registro[3]

    def _ler(self, servico: str, banco) -> None:
        def anotar_fato(texto: str) -> None:
            self.fatos.append((f"{servico}.db", texto))

        if servico == "pedidos" and self.registro:
            cliente, total, estado, _ = self.registro
            anotar_fato(f"pedido de {cliente}, {reais(total)}, {estado}")
        for tipo in EVENTOS:
            mensagem = (f"{self.pedido}:{tipo}",)
            for publicou, in banco.execute("SELECT publicou FROM caixa_entrada WHERE mensagem = ?", mensagem):
                self.tratou[servico, tipo] = [novo for novo in publicou.split() if novo in EVENTOS]
                anotar_fato(f"tratou {tipo} → {publicou.replace(' ', ', ') or 'nada a publicar'}")
            for restam, motivo in banco.execute("SELECT restam, motivo FROM falhas WHERE mensagem = ?", mensagem):
                if (servico, tipo) not in self.tratou:
                    self.falhas[servico, tipo] = restam, motivo
                    anotar_fato(f"falhou em {tipo}: {motivo}")
        for tipo, corpo in banco.execute("SELECT tipo, corpo FROM caixa_saida WHERE pedido = ?", (self.pedido,)):
            self.saida[tipo] = _dados(corpo)
            anotar_fato(f"na caixa de saída: {tipo}")
        retido = servico in RETIDO and banco.execute(RETIDO[servico], (self.pedido,)).fetchone()
        if retido and retido[0]:
            anotar_fato(f"vale agora: {retido[0]}")

    def _em_ordem(self) -> list[str]:
        """Cada evento depois da sua causa; por último, os que chegaram quando já não havia o que fazer."""
        causados = {tipo for publicou in self.tratou.values() for tipo in publicou}
        vistos = {tipo for _, tipo in [*self.tratou, *self.falhas]} | {*self.saida} | self._da_porta()
        ordem: list[str] = []
        a_seguir = [tipo for tipo in reversed(EVENTOS) if tipo in vistos - causados]
        while a_seguir:
            if (tipo := a_seguir.pop()) not in ordem:
                ordem.append(tipo)
                a_seguir += reversed(self.causados(tipo))
        return sorted(ordem, key=self.foi_em_vao)

    def _da_porta(self) -> set[str]:
        """O que o serviço de pedidos publicou ao receber o pedido, e que não tem causa."""
        if self.registro is None:
            return set()
        estado, andou = self.registro[2], any(servico == "pedidos" for servico, _ in self.tratou)
        return {PRIMEIRO if andou or estado == "pendente" else f"pedido.{estado}"}

    def causados(self, tipo: str) -> list[str]:
        return [causado for ouvinte in quem_ouve(tipo) for causado in self.tratou.get((ouvinte, tipo), ())]

    def foi_em_vao(self, tipo: str) -> bool:
        """Se todos os que ouvem o evento o trataram sem publicar nada: outro tinha chegado antes."""
        return bool(quem_ouve(tipo)) and all(self.tratou.get((o, tipo)) == [] for o in quem_ouve(tipo))

    def por_tratar(self) -> list[tuple[str, str | None]]:
        """Os (evento, ouvinte) que faltam; ouvinte None: um resultado que ainda não foi anunciado."""
        return [(tipo, ouvinte) for tipo in self.eventos for ouvinte in quem_ouve(tipo) or (None,)
                if (ouvinte, tipo) not in self.tratou and (ouvinte or tipo in self.saida)]


def _dados(corpo: str) -> dict:
    try:
        dados = json.loads(corpo)
    except ValueError:
        dados = None  # não foi este programa que o escreveu
    return dados if isinstance(dados, dict) else {}
