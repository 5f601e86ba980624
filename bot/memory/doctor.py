"""Checks of the embedder and of the index."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bot.checks import Check, Verdict, failed, passed, told, warned
from bot.errors import EmbedderUnavailable, IndexMismatch, IndexUnavailable, QuotaExhausted, RecollectError
from bot.model import EmbeddingModel
from bot.settings import Settings, shown_url

if TYPE_CHECKING:
    from bot.memory.embeddings import Embedder
    from bot.memory.index import VectorIndex

EMBEDDER, INDEX, INDEX_SIZE = "Embedder", "Index", "Index size"

MOST_EMBEDDED = 100_000  # points of one guild; a query over them keeps everything else waiting for 30 ms
LOADING_SECONDS = 30.0  # Ollama loads a model from the disk with the first text
_SECONDS = 4.0
_QUOTA = "Add credit or raise the limit where the service bills you; embedding goes on by itself."
_MOVE = "Move it to a Qdrant server with `recollect migrate` and set qdrant.url."


def patience(model: EmbeddingModel) -> float:
    """How many seconds one tiny text may take."""
    return LOADING_SECONDS if model.provider == "ollama" else _SECONDS


async def check_embedder(
    embedder: "Embedder | None", model: EmbeddingModel, answers: Callable[[], Awaitable[bool]]
) -> Check:
    """One tiny text, embedded for real. `answers` says if an Ollama does so at all: it may be loading the model."""
    if embedder is None:
        key = f"{model.provider.upper()}_API_KEY"
        fix = f"Put a key into {key} or a secret file of that name, or set embedding.provider to ollama."
        return warned(EMBEDDER, "there is no key, so recall searches by keywords only", fix)
    try:
        [vector] = await embedder.documents(["hello"], patience(model))
    except QuotaExhausted as error:
        return told(EMBEDDER, Verdict.FAIL, str(error), _QUOTA)
    except EmbedderUnavailable as error:
        if isinstance(error.__cause__, TimeoutError) and model.provider == "ollama" and await answers():
            detail = f"Ollama answers, but was still loading {model.name} after {patience(model):g} seconds"
            return warned(EMBEDDER, detail, "Run this again in a minute; if it stays so, look at Ollama's log.")
        fix = f"Correct the key, the address, the model and its size under [{model.provider}] in the settings."
        return told(EMBEDDER, Verdict.FAIL, str(error), fix)
    return passed(EMBEDDER, f"{model.name} makes vectors of size {len(vector or ())}")


async def check_embedded(index: "VectorIndex") -> list[Check]:
    """The embedded index, which no other process may have open."""
    try:
        await index.open()
        return check_points(await index.counts())
    except (IndexMismatch, IndexUnavailable) as error:
        return [broken(error)]
    finally:
        await index.close()


def check_points(points: Mapping[int | None, int]) -> list[Check]:
    """The embedded index opens, and holds so many points of each guild."""
    total = sum(points.values())
    opens = passed(INDEX, f"embedded, {total:,} point{'' if total == 1 else 's'}")
    large = {guild_id: count for guild_id, count in points.items() if guild_id and count > MOST_EMBEDDED}
    if not large:
        return [opens, passed(INDEX_SIZE, f"no server has more than {MOST_EMBEDDED:,} points")]
    told_of = ", ".join(f"{guild_id} has {count:,}" for guild_id, count in large.items())
    return [opens, warned(INDEX_SIZE, f"a server beyond {MOST_EMBEDDED:,} points belongs on Qdrant: {told_of}", _MOVE)]


async def check_server(settings: Settings, index: "VectorIndex") -> list[Check]:
    """The collection on a Qdrant server; where there is none yet, none is made."""
    from bot.memory.index import Key
    from bot.memory.qdrant import answer, connect, current_collection, layout_of

    where = shown_url(settings.qdrant.url)
    client = connect(settings.qdrant)
    try:
        collection = await current_collection(client, settings.qdrant.collection)
        if not await answer(client.collection_exists(collection)):
            return [passed(INDEX, f"{where} answers; the collection {collection} is made at the first start")]
        await index.open()
        layout = await layout_of(client, collection)
        info = await answer(client.get_collection(collection))
    except (IndexMismatch, IndexUnavailable) as error:
        return [broken(error, f"Start Qdrant, or set qdrant.url to where it listens, not {where}.")]
    finally:
        await index.close()
        await client.close()
    if info.status == "red":
        return [failed(INDEX, f"{collection} at {where} is damaged (status red)", "See Qdrant's log.")]
    if lacking := set(Key) - (layout.keys if layout else set()):
        names = ", ".join(sorted(key.value or "the text's vector" for key in lacking))
        return [warned(INDEX, f"{collection} at {where} lacks {names}: recall finds less", "Update Qdrant to 1.18.")]
    return [passed(INDEX, f"{collection} at {where}, {info.points_count or 0:,} points")]


def none_yet(folder: Path) -> Check:
    """Nothing to open."""
    return passed(INDEX, f"embedded in {folder}; it is made at the first start")


def unasked(folder: Path) -> Check:
    """Who has the folder open cannot be asked."""
    fix = "Stop what uses it, or wait until it is done, then run this again."
    return warned(INDEX, f"{folder} is held by a process that cannot be asked, so it was not opened", fix)


def unreadable(folder: Path, error: OSError) -> Check:
    """The folder is another user's, or its disk is damaged."""
    fix = "Run this as the user the bot runs as, and let that one read and write the data folder."
    return failed(INDEX, f"{folder} cannot be opened ({error.strerror})", fix)


def broken(error: RecollectError, otherwise: str = "Restart the bot and see its log.") -> Check:
    """It cannot be used, and why."""
    return told(INDEX, Verdict.FAIL, str(error), otherwise)
