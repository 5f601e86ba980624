"""Discord's bounds: what lies on one passes, what lies beyond it is refused by name."""

from typing import Any

import pytest

from bot.sandbox.discord import MessageFlag, limits
from bot.sandbox.discord.errors import ApiError

Json = dict[str, Any]


def refused(error: pytest.ExceptionInfo[ApiError]) -> list[str]:
    """The dotted paths of what was refused."""

    def paths(node: Json, path: str = "") -> list[str]:
        if "_errors" in node:
            return [path.removeprefix(".")]
        return [found for key, below in node.items() for found in paths(below, f"{path}.{key}")]

    assert error.value.status == 400
    assert error.value.body["code"] == 50035
    return paths(error.value.body["errors"])


def row(*components: Json) -> Json:
    return {"type": 1, "components": list(components)}


def button(**changes: Any) -> Json:
    return {"type": 2, "style": 1, "label": "Go", "custom_id": "go"} | changes


def menu(size: int = 3, **changes: Any) -> Json:
    listed = [{"label": str(n), "value": str(n)} for n in range(size)]
    return {"type": 3, "custom_id": "menu", "options": listed} | changes


def field(name: int = 10, value: int = 10) -> Json:
    return {"name": "n" * name, "value": "v" * value}


@pytest.mark.parametrize(
    "body",
    [
        {"content": "x" * 2000},
        {"embeds": [{"description": "x" * 600}] * 10},
        {"embeds": [{"title": "x" * 256, "description": "x" * 4096, "footer": {"text": "x" * 1648}}]},
        {"embeds": [{"fields": [field(1, 1)] * 25}]},
        {"embeds": [{"fields": [field(256, 1024)]}]},
        {"components": [row(*(button(custom_id=f"{r}{n}") for n in range(5))) for r in range(5)]},
        {"components": [row(menu(25, max_values=25))]},
        {"components": [row(button(style=5, url="https://example.org", custom_id=None))]},
        {"flags": 1 << 15, "components": [{"type": 10, "content": "x" * 4000}]},
    ],
)
def test_what_lies_on_a_bound_passes(body: Json) -> None:
    """The greatest messages Discord takes."""
    limits.check_message(body)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"content": "x" * 2001}, "content"),
        ({"embeds": [{"title": "x"}] * 11}, "embeds"),
        ({"embeds": [{"description": "x" * 3001}] * 2}, "embeds"),
        ({"embeds": [{"title": "x" * 257}]}, "embeds.0.title"),
        ({"embeds": [{"description": "x" * 4097}]}, "embeds.0.description"),
        ({"embeds": [{"footer": {"text": "x" * 2049}}]}, "embeds.0.footer.text"),
        ({"embeds": [{"author": {"name": "x" * 257}}]}, "embeds.0.author.name"),
        ({"embeds": [{"fields": [field()] * 26}]}, "embeds.0.fields"),
        ({"embeds": [{"fields": [field(257)]}]}, "embeds.0.fields.0.name"),
        ({"embeds": [{"fields": [field(value=1025)]}]}, "embeds.0.fields.0.value"),
        ({"embeds": [{"fields": [field(value=0)]}]}, "embeds.0.fields.0.value"),
        ({"components": [row(button(custom_id=str(n))) for n in range(6)]}, "components"),
        ({"components": [row(*(button(custom_id=str(n)) for n in range(6)))]}, "components.row"),
        ({"components": [row(menu(), menu(custom_id="other"))]}, "components.row"),
        ({"components": [button()]}, "components.0.type"),
        ({"components": [row(button(), button())]}, "components.custom_id"),
        ({"components": [row(button(custom_id="x" * 101))]}, "components.custom_id"),
        ({"components": [row(button(label="x" * 81))]}, "components.label"),
        ({"components": [row(button(label=None))]}, "components.label"),
        ({"components": [row(button(url="https://example.org"))]}, "components.url"),
        ({"components": [row(button(style=5, url="https://e.org/" + "x" * 512, custom_id=None))]}, "components.url"),
        ({"components": [row(menu(26))]}, "components.options"),
        ({"components": [row(menu(0, max_values=0))]}, "components.options"),
        ({"components": [row(menu(2, max_values=3))]}, "components.max_values"),
        ({"components": [row(menu(min_values=2))]}, "components.max_values"),
        ({"components": [row(menu(placeholder="x" * 151))]}, "components.placeholder"),
        ({"components": [row(menu(1, options=[{"label": "x" * 101, "value": "1"}]))]}, "components.options.0.label"),
        ({"components": [row(menu(1, options=[{"label": "1", "value": ""}]))]}, "components.options.0.value"),
        ({"components": [row(menu(2, options=[{"label": "1", "value": "1"}] * 2))]}, "components.options"),
        ({"flags": 1 << 15, "components": [{"type": 10, "content": "x"}] * 41}, "components"),
        ({"flags": 1 << 15, "components": [{"type": 10, "content": "x" * 4001}]}, "components"),
        ({"flags": 1 << 15, "content": "x", "components": [{"type": 10, "content": "x"}]}, "content"),
    ],
)
def test_what_lies_beyond_a_bound_is_refused_by_name(body: Json, path: str) -> None:
    """The error says which field it was."""
    with pytest.raises(ApiError) as error:
        limits.check_message(body)
    assert path in refused(error)


