"""What each guild's admins chose, beside the settings. Kept in memory, since every event asks."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from bot.policy import PersonFacts
from bot.settings import Settings
from bot.storage.database import Database
from bot.storage.tables import guild_setting

ConsentMode = Literal["opt_out", "opt_in"]


@dataclass(frozen=True, slots=True)
class GuildConfig:
    """How one guild is remembered.

    `raw_days` and `facts_days` are as in `RetentionSettings`. Only members with one of the roles in `asker_roles`
    may ask for memories; none of them means everyone.
    """

    person_facts: PersonFacts
    drop_sensitive: bool
    raw_days: int
    facts_days: int
    language: str
    about_others: bool
    mentions: bool
    asker_roles: tuple[int, ...] = ()


class GuildConfigs:
    """The configuration of every guild: what was set for it, and else the settings. Call `load` first."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._set: dict[int, dict[str, Any]] = {}
        self._now: dict[int, GuildConfig] = {}  # made when first asked for

    async def load(self) -> None:
        """Read what was set into memory; what this version does not know is left alone."""
        known = {field.name for field in fields(GuildConfig)}
        found: dict[int, dict[str, Any]] = {}
        async with self._database.read() as connection:
            for row in await connection.execute(select(guild_setting)):
                if row.name in known:
                    value = tuple(row.value) if isinstance(row.value, list) else row.value
                    found.setdefault(row.guild_id, {})[row.name] = value
        self._set = found
        self._now.clear()

    def of(self, guild_id: int) -> GuildConfig:
        """What holds for a guild now."""
        if (config := self._now.get(guild_id)) is None:
            config = self._now[guild_id] = replace(self.default(guild_id), **self._set.get(guild_id, {}))
        return config

    def own(self, guild_id: int) -> frozenset[str]:
        """The names of the fields that were set for this guild."""
        return frozenset(self._set.get(guild_id, ()))

    async def change(self, guild_id: int, changes: Mapping[str, Any]) -> GuildConfig:
        """Set fields of a guild's `GuildConfig` by name; what holds then. Raises `StorageUnavailable`."""
        changed = replace(self.of(guild_id), **changes)
        rows = [{"guild_id": guild_id, "name": name, "value": asdict(changed)[name]} for name in changes]

        def write(connection: Connection) -> None:
            if rows:
                statement = insert(guild_setting)
                new = {"value": statement.excluded.value}
                connection.execute(statement.on_conflict_do_update(index_elements=["guild_id", "name"], set_=new), rows)

        await self._database.transact(write)
        self._set[guild_id] = {**self._set.get(guild_id, {}), **changes}
        self._now.pop(guild_id, None)
        return changed

    async def reset(self, guild_id: int, names: Collection[str]) -> GuildConfig:
        """Have fields be as the settings say again; what holds then. Raises `StorageUnavailable`."""
        these = (guild_setting.c.guild_id == guild_id) & guild_setting.c.name.in_(names)
        await self._database.transact(lambda connection: connection.execute(delete(guild_setting).where(these)))
        left = self._set.get(guild_id, {})
        self._set[guild_id] = {name: value for name, value in left.items() if name not in names}
        self._now.pop(guild_id, None)
        return self.of(guild_id)

    async def forget(self, guild_id: int) -> None:
        """Back to the settings. Raises `StorageUnavailable`."""
        where = guild_setting.c.guild_id == guild_id
        await self._database.transact(lambda connection: connection.execute(delete(guild_setting).where(where)))
        self._set.pop(guild_id, None)
        self._now.pop(guild_id, None)

    def default(self, guild_id: int) -> GuildConfig:
        """What holds for a guild for which nothing was set."""
        settings = self._settings
        return GuildConfig(
            person_facts=settings.memory.person_facts,
            drop_sensitive=settings.memory.sensitive == "drop",
            raw_days=settings.retention.raw_days_of(guild_id),
            facts_days=settings.retention.facts_days_of(guild_id),
            language=settings.recall.language,
            about_others=settings.memory.about_others,
            mentions=settings.ask.mentions,
        )
