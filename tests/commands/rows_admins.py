"""The rows of the commands for those who manage the server; see `table`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from operator import attrgetter
from typing import Any
from unittest.mock import patch

from driving import Choose, Meanwhile, Scene, Step, Walk
from rows_members import (
    ADA,
    GENERAL,
    NO_BUTTONS,
    NO_FORM,
    NO_MENUS,
    NO_OPTIONS,
    NOTHING_SUGGESTED,
    NOTHING_TO_PRESS,
    general_goes,
    gone,
    stocked,
    typed_where_it_goes,
)
from sqlalchemy import insert
from table import Down, Row, Typed, Usual

from bot.capture.history import History
from bot.memory.forget import Forgotten
from bot.model import utcnow
from bot.sandbox.discord import Permission
from bot.storage.audit import Action
from bot.storage.purging import Selection
from bot.storage.rows import to_ms
from bot.storage.tables import observation

STAFF, HELPERS = attrgetter("staff"), attrgetter("helpers")
UNSEEN = "I cannot see that channel"
WEEK = {"since": "7d"}
SPANS = [Typed("", "the last 7 days"), Typed("zz", "the last 7 days")]


def promote(scene: Scene) -> None:
    """Bob comes to manage the server."""
    role = scene.server.world.add_role(scene.guild, "managers", Permission.MANAGE_GUILD)
    scene.server.world.update_member(scene.guild, scene.bob, role_ids=[role.id])


def demote(scene: Scene) -> None:
    scene.server.world.update_member(scene.guild, scene.bob, role_ids=[])


def hold_reading(scene: Scene) -> None:
    """What is read of the past does not come to an end."""

    async def after(*_: object) -> None:
        await scene.gate.wait()

    scene.undone.enter_context(patch.object(History, "after", after))


def hold_purges(scene: Scene) -> None:
    """Purges wait at the gate."""
    purge = scene.app.forget.purge

    async def held(guild_id: int, what: Selection) -> AsyncIterator[Forgotten]:
        await scene.gate.wait()
        async with aclosing(purge(guild_id, what)) as steps:
            async for step in steps:
                yield step

    scene.undone.enter_context(patch.object(scene.app.forget, "purge", held))


def hold_own_purges(scene: Scene) -> None:
    """Bob manages the server, and his purges wait, too."""
    promote(scene)
    hold_purges(scene)


def go(scene: Scene) -> None:
    """Open the gate."""
    scene.gate.set()


def staff_goes(scene: Scene) -> None:
    scene.server.world.remove_channel(scene.staff)


async def own_retention(scene: Scene) -> None:
    """Members were told where that a server keeps messages for as long as it likes."""
    await observed(scene)
    await own_values(scene)


def late(sees: str, *steps: Step, prepared: Callable[[Scene], Awaitable[None]] | None = None, **how: Any) -> Walk:
    """Bob manages the server while he uses the command, and no more when he makes the last of these steps."""

    async def first(scene: Scene) -> None:
        promote(scene)
        if prepared:
            await prepared(scene)

    *before, last = steps
    return Walk(sees, by="bob", first=first, steps=[*before, Meanwhile(demote), last], **how)


async def observed(scene: Scene) -> None:
    """The general channel is listened to."""
    await scene.app.observations.switch_on(scene.guild.id, scene.general.id, scene.admin.id)


async def well_observed(scene: Scene) -> None:
    """More channels are listened to than a page holds."""
    rows = [
        {"guild_id": scene.guild.id, "channel_id": number, "started_at": to_ms(utcnow()), "by_user_id": scene.admin.id}
        for number in range(scene.general.id, scene.general.id + 75)
    ]
    async with scene.app.database.write() as connection:
        await connection.execute(insert(observation), rows)
    await scene.app.observations.load()


async def once(scene: Scene) -> None:
    """One thing was done."""
    await scene.app.audit.record(scene.guild.id, scene.admin.id, Action.CONFIGURED, name="mentions", value="new")


async def busy(scene: Scene) -> None:
    """More was done than a page holds."""
    for number in range(15):
        await scene.app.audit.record(
            scene.guild.id, scene.admin.id, Action.CONFIGURED, name="mentions", value=f"{number}"
        )


async def doubtful(scene: Scene) -> None:
    """Messages in two channels seem to be gone."""
    await scene.tell(*((scene.ada, f"My teapot number {number}", scene.general) for number in range(2)))
    await scene.tell((scene.ada, "My cup", scene.lobby))
    general, lobby = [one.id for one in scene.said[:2]], [scene.said[2].id]
    await scene.app.doubts.put(scene.guild.id, scene.general.id, general, held=3)
    await scene.app.doubts.put(scene.guild.id, scene.lobby.id, lobby, held=3)


async def asked(scene: Scene) -> None:
    """Somebody asks something, whereupon the bot learns that the embedder is down."""
    await scene.use(scene.ada, "recall", query=f"teapot {scene.general.id}")


async def chatty(scene: Scene) -> None:
    """Something waits to be read for facts."""
    await scene.tell((scene.ada, "I love green tea", scene.general))


async def aged(scene: Scene) -> None:
    """Members were told where for how long messages are kept, and something is held that is older than a week."""
    await observed(scene)
    await scene.tell((scene.ada, "The teapot is blue", scene.general), ago=timedelta(days=20))


async def asks_first(scene: Scene) -> None:
    """Members are remembered once they agree."""
    await scene.app.consent.set_mode(scene.guild.id, "opt_in", utcnow())


async def own_values(scene: Scene) -> None:
    """Every setting is the server's own."""
    await scene.app.configs.change(
        scene.guild.id, {"raw_days": 7, "mentions": True, "asker_roles": (scene.helpers.id,)}
    )


