"""The rules: what is sensitive, by the frames it stands in and its terms, in which `*` is any ending."""

from collections.abc import Sequence
from enum import StrEnum

from bot.sensitive.frames import BE, DID, HAVE, MY, NOT_A_GAME, NOT_A_MOOD, NOT_A_ZEAL, ON, then


class Category(StrEnum):
    """What a statement is sensitive for."""

    HEALTH = "health"
    SEXUALITY = "sexuality"
    FAITH = "faith"
    POLITICS = "politics"
    ORIGIN = "origin"
    CRIME = "crime"
    IDENTITY = "identity"
    MONEY = "money"


_PARTIES = (
    "labour | labour party | tories | tory | lib dems | liberal democrats | green party | the greens | democrats"
    " | democratic party | republicans | republican party | trump | biden | harris | obama | clinton | sanders"
    " | brexit | afd | spd | cdu | csu | fdp | bsw | grüne* | die linke | linkspartei | npd | le pen | macron"
    " | reform uk"
)
_UNIONS = "trade union | labor union | labour union | workers union | gewerkschaft* | ig metall | verdi | ver.di"

TABLE: Sequence[tuple[Category, tuple[str, ...], str]] = (
    (
        Category.HEALTH,
        (*HAVE, *MY),
        "diabetes | epilepsy | epilepsie | hiv | hepatitis | cancer | leukemia | leukaemia | leukämie | lymphoma"
        " | tumor | tumour | parkinson* | alzheimer* | multiple sclerosis | multiple sklerose | crohn* | colitis"
        " | lupus | asthma | arthritis | arthrose | fibromyalg* | endometrio* | pcos | migraine* | migräne"
        " | schizophren* | bipolar disorder | bipolare störung | borderline | bpd | anorexia | magersucht | bulimi*"
        " | eating disorder* | essstörung* | tourette* | anxiety disorder | angststörung* | panic disorder"
        " | panic attacks | panikattacken | psychosis | psychose* | psychosen | narcolepsy | long covid | celiac"
        " | coeliac | zöliakie | hypertension | high blood pressure | bluthochdruck | heart condition | heart disease"
        " | herpes | chlamydi* | miscarriage | fehlgeburt | abortion | abtreibung | chemotherapy | chemo"
        " | chemotherapie | suicidal thoughts | suizidgedanken | depressionen | krebs | brustkrebs | schlaganfall"
        " | demenz | rheuma | gender dysphoria | autismus | kidney failure | dyslexia | legasthenie",
    ),
    (
        Category.HEALTH,
        then(HAVE, NOT_A_MOOD),
        "adhd | adhs | autism | asperger* | ocd | ptsd | ptbs | depression | anxiety | burnout | stroke | heart attack",
    ),
    (
        Category.HEALTH,
        MY,
        "adhd meds | adhd diagnosis | depression | adhs | autism diagnosis | anxiety meds | medication",
    ),
    (
        Category.HEALTH,
        then(MY, r"(?! (?:is|ist) (?:an?|my|the|eine?|mein)\b)"),
        "therapist | therapeut* | psychiatr* | psychiater* | psycholog* | oncologist | antidepress* | diagnosis"
        " | rehab | suicide attempt",
    ),
    (
        Category.HEALTH,
        then(BE, NOT_A_MOOD),
        "diabetic | diabetiker* | autistic | autist* | bipolar | schizophren* | epileptic | epileptiker*"
        " | hiv positive | hiv-positive | hiv positiv | hiv-positiv | anorexic | bulimic | magersüchtig | suicidal"
        " | suizidal | alcoholic | alkoholiker* | pregnant | schwanger | deaf | gehörlos | dyslexic | neurodivergent"
        " | immunocompromised | clinically depressed | terminally ill | infertile | unfruchtbar | addict"
        " | drug addict | drogenabhängig | schwerbehindert | in therapy | in therapie | in rehab | krebskrank"
        " | depressiv | an depressionen erkrankt | an krebs erkrankt",
    ),
    (
        Category.HEALTH,
        ON,
        "sertralin* | zoloft | prozac | fluoxetin* | citalopram | escitalopram | lexapro | venlafaxin* | effexor"
        " | wellbutrin | bupropion | ritalin | adderall | vyvanse | elvanse | methylphenidat* | concerta | insulin"
        " | metformin | antidepress* | ssri | ssris | xanax | valium | methadon* | suboxone | antipsychotic*"
        " | neuroleptik* | quetiapin* | seroquel | lamotrigin* | beta blockers | blood thinners | opioids",
    ),
    (
        Category.HEALTH,
        DID,
        "attempted suicide | hospitalized | hospitalised | hospitalised for | tried to kill myself | self-harm"
        " | self harm | overdosed | miscarried | mich ritze | mich umzubringen | ritze mich | was diagnosed with"
        " | got diagnosed with | been diagnosed with",
    ),
    (
        Category.SEXUALITY,
        then(BE, r"(?!-| (?:for|about|rights|bar|club)\b)"),
        "gay | lesbian | lesbe | lesbisch | schwul | bisexual | bisexuell | bi | pansexual | pansexuell | asexual"
        " | asexuell | queer | homosexual | homosexuell | heterosexual | hetero | trans | transgender | transsexual"
        " | transsexuell | non-binary | nonbinary | non binary | nichtbinär | nicht-binär | enby | genderfluid"
        " | genderqueer | intersex | agender | aromantic | polyamorous | polyamor | virgin | trans woman | trans man"
        " | trans frau | trans mann | transfrau | transmann",
    ),
    (
        Category.SEXUALITY,
        (*ON, *HAVE, *MY),
        "hrt | estrogen | testosterone | puberty blockers | top surgery | outing",
    ),
    (
        Category.FAITH,
        then((*BE, r"\bas an? <term>(?=,? (?:i|my|we)\b)", r"\bals <term>(?= \w+ (?:ich|wir)\b)"), NOT_A_ZEAL),
        "muslim | muslima | muslimin | catholic | katholisch | katholik* | jewish | a jew | jüdisch | jude | jüdin"
        " | hindu | buddhist* | sikh | atheist* | agnostic | agnostiker* | protestant* | evangelisch | lutheran"
        " | mormon | jehovah* | zeuge jehovas | zeugen jehovas | christ | christin | religious | religiös | gläubig"
        " | konfessionslos | baptist | quaker | pagan",
    ),
    (
        Category.FAITH,
        then((r"\bi(?:'?m| am| was) a <term>", r"\bas a <term>(?=,? (?:i|my|we)\b)"), r"(?! (?-i:[A-Z][a-z]))"),
        "christian | devout christian | practicing christian",
    ),
    (
        Category.FAITH,
        DID,
        "converted to islam | converted to judaism | converted to christianity | converted to catholicism"
        " | converted to buddhism | believe in god | believe in jesus | believe in allah | go to church"
        " | went to church | go to mosque | pray five times | pray to god | left the church | glaube an gott"
        " | aus der kirche ausgetreten | zum islam konvertiert | bete jeden tag | gehe in die kirche"
        " | gehe in die moschee | fast during ramadan | faste im ramadan | observe ramadan | was baptised"
        " | was baptized",
    ),
    (
        Category.POLITICS,
        then(BE, NOT_A_MOOD),
        "republican | democrat | socialist | communist | marxist | anarchist | fascist | libertarian | tory | leftist"
        " | trump supporter | nationalist | monarchist | kommunist* | sozialist* | sozialdemokrat* | anarchist*"
        " | politically left | politically right | union member | shop steward | gewerkschafter*"
        " | gewerkschaftsmitglied | betriebsrat | right-wing | left-wing | labour voter | tory voter | wechselwähler",
    ),
    (
        Category.POLITICS,
        (
            r"\b(?:i|i'?m|i'?ll|i'?ve|we|<@!?\d+>) (?:\w+ ){0,2}(?:vot(?:e|ed|ing)|campaign\w*|canvass\w*"
            r"|donated?) (?:for|to|with) "
            r"(?:the )?<term>\b",
            r"\b(?:joined|join|member of|membership in|left) (?:the |my |a |our )?(?:local )?<term>(?! types)\b",
            r"\bich (?:habe )?(?:\w+ ){0,3}<term> (?:ge)?wähl",
            r"\b(?:ich wählt?e?|wählt?e? ich) (?:\w+ ){0,2}<term>",
            r"(?:\b(?:ich bin|bin ich|war ich) (?:\w+ ){0,2}(?:bei|in)|\bmitglied (?:bei|in"
            r"|von)?) ?(?:de[rn] )?<term>",
        ),
        f"{_PARTIES} | {_UNIONS}",
    ),
    (Category.POLITICS, MY, "union rep | union dues | trade union | gewerkschaft | parteibuch | party membership"),
    (
        Category.ORIGIN,
        then(BE, r"(?!-| (?:class|quest|character|build)\b)"),
        "undocumented | refugee | asylum seeker | stateless | staatenlos | flüchtling | asylbewerber* | geflüchtete*"
        " | immigrant | person of color | person of colour | mixed race | biracial | latina | latino | latinx"
        " | hispanic | native american | african american | asian american | romani | black man | black woman"
        " | black guy | black person | here illegally | illegal hier | schwarzer deutscher | sinti | jesidin | jeside"
        " | kurde | kurdin | geduldet | african descent",
    ),
    (
        Category.ORIGIN,
        (*MY, *DID),
        "visa expired | visa has expired | visa ran out | visa was denied | visa got denied | asylum claim"
        " | asylum application | asylum case | green card interview | green card application | deportation"
        " | overstayed my visa | seeking asylum | asylantrag | aufenthaltstitel | aufenthaltserlaubnis | duldung"
        " | abschiebung | got deported | was deported | abgeschoben | asyl beantragt",
    ),
    (
        Category.CRIME,
        then((*DID, *HAVE), NOT_A_GAME),
        "was arrested | got arrested | been arrested | was convicted | got convicted | been convicted | in prison"
        " | in jail | been to prison | been to jail | went to prison | went to jail | criminal record | felony"
        " | felony conviction | dui | vorstrafe* | was sentenced to | got sentenced to | im gefängnis | im knast"
        " | verurteilt | verhaftet | festgenommen | was charged with | got charged with | shoplifted"
        " | restraining order",
    ),
    (
        Category.CRIME,
        then(BE, NOT_A_GAME),
        "felon | ex-con | on probation | on parole | vorbestraft | auf bewährung | in prison | in jail | sex offender",
    ),
    (Category.CRIME, MY, "parole officer | probation officer | bewährungshelfer* | criminal record | vorstrafe*"),
    (
        Category.IDENTITY,
        (
            r"\b(?:my|his|her|<@!?\d+>'?s?|\w+'s|meine?|seine?|ihre?) (?:\w+ )?<term>(?: (?:number|nummer|is|ist"
            r"|lautet|jetzt|now)|:|=)* ?<number>",
        ),
        "phone | mobile | cell | whatsapp | telephone | number | nummer | handynummer | handy | telefonnummer"
        " | telefon | mobilnummer | ssn | social security | passport | national insurance | tax id | id number | iban"
        " | licence | license | ausweisnummer | reisepassnummer | steuernummer | steuer-id"
        " | sozialversicherungsnummer | krankenkassennummer | insurance",
    ),
    (
        Category.IDENTITY,
        (r"\b<term> (?:me |mich )?(?:an )?(?:at|on|under|unter) <number>",),
        "call | text | reach | ring | ruf | erreichst | anrufen | erreichbar",
    ),
    (
        Category.IDENTITY,
        (
            r"\b(?:my (?:home )?address(?: is)?:?|i(?:'m| am)? (?:just )?(?:live|living|moved)(?: now)?(?: (?:at"
            r"|on|in|to))*"
            r"|<@!?\d+> lives (?:at|on)) (?:[\w.]+ ){0,2}\d+\w?,? (?:\w+ ){1,3}<term>\b",
        ),
        "street | st | road | rd | avenue | ave | lane | drive | court | way | boulevard | close | square | place"
        " | terrace",
    ),
    (
        Category.IDENTITY,
        (
            r"(?:\bmeine (?:\w+)?<term>(?: ist| lautet)?:?|\b(?:ich )?<term>(?: ich)?(?: jetzt| seit \w+)?(?: in"
            r"| am)?(?: der)?)"
            r" [\wäöüß.-]+(?: \w+)? \d+\w?\b(?! (?:jahre?|tage?|monate?|wochen?|stunden?|leute|personen|minuten?"
            r"|km|uhr))",
        ),
        "adresse | anschrift | wohne | privatadresse",
    ),
    (
        Category.MONEY,
        then((*BE, *DID), NOT_A_GAME),
        "bankrupt | in debt | insolvent | homeless | obdachlos | behind on rent | behind on my rent | evicted"
        " | behind on my mortgage | on welfare | on benefits | on food stamps | filed for bankruptcy | was evicted"
        " | got evicted | declared bankruptcy | privatinsolvenz | lost my savings | lost all my savings"
        " | überschuldet | bekomme bürgergeld | beziehe bürgergeld | bürgergeld | hartz iv | verschuldet | pay rent",
    ),
    (
        Category.MONEY,
        (
            r"\b(?:can'?t|cannot|couldn'?t) (?:even )?(?:afford|pay|make) (?:\w+ ){0,2}<term>",
            r"\b(?:ich|wir) (?:kann|konnten?|können) (?:\w+ ){0,4}<term>(?: \w+)? (?:nicht|bezahlen|zahlen|leisten)",
        ),
        "rent | mortgage | bills | groceries | food | miete | kredit | rechnungen | stromrechnung | loan",
    ),
    (
        Category.MONEY,
        (
            r"\b(?:i|i've|i'm|we|ich|my|meine?|<@!?\d+>)\b(?: \w+){0,4} ?[$€£]?\d[\d.,k]* ?(?:k|€|euro|dollars"
            r"|pounds|grand)?(?: (?:in|an|of|on))?(?: my| der| the)? <term>",
        ),
        "debt | student loans | student debt | credit card debt | credit cards | schulden | miese* | gambling debts"
        " | bank",
    ),
    (
        Category.MONEY,
        (r"\b(?:i|we|ich|wir) (?:owe|schulden?) (?:my |the |de[mr] |meine[mr] )?<term> [$€£]?\d{2}",),
        "bank | landlord | tax office | irs | parents | finanzamt | vermieter*",
    ),
    (
        Category.MONEY,
        MY,
        "debts | schulden | gambling debts | privatinsolvenz | house was foreclosed | credit card debt | payday loan",
    ),
)
