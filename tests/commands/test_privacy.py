"""/privacy, as members use it."""

from typing import Any

import pytest
from town import Town, cards

from bot.model import utcnow


def allowed(town: Town) -> bool:
    return town.app.consent.allows(town.guild.id, town.ada.id, utcnow())


async def test_opting_out_holds_at_once(town: Town) -> None:
    """Before anything else is asked, nothing more is kept; the past stays unless one wants it gone."""
    await town.says(town.ada, "My teapot is blue")
    answer = await town.use(town.ada, "privacy opt-out")
    assert answer.ephemeral
    assert "from now on I keep nothing you write here" in answer.content
    assert not allowed(town)
    kept = await (await answer.click("Keep it")).settled()
    assert "stays as it is" in kept.content
    assert cards(await town.use(town.ada, "recall", query="teapot")) == ["My teapot is blue"]


async def test_opting_out_offers_to_erase_the_past(town: Town) -> None:
    """Two presses later everything about the member is gone, and counted."""
    said = await town.says(town.ada, "My teapot is blue")
    await town.knows("Ada has a blue teapot", said, about=town.ada)
    answer = await town.use(town.ada, "privacy opt-out")
    asked = await (await answer.click("Forget my past…")).settled()
    assert "cannot be undone" in asked.content
    assert "from now on" not in asked.content
    done = await (await asked.click("Forget everything")).settled()
    assert done.content == "Forgotten: 1 message and 1 fact."
    assert "found nothing" in (await town.use(town.bob, "recall", query="teapot")).content


async def test_opting_out_twice_offers_it_again(town: Town) -> None:
    """Who kept the past at first can still have it erased."""
    await town.use(town.ada, "privacy opt-out")
    answer = await town.use(town.ada, "privacy opt-out")
    assert "already" in answer.content
    assert [button.label for button in answer.buttons] == ["Forget my past…", "Keep it"]


async def test_opting_in_resumes_from_now(town: Town) -> None:
    """The time between stays unknown."""
    await town.use(town.ada, "privacy opt-out")
    between = town.app.consent.opted_out_since(town.guild.id, town.ada.id)
    assert between is not None
    assert "from now on" in (await town.use(town.ada, "privacy opt-in")).content
    assert allowed(town)
    assert not town.app.consent.allows(town.guild.id, town.ada.id, between)
    assert "You had not opted out" in (await town.use(town.ada, "privacy opt-in")).content


async def test_status_tells_what_is_kept_and_who_sees_it(town: Town) -> None:
    """Consent, facts held as far as one can read them, the channels one can see, and the services that see the text."""
    said = await town.says(town.ada, "My teapot is blue")
    await town.knows("Ada has a blue teapot", said, about=town.ada)
    hidden = await town.says(town.bob, "Ada broke a teapot", place=town.staff)
    await town.knows("Ada broke a teapot", hidden, about=town.ada)
    thread = town.server.world.add_thread(town.staff, "secrets", owner=town.bob)
    for place in (town.general, town.staff, thread):
        await town.app.observations.switch_on(town.guild.id, place.id, town.admin.id)
    told = (await town.use(town.ada, "privacy status")).text
    assert "I remember what you write" in told
    assert "I hold 1 fact about you and 1 message of yours in what you can read. `/forget`" in told
    assert "I keep the messages themselves for 30 days" in told
    assert f"<#{town.general.id}>" in told
    assert f"<#{town.staff.id}>" not in told
    assert f"<#{thread.id}>" not in told
    assert "a language model that the operator of this bot runs" in told
    seen = (await town.use(town.bob, "privacy status")).text
    assert f"<#{town.staff.id}> <#{thread.id}>" in seen


async def test_status_after_an_opt_out(town: Town) -> None:
    """One can see that the opt-out holds, and since when."""
    await town.use(town.ada, "privacy opt-out")
    told = (await town.use(town.ada, "privacy status")).text
    assert "You opted out <t:" in told
    assert "none that you can see" in told


async def test_many_channels_are_shortened(town: Town) -> None:
    """The first twenty are named, the rest are counted."""
    for number in range(22):
        channel = town.server.world.add_channel(town.guild, f"c{number}")
        await town.app.observations.switch_on(town.guild.id, channel.id, town.admin.id)
    assert "and 2 more" in (await town.use(town.ada, "privacy status")).text


class TestWithOpenAI:
    """A key in the settings."""

    @pytest.fixture
    def sections(self, sections: dict[str, Any]) -> dict[str, Any]:
        return sections | {"openai": {"api_key": "sk-test"}}

    async def test_status_names_it(self, town: Town) -> None:
        """Members learn that OpenAI sees messages."""
        assert "OpenAI, to make them searchable: messages" in (await town.use(town.ada, "privacy status")).text
