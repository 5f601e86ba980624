"""Take the pictures of docs/pictures: the bot's answers, drawn as Discord draws them, photographed by a browser.

`make pictures` takes them all. It needs Chromium on the PATH (`apt-get install chromium fonts-noto-core`), which
neither the project nor its tests do: the pictures are files of the repository.

    python docs/pictures.py [--pages FOLDER] [NAME ...]

With --pages the HTML pages are left in that folder, and no browser is needed. Names choose some of the pictures.
"""

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from PIL import Image, ImageChops

from bot.app import App
from bot.sandbox.community import Community
from bot.sandbox.conversation import load
from bot.sandbox.demo import stage
from bot.sandbox.discord import Answer, DiscordServer, Message, User
from bot.sandbox.discord.components import text_of
from bot.sandbox.discord.entities import Json
from bot.sandbox.html import WIDTH, Client
from bot.storage.messages import QueueStats

PICTURES = Path(__file__).parent / "pictures"
SCALE = 2  # device pixels for one of CSS, as sharp as a telephone's screen
TALLEST = 2_600
COLOURS = 256
MOST_BYTES = 200_000
PATIENCE, A_LOOK = 30.0, 0.02  # seconds
SAMPLED_EVERY = timedelta(minutes=10)  # as by the running bot
FAIR = "when is the spring fair?"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
).split()


class Scenes:
    """The community and the bot, and what is asked for the pictures."""

    def __init__(self, discord: DiscordServer, community: Community, app: App) -> None:
        self.discord, self.community, self.app = discord, community, app
        self.lounge = community.channels[0]

    async def use(self, who: str, path: str, **options: object) -> Answer:
        """A command and its whole answer."""
        answer = await self.discord.slash(self.user(who), self.lounge, path, **options)
        return await answer.settled(PATIENCE)

    async def told(self, who: str, path: str, **options: object) -> Answer:
        """The same for an answer that the language model writes: it grows, and ends in "…" until it is whole."""
        answer = await self.use(who, path, **options)
        return await answer.until(lambda shown: not shown.text.endswith("…"), PATIENCE)

    async def talk(self) -> None:
        """The community's week, read by the language model and indexed to its end."""
        posts = self.community.conversation.posts
        sampled = self.discord.world.clock()
        for said, post in enumerate(posts):
            at = self.community.time_of(post)
            if sampled + SAMPLED_EVERY <= at:
                await self.until(partial(_holds, said))
            while (sampled := sampled + SAMPLED_EVERY) <= at:
                await self.app.samples.take(sampled)
            sampled -= SAMPLED_EVERY
            self.community.say(post)
        await self.use("nadia", "flush")
        await self.until(lambda stats: not stats.waiting and not stats.not_indexed)
        await self.app.catchup.caught_up()

    async def until(self, reached: Callable[[QueueStats], bool]) -> None:
        """Wait for the bot's own numbers to be so."""
        for _ in range(int(PATIENCE / A_LOOK)):
            if reached(await self.app.messages.stats(self.community.guild.id)):
                return
            await asyncio.sleep(A_LOOK)
        raise SystemExit("The bot has not come to the end of the story in time.")

    def user(self, who: str) -> User:
        return self.community.users[who]

    @property
    def client(self) -> Client:
        """Discord on somebody's screen, now."""
        return Client(self.discord.world)

    def page(self, answer: Answer) -> str:
        """An answer as it stands now."""
        return self.client.page("Recollect", *answer.messages)

    async def play(self) -> AsyncIterator[tuple[str, str]]:
        """The scenes in their order: the name of each picture, and its page."""
        yield "setup", self.page(await self.use("nadia", "setup"))
        for channel in self.community.channels:
            answer = await self.use("nadia", "observe on", channel=channel)
            if answer.buttons:
                yield "observe", self.page(answer)
                await (await answer.click("Switch on")).settled(PATIENCE)
        yield "notice", self.client.page("Recollect", *self.discord.sent(self.lounge))
        await self.talk()
        yield "recall", self.page(await self.use("mika", "recall", query=FAIR))
        yield "why", self.page(await self.use("mika", "recall", query=FAIR, explain=True))
        yield "ask", self.page(await self.told("mika", "ask", question=FAIR))
        yield "catchup", self.page(await self.told("klaus", "catchup", channel=self.community.channels[1]))
        yield "mine", self.page(await self.use("mika", "memory mine", kind="facts"))
        yield "timeline", self.page(await self.use("nadia", "memory timeline"))
        yield "export", self.page(await self.use("nadia", "memory export"))
        if form := await self.correction("mika"):
            yield "fix", self.client.modal_page("Recollect", form)
        yield "mention", self.client.page("Recollect", *await self.mentioned("mika"))
        yield "forget", self.page(await self.forgetting("yusuf", "Mira"))
        yield "privacy", self.page(await self.use("klaus", "privacy status"))
        yield "policy", self.page(await self.use("klaus", "privacy policy"))
        yield "purge", self.page(await self.use("nadia", "purge", member=self.user("bea")))
        yield "config", self.page(await self.use("nadia", "config show"))
        yield "audit", self.page(await self.use("nadia", "audit"))
        yield "status", self.page(await self.use("nadia", "status"))

    async def mentioned(self, who: str) -> list[Message]:
        """Somebody asks the bot in the channel, and the answer there."""
        await self.use("nadia", "config set mentions", allowed=True)
        asked = await self.discord.say(self.lounge, self.user(who), f"<@{self.discord.world.bot.id}> {FAIR}")
        message = self.discord.world.message(self.lounge, asked)
        for _ in range(int(PATIENCE / A_LOOK)):
            answers = [one for one in self.discord.sent(self.lounge) if one.reply_to == message.id]
            if answers and "noted from" in text_of(answers[0]):
                break
            await asyncio.sleep(A_LOOK)
        return [message, *answers]

    async def forgetting(self, who: str, what: str) -> Answer:
        """What is asked before something is forgotten."""
        answer = await self.use(who, "forget", query=what)
        picked = [option.value for menu in answer.selects for option in menu.options if what in option.label]
        return await (await answer.select(*picked)).settled(PATIENCE)

    async def correction(self, who: str) -> Json | None:
        """The form in which somebody corrects a fact about themselves."""
        user, path = self.user(who), "memory fix"
        facts = await self.discord.autocomplete(user, self.lounge, path, "fact", "")
        return (await self.discord.slash(user, self.lounge, path, fact=facts[0]["value"])).modal if facts else None


