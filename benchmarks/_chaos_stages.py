"""What a kill cut short, by what the dead process left: not where it was aimed, but where it struck.

A kill counts for every stage it can be shown to have interrupted, since messages are in several at a time:

capture  a message had been sent to the bot and is not in its database
claim    messages are leased, and the model had not answered about them yet
llm      messages are leased, and the model's whole answer about them had been sent
facts    facts are committed, and the index holds nothing of them
index    points are written, and their rows do not say so yet
"""

import subprocess
import tempfile
from collections.abc import Collection, Iterable, Set
from pathlib import Path

from _chaos_script import TOKEN, Stage
from _chaos_stores import INDEX, Stores, has_keys, read_database, read_index, windows

from bot.memory.index import Key

_NOT_INDEXED = ("pending", "taken")


def struck(data: Path, guild_ids: Iterable[int], sent: Collection[int], answered: Set[str]) -> set[Stage]:
    """The stages a process that has just died was in. `data` is its folder, and stays as it is.

    `sent` are the ids of the messages that were sent to it a moment before its death, `answered` the
    tokens in the last question to the model if all of the answer was sent.
    """
    with tempfile.TemporaryDirectory() as copied:
        copy = Path(copied) / "data"
        # The files of the index are mostly holes, which only cp leaves out.
        subprocess.run(["cp", "-rL", "--sparse=always", data, copy], check=True)  # noqa: S607
        stores = read_database(copy)
        stores.points = read_index(copy / INDEX, guild_ids)
    leased = [row.line.text for row in stores.rows.values() if row.extraction == "leased"]
    found = {Stage.CLAIM if answered.isdisjoint(TOKEN.findall(text)) else Stage.LLM for text in leased}
    if any(id not in stores.rows for id in sent):
        found.add(Stage.CAPTURE)
    if any(fact.indexing in _NOT_INDEXED and fact.id not in stores.points for fact in stores.facts.values()):
        found.add(Stage.FACTS)
    if _written(stores):
        found.add(Stage.INDEX)
    return found


def _written(stores: Stores) -> bool:
    """Whether a point is newer than its row knows: of a fact never indexed, or with just the keys its row waits for."""
    for fact in stores.facts.values():
        if fact.indexing in _NOT_INDEXED and fact.id in stores.points:
            return True
    for line, window in windows((row.line for row in stores.rows.values()), stores.near):
        point = stores.points.get(line.point_id)
        indexing = stores.rows[line.id].indexing
        if point and indexing == "taken" and has_keys(point, str(line), window):
            return True
        if point and indexing == "keywords" and Key.DENSE in point.dense:
            return True
    return False
