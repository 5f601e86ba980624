"""How a statement about a person begins: `<term>` stands for what it is about, a space for any white space."""

from collections.abc import Iterable

_NAME = (
    r"(?:(?:^|[.!?;:,\n] *|\b(?:that|think|heard|because|and|but|knows?|if|since|dass|weil|und|aber|ob|glaube) )"
    r"(?!(?:This|That|It|The|There|Here|What|Who|Which|Every\w+|No\w+|Some\w+|Any\w+|Life|Work|Das|Dies\w*|Es|Was|Wer"
    r"|Alle\w*|Man|Hier|Da|Java|Rust|Python|Windows|Linux)\b)(?-i:[A-ZÄÖÜ][a-zäöüß]+(?: [A-ZÄÖÜ][a-zäöüß]+)?))"
)
_KIN_EN = (
    r"\bmy (?:\w+ )?(?:mum|mom|mother|dad|father|wife|husband|partner|girlfriend|boyfriend|brother|sister|son"
    r"|daughter|kid|child|friend|uncle|aunt|cousin|grandma|grandpa|boss|flatmate|roommate|parents|family|in-laws)"
)
_KIN_DE = (
    r"\bmein[er]? (?:\w+ )?(?:mutter|mama|vater|papa|frau|mann|partner(?:in)?|freund(?:in)?|bruder|schwester|sohn"
    r"|tochter|kind|onkel|tante|oma|opa|chef(?:in)?|mitbewohner(?:in)?|eltern|familie)"
)
THEY_EN = rf"(?:<@!?\d+>|@\w+|\b(?:he|she|we)|{_KIN_EN}|{_NAME})"
THEY_DE = rf"(?:<@!?\d+>|@\w+|\b(?:er|sie|wir)|{_KIN_DE}|{_NAME})"
NOT_A_GAME = r"(?! (?:by|in (?:gta|rdr\w*|skyrim|minecraft|monopoly|the game|rp|game|dem spiel|catan|prison arch)))"
NOT_A_MOOD = (  # what makes a diagnosis a mood: "I have anxiety about the release"
    r"(?!-| (?:about|from|over|because|just|when\w*|every|at|for|in|of|on|by|to|with|looking|reading|now|after"
    r"|trying|energy|vibes|wegen"
    r"|vor|von|bei|wenn|beim|nach|auf)\b)"
)

NOT_A_ZEAL = r"(?!-| (?:about|when\w*|with|wenn|bei|beim|mit)\b)"  # "religious about tests"

_MORE_EN = (
    r"(?: (?:an?|also|not|actually|openly|currently|really|very|proudly|still|both|now|probably|just|half|part"
    r"|practi[sc]ing"
    r"|devout|strict|registered|lifelong|type|\d|some|bad|severe|mild|chronic|stage|early|lung|breast|the|my|been"
    r"|years|months|old|and"
    r"|\d+\w*|two|three|four|five|six|several|many|convicted|recovering|terminal|former|proud|\w+ly|\w+-\w+|came"
    r"|so)){0,3} "
)
_MORE_DE = (
    r"(?: (?:auch|ja|halt|eigentlich|sehr|eine?[nrm]?|übrigens|seit|\w+ jahren|selbst|streng|überzeugte?r?|offen"
    r"|nicht"
    r"|in|der|die|schon|noch|leider|wieder|schwere?n?|starke|chronische|praktizierende?r?|gläubige?r?|dem|den"
    r"|jahren|immer"
    r"|bei|mit|und|gerade|mal|als|total|völlig|komplett|hoch|ganz|wegen \w+|letzte\w*|diese\w*|jahr|monat|damals"
    r"|früher|erzogen)){0,4} "
)
BE = (
    rf"(?:\bi'?m|\bi am|\bi was|\bi'?ve been|\bi identify as|\b(?:was|were) (?:raised|brought up)|\bgrew up"
    rf"|\bwe're|\b(?:came|coming|come) out (?:\w+ ){{0,4}}as"
    rf"|{THEY_EN}(?:'s| (?:is|was|are|were|has been))){_MORE_EN}<term>",
    rf"(?:\bich (?:bin|war)|\b(?:bin|war) ich|{THEY_DE} (?:ist|war|sind|waren)|\bich oute mich als){_MORE_DE}<term>",
)
HAVE = (
    rf"(?:\bi(?: (?:also|actually|still|do|always|both))? (?:have|had|got|have got|suffer from|suffered from"
    rf"|live with|struggled? with|developed|survived)|\bi'?ve (?:got|had|struggled with)"
    rf"|{THEY_EN} (?:has|had|suffers from|lives with|struggles with|died of|is dying of)"
    rf"|\bdiagnosed (?:me )?(?:with|as)){_MORE_EN}<term>",
    rf"(?:\bich (?:habe?|hatte|leide (?:an|unter))|\b(?:habe|hatte|leide) ich(?: (?:an|unter))?"
    rf"|{THEY_DE} (?:hat|hatte|leidet (?:an|unter)|starb an)|\bdiagnose|\bmit){_MORE_DE}<term>",
    r"\b(?:mir|ihm|ihr|<@!?\d+>) (?:wurden? )?(?:\w+ ){0,2}<term> (?:diagnost|festgestellt)",
)
MY = (r"(?<!\bis )(?<!\bas )\bmy (?:\w+ )?<term>", r"(?<!\bist )\bmein(?:e[rmn]?)? <term>")
ON = (
    r"\b(?:i|i'm|me|my|him|her|he|she|<@!?\d+>)\b[^.!?\n]{0,25}\b(?:on|take[sn]?|took|taking|prescribed|started"
    r"|stopped|need) "
    r"(?:\w+ ){0,2}<term>",
    r"\b(?:ich|mir|er|sie)\b[^.!?\n]{0,25}\b(?:nehme?|nimmt|nahm|brauche?|bekomme?|verschrieben"
    r"|spritze) (?:\w+ ){0,2}<term>",
    r"\bich\b[^.!?\n]{0,15}\b(?:auf|mit) <term>",
)
DID = (
    rf"(?:\bi|\bi'?ve|\bi'?m|\bwe|{THEY_EN})(?: (?:spent|did|served|had))?{_MORE_EN}<term>",
    rf"(?:\bich|\bwir|{THEY_DE})(?: (?:bin|habe?|hatte|war|wurde|hat|ist|sitzt|saß))?{_MORE_DE}<term>",
    rf"\b(?:habe?|bin|wurde|kann|gehe) ich{_MORE_DE}<term>",
)


def then(frames: Iterable[str], tail: str) -> tuple[str, ...]:
    """Frames that count only if `tail` follows."""
    return tuple(frame + tail for frame in frames)
