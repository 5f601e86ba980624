"""Retractions of every kind, in any order and at any time, leave nothing that should be gone."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records import ANA, BEN, GUILD, MINUTE, Vault, said, stated

from bot.model import DISCORD_EPOCH_MS, Message
from bot.storage.rows import to_ms

DAY = timedelta(days=1)
PLACES = 3
NUMBERS = st.integers(0, 11)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["capture", "edit", "delete", "extract", "replay"]), NUMBERS),
    st.tuples(st.just("place"), st.integers(0, PLACES - 1)),
    st.tuples(st.just("member"), st.sampled_from([ANA, BEN])),
    st.tuples(st.just("expire"), st.integers(0, 2)),
)
STORIES = count(1)


class Story:
    """Messages of one example, in places of its own: a channel, its thread and another channel."""

    def __init__(self, vault: Vault, number: int) -> None:
        self.vault = vault
        self.guild_id = GUILD + number
        self.places = [number * 10 + place for place in range(PLACES)]
        self.began = vault.clock.now

    def message(self, number: int, **changes: Any) -> Message:
        place = number % PLACES
        when = self.began + number * MINUTE
        id = ((to_ms(when) - DISCORD_EPOCH_MS) << 22) + self.guild_id
        fields: dict[str, Any] = {
            "guild_id": self.guild_id,
            "channel_id": self.places[place],
            "access_id": self.places[0 if place == 1 else place],
            "author_id": ANA if number % 2 else BEN,
            "created_at": when,
        }
        return said(id, **fields | changes)

    def step(self, what: str, number: int) -> Coroutine[Any, Any, object]:
        vault, now = self.vault, self.vault.clock.now
        match what:
            case "capture":
                return vault.messages.capture(self.message(number))
            case "edit":
                return vault.messages.capture(self.message(number, content=f"edited at {now}", edited_at=now))
            case "replay":
                return vault.messages.capture_many([self.message(n) for n in range(12)])
            case "delete":
                return vault.retraction.messages_deleted(self.guild_id, [self.message(number).id])
            case "place":
                return vault.retraction.place_deleted(self.guild_id, self.places[number])
            case "member":
                return vault.retraction.member_forgotten(self.guild_id, number)
            case "expire":
                return vault.retraction.expire(self.guild_id, now - number * DAY, None)
            case _:
                return self.extract(number)

    async def extract(self, number: int) -> None:
        """Draw a fact from a message alone and one from it and its predecessor in its place."""
        pair = [self.message(n) for n in (number, number - PLACES) if n >= 0]
        lease = await self.vault.claim(*(one.id for one in pair))
        await asyncio.sleep(0)
        place = {name: getattr(pair[0], name) for name in ("guild_id", "channel_id", "access_id")}
        facts = [
            stated(f"fact {number} on {len(on)}", [one.id for one in on], **place)
            for on in (pair[:1], pair)
            if {one.id for one in on} <= {one.id for one in lease.messages}
        ]
        words = {fact.id: fact for fact in facts}
        await self.vault.queue.commit(lease, list(words.values()))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(STEPS, max_size=20), together=st.booleans())
async def test_no_story_leaves_what_should_be_gone(vault: Vault, story: list[tuple[str, int]], together: bool) -> None:
    """Nothing held is buried, and every fact rests on messages that are held as they were read, or expired since."""
    tale = Story(vault, 10 * next(STORIES))
    await vault.messages.capture_many([tale.message(n) for n in range(12)])
    steps: list[Coroutine[Any, Any, object]] = []
    for what, number in story:
        vault.clock.move(DAY / 2)
        steps.append(tale.step(what, number))
        if not together:
            await steps.pop()
    await asyncio.gather(*steps)

    async with vault.database.read() as connection:
        buried = await connection.exec_driver_sql(
            """
            SELECT message.id, tombstone.id FROM message JOIN tombstone
            ON tombstone.id IN (message.id, 'channel/' || channel_id, 'channel/' || access_id)
            OR tombstone.id = 'author/' || message.guild_id || '/' || author_id AND created_at < tombstone.at
            """
        )
        assert buried.all() == []
        baseless = await connection.exec_driver_sql(
            """
            SELECT fact.id, message_id FROM fact JOIN fact_source ON fact_id = fact.id
            LEFT JOIN message ON message.id = message_id LEFT JOIN tombstone ON tombstone.id = message_id
            WHERE coalesce(tombstone.reason, '') <> 'expired' AND message.id IS NULL
            OR tombstone.reason <> 'expired' OR message.edited_at > fact.created_at
            """
        )
        assert baseless.all() == []
