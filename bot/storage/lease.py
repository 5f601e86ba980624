"""Leases: who works on which messages until when."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Update, bindparam, select, update

from bot.model import Message
from bot.storage.rows import MESSAGE_COLUMNS, among, given, listed, message_of, to_ms
from bot.storage.states import LEASED, WAITING
from bot.storage.tables import message

NO_LEASE = {"lease": None, "lease_until": None}


@dataclass(frozen=True, slots=True)
class Lease:
    """Messages one extraction may work on until the lease ends; `token` proves that it holds them."""

    token: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """Leased messages of one channel with what helps to understand them.

    `context` are the held ones of those asked for beside them, oldest first; `answered` the held
    messages, by id, that leased ones reply to and that are not leased with them.
    """

    lease: Lease
    context: tuple[Message, ...] = ()
    answered: Mapping[int, Message] = field(default_factory=dict)


def back() -> Update:
    """Let messages wait, leased by nobody."""
    return update(message).values(extraction="waiting", **NO_LEASE)


def held_by(lease: Lease) -> ColumnElement[bool]:
    """Whether a message is still the lease's: an edit or a new lease has taken it away."""
    ids = [held.id for held in lease.messages]
    return among(message.c.id, ids) & LEASED & (message.c.lease == lease.token)


# Statements are made once: to make one anew for each window would take as long as to execute it.
_LEASE = (
    update(message)
    .where(given(message.c.id, "ids"), WAITING | (LEASED & (message.c.lease_until < bindparam("now"))))
    .values(extraction="leased", lease=bindparam("token"), lease_until=bindparam("until"))
    .returning(*MESSAGE_COLUMNS)
)
_THESE = select(*MESSAGE_COLUMNS).where(given(message.c.id, "ids"))
# Those put aside may be what no model can read.
_READABLE = _THESE.where(message.c.extraction != "dead").order_by(message.c.id)


def take(
    connection: Connection, ids: Sequence[int], now: datetime, lease_for: timedelta, context: Sequence[int]
) -> Taken:
    """See `ExtractionQueue.take`."""
    lease = _lease(connection, ids, now, lease_for)
    if not lease.messages:
        return Taken(lease)
    shown = connection.execute(_READABLE, {"ids": listed(context)}) if context else ()
    around = tuple(message_of(row) for row in shown)
    elsewhere = {one.reply_to for one in lease.messages if one.reply_to} - {one.id for one in lease.messages}
    answered = connection.execute(_THESE, {"ids": listed(elsewhere)}) if elsewhere else ()
    return Taken(lease, around, {row.id: message_of(row) for row in answered})


def _lease(connection: Connection, ids: Sequence[int], now: datetime, lease_for: timedelta) -> Lease:
    token = uuid.uuid4().hex
    times = {"now": to_ms(now), "until": to_ms(now + lease_for)}
    leased = connection.execute(_LEASE, {"ids": listed(ids), "token": token, **times})
    return Lease(token, tuple(sorted((message_of(row) for row in leased), key=lambda held: held.id)))
