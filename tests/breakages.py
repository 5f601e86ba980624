"""What can be broken in a deployment, one function each, and what `recollect doctor` is to say of it."""

import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from deployment import House

from bot.memory import doctor as memory
from bot.model import utcnow
from bot.sandbox.discord import Intent, Permission
from bot.sandbox.openai import Fault
from bot.storage import schema
from bot.upkeep import doctor as machine

Usage = namedtuple("Usage", "total used free")


def bad_token(house: House) -> None:
    house.set(DISCORD_TOKEN="wrong")


def no_token(house: House) -> None:
    house.set(DISCORD_TOKEN="")


def discord_out_of_reach(house: House) -> None:
    house.set(BOT_DISCORD__API_URL="http://127.0.0.1:9/api/v10")


def another_service(house: House) -> None:
    house.set(BOT_DISCORD__API_URL=f"{house.ollama.url}/api")


def intent_off(house: House) -> None:
    house.change(house.discord.world.application, "privileged", Intent(0))


def no_history(house: House) -> None:
    house.deny(house.channel, Permission.READ_MESSAGE_HISTORY)


def hidden(house: House) -> None:
    house.deny(house.channel, Permission.VIEW_CHANNEL)


def silenced(house: House) -> None:
    house.deny(house.channel, Permission.SEND_MESSAGES)


def silenced_before_the_notice(house: House) -> None:
    other = house.discord.world.add_channel(house.guild, "announcements")
    house.deny(other, Permission.SEND_MESSAGES)
    house.set(BOT_DISCORD__OBSERVE=str(other.id))


def age_restricted(house: House) -> None:
    other = house.discord.world.add_channel(house.guild, "late", nsfw=True)
    house.set(BOT_DISCORD__OBSERVE=str(other.id))


def unknown_channel(house: House) -> None:
    house.set(BOT_DISCORD__OBSERVE="123456789012345678")


def thrown_out(house: House) -> None:
    house.monkeypatch.delitem(house.guild.members, house.discord.world.bot.id)


def clock_far_off(house: House) -> None:
    house.change(house.discord.world, "clock", lambda: utcnow() + timedelta(minutes=5))


def clock_off(house: House) -> None:
    house.change(house.discord.world, "clock", lambda: utcnow() - timedelta(seconds=20))


def ollama_down(house: House) -> None:
    house.set(BOT_OLLAMA__URL="http://127.0.0.1:9")


def model_not_pulled(house: House) -> None:
    house.set(OLLAMA_MODEL="qwen3:8b")


def context_too_small(house: House) -> None:
    house.change(house.ollama, "context", 4096)


def another_provider_down(house: House) -> None:
    house.set(BOT_EXTRACTION__PROVIDER="compatible", BOT_COMPATIBLE__BASE_URL="http://127.0.0.1:9/v1")
    house.set(BOT_COMPATIBLE__MODEL="mistral")


def no_key(house: House) -> None:
    house.monkeypatch.delenv("BOT_OPENAI__BASE_URL")
    house.set(OPENAI_API_KEY="")


def wrong_key(house: House) -> None:
    house.set(OPENAI_API_KEY="sk-wrong")


def quota_used_up(house: House) -> None:
    house.change(house.openai, "fault", Fault.QUOTA)


def embedding_model_loading(house: House) -> None:
    house.set(BOT_EMBEDDING__PROVIDER="ollama")
    house.change(memory, "LOADING_SECONDS", 0.3)
    house.change(house.ollama.embeddings, "fault", Fault.HANG)


def wrong_dimensions(house: House) -> None:
    house.change(house.openai, "fault", Fault.WRONG_SIZE)


def index_of_another_size(house: House) -> None:
    house.set(BOT_OPENAI__DIMENSIONS="256")


def large_index(house: House) -> None:
    house.change(memory, "MOST_EMBEDDED", 0)


def qdrant_down(house: House) -> None:
    house.set(QDRANT_URL="http://127.0.0.1:9")


def data_folder_is_a_file(house: House) -> None:
    (house.folder / "file").touch()
    house.set(BOT_STORAGE__PATH=str(house.folder / "file"))


def data_folder_not_writable(house: House) -> None:
    house.set(BOT_STORAGE__PATH="/proc/recollect")  # where not even root may


def damaged_database(house: House) -> None:
    (house.folder / "damaged").mkdir(0o700)
    (house.folder / "damaged" / "recollect.db").write_bytes(b"no database at all" * 100)
    house.set(BOT_STORAGE__PATH=str(house.folder / "damaged"))


def newer_database(house: House) -> None:
    house.change(schema, "revisions", lambda: ["0001"])


def older_database(house: House) -> None:
    known = schema.revisions()
    house.change(schema, "revisions", lambda: [*known, "9999"])


def disk_full(house: House) -> None:
    house.change(shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 100 * 2**20))


def disk_nearly_full(house: House) -> None:
    house.change(shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 2**30))


def foreign_journal(house: House) -> None:
    (house.folder / "shopping").write_text("milk, bread, eggs\n")
    house.set(BOT_JOURNAL__PATH=str(house.folder / "shopping"))


