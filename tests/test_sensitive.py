"""The detector of sensitive statements: what it finds, what it lets pass, and that it stays cheap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.sensitive import Category, sensitive

FOUND: dict[Category, list[str]] = {
    Category.HEALTH: [
        "I was diagnosed with ADHD last spring",
        "I have type 1 diabetes, so I always carry sugar",
        "been on sertraline for two years. I'm on 50mg now and take sertraline at night",
        "I take Ritalin before exams",
        "my therapist says I should say no more often",
        "sorry for being quiet, I'm in rehab until June",
        "my mum has breast cancer",
        "Ann has epilepsy, please no strobe lights at the party",
        "<@123456789012345678> is pregnant!!",
        "I've struggled with depression since school",
        "I attempted suicide two years ago",
        "I'm an alcoholic, nine months sober",
        "He suffers from schizophrenia",
        "ich habe seit Jahren Depressionen",
        "Ich leide unter Migräne und war deshalb nicht da",
        "meine Mutter hat Krebs",
        "ich nehme Antidepressiva, da darf ich nichts trinken",
        "Ich bin schwanger 🎉",
        "meine Therapeutin hat gesagt, ich soll Pausen machen",
        "bei mir wurde ADHS diagnostiziert",
    ],
    Category.SEXUALITY: [
        "I'm gay and so what",
        "I came out to my parents as bisexual yesterday",
        "I'm a trans woman, she/her please",
        "as some of you know I'm non-binary",
        "Ben is gay, he told me last week",
        "started HRT? I'm on estrogen since March",
        "ich bin schwul",
        "Ich bin übrigens lesbisch",
        "mein Bruder ist schwul",
        "I identify as asexual",
    ],
    Category.FAITH: [
        "I'm Muslim, so no pork for me",
        "I'm a practicing Catholic",
        "as a Christian I see that differently",
        "I converted to Judaism in 2019",
        "we fast during Ramadan, so let's meet after sunset",
        "ich bin katholisch erzogen",
        "Ich glaube an Gott",
        "ich bin aus der Kirche ausgetreten",
        "I'm an atheist",
    ],
    Category.POLITICS: [
        "I voted for the Greens",
        "I'm a member of the Labour Party",
        "I'm voting for Trump again",
        "I'm a socialist, proudly",
        "ich wähle die Grünen",
        "Ich bin in der SPD",
        "ich bin Gewerkschaftsmitglied",
        "I joined the trade union at work",
        "Ich habe die AfD gewählt",
    ],
    Category.ORIGIN: [
        "I'm a refugee from Syria",
        "I'm undocumented, so I cannot fly",
        "my visa expired and I don't know what to do",
        "as you know I'm a black woman in tech",
        "ich bin als Flüchtling nach Deutschland gekommen",
        "mein Asylantrag wurde abgelehnt",
        "I overstayed my visa",
    ],
    Category.CRIME: [
        "I spent two years in prison",
        "I got arrested last night",
        "I have a criminal record, so no security jobs for me",
        "my brother is on parole",
        "ich bin vorbestraft",
        "ich saß im Gefängnis",
        "I was convicted of fraud",
    ],
    Category.IDENTITY: [
        "my number is +49 170 1234567",
        "call me at 555-123-4567 tonight",
        "my address is 12 Elm Street, Springfield",
        "I live at 221b Baker Street",
        "my SSN is 078-05-1120",
        "meine Handynummer ist 0170 1234567",
        "ich wohne in der Hauptstraße 5",
        "my passport number is C01X00T47, wait: 123456789",
    ],
    Category.MONEY: [
        "I'm 20k in debt and it keeps growing",
        "I can't pay my rent this month",
        "we got evicted last week",
        "I filed for bankruptcy in March",
        "ich kann meine Miete nicht bezahlen",
        "ich habe 20.000 Euro Schulden",
        "ich bin in der Privatinsolvenz",
        "I still have 40k in student loans",
    ],
}

HARMLESS = [
    "this build gives me depression",
    "I'm religious about tests",
    "a healthy server has green lights",
    "I have anxiety about the release",
    "I have PTSD from that merge",
    "this codebase has cancer",
    "I'm so OCD about my brackets",
    "I'm addicted to this game",
    "I'm allergic to Java",
    "the cat is diabetic-shaped, look at it",
    "take your time, no need to stress",
    "I'm deaf to your complaints about tabs",
    "my account is disabled",
    "the doctor episode was the best of the season",
    "that boss fight is pure cancer",
    "I'm pregnant with ideas",
    "I'm on Debian 13",
    "health checks pass, the pods are fine",
    "I had a stroke of luck with that drop",
    "he prescribed more unit tests",
    "I'm gay for this synth line",
    "the straight line is two pixels off",
    "trans-Atlantic latency is 70 ms",
    "the gay bar scene in that film is great",
    "use a queer theory reader as the source for the essay",
    "is the Pope Catholic?",
    "I'm Christian, nice to meet you all",
    "I'm a Christian Bale fan",
    "we worship at the altar of strict typing",
    "the church in Skyrim bugs out for me",
    "I pray CI passes",
    "I converted to Rust",
    "jesus, that was close",
    "holy moly, what a play",
    "the Ramadan event in the game starts on Monday",
    "I voted for tabs",
    "I voted for option 2 in the poll",
    "we should vote on the logo",
    "I'm in the party, who else is raiding?",
    "I joined the union types discussion",
    "that is a union of two sets",
    "I'm liberal with commas",
    "the left panel is broken, the right one is fine",
    "Trump card played, I lost",
    "the green party hat costs 5 gold",
    "I'm black in this game, you start",
    "the immigrant class has the best stats",
    "visa or mastercard, both work in the shop",
    "the refugee quest is broken",
    "I got arrested in GTA again",
    "I went to jail in Monopoly",
    "the process was killed, no arrest was made",
    "guilty of not writing tests, sorry",
    "my character has a criminal record",
    "prison architect is on sale",
    "my phone is 3 years old",
    "call me maybe",
    "the address is 0x7ffee3a2",
    "I live in vim",
    "message 1234567890123456789 has the log",
    "the release is on 2026-05-01 at 12:30",
    "my number one choice is blue",
    "port 8080 and 5432 are open, call the API",
    "we have a lot of technical debt",
    "I'm broke after the Steam sale",
    "the debt ceiling of the town in Anno",
    "can't afford that sword yet",
    "I declared bankruptcy in Monopoly",
    "the bank closes at 4",
    "der Build macht mich depressiv",
    "ich bin süchtig nach dem Spiel",
    "ich habe Angst vor dem Release",
    "der Papst ist katholisch",
    "die Kirche im Spiel ist verbuggt",
    "ich bin für die grüne Farbe im Logo",
    "ich wähle Option 2",
    "die Wahl des Editors ist Privatsache",
    "die Partei im Spiel hat drei Heiler",
    "ich wohne seit 5 Jahren hier",
    "ich wohne in Berlin",
    "ich nehme den Bus um 8",
    "die Adresse ist falsch, nimm die API",
    "im Gefängnis-Level hänge ich fest",
    "meine Schuld, ich hab's kaputt gemacht",
    "wir haben technische Schulden",
    "mein Handy ist leer",
    "ruf mich später an",
    "krank, was die Grafik kann",
    "who wants to play at 8?",
    "lol same",
    "I am at home with a coffee and a book",
    "my cat ate my homework",
    "Ben is late, as always",
    "Ann has a new keyboard",
    "My mum is visiting on Friday",
    "I take the train at nine",
    "<@123456789012345678> has the key to the room",
    "she is the best drummer we know",
]


# Written after the table: it found 43 of them before rules were widened by them.
UNSEEN: dict[Category, list[str]] = {
    Category.HEALTH: [
        "I've got Crohn's disease so I know every bathroom in town",
        "my psychiatrist moved, I need to find another one",
        "they put me on Lexapro in January",
        "I was hospitalized for two weeks with bipolar disorder",
        "my dad has Alzheimer's and does not know me any more",
        "I had a miscarriage in spring",
        "I'm autistic, please be direct with me",
        "Dora was diagnosed with multiple sclerosis",
        "Ich habe Epilepsie",
        "mein Vater ist Alkoholiker",
        "Ich hatte letztes Jahr einen Burnout",
        "seit der Chemo bin ich ständig müde",
        "I can't sleep since my chemo started",
        "I hear voices again",
    ],
    Category.SEXUALITY: [
        "I'm bi, my wife knows",
        "I'm not straight, I'm lesbian",
        "my son came out as trans last year",
        "I've been queer all my life",
        "ich bin trans",
        "ich bin bisexuell und verheiratet",
        "my sister is a lesbian",
    ],
    Category.FAITH: [
        "I was raised Catholic but I'm agnostic now",
        "I'm Jewish on my mother's side",
        "my family is Hindu",
        "ich bin Muslimin",
        "Wir sind Zeugen Jehovas",
        "I go to church every Sunday",
        "meine Mutter ist evangelisch",
    ],
    Category.POLITICS: [
        "I've always voted for the Tories",
        "I'm a card-carrying communist",
        "I canvassed for Sanders",
        "ich bin Mitglied der CDU",
        "Ich bin bei der IG Metall",
        "my union rep told me to strike",
    ],
    Category.ORIGIN: [
        "I'm an asylum seeker, I may not work yet",
        "my parents came here illegally",
        "I'm Latina and nobody believes it",
        "ich bin Kurde",
        "mein Aufenthaltstitel läuft ab",
        "my asylum case is in court on Monday",
    ],
    Category.CRIME: [
        "I did three years in jail for robbery",
        "I'm on probation until August",
        "I was charged with assault",
        "ich wurde wegen Betrugs verurteilt",
        "my uncle is in prison",
        "I have a felony on my record",
    ],
    Category.IDENTITY: [
        "text me at +1 415 555 2671",
        "my phone number: 020 7946 0958",
        "I just moved to 48 Park Avenue, come by",
        "meine Adresse ist Lindenweg 12",
        "my IBAN is DE89 3704 0044 0532 0130 00",
        "ruf mich an unter 0151 23456789",
    ],
    Category.MONEY: [
        "I'm bankrupt, the shop is gone",
        "I owe the bank 12000 euros",
        "we can't afford groceries until payday",
        "ich bin total verschuldet",
        "I lost all my savings in crypto",
        "I'm on food stamps",
    ],
}
# Before that, "my therapist is a rubber duck" was the one taken for a statement.
UNSEEN_HARMLESS = [
    "this linter is autistic about spaces",
    "my therapist is a rubber duck",
    "I have a fever dream of a codebase",
    "the depression in the terrain mesh is at z=4",
    "our cluster has high blood pressure lol",
    "I'm blind, the button was right there",
    "I get a heart attack every time CI goes red",
    "doctor who marathon tonight?",
    "I take it you have read the docs",
    "she has the patience of a saint",
    "he is the king of refactoring",
    "Tim is on vacation",
    "I'm a tabs person",
    "I came out of the meeting with a headache",
    "the queer eye episode about the barn is my favourite",
    "bi-directional sync is live",
    "I'm straight up confused",
    "a god class if I ever saw one",
    "I'm a vim evangelist",
    "oh my god, it compiles",
    "I believe in tests",
    "I go to the gym at six",
    "the church-turing thesis",
    "I'm in the left lane",
    "my vote goes to the blue one",
    "we're a small party of four, need a tank",
    "I'm voting for pizza",
    "union all is faster than union",
    "a republic needs a king in Crusader Kings",
    "asylum in the arkham games is scary",
    "I migrated from MySQL, call me an immigrant",
    "a black cat crossed the stream",
    "the prisoner's dilemma on Wikipedia",
    "I stole the idea from you",
    "arrest the main thread and look at its stack",
    "I charged my laptop",
    "the sentence is too long",
    "my address bar is gone",
    "number 4 on the list is mine",
    "see issue 1234567 for details",
    "the call at 10:30 is cancelled",
    "I live for patch days",
    "I'm poor at chess",
    "who owes whom a beer?",
    "I can't afford to lose this match",
    "the loan word comes from French",
    "rent was free in that city builder",
    "ich habe ein Problem mit dem Build",
    "ich bin müde",
    "das ist ja krank gut",
    "ich habe Kopfweh von dem Theme",
    "mein Freund ist Entwickler",
    "der Arzt in der Serie ist witzig",
    "ich glaube, das geht",
    "ich bin Christian, hallo zusammen",
    "ich gehe in die Mensa",
    "meine Partei im Rollenspiel sucht einen Heiler",
    "ich bin links unten auf der Karte",
    "die Nummer 5 lebt",
    "ich wohne im dritten Stock",
    "das kostet 20 Euro",
    "er ist im Urlaub",
    "sie hat recht",
    "Paula hat den Schlüssel",
]


# Written last: it found 30 of these 39 before rules were widened by them.
LAST: dict[Category, list[str]] = {
    Category.HEALTH: [
        "I have asthma, can we skip the smoke machine",
        "my girlfriend has endometriosis",
        "I'm on Prozac again",
        "Paul has Parkinson's",
        "I'm dyslexic, sorry for the typos",
        "ich nehme seit Mai Sertralin",
        "mein Psychiater ist im Urlaub",
        "ich habe eine Essstörung",
        "I burned out last year and saw a doctor about it",
    ],
    Category.SEXUALITY: [
        "I'm openly gay at work",
        "I'm asexual",
        "my daughter is transgender",
        "ich bin nicht-binär",
        "I only date men",
    ],
    Category.FAITH: [
        "I'm Buddhist",
        "I left the church in 2015",
        "ich bin evangelisch getauft",
        "Lena is Jewish",
        "my faith keeps me going",
    ],
    Category.POLITICS: [
        "I vote for the SPD",
        "I'm a registered Democrat",
        "ich habe die Linke gewählt",
        "I joined the Green Party",
    ],
    Category.ORIGIN: [
        "we're refugees",
        "I'm Romani",
        "ich habe Asyl beantragt",
        "my green card application is pending",
    ],
    Category.CRIME: [
        "I was sentenced to six months",
        "I got a DUI in 2020",
        "mein Bruder sitzt im Knast",
        "I'm an ex-con",
    ],
    Category.IDENTITY: [
        "my mobile is 07700 900123",
        "my home address is 5 Oak Lane",
        "ich wohne Am Markt 3",
        "here is my IBAN: GB33BUKB20201555555555",
    ],
    Category.MONEY: [
        "I have 5k of credit card debt",
        "wir können die Miete nicht zahlen",
        "I'm homeless at the moment",
        "my house was foreclosed",
    ],
}


# What is told in other words is not found.
MISSED = [
    "I was hospitalized for two weeks with bipolar disorder",
    "seit der Chemo bin ich ständig müde",
    "I hear voices again",
    "my parents came here illegally",
    "I burned out last year and saw a doctor about it",
    "I only date men",
    "my faith keeps me going",
]


def test_sensitive_statements_are_found() -> None:
    """Of the lines that tell of something sensitive nearly all are found, under their category."""
    told = [(line, category) for lines in (FOUND, UNSEEN, LAST) for category in lines for line in lines[category]]
    assert [line for line, category in told if sensitive(line) is not category] == MISSED
    assert (len(told), len(MISSED)) == (175, 7)


def test_what_only_looks_so_passes() -> None:
    """Metaphors, games, software, names and everyday chat are never taken for statements about people."""
    harmless = HARMLESS + UNSEEN_HARMLESS
    assert {line: found for line in harmless if (found := sensitive(line))} == {}
    assert len(harmless) == 162


@pytest.mark.parametrize(
    ("line", "name", "category"),
    [
        ("ada has diabetes", "ada", Category.HEALTH),
        ("ada has diabetes", "", None),
        ("the bot ada has a healthy server", "ada", None),
        ("Grüße: ada ist schwul", "ada", Category.SEXUALITY),
    ],
)
def test_a_name_that_is_given_is_a_person(line: str, name: str, category: Category | None) -> None:
    """Nicknames look like any word; a fact knows whom it is about."""
    assert sensitive(line, name) is category


@pytest.mark.parametrize(
    "line", ["I\u2019m gay", "I'm **gay**", "I'M GAY", "so\n\nI am gay.\nanyway", "I'm ||gay||", "I'm _gay_"]
)
def test_how_it_is_written_does_not_hide_it(line: str) -> None:
    """Curly apostrophes, markdown, capitals and line breaks change nothing."""
    assert sensitive(line) is Category.SEXUALITY


@given(st.text(max_size=300))
def test_any_text_is_taken(text: str) -> None:
    """No text breaks it."""
    assert sensitive(text) in {None, *Category}


@pytest.mark.parametrize("piece", ["I'm very ", "my number is 1 ", "ich bin auch ", "@a", "Ann ", "I have a really "])
def test_no_text_makes_it_slow(piece: str) -> None:
    """The longest message Discord takes, made of what frames begin with, is looked through in no time."""
    assert sensitive((piece * 4000)[:3980] + " gay hiv number debt") in {None, *Category}
