"""The table of every command in every situation, driven as a user would; see `table` for what a cell can be."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio
from discord import AppCommandOptionType, AppCommandType, app_commands
from driving import (
    DIRECT,
    PATIENCE,
    SERVICES,
    Scene,
    Stage,
    Walk,
    awaited,
    check,
    given,
    parts,
    settled_with,
    take,
    unharmed,
    words,
)
from rows_admins import ADMINS
from rows_members import MEMBERS
from table import Down, NotApplicable, Row, Situation, Usual, drawn, missing
from town import eventually

from bot.commands import fixing
from bot.commands.fixing import FixForm
from bot.commands.replies import SERVER_ONLY
from bot.commands.views import EXPIRED, OwnedView
from bot.sandbox.discord import Answer, DiscordServer, NotAllowed, payloads
from bot.sandbox.discord.components import Select, buttons_of, selects_of
from bot.sandbox.discord.entities import Message, id_of
from bot.sandbox.discord.invocation import invocation, target_invocation
from bot.sandbox.ollama import OllamaServer
from bot.sandbox.openai import OpenAIServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS = [*MEMBERS, *ADMINS]
MANAGERS_ONLY = "You need the Manage Server permission for this."

Leaf = app_commands.Command[Any, ..., Any] | app_commands.ContextMenu


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The bot with all its services; every cell has a server of its own in it."""
    async with DiscordServer() as server, OllamaServer() as ollama, OpenAIServer() as openai:
        stage = Stage(server, ollama, openai, tmp_path_factory.mktemp("table"))
        await stage.start()
        yield stage
        await stage.stop()


def leaves(stage: Stage) -> dict[tuple[str, str], Leaf]:
    """What can be used, by kind and full name."""
    tree = stage.app.client.tree
    assert tree is not None
    return {
        (kind.name, command.qualified_name): command
        for kind in AppCommandType
        for command in tree.walk_commands(type=kind)
        if not isinstance(command, app_commands.Group)
    }


def parameters(leaf: Leaf) -> list[app_commands.Parameter]:
    return leaf.parameters if isinstance(leaf, app_commands.Command) else []


def managers_only(leaf: Leaf) -> bool:
    """Whether Discord hides it from all who do not manage the server."""
    root = leaf.root_parent or leaf if isinstance(leaf, app_commands.Command) else leaf
    return root.default_permissions is not None


# -- the table is whole


async def test_every_command_has_a_row_and_every_row_all_cells(stage: Stage) -> None:
    """A command without a row, a row without a command and a missing cell are each named."""
    print(f"\n{drawn(ROWS)}")
    rows = {(row.kind, row.command) for row in ROWS}
    assert len(rows) == len(ROWS), "a command has two rows"
    for kind, name in sorted(leaves(stage).keys() - rows):
        pytest.fail(f"The table has no row for the {kind} command “{name}”.")
    for kind, name in sorted(rows - leaves(stage).keys()):
        pytest.fail(f"The table has a row for “{name}” ({kind}), which is no command.")
    assert not missing(ROWS), "\n".join([*missing(ROWS), drawn(ROWS)])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.command)
async def test_the_row_says_nothing_wrong_of_its_command(stage: Stage, row: Row) -> None:
    """Each option is used and each suggestion asked for; what is said not to apply does not."""
    leaf = leaves(stage)[row.kind, row.command]
    names = {one.display_name for one in parameters(leaf)}
    used = set(row.uses).union(*(walk.options or {} for walk in row.walks()))
    assert used >= names, f"{row} is never used with {names - used}"
    assert isinstance(row.options, NotApplicable) == (not names)

    suggesting = {one.display_name for one in parameters(leaf) if one.autocomplete}
    asked = set() if isinstance(row.autocomplete, NotApplicable) else set(row.autocomplete or ())
    assert asked == suggesting, f"{row} suggests for {suggesting}, its cell asks for {asked}"

    places = {one.display_name for one in parameters(leaf) if one.type is AppCommandOptionType.channel}
    gone = set().union(*(walk.options or {} for walk in row.deleted or ()))
    assert gone >= places, f"{row} is never used with the deleted channel in {places - gone}"
    assert any(walk.at == "lobby" for walk in row.deleted or ()), f"{row} is never typed in a channel that goes"

    assert managers_only(leaf) == (row.by == "admin")
    assert not (managers_only(leaf) and isinstance(row.denied, NotApplicable))
    usable = not all(isinstance(cell, NotApplicable) for cell in (row.buttons, row.selects, row.modals))
    assert isinstance(row.expired, NotApplicable) == (not usable), f"{row} has something that can expire, or has not"


