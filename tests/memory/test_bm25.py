"""BM25 keys."""

import pytest
from house import House, everywhere, said, texts

from bot.errors import SettingsError
from bot.memory.bm25 import Bm25, languages

SENTENCE = "The quick brown foxes are running, and the dog's barking!"


def test_words_are_stemmed_and_stop_words_dropped() -> None:
    """Inflections of a word are one token, and words without meaning are none."""
    bm25 = Bm25("english")
    assert set(bm25.query("fox run").indices) <= set(bm25.document(SENTENCE).indices)
    assert not bm25.document("the and of").indices


@pytest.mark.parametrize(
    ("text", "indices", "weight"),
    [
        (
            "Quick brown foxes running generously",
            [243905464, 741580288, 771291085, 1068447005, 1621867415],
            1.66973,
        ),
        ("Café naïve Straße", [605818632, 756638508, 2095602437], 1.678689),
        ("Привет мир 你好世界", [806296289, 993413998, 1235207278], 1.678689),
        (
            "kebab-case v2.13.4 C++ 100% $5.00 " + "x" * 41,
            [218095034, 505117043, 516762017, 516830072, 580887246, 829318785, 1219669695, 1394226660, 1879591379],
            1.652097,
        ),
    ],
)
def test_vectors_are_those_of_fastembed(text: str, indices: list[int], weight: float) -> None:
    """Ids and weights equal those recorded from fastembed 0.9.1's `Qdrant/bm25`, which writes mem0's own points."""
    vector = Bm25("english").document(text)
    assert sorted(vector.indices) == indices
    assert list(vector.values) == pytest.approx([weight] * len(indices), abs=1e-6)


def test_a_query_weighs_each_word_once() -> None:
    """However often a word is asked for, its weight is one."""
    vector = Bm25("english").query("fox fox foxes")
    assert list(vector.values) == [1.0]


def test_frequent_words_weigh_more_in_a_document() -> None:
    """Term frequency raises a weight and saturates."""
    bm25 = Bm25("english")
    once, twice, often = (bm25.document("fox " * count).values[0] for count in (1, 2, 50))
    assert once < twice < often < 2.2


def test_none_keeps_words_as_they_are() -> None:
    """Without a language there is no stemmer and there are no stop words."""
    bm25 = Bm25("none")
    assert len(bm25.document("the fox and foxes").indices) == 4


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("市集什么时候", "我们决定星期六举行春季市集"),
        ("東京", "お茶が好きです。東京都に住んでいます"),
        ("茶", "お茶が好きです"),
        ("차", "한국어 차를 좋아해요"),
        ("ตลาดวันไหน", "ตลาดนัดวันเสาร์"),
        ("ｶﾒﾗ", "カメラを買った"),
        ("naive cafe", "Café naïve"),
        ("strasse", "Straße"),
        ("istanbul", "İstanbul'da çay"),
        ("Donde esta el nino", "¿Dónde está el niño?"),
        ("e\u0301te", "\u00e9t\u00e9"),
        ("чай", "Где Чай?"),
    ],
)
def test_without_a_language_many_are_found(question: str, said: str) -> None:
    """Words between others without spaces, in another width, and typed without their accents."""
    bm25 = Bm25("none")
    assert set(bm25.query(question).indices) & set(bm25.document(said).indices)


@pytest.mark.parametrize("language", [name for name in languages() if name != "english"])
def test_a_pair_of_characters_finds_more_than_one_character(language: str) -> None:
    """In every language but English, whose keys are mem0's, a run without spaces is characters and pairs."""
    bm25 = Bm25(language)
    asked = set(bm25.query("市集").indices)
    together, apart = (len(asked & set(bm25.document(text).indices)) for text in ("春季市集在这里", "市长收集邮票"))
    assert (together, apart) == (3, 2)


async def test_a_question_in_chinese_is_answered(house: House) -> None:
    """From a sentence without spaces, by keywords alone; the best match comes first."""
    house.bm25 = Bm25("none")
    for id, text in enumerate(["市长收集邮票", "我们决定星期六举行春季市集", "Straße"], start=1):
        assert await house.messages.capture(said(id, text))
    await house.indexer().drain()
    recall = house.recall()
    assert texts(await recall.recall("春季市集在什么时候", everywhere(), 1)) == ["我们决定星期六举行春季市集"]
    assert texts(await recall.recall("strasse", everywhere(), 1)) == ["Straße"]


@pytest.mark.parametrize("text", ["", "   ", "?!…", "👍👍"])
def test_a_text_without_words_has_an_empty_vector(text: str) -> None:
    """Nothing to search by is an empty vector, not an error."""
    assert not Bm25("english").document(text).indices
    assert not Bm25("english").query(text).indices


def test_every_listed_language_works() -> None:
    """What an error message offers can be used."""
    assert {"english", "german", "none"} <= set(languages())
    for language in languages():
        assert Bm25(language.title()).document("Straße 123").indices


def test_an_unknown_language_is_refused_in_one_sentence() -> None:
    """The sentence names the key, the value and what exists."""
    with pytest.raises(
        SettingsError, match=r"^recall\.language 'klingon' is not known; use one of arabic, .*, none\.$"
    ):
        Bm25("klingon")
