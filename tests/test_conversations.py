"""Who answers whom, and which conversations that makes."""

from workshop import said

from bot.conversations import conversations, links
from bot.model import Message


def parents(talk: list[Message]) -> list[int | None]:
    return [link.parent for link in links(talk)]


def test_nothing_said_is_no_conversation() -> None:
    """An empty channel has none."""
    assert conversations([]) == []


def test_a_reply_belongs_to_what_it_answers_however_old() -> None:
    """The reply target goes before everything else, a mention of someone else included."""
    talk = [said(1, "Ann", "who has the key?"), said(2, "Ben", "new topic", minute=600)]
    talk.append(said(3, "Cleo", "<@2> I do", minute=900, reply_to=1, mentions=["Ben"]))
    assert parents(talk) == [None, None, 0]


def test_a_mention_goes_to_that_persons_latest_message() -> None:
    """`<@id>` names whom a message answers, in the middle of a busy channel."""
    talk = [said(i, ["Ann", "Ben", "Cleo"][i % 3], f"topic {i}", minute=i / 60) for i in range(40)]
    talk.append(said(40, "Dora", "thanks <@1>!", minute=1, mentions=["Ann"]))
    assert parents(talk)[-1] == 39


def test_a_name_at_the_start_is_a_mention() -> None:
    """`bob: …` and `@bob …` address Bob, as people write without completing the mention."""
    talk = [
        said(1, "Ann", "bees or wasps?"),
        said(2, "Ben", "what a day", minute=40),
        said(3, "Cleo", "lunch", minute=80),
    ]
    assert parents([*talk, said(4, "Dora", "ann: bees", minute=81)])[-1] == 0
    assert parents([*talk, said(4, "Dora", "@Ben indeed", minute=81)])[-1] == 1


def test_a_name_of_someone_who_never_spoke_links_nothing() -> None:
    """A mention of an absent person leaves the other rules to decide."""
    talk = [said(1, "Ann", "hello"), said(2, "Ben", "<@4> are you there?", minute=60, mentions=["Dora"])]
    assert parents(talk) == [None, None]


def test_whoever_was_addressed_answers_that() -> None:
    """Without a mention, a message answers the one last addressed to its author."""
    talk = [said(i, f"passer-by {i}", f"busy {i}", minute=i / 30) for i in range(1, 30)]
    talk += [said(30, "Ann", "anyone with a drill?", minute=1), said(31, "Ben", "ann: which size?", minute=1.1)]
    talk += [said(32, "passer-by 3", "still busy", minute=1.2), said(33, "Ann", "eight millimetres", minute=1.3)]
    assert parents(talk)[-1] == 30


def test_a_running_exchange_goes_on_turn_by_turn() -> None:
    """Once two people talk with each other, each message answers the partner's latest."""
    talk = [said(1, "Ann", "drill?", minute=0), said(2, "Ben", "ann: eight or ten?", minute=1)]
    talk += [
        said(3, "Ann", "eight", minute=2),
        said(4, "Ben", "bring it back", minute=3),
        said(5, "Ann", "sure", minute=4),
    ]
    assert parents(talk) == [None, 0, 1, 2, 3]


def test_own_message_is_continued_for_a_quarter_of_an_hour() -> None:
    """Someone going on in a busy channel continues their own words; after a long pause they start anew."""
    crowd = [said(i, f"passer-by {i}", f"busy {i}", minute=i / 60) for i in range(1, 30)]
    mine = said(30, "Ann", "my printer broke", minute=1)
    assert parents([*crowd, mine, said(31, "Ann", "it smells", minute=14)])[-1] == 29
    assert parents([*crowd, mine, said(31, "Ann", "it smells", minute=90)])[-1] is None


def test_short_remarks_in_a_quiet_channel_stay_together() -> None:
    """Votes and remarks without mention or reply do not become a shower of one-message conversations."""
    talk = [said(1, "Ann", "Tuesday or Wednesday?", minute=0), said(2, "Ben", "Wednesday", minute=4)]
    talk += [said(3, "Cleo", "same", minute=9), said(4, "Dora", "fine by me", minute=15)]
    assert [len(group) for group in conversations(talk)] == [4]