# -- how cells are driven


async def begin(scene: Scene, row: Row, walk: Walk) -> Answer:
    """Use the command as the walk says."""
    if (done := awaited(walk.first(scene) if walk.first else None)) is not None:
        await done
    acting = scene.server.acting
    who, place = getattr(scene, walk.by or row.by), getattr(scene, walk.at or "general")

    def meanwhile() -> None:
        walk.meanwhile(scene)

    if row.kind == "chat_input":
        options = row.uses if walk.options is None else walk.options
        answer = await acting.slash(
            who, place, row.command, {name: given(value, scene) for name, value in options.items()}, meanwhile
        )
    else:
        assert row.target is not None
        choose = acting.message_command if row.kind == "message" else acting.user_command
        answer = await choose(who, place, row.command, row.target(scene, place), meanwhile)
    inspect(row, walk, answer)
    return answer


def inspect(row: Row, walk: Walk, answer: Answer) -> None:
    """What holds of every answer; and what can be used of it is used somewhere in the row."""
    check(answer, public=walk.public)
    shown = parts(answer)
    assert shown.buttons <= row.pressed, f"{row} never presses {sorted(shown.buttons - row.pressed)}"
    assert shown.selects <= row.chosen, f"{row} never chooses in {sorted(shown.selects - row.chosen)}"
    assert not (shown.modals and isinstance(row.modals, NotApplicable)), f"{row} opens a form"


async def drive(scene: Scene, row: Row, walk: Walk) -> Answer:
    """The whole walk, to the words at its end."""
    answer = await begin(scene, row, walk)
    for step in walk.steps:
        answer = await take(step, answer, scene)
        inspect(row, walk, answer)
    await settled_with(answer, row.sees if walk.sees is None else walk.sees)
    inspect(row, walk, answer)
    assert walk.holds(scene, answer), words(answer)
    return answer


async def ready(stage: Stage, row: Row, walk: Walk) -> Scene:
    """A scene prepared as the row needs it; since indexing takes a while, walks that change nothing share theirs."""
    keeps = row.indexed and not walk.changes
    if keeps and row.command in stage.kept:
        return stage.kept[row.command]
    shares = row.by != "admin" and not walk.alone
    scene = await stage.scene(await stage.shared(row.command) if shares else None)
    if row.indexed:
        await stage.skip()
    if (done := awaited(row.prepare(scene) if row.prepare else None)) is not None:
        await done
    if row.indexed:
        await stage.app.indexer.drain()
    if keeps:
        stage.kept[row.command] = scene
    return scene


def usual(row: Row, sees: str | None = None, **how: Any) -> Walk:
    return Walk(row.sees if sees is None else sees, **how)


# -- the situations


async def walked(stage: Stage, row: Row, walks: Any) -> None:
    """Each walk in a fresh server."""
    for walk in walks:
        scene = await ready(stage, row, walk)
        with scene.undone:
            await drive(scene, row, walk)


async def options(stage: Stage, row: Row) -> None:
    """As usual, and with every option."""
    await walked(stage, row, [usual(row), *(row.options or ())])


async def autocomplete(stage: Stage, row: Row) -> None:
    """What is offered for what is typed; no more than 25, and nothing that fails."""
    scene = await ready(stage, row, usual(row))
    assert isinstance(row.autocomplete, dict)
    for option, typings in row.autocomplete.items():
        for typed in typings:
            offered = await scene.server.autocomplete(
                getattr(scene, row.by), scene.general, row.command, option, typed.text
            )
            assert typed.offers in [choice["name"] for choice in offered], f"{row}: {typed} among {offered}"


async def denied(stage: Stage, row: Row) -> None:
    """Hidden by Discord and refused by the bot, or refused for what is not the asker's; also at a later press."""
    if managers_only(leaves(stage)[row.kind, row.command]):
        scene = await ready(stage, row, usual(row))
        with pytest.raises(NotAllowed):
            await begin(scene, row, usual(row, by="bob"))
        commands = scene.server.world.application.commands[None]
        needed = [command["default_member_permissions"] for command in commands]
        try:
            scene.unhide_commands()
            await drive(scene, row, usual(row, MANAGERS_ONLY, by="bob"))
        finally:
            for command, permissions in zip(commands, needed, strict=True):
                command["default_member_permissions"] = permissions
    await walked(stage, row, row.denied)


