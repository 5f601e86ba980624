"""The bundled conversation is whole, and reads like a community's."""

import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from bot.sandbox.conversation import Conversation, load


@pytest.fixture(scope="module")
def conversation() -> Conversation:
    return load()


def test_it_is_a_community_of_some_size(conversation: Conversation) -> None:
    """Enough messages by enough people in enough channels, over several days."""
    assert len(conversation.posts) >= 220
    assert len({post.author for post in conversation.posts}) >= 7
    assert len([channel for channel in conversation.channels if channel.parent is None]) >= 3
    assert conversation.posts[-1].at - conversation.posts[0].at > 4 * 24 * 60


def test_every_key_resolves(conversation: Conversation) -> None:
    """Authors, channels, mentions and replies name something that exists, and replies point back."""
    members = {member.key for member in conversation.members}
    channels = {channel.key: channel for channel in conversation.channels}
    said: dict[str, str] = {}
    for post in conversation.posts:
        assert post.key not in said
        assert post.author in channels[post.channel].readers
        assert set(post.mentions) <= members
        assert post.text.count("<@") == len(post.mentions)
        if post.reply_to is not None:
            assert said[post.reply_to] == post.channel
        said[post.key] = post.channel
    for channel in channels.values():
        assert channel.readers <= members
        assert channel.parent is None or channels[channel.parent].parent is None


def test_it_is_in_the_order_it_was_said(conversation: Conversation) -> None:
    """Offsets never go back, and the first message is near the start."""
    offsets = [post.at for post in conversation.posts]
    assert offsets == sorted(offsets)
    assert 0 <= offsets[0] < 60


def test_one_channel_is_private(conversation: Conversation) -> None:
    """Some members do not see it, and what is said there is said nowhere else."""
    (private,) = [channel for channel in conversation.channels if channel.private]
    assert 0 < len(private.readers) < len(conversation.members)
    elsewhere = " ".join(post.text for post in conversation.posts if post.channel != private.key)
    assert "Weller" not in elsewhere
    assert "15 euros" not in elsewhere
    assert any("Weller" in post.text for post in conversation.posts if post.channel == private.key)


def test_it_holds_what_a_memory_has_to_cope_with(conversation: Conversation) -> None:
    """A joker, a leaked key, a link, a long message, another script, another language, a revised decision."""
    everything = "\n".join(post.text for post in conversation.posts)
    assert "ignore your instructions" in everything
    assert "AKIAIOSFODNN7EXAMPLE" in everything
    assert "https://" in everything
    assert max(len(post.text) for post in conversation.posts) > 1000
    assert any(unicodedata.bidirectional(character) in {"R", "AL"} for character in everything)
    assert "Wer hat den Kellerschlüssel?" in everything
    posts = {post.key: post for post in conversation.posts}
    assert "we decided: Saturday 9 May" in posts["fair-date-old"].text
    assert "we decided: the spring fair is on Saturday 16 May" in posts["fair-date"].text
    assert posts["fair-date"].reply_to == "fair-date-old"


def test_nobody_repeats_themselves(conversation: Conversation) -> None:
    """No filler: hardly a text occurs twice, and nobody talks alone."""
    texts = Counter(post.text.casefold() for post in conversation.posts)
    assert max(texts.values()) <= 2
    authors = Counter(post.author for post in conversation.posts)
    assert max(authors.values()) < len(conversation.posts) / 4


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 5, 1, 19, 20, tzinfo=UTC),  # a Friday, the minute the last message is said
        datetime(2026, 5, 1, 19, 19, tzinfo=UTC),
        datetime(2026, 4, 27, 7, 59, tzinfo=UTC),  # a Monday before the conversation's hour
        datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
    ],
)
def test_it_starts_on_the_latest_monday_that_leaves_time_for_all_of_it(
    conversation: Conversation, now: datetime
) -> None:
    """The whole week lies in the past, and a later Monday would not have fitted."""
    start = conversation.start(now)
    assert (start.weekday(), start.hour, start.minute) == (0, 8, 0)
    end = start + timedelta(minutes=conversation.posts[-1].at)
    assert end <= now < end + timedelta(weeks=1)
