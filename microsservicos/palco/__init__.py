"""O que existe para a turma ver: os processos como terminais, a plateia, o desenho."""
