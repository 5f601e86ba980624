"""People using a bot: commands, buttons, menus and modals, answered by the real discord.py."""

from collections.abc import AsyncIterator
from datetime import timedelta

import discord
import pytest
from discord import app_commands
from discord_clients import RecordingClient, point_discord_py_at, running

from bot.sandbox.discord import Channel, DiscordServer, Guild, MessageKind, NotAllowed, Permission, User

Interaction = discord.Interaction[RecordingClient]


class Letter(discord.ui.Modal, title="A letter"):
    subject = discord.ui.TextInput[discord.ui.View](label="Subject", max_length=20)
    body: discord.ui.Label[discord.ui.View] = discord.ui.Label(
        text="Your words", component=discord.ui.TextInput(custom_id="body", required=False)
    )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        assert isinstance(self.body.component, discord.ui.TextInput)
        await interaction.response.send_message(f"{self.subject.value}: {self.body.component.value}", ephemeral=True)


class Panel(discord.ui.View):
    """One of each kind of component."""

    def __init__(self) -> None:
        super().__init__()
        self.add_item(discord.ui.Button(label="Website", url="https://example.org"))

    @discord.ui.button(label="Count", custom_id="count")
    async def count(self, interaction: discord.Interaction, button: discord.ui.Button[discord.ui.View]) -> None:
        assert interaction.message is not None
        await interaction.response.edit_message(content=f"{interaction.message.content}+1")

    @discord.ui.button(label="Later")
    async def later(self, interaction: discord.Interaction, button: discord.ui.Button[discord.ui.View]) -> None:
        await interaction.response.defer()
        await interaction.edit_original_response(content="later came", view=None)

    @discord.ui.button(label="Write")
    async def write(self, interaction: discord.Interaction, button: discord.ui.Button[discord.ui.View]) -> None:
        await interaction.response.send_modal(Letter())

    @discord.ui.button(label="Locked", disabled=True)
    async def locked(self, interaction: discord.Interaction, button: discord.ui.Button[discord.ui.View]) -> None:
        raise AssertionError("a disabled button was pressed")

    @discord.ui.select(
        placeholder="Teas",
        max_values=2,
        options=[
            discord.SelectOption(label="Green tea", value="green", description="fresh"),
            discord.SelectOption(label="Oolong"),
        ],
    )
    async def teas(self, interaction: discord.Interaction, menu: discord.ui.Select[discord.ui.View]) -> None:
        await interaction.response.send_message(f"teas {sorted(menu.values)}", ephemeral=True)

    @discord.ui.select(cls=discord.ui.UserSelect, placeholder="Who")
    async def who(self, interaction: discord.Interaction, menu: discord.ui.UserSelect[discord.ui.View]) -> None:
        await interaction.response.send_message(f"who {menu.values[0].display_name}", ephemeral=True)

    @discord.ui.select(cls=discord.ui.ChannelSelect, placeholder="Where")
    async def where(self, interaction: discord.Interaction, menu: discord.ui.ChannelSelect[discord.ui.View]) -> None:
        await interaction.response.send_message(f"where {menu.values[0].name}", ephemeral=True)


