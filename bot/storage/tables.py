"""The tables of the database. Times are integers: milliseconds since 1970 in UTC."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    literal_column,
    true,
)

metadata = MetaData()

# SQLite makes a column its row id only when it is declared INTEGER, which holds 64 bits there.
RowId = BigInteger().with_variant(Integer, "sqlite")

# One row a message. It serves two pipelines: `extraction` (waiting → leased → done | dead) towards
# facts, and `indexing` (pending → taken → keywords | complete) towards the index. A message whose
# words or window change goes back to pending, so a write of a `taken` row tells if it came too late.
message = Table(
    "message",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=False),
    Column("guild_id", BigInteger, nullable=False),
    Column("channel_id", BigInteger, nullable=False),
    Column("access_id", BigInteger, nullable=False),
    Column("channel_name", Text, nullable=False),
    Column("author_id", BigInteger, nullable=False),
    Column("author_name", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("text", Text, nullable=False),  # Message.text: what the keyword search reads
    Column("created_at", BigInteger, nullable=False),
    Column("edited_at", BigInteger),
    Column("reply_to", BigInteger),
    Column("mentions", JSON, nullable=False),
    Column("attachments", JSON, nullable=False),
    Column("revision", Integer, nullable=False, default=0),
    Column("captured_at", BigInteger, nullable=False),
    Column("extraction", String(8), nullable=False, default="waiting"),
    Column("attempts", Integer, nullable=False, default=0),
    Column("lease", String(32)),
    Column("lease_until", BigInteger),
    Column("dead_reason", Text),
    Column("indexing", String(8), nullable=False, default="pending"),
)
Index("message_by_channel", message.c.channel_id, message.c.id)
Index(
    "message_waiting",
    message.c.guild_id,
    message.c.channel_id,
    message.c.id,
    message.c.captured_at,  # of all that waits, who waits longest is asked often
    sqlite_where=message.c.extraction == "waiting",
)
Index("message_leased", message.c.guild_id, sqlite_where=message.c.extraction == "leased")
Index("message_dead", message.c.guild_id, sqlite_where=message.c.extraction == "dead")
Index(
    "message_not_indexed",
    message.c.indexing,
    message.c.channel_id,
    message.c.id,
    message.c.guild_id,
    sqlite_where=message.c.indexing != "complete",
)
Index("message_by_author", message.c.guild_id, message.c.author_id, message.c.access_id)
# Of threads and forum posts: to find them by the channel that decides who may read them.
Index(
    "message_by_access",
    message.c.access_id,
    message.c.id,
    sqlite_where=message.c.access_id != message.c.channel_id,
)

# Of which messages each message's window key is made, or about to be: itself, and near ones of its conversation.
# Written before the key is. A message without rows is new to the index. No foreign keys: messages are removed in one
# place alone, by the thousand, and to look for each one's rows by themselves takes as long as to remove it.
surrounding = Table(
    "surrounding",
    metadata,
    Column("message_id", BigInteger, primary_key=True),
    Column("near_id", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)
Index("surrounding_by_near", surrounding.c.near_id)

fact = Table(
    "fact",
    metadata,
    Column("seq", Integer, primary_key=True),  # the keyword search's row id
    Column("id", String(36), nullable=False, unique=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("channel_id", BigInteger, nullable=False),
    Column("access_id", BigInteger, nullable=False),
    Column("channel_name", Text, nullable=False),
    Column("subject_id", BigInteger),
    Column("subject_name", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("speaker_ids", JSON, nullable=False),
    Column("speaker_name", Text, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("importance", Float, nullable=False),
    Column("entities", JSON, nullable=False),
    Column("sensitive", Boolean, nullable=False),
    Column("valid_from", String(10)),
    Column("valid_until", String(10)),
    Column("said_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("indexing", String(8), nullable=False, default="pending"),
)
Index("fact_by_subject", fact.c.guild_id, fact.c.subject_id, fact.c.said_at)
Index("fact_by_speakers", fact.c.guild_id, fact.c.speaker_ids, fact.c.said_at)
Index("fact_not_indexed", fact.c.indexing, fact.c.seq, sqlite_where=fact.c.indexing != "complete")

# Which messages a fact rests on. No foreign key to `message`: raw text expires before facts do.
fact_source = Table(
    "fact_source",
    metadata,
    Column("fact_id", String(36), ForeignKey("fact.id", ondelete="CASCADE"), primary_key=True),
    Column("message_id", BigInteger, primary_key=True),
    Column("author_id", BigInteger, nullable=False),
)
Index("fact_source_by_message", fact_source.c.message_id)
Index("fact_source_by_author", fact_source.c.author_id)

# Which messages a corrected fact links to. It rests on none of them, but on its subject's own word, so no edit,
# deletion or new extraction of a message takes it away: a fact without a row in `fact_source` is a corrected one.
citation = Table(
    "citation",
    metadata,
    Column("fact_id", String(36), ForeignKey("fact.id", ondelete="CASCADE"), primary_key=True),
    Column("message_id", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)
Index("citation_by_message", citation.c.message_id)

# Ids that must never come back: a late write, a catch-up or an import of one is refused.
tombstone = Table(
    "tombstone",
    metadata,
    # A message id in decimal, a fact's uuid, or "<message id>/<subject id or SERVER>" for whatever
    # the message says about the subject: a forgotten fact may be drawn again in other words.
    # "channel/<id>" stands for everything said in a deleted channel or thread, and
    # "author/<guild id>/<user id>" for everything a forgotten member wrote before `at`.
    Column("id", String(64), primary_key=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("reason", String(16), nullable=False),  # deleted | forgotten | corrected | opted_out | expired
    Column("at", BigInteger, nullable=False),
    Column("journalled", Boolean, nullable=False, server_default=false()),
)
Index("tombstone_to_journal", tombstone.c.at, sqlite_where=tombstone.c.journalled == literal_column("0"))

# Points still to be removed from the index. Written in the transaction that removes their rows,
# and hidden from every answer until they are gone.
removal = Table(
    "removal",
    metadata,
    Column("point_id", String(36), primary_key=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# Forgotten members: the points of the messages one wrote before a time are still to be removed from the index.
erasure = Table(
    "erasure",
    metadata,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("before", BigInteger, nullable=False),
)

# Guilds from which text was removed since their files were last rewritten: it may still be found in them.
residue = Table(
    "residue",
    metadata,
    Column("guild_id", RowId, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),  # of the oldest removal
    Column("last", BigInteger, nullable=False),  # of the newest
)

# When a channel was observed: [started_at, ended_at).
observation = Table(
    "observation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("channel_id", BigInteger, nullable=False),
    Column("parent_id", BigInteger),  # of a private thread: it goes with its channel
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("by_user_id", BigInteger),  # null: the settings file
    # live: events as they happen | backfill, import: opened afterwards, see Observations.open_interval
    Column("source", String(8), nullable=False, server_default="live"),
    # Everything said here up to this message id, threads included, is committed. Null: from the start on.
    Column("read_to", BigInteger),
    Column("fetched", Boolean, nullable=False, server_default=false()),  # nothing of it is left to read from Discord
    Column("announced", Boolean, nullable=False, server_default=true()),  # its members were told
)
Index("observation_by_channel", observation.c.guild_id, observation.c.channel_id)

# How far a place (the channel or one of its threads) of an observation is read, while it is behind the observation.
cursor = Table(
    "cursor",
    metadata,
    Column("observation_id", Integer, ForeignKey("observation.id", ondelete="CASCADE"), primary_key=True),
    Column("place_id", BigInteger, primary_key=True),
    Column("read_to", BigInteger, nullable=False),
)

# Places where more held messages are gone from Discord than is likely: an admin decides.
doubt = Table(
    "doubt",
    metadata,
    Column("place_id", RowId, primary_key=True, autoincrement=False),
    Column("guild_id", BigInteger, nullable=False),
    Column("missing", JSON, nullable=False),  # message ids
    Column("kept", JSON, nullable=False),  # message ids of which an admin said that they are fine
    Column("held", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# When the bot was removed from a guild.
departure = Table(
    "departure",
    metadata,
    Column("guild_id", RowId, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
)

# When a member had opted out: [started_at, ended_at).
opt_out = Table(
    "opt_out",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("journalled", Boolean, nullable=False, server_default=false()),
)
Index("opt_out_by_user", opt_out.c.guild_id, opt_out.c.user_id)

# When a member had agreed to be remembered, which counts while a guild asks for that: [started_at, ended_at).
opt_in = Table(
    "opt_in",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
)
Index("opt_in_by_user", opt_in.c.guild_id, opt_in.c.user_id)

# From when on a guild asked its members first (opt_in) or not (opt_out); before the first row, as the settings say.
consent_mode = Table(
    "consent_mode",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("mode", String(8), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("journalled", Boolean, nullable=False, server_default=false()),
)
Index("consent_mode_by_guild", consent_mode.c.guild_id)

# What a guild's admins set with /config, by the field's name in `GuildConfig`; what is missing is as for all.
guild_setting = Table(
    "guild_setting",
    metadata,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(32), primary_key=True),
    Column("value", JSON, nullable=False),
)

# Who changed or removed what, when: ids and counts, never words.
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("actor_id", BigInteger),  # null: the bot itself, or who runs it
    Column("action", String(32), nullable=False),
    Column("details", JSON, nullable=False),
)
Index("audit_by_guild", audit.c.guild_id, audit.c.id)

# How much of a guild waited and was held at a time, for the pictures of /status.
sample = Table(
    "sample",
    metadata,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("waiting", Integer, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("facts", Integer, nullable=False),
)

# When each guild's next batch is due, and what the last one did.
schedule = Table(
    "schedule",
    metadata,
    Column("guild_id", RowId, primary_key=True, autoincrement=False),
    Column("due_at", BigInteger, nullable=False),
    Column("attempted_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("since_attempt", Integer, nullable=False, default=0),  # messages captured since attempted_at
)

breaker = Table(
    "breaker",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("opened_at", BigInteger),
    Column("retry_at", BigInteger),
    Column("reason", Text),
)

# What the process remembers about itself, by name.
state = Table(
    "state",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)