async def down(stage: Stage, row: Row) -> None:
    """Each service in turn does not answer; suggestions fail silently."""
    assert isinstance(row.down, Down)
    for service in SERVICES:
        scene = await ready(stage, row, usual(row))
        async with stage.without(service):
            await drive(scene, row, usual(row, getattr(row.down, service), first=row.down.first))
            for option in row.autocomplete if isinstance(row.autocomplete, dict) else ():
                asked = await scene.server.acting.autocomplete(
                    getattr(scene, row.by), scene.general, row.command, option, "te", {}
                )
                assert not asked.timed_out, f"{row}: no suggestions without {service}"


async def direct(stage: Stage, row: Row) -> None:
    """Discord offers it in servers only; forged in a direct message it is declined in one sentence."""
    scene = await ready(stage, row, usual(row))
    name = row.command.split()[0] if row.kind == "chat_input" else row.command
    [known] = [one for one in scene.server.world.application.commands[None] if one["name"] == name]
    assert (known["contexts"], known["integration_types"]) == ([0], [0])
    token = f"{DIRECT}{scene.general.id}"
    await scene.server.dispatch("INTERACTION_CREATE", in_direct_message(scene, row, known, token))

    def told() -> list[Any]:
        calls = [call for call in scene.server.calls if f"/{token}/callback" in call.path and call.status]
        return [(call.body["data"]["content"], call.body["data"]["flags"]) for call in calls]

    await eventually(told)
    assert told() == [(SERVER_ONLY, 64)]


async def thread(stage: Stage, row: Row) -> None:
    """Typed in a thread."""
    assert isinstance(row.thread, Usual)
    await walked(stage, row, [usual(row, row.thread.sees, at="brewing")])


async def deleted(stage: Stage, row: Row) -> None:
    """The channel where it was typed goes before the bot hears of it; then those that are named."""
    await walked(stage, row, row.deleted)


async def expired(stage: Stage, row: Row) -> None:
    """After its time a view says so, and a press on what is still on somebody's screen does, too."""
    form_expired = asyncio.Event()

    async def on_timeout(_: FixForm) -> None:
        form_expired.set()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FixForm, "on_timeout", on_timeout)
        for walk in expirable(row):
            scene = await ready(stage, row, walk)
            left = await leave(scene, row, walk, lifetime=0.02)
            if left.answer.modal:
                await asyncio.wait_for(form_expired.wait(), PATIENCE)
            else:
                await left.answer.until(lambda one: not one.buttons and not one.selects, PATIENCE)
                assert left.answer.content, f"{row}: the view is gone without a word"
            await press_in_vain(left)


@dataclass(frozen=True, slots=True)
class Left:
    """What somebody has on their screen, with a copy of its messages as they were."""

    scene: Scene
    row: Row
    answer: Answer
    messages: Sequence[Message]


def expirable(row: Row) -> Sequence[Walk]:
    return row.expired if isinstance(row.expired, list | tuple) else ()


async def leave(scene: Scene, row: Row, walk: Walk, lifetime: float) -> Left:
    """Walk, and leave what is there in the end to itself; it lasts so many seconds, and stays until it was seen."""
    seen, expire = asyncio.Event(), OwnedView.on_timeout

    async def on_timeout(view: OwnedView) -> None:
        await seen.wait()
        await expire(view)

    answer = await drive(scene, row, replace(walk, steps=walk.steps[:-1], sees="")) if walk.steps else None
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(OwnedView, "lifetime", lifetime)
        patched.setattr(OwnedView, "on_timeout", on_timeout)
        patched.setattr(fixing, "FORM_SECONDS", lifetime)
        answer = await (take(walk.steps[-1], answer, scene) if answer else begin(scene, row, walk))
        await settled_with(answer, row.sees if walk.sees is None else walk.sees)
    left = Left(scene, row, answer, [replace(message) for message in answer.messages])
    seen.set()
    return left


