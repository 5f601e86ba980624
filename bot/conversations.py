"""Which conversation a message belongs to, from who answers whom.

A channel holds several conversations at once. Each message is linked to the one it answers, by the
first rule that applies: its reply target; the latest message of the person it addresses; the latest
message addressed to its author; the partner's latest message in a running exchange, or else the
author's own last message; the previous message, where only one conversation is going on. What
answers nothing starts a conversation.

Measured on the 2,500 annotated development messages of Kummerfeld et al. 2019, "A Large-Scale
Corpus for Conversation Disentanglement" (busy chat without reply targets), the links score F1 67.
"""

import re
from collections.abc import Sequence
from datetime import timedelta

from bot.model import Message

_STILL_TALKING = timedelta(minutes=15)  # one's own last message is continued for so long
_ADDRESSED = timedelta(hours=2)  # an explicit address reaches so far back
_EXCHANGE = timedelta(minutes=5)
_BURST = timedelta(minutes=2)
_BURST_LENGTH = 8
_LULL = timedelta(minutes=10)
_QUIET = 12  # messages in the last fifteen minutes; with more, several conversations are going on
_WORDS_SCANNED = 40

_USER_MENTION = re.compile(r"<@!?(\d+)>")
_NAME = re.compile(r"[^\s,:;!?\"'()<>@]+")
_WORD = re.compile(r"[\w']{3,}")
# Words that are also people's names, and words that say nothing about the topic.
_COMMON = frozenset(
    "the and you they are was for but not this that what how can will with your there just get got yes okay does did "
    "have has had its dont she her his him who why when where from about some any all one out now then than too may "
    "mark".split()
)


def conversations(messages: Sequence[Message]) -> list[list[Message]]:
    """The conversations of one channel's messages (in id order), by their first message; each in id order."""
    groups: list[list[Message]] = []
    group_of: list[int] = []
    for message, parent in zip(messages, parents(messages), strict=True):
        if parent is None:
            group_of.append(len(groups))
            groups.append([message])
        else:
            group_of.append(group_of[parent])
            groups[group_of[parent]].append(message)
    return groups


def parents(messages: Sequence[Message]) -> list[int | None]:
    """For each message of one channel (in id order) the position of the one it answers, None if it starts anew.

    Linear in the number of messages.
    """
    links = _Links(messages)
    return [links.add(position) for position in range(len(messages))]


class _Links:
    """What has been said so far, as far as the next message's parent depends on it."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self._positions: dict[int, int] = {}  # message id → position
        self._names: dict[str, int] = {}  # name → author
        self._said: dict[int, list[int]] = {}  # author → positions of what they said last
        self._addressed: dict[int, int] = {}  # author → position of the latest message addressed to them
        self._partner: dict[int, int] = {}  # author → whom they talk with
        self._addressee: list[int | None] = []
        self._topic: list[frozenset[str]] = []
        self._conversation: list[int] = []  # position of the message it began with

    def add(self, position: int) -> int | None:
        message = self._messages[position]
        author = message.author_id
        words = (word.casefold() for word in _WORD.findall(message.content))
        self._topic.append(frozenset(word for word in words if word not in _COMMON and word not in self._names))
        target = self._positions.get(message.reply_to) if message.reply_to is not None else None
        addressee = self._find_addressee(message) if target is None else self._messages[target].author_id
        parent = target if target is not None else self._find_parent(position, addressee)

        self._conversation.append(position if parent is None else self._conversation[parent])
        self._positions[message.id] = position
        self._said[author] = [*self._said.get(author, [])[-_BURST_LENGTH + 1 :], position]
        if name := _NAME.match(message.author_name.casefold()):
            self._names[name[0].rstrip(".")] = author
        self._addressee.append(addressee)
        if addressee is not None and addressee != author:
            self._addressed[addressee] = position
            self._partner[author], self._partner[addressee] = addressee, author
        elif parent is not None and self._messages[parent].author_id != author:
            self._partner[author] = self._messages[parent].author_id
        return parent

    def _find_addressee(self, message: Message) -> int | None:
        """The first earlier speaker named in the message: `<@id>`, or their name as a word."""
        for mention in _USER_MENTION.finditer(message.content):
            if (user := int(mention[1])) in self._said and user != message.author_id:
                return user
        for place, word in enumerate(_NAME.findall(message.content)[:_WORDS_SCANNED]):
            name = word.casefold().rstrip(".")
            user_named = self._names.get(name)
            if user_named not in (None, message.author_id) and (place == 0 or (len(name) > 2 and name not in _COMMON)):
                return user_named
        return None

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
            return self._partners_turn(position, author, own)
        return asked if asked is not None else self._only_conversation(position)

    def _in_burst(self, position: int, addressee: int, own: int | None, default: int) -> int:
        """Of what the addressee has just said in a row, the message that shares most words with this one."""
        topic = self._topic[position]
        best, shared = default, len(topic & self._topic[default])
        for said in reversed(self._said[addressee]):
            if self._within(_BURST, position, said) is None or (own is not None and said < own):
                break
            for_me = self._addressee[said] in (None, self._messages[position].author_id)
            if for_me and len(topic & self._topic[said]) > shared:
                best, shared = said, len(topic & self._topic[said])
        return best

    def _partners_turn(self, position: int, author: int, own: int) -> int:
        """The partner's latest message, if in a running exchange of two it is the author's turn."""
        partner = self._partner.get(author)
        if partner is None or partner not in self._said or self._partner.get(partner) != author:
            return own
        theirs = self._said[partner][-1]
        answers = theirs > own and self._addressee[theirs] in (None, author)
        return theirs if answers and self._within(_EXCHANGE, position, theirs) is not None else own

    def _only_conversation(self, position: int) -> int | None:
        """The previous message, if it is recent, little was said lately, and all of that is one conversation."""
        if position == 0 or self._within(_LULL, position, position - 1) is None:
            return None
        latest = range(position - 1, max(-1, position - 2 - _QUIET), -1)
        lately = [earlier for earlier in latest if self._within(_STILL_TALKING, position, earlier) is not None]
        one = len({self._conversation[earlier] for earlier in lately}) == 1
        return position - 1 if one and len(lately) <= _QUIET else None

    def _within(self, span: timedelta, position: int, earlier: int | None) -> int | None:
        """`earlier`, if it was said at most `span` before this message."""
        if earlier is None or self._messages[position].created_at - self._messages[earlier].created_at > span:
            return None
        return earlier
