"""What some open models want to be told before a text: whether it is to be found or to find.

Ollama and fastembed hand a text to the model as it is. OpenAI's models want nothing, and Voyage's are told by a
parameter. Sources, the models' own pages: https://huggingface.co/nomic-ai/nomic-embed-text-v1.5,
https://huggingface.co/intfloat/multilingual-e5-large, https://huggingface.co/mixedbread-ai/mxbai-embed-large-v1 and
https://huggingface.co/google/embeddinggemma-300m.
"""

from bot.memory.embedders.base import Purpose

# By a part of the model's name: before a document, before a query.
_PREFIXES = {
    "nomic-embed-text": ("search_document: ", "search_query: "),
    "e5-": ("passage: ", "query: "),
    "mxbai-embed-large": ("", "Represent this sentence for searching relevant passages: "),
    "embeddinggemma": ("title: none | text: ", "task: search result | query: "),
}


def prefix(model: str, purpose: Purpose) -> str:
    """What to put before a text for this model; empty for a model that wants nothing."""
    name = model.lower()
    document, query = next((found for part, found in _PREFIXES.items() if part in name), ("", ""))
    return query if purpose is Purpose.QUERY else document
