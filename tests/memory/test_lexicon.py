"""The language of a guild's keyword search, and a change of it."""

from house import BEN, GUILD, OTHER_GUILD, House, everywhere, fact_of, said, texts

from bot.memory.embeddings import OpenAIEmbedder
from bot.memory.index import Key
from bot.memory.keys import KEYS_IN
from bot.memory.lexicon import Lexicon
from bot.sandbox.openai import OpenAIServer


def test_a_question_is_asked_in_every_language_of_the_keys() -> None:
    """From a change on in both, until the index is said to hold only one; a word alike in both counts once."""
    spoken = {GUILD: "english"}
    lexicon = Lexicon(lambda guild_id: spoken.get(guild_id, "english"))
    english = lexicon.query(GUILD, "Häuser tea")
    spoken[GUILD] = "german"
    both = lexicon.query(GUILD, "Häuser tea")
    assert set(english.indices) < set(both.indices)
    assert len(both.indices) == len(both.values) == len(set(both.indices)) == 3
    lexicon.holds(GUILD, {"german"})
    german = lexicon.query(GUILD, "Häuser tea")
    assert len(german.indices) == 2
    assert {*german.indices, *english.indices} == set(both.indices)
    lexicon.holds(GUILD, {"german", "english"})
    assert set(lexicon.query(GUILD, "Häuser tea").indices) == set(both.indices)
    assert lexicon.query(OTHER_GUILD, "Häuser tea") == english


async def test_a_guild_that_changes_its_language_is_found_all_the_while(
    house: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """The words' keys are made anew in the background; meanwhile old ones are found, and no text is embedded again."""
    indexer = house.indexer(embedder)
    said_here = [said(1, "Die Häuser sind gelb"), said(2, "Wir trinken Tee", BEN)]
    await house.messages.capture_many([*said_here, said(3, "Die Häuser sind rot", guild=OTHER_GUILD)])
    await house.learn(fact_of("Die Häuser sind gelb gestrichen", said_here[:1]))
    await indexer.drain()
    recall, reconciler = house.recall(), house.reconciler(indexer, embedder)

    async def found(query: str) -> set[str]:
        return set(texts(await recall.recall(query, everywhere(), 9)))

    assert await reconciler.run_once([GUILD, OTHER_GUILD]) == 0
    assert await found("Haus") == set()
    assert "Die Häuser sind gelb" in str(await found("Häuser"))
    before, sent = await house.points(), openai.requests

    house.spoken[GUILD] = "german"
    assert "Die Häuser sind gelb" in str(await found("Häuser"))
    assert await reconciler.run_once([GUILD, OTHER_GUILD]) == 3
    assert "Die Häuser sind gelb" in str(await found("Haus"))
    after = await house.points()
    assert openai.requests == sent
    assert {point.payload[KEYS_IN] for point in after.values()} == {"german"}
    assert {point.payload[KEYS_IN] for point in (await house.points(OTHER_GUILD)).values()} == {"english"}
    for text, point in after.items():
        assert {*point.dense, *point.sparse} == set(Key)
        assert {key: list(vector) for key, vector in point.dense.items()} == {
            key: list(vector) for key, vector in before[text].dense.items()
        }
    await house.messages.capture(said(4, "Der Hausmeister kommt"))
    await indexer.drain()
    assert await reconciler.run_once([GUILD, OTHER_GUILD]) == 0


async def test_a_change_cut_short_goes_on_after_a_restart(house: House, embedder: OpenAIEmbedder) -> None:
    """What is left in the former language is known from the index itself, also where it does not say so."""
    indexer = house.indexer()
    await house.messages.capture_many([said(1, "Die Häuser sind gelb"), said(2, "Alle Häuser sind rot", BEN)])
    await indexer.drain()
    old, _ = await house.index.scroll(GUILD, keys=True)
    of_before = [
        type(one)(one.id, {k: v for k, v in one.payload.items() if k != KEYS_IN}, one.dense, one.sparse) for one in old
    ]
    await house.index.upsert(GUILD, of_before)
    house.spoken[GUILD] = "german"  # this house has never heard of another
    assert await house.reconciler(indexer).run_once([GUILD]) == 2
    assert len(texts(await house.recall().recall("Haus", everywhere(), 9))) == 2
