"""Queue → facts: conversations, windows, the prompt and its schema, the model, the batch worker."""
