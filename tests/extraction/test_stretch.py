"""What else of a channel a window needs to be understood."""

from workshop import said

from bot.extraction.stretch import Stretch
from bot.model import Message, Window

LINES, ROOM = 24, 800


def context(talk: list[Message], *ids: int, lines: int = LINES, room: int = ROOM) -> list[int]:
    section = tuple(message for message in talk if message.id in ids)
    window = Window(7, 70, (section,))
    return [message.id for message in Stretch(talk).context(window, lines, room)]


def test_conversations_go_on_from_what_was_said_before() -> None:
    """Of a conversation that began earlier, a batch takes the rest as one section; what is done is left out."""
    words = ["drill?", "soup?", "ann: here", "cleo: tomato", "ben: thanks", "dora: lovely", "ann: bring it back"]
    people = ["Ann", "Cleo", "Ben", "Dora", "Ann", "Cleo", "Ben"]
    spoken = zip(people, words, strict=True)
    talk = [*crowd(-40, 1), *(said(id, who, text, minute=id / 10) for id, (who, text) in enumerate(spoken, 1))]
    assert [[m.id for m in talk] for talk in Stretch(talk).conversations({5, 6, 7})] == [[5, 7], [6]]


def test_what_a_message_answers_is_shown_however_old() -> None:
    """A line that is named as answered comes first, before all that was said in between."""
    talk = [said(1, "Ann", "who has the key?"), *crowd(2, 60), said(60, "Ben", "ann: I do", minute=6)]
    assert context(talk, 60, lines=1) == [1]
    assert 1 in context(talk, 60)


def test_what_is_quoted_is_not_shown_twice() -> None:
    """The target of a reply stands beside the reply, so it takes no line of the context."""
    talk = [said(1, "Ann", "who has the key?"), *crowd(2, 60), said(60, "Ben", "I do", minute=6, reply_to=1)]
    assert 1 not in context(talk, 60)


def test_a_line_of_which_nobody_is_sure_has_those_just_before_it() -> None:
    """Somebody who names nobody may answer any of the last lines, the nearest most likely."""
    talk = [*crowd(1, 40), said(40, "Ann", "true", minute=4)]
    assert context(talk, 40) == [36, 37, 38, 39]
    assert context(talk, 40, lines=2) == [38, 39]


def test_what_was_said_to_others_is_shown_last() -> None:
    """A line that names somebody else is hardly what the next one answers."""
    talk = [*crowd(1, 39), said(39, "stranger9", "stranger3: later", minute=3.9), said(40, "Ann", "true", minute=4)]
    assert context(talk, 40, lines=1) == [38]


def test_context_keeps_to_its_room() -> None:
    """No more is shown than there are tokens for; a line that does not fit gives way to a smaller one."""
    talk = [
        said(1, "Ben", "short", minute=0.1),
        said(2, "Ben", "word " * 100, minute=0.2),
        said(3, "Ann", "true", minute=0.3),
    ]
    assert context([*crowd(-40, 0), *talk], 3, lines=2) == [1, 2]
    assert context([*crowd(-40, 0), *talk], 3, lines=2, room=20) == [-1, 1]


def test_the_window_itself_is_no_context() -> None:
    """Nothing is shown twice, and nothing where everything is in the window."""
    talk = [*crowd(1, 40), said(40, "Ann", "true", minute=4)]
    assert context(talk, *range(1, 41)) == []


def crowd(first: int, beyond: int) -> list[Message]:
    """Strangers who say unrelated things in quick succession."""
    return [said(id, f"stranger{id}", f"matter{id}", minute=id / 10) for id in range(first, beyond)]
