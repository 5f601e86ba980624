"""One small tree of exceptions; each docstring is the default message."""


class RecollectError(Exception):
    """Something went wrong; the log has the cause."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class SettingsError(RecollectError):
    """The settings hold an unknown key or a wrong value."""


class DataFolderError(RecollectError):
    """The data folder cannot be used: it is missing, read-only or held by another process."""


class NotRunning(RecollectError):
    """No bot runs on this data folder."""


class DiscordLoginError(RecollectError):
    """Discord refused the bot: the token or its intents are wrong."""


class ServiceUnavailable(RecollectError):
    """An outside service did not answer; what waits for it is kept and tried again."""


class LLMUnavailable(ServiceUnavailable):
    """The language model did not answer; extraction waits until it does."""


class LLMUnreachable(LLMUnavailable):
    """The language model cannot be reached: nobody listens, it does not answer in time, or its server fails."""


class AnswerLost(LLMUnreachable):
    """The language model was asked, and the connection broke before its answer was complete."""


class ModelMissing(LLMUnavailable):
    """The language model is not installed on the Ollama server."""


class AnswerRejected(RecollectError):
    """The language model's answer was cut short or does not fit the schema."""


class AnswerTooLong(AnswerRejected):
    """The language model's answer was cut short: it reached its longest."""


class EmbedderUnavailable(ServiceUnavailable):
    """The embedder did not answer; recall goes on with keywords alone."""


class QuotaExhausted(EmbedderUnavailable):
    """The embedder's quota is used up; embedding pauses until it is renewed."""


class IndexUnavailable(ServiceUnavailable):
    """The vector index did not answer; writes wait and recall falls back to keyword search."""


class IndexClosed(IndexUnavailable):
    """Nothing is written to the vector index for now; it still answers."""


class IndexMismatch(RecollectError):
    """The index was made with another embedding model than the settings name."""


class StorageUnavailable(ServiceUnavailable):
    """I cannot read or save anything right now, so nothing was changed. Try again later, or tell whoever runs me."""


class RecallPaused(RecollectError):
    """This bot was restored from a backup: recall is off until what was deleted since then is found on Discord."""


class BackupDamaged(RecollectError):
    """The backup is damaged or incomplete."""


class TranscriptInvalid(RecollectError):
    """The file is not a DiscordChatExporter JSON export."""


class QueryTooShort(RecollectError):
    """Ask with at least two letters or digits."""
