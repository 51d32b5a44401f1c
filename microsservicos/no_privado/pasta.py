"""A pasta de um nó privado: quem ele é, como parte, que versão do RabbitMQ escreveu os dados.

    rabbitmq.conf, plugins, definicoes.json   a configuração, refeita a cada partida
    dados/                                    filas e mensagens: o que sobrevive
    versao                                    a do RabbitMQ que escreveu os dados
    no.log                                    tudo o que o nó disse
    no.json                                   quem é o nó vivo (pid, portas), para quem vier depois
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from urllib.parse import quote

from no_privado.configuracao import configuracao, definicoes, gravar


class PastaDoNo:
    """Um nó do RabbitMQ, ligado ou não, e os arquivos dele, em `pasta/loja-PORTA/`.

    pasta: onde guardar tudo (é criada). porta: a do AMQP, em 127.0.0.1 e em ::1.
    usuario, senha, vhost, vhosts: criados ou atualizados a cada partida, com todas as permissões.
    nome: o nome Erlang do nó (padrão: loja-PORTA@localhost). pagina: ligar a página de
    administração. maquina: em qual dos dois endereços se pergunta por ele.
    cookie, epmd_porta, vizinhos: para um cluster; o segredo comum, o epmd comum (que não é
    ligado nem desligado aqui) e os nomes de todos os nós.
    configuracao_extra: mais linhas de rabbitmq.conf, como {chave: valor}.
    """

    def __init__(self, pasta, porta: int, usuario: str = "guest", senha: str = "guest",
                 vhost: str = "/", nome: str | None = None, *, maquina: str = "127.0.0.1",
                 pagina: bool = True, vhosts=(),
                 cookie: str | None = None, epmd_porta: int | None = None, vizinhos=(),
                 configuracao_extra: dict | None = None):
        self.maquina, self.porta, self.vhost = maquina, porta, vhost
        self.usuario, self.senha = usuario, senha
        self.nome = nome or f"loja-{porta}@localhost"
        self.pasta = Path(pasta).absolute() / self.nome.split("@")[0]
        self.registro = self.pasta / "no.log"
        self.vhosts, self.vizinhos = list(dict.fromkeys([vhost, *vhosts])), list(vizinhos)
        self._quer_pagina, self._cookie, self._epmd_comum = pagina, cookie, epmd_porta
        self._configuracao_extra = configuracao_extra or {}

    @property
    def url(self) -> str:
        """O endereço para RABBITMQ_URL ou pika.URLParameters."""
        usuario, senha, vhost = (quote(parte, safe="")
                                 for parte in (self.usuario, self.senha, self.vhost))
        maquina = f"[{self.maquina}]" if ":" in self.maquina else self.maquina
        return f"amqp://{usuario}:{senha}@{maquina}:{self.porta}/{vhost}"

    def criar(self) -> None:
        """Só para o dono: o Erlang recusa um cookie que outros possam ler, e há senhas aqui."""
        self.pasta.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.pasta.chmod(0o700)

    def configurar(self, pagina_porta: int | None) -> None:
        """Escreve o que o nó vai ler ao partir. pagina_porta: None, sem página."""
        gravar(self.pasta, "rabbitmq.conf", configuracao(self.porta, pagina_porta, self.vizinhos,
                                                         self._configuracao_extra))
        gravar(self.pasta, "plugins", "[rabbitmq_management].\n" if pagina_porta else "[].\n")
        gravar(self.pasta, "definicoes.json", definicoes(self.usuario, self.senha, self.vhosts))
        if self._cookie or not (self.pasta / ".erlang.cookie").exists():
            gravar(self.pasta, ".erlang.cookie", self._cookie or os.urandom(16).hex())

    def versao_dos_dados(self) -> str | None:
        """A do RabbitMQ que os escreveu, como "3.10.8"; None se não há dados, ou não se sabe."""
        try:
            return (self.pasta / "versao").read_text(encoding="utf-8").strip() or None
        except (OSError, ValueError):
            return None

    def apagar_dados(self) -> None:
        """Filas e mensagens somem; a próxima partida é como a primeira."""
        shutil.rmtree(self.pasta / "dados", ignore_errors=True)
        (self.pasta / "versao").unlink()  # por último: quem morre no meio ainda deixa dita a versão

    def anotar(self, quem: dict) -> None:
        """Quem é o nó vivo."""
        gravar(self.pasta, "no.json", json.dumps(quem))

    def anotado(self) -> dict:
        """O que anotar() escreveu, nesta execução ou em outra; {} se nada, ou ilegível."""
        try:
            return json.loads((self.pasta / "no.json").read_bytes())
        except (OSError, ValueError):
            return {}
