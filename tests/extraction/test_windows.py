"""Which messages go into one call."""

import json
from dataclasses import replace

import pytest
from workshop import said

from bot.conversations import conversations
from bot.extraction.prompt import build
from bot.extraction.text import most_tokens
from bot.extraction.windows import halve, pack, refreshed, tokens
from bot.model import Message, Window
from bot.sandbox.ollama import count_tokens
from bot.settings_services import OllamaSettings
from bot.storage.lease import Lease, Taken

BUDGET = 2400


def talk(
    count: int, first: int = 1, words: str = "a remark of the usual length, with a dozen words or so in it"
) -> list[Message]:
    return [said(first + i, ["Ann", "Ben"][i % 2], words) for i in range(count)]


def ids(windows: list[Window]) -> list[list[list[int]]]:
    return [[[m.id for m in section] for section in window.sections] for window in windows]


def test_whole_conversations_share_a_window() -> None:
    """Each conversation is one section, in the order they began."""
    groups = [talk(3, 10), talk(2, 1), talk(4, 20)]
    assert ids(pack(groups, BUDGET)) == [[[1, 2], [10, 11, 12], [20, 21, 22, 23]]]


def test_no_window_is_larger_than_the_budget_and_no_message_is_lost() -> None:
    """Many conversations fill several windows, every message once."""
    groups = [talk(1 + i % 17, 100 * i + 1) for i in range(60)]
    windows = pack(groups, BUDGET)
    assert all(tokens(window.messages, BUDGET) <= BUDGET for window in windows)
    assert sorted(m.id for w in windows for m in w.messages) == sorted(m.id for group in groups for m in group)
    assert all(group in [list(s) for w in windows for s in w.sections] for group in groups)


def test_a_window_holds_about_fifty_messages() -> None:
    """A hundred messages of usual length make two calls, not ten."""
    assert len(pack(conversations(talk(100)), BUDGET)) == 2


def test_a_conversation_larger_than_a_window_is_divided_at_its_longest_pause() -> None:
    """The cut falls where people paused, not in the middle of an exchange."""
    lively = [said(i, "Ann", "word " * 20, minute=i if i <= 35 else i + 60) for i in range(1, 71)]
    windows = pack([lively], BUDGET)
    assert [m.id for m in windows[0].messages] == list(range(1, 36))
    assert [m.id for w in windows for m in w.messages] == list(range(1, 71))


def test_one_huge_message_is_a_window() -> None:
    """4,000 emoji, far more than the budget, still get their call, beside the rest."""
    huge = said(2, "Ben", "\U0001f600" * 4000)
    windows = pack([[said(1, "Ann", "hello"), huge, said(3, "Ann", "wow")]], BUDGET)
    assert [[m.id for m in w.messages] for w in windows] == [[1, 3], [2]]


def test_the_estimate_counts_what_the_prompt_shows() -> None:
    """Invisible characters and piles of marks take no room."""
    assert tokens([said(1, "Ann", "hi" + "\u202e" * 5000)], BUDGET) == tokens([said(1, "Ann", "hi")], BUDGET)
    assert most_tokens("hi") < tokens([said(1, "Ann", "hi")], BUDGET)


@pytest.mark.parametrize("reply_to", [None, 7, 10_000])
@pytest.mark.parametrize("name", ["Bo", "A name of thirty-two characters!", "\u738b" * 32])
def test_short_remarks_leave_room_for_an_answer(name: str, reply_to: int | None) -> None:
    """However short the words, lines with names and quotes leave a third of the context for the answer."""
    settings = OllamaSettings()
    remarks = [said(i, name, "ok", reply_to=None if reply_to is None else i - reply_to) for i in range(10_001, 10_601)]
    for window in pack([remarks], BUDGET):
        ids = {message.id for message in window.messages}
        elsewhere = {message.reply_to for message in window.messages if message.reply_to} - ids
        answered = {id: said(id, name, "word " * 200) for id in elsewhere}
        context = tuple(said(i, name, "word " * 200) for i in range(1, 51))
        window = refreshed(window, Taken(Lease("", window.messages), context, answered), BUDGET)
        assert window.context[-1:] == context[-1:]
        assert len(window.messages) <= 100
        request = build(window, "self", BUDGET).request
        taken = most_tokens(request.system) + most_tokens(request.prompt)
        assert taken <= settings.num_ctx * 2 / 3
        assert count_tokens(request.system + request.prompt + json.dumps(request.schema)) <= settings.num_ctx / 2


def test_halving_goes_between_conversations_first() -> None:
    """A window falls apart into conversations, a conversation into messages, a message no further."""
    window = Window(7, 70, (tuple(talk(2, 1)), tuple(talk(6, 10)), tuple(talk(4, 20))))
    halves = halve(window)
    assert halves
    assert [len(half.sections) for half in halves] == [2, 1]
    parts = halve(halves[1])
    assert parts
    assert [[m.id for m in part.messages] for part in parts] == [[20, 21], [22, 23]]
    single = halve(parts[0])
    assert single
    assert halve(single[0]) is None


def test_a_window_takes_the_current_form_of_its_messages() -> None:
    """An edited message is shown as it is now, a deleted one not at all, an empty section neither."""
    window = Window(7, 70, (tuple(talk(2, 1)), tuple(talk(1, 10))))
    now = refreshed(window, Taken(Lease("", (said(2, "Ben", "edited"),))), BUDGET)
    assert [[m.content for m in section] for section in now.sections] == [["edited"]]


def test_replies_to_messages_elsewhere_are_named() -> None:
    """A reply that leaves the window has its quote, unless not everyone who reads the one may read the other."""
    messages = (said(6, "Ben", "b", reply_to=3), said(7, "Ben", "c", reply_to=2), said(8, "Ben", "d", reply_to=1))
    answered = {2: said(2, "Ann", "a"), 3: replace(said(3, "Ann", "secret"), access_id=71)}
    now = refreshed(Window(7, 70, (messages,)), Taken(Lease("", messages), (), answered), BUDGET)
    assert now.quotes == {7: answered[2]}


def test_context_leaves_room_for_the_answer() -> None:
    """However many lines of context are asked for, the last ones that fit are shown."""
    context = tuple(said(i, "Ann", "word " * 100) for i in range(1, 51))
    window = refreshed(Window(7, 70, (tuple(talk(2, 60)),)), Taken(Lease("", tuple(talk(2, 60))), context), BUDGET)
    assert 8 <= len(window.context) <= 16
    assert window.context == context[-len(window.context) :]
