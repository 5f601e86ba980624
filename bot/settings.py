"""Settings: a TOML file, overridden by `BOT_SECTION__KEY` variables, with secrets from files.

One class a table of the file; those of the services that are asked stand in `settings_services`.
`settings_sources.load` is the one place that builds them.
"""

from datetime import timedelta
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bot.model import EmbeddingModel
from bot.settings_services import (
    AnthropicSettings,
    CompatibleSettings,
    EmbeddingSettings,
    ExtractionSettings,
    FastembedSettings,
    OllamaSettings,
    OpenAISettings,
    QdrantSettings,
    VoyageSettings,
)
from bot.settings_types import Duration, FolderPath, GatewayUrl, Host, HttpUrl, Ids, OptionalPath, Section


def shown_url(url: str) -> str:
    """A URL as it may be shown and logged: without the user and password it may carry."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class DiscordSettings(Section):
    token: SecretStr = SecretStr("")
    """The bot's token, from the developer portal; better kept in a secret file or DISCORD_TOKEN."""
    observe: Ids = ()
    """Ids of text channels, forums and threads to observe once the notice is posted there, without /observe."""
    allow_age_restricted: bool = False
    """Whether age-restricted channels may be observed."""
    api_url: HttpUrl = "https://discord.com/api/v10"
    """Base of Discord's REST API; change it only to talk to a proxy or a stand-in."""
    gateway_url: GatewayUrl = "wss://gateway.discord.gg/"
    """Discord's gateway; change it only to talk to a proxy or a stand-in."""


class StorageSettings(Section):
    path: FolderPath = Path("data")
    """The folder that holds the database and the embedded index."""


class CaptureSettings(Section):
    consent: Literal["opt_out", "opt_in"] = "opt_out"
    """Whether members are remembered until they object (opt_out), or only once they agree (opt_in)."""
    recheck_messages: int = Field(default=2000, ge=0)
    """After an absence, how many held messages of each channel are compared with Discord at a time, newest first."""


class JournalSettings(Section):
    path: OptionalPath = ""
    """A file outside the data folder for the ids of what was forgotten; empty is `<storage.path>-journal`."""


class GuildRetention(Section):
    """Where one server differs; what is left out is as for all."""

    raw_days: int | None = Field(default=None, ge=1)
    facts_days: int | None = Field(default=None, ge=0)


class RetentionSettings(Section):
    raw_days: int = Field(default=30, ge=1)
    """Days after which the words of a message are removed; the facts drawn from it stay."""
    facts_days: int = Field(default=0, ge=0)
    """Days after which a fact is removed, counted from when it was said; 0 keeps facts until they are forgotten."""
    removed_guild_days: int = Field(default=7, ge=0)
    """Days after which everything of a server that removed the bot is forgotten."""
    purge_within: Duration = timedelta(hours=24)
    """Within this time no byte of a removed text is left in the data folder."""
    guilds: dict[int, GuildRetention] = Field(default_factory=dict)
    """Servers with a retention of their own, by id: { 123 = { raw_days = 7 } }."""

    def raw_days_of(self, guild_id: int) -> int:
        """Days for which this server's messages are kept."""
        own = self.guilds.get(guild_id, GuildRetention()).raw_days
        return self.raw_days if own is None else own

    def facts_days_of(self, guild_id: int) -> int:
        """Days for which this server's facts are kept; 0 for ever."""
        own = self.guilds.get(guild_id, GuildRetention()).facts_days
        return self.facts_days if own is None else own


class OutageSettings(Section):
    first_pause: Duration = timedelta(seconds=15)
    """How long a service that failed is left alone; each further failure doubles it."""
    longest_pause: Duration = timedelta(minutes=10)
    """The longest such pause."""


class AlertSettings(Section):
    oldest_waiting: Duration = timedelta(hours=6)
    """When a message has waited this long for the language model, the log says so once."""


class BatchSettings(Section):
    interval: Duration = timedelta(hours=1)
    """How often waiting messages are turned into facts."""
    max_messages: int = Field(default=100, ge=1)
    """Start a batch early after this many new messages; it reads settled talk that fills two thirds of a window."""
    settle: Duration = timedelta(minutes=15)
    """A conversation with a message younger than this is still going on and waits, at most one interval."""
    window_tokens: int = Field(default=2400, ge=256)
    """Most tokens of conversation in one call to the language model."""
    context_lines: int = Field(default=24, ge=0, le=50)
    """Most lines of other conversations that are shown with a window so that it can be understood."""


class MemorySettings(Section):
    embed_messages: bool = True
    """Whether messages themselves are sent to the embedder; false keeps them to keyword search."""
    index_interval: Duration = timedelta(seconds=15)
    """How long a message waits at most before it can be recalled."""
    person_facts: Literal["self", "all", "none"] = "self"
    """Whose words may make a fact about a person: only their own, anyone's, or nobody's."""
    sensitive: Literal["drop", "keep"] = "drop"
    """Whether messages and facts on health, faith, politics, sexuality and the like are left out."""
    about_others: bool = False
    """Whether members may ask what is known about another member, of what they can read."""