def add_commands(tree: app_commands.CommandTree[RecordingClient]) -> None:
    @tree.command(description="Say back what was given")
    async def echo(
        interaction: Interaction,
        text: app_commands.Range[str, 2, 20],
        times: app_commands.Range[int, 1, 3] = 1,
        loud: bool = False,
        user: discord.Member | None = None,
        channel: discord.TextChannel | None = None,
        role: discord.Role | None = None,
        ratio: float = 0.5,
    ) -> None:
        named = [thing and str(thing) for thing in (user and user.display_name, channel, role)]
        said = f"{text * times} {loud} {named} {ratio}"
        await interaction.response.send_message(said, ephemeral=True)

    @echo.autocomplete("text")
    async def complete(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=f"{current}{n}", value=f"v{n}") for n in range(3)]

    @tree.command(description="Choose a tea")
    @app_commands.choices(tea=[app_commands.Choice(name="Green tea", value="green")])
    async def tea(interaction: Interaction, tea: str) -> None:
        await interaction.response.send_message(tea)

    @tree.command(description="Show the panel")
    async def panel(interaction: Interaction, public: bool = False) -> None:
        await interaction.response.send_message("panel", view=Panel(), ephemeral=not public)

    @tree.command(description="Take time")
    async def slow(interaction: Interaction, public: bool = False) -> None:
        await interaction.response.defer(ephemeral=not public, thinking=True)
        await interaction.edit_original_response(content="done", embed=discord.Embed(title="T", description="D"))
        await interaction.followup.send("and more", ephemeral=True)

    @tree.command(description="Take time, then follow up")
    async def follow(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        await interaction.followup.send("in place of the deferral")
        await interaction.delete_original_response()
        await interaction.followup.send("another")

    @tree.command(description="Never answer")
    async def mute(interaction: Interaction) -> None:
        await interaction.client.wait_for("message")
        await interaction.response.send_message("too late")

    @tree.command(description="Answer twice")
    async def twice(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        interaction.response._response_type = None  # forget it, as a second process would not know of it
        await interaction.response.send_message("again")

    @tree.command(description="Answer with too much")
    async def flood(interaction: Interaction) -> None:
        await interaction.response.send_message("x" * 2001)

    @tree.command(description="Update a message that is not there")
    async def misfit(interaction: Interaction) -> None:
        await interaction.response.edit_message(content="x")
        interaction.type = discord.InteractionType.component
        await interaction.response.edit_message(content="x")

    @tree.context_menu(name="Who is that")
    async def who_is(interaction: Interaction, member: discord.Member) -> None:
        await interaction.response.send_message(f"{member.display_name}", ephemeral=True)

    @tree.context_menu(name="Quote")
    async def quote(interaction: Interaction, message: discord.Message) -> None:
        await interaction.response.send_message(f"> {message.content}", ephemeral=True)

    admin = app_commands.Group(
        name="admin", description="For admins", default_permissions=discord.Permissions(manage_guild=True)
    )

    @admin.command(name="on", description="Switch on")
    async def on(interaction: Interaction, channel: discord.TextChannel) -> None:
        await interaction.response.send_message(f"on: {channel.name} {interaction.permissions.manage_guild}")

    tree.add_command(admin)


class Lab:
    """A guild with an owner, a plain member and a client with commands."""

    def __init__(self, server: DiscordServer) -> None:
        self.server, self.world = server, server.world
        self.alice: User = self.world.add_user("alice")
        self.bob: User = self.world.add_user("bob", display_name="Bob")
        self.guild: Guild = self.world.add_guild(name="lab", owner=self.alice)
        self.world.add_member(self.guild, self.bob, nick="Bobby")
        self.general: Channel = self.world.add_channel(self.guild, "general")
        self.client = RecordingClient()
        add_commands(self.client.tree)


@pytest.fixture
async def lab(discord_server: DiscordServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    point_discord_py_at(discord_server, monkeypatch)
    lab = Lab(discord_server)
    async with running(lab.client, discord_server):
        yield lab


async def test_options_of_every_kind_arrive(lab: Lab) -> None:
    """Strings, numbers, switches, and users, channels and roles with what they resolve to."""
    crew = lab.world.add_role(lab.guild, "crew")
    answer = await lab.server.slash(
        lab.bob,
        lab.general,
        "echo",
        text="hi",
        times=2,
        loud=True,
        user=lab.bob,
        channel=lab.general,
        role=crew,
        ratio=2.5,
    )
    assert answer.content == "hihi True ['Bobby', 'general', 'crew'] 2.5"
    assert answer.ephemeral
    assert lab.general.history.page(1) == []


@pytest.mark.parametrize(
    ("path", "options", "error"),
    [
        ("nothing", {}, LookupError),
        ("admin", {}, LookupError),
        ("admin off", {}, LookupError),
        ("echo", {"text": "hi", "colour": "red"}, LookupError),
        ("echo", {"text": "hi", "user": 1}, LookupError),
        ("echo", {}, ValueError),
        ("echo", {"text": "x"}, ValueError),
        ("echo", {"text": "hi", "times": 4}, ValueError),
        ("tea", {"tea": "black"}, ValueError),
    ],
)
async def test_what_discords_client_would_not_send_is_refused(
    lab: Lab, path: str, options: dict[str, object], error: type[Exception]
) -> None:
    """Unknown commands and options, missing and forbidden values never reach the bot."""
    with pytest.raises(error):
        await lab.server.slash(lab.alice, lab.general, path, **options)


async def test_a_channel_option_takes_only_its_types(lab: Lab) -> None:
    """A thread is no text channel."""
    thread = lab.world.add_thread(lab.general, "chat", owner=lab.alice)
    with pytest.raises(ValueError, match="types"):
        await lab.server.slash(lab.alice, lab.general, "admin on", channel=thread)


async def test_a_choice_is_made_by_its_name(lab: Lab) -> None:
    """The person sees the name, the bot gets the value."""
    assert (await lab.server.slash(lab.bob, lab.general, "tea", tea="Green tea")).content == "green"


async def test_a_public_answer_is_a_message_of_the_channel(lab: Lab) -> None:
    """It says whose command it answers."""
    answer = await lab.server.slash(lab.bob, lab.general, "tea", tea="green")
    assert not answer.ephemeral
    (message,) = lab.server.sent(lab.general)
    assert (message, message.kind) == (answer.message, MessageKind.CHAT_INPUT_COMMAND)
    heard = await lab.client.hear("message")
    assert heard.interaction_metadata.user.id == lab.bob.id
    assert heard.webhook_id == lab.world.application.id


async def test_commands_are_hidden_from_those_who_may_not_use_them(lab: Lab) -> None:
    """Default permissions, the permission to use commands, and the channel itself."""
    with pytest.raises(NotAllowed, match="hidden from bob"):
        await lab.server.slash(lab.bob, lab.general, "admin on", channel=lab.general)
    lab.world.update_role(lab.guild.everyone, permissions=lab.guild.everyone.permissions | Permission.MANAGE_GUILD)
    answer = await lab.server.slash(lab.bob, lab.general, "admin on", channel=lab.general)
    assert answer.content == "on: general True"
    lab.world.deny(lab.general, lab.bob, Permission.USE_APPLICATION_COMMANDS)
    with pytest.raises(NotAllowed, match="may not use commands"):
        await lab.server.slash(lab.bob, lab.general, "panel")
    lab.world.deny(lab.general, lab.bob, Permission.VIEW_CHANNEL)
    with pytest.raises(NotAllowed, match="cannot see"):
        await lab.server.slash(lab.bob, lab.general, "panel")


async def test_a_command_without_the_guild_context_does_not_exist_in_guilds(lab: Lab) -> None:
    """Contexts rule where a command is offered; age-restricted commands need such a channel."""
    commands = {command["name"]: command for command in lab.world.application.commands[None]}
    commands["panel"]["contexts"] = [1]
    commands["tea"]["nsfw"] = True
    for name in ("panel", "tea"):
        with pytest.raises(NotAllowed):
            await lab.server.slash(lab.alice, lab.general, name)


async def test_autocomplete_offers_choices(lab: Lab) -> None:
    """Names for people, values for the bot; other options may be missing."""
    choices = await lab.server.autocomplete(lab.bob, lab.general, "echo", "text", "te", loud=True)
    assert [(choice["name"], choice["value"]) for choice in choices] == [("te0", "v0"), ("te1", "v1"), ("te2", "v2")]


async def test_context_menus_name_their_target(lab: Lab) -> None:
    """Commands on a user and on a message."""
    answer = await lab.server.user_command(lab.alice, lab.general, "Who is that", lab.bob)
    assert answer.content == "Bobby"
    message = await lab.server.say(lab.general, lab.bob, "tea is ready")
    answer = await lab.server.message_command(lab.alice, lab.general, "Quote", message)
    assert answer.content == "> tea is ready"


@pytest.mark.parametrize("public", [False, True])
async def test_a_deferred_answer_is_followed_to_its_end(lab: Lab, public: bool) -> None:
    """Deferral, edit and follow-up; every visible word is in the text."""
    answer = await lab.server.slash(lab.bob, lab.general, "slow", public=public)
    assert answer.deferred
    await answer.settled()
    assert (answer.content, answer.embeds[0]["title"]) == ("done", "T")
    await answer.until(lambda a: len(a.followups) == 1)
    assert answer.text == "done\nT\nD\nand more"
    assert answer.ephemeral is not public
    assert len(lab.server.sent(lab.general)) == int(public)


async def test_the_first_follow_up_takes_the_place_of_a_deferral(lab: Lab) -> None:
    """And its visibility; what is deleted is gone."""
    answer = await lab.server.slash(lab.bob, lab.general, "follow")
    await answer.until(lambda a: a.text == "another")
    assert answer.message is None
    assert not answer.ephemeral


async def test_an_answer_that_comes_too_late_is_none(lab: Lab) -> None:
    """After the deadline the interaction is unknown, and the user has seen a failure."""
    lab.server.acting.deadline = timedelta(seconds=0.05)
    answer = await lab.server.slash(lab.bob, lab.general, "mute")
    assert answer.timed_out
    with pytest.raises(TimeoutError):
        await answer.settled()
    await lab.server.say(lab.general, lab.bob, "hello?")
    assert "10062" in str(await lab.client.hear("command_error"))


async def test_a_second_acknowledgement_is_an_error(lab: Lab) -> None:
    """Code 40060, and the first answer stands."""
    answer = await lab.server.slash(lab.bob, lab.general, "twice")
    assert "40060" in str(await lab.client.hear("command_error"))
    assert answer.deferred


async def test_an_answer_beyond_the_limits_is_an_error(lab: Lab) -> None:
    """The bot is told, the user sees nothing."""
    lab.server.acting.deadline = timedelta(seconds=0.2)
    answer = await lab.server.slash(lab.bob, lab.general, "flood")
    assert answer.timed_out
    assert "50035" in str(await lab.client.hear("command_error"))


async def test_a_token_ends_after_fifteen_minutes(lab: Lab) -> None:
    """Later edits and follow-ups are refused."""
    await lab.server.slash(lab.bob, lab.general, "panel")
    interaction = lab.client.heard("interaction")[-1]
    with pytest.raises(discord.NotFound):
        await interaction.followup.delete_message(1)
    now = lab.world.clock()
    lab.world.clock = lambda: now + timedelta(minutes=16)
    with pytest.raises(discord.HTTPException, match="50027"):
        await interaction.edit_original_response(content="too late")


async def test_an_answer_can_be_fetched_edited_and_deleted(lab: Lab) -> None:
    """The original and the follow-ups, as long as the token lives."""
    answer = await lab.server.slash(lab.bob, lab.general, "tea", tea="green")
    interaction = lab.client.heard("interaction")[-1]
    assert (await interaction.original_response()).content == "green"
    more = await interaction.followup.send("and oolong", wait=True)
    await more.edit(content="and black")
    assert answer.text == "green\nand black"
    await more.delete()
    await interaction.delete_original_response()
    assert (answer.messages, lab.server.sent(lab.general)) == ([], [])
    with pytest.raises(discord.NotFound, match="10008"):
        await interaction.edit_original_response(content="gone")


async def test_a_response_must_fit_its_interaction(lab: Lab) -> None:
    """A command has no message to update, and what is nobody's token answers nothing."""
    await lab.server.slash(lab.bob, lab.general, "panel")
    lab.server.acting.deadline = timedelta(seconds=0.2)
    assert (await lab.server.slash(lab.bob, lab.general, "misfit")).timed_out
    assert "50035" in str(await lab.client.hear("command_error"))
    interaction = lab.client.heard("interaction")[-1]
    interaction.token = "nobody's"
    with pytest.raises(discord.NotFound, match="10015"):
        await interaction.followup.send("hello?")


async def test_a_button_updates_its_message(lab: Lab) -> None:
    """The answer that carries it shows the new content; the click's own answer is the same message."""
    answer = await lab.server.slash(lab.bob, lab.general, "panel")
    click = await answer.click("Count")
    assert (answer.content, click.message) == ("panel+1", answer.message)
    await answer.click("count")
    assert answer.content == "panel+1+1"


async def test_a_button_may_defer_its_update(lab: Lab) -> None:
    """The message changes when the bot edits it."""
    answer = await lab.server.slash(lab.bob, lab.general, "panel")
    click = await (await answer.click("Later")).settled()
    assert (click.content, answer.content, answer.buttons) == ("later came", "later came", [])


async def test_what_cannot_be_pressed_is_not(lab: Lab) -> None:
    """Disabled buttons, links, buttons that are not there."""
    answer = await lab.server.slash(lab.bob, lab.general, "panel")
    assert [(b.label, b.disabled) for b in answer.buttons if b.disabled] == [("Locked", True)]
    for label in ("Locked", "Website"):
        with pytest.raises(NotAllowed):
            await answer.click(label)
    with pytest.raises(LookupError):
        await answer.click("Missing")
    with pytest.raises(NotAllowed, match="does not see"):
        await answer.click("Count", lab.alice)


async def test_others_press_the_buttons_of_a_public_message(lab: Lab) -> None:
    """If they see the channel."""
    answer = await lab.server.slash(lab.bob, lab.general, "panel", public=True)
    await answer.click("Count", lab.alice)
    (message,) = lab.server.sent(lab.general)
    await lab.server.click(lab.alice, message, "Count")
    assert message.content == "panel+1+1"
    edited = await lab.client.hear("raw_message_edit", 2)
    assert edited.message.content == "panel+1+1"
    lab.world.deny(lab.general, lab.bob, Permission.VIEW_CHANNEL)
    with pytest.raises(NotAllowed, match="cannot see"):
        await lab.server.click(lab.bob, message, "Count")


async def test_menus_are_chosen_from(lab: Lab) -> None:
    """Strings by label or value; users and channels by themselves."""
    answer = await lab.server.slash(lab.bob, lab.general, "panel")
    teas = answer.selects[0]
    assert [(o.label, o.value, o.description) for o in teas.options] == [
        ("Green tea", "green", "fresh"),
        ("Oolong", "Oolong", None),
    ]
    assert (await answer.select("Green tea", "Oolong", menu="Teas")).content == "teas ['Oolong', 'green']"
    assert (await answer.select(lab.alice, menu="Who")).content == "who alice"
    assert (await answer.select(lab.general, menu="Where")).content == "where general"
    with pytest.raises(LookupError):
        await answer.select("Oolong")
    with pytest.raises(ValueError, match="takes 1 to 1"):
        await answer.select(lab.alice, lab.bob, menu="Who")


async def test_a_modal_is_filled_in(lab: Lab) -> None:
    """Fields by label or id; what the form would refuse is refused."""
    answer = await lab.server.slash(lab.bob, lab.general, "panel")
    form = await answer.click("Write")
    assert form.modal is not None
    assert [(field.label, field.required) for field in form.inputs] == [("Subject", True), ("Your words", False)]
    for values, error in (({}, ValueError), ({"Subject": "x" * 21}, ValueError), ({"Topic": "x"}, LookupError)):
        with pytest.raises(error):
            await form.submit(values)
    assert (await form.submit({"Subject": "Tea", "body": "please"})).content == "Tea: please"
    with pytest.raises(LookupError):
        await answer.submit({})


async def test_text_holds_every_label_on_the_screen(lab: Lab) -> None:
    """Placeholders and options too: nothing visible escapes a test for leaks."""
    answer = await lab.server.slash(lab.bob, lab.general, "panel")
    for word in ("panel", "Count", "Website", "Teas", "Green tea", "fresh", "Where"):
        assert word in answer.text
