"""O único cômodo que fala com o broker, pelo pika (no_privado/ só o liga e desliga)."""
