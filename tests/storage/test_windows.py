"""Windows: of which messages each message's window key is made, as conversations arrive, change and go."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from records import ANA, BEN, CHANNEL, GUILD, NOON, Vault, said
from sqlalchemy import Connection, text

from bot.model import Message

CLEO, DAN = 303, 304
NAMES = {ANA: "Ana", BEN: "Ben", CLEO: "Cleo", DAN: "Dan"}
HOUR = timedelta(hours=1)


def talk(*lines: tuple[int, int, int | None], channel_id: int = CHANNEL) -> list[Message]:
    """Messages by id, author and what they reply to."""
    return [
        said(id, f"words {id}", author_id=author, author_name=NAMES[author], channel_id=channel_id, reply_to=reply_to)
        for id, author, reply_to in lines
    ]


# Cleo and Dan talk about lunch; after a lull, Ana and Ben talk about the kiln at the same time.
LUNCH, KILN = [20, 1020, 1040, 1060], [1010, 1030, 1050, 1070]
BUSY = talk(
    (20, CLEO, None),
    (1010, ANA, None),
    (1020, DAN, 20),
    (1030, BEN, 1010),
    (1040, CLEO, 1020),
    (1050, ANA, 1030),
    (1060, DAN, 1040),
    (1070, BEN, 1050),
)


async def windows(vault: Vault, ids: Sequence[int] = range(1, 2000)) -> dict[int, list[int]]:
    """The recorded windows."""
    return {id: [one.id for one in near] for id, near in (await vault.messages.around(ids)).items()}


async def test_a_window_is_of_one_conversation(vault: Vault) -> None:
    """Two before, itself and one after, of those who talk with each other; no window before it is to be indexed."""
    await vault.hold(*BUSY)
    assert await windows(vault) == {}
    await vault.index()
    expected = {}
    for conversation in (KILN, LUNCH):
        expected |= {id: conversation[max(0, place - 2) : place + 2] for place, id in enumerate(conversation)}
    assert await windows(vault) == expected


async def test_channels_are_apart(vault: Vault) -> None:
    """The same people at the same time in another channel are in no window of this one."""
    await vault.hold(*talk((1, ANA, None), (3, ANA, None)), *talk((2, ANA, None), (4, ANA, None), channel_id=21))
    await vault.index()
    assert await windows(vault) == {1: [1, 3], 3: [1, 3], 2: [2, 4], 4: [2, 4]}


async def test_a_reply_finds_what_it_answers_however_old(vault: Vault) -> None:
    """Its target is in its window from beyond the stretch of channel that is looked at, not from another channel."""
    late, tomorrow = 24 * 3600 * 1000 << 22, NOON + timedelta(days=1)
    await vault.hold(*talk((1, ANA, None)), *talk((2, ANA, None), channel_id=21))
    await vault.hold(*(said(id, created_at=NOON + timedelta(seconds=id)) for id in range(1000, 1100)))
    for number, target in enumerate((1, 2, 3)):
        await vault.hold(said(late + number, author_id=BEN + number, created_at=tomorrow, reply_to=target))
    await vault.index()
    assert await windows(vault, [late]) == {late: [1, late, late + 1]}


async def test_a_new_message_changes_the_windows_it_belongs_to(vault: Vault) -> None:
    """Live that is the one before in its conversation; between others also the two after, and nothing else."""
    await vault.hold(*(one for one in BUSY if one.id not in (1030, 1070)))
    assert await vault.index() == [20, 1010, 1020, 1040, 1050, 1060]
    await vault.hold(BUSY[7])
    assert await vault.index() == [1050, 1070]
    await vault.hold(BUSY[3])
    assert await vault.index() == [1010, 1030, 1050, 1070]
    assert await vault.index() == []
    assert (await windows(vault))[1050] == KILN


async def test_capture_sends_nothing_back(vault: Vault) -> None:
    """To which windows a message belongs is found when it is indexed, not while people talk."""
    await vault.hold(*BUSY[:4])
    await vault.index()
    await vault.hold(*BUSY[4:])
    assert (await vault.messages.stats(GUILD)).not_indexed == 4


async def test_a_batch_stays_within_its_limit(vault: Vault) -> None:
    """Neighbours come along as far as there is room, and the others with the next batch."""
    await vault.hold(*BUSY[:4])
    await vault.index()
    await vault.hold(*BUSY[4:6])
    batches = []
    while batch := await vault.messages.to_index(3, embedding=True):
        batches.append([one.id for one in batch])
        await vault.messages.mark_indexed(batch, complete=True)
    assert batches == [[1020, 1040, 1050], [1030]]


async def test_in_whatever_order_messages_come_the_windows_end_up_the_same(vault: Vault) -> None:
    """Indexed one by one in any order, and drained: as if they had been there from the start."""
    await vault.hold(*BUSY)
    await vault.index()
    expected = await windows(vault)
    for order in (BUSY[::-1], [*BUSY[4:], *BUSY[:4]], [*BUSY[::2], *BUSY[1::2]]):
        await vault.retraction.guild_forgotten(GUILD)
        for one in order:
            await vault.hold(one)
            for _ in range(9):
                await vault.index()
        assert await windows(vault) == expected


async def test_a_removed_message_is_in_no_window(vault: Vault) -> None:
    """Those in whose windows it was are indexed again without it, the other conversation is left alone."""
    await vault.hold(*BUSY)
    await vault.index()
    await vault.retraction.messages_deleted(GUILD, [1050])
    assert await vault.index() == [1030, 1070]
    assert {id: near for id, near in (await windows(vault)).items() if id in KILN} == {
        1010: [1010, 1030],
        1030: [1010, 1030, 1070],
        1070: [1010, 1030, 1070],
    }


async def test_words_are_found_where_they_were_written_not_where_they_would_be_now(vault: Vault) -> None:
    """After an edit tore a conversation apart, a deletion still reaches every window made before."""
    await vault.hold(*BUSY)
    await vault.index()
    await vault.database.transact(  # as if told apart in another way ever since
        lambda connection: connection.execute(text("UPDATE message SET reply_to = 20 WHERE id = 1050"))
    )
    await vault.retraction.messages_deleted(GUILD, [1050])
    assert await vault.index() == [1030, 1070]


async def test_an_edit_reaches_the_windows_it_leaves_and_those_it_enters(vault: Vault) -> None:
    """An answer redirected by an edit goes from one conversation's windows into the other's."""
    await vault.hold(*BUSY)
    await vault.index()
    assert await vault.messages.capture(replace(BUSY[6], content="?", reply_to=1050, edited_at=NOON + HOUR))
    assert await vault.index() == [1040, 1050, 1060, 1070]
    near = await windows(vault)
    assert near[1040] == [20, 1020, 1040]
    assert near[1050] == [1010, 1030, 1050, 1060]


@pytest.mark.parametrize("when", ["taken", "written"])
async def test_a_neighbour_removed_on_the_way_stays_in_line(vault: Vault, when: str) -> None:
    """What goes between the taking and the marking is not taken for indexed, whether read before or after."""
    await vault.hold(*BUSY)
    taken = await vault.messages.to_index(100, embedding=True)
    if when == "written":
        assert 1050 in {one.id for one in (await vault.messages.around([1070]))[1070]}
    await vault.retraction.messages_deleted(GUILD, [1050])
    assert 1050 not in {one.id for one in (await vault.messages.around([1070]))[1070]}
    assert await vault.messages.mark_indexed(taken, complete=True) == [1050]
    assert await vault.index() == [1030, 1070]


async def test_what_is_removed_while_conversations_are_told_apart_is_in_no_window(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion after the look and before the taking: the windows are those of what is left, recorded as such."""
    transact = vault.database.transact

    async def later(work: Callable[[Connection], object]) -> object:
        monkeypatch.undo()
        await vault.retraction.messages_deleted(GUILD, [1050])
        return await transact(work)

    await vault.hold(*BUSY)
    monkeypatch.setattr(vault.database, "transact", later)
    assert 1050 not in await vault.index()
    assert (await windows(vault))[1070] == [1010, 1030, 1070]
    assert await vault.index() == []


async def test_vectors_are_made_for_the_window_the_keywords_are_of(vault: Vault) -> None:
    """A message that only lacks vectors keeps its window: of another one, the old one's words would not be told."""
    await vault.hold(*BUSY)
    await vault.messages.mark_indexed(await vault.messages.to_index(100, embedding=False), complete=False)
    before = await windows(vault)
    await vault.hold(*talk((1045, BEN, 1030)))
    taken = await vault.messages.to_index(4, embedding=True)
    assert [one.id for one in taken] == [20, 1010, 1020, 1030]
    assert await windows(vault) == before
    await vault.retraction.messages_deleted(GUILD, [1050])
    assert 1030 in {one.id for one in await vault.messages.to_index(100, embedding=False)}
