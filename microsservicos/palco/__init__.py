"""Para ver uma saga: os processos como terminais, a plateia, o desenho, a história de um pedido."""
