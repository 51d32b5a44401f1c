"""O único cômodo que conhece o RabbitMQ e o pika."""