def test_a_lull_ends_a_conversation() -> None:
    """What is said an hour later, to nobody, is another conversation."""
    talk = [said(1, "Ann", "morning"), said(2, "Ben", "morning"), said(3, "Cleo", "has anyone a ladder?", minute=70)]
    assert [[m.id for m in group] for group in conversations(talk)] == [[1, 2], [3]]


def test_two_conversations_at_once_are_told_apart() -> None:
    """Interleaved exchanges by mention become two conversations, each in order."""
    talk = [said(1, "Ann", "drill?"), said(2, "Cleo", "soup?"), said(3, "Ben", "ann: here")]
    talk += [said(4, "Dora", "cleo: tomato"), said(5, "Ann", "ben: thanks"), said(6, "Cleo", "dora: lovely")]
    # Ann and Cleo spoke close together in a quiet channel, so their openings are one conversation's.
    by_replies = parents(talk)
    assert by_replies[2:] == [0, 1, 2, 3]


def test_what_was_said_to_somebody_else_is_not_what_one_answers() -> None:
    """Of what the addressee has just said, the part meant for me counts, or for everybody."""
    talk = [said(1, "Ann", "drill?", minute=0), said(2, "Ben", "ann: eight or ten?", minute=0.1)]
    talk += [said(3, "Ben", "cleo: lunch at noon", minute=0.2), said(4, "Ann", "ben: eight", minute=0.3)]
    assert parents(talk)[-1] == 1


def test_a_rare_word_in_common_tells_what_is_answered() -> None:
    """Someone who goes on without naming anybody answers what has just been said on the same subject."""
    talk = [
        *crowd(40),
        said(40, "Ann", "my printer broke", minute=1),
        said(41, "Ben", "who likes marzipan", minute=1.1),
    ]
    assert parents([*talk, said(42, "Ann", "marzipan is too sweet", minute=1.2)])[-1] == 40
    assert parents([*talk, said(42, "Ann", "it smells too", minute=1.2)])[-1] == 39


def test_a_question_asked_again_goes_on_with_the_first() -> None:
    """The same words an hour later, by the same person, are no new conversation."""
    talk = [*crowd(40), said(40, "Ann", "how do I install the nvidia driver on hardy?", minute=1)]
    talk += [said(id, f"stranger{id}", f"matter{id}", minute=60 + id / 100) for id in range(41, 70)]
    again = said(70, "Ann", "anyone? I still need to install the nvidia driver", minute=61)
    assert parents([*talk, again])[-1] == 39
    assert parents([*talk, said(70, "Ann", "what is a good mail client?", minute=61)])[-1] is None


def test_a_name_is_known_without_its_ornaments() -> None:
    """`ann: …` addresses ~Ann_42, at the beginning of a line."""
    talk = [said(1, "~Ann_42", "bees or wasps?"), said(2, "Ben", "what a day", minute=40)]
    assert parents([*talk, said(3, "Cleo", "ann: bees", minute=81)])[-1] == 0


def test_a_few_people_in_lively_talk_are_one_conversation() -> None:
    """Nobody has to be named where all that is said is one conversation; a pause lets the next one begin."""
    names = ["Ann", "Ben", "Cleo", "Dora", "Emil"]
    talk = [said(id, names[id % 5], f"remark{id}", minute=id / 10) for id in range(1, 60)]
    assert len(conversations([*talk, said(60, "Fay", "hello", minute=6)])) == 1
    assert len(conversations([*talk, said(60, "Fay", "hello", minute=9)])) == 2


def crowd(count: int) -> list[Message]:
    """Strangers who say unrelated things in quick succession."""
    return [said(id, f"stranger{id}", f"matter{id}", minute=id / 60) for id in range(1, count)]


def test_every_message_is_in_exactly_one_conversation() -> None:
    """Nothing is lost and nothing doubled, and the answer comes after what it answers."""
    talk = chatter(500)
    groups = conversations(talk)
    assert sorted(m.id for group in groups for m in group) == [m.id for m in talk]
    assert all(parent is None or parent < place for place, parent in enumerate(parents(talk)))


def chatter(count: int) -> list[Message]:
    names = ["Ann", "Ben", "Cleo", "Dora"]
    return [
        said(
            i,
            names[i * 7 % 4],
            f"{names[i % 3].lower()}: point {i}" if i % 5 == 0 else f"remark {i} on things",
            minute=i * (i % 11) / 40,
            reply_to=i - 3 if i % 13 == 5 else None,
        )
        for i in range(1, count + 1)
    ]
