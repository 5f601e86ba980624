"""What the commands need of the other rooms."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from bot.capture.catchup import Catchup
from bot.capture.observer import Observer
from bot.commands.access import MemberVisibility
from bot.commands.asking import Asking
from bot.commands.configuring import Configuring
from bot.commands.limits import Limit
from bot.commands.notice import Notices
from bot.commands.status import Status
from bot.extraction.questions import Questions
from bot.extraction.worker import BatchWorker
from bot.memory.forget import Forget
from bot.memory.held import Held
from bot.memory.recall import Recall
from bot.meters import Meters
from bot.model import utcnow
from bot.settings import Settings
from bot.storage.audit import Audit
from bot.storage.consent import Consent
from bot.storage.corrections import Corrections
from bot.storage.doubts import Doubts
from bot.storage.facts import FactStore
from bot.storage.guild_configs import GuildConfigs
from bot.storage.keepsakes import Keepsakes
from bot.storage.keyword import KeywordSearch
from bot.storage.messages import MessageStore
from bot.storage.mine import OwnMemories
from bot.storage.observations import Observations
from bot.storage.spoken import Spoken


@dataclass(frozen=True, slots=True)
class Services:
    """Handed to `build_tree` by the composition root.

    `limit` bounds the questions of each person; `status` reads a guild's `Status`.
    """

    settings: Settings
    observations: Observations
    observer: Observer
    catchup: Catchup
    configs: GuildConfigs
    audit: Audit
    notices: Notices
    configuring: Configuring
    doubts: Doubts
    consent: Consent
    messages: MessageStore
    spoken: Spoken
    facts: FactStore
    corrections: Corrections
    keepsakes: Keepsakes
    own: OwnMemories
    keyword: KeywordSearch
    recall: Recall
    forget: Forget
    held: Held
    worker: BatchWorker
    questions: Questions
    asking: Asking
    limit: Limit
    visibility: MemberVisibility
    status: Callable[[int], Awaitable[Status]]
    meters: Meters
    clock: Callable[[], datetime] = utcnow
