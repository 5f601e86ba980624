"""Local stand-ins for Discord, Ollama and OpenAI, and the demo they carry; never used in production."""
