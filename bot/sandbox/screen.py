"""What the demo shows: narration, Discord's messages as panels, a progress bar, the summary.

On a terminal in colour; without one the same story in plain lines.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.rule import Rule
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from bot.sandbox.markup import Markup

_EPHEMERAL = 64
_BLURPLE = "#5865f2"
_MAX_WIDTH = 100
_BUTTON_STYLES = {1: f"white on {_BLURPLE}", 2: "white on grey30", 3: "white on #248046", 4: "white on #da373c"}


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of the demo: what was looked at, what came out, and whether it held."""

    name: str
    result: str
    held: bool


class Screen:
    """The demo's voice. One step is one call; what belongs into a picture is printed on the `canvas`, too."""

    def __init__(self, console: Console | None = None, canvas: Console | None = None) -> None:
        self._canvas = canvas
        self._pictured = False
        self._console = console or Console(highlight=False)
        if self._console.width > _MAX_WIDTH:
            self._console.width = _MAX_WIDTH

    def title(self, name: str, lines: Sequence[str]) -> None:
        """The opening panel."""
        text = Text("\n").join(Text.from_markup(line) for line in lines)
        self._print(Panel(text, title=f"[bold]{name}[/]", border_style=_BLURPLE, padding=(1, 2)))

    def chapter(self, title: str, pictured: bool = False) -> None:
        """A new part of the story, which belongs into the picture or does not."""
        self._pictured = pictured
        self._print()
        self._print(Rule(Text(title, style="bold"), align="left", style="bright_black"))

    def say(self, line: str) -> None:
        """A line of narration; `[bold]` and the like are rich's markup."""
        self._print(Text.from_markup(line))

    def typed(self, name: str, command: str) -> None:
        """A member types a command or presses something."""
        self._print()
        self._print(Text.assemble((f"  {name} ", "bold cyan"), ("▸ ", "bright_black"), (command, "bold")))

    def reply(self, content: str, markup: Markup) -> None:
        """A short answer of the bot."""
        line = Table.grid()
        line.add_row(
            Text.assemble(("  Recollect ", f"bold {_BLURPLE}"), ("▸ ", "bright_black")), markup.render(content)
        )
        self._print(line)

    def message(
        self, data: Mapping[str, Any], markup: Markup, reader: str | None = None, cards: int | None = None
    ) -> None:
        """A message of the bot as a client shows it, cut to its first `cards` embeds.

        `reader` is who sees an ephemeral message.
        """
        private = bool(int(data.get("flags") or 0) & _EPHEMERAL)
        footer = f"only {reader} can see this" if private and reader else None
        panel = Panel(
            Group(*_parts(data, markup, cards)),
            title=Text.assemble(("Recollect", "bold"), ("  APP ", f"white on {_BLURPLE}")),
            title_align="left",
            subtitle=Text(footer, style="dim italic") if footer else None,
            subtitle_align="right",
            border_style="bright_black",
            box=box.ROUNDED,
            padding=(0, 1),
        )
        self._print(Padding(panel, (0, 0, 0, 2)))

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Callable[[int, str], None]]:
        """A bar over the latest line: call it with how much is done and the line; both are plain text.

        Without a terminal it is one line at the end.
        """
        if not self._console.is_terminal:
            reached = 0

            def note(done: int, line: str) -> None:
                nonlocal reached
                reached = done

            yield note
            self.say(f"  {escape(label)}: {reached} of {total}")
            return
        bar = Progress(
            TextColumn("  {task.description}"),
            BarColumn(None, complete_style=_BLURPLE),
            MofNCompleteColumn(),
            expand=True,
        )
        task = bar.add_task(escape(label), total=total)
        latest = Text(no_wrap=True, overflow="ellipsis", style="dim")
        with Live(Group(bar, latest), console=self._console, refresh_per_second=20):

            def show(done: int, line: str) -> None:
                bar.update(task, completed=done)
                latest.plain = f"    {' '.join(line.split())}"

            yield show
            latest.plain = ""

    def check(self, check: Check) -> None:
        """A promise as it is put to the test."""
        self._result(check, f"{check.name}: ")

    def summary(self, checks: Sequence[Check], footer: str) -> None:
        """All promises, and one line under them."""
        self.chapter("What was promised, and what happened", pictured=True)
        self._print()
        widest = max(len(check.name) for check in checks)
        for check in checks:
            self._result(check, f"{check.name:<{widest}}  ")
        self._print()
        self.say(footer)

    def _result(self, check: Check, name: str) -> None:
        mark, style = ("✓", "green") if check.held else ("✗", "red")
        line = Text.assemble(
            "  ", (f"{mark} ", f"bold {style}"), name, (check.result, "bold" if check.held else "bold red")
        )
        self._print(line, whole=True)

    def _print(self, content: RenderableType = "", whole: bool = False) -> None:
        """Show something. A line that stays whole lets a link be longer than the screen, but not than the picture."""
        self._console.print(content, soft_wrap=whole)
        if self._canvas and self._pictured:
            self._canvas.print(content, no_wrap=whole, overflow="ellipsis" if whole else None)


