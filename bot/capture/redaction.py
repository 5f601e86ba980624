"""Secrets are blanked out before anything is stored: tokens, private keys, passwords, card numbers.

The shapes of tokens are detect-secrets'; what is newer than its patterns, or written differently in
chat than in the code it was made for, has a rule here. Every message passes through on the event
loop, so each rule stands behind a check that ordinary chat fails within a microsecond, and
detect-secrets is imported by the first message that could hold a token.
"""

import re
from collections.abc import Iterator
from functools import cache

REDACTED = "[redacted]"


def redact(text: str) -> str:
    """`text` with every secret replaced by `[redacted]`; the very same string if there is none."""
    lowered = text.lower()
    spans: list[tuple[int, int]] = []
    if _LONG_RUN.search(text) and _TOKEN_SIGN.search(text):
        spans += _tokens(text)
    if _holds_credential_word(lowered):
        spans += _credentials(text)
    if "private key" in lowered or "putty" in lowered:
        spans += (match.span() for match in _PRIVATE_KEY.finditer(text))
    if "://" in text and "@" in text:
        spans += (match.span(1) for match in _URL_PASSWORD.finditer(text))
    if _LONG_NUMBER.search(text):
        spans += (match.span() for match in _CARD.finditer(text) if _is_card(match[0]))
    return _blank(text, spans) if spans else text


def _blank(text: str, spans: list[tuple[int, int]]) -> str:
    """Replace the spans; those that overlap become one."""
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start >= done:
            parts += text[done:start], REDACTED
        done = max(done, end)
    return "".join([*parts, text[done:]])


# --- Tokens: random strings that say by their shape what they are.

_LONG_RUN = re.compile(r"[A-Za-z0-9_-]{16}")

# Every shape below holds one of these signs. Ids, hashes and links do not, and never load detect-secrets.
_TOKEN_SIGN = re.compile(
    r"A3T|A[BKS]IA|ACCA|AIza|AccountKey=|GR1348941|SG\.|eyJ|gh[oprsu]_|github_pat_|gl[a-z]{2,5}-|hf_|hooks\.slack|npm_"
    r"|pypi-|[rs]k_(?:live|test)_|\bsk-|sq0csp-|whsec_|xapp-|xox[a-z]|ya29\.|/webhooks/|-us[0-9]|(?i:aws)"
    r"|(?:AC|SK)[a-z0-9]{32}|[MNO][\w-]{23,25}\.|[0-9]{8}:[\w-]{35}"
)

# Issued since detect-secrets 1.5.0, or wider than its patterns: OpenAI and Anthropic keys, fine-grained GitHub
# tokens, Google, Hugging Face and npm tokens, Slack app and Stripe test and webhook keys, Discord webhooks.
_NEWER_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-(?:(?:proj|svcacct|admin|ant|or)-[\w-]{20}|[A-Za-z0-9]{32})|github_pat_\w{22}|AIza[\w-]{35}"
    r"|ya29\.[\w-]{20}|hf_[A-Za-z0-9]{30}|npm_[A-Za-z0-9]{36}|xapp-[\w-]{20}|xoxe[.-][\w.-]{20}|[rs]k_test_\w{24}"
    r"|whsec_[\w+/]{24})|(?<=/webhooks/)[0-9]{17,20}/[\w-]{60}"
)

# A pattern may end after the least length of a token: what is left of it goes too.
_REST = re.compile(r"[\w.~+/=-]*(?<!\.)")


@cache
def _token_patterns() -> tuple[re.Pattern[str], ...]:
    """detect-secrets' patterns that are distinct enough for prose.

    Not its scan: that keeps process-wide settings and names a secret without saying where it stands.
    """
    from detect_secrets.plugins.aws import AWSKeyDetector
    from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
    from detect_secrets.plugins.discord import DiscordBotTokenDetector
    from detect_secrets.plugins.github_token import GitHubTokenDetector
    from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
    from detect_secrets.plugins.jwt import JwtTokenDetector
    from detect_secrets.plugins.mailchimp import MailchimpDetector
    from detect_secrets.plugins.pypi_token import PypiTokenDetector
    from detect_secrets.plugins.sendgrid import SendGridDetector
    from detect_secrets.plugins.slack import SlackDetector
    from detect_secrets.plugins.square_oauth import SquareOAuthDetector
    from detect_secrets.plugins.stripe import StripeDetector
    from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
    from detect_secrets.plugins.twilio import TwilioKeyDetector

    detectors = (
        AWSKeyDetector,
        AzureStorageKeyDetector,
        DiscordBotTokenDetector,
        GitHubTokenDetector,
        GitLabTokenDetector,
        JwtTokenDetector,
        MailchimpDetector,
        PypiTokenDetector,
        SendGridDetector,
        SlackDetector,
        SquareOAuthDetector,
        StripeDetector,
        TelegramBotTokenDetector,
        TwilioKeyDetector,
    )
    return (_NEWER_TOKEN, *(pattern for detector in detectors for pattern in detector.denylist))


