"""Names in a question: those of people who spoke where the asker may read, in the ways people write them."""

from dataclasses import replace

import pytest
from house import BEN, GENERAL, GUILD, OTHER_GUILD, STAFF, House, said

from bot.errors import StorageUnavailable
from bot.memory.bm25 import Bm25
from bot.memory.naming import Speakers, named, without
from bot.storage.names import Names

BM25 = Bm25("english")
HERE = frozenset({GENERAL})


def found(question: str, *names: str) -> set[str]:
    """The names a question speaks of."""
    return set(named(question, names, BM25.words))


@pytest.mark.parametrize(
    "question",
    [
        "what did Mara say?",
        "what did mara say?",
        "MARA's plan",
        "mara’s plan",  # noqa: RUF001  (as telephones write it)
        "is that @mara?",
        "(Mara)",
        "Mara",
        "what did Mara Lopez say?",
        "lopez, mara",
    ],
)
def test_a_name_is_known_however_it_is_written(question: str) -> None:
    """Whole or by its first word, in any case, with a possessive or punctuation."""
    assert found(question, "Mara Lopez") == {"Mara Lopez"}


@pytest.mark.parametrize("question", ["what did maras say", "the marathon", "lopez said so", "ma ra", "who was it"])
def test_another_word_is_no_name(question: str) -> None:
    """Part of a word names nobody, nor does a last name: it may be anything."""
    assert found(question, "Mara Lopez") == set()


@pytest.mark.parametrize("name", ["🔥Mara🔥", "~ mara ~", "mara | she/her", "Mara.", "𝓜𝓪𝓻𝓪", "Ｍａｒａ", "ma\u0301ra"])  # noqa: RUF001
def test_a_decorated_name_is_known(name: str) -> None:
    """Emoji, punctuation, pronouns and look-alike letters are left out of what people type."""
    assert found("what did mara say, or mára?", name) == {name}


def test_a_name_without_letters_names_nobody() -> None:
    """Nobody can be asked about by an emoji alone."""
    assert found("🔥🔥 what is on fire? 🔥", "🔥🔥", "", "...") == set()


def test_short_names() -> None:
    """Two letters are a name if they are all of it, but no first name; one letter is none."""
    assert found("what did Bo say", "Bo") == {"Bo"}
    assert found("what did Bo say", "Bo Li") == set()
    assert found("what did bo li say", "Bo Li") == {"Bo Li"}
    assert found("plan b", "B", "b🔥", "B Movie") == set()


def test_everyday_words_name_nobody() -> None:
    """Whoever goes by a word of every question is not boosted by each, and it stays in the question."""
    question = "what is the plan that we have for saturday"
    assert found(question, "The Dude", "What", "is", "Not Ana", "that_guy", "The Plan B") == set()
    assert found("what did the dude say", "The Dude", "What") == {"The Dude"}


def test_everyone_of_a_name_is_meant() -> None:
    """Two people of one first name are both named; only what the question says of a name is told."""
    question = "did Ana meet Ben Okri?"
    assert named(question, ["Ana Ruiz", "Ana Sol", "Ben Okri", "Cleo"], BM25.words) == {
        "Ana Ruiz": ["Ana"],
        "Ana Sol": ["Ana"],
        "Ben Okri": ["Ben", "Okri"],
    }


@pytest.mark.parametrize(
    ("question", "words", "rest"),
    [
        ("what are Mara's plans?", ["Mara"], "what are plans?"),
        ("what are mara’s plans?", ["Mara"], "what are plans?"),  # noqa: RUF001
        ("is it James' cat", ["James"], "is it cat"),
        ("did Ana meet Anabel", ["Ana"], "did meet Anabel"),
        ("Mara Lopez", ["Mara", "Lopez"], ""),
        ("c++ by a.b", ["a.b", "+"], "c++ by"),
        ("who  said that", [], "who  said that"),
    ],
)
def test_a_question_without_its_names(question: str, words: list[str], rest: str) -> None:
    """Whole words go, with what makes them possessive; where nobody is named it stays as it is."""
    assert without(question, words) == rest


async def test_only_who_spoke_where_one_may_read_is_known(house: House) -> None:
    """A name heard elsewhere, in a hidden channel or another server, is not known at all."""
    await house.messages.capture_many(
        [said(1, "hello"), said(2, "hush", BEN, STAFF), said(3, "hi", BEN, GENERAL, OTHER_GUILD)]
    )
    speakers = Speakers(Names(house.database))
    assert await speakers.heard(GUILD, HERE) == ["Ann"]
    assert set(await speakers.heard(GUILD, {GENERAL, STAFF})) == {"Ann", "Ben"}
    assert await speakers.heard(GUILD, {STAFF}) == ["Ben"]
    assert await speakers.heard(GUILD, frozenset()) == []


async def test_names_are_remembered_for_minutes(house: House) -> None:
    """Until then nothing is read; after that newcomers are known and who is gone is not."""
    now = 0.0
    speakers = Speakers(Names(house.database), now=lambda: now)
    await house.messages.capture(said(1, "hello"))
    assert await speakers.heard(GUILD, HERE) == ["Ann"]

    await house.messages.capture(said(2, "hi", BEN))
    await house.retraction.messages_deleted(GUILD, [1])
    now = 299.0
    assert await speakers.heard(GUILD, HERE) == ["Ann"]
    now = 300.0
    assert await speakers.heard(GUILD, HERE) == ["Ben"]


async def test_names_of_many_servers_are_not_all_remembered(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one looked up longest ago is looked up again; each server has its own names."""
    monkeypatch.setattr("bot.memory.naming._GUILDS", 1)
    speakers = Speakers(Names(house.database), now=lambda: 0.0)
    await house.messages.capture_many([said(1, "hello"), said(2, "hi", BEN, GENERAL, OTHER_GUILD)])
    assert await speakers.heard(GUILD, HERE) == ["Ann"]
    assert await speakers.heard(OTHER_GUILD, HERE) == ["Ben"]

    await house.messages.capture(replace(said(3, "hello"), author_name="Annie"))
    assert await speakers.heard(OTHER_GUILD, HERE) == ["Ben"]
    assert await speakers.heard(GUILD, HERE) == ["Annie"]


async def test_names_that_cannot_be_read_are_no_empty_list(house: House) -> None:
    """What fails is told to the caller, and not remembered."""
    speakers = Speakers(Names(house.database))
    await house.database.close()
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await speakers.heard(GUILD, HERE)
