"""Discord's formatting in the terminal."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.sandbox.markup import Markup, ago

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("delta", "words"),
    [
        (timedelta(seconds=20), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=23), "23 hours ago"),
        (timedelta(days=3), "3 days ago"),
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=-3599), "in 1 hour"),
        (timedelta(days=800), "2 years ago"),
        (timedelta(minutes=-5), "in 5 minutes"),
    ],
)
def test_relative_times_read_as_in_a_client(delta: timedelta, words: str) -> None:
    """The largest unit that fits, rounded."""
    assert ago(NOW - delta, NOW) == words


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (
            "**bold** and *slanted* and _too_ but not snake_case_names",
            "bold and slanted and too but not snake_case_names",
        ),
        (r"\*stars\* stay, \_so\_ do these", "*stars* stay, _so_ do these"),
        ("<@7> in <#8>, <@9> in <#10>", "@Nadia in #general, @unknown-user in #unknown"),
        (f"<t:{int(NOW.timestamp()) - 7200}:R>", "2 hours ago"),
        (f"<t:{int(NOW.timestamp())}:F>", "Friday, 1 May 2026 at 12:00"),
        (f"<t:{int(NOW.timestamp())}>", "1 May 2026 at 12:00"),
        ("ask with </recall:123>", "ask with /recall"),
        ("> quoted\n-# small\n## large\n`code`", "▎ quoted\nsmall\nlarge\ncode"),
        ("[Jump](https://a.example/1) [[2]](https://a.example/2)", "Jump [2]"),
        ("2 * 3 * 4 and a lone < or [bracket]", "2 * 3 * 4 and a lone < or [bracket]"),
    ],
)
def test_formatting_becomes_what_a_reader_sees(content: str, shown: str) -> None:
    """Marks turn into style, ids into names, and what is not formatting stays."""
    markup = Markup(NOW, users={7: "Nadia"}, channels={8: "general"})
    assert markup.render(content).plain == shown


def test_links_carry_their_address() -> None:
    """A label and a bare address are links a terminal can open."""
    content = "[[1]](https://a.example/1) and https://b.example/x"
    spans = {str(span.style).split()[-1] for span in Markup(NOW).render(content).spans if "link" in str(span.style)}
    assert spans == {"https://a.example/1", "https://b.example/x"}
