"""The table of all commands and all situations: what a row is, what a cell can be, and how the table looks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from driving import Choose, Scene, Walk

from bot.errors import StorageUnavailable
from bot.sandbox.discord import Channel, Thread


class Situation(StrEnum):
    """The columns. The values are the names of the row's fields."""

    OPTIONS = "options"
    AUTOCOMPLETE = "autocomplete"
    BUTTONS = "buttons"
    SELECTS = "selects"
    MODALS = "modals"
    DENIED = "denied"
    DOWN = "down"
    DIRECT = "direct"
    THREAD = "thread"
    DELETED = "deleted"
    EXPIRED = "expired"

    @property
    def told(self) -> str:
        """As people call it."""
        longer = {"denied": "permission denied", "down": "service down", "direct": "DM"}
        return longer.get(self, {"deleted": "deleted channel", "expired": "expired view"}.get(self, str(self)))


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """A cell that cannot be driven. The test refuses it where the command has such a thing after all."""

    reason: str


@dataclass(frozen=True, slots=True)
class Usual:
    """The command is used as usual in this situation, and shows these words, if not the usual ones."""

    sees: str | None = None


@dataclass(frozen=True, slots=True)
class Typed:
    """What stands in an option, and a suggestion that comes up."""

    text: str
    offers: str


@dataclass(frozen=True, slots=True)
class Down:
    """The words shown while each service is down; None for the usual ones."""

    ollama: str | None = None
    embedder: str | None = None
    index: str | None = None
    first: Callable[[Scene], Any] | None = None
    """What happens first, while the service is down."""
    database: str | None = str(StorageUnavailable())


Walks = Sequence[Walk]
Missing = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A command, how it is used usually, and a cell for each situation; a field that is left out is a missing cell.

    `by` names who uses it, by the attribute of the scene, and `prepare` makes the scene ready; `indexed` says that what
    is said there is to be in the index, too. Of the managers' commands `denied` has those who lose the right later.
    """

    command: str
    sees: str
    by: Literal["ada", "admin"] = "ada"
    kind: Literal["chat_input", "message", "user"] = "chat_input"
    uses: Mapping[str, Any] = field(default_factory=dict)
    target: Callable[[Scene, Channel | Thread], Any] | None = None
    prepare: Callable[[Scene], Any] | None = None
    indexed: bool = False

    options: Walks | NotApplicable | Missing = None
    autocomplete: Mapping[str, Sequence[Typed]] | NotApplicable | Missing = None
    buttons: Walks | NotApplicable | Missing = None
    selects: Walks | NotApplicable | Missing = None
    modals: Walks | NotApplicable | Missing = None
    denied: Walks | NotApplicable | Missing = None
    down: Down | Missing = None
    direct: Usual | Missing = None
    thread: Usual | Missing = None
    deleted: Walks | Missing = None
    expired: Walks | NotApplicable | Missing = None

    def __str__(self) -> str:
        return f"/{self.command}" if self.kind == "chat_input" else f"“{self.command}” ({self.kind} menu)"

    def cell(self, situation: Situation) -> Any:
        """The cell of a situation, None if it is missing."""
        return getattr(self, situation)

    def walks(self) -> Iterator[Walk]:
        """All that are written down in the row."""
        for situation in Situation:
            if isinstance(cell := self.cell(situation), list | tuple):
                yield from cell

    @property
    def pressed(self) -> frozenset[str]:
        """The buttons that the cell of the buttons presses."""
        return frozenset(step for walk in _walks(self.buttons) for step in walk.steps if isinstance(step, str))

    @property
    def chosen(self) -> frozenset[str]:
        """The menus that the cell of the selects chooses in."""
        steps = [step for walk in _walks(self.selects) for step in walk.steps]
        return frozenset(step.menu for step in steps if isinstance(step, Choose))


def _walks(cell: Any) -> Walks:
    return cell if isinstance(cell, list | tuple) else ()


def missing(rows: Sequence[Row]) -> list[str]:
    """A sentence for each cell that is missing or gives no reason."""
    found = []
    for row in rows:
        for situation in Situation:
            cell = row.cell(situation)
            if cell is None:
                found.append(f"{row} has no cell for {situation.told}.")
            elif isinstance(cell, NotApplicable) and not cell.reason.strip():
                found.append(f"{row} gives no reason why {situation.told} does not apply.")
    return found


def drawn(rows: Sequence[Row]) -> str:
    """The table in plain text: + is a driven cell, - one that does not apply, ? a missing one."""
    width = max((len(str(row)) for row in rows), default=0)
    heads = [situation.told for situation in Situation]
    lines = [" " * width + "  " + "  ".join(heads)]
    for row in rows:
        marks = []
        for head, situation in zip(heads, Situation, strict=True):
            cell = row.cell(situation)
            mark = "?" if cell is None else "-" if isinstance(cell, NotApplicable) else "+"
            marks.append(mark.center(len(head)))
        lines.append(f"{row!s:<{width}}  " + "  ".join(marks))
    return "\n".join(lines)