async def press_in_vain(left: Left) -> None:
    """Everything on the screen answers kindly that it has expired."""
    acting, user = left.scene.server.acting, getattr(left.scene, left.row.by)
    answers = [await left.answer.submit({})] if left.answer.modal else []
    for message in left.messages:
        for button in buttons_of(message):
            if not button.disabled:
                answers.append(await acting.click(user, message, str(button.custom_id)))
        for select in selects_of(message.components):
            answers.append(await acting.select(user, message, values_for(select, left.scene), select.custom_id))
    assert answers, f"{left.row}: there was nothing to press"
    for answer in answers:
        await settled_with(answer, EXPIRED)
        assert answer.followups or answer.ephemeral


def values_for(select: Select, scene: Scene) -> list[Any]:
    """Something to choose in a menu of any kind."""
    match select.kind:
        case 6:
            return [scene.helpers]
        case 8:
            return [scene.general]
        case _:
            return [select.options[0].value]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def left_behind(stage: Stage) -> dict[str, list[Left]]:
    """What is on the screens when the bot is restarted, by command; it is at work again."""
    left = {}
    for row in ROWS:
        walks = expirable(row)
        left[row.command] = [await leave(await ready(stage, row, walk), row, walk, lifetime=600) for walk in walks]
    await stage.stop()
    await stage.start()
    return left


@pytest.mark.parametrize("row", [row for row in ROWS if expirable(row)], ids=lambda row: row.command)
async def test_a_press_after_a_restart(left_behind: dict[str, list[Left]], row: Row) -> None:
    """A new process knows nothing of the old one's answers, and says so; the other half of the last column."""
    assert left_behind[row.command]
    for left in left_behind[row.command]:
        with unharmed(left.scene.server):
            await press_in_vain(left)


def in_direct_message(scene: Scene, row: Row, known: dict[str, Any], token: str) -> dict[str, Any]:
    """The usual use of a command, as it would come from a direct message."""
    world, who = scene.server.world, getattr(scene, row.by)
    if row.kind == "chat_input":
        values = {name: given(value, scene) for name, value in row.uses.items()}
        data = invocation(world, who, scene.general, row.command, values)
    else:
        assert row.target is not None
        target = id_of(row.target(scene, scene.general))
        resolved = {"users": {str(target): payloads.user(world.users[target])}} if row.kind == "user" else {}
        if row.kind == "message":
            said = payloads.message(world, world.message(scene.general, target))
            resolved = {"messages": {str(target): {name: said[name] for name in said if name != "guild_id"}}}
        data = target_invocation(known, target, resolved)
    user = payloads.user(who)
    return {
        "id": str(world.snowflake()),
        "application_id": str(world.application.id),
        "type": 2,
        "version": 1,
        "token": token,
        "channel_id": "900000000000000009",
        "channel": {"id": "900000000000000009", "type": 1, "recipients": [user]},
        "user": user,
        "app_permissions": "0",
        "locale": "en-US",
        "context": 1,
        "authorizing_integration_owners": {},
        "attachment_size_limit": 10 << 20,
        "entitlements": [],
        "data": data,
    }


SITUATIONS: Mapping[Situation, Callable[[Stage, Row], Awaitable[None]]] = {
    Situation.OPTIONS: options,
    Situation.AUTOCOMPLETE: autocomplete,
    Situation.BUTTONS: lambda stage, row: walked(stage, row, row.buttons),
    Situation.SELECTS: lambda stage, row: walked(stage, row, row.selects),
    Situation.MODALS: lambda stage, row: walked(stage, row, row.modals),
    Situation.DENIED: denied,
    Situation.DOWN: down,
    Situation.DIRECT: direct,
    Situation.THREAD: thread,
    Situation.DELETED: deleted,
    Situation.EXPIRED: expired,
}


@pytest.mark.parametrize(
    ("row", "situation"),
    [
        pytest.param(row, situation, id=f"{row.command}-{situation.told}")
        for row in ROWS
        for situation in Situation
        if not isinstance(row.cell(situation), NotApplicable | None)
    ],
)
async def test_cell(stage: Stage, row: Row, situation: Situation, caplog: pytest.LogCaptureFixture) -> None:
    """Answered in time, to the asker alone, without pings or errors, and with what the situation asks for."""
    with unharmed(stage.server, gone=situation is Situation.DELETED, refused=situation is Situation.DOWN):
        await SITUATIONS[situation](stage, row)
    errors = [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    assert not errors, errors