def test_an_empty_message_is_refused() -> None:
    """A message needs something in it; an edit may leave everything out."""
    with pytest.raises(ApiError, match="50006"):
        limits.check_message({"content": "", "embeds": []})
    limits.check_message_parts({}, MessageFlag(0))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"title": "x" * 46}, "data.title"),
        ({"custom_id": ""}, "data.custom_id"),
        ({"components": []}, "data.components"),
        ({"components": [row({"type": 4, "custom_id": "a", "label": "x" * 46})]}, "data.components.label"),
        (
            {"components": [row({"type": 4, "custom_id": "a", "label": "x", "placeholder": "x" * 101})]},
            "data.components.placeholder",
        ),
        (
            {"components": [{"type": 18, "label": "x" * 46, "component": {"type": 4, "custom_id": "a"}}]},
            "data.components.label",
        ),
    ],
)
def test_a_modal_beyond_a_bound_is_refused(changes: Json, path: str) -> None:
    """Title, id, fields and their labels."""
    modal = {"title": "T", "custom_id": "m", "components": [row({"type": 4, "custom_id": "a", "label": "A"})]}
    limits.check_modal(modal)
    with pytest.raises(ApiError) as error:
        limits.check_modal(modal | changes)
    assert path in refused(error)


def test_autocomplete_choices_have_bounds() -> None:
    """At most 25, with names of 1 to 100 characters."""
    choice = {"name": "x" * 100, "value": "x" * 100}
    limits.check_choices([choice] * 25)
    for bad in ([choice] * 26, [choice | {"name": ""}], [choice | {"value": "x" * 101}]):
        with pytest.raises(ApiError):
            limits.check_choices(bad)


def option(name: str = "query", **changes: Any) -> Json:
    return {"type": 3, "name": name, "description": "What"} | changes


def command(name: str = "recall", **changes: Any) -> Json:
    return {"name": name, "description": "Recall things"} | changes


@pytest.mark.parametrize(
    ("commands", "path"),
    [
        ([command("Recall")], "0.name"),
        ([command("re call")], "0.name"),
        ([command("x" * 33)], "0.name"),
        ([command(description="")], "0.description"),
        ([command(description="x" * 101)], "0.description"),
        ([command(options=[option(str(n)) for n in range(26)])], "0.options"),
        ([command(options=[option(), option()])], "0.options"),
        ([command(options=[option("a"), option("b", required=True)])], "0.options"),
        ([command(options=[option(description="x" * 101)])], "0.options.0.description"),
        ([command(options=[option(choices=[{"name": "a", "value": "a"}] * 26)])], "0.options.0.choices"),
        (
            [command(options=[option(choices=[{"name": "a", "value": "a"}], autocomplete=True)])],
            "0.options.0.autocomplete",
        ),
        ([command(), command()], "_"),
        ([command(f"c{n}") for n in range(101)], "_"),
        ([command("Menu", type=3, description="not allowed")], "0.description"),
        ([command("x" * 33, type=2, description="")], "0.name"),
    ],
)
def test_a_command_beyond_a_bound_is_refused(commands: list[Json], path: str) -> None:
    """Names, descriptions, options and choices."""
    with pytest.raises(ApiError) as error:
        limits.check_commands(commands)
    assert path in refused(error)


def test_a_command_may_hold_eight_thousand_characters() -> None:
    """All names, descriptions and choices together."""
    choices = [{"name": "n" * 100, "value": "v" * 60} for _ in range(25)]
    with pytest.raises(ApiError) as error:
        limits.check_commands([command(options=[option(f"o{n}", choices=choices) for n in range(2)])])
    assert "0" in refused(error)


def test_commands_that_keep_the_bounds_pass() -> None:
    """Names in any script, sub-commands in groups, context menus with spaces."""
    sub = {"type": 1, "name": "on", "description": "Switch on", "options": [option(required=True), option("since")]}
    limits.check_commands(
        [
            command("erinnern-ä"),
            command("記憶"),
            command("observe", options=[{"type": 2, "name": "all", "description": "All", "options": [sub]}]),
            command("Forget This", type=3, description=""),
        ]
    )