CONFIRMED = [Walk("Done. ", steps=["Change it"]), Walk("Nothing was changed.", steps=["Cancel"])]
NOT_ANY_MORE = "You may not change this any more."


def setting(command: str, uses: dict[str, Any], sees: str, *others: Walk, **cells: Any) -> Row:
    """A setting that is changed at once; `asked_first` replaces the cells of one that is not."""
    at_once = {"autocomplete": NOTHING_SUGGESTED, "buttons": NO_BUTTONS, "denied": [], "expired": NOTHING_TO_PRESS}
    return Row(
        command=f"config {command}",
        by="admin",
        uses=uses,
        sees=sees,
        options=others,
        selects=NO_MENUS,
        modals=NO_FORM,
        down=cells.pop("down", Down()),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes()],
        **(at_once | cells),
    )


def asked_first(sees: str = "Shall I change it?") -> dict[str, Any]:
    """The cells of a setting that takes a second look."""
    return {"buttons": CONFIRMED, "denied": [late(NOT_ANY_MORE, "Change it")], "expired": [Walk(sees)]}


ADMINS = [
    Row(
        command="observe on",
        by="admin",
        sees="from now on; I posted a notice there.",
        options=[
            Walk(options={"channel": GENERAL}),
            Walk("Its members are told. Switch it on?", options={"channel": STAFF}),
            Walk("I will read <#", options={"backfill": "7d"}),
        ],
        autocomplete={"backfill": SPANS},
        buttons=[
            Walk(options={"channel": STAFF}, steps=["Switch on"]),
            Walk("Done: 0 messages read", options={"backfill": "7d"}, steps=["Switch on"]),
            Walk("Nothing was changed.", options={"channel": STAFF}, steps=["Cancel"]),
        ],
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=[late("You may not switch channels on any more.", "Switch on", options={"channel": STAFF})],
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[
            typed_where_it_goes("It was not switched on"),
            gone("channel", UNSEEN),
            Walk("It was not switched on", options={"channel": STAFF}, steps=[Meanwhile(staff_goes), "Switch on"]),
        ],
        expired=[Walk("Switch it on?", options={"channel": STAFF})],
    ),
    Row(
        command="observe off",
        by="admin",
        sees="I stopped remembering",
        prepare=observed,
        options=[Walk(options={"channel": GENERAL})],
        autocomplete=NOTHING_SUGGESTED,
        buttons=NO_BUTTONS,
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=[],
        down=Down(),
        direct=Usual(),
        thread=Usual("switch that one off."),
        deleted=[typed_where_it_goes("is not observed."), gone("channel", UNSEEN)],
        expired=NOTHING_TO_PRESS,
    ),
    Row(
        command="observe list",
        by="admin",
        sees="Observed channels",
        prepare=observed,
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=[
            Walk("switched on by", steps=["Next"], first=well_observed),
            Walk("switched on by", steps=["Next", "Back"], first=well_observed),
        ],
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=[],
        down=Down(database=None),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes()],
        expired=[Walk(first=well_observed)],
    ),
    Row(
        command="backfill",
        by="admin",
        uses={"channel": GENERAL, "since": "7d"},
        sees="I will read <#",
        prepare=observed,
        options=[Walk("give a moment that has passed", options={"channel": GENERAL, "since": "2999-01-01"})],
        autocomplete={"since": SPANS},
        buttons=[
            Walk("Done: 0 messages read", steps=["Read it"]),
            Walk("Stopped: ", steps=["Read it", "Cancel"], first=hold_reading),
            Walk("Nothing was changed.", steps=["Cancel"]),
        ],
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=[late("You may not have channels read any more.", "Read it")],
        down=Down(database=None),
        direct=Usual(),
        thread=Usual(),
        deleted=[
            typed_where_it_goes(),
            gone("channel", UNSEEN, **WEEK),
            Walk("Nothing was read", steps=[Meanwhile(general_goes), "Read it"]),
        ],
        expired=[Walk()],
    ),
    Row(
        command="status",
        by="admin",
        sees="Waiting for facts",
        prepare=doubtful,
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=[
            Walk("2 messages in <#", steps=["Review…"]),
            Walk("Forgotten: 2 messages and 0 facts.", steps=["Review…", "Forget 2 messages"]),
            Walk("Kept: 1 message.", steps=["Review…", "Forget 2 messages", "They are fine"]),
            Walk("Forgotten: 1 message and 0 facts.", steps=["Review…", "They are fine", "Forget 1 message"]),
        ],
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=[
            late("You may not decide this any more.", "Review…"),
            late("You may not decide this any more.", "Review…", "They are fine"),
        ],
        down=Down(ollama="⚠️ **Ollama**", embedder="⚠️ **OpenAI**", index="⚠️ **Search index**", first=asked),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes()],
        expired=[Walk(), Walk("are gone from Discord", steps=["Review…"])],
    ),
    Row(
        command="flush",
        by="admin",
        sees="1 message read, 1 fact noted.",
        prepare=chatty,
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=NO_BUTTONS,
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=[],
        down=Down(ollama="1 message waits"),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes()],
        expired=NOTHING_TO_PRESS,
    ),
    Row(
        command="audit",
        by="admin",
        sees="set mentions: ",
        prepare=once,
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=[
            Walk("set mentions: new", steps=["Older"], first=busy),
            Walk("set mentions: 14", steps=["Older", "Newer"], first=busy),
        ],
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=[late("You may not read this any more.", "Older", prepared=busy)],
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes()],
        expired=[Walk(first=busy)],
    ),
    Row(
        command="config show",
        by="admin",
        sees="How I remember this server",
        prepare=own_values,
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=NO_BUTTONS,
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=[],
        down=Down(database=None),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes()],
        expired=NOTHING_TO_PRESS,
    ),
    setting(
        "reset",
        {"setting": "mentions"},
        "**Mentions**: not answered.",
        Walk("This server has no setting of its own there", options={"setting": "consent"}),
        Walk("Shall I change it?", options={"setting": "retention"}),
        prepare=own_retention,
        buttons=[
            Walk("Done. ", options={"setting": "retention"}, steps=["Change it"]),
            Walk("Nothing was changed.", options={"setting": "retention"}, steps=["Cancel"]),
        ],
        denied=[late(NOT_ANY_MORE, "Change it", options={"setting": "retention"})],
        expired=[Walk("Shall I change it?", options={"setting": "retention"})],
    ),
    setting(
        "set consent",
        {"mode": "opt_in"},
        "Shall I change it?",
        Walk("Nothing changes. **Consent**", options={"mode": "opt_in"}, first=asks_first),
        down=Down(database=None),
        **asked_first(),
    ),
    setting(
        "set person-facts",
        {"whose": "none"},
        "not noted.",
        Walk("noted from anyone's words.", options={"whose": "all"}),
        Walk("own words only.", options={"whose": "self"}),
    ),
    setting(
        "set sensitive",
        {"things": "keep"},
        "remembered like anything else.",
        Walk("left out.", options={"things": "drop"}),
    ),
    setting(
        "set retention",
        {"messages": 7, "facts": 90},
        "Shall I change it?",
        Walk("messages are kept for 7 days", options={"messages": 7}),
        Walk("facts for 1 day", options={"facts": 1}),
        Walk("Say for how many days", options={}),
        prepare=aged,
        **asked_first(),
    ),
    setting(
        "set language",
        {"language": "German"},
        "Shall I change it?",
        Walk("I do not know that language", options={"language": "Klingon"}),
        autocomplete={"language": [Typed("", "English"), Typed("ger", "German")]},
        **asked_first(),
    ),
    setting(
        "set about-others",
        {"allowed": True},
        "answered from what the asker can read.",
        Walk("not answered.", options={"allowed": False}),
    ),
    setting(
        "set mentions",
        {"allowed": True},
        "answered for everyone in the channel.",
        Walk("not answered.", options={"allowed": False}),
    ),
    setting(
        "set askers",
        {"add": HELPERS},
        "<@&",
        Walk("everyone.", options={"remove": HELPERS}, first=own_values),
        Walk("Say which role", options={}),
    ),
    Row(
        command="purge",
        by="admin",
        uses={"member": ADA},
        sees="This would purge 7 messages and 2 facts",
        prepare=stocked,
        options=[
            Walk("This would purge 8 messages", options={"channel": GENERAL}),
            Walk("This would purge 9 messages", options={"since": "24h"}),
            Walk("This would purge 9 messages", options={"until": "0h"}),
            Walk("Say what to purge", options={}),
        ],
        autocomplete={"since": SPANS},
        buttons=[
            Walk("Purged: 7 messages and 2 facts", steps=["Purge"]),
            Walk("Stopped: ", steps=["Purge", "Stop", Meanwhile(go)], first=hold_purges),
            Walk("Nothing was changed.", steps=["Cancel"]),
        ],
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=[
            late("You may not purge any more.", "Purge"),
            Walk(
                "You may not stop this any more.",
                by="bob",
                first=hold_own_purges,
                steps=["Purge", Meanwhile(demote), "Stop", Meanwhile(go)],
            ),
        ],
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[
            typed_where_it_goes("This would purge 6 messages and 2 facts"),
            gone("channel", "that you can read."),
            Walk("Purged: 0 messages", options={"channel": GENERAL}, steps=[Meanwhile(general_goes), "Purge"]),
        ],
        expired=[Walk()],
    ),
    Row(
        command="setup",
        by="admin",
        sees="Setup, step 1 of 5",
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=[
            Walk("Setup, step 5 of 5", steps=["Next"] * 4),
            Walk("Setup, step 1 of 5", steps=["Next", "Back"]),
            Walk("I remember no channel yet", steps=["Next"] * 4 + ["Start"]),
            Walk("Nothing was changed.", steps=["Cancel"]),
        ],
        selects=[
            Walk(
                "messages are kept for 90 days, facts for 365 days",
                steps=[
                    Choose("Channels", (GENERAL,)),
                    "Next",
                    Choose("Whom I remember", (1,)),
                    "Next",
                    Choose("Messages", (2,)),
                    Choose("Facts", (1,)),
                    "Next",
                    Choose("Everyone may ask", (HELPERS,)),
                    Choose("Facts about people", (2,)),
                    "Next",
                ],
            ),
            Walk("I posted a notice there.", steps=[Choose("Channels", (GENERAL,)), *["Next"] * 4, "Start"]),
        ],
        modals=NO_FORM,
        denied=[late("You may not set me up any more.", *["Next"] * 4, "Start")],
        down=Down(database=None),
        direct=Usual(),
        thread=Usual(),
        deleted=[
            typed_where_it_goes(),
            Walk(
                "Not switched on:",
                steps=[Choose("Channels", (GENERAL,)), *["Next"] * 4, Meanwhile(general_goes), "Start"],
            ),
        ],
        expired=[Walk(), Walk("Setup, step 2 of 5", steps=["Next"])],
    ),
]