def readable_secret(house: House) -> None:
    file = house.folder / "settings.toml"
    file.write_text(f'[voyage]\napi_key = "{house.discord.token}"\n')
    file.chmod(0o644)
    house.set(BOT_CONFIG=str(file))
    house.change(machine, "_reachable", lambda path: True)  # as the folders of pytest are not


def unencrypted(house: House) -> None:
    house.set(BOT_VOYAGE__BASE_URL="http://embeddings.example.org/v1")


def port_taken(house: House) -> None:
    house.set(BOT_WEB__PORT=house.ollama.url.rpartition(":")[2])


def address_of_another_machine(house: House) -> None:
    house.set(BOT_WEB__HOST="192.0.2.1", BOT_WEB__PORT="8080")


@dataclass
class Broken:
    """What is broken, and the row that says so, with its verdict and words of its detail and fix."""

    how: Callable[[House], None]
    row: str
    verdict: str
    detail: str
    fix: str
    besides: frozenset[str] = frozenset()
    """Other rows that are not well either."""


NOWHERE = frozenset({"Disk space", "Journal"})
# By area: of each one thing at a time is broken. Which channels are observed is known while the database can be read.
BROKEN = [
    [
        Broken(bad_token, "Discord", "fail", "refused the bot's token", "Reset Token"),
        Broken(no_token, "Discord", "fail", "no Discord token", "DISCORD_TOKEN"),
        Broken(discord_out_of_reach, "Discord", "fail", "cannot be reached", "discord.api_url"),
        Broken(another_service, "Discord", "fail", "error 404", "Correct discord.api_url"),
        Broken(intent_off, "Message content", "fail", "switched off", "Message Content Intent"),
        Broken(no_history, "Channels of lab", "fail", "#general lacks Read Message History", "channel's Permissions"),
        Broken(hidden, "Channels of lab", "fail", "#general lacks View Channel", "channel's Permissions"),
        Broken(silenced, "Channels of lab", "warn", "#general lacks Send Messages", "channel's Permissions"),
        Broken(silenced_before_the_notice, "Channels of lab", "fail", "#announcements lacks Send", "Permissions"),
        Broken(age_restricted, "Channels of lab", "fail", "#late is age-restricted", "allow_age_restricted"),
        Broken(unknown_channel, "Channels", "fail", "123456789012345678", "Correct discord.observe"),
        Broken(thrown_out, "Channels", "warn", "not in server", "Invite it again"),
        Broken(clock_far_off, "Clock", "fail", "seconds behind Discord", "NTP"),
        Broken(clock_off, "Clock", "warn", "seconds ahead of Discord", "NTP"),
    ],
    [
        Broken(ollama_down, "Ollama", "fail", "cannot be reached", "Start Ollama"),
        Broken(model_not_pulled, "Ollama", "fail", "qwen3:8b", "Run `ollama pull qwen3:8b`."),
        Broken(context_too_small, "Context size", "fail", "reads 4,096 tokens at most", "ollama.num_ctx to 4096"),
        Broken(another_provider_down, "Language model", "fail", "cannot be reached", "[compatible]"),
    ],
    [
        Broken(no_key, "Embedder", "warn", "keywords only", "OPENAI_API_KEY"),
        Broken(wrong_key, "Embedder", "fail", "refused the API key", "Check openai.api_key."),
        Broken(quota_used_up, "Embedder", "fail", "quota", "Add credit"),
        Broken(wrong_dimensions, "Embedder", "fail", "vectors of size 1537", "[openai]"),
        Broken(
            embedding_model_loading,
            "Embedder",
            "warn",
            "still loading nomic-embed-text after 0.3 seconds",
            "Run this again",
            frozenset({"Index"}),  # which is made with another model
        ),
    ],
    [
        Broken(data_folder_is_a_file, "Data folder", "fail", "is a file", "storage.path"),
        Broken(data_folder_not_writable, "Data folder", "fail", "cannot be written", "Make it writable", NOWHERE),
        Broken(damaged_database, "Database", "fail", "cannot be read", "restore a backup"),
        Broken(newer_database, "Database", "fail", "newest known", "Update Recollect"),
        Broken(older_database, "Database", "warn", "9999 is due", "start the bot"),
        Broken(large_index, "Index size", "warn", "belongs on Qdrant", "recollect migrate"),
        Broken(qdrant_down, "Index", "fail", "does not answer", "Start Qdrant"),
        Broken(index_of_another_size, "Index", "fail", "256", "reindex"),
    ],
    [
        Broken(disk_full, "Disk space", "fail", "0.1 GB", "Free some space"),
        Broken(disk_nearly_full, "Disk space", "warn", "1.0 GB", "Free some space"),
    ],
    [Broken(foreign_journal, "Journal", "fail", "not a journal", "Move it away")],
    [
        Broken(port_taken, "Web port", "fail", "another program", "web.port"),
        Broken(address_of_another_machine, "Web port", "fail", "cannot be used", "web.host"),
    ],
    [Broken(readable_secret, "Secrets", "warn", "settings.toml", "chmod o-rwx")],
    [Broken(unencrypted, "Encryption", "warn", "voyage.base_url", "https://")],
]
