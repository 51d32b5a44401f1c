"""O que existe para a turma ver e quebrar: o desenho, o rastro, os pontos de queda."""
