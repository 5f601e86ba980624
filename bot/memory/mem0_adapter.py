"""Our memories as mem0 stores them, mem0's as ours, and a mem0 client on our index.

A plain `mem0.Memory` pointed at the same index reads what `to_payload` writes: mem0's own keys
come first, then ours. `guild_id` is a string because only keyword fields can be a Qdrant tenant.
"""

import hashlib
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import SettingsError
from bot.memory.bm25 import Bm25
from bot.model import FactKind, Memory, MemoryKind
from bot.settings import Settings
from bot.settings_services import OpenAISettings, QdrantSettings
from bot.storage.rows import from_ms, to_ms
from bot.telemetry import keep_private

if TYPE_CHECKING:
    import mem0

    from bot.memory.shards import Shards

SERVER = "SERVER"


def to_payload(memory: Memory) -> dict[str, Any]:
    """The payload of a memory's point; keys without a value are left out."""
    created_at = memory.created_at.isoformat()
    payload = {
        "data": memory.text,
        "hash": hashlib.md5(memory.text.encode(), usedforsecurity=False).hexdigest(),
        "created_at": created_at,
        "updated_at": created_at,
        "text_lemmatized": memory.line,
        "user_id": SERVER if memory.subject_id is None else str(memory.subject_id),
        "agent_id": str(memory.guild_id),
        "run_id": str(memory.channel_id),
        "kind": memory.kind.value,
        "guild_id": str(memory.guild_id),
        "channel_id": memory.channel_id,
        "access_id": memory.access_id,
        "channel_name": memory.channel_name,
        "subject_id": memory.subject_id,
        "speaker_ids": list(memory.speaker_ids),
        "speaker_name": memory.speaker_name,
        "sources": list(memory.sources),
        "said_at": to_ms(memory.said_at),
        "importance": memory.importance,
        "fact_kind": memory.fact_kind and memory.fact_kind.value,
        "entities": list(memory.entities),
        "valid_from": memory.valid_from and memory.valid_from.isoformat(),
        "valid_until": memory.valid_until and memory.valid_until.isoformat(),
        "follows": memory.follows,
        "corrected": memory.corrected or None,
    }
    return {key: value for key, value in payload.items() if value is not None}


def from_payload(id: str, payload: Mapping[str, Any]) -> Memory | None:
    """The memory a payload holds; None when it names no guild and channel, or makes no sense.

    mem0 names a guild by `agent_id` and a channel by `run_id`. Who may see such a memory is decided
    by that channel's own id, until it is adopted.
    """
    try:
        guild_id, channel_id = _snowflake(payload.get("agent_id")), _snowflake(payload.get("run_id"))
        if guild_id is None or channel_id is None:
            return None
        created_at = _time(payload["created_at"])
        said_at = payload.get("said_at")
        fact_kind = payload.get("fact_kind")
        follows = payload.get("follows")
        return Memory(
            id=id,
            kind=MemoryKind(payload.get("kind", MemoryKind.FACT)),
            guild_id=guild_id,
            channel_id=channel_id,
            access_id=_number(payload.get("access_id", channel_id)),
            channel_name=str(payload.get("channel_name", "")),
            subject_id=_snowflake(payload.get("user_id")),
            text=str(payload["data"]),
            speaker_ids=tuple(_number(speaker) for speaker in payload.get("speaker_ids", ())),
            speaker_name=str(payload.get("speaker_name") or payload.get("actor_id") or ""),
            sources=tuple(_number(source) for source in payload.get("sources", ())),
            said_at=created_at if said_at is None else from_ms(said_at),
            created_at=created_at,
            importance=_finite(payload.get("importance", 0.0)),
            fact_kind=None if fact_kind is None else FactKind(fact_kind),
            entities=tuple(str(entity) for entity in payload.get("entities", ())),
            valid_from=_date(payload.get("valid_from")),
            valid_until=_date(payload.get("valid_until")),
            follows=None if follows is None else _number(follows),
            corrected=payload.get("corrected") is True,
        )
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None  # any mem0 client may write here: what it wrote badly is shown to nobody


