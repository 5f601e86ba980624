"""A member's day with the bot, act by act: asking, catching up, looking at what is held, and having it forgotten."""

import html
import io
import json
import zipfile

from bot.sandbox.discord import Answer, Message, User
from bot.sandbox.telling import DemoFailed, Telling, plural

_QUESTION, _SAYS, _ASKER = "when is the spring fair?", "16 May", "mika"
_SECRET, _OUTSIDER, _INSIDER = "what does Klaus get for his birthday?", "klaus", "nadia"
_FAIR = "fair"
_OWN, _TELLER = "Mira", "yusuf"


async def recall_messages(telling: Telling) -> None:
    """A recall while there is no language model."""
    asker = telling.community.users[_ASKER]
    answer = await telling.type(asker, "recall", query=_QUESTION)
    place = _place(telling, answer, "fair-date", of_a_fact=False)
    telling.show(answer.messages[0], asker, cards=max(place, 1))
    result = "as a message: the decision, word for word" if place else "the decision is missing"
    telling.check("recalled while the LLM was down", result, place > 0)


async def ask_in_vain(telling: Telling) -> None:
    """A question while there is no language model to answer it."""
    answer = await telling.type_and_wait(telling.community.users[_ASKER], "ask", question=_QUESTION)
    telling.reply(answer)
    place = _place(telling, answer, "fair-date", of_a_fact=False)
    told = "language model cannot be reached" in answer.content
    cards = "the decision's card all the same" if place else "no card of the decision"
    telling.check(
        "asked while the LLM was down", f"{'told so' if told else 'not told so'}, {cards}", told and place > 0
    )


async def recall_a_fact(telling: Telling) -> None:
    """The same recall once there are facts."""
    telling.screen.chapter("The same question again · now there is a fact, with what it rests on")
    asker = telling.community.users[_ASKER]
    answer = await telling.type(asker, "recall", query=_QUESTION, explain=True)
    place = _place(telling, answer, "fair-date", of_a_fact=True)
    telling.show(answer.messages[0], asker, cards=max(place, 1))
    telling.check(
        "the recalled card, with its link", telling.community.link("fair-date") if place else "none", place > 0
    )


async def ask(telling: Telling) -> None:
    """An answer in the language model's words, whose numbers open the messages they come from."""
    telling.screen.chapter("And in one answer · each number opens the message that says so", pictured=True)
    asker = telling.community.users[_ASKER]
    answer = await telling.type_and_wait(asker, "ask", question=_QUESTION)
    telling.show(answer.messages[0], asker)
    told = [message for message in telling.community.linked(answer.text) if _SAYS in message.content]
    held = bool(told) and _SAYS in answer.text
    result = f"“{_SAYS}” opens {told[0].author.display_name}'s message that says so" if held else "none says so"
    telling.check("the answer, with its links", result, held)


async def catch_up(telling: Telling) -> None:
    """What somebody missed since they last wrote."""
    reader, place = telling.community.users[_OUTSIDER], telling.community.places[_FAIR]
    telling.screen.chapter(f"{reader.display_name} has been away · what did he miss?")
    last = max(message.id for message in _said_by(telling, reader) if message.place is place)
    answer = await telling.type_and_wait(reader, "catchup", channel=place)
    telling.show(answer.messages[0], reader)
    linked = telling.community.linked(answer.text)
    missed = [message for message in linked if message.id > last]
    result = f"{len(missed)} of {plural(len(linked), 'link', 'links')} lead to what was said since"
    telling.check(f"what {reader.display_name} missed", result, bool(missed) and missed == linked)