def _tokens(text: str) -> Iterator[tuple[int, int]]:
    for pattern in _token_patterns():
        for match in pattern.finditer(text):
            rest = _REST.match(text, match.end())
            yield match.start(), rest.end() if rest else match.end()


# --- Credentials: values that are secret because of the word before them.


def _holds_credential_word(lowered: str) -> bool:
    return (
        "pass" in lowered
        or "key" in lowered
        or "token" in lowered
        or "secret" in lowered
        or "pw" in lowered
        or "bearer" in lowered
        or "contrase" in lowered
    )


_CREDENTIAL = re.compile(
    r"""(?:
          (?P<password> password|passwd|passwort|passphrase|contrase[nñ]a | (?<![a-z0-9])(?:passcode|pass|pwd|pw) )
        | (?P<key> (?:api|auth|access|account|app|bot|client|encryption|private|secret|service|signing)[ _-]?
                   (?:key|token|secret) | (?<![a-z0-9])(?:secret|token) )
        ) s?(?![a-z0-9])
        (?: [_-][\w-]{1,30} | \s(?:for|to|of|on|in|at)\s[^\n:=]{1,40}? )?
        ["'`*)\]]{0,3}
        (?: \s{0,3}(?P<sign> :=|={1,3}>?|->|: )\s{0,3} | \s(?:is|was)\s(?:now\s|still\s)? )
        (?: ["'`|*]{0,3}(?P<value>[^\s"'`|]{3,}[^\s"'`|,;.?)}\]]) )
        ["'`|*,;.?)}\]]{0,3}(?P<alone>[^\S\n]*(?:\n|\Z))?
    """,
    re.IGNORECASE | re.VERBOSE,
)
_BEARER = re.compile(r"\bbearer\s+([\w.~+/-]{16,}=*)", re.IGNORECASE)
_NOT_A_VALUE = re.compile(
    r"[<{$%*\[(]|https?://|0x|(?:none|null|true|false|required|optional|changed|expired|incorrect|wrong|correct)\b",
    re.I,
)

_SIGNS = frozenset("!@#$%^")


def _credentials(text: str) -> Iterator[tuple[int, int]]:
    yield from (match.span(1) for match in _BEARER.finditer(text) if _is_mixed(match[1]))
    for match in _CREDENTIAL.finditer(text):
        value = match["value"]
        if _NOT_A_VALUE.match(value):
            continue
        if match["key"]:
            secret = len(value) >= 12 and _is_mixed(value)
        else:
            # `password: letmein` alone on its line is one even without a digit; in a sentence it is a word.
            secret = bool(match["sign"] and match["alone"] is not None) or (len(value) >= 6 and _is_mixed(value))
        if secret:
            yield match.span("value")


def _is_mixed(value: str) -> bool:
    """Letters and, in between, digits or signs: made up rather than a word, an amount or the end of a sentence."""
    return any(map(str.isalpha, value)) and (any(map(str.isdigit, value)) or not _SIGNS.isdisjoint(value[:-1]))


# --- Keys, passwords in links, cards.

# From the header to the footer, or to the end of a message that was cut.
_PRIVATE_KEY = re.compile(
    r"-{4,5} ?BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)? ?-{4,5}.*?"
    r"(?:-{4,5} ?END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)? ?-{4,5}|\Z)"
    r"|PuTTY-User-Key-File-[0-9]:.*",
    re.DOTALL,
)

_URL_PASSWORD = re.compile(r"://[^\s/:@]*:([^\s/@]+)@")

_LONG_NUMBER = re.compile(r"[0-9]{4}[ -]?[0-9]{4}")

# Four groups of four digits, or American Express and Diners' 4-6-5 and 4-6-4; parts of longer numbers, of
# decimals, ids and phone numbers are none.
_CARD = re.compile(
    r"(?<![\w.+-])(?:[0-9]{4}([ -]?)[0-9]{4}\1[0-9]{4}\1[0-9]{4}|3[0-9]{3}([ -]?)[0-9]{6}\2[0-9]{4,5})(?![\w-])"
)

# First digits of the issuers (ISO/IEC 7812): Visa, Mastercard, American Express, Diners, JCB, Discover, UnionPay.
_ISSUER = re.compile(r"4|5[1-5]|2[2-7]|3[0-8]|6[0245]")


def _is_card(number: str) -> bool:
    """Whether an issuer's number passes the Luhn check (ISO/IEC 7812-1, annex B)."""
    digits = [int(character) for character in number if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return bool(_ISSUER.match(number)) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
