"""What the bot says is never remembered, however it comes back."""

from town import Town, eventually

from bot.model import utcnow


async def test_the_bots_own_words_are_never_remembered(town: Town) -> None:
    """Its notice, a public answer, a reply to a mention, and whatever quotes or forwards them; live or read again."""
    server, webhook = town.server, town.server.world.snowflake()
    await town.use(town.admin, "observe on", channel=town.general)
    await town.app.configs.change(town.guild.id, {"mentions": True})
    said = await server.say(town.general, town.ada, "The teapot is in the blue cupboard")
    await town.app.client.settle()
    await town.app.indexer.drain()

    await town.use(town.bob, "recall", query="teapot", public=True)
    asked = await server.say(town.general, town.bob, f"<@{server.world.bot.id}> where is the teapot?")
    await eventually(lambda: [one for one in server.sent(town.general) if one.reply_to == int(asked["id"])])
    await eventually(lambda: "I am looking" not in server.sent(town.general)[-1].content)
    own = server.sent(town.general)
    assert len(own) == 3
    quote = f"> {own[0].content or own[0].embeds[0]['description']}"
    await server.say(town.general, town.ada, quote, webhook_id=webhook)
    forward = await server.say(town.general, town.ada, announce=False)
    snapshot = {"type": 0, "content": quote, "embeds": [], "attachments": [], "flags": 0, "mentions": []}
    times = {"timestamp": utcnow().isoformat(), "edited_timestamp": None}
    origin = {"type": 1, "message_id": str(own[0].id), "channel_id": str(town.general.id)}
    forward |= {"message_reference": origin, "message_snapshots": [{"message": {**snapshot, **times}}]}
    await server.dispatch("MESSAGE_CREATE", forward)
    await server.edit(town.general, own[0].id, "other words")
    await eventually(lambda: town.app.observer.newest_id == int(forward["id"]))
    await town.app.client.settle()

    held = await town.app.messages.get(one.id for one in town.general.history)
    assert list(held) == [int(said["id"])]
    channel = town.app.client.get_channel(town.general.id)
    again = [record async for one in channel.history() if (record := town.app.observer.accept(one))]
    assert {record.id for record in again} == set(held)
    assert (await town.app.messages.stats(town.guild.id)).held == 1
