"""The durable part: messages, their queue, facts, consent and tombstones in one SQLite file."""