def _holds(messages: int, stats: QueueStats) -> bool:
    return stats.held >= messages


async def write_pages(folder: Path, names: set[str]) -> list[Path]:
    """The chosen pages as files."""
    pages = []
    with tempfile.TemporaryDirectory(prefix="recollect-pictures-") as data:
        async with stage(Path(data), load()) as (discord, community, _, app):
            async for name, html in Scenes(discord, community, app).play():
                if not names or name in names:
                    pages.append(folder / f"{name}.html")
                    pages[-1].write_text(html, "utf-8")
    if unknown := names - {page.stem for page in pages}:
        raise SystemExit(f"There is no picture {', '.join(sorted(unknown))}; docs/pictures has all of them.")
    return pages


def photograph(browser: str, page: Path, picture: Path) -> None:
    """What a browser shows of the page, cut below its last line."""
    with tempfile.TemporaryDirectory(prefix="recollect-browser-") as profile:
        shot = Path(profile) / "shot.png"
        size = f"--window-size={WIDTH},{TALLEST}"
        where = [f"--user-data-dir={profile}/data", f"--screenshot={shot}", page.absolute().as_uri()]
        command = [browser, *FLAGS, size, f"--force-device-scale-factor={SCALE}", *where]
        subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603  (a browser from the PATH)
        with Image.open(shot) as taken:
            image = taken.convert("RGB")
    below = Image.new("RGB", image.size, image.getpixel((0, image.height - 1)))
    box = ImageChops.difference(image, below).getbbox()
    if box is None or box[3] == image.height:
        raise SystemExit(f"{page.name} is empty, or taller than {TALLEST} pixels.")
    image = image.crop((0, 0, image.width, min(box[3] + 12 * SCALE, image.height)))
    image.quantize(COLOURS, kmeans=4, dither=Image.Dither.NONE).save(picture, optimize=True)
    if picture.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{picture} has more than {MOST_BYTES:,} bytes.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the pictures of docs/pictures.")
    parser.add_argument("names", nargs="*", help="which pictures; all without")
    parser.add_argument("--pages", type=Path, help="leave the HTML pages in this folder, and take no pictures")
    given = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if given.pages:
        given.pages.mkdir(parents=True, exist_ok=True)
        asyncio.run(write_pages(given.pages, set(given.names)))
        return
    if browser is None:
        sys.exit(f"There is no {BROWSERS[0]} on the PATH; install one: apt-get install chromium fonts-noto-core")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="recollect-pages-") as folder:
        for page in asyncio.run(write_pages(Path(folder), set(given.names))):
            picture = PICTURES / f"{page.stem}.png"
            photograph(browser, page, picture)
            print(f"{picture}  {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
