"""The collection on a Qdrant server: reaching it, and laying it out as mem0 does, with our keys beside mem0's."""

import math
import warnings
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from bot.errors import IndexUnavailable
from bot.memory.fingerprint import Fingerprint, refuse_size
from bot.memory.index import Key
from bot.settings_services import QdrantSettings

DENSE_KEYS = (Key.DENSE, Key.WINDOW)
SPARSE_KEYS = (Key.BM25, Key.BM25_WINDOW)
_KEYWORD_FIELDS = ("user_id", "agent_id", "run_id")  # plain, as mem0 indexes them
_METADATA = "recollect"  # the name of ours among a collection's metadata, which no client takes for a memory
_INTEGER_FIELDS = ("access_id", "channel_id", "subject_id", "speaker_ids", "said_at")

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Refused(IndexUnavailable):
    """Qdrant refused a request, with the HTTP `status`."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


def connect(settings: QdrantSettings) -> AsyncQdrantClient:
    """A client of the server; it connects when it is first used."""

    with warnings.catch_warnings():  # `recollect doctor` says it, and not of a network of one's own
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection", UserWarning)
        return AsyncQdrantClient(
            url=settings.url,
            api_key=settings.api_key.get_secret_value() or None,
            timeout=math.ceil(settings.timeout.total_seconds()),
            check_compatibility=False,  # asks in a thread of its own and warns where nobody reads it
        )


async def answer(request: Awaitable[T]) -> T:
    """The answer to a request; what keeps it away is an `IndexUnavailable`, which never quotes what was sent."""

    try:
        return await request
    except UnexpectedResponse as error:
        status = error.status_code
        if status in (401, 403):
            raise Refused(f"Qdrant refused the API key ({status}): check qdrant.api_key.", status) from None
        raise Refused(f"Qdrant refused a request ({status}).", status) from None
    except (ApiException, QdrantException) as error:
        raise IndexUnavailable("The Qdrant server does not answer.") from error


async def prepare(
    client: AsyncQdrantClient, collection: str, dimensions: int, fingerprint: Fingerprint | None = None
) -> frozenset[Key]:
    """Create what is missing of the collection, its keys and its payload indexes; the keys it has now.

    Raises `IndexMismatch` if it was made with another embedding model, or holds vectors of another size.
    """
    if not await answer(client.collection_exists(collection)):
        await create(client, collection, dimensions, fingerprint)
    info = await answer(client.get_collection(collection))
    where = f"The collection {collection}"
    if fingerprint is not None and (stored := fingerprint_of(info)) is not None and info.points_count != 0:
        fingerprint.refuse_other(stored, where)
    keys = _keys_of(info.config.params, where, dimensions, fingerprint)
    if fingerprint is not None and fingerprint_of(info) != fingerprint:
        await answer(client.update_collection(collection, metadata=_metadata(fingerprint)))
    for key in [key for key in Key if key not in keys]:
        if await _add_key(client, collection, dimensions, key):
            keys.add(key)
    await _create_payload_indexes(client, collection)
    return frozenset(keys)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a collection is laid out; its vectors have so many dimensions."""

    keys: frozenset[Key]
    dimensions: int
    fingerprint: Fingerprint | None


async def layout_of(client: AsyncQdrantClient, collection: str) -> Layout | None:
    """How a collection is laid out, which stays as it is; None if there is none, or one without our vectors."""
    if not await answer(client.collection_exists(collection)):
        return None
    info = await answer(client.get_collection(collection))
    sizes = _sizes(info.config.params)
    if not sizes:
        return None
    return Layout(frozenset({*sizes, *_sparse(info.config.params)}), next(iter(sizes.values())), fingerprint_of(info))


def fingerprint_of(info: models.CollectionInfo) -> Fingerprint | None:
    """What a collection says that it was made with. A server before 1.16 keeps nothing of the kind."""
    try:
        return Fingerprint.from_dict((info.config.metadata or {})[_METADATA])
    except (LookupError, TypeError, ValueError):
        return None


def alias_of(collection: str) -> str:
    """The alias of the collection in use, where that is no longer the one of the settings."""
    return f"{collection}-current"


async def current_collection(client: AsyncQdrantClient, collection: str) -> str:
    """The collection in use instead of this one, if another was put in its place; see `server_sites`."""
    try:
        found = (await answer(client.get_aliases())).aliases
    except Refused as error:
        if error.status not in (401, 403, 404):
            raise
        return collection  # a key for this collection alone may not ask
    return next((one.collection_name for one in found if one.alias_name == alias_of(collection)), collection)


def _metadata(fingerprint: Fingerprint | None) -> dict[str, Any]:
    return {_METADATA: fingerprint.to_dict()} if fingerprint else {}


async def create(
    client: AsyncQdrantClient,
    collection: str,
    dimensions: int,
    fingerprint: Fingerprint | None,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Make a collection with all four keys; `notes` are kept among its metadata."""
    vector = models.VectorParams(size=dimensions, distance=models.Distance.COSINE)
    sparse = models.SparseVectorParams(modifier=models.Modifier.IDF)
    await answer(
        client.create_collection(
            collection,
            vectors_config={key.value: vector for key in DENSE_KEYS},
            sparse_vectors_config={key.value: sparse for key in SPARSE_KEYS},
            metadata={**_metadata(fingerprint), **(notes or {})} or None,
        )
    )


def _keys_of(params: models.CollectionParams, where: str, dimensions: int, fingerprint: Fingerprint | None) -> set[Key]:
    """Which of our keys an existing collection has. One that only ever had the unnamed vector gives it bare."""
    sizes = _sizes(params)
    for size in sizes.values():
        refuse_size(size, dimensions, where, fingerprint)
    return {*sizes, *_sparse(params)}


def _sizes(params: models.CollectionParams) -> dict[Key, int]:
    dense = params.vectors if isinstance(params.vectors, dict) else {Key.DENSE.value: params.vectors}
    return {key: vector.size for key in DENSE_KEYS if (vector := dense.get(key.value)) is not None}


def _sparse(params: models.CollectionParams) -> set[Key]:
    return {key for key in SPARSE_KEYS if key.value in (params.sparse_vectors or {})}


async def _add_key(client: AsyncQdrantClient, collection: str, dimensions: int, key: Key) -> bool:
    """Add a vector that a collection made by plain mem0 lacks; a server before 1.18 cannot, and goes without."""

    config: models.DenseVectorNameConfig | models.SparseVectorNameConfig
    if key in DENSE_KEYS:
        dense = models.DenseVectorConfig(size=dimensions, distance=models.Distance.COSINE)
        config = models.DenseVectorNameConfig(dense=dense)
    else:
        sparse = models.SparseVectorConfig(modifier=models.Modifier.IDF)
        config = models.SparseVectorNameConfig(sparse=sparse)
    try:
        await answer(client.create_vector_name(collection, key.value, config))
    except Refused as error:
        log.warning("collection_lacks_key", collection=collection, key=key.value, status=error.status)
        return False
    return True


async def _create_payload_indexes(client: AsyncQdrantClient, collection: str) -> None:
    fields: dict[str, Any] = {
        "guild_id": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
        **dict.fromkeys(_KEYWORD_FIELDS, models.PayloadSchemaType.KEYWORD),
        **dict.fromkeys(_INTEGER_FIELDS, models.PayloadSchemaType.INTEGER),
    }
    for field, schema in fields.items():
        await answer(client.create_payload_index(collection, field, schema, wait=True))
