"""O que as duas arquiteturas têm igual: esta pasta existe, byte por byte, nas duas alas."""
