"""The operations of the command line: the rooms' methods with arguments and results of JSON.

To add one: a function here that makes it, a line in `App.operations`, a command in `cli/operations.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bot.capture.importer import Importer
from bot.errors import RecollectError
from bot.memory.embeddings import parse_embedding_model
from bot.memory.fingerprint import settings_for, spec_of
from bot.memory.index import VectorIndex
from bot.memory.reconcile import Reconciler
from bot.memory.reindexer import Reindexer
from bot.model import Report
from bot.settings import Settings
from bot.storage.queue import ExtractionQueue
from bot.upkeep.backup import Backup
from bot.upkeep.moving import Moving, Order
from bot.upkeep.purge import Purge
from bot.web.control import Operation


def adopting(reconciler: Reconciler) -> Operation:
    """{guild, channel} → {memories}."""

    async def adopt(arguments: Mapping[str, Any], _: Report) -> dict[str, Any]:
        guild_id, channel_id = arguments["guild"], arguments["channel"]
        return {"memories": await reconciler.adopt(guild_id, channel_id, access_id=channel_id)}

    return adopt


def backing_up(backup: Backup) -> Operation:
    """{file: absolute path, replace} → {messages, facts, points, size}."""

    async def back_up(arguments: Mapping[str, Any], report: Report) -> dict[str, Any]:
        return asdict(await backup.write(Path(arguments["file"]), arguments["replace"], report))

    return back_up


def counting(index: VectorIndex) -> Operation:
    """{} → {points: for each guild, or null for what belongs to none, {guild, points}}."""

    async def count(_: Mapping[str, Any], __: Report) -> dict[str, Any]:
        counts = await index.counts()
        return {"points": [{"guild": guild_id, "points": points} for guild_id, points in counts.items()]}

    return count


def listing_dead_letters(queue: ExtractionQueue) -> Operation:
    """{guild or null} → {letters: for each {id, guild, channel, reason, at}}."""

    async def list_dead_letters(arguments: Mapping[str, Any], _: Report) -> dict[str, Any]:
        letters = await queue.dead_letters(arguments["guild"])
        return {
            "letters": [
                {
                    "id": one.id,
                    "guild": one.guild_id,
                    "channel": one.channel_id,
                    "reason": one.reason,
                    "at": one.at.isoformat(),
                }
                for one in letters
            ]
        }

    return list_dead_letters


def migrating(moving: Moving) -> Operation:
    """The fields of `Order` → those of `Migrated`, and {source, target, next}."""

    async def migrate(arguments: Mapping[str, Any], report: Report) -> dict[str, Any]:
        return await moving.move(Order(**arguments), report)

    return migrate


def reindexing(reindexer: Reindexer, settings: Settings, blocked: Callable[[], str | None]) -> Operation:
    """{discard: true} → {discarded}, else {undo: true} or {embedder: provider[:model[:dimensions]]} → Reindexed.

    Of `Reindexed` there are {points, embedded, seconds, answering}, {former, model} as specs, and `settings`: what is
    to be set to this before the bot starts again.
    """

    async def reindex(arguments: Mapping[str, Any], report: Report) -> dict[str, Any]:
        if problem := blocked():
            raise RecollectError(problem)
        if arguments.get("discard"):
            return {"discarded": await reindexer.discard()}
        if arguments.get("undo"):
            done = await reindexer.undo(report)
        else:
            done = await reindexer.run(parse_embedding_model(arguments["embedder"], settings), report)
        set_already = done.model == settings.embedding_model
        return {
            "former": spec_of(done.former),
            "model": spec_of(done.model),
            "points": done.points,
            "embedded": done.embedded,
            "seconds": done.seconds,
            "answering": done.answering,
            "settings": {} if set_already else settings_for(done.model),
        }

    return reindex


def replaying_dead_letters(queue: ExtractionQueue, wake: Callable[[], None]) -> Operation:
    """{guild or null, ids or null} → {replayed}."""

    async def replay_dead_letters(arguments: Mapping[str, Any], _: Report) -> dict[str, Any]:
        replayed = await queue.replay_dead(arguments["guild"], arguments["ids"])
        wake()
        return {"replayed": replayed}

    return replay_dead_letters


def purging(purge: Purge) -> Operation:
    """{} → {guilds, postponed: guild ids}."""

    async def purge_now(_: Mapping[str, Any], report: Report) -> dict[str, Any]:
        done = await purge.now(report)
        return {"guilds": done.guilds, "postponed": sorted(done.postponed)}

    return purge_now


def importing(importer: Importer) -> Operation:
    """{files: absolute paths} → {files: for each {file, guild, channel, read, new, skipped, problem, sentence}}."""

    async def import_files(arguments: Mapping[str, Any], report: Report) -> dict[str, Any]:
        done = await importer.run([Path(file) for file in arguments["files"]], report)
        return {
            "files": [
                {
                    "file": one.path,
                    "guild": one.guild_id,
                    "channel": one.channel_id,
                    "read": one.read,
                    "new": one.new,
                    "skipped": dict(one.skipped),
                    "problem": one.problem,
                    "sentence": one.sentence,
                }
                for one in done
            ]
        }

    return import_files
