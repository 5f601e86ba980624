"""Which conversation a message belongs to, from who answers whom.

A channel holds several conversations at once. Each message is linked to the one it answers, by the
first rule that applies: its reply target; what the person it addresses has just said; the latest
message addressed to its author; the partner's latest message in a running exchange; what somebody
has just said on the same subject; what its author asked before in much the same words, or else said
last; the previous message, where only one conversation of a few people is going on. What answers
nothing starts a conversation.

Measured on the 2,500 annotated development messages of Kummerfeld et al. 2019, "A Large-Scale
Corpus for Conversation Disentanglement" (busy chat without reply targets), the links score F1 68.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from bot.model import Message

_STILL_TALKING = timedelta(minutes=15)  # one's own last message is continued for so long
_ADDRESSED = timedelta(hours=2)  # an explicit address, or a question asked again, reaches so far back
_EXCHANGE = timedelta(minutes=5)
_BURST = timedelta(minutes=2)
_BURST_LENGTH = 8
_LULL = timedelta(minutes=10)
_PAUSE = timedelta(minutes=1)
_QUIET = 12  # messages in the last fifteen minutes; with more,
_FEW_PEOPLE = 7  # and of more people, several conversations are going on
_LOOK_BACK = 40  # messages, however many there were in that time
_WORDS_SCANNED = 40
_SELDOM = 2  # a word is rare that was used less often than this and
_FREQUENCY = 200  # once in so many messages,
_VOCABULARY_SPAN = 1000  # the last so many counting most
_SAME_WORDS = 3  # and half of all that tell of a topic: the question was asked before

_USER_MENTION = re.compile(r"<@!?(\d+)>")
_NAME = re.compile(r"[^\s,:;!?\"'()<>@]+")
_DECORATION = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_WORD = re.compile(r"[\w']{3,}")
# Words that are also people's names, and words that say nothing about the topic.
_COMMON = frozenset(
    "the and you they are was for but not this that what how can will with your there just get got yes okay does did "
    "have has had its dont she her his him who why when where from about some any all one out now then than too may "
    "mark".split()
)


@dataclass(frozen=True, slots=True)
class Link:
    """The position of the message that one answers, None if it starts anew, and the user it names or replies to."""

    parent: int | None
    addressee: int | None


def conversations(messages: Sequence[Message]) -> list[list[Message]]:
    """The conversations of one channel's messages (in id order), by their first message; each in id order."""
    return grouped(messages, links(messages))


def grouped(messages: Sequence[Message], links: Sequence[Link]) -> list[list[Message]]:
    """The messages by conversation, as `conversations`."""
    groups: list[list[Message]] = []
    group_of: list[int] = []
    for message, link in zip(messages, links, strict=True):
        if link.parent is None:
            group_of.append(len(groups))
            groups.append([message])
        else:
            group_of.append(group_of[link.parent])
            groups[group_of[link.parent]].append(message)
    return groups


def links(messages: Sequence[Message]) -> list[Link]:
    """What each message of one channel (in id order) answers. Linear in the number of messages."""
    so_far = _Links(messages)
    return [so_far.add(position) for position in range(len(messages))]


