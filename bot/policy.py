"""Who may ask, see, forget and correct what, and what may be kept: every rule of it, as a function of plain values.

Whoever asks one of these has looked the facts up (who asks, what they can see, what the guild chose); nothing
here knows Discord or the database.
"""

from collections.abc import Collection
from typing import Literal

from bot.model import FactKind, Memory, MemoryKind

PersonFacts = Literal["self", "all", "none"]
"""Whose words may make a fact about a person: only their own, anyone's, or nobody's."""

# What only a person can have; said of the server it would be a person's fact in disguise.
_PERSONAL_KINDS = frozenset({FactKind.PREFERENCE, FactKind.PERSONAL, FactKind.SKILL, FactKind.CLAIM})


# --- Who may ask.


def may_ask(role_ids: Collection[int], asker_roles: Collection[int], manages: bool) -> bool:
    """Whether a member with these roles may ask for memories at all; `manages` says they may manage the server.

    No `asker_roles` means that everyone may.
    """
    return manages or not asker_roles or not set(asker_roles).isdisjoint(role_ids)


def may_ask_about(asker_id: int, member_id: int, about_others: bool) -> bool:
    """Whether one member may ask what another said or what is known about them: about oneself always."""
    return asker_id == member_id or about_others


def may_answer_mention(mentions: bool, *, by_person: bool, names_bot: bool, reply: bool, everyone: bool) -> bool:
    """Whether a message that mentions the bot asks it something.

    `mentions` is the guild's choice. `names_bot` says that the words hold the bot's own mention: a `reply` pings its
    author without asking anything, and so does a ping of `everyone`.
    """
    return mentions and by_person and names_bot and not reply and not everyone


# --- Who may see, forget and correct.


def may_look_at(memory: Memory, guild_id: int, asker_id: int, visible: Collection[int]) -> bool:
    """Whether the words may be shown: those of a channel one can read, and one's own wherever they stand.

    `guild_id` is where the question is asked, `visible` the `access_id`s the asker may read there now.
    """
    return memory.guild_id == guild_id and (memory.access_id in visible or rests_on_words_of(memory, asker_id))


def may_forget(memory: Memory, user_id: int, manager: bool) -> bool:
    """Whether a member may forget a memory: their own messages, facts about them or on their words alone.

    `manager` says that they may manage the server and see the memory.
    """
    return manager or memory.subject_id == user_id or rests_on_words_of(memory, user_id)


def may_correct(memory: Memory, user_id: int) -> bool:
    """Whether a member may reword a fact: only one about themselves.

    The correction counts as said by whoever it is about, and goes when they are forgotten: so nobody else may make
    one, however much they manage, and what was decided for the server is no single member's to reword. A message is
    corrected by editing it.
    """
    return memory.kind is MemoryKind.FACT and memory.subject_id == user_id


def rests_on_words_of(memory: Memory, user_id: int) -> bool:
    """Whether a memory is a member's own words, or was drawn from nobody else's."""
    return set(memory.speaker_ids) == {user_id}


# --- What may be kept.


def person_fact_allowed(rule: PersonFacts, subject_id: int | None, speaker_ids: Collection[int]) -> bool:
    """Whether a guild keeps a fact about this subject on these people's words; facts about the server (None) always."""
    if subject_id is None or rule == "all":
        return True
    return rule == "self" and subject_id in speaker_ids


def is_claim(subject_id: int | None, speaker_ids: Collection[int]) -> bool:
    """Whether others alone said it of the subject: if it is kept, then as their claim, which says who made it."""
    return subject_id is not None and subject_id not in speaker_ids


def server_fact_allowed(kind: FactKind) -> bool:
    """Whether a fact of this kind can be about the server; a preference or a skill is somebody's."""
    return kind not in _PERSONAL_KINDS


def sensitive_allowed(drop_sensitive: bool, sensitive: bool) -> bool:
    """Whether a message or fact may be kept: what is `sensitive` only where the guild does not have it dropped."""
    return not (drop_sensitive and sensitive)
