"""`/privacy policy`: what becomes of what members write, made from the settings in force, so that it is true."""

from bot.commands.consent_button import AGREE
from bot.commands.notice import Terms, kept
from bot.commands.text import counted
from bot.outside import in_house, outside_services

_PERSON_FACTS = {
    "self": "Facts about a person are noted from that person's own words only.",
    "all": "Facts about a person are noted from anyone's words.",
    "none": "No facts about people are noted.",
}


def declared(terms: Terms) -> list[str]:
    """The policy of a guild, a paragraph a line."""
    return [_what(terms), _why(), _where(terms), _how_long(terms), *_services(terms), _who_may_ask(terms), *_say(terms)]


def _what(terms: Terms) -> str:
    if terms.config.drop_sensitive:
        sensitive = "What is said about health, faith, politics, sexuality and the like is left out where I notice it."
    else:
        sensitive = "What is said about health, faith, politics or sexuality is kept like anything else."
    return (
        "**What I keep**: in the channels I listen to, the words of messages, who wrote them, where and when, and the "
        "names and descriptions of files, never the files. From that a language model notes facts, such as decisions "
        f"and plans. {_PERSON_FACTS[terms.config.person_facts]} {sensitive} Passwords, keys and the like are taken out "
        "before anything is stored. Direct messages and bots are never read."
    )


def _why() -> str:
    return (
        "**Why**: so that whoever can read a channel can ask what was said there. I show nothing of it to other "
        "servers, and train no model with it."
    )


def _where(terms: Terms) -> str:
    url = terms.settings.qdrant.url
    elsewhere = ", and on the Qdrant server named below" if url and not in_house(url) else ""
    return (
        f"**Where**: on the computers of whoever runs me{elsewhere}. No log holds a word of it. Discord keeps "
        "your messages apart from that."
    )


def _how_long(terms: Terms) -> str:
    retention = terms.settings.retention
    hours = max(1, round(retention.purge_within.total_seconds() / 3600))
    return (
        f"**How long**: {kept(terms.config)} What is removed is hidden at once, and within {counted(hours, 'hour')} "
        f"no trace of it is left in my files. If I am removed from this server, everything of it goes after "
        f"{counted(retention.removed_guild_days, 'day')}. A backup may hold it longer; whatever was taken back stays "
        "away when one is restored."
    )


def _services(terms: Terms) -> list[str]:
    return [
        "**Who else sees the text**; what they keep of it is theirs to say:",
        *(f"- {service}" for service in outside_services(terms.settings)),
    ]


def _who_may_ask(terms: Terms) -> str:
    config = terms.config
    askers = "members with " + " or ".join(f"<@&{role}>" for role in config.asker_roles) if config.asker_roles else ""
    others = (
        "Members may ask what another member said or what is known about them, of what they can read."
        if config.about_others
        else "Nobody can have me list what I know about another member."
    )
    mentions = " Who mentions me is answered with what everyone in that channel can read." if config.mentions else ""
    return (
        f"**Who may ask**: {askers or 'everyone here'}. Answers come only from channels that the asker can read "
        f"at that moment, and are private unless they choose otherwise. {others}{mentions}"
    )


def _say(terms: Terms) -> list[str]:
    if terms.mode == "opt_in":
        choice = (
            f"This server asks first: I keep nothing of what you write until you press **{AGREE}** on a notice or use "
            "`/privacy opt-in`. `/privacy opt-out` ends that at any time."
        )
    else:
        choice = "`/privacy opt-out` stops me from keeping anything more you write, `/privacy opt-in` undoes that."
    return [
        f"**Whether you are remembered**: {choice}",
        "**Your data**: `/memory mine` shows what I hold of you, `/memory export` gives it to you as a file, "
        "`/memory fix` corrects a fact, and `/forget` removes what you choose, or everything. A message you edit or "
        "delete on Discord is changed or forgotten here, too.",
    ]
