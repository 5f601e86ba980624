"""The rows of the commands for everyone; see `table`."""

import io
import zipfile
from datetime import timedelta
from itertools import count
from operator import attrgetter

from driving import Choose, Fill, Meanwhile, Scene, Walk
from table import Down, NotApplicable, Row, Typed, Usual

from bot.commands.forget import _NOT_YOURS
from bot.commands.recall import OTHERS
from bot.model import Degraded, utcnow
from bot.sandbox.discord import Answer, Channel, Permission, Thread
from bot.storage.observations import Source

ADA, BOB, GENERAL, LOBBY = (attrgetter(name) for name in ("ada", "bob", "general", "lobby"))
ASKERS_ONLY = "In this server only some roles may ask me"
NO_OPTIONS = NotApplicable("it takes no options")
NOTHING_SUGGESTED = NotApplicable("no option of it suggests anything")
NO_BUTTONS = NotApplicable("its answer has no buttons")
NO_MENUS = NotApplicable("nothing is to be chosen in its answer")
NO_FORM = NotApplicable("it opens no form")
NOTHING_TO_PRESS = NotApplicable("there is nothing on its answer that could expire")
OWN = NotApplicable("it concerns the asker alone, and everyone may use it")
SINCE = {"since": [Typed("", "the last 7 days"), Typed("zz", "the last 7 days")]}

_numbers = count(1000)

PICK, PICK_FACT = "Pick one or more", "Pick a fact"
FORM = "Correct what I know about you"


async def stocked(scene: Scene) -> None:
    """Ada has said more than a page holds, in three places; two facts are known about her, Bob spoke last."""
    ada, general = scene.ada, scene.general
    await scene.tell(
        (ada, "The teapot is blue", general),
        (ada, "I bought the teapot in Lisbon", general),
        (ada, "Teapots need washing every Sunday", general),
        (ada, "My grandmother painted a teapot", general),
        (ada, "Nobody may lend the teapot out", general),
        (ada, "In the lobby stands a teapot", scene.lobby),
        (ada, "We brew in a teapot of glass", scene.brewing),
        (scene.bob, "Bring the teapot to the fair on Saturday", general),
        (scene.bob, "Who brews in a glass teapot?", scene.brewing),
    )
    await scene.note(ada, (scene.said[0], "Ada owns a blue teapot"), (scene.said[1], "Ada shops in Lisbon"))


async def learned(scene: Scene) -> None:
    """More was learned from what Ada said than a page holds."""
    await scene.tell(*((scene.ada, "I know tea", place) for place in (scene.general, scene.lobby, scene.brewing)))
    await scene.note(scene.ada, *((scene.said[0], f"Ada knows tea number {number}") for number in range(7)))


async def versed(scene: Scene) -> None:
    """More is known about Ada than a page holds."""
    await scene.note(scene.ada, *((said, f"Ada said: {said.content}") for said in scene.said[2:7]))


async def of_bob(scene: Scene) -> None:
    """Something is known about Bob."""
    await scene.note(scene.bob, (scene.said[7], "Bob goes to the fair"))


async def heard(scene: Scene) -> None:
    """The same, in places that are listened to."""
    for place in (scene.general, scene.lobby):
        await scene.app.observations.open_interval(
            scene.guild.id, place.id, utcnow() - timedelta(days=1), utcnow() + timedelta(days=1), None, Source.IMPORT
        )
    await stocked(scene)


async def only_helpers(scene: Scene) -> None:
    await scene.app.configs.change(scene.guild.id, {"asker_roles": (scene.helpers.id,)})


def mute(scene: Scene) -> None:
    """Ada may not write in the channel."""
    scene.server.world.deny(scene.general, scene.ada, Permission.SEND_MESSAGES)


def lobby_goes(scene: Scene) -> None:
    scene.server.world.remove_channel(scene.lobby)


def general_goes(scene: Scene) -> None:
    scene.server.world.remove_channel(scene.general)


def typed_where_it_goes(sees: str | None = None) -> Walk:
    """The channel in which the command was typed is deleted at that moment."""
    return Walk(sees, at="lobby", meanwhile=lobby_goes)


def gone(option: str, sees: str, **others: object) -> Walk:
    """The channel that an option names is deleted at that moment."""
    return Walk(sees, options={**others, option: LOBBY}, meanwhile=lobby_goes)


def own_words(scene: Scene, place: Channel | Thread) -> int:
    """Something that Ada said there."""
    return next(one.id for one in scene.said if one.channel_id == place.id and one.author_id == scene.ada.id)


