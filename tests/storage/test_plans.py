"""No query walks a whole table: with a backlog of 100,000 messages each reads what it needs through an index."""

import re
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from records import ANA, CHANNEL, GUILD, MINUTE, NOON, Vault, said, stated
from sqlalchemy import event

from bot.model import Scope, message_memory
from bot.storage.corrections import Corrections
from bot.storage.keyword import KeywordSearch
from bot.storage.messages import MessageStore
from bot.storage.mine import START, Mine, OwnMemories

# A scan without an index, or through an index of which only the guild is used for a choice among its messages.
WALK = re.compile(r"SCAN (message|surrounding|fact|fact_source|tombstone)$|message_by_author \(guild_id=\?\)$")
MEANT = {"resume": "SCAN fact"}  # once an hour all facts are read, instead of once for each deleted place


def operations(vault: Vault) -> dict[str, Coroutine[Any, Any, object]]:
    messages, queue, facts, retraction = vault.messages, vault.queue, vault.facts, vault.retraction
    fact = stated("a", [1])
    mine = Mine(GUILD, ANA, frozenset({CHANNEL}), everywhere=True)
    return {
        "capture": messages.capture(said(9)),
        "edit": messages.capture(said(9, "edited", edited_at=NOON + 60 * MINUTE)),
        "around": messages.around([1, 2]),
        "to_index": messages.to_index(9, embedding=True),
        "to_index a reply": reply_indexed(messages),
        "to_index elsewhere": messages.to_index(9, embedding=True, without={GUILD}),
        "mark_indexed": messages.mark_indexed([said(1)], complete=True),
        "release_all": queue.release_all(),
        "begin_batch": queue.begin_batch(GUILD, NOON),
        "channels_waiting": queue.channels_waiting(GUILD),
        "waiting": queue.waiting(GUILD, CHANNEL, 9),
        "extracted_before": queue.extracted_before(CHANNEL, 9, 9),
        "take": queue.take([1, 2], MINUTE, [3]),
        "extract": vault.extract(fact),
        "dead": queue.dead(GUILD),
        "dead_letters": queue.dead_letters(GUILD),
        "all dead_letters": queue.dead_letters(),
        "replay_dead": queue.replay_dead(GUILD),
        "replay_dead of all": queue.replay_dead(ids=[1, 2]),
        "oldest_waiting": messages.oldest_waiting(),
        "about": facts.about(GUILD, ANA),
        "resting_on": facts.resting_on([1]),
        "facts.to_index": facts.to_index(9, embedding=True),
        "facts.mark_indexed": facts.mark_indexed([fact], complete=True),
        "correct": Corrections(vault.database, vault.clock).correct(GUILD, ANA, "Ana", fact.id, "b"),
        "own memories": OwnMemories(vault.database).page(mine, START, 9),
        "own memories of a thread": OwnMemories(vault.database).page(replace(mine, channel_id=CHANNEL), START, 9),
        "days of own memories": OwnMemories(vault.database).days(mine),
        "messages_deleted": retraction.messages_deleted(GUILD, [2]),
        "expire": retraction.expire(GUILD, NOON + 60 * MINUTE, NOON - 60 * MINUTE),
        "facts_forgotten": retraction.facts_forgotten(GUILD, [fact.id]),
        "member_forgotten": retraction.member_forgotten(GUILD, ANA),
        "place_deleted": retraction.place_deleted(GUILD, 77),
        "resume": retraction.resume(),
        "standing": retraction.standing(map(message_memory, [said(1)])),
        "retracted": retraction.retracted(map(message_memory, [said(1)])),
        "search": KeywordSearch(vault.database).search("hello", Scope(GUILD, frozenset({CHANNEL})), 9),
    }


async def reply_indexed(messages: MessageStore) -> None:
    """Take a late reply to an early message."""
    late = 24 * 3600 * 1000 << 22
    await messages.capture_many([said(late, reply_to=1, created_at=NOON + 1440 * MINUTE)])
    assert late in {one.id for one in await messages.to_index(99, embedding=True)}


async def plan(vault: Vault, statement: str, parameters: Any) -> list[str]:
    one = parameters[0] if isinstance(parameters, list) else parameters
    async with vault.database.read() as connection:
        return [row.detail for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", one)]


async def test_every_query_uses_an_index(vault: Vault, subtests: pytest.Subtests) -> None:
    """Every statement of every operation on messages and facts finds its rows by an index."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
            statements.append((statement, parameters))

    database = vault.database
    for engine in (database._engine, database._looks, database._writer.sync_engine, database._readers.sync_engine):
        event.listen(engine, "after_cursor_execute", note)
    await vault.hold(*(said(id) for id in range(1, 6)))
    for name, operation in operations(vault).items():
        statements.clear()
        await operation
        seen = list(statements)
        assert seen, name
        for statement, parameters in seen:
            with subtests.test(name, statement=statement):
                walks = {step for step in await plan(vault, statement, parameters) if WALK.search(step)}
                assert walks <= {MEANT.get(name)}
