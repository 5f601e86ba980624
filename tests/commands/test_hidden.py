"""What members may not read shows at no door, whatever changed a moment ago: cards, counts, menus or suggestions."""

from dataclasses import dataclass

import pytest
from town import Town

from bot.model import Message
from bot.sandbox.discord import Answer, Channel, Permission, Role, Thread
from bot.sandbox.discord.entities import Overwrite

NOTHING = "I found nothing about that in what you can read here."
NOT_YOURS = "I found nothing like that which you may forget."
FRUIT = ("apple", "banana", "cherry", "damson", "elder")


@dataclass
class Orchard:
    """A place for each fruit, in each a message by Bob that names it and a fact about Ada that does."""

    town: Town
    places: dict[str, Channel | Thread]
    helpers: Role
    said: dict[str, Message]

    async def seen_by_ada(self) -> set[str]:
        """The fruit she reads of at each door, which all agree."""
        town = self.town
        facts = {f"Ada likes {fruit}" for fruit in self.readable()}
        told = await self.everything(await town.use(town.ada, "recall", query="teapot"))
        alone = {fruit for fruit in FRUIT if fruit in await self.recalled_in(fruit)}
        picked = await town.use(town.ada, "forget", query="likes")
        offered = [await self.suggested(typed) for typed in ("", "likes")]
        assert {option.label for menu in picked.selects for option in menu.options} | self.asked(picked) == facts
        assert offered == [facts, facts]
        assert f"I hold {len(facts)} fact" in (await town.use(town.ada, "privacy status")).text
        for fruit in set(FRUIT) - alone:
            link = f"https://discord.com/channels/{town.guild.id}/{self.places[fruit].id}/{self.said[fruit].id}"
            assert (await town.use(town.ada, "forget", query=link)).text == NOT_YOURS
        assert {fruit for fruit in FRUIT if fruit in told} == alone == self.readable()
        return alone

    def readable(self) -> set[str]:
        """By Discord's rules."""
        readable = self.town.server.world.readable(self.town.ada, self.town.guild)
        return {fruit for fruit, place in self.places.items() if place.id in readable}

    async def recalled_in(self, fruit: str) -> str:
        """What is found in one place; where nothing may be read, the answer is that of an empty place."""
        answer = await self.town.use(self.town.ada, "recall", query=f"{fruit} teapot", **{"in": self.places[fruit]})
        assert bool(answer.embeds) == (fruit in answer.text)
        assert answer.embeds or answer.text.startswith(NOTHING)
        return answer.text

    async def suggested(self, typed: str) -> set[str]:
        """What /forget suggests."""
        town = self.town
        return {one["name"] for one in await town.server.autocomplete(town.ada, town.general, "forget", "query", typed)}

    def asked(self, answer: Answer) -> set[str]:
        """The fact that one is asked about when there is but one."""
        return {fact for fact in (f"Ada likes {fruit}" for fruit in FRUIT) if fact in answer.text}

    async def everything(self, answer: Answer) -> str:
        """All pages of an answer."""
        told = answer.text
        for _ in range(10):
            if not any(button.label == "Next" and not button.disabled for button in answer.buttons):
                return told
            answer = await (await answer.click("Next")).settled()
            told += answer.text
        raise AssertionError("an answer without end")


@pytest.fixture
async def orchard(town: Town) -> Orchard:
    """`apple` is open, `banana` for helpers, `cherry` by invitation, `damson` a thread with Ada in, `elder` without."""
    world, guild = town.server.world, town.guild
    helpers = world.add_role(guild, "helpers")
    hidden = [world.add_channel(guild, name, hidden_from_everyone=True) for name in ("helpers-only", "by-invitation")]
    for channel in hidden:
        world.allow(channel, world.bot, Permission.VIEW_CHANNEL)
    world.allow(hidden[0], helpers, Permission.VIEW_CHANNEL)
    threads = [
        world.add_thread(town.general, name, owner=town.bob, private=True, members=[world.bot, *who])
        for name, who in (("with-ada", [town.ada]), ("without", []))
    ]
    for thread in threads:
        await town.app.observations.switch_on(guild.id, thread.id, town.admin.id, parent_id=town.general.id)
    orchard = Orchard(town, dict(zip(FRUIT, (town.general, *hidden, *threads), strict=True)), helpers, {})
    for fruit, place in orchard.places.items():
        orchard.said[fruit] = await town.says(town.bob, f"The teapot for Ada is {fruit} green", place=place)
        await town.knows(f"Ada likes {fruit}", orchard.said[fruit], about=town.ada)
    return orchard


async def test_every_door_shows_what_may_be_read_now_and_no_more(orchard: Orchard) -> None:
    """After a role, an overwrite or a thread is given or taken, all doors have changed with it."""
    town, world = orchard.town, orchard.town.server.world
    invited, thread = orchard.places["cherry"], orchard.places["damson"]
    assert isinstance(invited, Channel) and isinstance(thread, Thread)
    assert await orchard.seen_by_ada() == {"apple", "damson"}

    world.update_member(town.guild, town.ada, role_ids=[orchard.helpers.id])
    world.allow(invited, town.ada, Permission.VIEW_CHANNEL)
    assert await orchard.seen_by_ada() == {"apple", "banana", "cherry", "damson"}

    world.update_role(orchard.helpers, permissions=Permission.MANAGE_THREADS)
    assert await orchard.seen_by_ada() == set(FRUIT)

    world.remove_role(orchard.helpers)
    world.remove_thread_member(thread, town.ada)
    assert await orchard.seen_by_ada() == {"apple", "cherry"}

    world.update_channel(invited, overwrites={town.guild.id: Overwrite(False, deny=Permission.VIEW_CHANNEL)})
    assert await orchard.seen_by_ada() == {"apple"}

    world.deny(town.general, town.ada, Permission.READ_MESSAGE_HISTORY)
    assert await orchard.seen_by_ada() == set()


async def test_a_public_answer_shows_the_least_of_all(orchard: Orchard) -> None:
    """Ada, Bob and the admin see different things; aloud all of them get what is open to all."""
    town, world = orchard.town, orchard.town.server.world
    world.update_member(town.guild, town.ada, role_ids=[orchard.helpers.id])
    for asker in (town.ada, town.bob, town.admin):
        told = await orchard.everything(await town.use(asker, "recall", query="teapot", public=True))
        assert {fruit for fruit in FRUIT if fruit in told} == {"apple"}