class RecallSettings(Section):
    language: str = "english"
    """Language of stemming and stop words in keyword search, or `none` for several or another."""
    limit: int = Field(default=20, ge=1, le=100)
    """Most memories one /recall returns."""


class AskSettings(Section):
    mentions: bool = False
    """Whether mentioning the bot asks it, with an answer for everyone in the channel."""
    per_minute: int = Field(default=5, ge=1)
    """Questions one member may ask the language model in a minute."""
    at_once: int = Field(default=2, ge=1)
    """Questions the language model is asked at the same time; further ones wait."""
    context_tokens: int = Field(default=1500, ge=256)
    """Most tokens of memories that are shown to the language model with a question."""
    answer_tokens: int = Field(default=400, ge=64)
    """Most tokens of an answer."""
    patience: Duration = timedelta(seconds=30)
    """How long the answer's first word may take; then the memories are shown instead."""


class WebSettings(Section):
    host: Host = "127.0.0.1"
    """The address of the health probes; 0.0.0.0 in a container."""
    port: int = Field(default=8080, ge=0, le=65535)
    """The port of the health probes; 0 takes any free one."""


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged; message content never is."""
    format: Literal["console", "json"] = "console"
    """Lines for people, or JSON for a log collector."""


class Settings(BaseSettings):
    """Every setting. Build it with `settings_sources.load`."""

    model_config = SettingsConfigDict(
        env_prefix="BOT_", env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    discord: DiscordSettings = DiscordSettings()
    storage: StorageSettings = StorageSettings()
    journal: JournalSettings = JournalSettings()
    capture: CaptureSettings = CaptureSettings()
    retention: RetentionSettings = RetentionSettings()
    outages: OutageSettings = OutageSettings()
    alerts: AlertSettings = AlertSettings()
    batch: BatchSettings = BatchSettings()
    extraction: ExtractionSettings = ExtractionSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    ollama: OllamaSettings = OllamaSettings()
    openai: OpenAISettings = OpenAISettings()
    voyage: VoyageSettings = VoyageSettings()
    fastembed: FastembedSettings = FastembedSettings()
    anthropic: AnthropicSettings = AnthropicSettings()
    compatible: CompatibleSettings = CompatibleSettings()
    qdrant: QdrantSettings = QdrantSettings()
    memory: MemorySettings = MemorySettings()
    recall: RecallSettings = RecallSettings()
    ask: AskSettings = AskSettings()
    web: WebSettings = WebSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed counts; `settings_sources.load` is what looks around."""
        return (init_settings,)

    @property
    def journal_path(self) -> Path:
        """The file of the journal: as set, or else beside the data folder."""
        if self.journal.path:
            return Path(self.journal.path)
        folder = self.storage.path.absolute()
        return folder.with_name(f"{folder.name}-journal")

    @property
    def embedding_model(self) -> EmbeddingModel:
        """The model whose vectors the index is to hold."""
        provider = self.embedding.provider
        name, dimensions = {
            "openai": (self.openai.embedding_model, self.openai.dimensions),
            "ollama": (self.ollama.embedding_model, self.ollama.embedding_dimensions),
            "voyage": (self.voyage.model, self.voyage.dimensions),
            "fastembed": (self.fastembed.model, self.fastembed.dimensions),
        }[provider]
        return EmbeddingModel(provider, name, dimensions)

    @property
    def embeds(self) -> bool:
        """Whether there is an embedder: one that needs no key, or has one."""
        return {"openai": self.openai.configured, "voyage": self.voyage.configured}.get(self.embedding.provider, True)

    @model_validator(mode="after")
    def _journal_outlives_data(self) -> Self:
        if self.journal_path.absolute().is_relative_to(self.storage.path.absolute()):
            raise ValueError("journal.path must lie outside storage.path, so that it outlives the data folder")
        return self

    @model_validator(mode="after")
    def _window_fits_context(self) -> Self:
        readers = {self.extraction.provider, self.extraction.fallback}
        if "ollama" in readers and self.batch.window_tokens > self.ollama.num_ctx // 2:
            raise ValueError("batch.window_tokens must be at most half of ollama.num_ctx")
        if "compatible" in readers and self.batch.window_tokens > self.compatible.context // 2:
            raise ValueError("batch.window_tokens must be at most half of compatible.context")
        return self

    @model_validator(mode="after")
    def _compatible_is_named(self) -> Self:
        asked = "compatible" in {self.extraction.provider, self.extraction.fallback}
        if asked and not (self.compatible.base_url and self.compatible.model):
            raise ValueError("compatible.base_url and compatible.model must be set to extract with such a server")
        return self