async def keep_private(telling: Telling) -> None:
    """A private channel's memories, asked for by one who cannot read it and by one who can."""
    outsider, insider = telling.community.users[_OUTSIDER], telling.community.users[_INSIDER]
    private, secrets = telling.community.private_place, telling.community.secrets
    telling.screen.chapter(f"#{private.name} is private · {outsider.display_name} must not learn of his present")

    recalled = await telling.cards_of_all_pages(await telling.type(outsider, "recall", query=_SECRET))
    asked = await telling.type_and_wait(outsider, "ask", question=_SECRET)
    telling.show(asked.messages[0], outsider)
    shown = telling.community.linked(f"{recalled}{asked.text}")
    leaked = sum(message in secrets for message in shown)
    hidden = f"absent, since #{private.name} is hidden from {outsider.display_name}"
    result = f"{plural(leaked, 'memory', 'memories')} of #{private.name}" if leaked else hidden
    telling.check(f"private memory, asked by {outsider.display_name}", result, not leaked)

    answer = await telling.type(insider, "recall", query=_SECRET)
    place = _place(telling, answer, "gift-decided", of_a_fact=True)
    telling.show(answer.messages[0], insider, cards=max(place, 1))
    result = f"there, since {insider.display_name} reads #{private.name}" if place else "absent"
    telling.check(f"private memory, asked by {insider.display_name}", result, place > 0)


async def look_at_ones_own(telling: Telling) -> None:
    """All that is held of somebody: on pages, and as a file to take along."""
    owner = telling.community.users[_OUTSIDER]
    name, own = owner.display_name, {message.id for message in _said_by(telling, owner)}
    telling.screen.chapter(f"{name} looks at what is held of him, and takes it along")

    answer = await telling.type(owner, "memory mine")
    telling.show(answer.messages[0], owner, cards=2)
    cards = await telling.cards_of_all_pages(answer)
    linked = {message.id for message in telling.community.linked(str(cards))}
    others = sum(not card["author"]["name"].startswith(f"{name} · ") for card in cards)
    result = f"{len(own & linked)} of {name}'s {len(own)} messages, {others or 'none'} of others"
    telling.check("/memory mine showed", result, own <= linked and not others)

    answer = await telling.type(owner, "memory export")
    telling.show(answer.messages[0], owner)
    exported, text = _unpacked(answer)
    hidden = [one for one in telling.community.secrets if one.content in text or str(one.id) in text]
    private = f"{len(hidden) or 'none'} of #{telling.community.private_place.name}"
    result = f"{len(own & exported)} of {name}'s {len(own)} messages, {private}"
    telling.check("/memory export held", result, own == exported and not hidden)


async def forget(telling: Telling) -> None:
    """Memories taken back, and asked for once more."""
    teller = telling.community.users[_TELLER]
    telling.screen.chapter(f"{teller.display_name} wants his daughter forgotten")
    answer = await telling.type(teller, "recall", query=_OWN, about=teller)
    telling.show(answer.messages[0], teller, cards=1)
    answer = await telling.type(teller, "forget", query=_OWN)
    telling.show(answer.messages[0], teller)
    for menu in answer.selects:
        picked = [option.value for option in menu.options if _OWN in option.label]
        telling.screen.typed(teller.display_name, f"picks {len(picked)} of {len(menu.options)}")
        answer = await telling.settled(answer.select(*picked))
        telling.reply(answer)
    answer = await telling.press(answer, teller, "Forget")
    telling.reply(answer)
    telling.check("what /forget removed", answer.content, answer.content.startswith("Forgotten:"))
    answer = await telling.type(teller, "recall", query=_OWN, about=teller)
    telling.show(answer.messages[0], teller, cards=1)
    left = len(answer.embeds)
    telling.check("the same recall now", plural(left, "card", "cards") if left else "empty", not left)


def _place(telling: Telling, answer: Answer, key: str, of_a_fact: bool) -> int:
    """Where on the page a fact's or a message's card links to a post, counted from 1; 0 if nowhere."""
    link = telling.community.link(key)
    for number, embed in enumerate(answer.embeds, start=1):
        if link in embed["description"] and embed["author"]["name"].endswith("· message") is not of_a_fact:
            return number
    return 0


def _said_by(telling: Telling, user: User) -> list[Message]:
    return [message for message in telling.community.messages.values() if message.author is user]


def _unpacked(answer: Answer) -> tuple[set[int], str]:
    """The ids of the messages in an export, and every word of its files. Raises `DemoFailed` if that is none."""
    ids, text = set[int](), ""
    try:
        for data in answer.files.values():
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                memories = json.loads(archive.read("memories.json"))
                page = archive.read("memories.html").decode()
            ids |= {int(message["id"]) for message in memories["messages"]}
            text += json.dumps(memories, ensure_ascii=False) + html.unescape(page)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DemoFailed(f"What /memory export delivered cannot be read: {error}.") from error
    return ids, text
