"""O que o disco tem com certeza: gravações forçadas, prova de vida, gravação em grupo."""
