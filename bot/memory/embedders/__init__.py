"""One embedder a service; `bot.memory.embeddings` has the port and chooses."""
