"""Um RabbitMQ só nosso, para quando nenhum responde."""
