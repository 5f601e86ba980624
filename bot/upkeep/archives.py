"""The archive of a backup: what is in it, and whether it is whole.

A zip of `recollect.db`, `index/<guild or unmapped>.points` and `manifest.json`, which has the size and
checksum of each.
"""

import hashlib
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from bot.errors import BackupDamaged, RecollectError
from bot.memory.fingerprint import in_settings
from bot.model import EmbeddingModel, Report
from bot.storage import schema
from bot.storage.database import FILE
from bot.upkeep.threads import in_thread

FORMAT, VERSION = "recollect-backup", 1
MANIFEST = "manifest.json"
_POINTS = re.compile(r"index/(unmapped|\d{1,19})\.points")
_LONGEST_MANIFEST = 2**24
_PIECE = 2**20
# Whatever zipfile, zlib, json and pydantic raise for bytes that make no sense.
_SENSELESS = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, OSError),
    *(ValueError, LookupError, TypeError, AttributeError, NotImplementedError, RuntimeError, RecursionError),
)


class Part(BaseModel):
    """One file of the archive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Manifest(BaseModel):
    """What an archive is and holds."""

    model_config = ConfigDict(frozen=True)

    format: str = FORMAT
    version: int = VERSION
    created_at: AwareDatetime
    revision: str
    provider: str = "openai"
    embedding_model: str
    dimensions: int
    journal: str | None
    messages: int
    facts: int
    points: int
    files: dict[str, Part]

    @property
    def embedding(self) -> EmbeddingModel:
        """Whose vectors the points have; the first archives were all of one provider."""
        return EmbeddingModel(self.provider, self.embedding_model, self.dimensions)

    @property
    def parts_of_index(self) -> dict[str, int | None]:
        """The names of the files of points, and whose they are."""
        found = {name: _POINTS.fullmatch(name) for name in self.files}
        return {name: None if match[1] == "unmapped" else int(match[1]) for name, match in found.items() if match}


def part_of(guild_id: int | None) -> str:
    """The name in the archive of a guild's points."""
    return f"index/{'unmapped' if guild_id is None else guild_id}.points"


@contextmanager
def opened(file: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """An archive and its manifest. Raises `BackupDamaged`, and `RecollectError` for a file that cannot be read."""
    try:
        content = file.open("rb")
    except OSError as error:
        raise RecollectError(f"The backup {file} cannot be read ({error.strerror or error}).") from None
    with content:
        with _sensible(file):
            archive = zipfile.ZipFile(content)
        with archive:
            with _sensible(file):
                manifest = _manifest_of(archive, file)
            yield archive, manifest


def refuse_unfit(manifest: Manifest, embedding: EmbeddingModel, file: Path) -> None:
    """Raise `RecollectError` for a backup of a newer version, or with vectors of another model than the settings'."""
    if manifest.version > VERSION or manifest.revision > schema.revisions()[-1]:
        raise RecollectError(f"The backup {file} is of a newer version: update Recollect.")
    if manifest.embedding != embedding:
        raise RecollectError(
            f"The backup {file} was made with {manifest.embedding}, but the settings ask for {embedding}: "
            f"set {in_settings(manifest.embedding)}."
        )


async def verify(archive: zipfile.ZipFile, manifest: Manifest, file: Path, report: Report) -> None:
    """Compare every file with its checksum. Raises `BackupDamaged`."""
    total, done = sum(part.size for part in manifest.files.values()), 0
    with _sensible(file):
        for name, expected in manifest.files.items():
            digest, size = hashlib.sha256(), 0
            with archive.open(name) as part:
                while (piece := await in_thread(part.read, _PIECE)) and size <= expected.size:
                    digest.update(piece)
                    size += len(piece)
                    report("Checking the backup", (done + size) >> 20, total >> 20)
            done += size
            if (digest.hexdigest(), size) != (expected.sha256, expected.size):
                raise BackupDamaged(f"The backup {file} is damaged: {name} is not as it was written.")


def _manifest_of(archive: zipfile.ZipFile, file: Path) -> Manifest:
    names = archive.namelist()
    if MANIFEST not in names:
        raise BackupDamaged(f"{file} is no backup of Recollect.")
    with archive.open(MANIFEST) as part:
        fields = json.loads(part.read(_LONGEST_MANIFEST))
    if fields["format"] != FORMAT:
        raise BackupDamaged(f"{file} is no backup of Recollect.")
    if fields["version"] > VERSION:
        raise RecollectError(f"The backup {file} is of a newer version: update Recollect.")
    manifest = Manifest.model_validate(fields)
    expected = [FILE, *manifest.parts_of_index]
    if sorted(names) != sorted([MANIFEST, *manifest.files]) or sorted(expected) != sorted(manifest.files):
        raise BackupDamaged(f"The backup {file} is damaged: it is not complete.")
    return manifest


@contextmanager
def _sensible(file: Path) -> Iterator[None]:
    try:
        yield
    except RecollectError:
        raise
    except _SENSELESS as error:
        raise BackupDamaged(f"{file} is damaged, or no backup of Recollect: try another one.") from error
