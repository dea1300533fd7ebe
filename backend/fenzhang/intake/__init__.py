"""The first stage: checks what a client writes and stores it durably. It decides nothing that the chain decides."""
