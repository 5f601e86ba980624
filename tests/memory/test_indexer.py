"""The indexer: everything waiting gets its keys, through outages, edits and deletions."""

from house import ANN, BEN, GENERAL, OTHER_GUILD, STAFF, House, everywhere, fact_of, said, texts

from bot.memory.index import Key


async def test_messages_are_indexed_with_both_keyword_keys(house: House) -> None:
    """Without an embedder a message has its text and its window as BM25, and is done with."""
    await house.messages.capture_many([said(1, "the kiln arrives on monday"), said(2, "bring gloves", BEN)])
    assert await house.indexer().drain() == 2

    points = await house.points()
    kiln = points["the kiln arrives on monday"]
    assert (kiln.dense, set(kiln.sparse)) == ({}, {Key.BM25, Key.BM25_WINDOW})
    assert kiln.sparse[Key.BM25] == house.bm25.document("Ann: the kiln arrives on monday")
    assert kiln.sparse[Key.BM25_WINDOW] == house.bm25.document("Ann: the kiln arrives on monday\nBen: bring gloves")
    assert await house.indexer().drain() == 0
