"""O que um serviço é para quem está no terminal dele: as opções, as linhas, o início e o fim."""
