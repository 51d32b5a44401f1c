"""O que existe para a turma ver e quebrar: o desenho e os pontos de queda."""
