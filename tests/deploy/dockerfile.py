"""The Dockerfile as its instructions."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its argument on one line."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name, argument) for name, argument in lines]


def of_image(name: str) -> list[str]:
    """The arguments of an instruction in the last stage, which is the image."""
    found = instructions()
    last = max(number for number, (one, _) in enumerate(found) if one == "FROM")
    return [argument for one, argument in found[last:] if one == name]


def environment() -> dict[str, str]:
    """The variables of the image."""
    pairs = [pair.split("=", 1) for argument in of_image("ENV") for pair in shlex.split(argument)]
    return {name: value for name, value in pairs}


def copied() -> set[str]:
    """What the build takes from the folder it is started in."""
    arguments = [argument.split() for name, argument in instructions() if name == "COPY"]
    return {source for words in arguments if not words[0].startswith("--from") for source in words[:-1]}