def bobs_words(scene: Scene, place: Channel | Thread) -> int:
    return next(one.id for one in scene.said if one.channel_id == place.id and one.author_id == scene.bob.id)


def link_to_bob(scene: Scene) -> str:
    return f"https://discord.com/channels/{scene.guild.id}/{scene.general.id}/{bobs_words(scene, scene.general)}"


def first_fact(scene: Scene) -> str:
    return scene.facts[0].id


def fact_about_bob(scene: Scene) -> str:
    return scene.facts[-1].id


def only_own(scene: Scene, answer: Answer) -> bool:
    """No word of Bob's is in the files."""
    [archive] = answer.files.values()
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        texts = [opened.read(name).decode() for name in opened.namelist()]
    return all("The teapot is blue" in text and "to the fair" not in text for text in texts)


FACTS = {"kind": "facts"}
# The embedder's answer to a question is kept for a while, so each question is a new one.
QUERY = {"query": lambda _: f"which teapot is blue, {next(_numbers)}"}
QUESTION = {"question": lambda _: f"which teapot is blue, {next(_numbers)}"}

MEMBERS = [
    Row(
        command="recall",
        indexed=True,
        uses=QUERY,
        sees="Ada owns a blue teapot",
        prepare=stocked,
        options=[
            Walk("Ada owns a blue teapot", options=QUERY | {"about": ADA}),
            Walk("Ada owns a blue teapot", options=QUERY | {"in": GENERAL}),
            Walk("Ada owns a blue teapot", options=QUERY | {"since": "7d"}),
            Walk("Found by", options=QUERY | {"explain": True}),
            Walk("> which teapot is blue", options=QUERY | {"public": True}, public=True),
        ],
        autocomplete=SINCE,
        buttons=[
            Walk("Page 2 of", steps=["Next"]),
            Walk("Page 1 of", steps=["Next", "Back"]),
            Walk("Found by", steps=["Why?"]),
            Walk("Why?", steps=["Why?", "Hide why"]),
            Walk("Forgotten: 0 messages and 1 fact.", steps=["Forget…", Choose(PICK, (0,)), "Forget"]),
            Walk("Nothing was changed.", steps=["Forget…", Choose(PICK, (0,)), "Cancel"]),
        ],
        selects=[Walk("Forget 2 memories?", steps=["Forget…", Choose(PICK, (0, 1))])],
        modals=NO_FORM,
        denied=[
            Walk(ASKERS_ONLY, first=only_helpers, alone=True),
            Walk(OTHERS, options=QUERY | {"about": BOB}),
            Walk("You may not post here", options=QUERY | {"public": True}, first=mute),
            Walk(ASKERS_ONLY, steps=[Meanwhile(only_helpers), "Next"], alone=True),
        ],
        down=Down(embedder=Degraded.EMBEDDER_DOWN, index=Degraded.INDEX_DOWN),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes(), gone("in", "I found nothing about that", **QUERY)],
        expired=[Walk(), Walk("Forget 1 memory?", steps=["Forget…", Choose(PICK, (0,))])],
    ),
    Row(
        command="ask",
        indexed=True,
        uses=QUESTION,
        sees="Ada owns a blue teapot [[",
        prepare=stocked,
        options=[Walk("> which teapot is blue", options=QUESTION | {"public": True}, public=True)],
        autocomplete=NOTHING_SUGGESTED,
        buttons=[
            Walk("Page 1 of", steps=["Memories"]),
            Walk("Page 2 of", steps=["Memories", "Next"]),
            Walk("Page 1 of", steps=["Memories", "Next", "Back"]),
            Walk("Why?", steps=["Memories", "Why?", "Hide why"]),
            Walk("Forgotten: 0 messages and 1 fact.", steps=["Memories", "Forget…", Choose(PICK, (0,)), "Forget"]),
            Walk("Nothing was changed.", steps=["Memories", "Forget…", Choose(PICK, (0,)), "Cancel"]),
        ],
        selects=[Walk("Forget 2 memories?", steps=["Memories", "Forget…", Choose(PICK, (0, 1))])],
        modals=NO_FORM,
        denied=[
            Walk(ASKERS_ONLY, first=only_helpers, alone=True),
            Walk("You may not post here", options=QUESTION | {"public": True}, first=mute),
        ],
        down=Down(
            ollama="These are the memories that come closest.",
            embedder="I cannot search well enough for an answer right now.",
            index="I cannot search well enough for an answer right now.",
        ),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes()],
        expired=[Walk()],
    ),
    Row(
        command="catchup",
        sees=" [[1]](",
        prepare=stocked,
        options=[Walk(options={"channel": GENERAL}), Walk(options={"since": "24h"})],
        autocomplete={"since": [Typed("", "the last 7 days"), Typed("zz", "the last hour")]},
        buttons=NO_BUTTONS,
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=[Walk(ASKERS_ONLY, first=only_helpers, alone=True)],
        down=Down(ollama="So these are the busiest conversations."),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes("I know of nothing new"), gone("channel", "I know of nothing new")],
        expired=NOTHING_TO_PRESS,
    ),
    Row(
        command="forget",
        indexed=True,
        uses={"query": "teapot"},
        sees="What shall I forget?",
        prepare=stocked,
        options=[
            Walk("Forget everything about you?", options={"everything": True}),
            Walk("Forget 1 memory?", options={"query": first_fact}),
        ],
        autocomplete={
            "query": [Typed("", "Ada owns a blue teapot"), Typed("Sunday", "Teapots need washing every Sunday")]
        },
        buttons=[
            Walk("Forgotten: 7 messages and 2 facts.", options={"everything": True}, steps=["Forget everything"]),
            Walk("Nothing was changed.", options={"everything": True}, steps=["Cancel"]),
            Walk("Forgotten: 0 messages and 1 fact.", options={"query": first_fact}, steps=["Forget"]),
        ],
        selects=[Walk("Forget 2 memories?", steps=[Choose(PICK, (0, 1))])],
        modals=NO_FORM,
        denied=[
            Walk(_NOT_YOURS, options={"query": link_to_bob}),
            Walk(_NOT_YOURS, by="bob", options={"query": first_fact}),
        ],
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes(), Walk("In the lobby stands a teapot", at="lobby", meanwhile=general_goes)],
        expired=[Walk(), Walk("Forget everything about you?", options={"everything": True})],
    ),
    Row(
        command="memory mine",
        sees="We brew in a teapot of glass",
        prepare=stocked,
        options=[
            Walk("Ada owns a blue teapot", options=FACTS),
            Walk("Nobody may lend the teapot out", options={"channel": GENERAL}),
            Walk(options={"since": "7d"}),
            Walk(options={"about": ADA}),
        ],
        autocomplete=SINCE,
        buttons=[
            Walk("Page 2", steps=["Next"]),
            Walk("Page 1", steps=["Next", "Back"]),
            Walk("Forgotten: 0 messages and 1 fact.", options=FACTS, steps=["Forget…", Choose(PICK, (0,)), "Forget"]),
            Walk("Nothing was changed.", steps=["Forget…", Choose(PICK, (0,)), "Cancel"]),
            Walk("Which one shall I correct?", options=FACTS, steps=["Fix…"]),
        ],
        selects=[
            Walk("Forget 2 memories?", steps=["Forget…", Choose(PICK, (0, 1))]),
            Walk(FORM, options=FACTS, steps=["Fix…", Choose(PICK_FACT, (0,))]),
        ],
        modals=[
            Walk(
                "Ada owns a green teapot",
                options=FACTS,
                steps=["Fix…", Choose(PICK_FACT, (0,)), Fill({"What is right": "Ada owns a green teapot"})],
            )
        ],
        denied=[Walk(OTHERS, options={"about": BOB})],
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes(), gone("channel", "In the lobby stands a teapot")],
        expired=[
            Walk(),
            Walk("Which one shall I correct?", options=FACTS, steps=["Fix…"]),
            Walk(FORM, options=FACTS, steps=["Fix…", Choose(PICK_FACT, (0,))]),
        ],
    ),
    Row(
        command="memory fix",
        uses={"fact": first_fact},
        sees=FORM,
        prepare=stocked,
        options=[Walk("Pick one of the suggestions", options={"fact": "teapot"})],
        autocomplete={"fact": [Typed("", "Ada owns a blue teapot"), Typed("Lisbon", "Ada shops in Lisbon")]},
        buttons=NO_BUTTONS,
        selects=NO_MENUS,
        modals=[
            Walk("Ada owns a green teapot", steps=[Fill({"What is right": "Ada owns a green teapot"})]),
            Walk("I have already, so nothing was changed", steps=[Fill({})]),
        ],
        denied=[
            Walk("I take corrections only of facts about yourself", first=of_bob, options={"fact": fact_about_bob}),
            Walk("I take corrections only of facts about yourself", by="bob"),
        ],
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes(), Walk(at="lobby", meanwhile=general_goes)],
        expired=[Walk()],
    ),
    Row(
        command="memory export",
        sees="`memories.html` is for reading",
        prepare=stocked,
        options=[Walk(options={"since": "7d"})],
        autocomplete=SINCE,
        buttons=NO_BUTTONS,
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=[Walk(holds=only_own)],
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes(), Walk(at="lobby", meanwhile=general_goes)],
        expired=NOTHING_TO_PRESS,
    ),
    Row(
        command="memory timeline",
        sees="I hold 7 messages of yours and 2 facts",
        prepare=stocked,
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=NO_BUTTONS,
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=OWN,
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes(), Walk(at="lobby", meanwhile=general_goes)],
        expired=NOTHING_TO_PRESS,
    ),
    Row(
        command="privacy status",
        sees="I hold 2 facts about you",
        prepare=heard,
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=NO_BUTTONS,
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=OWN,
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes()],
        expired=NOTHING_TO_PRESS,
    ),
    Row(
        command="privacy opt-out",
        sees="Shall I also forget what I already hold?",
        prepare=stocked,
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=[
            Walk("Forgotten: 7 messages and 2 facts.", steps=["Forget my past…", "Forget everything"]),
            Walk("Nothing was changed.", steps=["Forget my past…", "Cancel"]),
            Walk("It stays as it is", steps=["Keep it"]),
        ],
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=OWN,
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes()],
        expired=[Walk(), Walk("Forget everything about you?", steps=["Forget my past…"])],
    ),
    Row(
        command="privacy opt-in",
        sees="You had not opted out",
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=NO_BUTTONS,
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=OWN,
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes()],
        expired=NOTHING_TO_PRESS,
    ),
    Row(
        command="privacy policy",
        sees="What I keep",
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=NO_BUTTONS,
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=OWN,
        down=Down(database=None),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes()],
        expired=NOTHING_TO_PRESS,
    ),
    Row(
        command="Remember this",
        kind="message",
        target=own_words,
        sees="Remembered: I keep these words",
        prepare=heard,
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=NO_BUTTONS,
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=[
            Walk(
                "I keep only what you can read here",
                first=lambda s: s.server.world.deny(s.general, s.ada, Permission.READ_MESSAGE_HISTORY),
            )
        ],
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes("I may not keep this message")],
        expired=NOTHING_TO_PRESS,
    ),
    Row(
        command="Forget this message",
        kind="message",
        target=own_words,
        sees="Forget 1 memory?",
        prepare=stocked,
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=[
            Walk("Forgotten: 1 message and 1 fact.", steps=["Forget"]),
            Walk("Nothing was changed.", steps=["Cancel"]),
        ],
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=[Walk(_NOT_YOURS, by="bob")],
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes()],
        expired=[Walk()],
    ),
    Row(
        command="What was made of this?",
        kind="message",
        target=own_words,
        sees="I hold this message",
        prepare=learned,
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=[Walk("Page 2 of 2", steps=["Next"]), Walk("Page 1 of 2", steps=["Next", "Back"])],
        selects=NO_MENUS,
        modals=NO_FORM,
        denied=[
            Walk(
                "I learnt nothing from it that you can read.",
                first=lambda s: s.server.world.deny(s.general, s.bob, Permission.READ_MESSAGE_HISTORY),
                by="bob",
            )
        ],
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes()],
        expired=[Walk()],
    ),
    Row(
        command="What do you know about them?",
        kind="user",
        target=lambda scene, _: scene.ada,
        sees="Ada owns a blue teapot",
        prepare=stocked,
        options=NO_OPTIONS,
        autocomplete=NOTHING_SUGGESTED,
        buttons=[
            Walk("Page 2", steps=["Next"], first=versed),
            Walk("Page 1", steps=["Next", "Back"], first=versed),
            Walk("Forgotten: 0 messages and 1 fact.", steps=["Forget…", Choose(PICK, (0,)), "Forget"]),
            Walk("Nothing was changed.", steps=["Forget…", Choose(PICK, (0,)), "Cancel"]),
            Walk("Which one shall I correct?", steps=["Fix…"]),
        ],
        selects=[
            Walk("Forget 2 memories?", steps=["Forget…", Choose(PICK, (0, 1))]),
            Walk(FORM, steps=["Fix…", Choose(PICK_FACT, (0,))]),
        ],
        modals=[
            Walk(
                "Ada owns a green teapot",
                steps=["Fix…", Choose(PICK_FACT, (0,)), Fill({"What is right": "Ada owns a green teapot"})],
            )
        ],
        denied=[Walk(OTHERS, by="bob")],
        down=Down(),
        direct=Usual(),
        thread=Usual(),
        deleted=[typed_where_it_goes()],
        expired=[Walk()],
    ),
]
