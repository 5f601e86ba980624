"""The policy: each sentence follows from what is set."""

from typing import Any

import pytest
from town import Town

from bot.commands.declaration import declared
from bot.commands.notice import Terms
from bot.sandbox.discord import Permission
from bot.settings import Settings
from bot.storage.guild_configs import ConsentMode, GuildConfigs

GUILD = 7


def policy(mode: ConsentMode = "opt_out", **sections: dict[str, Any]) -> str:
    settings = Settings.model_validate(sections)
    database: Any = None  # nothing is read or written
    return "\n".join(declared(Terms(settings, GuildConfigs(database, settings).of(GUILD), mode)))


@pytest.mark.parametrize(
    ("sections", "told", "untold"),
    [
        ({"memory": {"person_facts": "all"}}, "noted from anyone's words", "own words only"),
        ({"memory": {"person_facts": "none"}}, "No facts about people are noted", "own words only"),
        ({"memory": {"sensitive": "keep"}}, "kept like anything else", "left out where I notice it"),
        ({"memory": {"about_others": True}}, "Members may ask what another member said", "Nobody can have me list"),
        ({"ask": {"mentions": True}}, "Who mentions me is answered", "Nobody mentions"),
        (
            {"retention": {"raw_days": 3, "facts_days": 9}},
            "3 days, and the facts noted from them for 9 days",
            "30 days",
        ),
        ({"retention": {"purge_within": "6h", "removed_guild_days": 1}}, "within 6 hours no trace", "7 days"),
        ({"openai": {"api_key": "sk-x"}}, "- OpenAI, to make them searchable: messages", "Qdrant"),
        ({"qdrant": {"url": "https://q.example.com"}}, "and on the Qdrant server named below", "OpenAI"),
        ({}, "on the computers of whoever runs me. ", "Qdrant"),
    ],
)
def test_the_policy_says_what_is_set(sections: dict[str, Any], told: str, untold: str) -> None:
    """What a setting changes is told, and no longer what it replaces."""
    assert told in policy(**sections)
    assert untold not in policy(**sections)


def test_the_policy_says_how_to_stay_out_or_come_in() -> None:
    """A server that asks first is told from one that does not."""
    assert "until you press **Remember me**" in policy("opt_in")
    assert "stops me from keeping anything more" in policy("opt_out")


async def test_members_read_the_policy_of_their_server(town: Town) -> None:
    """Privately, with what its admins chose; what opting in and out does there is told in the right words."""
    role = town.server.world.add_role(town.guild, "club", Permission.VIEW_CHANNEL)
    await town.app.configs.change(town.guild.id, {"asker_roles": (role.id,), "raw_days": 5})
    answer = await town.use(town.ada, "privacy policy")
    assert answer.ephemeral
    assert f"**Who may ask**: members with <@&{role.id}>." in answer.text
    assert "messages themselves for 5 days" in answer.text
    assert "a language model that the operator of this bot runs" in answer.text
    await town.app.consent.set_mode(town.guild.id, "opt_in")
    assert "This server asks first" in (await town.use(town.ada, "privacy policy")).text
    assert "you have not agreed: I keep nothing you write" in (await town.use(town.ada, "privacy status")).text
    welcome = await town.use(town.ada, "privacy opt-in")
    assert welcome.content.startswith("Welcome: I remember what you write in the channels I listen to from now on.")
    assert "and you agreed <t:" in (await town.use(town.ada, "privacy status")).text
    assert "You have agreed already" in (await town.use(town.ada, "privacy opt-in")).content
    assert "from now on I keep nothing you write here" in (await town.use(town.ada, "privacy opt-out")).content
    assert "You opted out <t:" in (await town.use(town.ada, "privacy status")).text