@contextmanager
def open_mem0(index: "Shards | QdrantSettings", settings: Settings, bm25: Bm25, home: Path) -> Iterator["mem0.Memory"]:
    """A genuine `mem0.Memory` on our index: the embedded shards, or the collection of a server.

    It is synchronous: use it in a worker thread. It sends nothing home, and keeps no history and no
    entities, since neither would forget. `home` is where mem0 puts its own files. Raises `SettingsError`
    unless OpenAI embeds: other models want to be told what a text is for, and mem0 does not tell them.
    """
    if settings.embedding.provider != "openai":
        raise SettingsError(
            f"mem0 would make other vectors than the index holds: with embedding.provider = "
            f"{settings.embedding.provider} it cannot be used on it."
        )
    openai = settings.openai
    keep_private()
    os.environ["MEM0_DIR"] = str(home)
    os.environ["HF_HUB_OFFLINE"] = "1"  # it would fetch an encoder of its own for words
    logging.getLogger("mem0").setLevel(logging.ERROR)  # below that it logs what people said
    import mem0
    from mem0.configs.base import MemoryConfig

    from bot.memory.mem0_store import NoEntities, NoHistory

    store = _server_store(index, openai) if isinstance(index, QdrantSettings) else _edge_store(index, openai, bm25)
    access: dict[str, Any] = {
        "api_key": openai.api_key.get_secret_value() or "none",
        "openai_base_url": openai.base_url,
    }
    embedder = access | {"model": openai.embedding_model}
    if openai.embedding_model.startswith("text-embedding-3"):
        embedder["embedding_dims"] = openai.dimensions
    config = MemoryConfig(
        embedder={"provider": "openai", "config": embedder},
        llm={"provider": "openai", "config": access},
        history_db_path=":memory:",
    )
    config.vector_store = store  # past mem0's validation, which knows only the providers it ships
    memory = mem0.Memory(config)
    memory.db.close()
    memory.db = NoHistory()
    memory._entity_store = NoEntities()
    try:
        yield memory
    finally:
        memory.embedding_model.client.close()
        memory.llm.client.close()
        if isinstance(index, QdrantSettings):
            memory.vector_store.client.close()


def guild_of(payload: Mapping[str, Any]) -> int | None:
    """The guild a payload belongs to by mem0's `agent_id`; None for one no guild has claimed."""
    return _snowflake(payload.get("agent_id"))


def _server_store(settings: QdrantSettings, openai: OpenAISettings) -> Any:
    """mem0's own Qdrant store, on the collection of `ServerIndex`."""
    from mem0.vector_stores.configs import VectorStoreConfig
    from qdrant_client import QdrantClient

    client = QdrantClient(
        url=settings.url,
        api_key=settings.api_key.get_secret_value() or None,
        timeout=math.ceil(settings.timeout.total_seconds()),
        check_compatibility=False,
    )
    config = {"collection_name": settings.collection, "embedding_model_dims": openai.dimensions, "client": client}
    return VectorStoreConfig(provider="qdrant", config=config)


def _edge_store(shards: "Shards", openai: OpenAISettings, bm25: Bm25) -> Any:
    """Our own store, registered with mem0's factory."""
    from mem0.utils.factory import VectorStoreFactory
    from mem0.vector_stores.configs import VectorStoreConfig

    from bot.memory.mem0_store import EdgeStore, EdgeStoreConfig

    VectorStoreFactory.provider_to_class["recollect"] = f"{EdgeStore.__module__}.{EdgeStore.__qualname__}"
    config = EdgeStoreConfig(
        collection_name="recollect", embedding_model_dims=openai.dimensions, shards=shards, bm25=bm25
    )
    return VectorStoreConfig.model_construct(provider="recollect", config=config)


def _snowflake(value: object) -> int | None:
    """The id a value names; None for anything that is no 64-bit integer, which the index could not hold."""
    text = str(value)
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        return None
    return number if (number := int(text)) < 2**63 else None


def _number(value: Any) -> int:
    """An integer the index can hold. Raises `ValueError` for a larger one."""
    if not -(2**63) <= (number := int(value)) < 2**63:
        raise ValueError("not a 64-bit integer")
    return number


def _finite(value: Any) -> float:
    """A number JSON can hold. Raises `ValueError` for NaN and the infinities."""
    if not math.isfinite(number := float(value)):
        raise ValueError("not finite")
    return number


def _time(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _date(value: str | None) -> date | None:
    return None if value is None else date.fromisoformat(value)
