"""O que os bancos dizem sobre um pedido, posto na ordem das causas.

Cada caixa de entrada lembra o que um evento fez publicar: seguir isso, de banco em banco, é
seguir as causas, sem relógio nenhum. O que não tem causa entrou pela porta (um pedido novo, um
pedido de cancelamento) ou foi publicado à mão. Entre dois eventos que um serviço tratou, o que
nada publicou veio depois: ele não tinha o que fazer porque o outro chegou antes.
"""

from __future__ import annotations

import json

from comum.tela import reais
from coreografia import EVENTOS, SERVICOS, o_que_ouve, quem_ouve

PRIMEIRO, CANCELAMENTO = "pedido.criado", "pedido.cancelamento_solicitado"
# O que vale neste instante no negócio que tem a tabela; NULL se nada.
VALE = {
    "reservas": "SELECT group_concat(quantidade || ' ' || produto, ', ') FROM reservas "
                "WHERE pedido = ?",
    "cobrancas": "SELECT max('cobrado de ' || cliente) FROM cobrancas WHERE pedido = ?",
    "envios": "SELECT max(situacao) FROM envios WHERE pedido = ?",
}


class Historia:
    """Tudo o que os bancos dizem sobre um pedido.

    tratou: {(serviço, evento): [o que publicou por causa dele]}, das caixas de entrada.
    saida: {evento: dados}, das caixas de saída. falhas: {(serviço, evento): (restam, motivo)},
    com restam negativo se já foi para as mortas.
    registro: (cliente, total, estado, motivo), da tabela pedidos, ou None se ela não o conhece.
    eventos: na ordem das causas. fatos: [(banco, o que ele diz)].

    banco: a conexão de lendo(). Levanta sqlite3.Error se algum não pode ser lido.
    """

    def __init__(self, banco, pedido: str):
        self.pedido, self.tratou, self.saida, self.falhas, self.fatos = pedido, {}, {}, {}, []
        self.registro = banco.execute(
            "SELECT cliente, total, estado, motivo FROM pedidos_db.pedidos WHERE pedido = ?",
            (pedido,)).fetchone()
        self.pediu_cancelamento = banco.execute(
            "SELECT 1 FROM pedidos_db.caixa_entrada WHERE mensagem = ?",
            (f"{pedido}:{CANCELAMENTO}",)).fetchone()
        if self.registro:
            cliente, total, estado, _ = self.registro
            self.fatos.append(("pedidos.db", f"pedido de {cliente}, {reais(total)}, {estado}"))
        if self.pediu_cancelamento:
            self.fatos.append(("pedidos.db", "o cliente pediu o cancelamento"))
        for servico in SERVICOS:
            self.fatos += [(f"{servico}.db", fato) for fato in self._ler(servico, banco)]
        self.eventos = self._em_ordem()
        self.motivos = self._achar_motivos()

    def _ler(self, servico: str, banco) -> list[str]:
        fatos = []
        for tipo in o_que_ouve(servico):
            mensagem = {"m": f"{self.pedido}:{tipo}"}
            for publicou, in banco.execute(
                    f"SELECT CAST(publicou AS TEXT) FROM {servico}_db.caixa_entrada WHERE mensagem = :m",
                    mensagem):
                self.tratou[servico, tipo] = [novo for novo in publicou.split() if novo in EVENTOS]
                fatos.append(f"tratou {tipo} → {publicou.replace(' ', ', ') or 'nada a publicar'}")
            for restam, motivo in banco.execute(
                    f"SELECT restam, motivo FROM {servico}_db.falhas WHERE mensagem = :m UNION ALL "
                    f"SELECT -1, motivo FROM {servico}_db.enterradas WHERE mensagem = :m LIMIT 1", mensagem):
                if (servico, tipo) not in self.tratou:
                    self.falhas[servico, tipo] = restam, motivo
                    fatos.append(f"falhou em {tipo}: {motivo}")
        for tipo, corpo in banco.execute(
                f"SELECT tipo, corpo FROM {servico}_db.caixa_saida WHERE pedido = ?", (self.pedido,)):
            self.saida[tipo] = _dados(corpo)
            fatos.append(f"na caixa de saída: {tipo}")
        for tabela, consulta in VALE.items():
            if banco.execute(f"SELECT 1 FROM {servico}_db.sqlite_master WHERE name = ?", (tabela,)).fetchone():
                vale = banco.execute(consulta, (self.pedido,)).fetchone()[0]
                fatos += [f"vale agora: {vale}"] if vale else []
        return fatos

    def _em_ordem(self) -> list[str]:
        """Cada um depois da sua causa, e de quem o deixou em vão; no fim, o resultado."""
        causados = {tipo for publicou in self.tratou.values() for tipo in publicou}
        vistos = {tipo for _, tipo in [*self.tratou, *self.falhas]}
        vistos |= {*self.saida, *self._da_porta()}
        ordem: list[str] = []
        a_seguir = [tipo for tipo in reversed(EVENTOS) if tipo in vistos - causados]
        while a_seguir:
            if (tipo := a_seguir.pop()) not in ordem:
                ordem.append(tipo)
                a_seguir += reversed(self.causados(tipo))
        for tipo in filter(self.foi_em_vao, [*ordem]):
            chegaram = [ordem.index(outro) for outro in ordem if not self.foi_em_vao(outro)
                        and {*quem_ouve(outro)} & {*quem_ouve(tipo)}]
            depois = max([*chegaram, ordem.index(tipo)])
            ordem.remove(tipo)
            ordem.insert(depois, tipo)
        return sorted(ordem, key=lambda tipo: not quem_ouve(tipo))

    def _da_porta(self) -> list[str]:
        """O que o serviço de pedidos publicou por conta do cliente: não tem outra causa."""
        da_porta = [CANCELAMENTO] if self.pediu_cancelamento else []
        if self.registro:
            estado = self.registro[2]
            andou = any(servico == "pedidos" for servico, _ in self.tratou)
            da_porta.append(PRIMEIRO if andou or estado == "pendente" else f"pedido.{estado}")
        return da_porta

    def _achar_motivos(self) -> dict[str, str | None]:
        """{evento: o motivo que leva}. Quem compensa o repassa: o do fim vale até a causa."""
        motivos: dict[str, str | None] = {}
        for tipo in reversed(self.eventos):
            sabidos = [self.saida.get(tipo, {}).get("motivo")]
            sabidos += [motivos[causado] for causado in self.causados(tipo)]
            if tipo == "pedido.cancelado" and self.registro:
                sabidos.append(self.registro[3])
            motivos[tipo] = next(filter(None, sabidos), None)
        return motivos

    def causados(self, tipo: str) -> list[str]:
        return [causado for ouvinte in quem_ouve(tipo)
                for causado in self.tratou.get((ouvinte, tipo), ())]

    def foi_em_vao(self, tipo: str) -> bool:
        """Se quem o ouve o tratou sem publicar nada: outro tinha chegado antes."""
        ouvintes = quem_ouve(tipo)
        return bool(ouvintes) and all(self.tratou.get((quem, tipo)) == [] for quem in ouvintes)

    def por_tratar(self) -> list[tuple[str, str | None]]:
        """Os (evento, ouvinte) que faltam; ouvinte None: um resultado por anunciar."""
        return [(tipo, ouvinte) for tipo in self.eventos for ouvinte in quem_ouve(tipo) or (None,)
                if (ouvinte, tipo) not in self.tratou and (ouvinte or tipo in self.saida)]


def _dados(corpo: str) -> dict:
    try:
        dados = json.loads(corpo)
    except (ValueError, TypeError, RecursionError):
        dados = None  # não foi este programa que o escreveu
    return dados if isinstance(dados, dict) else {}
