"""Redaction: what must go, what must stay."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.capture.redaction import REDACTED, redact

LETTERS = "Qm7xTz9LkWv4RbN2pYc8HsJd6FgA3eUoXi5VtBnKyMqZwErTaSlPhGfCjDuOzIvX"
DIGITS_AND_LETTERS = "a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6e7f8a9b0c1d2e3f4"

# Built from parts, so that no scanner takes this file for a leak.
SECRETS = {
    "aws access key": "AKIA" + "IOSFODNN7EXAMPLE",
    "aws secret key": 'aws_secret_access_key = "' + LETTERS[:40] + '"',
    "azure": "AccountKey=" + LETTERS[:60] + LETTERS[:26] + "==",
    "discord bot, 27": "MTA" + LETTERS[:21] + "." + LETTERS[:6] + "." + LETTERS[:27],
    "discord bot, 38": "MTA" + LETTERS[:23] + "." + LETTERS[:6] + "." + LETTERS[:38],
    "discord webhook": "1234567890123456789/" + LETTERS + "4",
    "github classic": "ghp_" + LETTERS[:36],
    "github server": "ghs_" + LETTERS[:36],
    "github fine-grained": "github_pat_11ABCDEFG0" + LETTERS[:40],
    "gitlab": "glpat-" + LETTERS[:20],
    "google": "AIza" + LETTERS[:35],
    "hugging face": "hf_" + LETTERS[:34],
    "mailchimp": DIGITS_AND_LETTERS[:32] + "-us14",
    "npm": "npm_" + LETTERS[:36],
    "openai": "sk-" + LETTERS[:20] + "T3BlbkFJ" + LETTERS[:20],
    "openai project": "sk-proj-" + LETTERS[:30] + "_-" + LETTERS[:40],
    "anthropic": "sk-ant-api03-" + LETTERS[:60] + "-AA",
    "jwt": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0." + LETTERS[:43],
    "pypi": "pypi-AgEIcHlwaS5vcmc" + LETTERS + LETTERS[:20],
    "sendgrid": "SG." + LETTERS[:22] + "." + LETTERS[:43],
    "slack": "xoxb-" + "123456789012-1234567890123-" + LETTERS[:24],
    "slack app": "xapp-1-A0123456789-" + LETTERS[:30],
    "stripe": "sk_live_" + LETTERS[:24],
    "stripe, long": "rk_live_" + LETTERS,
    "telegram": "110201543:" + LETTERS[:35],
    "twilio": "AC" + DIGITS_AND_LETTERS[:32],
    "visa": "4111111111111111",
    "visa in groups": "4111 1111 1111 1111",
    "mastercard": "5555-5555-5555-4444",
    "mastercard 2-series": "2223003122003222",
    "american express": "378282246310005",
    "american express in groups": "3782 822463 10005",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
@pytest.mark.parametrize(
    "sentence", ["{}", "here you go: {} (delete it later)", "`{}`", "first\n{}\nlast", "used {}, ok?"]
)
def test_secret_shapes_are_blanked_wherever_they_stand(secret: str, sentence: str) -> None:
    """A token or card number goes whole, and the words around it stay."""
    before, after = sentence.split("{}")
    prefix = "https://discord.com/api/webhooks/" if secret == SECRETS["discord webhook"] else ""

    assert redact(before + prefix + secret + after) == before + prefix + REDACTED + after


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("password: hunter2", "password: [redacted]"),
        ("Password: letmein", "Password: [redacted]"),
        ("pw: hunter2 thanks", "pw: [redacted] thanks"),
        ("the wifi password is Sunshine2024! come in", "the wifi password is [redacted] come in"),
        ("the password for the staging box is Tr0ub4dor&3", "the password for the staging box is [redacted]"),
        ("DB_PASSWORD=s3cr3t-p4ss", "DB_PASSWORD=[redacted]"),
        ("POSTGRES_PASSWORD_PROD='s3cr3tp4ss'", "POSTGRES_PASSWORD_PROD='[redacted]'"),
        ('{"password": "opensesame1"}', '{"password": "[redacted]"}'),
        ("passwd := ||abc123xyz||", "passwd := ||[redacted]||"),
        ("api key: 9f8e7d6c5b4a39281706", "api key: [redacted]"),
        ("client_secret=Zx9_kLm3-pQr7", "client_secret=[redacted]"),
        ("the bot token is abcdef1234567890", "the bot token is [redacted]"),
        ("Authorization: Bearer abcdef0123456789abcdef", "Authorization: Bearer [redacted]"),
        ("postgres://bot:s3cret@db.example.org/app", "postgres://bot:[redacted]@db.example.org/app"),
        ("redis://:s3cret@cache:6379/0", "redis://:[redacted]@cache:6379/0"),
        ("password: one1two2\npassword: three3", "password: [redacted]\npassword: [redacted]"),
        (f"sk_live_{LETTERS[:24]} and 4111111111111111", "[redacted] and [redacted]"),
        (f"token: ghp_{LETTERS[:36]}", "token: [redacted]"),
    ],
)
def test_credentials_are_blanked_and_their_names_stay(text: str, redacted: str) -> None:
    """What follows a word for a secret goes, so that the sentence still says what was shared."""
    assert redact(text) == redacted


def test_private_keys_go_from_header_to_footer() -> None:
    """A key block goes with its body; the text before and after stays."""
    body = "\n".join([LETTERS] * 5)
    key = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----"

    assert redact(f"mine:\n{key}\nplease delete") == f"mine:\n{REDACTED}\nplease delete"
    assert redact(f"mine:\n{key[:200]}") == f"mine:\n{REDACTED}"
    assert redact(f"PuTTY-User-Key-File-3: ssh-ed25519\n{body}") == REDACTED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello everyone, see you at 8pm?",
        "I forgot my password again :(",
        "password: <your password here>",
        "set the password to whatever you like",
        "the password is case sensitive and must be changed",
        "is the password required? password: required",
        "Secret Santa: bring gifts by Friday",
        "my secret: I love pineapple pizza",
        "the key is to keep the dough cold",
        "the token is worth 3 dollars",
        "token: 0xdAC17F958D2ee523a2206206994597C13D831ec7",
        "you need a passport: mine expires in 2027",
        "the API key goes into config.toml, see https://example.org/docs?page=2#api-key",
        "a file should start with BEGIN PRIVATE KEY, I think",
        "public key: see the wiki",
        "<@123456789012345678> <@!1234567890123456789> <@&1111111111111111111> <#4111111111111111119>",
        "<:blobcat:412345678901234567> <a:party:1049483920184832000>",
        "1049483920184832000 412345678901234567",
        "https://discord.com/channels/412345678901234567/512345678901234567/1049483920184832000",
        "https://cdn.discordapp.com/attachments/1/2/a.png?ex=65f1a2b3&is=65df2db3&hm=" + "0123456789abcdef" * 4 + "&",
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ&list=PLrAXtmErZgOeiKm4sgNOknGvNjby9efdf",
        "https://medium.com/@someone/ten-things-about-postgres-1a2b3c4d5e6f",
        "https://scikit-learn.org/sk-learn-tutorial-part-2-final-version",
        "mail me at someone.somewhere@example.org: http://example.org:8080/x",
        "550e8400-e29b-41d4-a716-446655440000",
        "fixed in 0b1f0bd5a1c2e3d4f5a6b7c8d9e0f1a2b3c4d5e6",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "call +49 151 1234 5678 9012 or 0049 151 12345678, or 555-0123-4567-8901",
        "1700000000000 1700000000000000 2024-05-01 10:00:00",
        "4111111111111112",
        "pi is 3.1415926535897932384626433832795 and not 0.4111111111111111",
        "aws is down again, us-east-1 of course, awesome_awkward_awsome_name",
        "that is an antidisestablishmentarianism_of_the_highest_order",
        "SGVsbG8gd29ybGQsIHRoaXMgaXMganVzdCBiYXNlNjQ=",
        "A" * 4000,
        "👩‍👩‍👧‍👦" * 300,
        "שלום לכולם, הסיסמה שונתה",
        "Z̸̢̛̙̪a̶̡͉̎l̵̰̀g̶͖̈́ö̵́ͅ",
    ],
)
def test_ordinary_chat_is_untouched(text: str) -> None:
    """Chat, links, mentions, emoji, ids, hashes and phone numbers come back as the same string."""
    assert redact(text) is text


def test_ordinary_chat_does_not_load_the_detector() -> None:
    """Ids, links and hashes cost neither the memory nor the moment that importing detect-secrets takes."""
    program = """
import sys
from bot.capture.redaction import redact
redact("see https://discord.com/channels/412345678901234567/512345678901234567/1049483920184832000")
redact("fixed in 0b1f0bd5a1c2e3d4f5a6b7c8d9e0f1a2b3c4d5e6, my password: hunter2")
sys.exit("detect_secrets" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@given(
    st.lists(st.sampled_from([*SECRETS.values(), "password", "token", ":", " is ", "://", "@", ",", "\n", " ", "x"]))
)
def test_redacting_twice_changes_nothing_more(parts: list[str]) -> None:
    """Redaction is idempotent, so an edit or a replay of a stored text is the same text."""
    once = redact(" ".join(parts))

    assert redact(once) == once
