"""Checks of the machine: the folders and files, the room on the disk, the port, and who may read the secrets."""

import errno
import os
import platform
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import httpx

from bot.checks import Check, failed, passed, warned
from bot.settings import shown_url
from bot.upkeep.journal import JournalDamaged, identify

PROGRAM, FOLDER, DISK = "Program", "Data folder", "Disk space"
JOURNAL, SECRETS, ENCRYPTION, PORT = "Journal", "Secrets", "Encryption", "Web port"

_LITTLE, _TOO_LITTLE = 2 * 2**30, 200 * 2**20  # bytes
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs", "glusterfs", "fuse.glusterfs"}
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  (not bound to: asked)
_PROBE_SECONDS = 3.0


def check_program(version: str) -> Check:
    """What runs here; 64 bits are what the compiled dependencies ship for."""
    what = f"Recollect {version}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.maxsize > 2**32:
        return passed(PROGRAM, what)
    return failed(PROGRAM, f"{what}, 32 bits", "Run it with a Python of 64 bits.")


def check_folder(folder: Path) -> Check:
    """Whether the data folder can be written, and is on a disk SQLite can work with."""
    there = _nearest(folder)
    if not there.is_dir():
        return failed(FOLDER, f"{there} is a file", "Point storage.path at a folder.")
    if problem := _unwritable(there):
        fix = "Make it writable for the user the bot runs as, or point storage.path elsewhere."
        return failed(FOLDER, f"{there} cannot be written ({problem})", fix)
    if kind := _remote(there):
        fix = "Put storage.path on a local disk: SQLite's write-ahead log does not work over a network."
        return warned(FOLDER, f"{there} is on a network file system ({kind})", fix)
    if hasattr(os, "geteuid") and os.geteuid() == 0 and (owner := there.stat().st_uid):
        fix = "Run this as the user the bot runs as, to see what that one may do."
        return warned(FOLDER, f"{there} belongs to user {owner}, and this was checked as root", fix)
    return passed(FOLDER, f"{folder} is writable" if there == folder else f"{folder} is made at the first start")


def check_disk(folder: Path) -> Check:
    """Whether there is room for what comes."""
    there = _nearest(folder)
    free = shutil.disk_usage(there).free
    detail = f"{free / 2**30:,.1f} GB are free in {there.absolute()}"
    fix = "Free some space, or move the data folder to a larger disk (storage.path)."
    if free < _TOO_LITTLE:
        return failed(DISK, f"{detail}: a full disk stops the bot from remembering", fix)
    return warned(DISK, detail, fix) if free < _LITTLE else passed(DISK, detail)


def check_journal(path: Path) -> Check:
    """Whether what is forgotten can be noted where a lost data folder does not take it along."""
    fix = "Make it writable for the user the bot runs as, or set journal.path to another file outside the data folder."
    try:
        found = identify(path)
        if found:
            with path.open("ab"):
                return passed(JOURNAL, f"{path} is writable")
    except JournalDamaged:
        return failed(JOURNAL, f"{path} is not a journal of Recollect", "Move it away, or set journal.path.")
    except OSError as error:
        return failed(JOURNAL, f"{path} cannot be written ({error.strerror})", fix)
    there = _nearest(path.absolute().parent)
    if problem := _unwritable(there):
        return failed(JOURNAL, f"{there} cannot be written ({problem})", fix)
    return passed(JOURNAL, f"{path} is made at the first start")


def check_secrets(files: Iterable[Path], folder: Path) -> Check:
    """Whether others on this machine can read the secrets' files or the data folder."""
    if os.name == "nt":
        return passed(SECRETS, "Windows has no such permissions; keep the files in a folder of the bot's user")
    held = [*files, *([folder] if folder.is_dir() else [])]
    open_to_all = [str(path) for path in held if path.stat().st_mode & stat.S_IROTH and _reachable(path)]
    if not open_to_all:
        return passed(SECRETS, "other users of this machine can read neither secret files nor the data folder")
    fix = f"chmod o-rwx {' '.join(open_to_all)}, and have the bot's user own them (in Kubernetes: defaultMode 0440)."
    return warned(SECRETS, f"every user of this machine can read {', '.join(open_to_all)}", fix)


def check_encryption(urls: Mapping[str, str], in_house: Callable[[str], bool]) -> Check:
    """Whether what leaves one's own network (`in_house`) does so unread; `urls` are those of the settings, by name."""
    bare = [
        f"{name} = {shown_url(url)}"
        for name, url in urls.items()
        if url.startswith(("http:", "ws:")) and not in_house(url)
    ]
    if not bare:
        return passed(ENCRYPTION, "what leaves this network is encrypted")
    fix = "Use https:// (or wss://) there, or reach it through a network of your own (VPN)."
    return warned(ENCRYPTION, f"keys and texts go over the internet as they are: {', '.join(bare)}", fix)


async def check_port(host: str, port: int, running: bool) -> Check:
    """Whether the probes can listen, or our own bot, if one is `running`, answers them there already."""
    if port == 0:
        return passed(PORT, "any free one is taken")
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return passed(PORT, f"{host}:{port} is free")
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            reason = error.strerror or type(error).__name__
            return failed(PORT, f"{host}:{port} cannot be used ({reason})", "Set web.host and web.port to others.")
    taken = failed(PORT, f"another program listens on {host}:{port}", "Stop it, or set web.port to another.")
    return await _ask(host, port) or taken if running else taken


async def _ask(host: str, port: int) -> Check | None:
    """What the bot that listens there says of itself; None if it is none."""
    name = _ANYWHERE.get(host, host)
    url = f"http://{f'[{name}]' if ':' in name else name}:{port}/readyz"
    try:
        async with httpx.AsyncClient(timeout=_PROBE_SECONDS, trust_env=False) as client:
            state = (await client.get(url)).json()
        ready, services = bool(state["ready"]), state["services"]
        down = [f"{name} is down" for name, service in services.items() if not service["ok"]]
    except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError):
        return None
    if ready:
        return passed(PORT, "; ".join([f"the running bot answers on {host}:{port} and is ready", *down]))
    fix = "It becomes ready once Discord's gateway is connected: see its log."
    return warned(PORT, f"the running bot answers on {host}:{port} and is not ready", fix)


def _reachable(path: Path) -> bool:
    """Whether every user may pass through the folders that it really lies in."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)


def _nearest(folder: Path) -> Path:
    """The folder, or the one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _unwritable(folder: Path) -> str | None:
    """Why no file can be made there, if so."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"doctor")
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def _remote(folder: Path) -> str | None:
    """The kind of network file system a folder is on, where Linux says so."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return None
    found: dict[Path, str] = {}
    for line in mounts.read_text("utf-8", "replace").splitlines():
        _, place, kind, *_ = line.split(" ")
        found[Path(place.replace("\\040", " "))] = kind
    below = [place for place in found if folder.resolve().is_relative_to(place)]
    kind = found[max(below, key=lambda place: len(place.parts))] if below else ""
    return kind if kind in _REMOTE else None