class _Links:
    """What has been said so far, as far as the next message's parent depends on it."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self._positions: dict[int, int] = {}  # message id → position
        self._names: dict[str, int] = {}  # name → author
        self._bare_names: dict[str, int] = {}  # the same without digits and signs around them
        self._said: dict[int, list[int]] = {}  # author → positions of what they said last
        self._addressed: dict[int, int] = {}  # author → position of the latest message addressed to them
        self._partner: dict[int, int] = {}  # author → whom they talk with
        self._addressee: list[int | None] = []
        self._topic: list[set[str]] = []
        self._rare: list[set[str]] = []  # of the topic's words, those seldom used lately
        self._vocabulary = _Vocabulary()
        self._conversation: list[int] = []  # position of the message it began with

    def add(self, position: int) -> Link:
        message = self._messages[position]
        author = message.author_id
        text = message.content.casefold()
        topic = {word for word in _WORD.findall(text) if word not in _COMMON and word not in self._names}
        self._topic.append(topic)
        self._rare.append(self._vocabulary.rare(topic))
        target = self._positions.get(message.reply_to) if message.reply_to is not None else None
        addressee = self._find_addressee(message, text) if target is None else self._messages[target].author_id
        parent = target if target is not None else self._find_parent(position, addressee)

        self._conversation.append(position if parent is None else self._conversation[parent])
        self._positions[message.id] = position
        self._said[author] = [*self._said.get(author, [])[-_BURST_LENGTH + 1 :], position]
        name, bare = _names(message.author_name)
        self._names[name] = self._bare_names[bare] = author
        self._addressee.append(addressee)
        if addressee is not None and addressee != author:
            self._addressed[addressee] = position
            self._partner[author], self._partner[addressee] = addressee, author
        elif parent is not None and self._messages[parent].author_id != author:
            self._partner[author] = self._messages[parent].author_id
        return Link(parent, addressee)

    def _find_addressee(self, message: Message, text: str) -> int | None:
        """The first earlier speaker named in the message: `<@id>`, or their name as a word."""
        for mention in _USER_MENTION.finditer(text):
            if (user := int(mention[1])) in self._said and user != message.author_id:
                return user
        words = _NAME.findall(text)
        for place, word in enumerate(words[:_WORDS_SCANNED]):
            name = word.rstrip(".")
            user_named = self._names.get(name)
            if user_named not in (None, message.author_id) and (place == 0 or _is_no_word(name)):
                return user_named
        bare = _DECORATION.sub("", words[0]) if words else ""
        user_named = self._bare_names.get(bare)
        return user_named if user_named != message.author_id and _is_no_word(bare) else None

    def _find_parent(self, position: int, addressee: int | None) -> int | None:
        author = self._messages[position].author_id
        own = self._said[author][-1] if author in self._said else None
        asked = self._within(_STILL_TALKING, position, self._addressed.get(author))
        theirs = None if addressee is None else self._within(_ADDRESSED, position, self._said[addressee][-1])
        if addressee is not None and theirs is not None:
            default = asked if asked is not None and self._messages[asked].author_id == addressee else theirs
            return self._in_burst(position, addressee, own, default)
        if asked is not None and (own is None or asked > own):
            return asked
        if own is not None and self._within(_STILL_TALKING, position, own) is not None:
            return self._going_on(position, author, own)
        if asked is not None:
            return asked
        alone = self._only_conversation(position)
        return alone if alone is not None else self._asked_before(position, author)

    def _in_burst(self, position: int, addressee: int, own: int | None, default: int) -> int:
        """Of what the addressee has just said in a row, the message that shares most words with this one.

        What they said to somebody else counts only if there is nothing better.
        """
        author = self._messages[position].author_id
        for_me = [said for said in self._just_said(position, addressee) if self._addressee[said] in (None, author)]
        best = for_me[0] if for_me and self._addressee[default] not in (None, author) else default
        topic = self._topic[position]
        shared = len(topic & self._topic[best])
        for said in for_me:
            if (own is None or said > own) and len(topic & self._topic[said]) > shared:
                best, shared = said, len(topic & self._topic[said])
        return best

    def _just_said(self, position: int, person: int) -> Iterator[int]:
        """What a person said within a burst before this message, newest first."""
        for said in reversed(self._said[person]):
            if self._within(_BURST, position, said) is None:
                return
            yield said

    def _going_on(self, position: int, author: int, own: int) -> int:
        """What somebody answers who addresses nobody and talked a moment ago."""
        if (theirs := self._partners_turn(position, author, own)) is not None:
            return theirs
        if (related := self._same_subject(position, author, own)) is not None:
            return related
        before = self._asked_before(position, author)
        return own if before is None else before

    def _partners_turn(self, position: int, author: int, own: int) -> int | None:
        """The partner's latest message, if in a running exchange of two it is the author's turn."""
        partner = self._partner.get(author)
        if partner is None or partner not in self._said or self._partner.get(partner) != author:
            return None
        theirs = self._said[partner][-1]
        answers = theirs > own and self._addressee[theirs] in (None, author)
        return theirs if answers and self._within(_EXCHANGE, position, theirs) is not None else None

    def _same_subject(self, position: int, author: int, own: int) -> int | None:
        """Of what others have just said, the message that shares most rare words with this one, and more than `own`."""
        rare = self._rare[position]
        best, shared = None, len(rare & self._topic[own])
        for earlier in range(position - 1, max(-1, position - 1 - _LOOK_BACK), -1) if rare else ():
            if self._within(_BURST, position, earlier) is None:
                break
            if self._messages[earlier].author_id != author and len(rare & self._topic[earlier]) > shared:
                best, shared = earlier, len(rare & self._topic[earlier])
        return best

    def _asked_before(self, position: int, author: int) -> int | None:
        """Of what the author said lately, the message of which this is another version."""
        topic = self._topic[position]
        best, shared = None, _SAME_WORDS - 1
        for said in reversed(self._said.get(author, ())):
            if self._within(_ADDRESSED, position, said) is None:
                break
            same = len(topic & self._topic[said])
            if same > shared and 2 * same >= min(len(topic), len(self._topic[said])):
                best, shared = said, same
        return best

    def _only_conversation(self, position: int) -> int | None:
        """The previous message, if all that was said lately is one conversation that may still be going on.

        Where little was said it may pause for long; where much was, it has few people and no pause.
        """
        if position == 0 or self._within(_LULL, position, position - 1) is None:
            return None
        people: set[int] = set()
        count = 0
        for earlier in range(position - 1, max(-1, position - 1 - _LOOK_BACK), -1):
            if self._within(_STILL_TALKING, position, earlier) is None:
                break
            if self._conversation[earlier] != self._conversation[position - 1]:
                return None
            people.add(self._messages[earlier].author_id)
            count += 1
        lively = len(people) <= _FEW_PEOPLE and self._within(_PAUSE, position, position - 1) is not None
        return position - 1 if lively or count <= _QUIET else None

    def _within(self, span: timedelta, position: int, earlier: int | None) -> int | None:
        """`earlier`, if it was said at most `span` before this message."""
        if earlier is None or self._messages[position].created_at - self._messages[earlier].created_at > span:
            return None
        return earlier


class _Vocabulary:
    """How often each word is used, with the last messages counting most."""

    def __init__(self) -> None:
        self._uses: dict[str, int] = {}
        self._messages = 0

    def rare(self, words: set[str]) -> set[str]:
        """Those of a message's words that were seldom used before; the message is counted."""
        if self._messages == _VOCABULARY_SPAN:
            self._messages //= 2
            self._uses = {word: count // 2 for word, count in self._uses.items() if count > 1}
        uses, limit = self._uses, _SELDOM + self._messages / _FREQUENCY
        rare = {word for word in words if uses.get(word, 0) < limit}
        for word in words:
            uses[word] = uses.get(word, 0) + 1
        self._messages += 1
        return rare


@lru_cache(maxsize=1024)
def _names(author_name: str) -> tuple[str, str]:
    """The word by which somebody is called, and the same without digits and signs around it."""
    words = _NAME.findall(author_name.casefold()) or [""]
    name = next((word for word in words if _DECORATION.sub("", word)), words[0])
    return name.rstrip("."), _DECORATION.sub("", name)


def _is_no_word(name: str) -> bool:
    """Whether it can only be meant as a name."""
    return len(name) > 2 and name not in _COMMON
