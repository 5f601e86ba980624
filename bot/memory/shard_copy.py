"""A copy of an embedded index, to be read in its place: Edge changes a folder's files by merely opening it.

It settles what its log still holds, and rewrites the files that say what it has settled. Nobody else may write to the
index while it is copied.
"""

import os
import shutil
from pathlib import Path

from bot.memory import fingerprint
from bot.memory.shard_folders import ShardFolders, size

_PIECE = 2**16


def copy_shards(root: Path, aside: Path) -> None:
    """Copy each shard's folder that counts to `aside`, which must not exist.

    Raises `OSError`, and `IndexUnavailable` if the disk has not room for it.
    """
    folders, copies = ShardFolders(root), ShardFolders(aside)
    shards = {name: folder for name in folders.names() if (folder := folders.current(name))}
    copies.refuse_if_full(sum(size(folder) for folder in shards.values()))
    aside.mkdir(0o700, parents=True)
    if (stamp := root / fingerprint.FILE).exists():
        shutil.copyfile(stamp, aside / fingerprint.FILE)
    for name, folder in shards.items():
        shutil.copytree(folder, aside / name, copy_function=_copy_file)


def _copy_file(source: str, target: str) -> None:
    """Edge's files are mostly holes, which stay holes."""
    hole = bytes(_PIECE)
    with open(source, "rb", buffering=0) as read, open(target, "xb", buffering=0) as written:
        while piece := read.read(_PIECE):
            if piece == hole:
                written.seek(_PIECE, os.SEEK_CUR)
            else:
                written.write(piece)
        written.truncate(os.fstat(read.fileno()).st_size)