class _Stripe:
    """What stands beside the coloured stripe of an embed or a container."""

    def __init__(self, parts: Sequence[RenderableType], colour: int | None) -> None:
        self._content = Group(*parts)
        self._bar = Segment("▌ ", Style.parse(f"#{colour:06x}" if colour else "grey42"))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._content, options.update_width(options.max_width - 2)):
            yield self._bar
            yield from line
            yield Segment.line()


def _parts(data: Mapping[str, Any], markup: Markup, cards: int | None) -> Iterator[RenderableType]:
    """Content, embeds, files and components of a message from top to bottom; only the first `cards` embeds."""
    if content := data.get("content"):
        yield markup.render(content)
    embeds = data.get("embeds") or []
    for number, embed in enumerate(embeds[:cards]):
        if number or content:
            yield Text("")
        yield _Stripe(list(_embed(embed, markup)), embed.get("color"))
    if hidden := len(embeds) - len(embeds[:cards]):
        yield Text(f"\n… and {hidden} more on this page", style="dim italic")
    for attachment in data.get("attachments") or []:
        if not any(_pictures(embed, attachment["filename"]) for embed in embeds):
            yield Text(f"\n📎 {attachment['filename']} · {attachment['size'] / 1024:.1f} KB")
    for component in data.get("components") or []:
        yield Text("")
        yield from _component(component, markup)


def _pictures(embed: Mapping[str, Any], filename: str) -> bool:
    return bool(((embed.get("image") or {}).get("url") or "").endswith(f"/{filename}"))


def _embed(embed: Mapping[str, Any], markup: Markup) -> Iterator[RenderableType]:
    if author := embed.get("author"):
        yield Text(author["name"], style="bold")
    if title := embed.get("title"):
        yield _styled(markup.render(title), "bold" + (f" link {embed['url']}" if embed.get("url") else ""))
    if description := embed.get("description"):
        yield markup.render(description)
    for field in embed.get("fields") or []:
        yield _styled(markup.render(field["name"]), "bold dim") + Text("  ") + markup.render(field["value"])
    if url := (embed.get("image") or {}).get("url"):
        yield Text(f"🖼  {url.rpartition('/')[2]}", style="dim")
    if footer := (embed.get("footer") or {}).get("text"):
        yield Text(footer, style="dim")


def _component(component: Mapping[str, Any], markup: Markup) -> Iterator[RenderableType]:
    """A component as drawn; their types are at https://discord.com/developers/docs/components/reference."""
    match component:
        case {"type": 1, "components": [{"type": 2}, *_] as buttons}:
            yield Text("  ").join(_button(button) for button in buttons)
        case {"type": 1 | 9, "components": children}:
            for child in [*children, *filter(None, [component.get("accessory")])]:
                yield from _component(child, markup)
        case {"type": 2}:
            yield _button(component)
        case {"type": 3 | 5 | 6 | 7 | 8}:
            yield from _select(component)
        case {"type": 10, "content": content}:
            yield markup.render(content)
        case {"type": 17, "components": children}:
            yield _Stripe(
                [part for child in children for part in _component(child, markup)], component.get("accent_color")
            )
        case _:
            yield Text("")


def _button(button: Mapping[str, Any]) -> Text:
    label = " ".join(filter(None, [(button.get("emoji") or {}).get("name"), button.get("label")]))
    if url := button.get("url"):
        return Text(f"[{label} ↗]", style=f"{_BUTTON_STYLES[2]} link {url}")
    return Text(f"[{label}]", style="strike dim" if button.get("disabled") else _BUTTON_STYLES[button["style"]])


def _select(select: Mapping[str, Any]) -> Iterator[Text]:
    yield Text(f"▾ {select.get('placeholder') or 'Choose'}", style="dim")
    for option in select.get("options") or []:
        mark = "☑" if option.get("default") else "☐"
        yield Text.assemble(f"{mark} ", option["label"], (f"  {option.get('description') or ''}", "dim"))


def _styled(text: Text, style: str) -> Text:
    text.stylize(style)
    return text
