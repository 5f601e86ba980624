"""The chaos benchmark: a short run of it, and that each of its counters can rise."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from _chaos_host import fault_of
from _chaos_script import FAULTS, Act, Do, Kill, Outage, Script, Stage, token
from _chaos_services import DIMENSIONS
from _chaos_stages import struck
from _chaos_stores import INDEX, FactRow, Line, Row, Stores, terms, windows
from _chaos_verdict import judge, settled, tells_of
from _chaos_wire import Fault, Wire
from aiohttp import web
from records import GUILD, MINUTE, said, stated

from bot.memory.edge import EdgeIndex
from bot.memory.index import IndexPoint, Key, SparseVector
from bot.model import message_memory_id
from bot.sandbox.discord import World
from bot.sandbox.listener import Listener
from bot.sandbox.openai import embed
from bot.storage.database import Database
from bot.storage.facts import FactStore
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue

BENCH = Path(__file__).parents[1] / "benchmarks" / "chaos.py"
PLACES = {"tea/leaves": None, "tea/forum": None, "tea/leaves/secret": "tea/leaves"}


async def test_nothing_is_lost_doubled_or_leaked_in_ten_rounds() -> None:
    """Ten rounds of kills and outages end well, and the figures say what happened."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, BENCH, "--rounds", "10", "--seed", "7", "--json", "-"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, said = await asyncio.wait_for(process.communicate(), 150)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()

    assert process.returncode == 0, said.decode()
    figures = json.loads(out)
    judged = {name: figures[name] for name in ("lost", "duplicates", "leaked", "exceptions")}
    assert judged == {"lost": 0, "duplicates": 0, "leaked": 0, "exceptions": 0}, said.decode()
    assert (figures["rounds"], figures["seed"]) == (10, 7)
    assert figures["kills"] + sum(figures["outages_by_kind"].values()) >= 10
    assert figures["kills_by_stage"].keys() == {stage.value for stage in Stage}
    assert sum(figures["kills_by_stage"].values()) > 0
    assert min(figures[name] for name in ("sent", "deleted", "edited")) > 0


def test_the_seed_decides_the_whole_script() -> None:
    """Two scripts of one seed are the same to the last pause, and those of two seeds are not."""
    one, same, other = (Script(seed, PLACES, 3) for seed in (1, 1, 2))
    rounds = [one.round() for _ in range(100)]

    assert rounds == [same.round() for _ in range(100)]
    assert rounds != [other.round() for _ in range(100)]


def test_a_long_script_has_every_stage_and_every_outage() -> None:
    """Stages and faults take turns, so that none is left out."""
    script = Script(1, PLACES, 3)
    events = [script.round().event for _ in range(60)]

    assert {event.stage for event in events if isinstance(event, Kill)} == {*Stage, None}
    outages = [event for event in events if isinstance(event, Outage)]
    outages += [event.away for event in events if isinstance(event, Kill) and event.away]
    assert {(one.service, one.fault) for one in outages} == {(name, one) for name, all in FAULTS.items() for one in all}


def test_no_place_loses_so_much_that_an_admin_would_be_asked() -> None:
    """At no time is more than a fifth of what was said in a place deleted, unless it is a single message."""
    script = Script(3, PLACES, 3)
    said: dict[str, int] = {}
    deleted: dict[str, int] = {}
    for act in acts(script, rounds=200):
        if act.do in (Do.SAY, Do.OPEN):
            said[act.place] = said.get(act.place, 0) + 1
        if act.do is Do.DELETE:
            deleted[act.place] = deleted.get(act.place, 0) + len(act.numbers)
            assert deleted[act.place] == 1 or deleted[act.place] <= 0.2 * said[act.place]
    assert sum(deleted.values()) > 20


def acts(script: Script, rounds: int) -> list[Act]:
    """Everything people do, in order."""
    done = list(script.everywhere())
    for _ in range(rounds):
        now = script.round()
        done += [*now.talk, *(now.event.unheard if isinstance(now.event, Kill) else ())]
    return done


LIVE = [Line(100 + n, 1, 2, 7, "Ann", f"I keep the lamp {token(n)}") for n in range(4)]
GONE = token(9)


def test_a_store_that_holds_just_what_was_said_is_settled_and_has_no_faults() -> None:
    """The judge finds nothing where nothing is wrong."""
    verdict = judge(LIVE, {GONE}, stores(LIVE))

    assert settled(LIVE, stores(LIVE))
    assert not (verdict.lost or verdict.duplicates or verdict.leaked)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("row", "not held"),
        ("waiting", "not extracted: waiting"),
        ("pending", "not indexed: pending"),
        ("words", "held in other words"),
        ("fact", "no fact drawn from it"),
        ("point", "no point in the index"),
        ("window", "wrong keywords in the index"),
        ("vector", "wrong vectors in the index"),
        ("fact's point", "its fact is not in the index"),
    ],
)
def test_a_message_that_is_not_held_extracted_and_indexed_counts_as_lost(wrong: str, why: str) -> None:
    """Whatever a message lacks, it is lost, and once."""
    held = stores(LIVE)
    row, point = held.rows[101], held.points[LIVE[1].point_id]
    match wrong:
        case "row":
            del held.rows[101]
        case "waiting":
            held.rows[101] = replace(row, extraction="waiting")
        case "pending":
            held.rows[101] = replace(row, indexing="pending")
        case "words":
            held.rows[101] = replace(row, line=replace(row.line, text=f"I sell the lamp {token(1)}"))
        case "fact":
            del held.facts["fact-1"]
        case "point":
            del held.points[point.id]
        case "window":
            held.points[point.id] = replace(point, sparse={**point.sparse, Key.BM25_WINDOW: sparse("Ann: alone")})
        case "vector":
            held.points[point.id] = replace(point, dense={Key.DENSE: point.dense[Key.DENSE]})
        case "fact's point":
            del held.points["fact-1"]

    assert judge(LIVE, set(), held).lost == {"101": why}


def test_a_fact_in_two_wordings_is_a_duplicate_wherever_the_second_one_is() -> None:
    """A second fact drawn from a message counts in the database and in the index, and once if it is in both."""
    held = stores(LIVE)
    held.facts["again"] = FactRow("again", f"Ann has {token(2)}", "complete", (102,))
    held.points["again"] = point("again", "fact", f"Ann has {token(2)}", 102, "Ann has")
    held.points["stray"] = point("stray", "fact", f"Ann likes {token(3)}", 103, "Ann likes")

    assert judge(LIVE, set(), held).duplicates.keys() == {"again", "stray"}


def test_words_taken_back_are_found_wherever_they_are() -> None:
    """Rows, facts, payloads, keys and the keyword search's words leak what was edited away or deleted."""
    held = stores(LIVE)
    held.rows[109] = Row(Line(109, 1, 2, 7, "Ann", f"I keep the lamp {GONE}"), "done", "complete")
    held.facts["old"] = FactRow("old", "Ann keeps a secret", "complete", (109,))
    held.points["payload"] = point("payload", "fact", f"Ann keeps {GONE}", 103, "Ann keeps")
    key = held.points[LIVE[0].point_id]
    held.points[key.id] = replace(key, sparse={**key.sparse, Key.BM25_WINDOW: sparse(f"Ann: the lamp {GONE}")})
    held.words.add(GONE)

    assert judge(LIVE, {GONE}, held).leaked.keys() == {"109", "old", "payload", key.id, GONE}


def test_a_message_is_recalled_by_a_card_that_links_to_it_and_tells_of_it() -> None:
    """It may be a fact's card, with the link among the sources or the evidence; another revision does not count."""
    world = World()
    owner = world.add_user("owner")
    place = world.add_channel(world.add_guild(name="tea", owner=owner), "general")
    message = world.add_message(place, owner, f"I keep the lamp {token(1, 1)}")
    link = f"[1](https://discord.com/channels/{place.guild.id}/{place.id}/{message.id})"
    also = [{"name": "Also said", "value": link}]

    assert tells_of({"description": f"Ann keeps {token(1, 1)}\n\nmessages {link}"}, message)
    assert tells_of({"description": f"Ann keeps {token(1, 1)}", "fields": also}, message)
    assert not tells_of({"description": f"Ann keeps {token(1)}", "fields": also}, message)
    assert not tells_of({"description": f"Ann keeps {token(1, 1)}"}, message)


def test_only_what_no_outage_excuses_is_an_exception() -> None:
    """A stack and an unexplained error count; an error that gives an outage as its reason does not."""
    assert fault_of({"event": "handler_failed", "level": "error", "stack": "File 1\nValueError"})
    assert fault_of({"event": "Task was destroyed", "level": "error"})
    assert fault_of({"event": "refused", "level": "error", "reason": "The database is locked."}) is None
    assert fault_of({"event": "batch", "level": "info"}) is None


async def test_a_kill_counts_for_the_stages_it_is_seen_to_have_struck(tmp_path: Path) -> None:
    """Leases, facts and points left behind tell the stage; what was sent and answered tells the rest."""
    database = await Database.open(tmp_path)
    messages, queue, facts = MessageStore(database), ExtractionQueue(database), FactStore(database)
    index = EdgeIndex(tmp_path / INDEX, DIMENSIONS)
    (tmp_path / INDEX).mkdir()
    await messages.capture_many([said(1, token(1)), said(2, token(2))])

    async def stages(sent: Sequence[int] = (), answered: str = "") -> set[Stage]:
        return await asyncio.to_thread(struck, tmp_path, [GUILD], sent, {answered})

    assert await stages() == set()
    assert await stages(sent=[1, 3]) == {Stage.CAPTURE}
    lease = (await queue.take([1, 2], MINUTE)).lease
    assert await stages(answered=token(9)) == {Stage.CLAIM}
    assert await stages(answered=token(1)) == {Stage.CLAIM, Stage.LLM}
    fact = stated(f"Ana has {token(1)}", [1])
    await queue.commit(lease, [fact])
    assert await stages() == {Stage.FACTS}
    await index.upsert(GUILD, [point(fact.id, "fact", fact.text, 1, fact.text)])
    assert await stages() == {Stage.INDEX}
    [one, other] = await messages.to_index(2, embedding=True)
    await facts.mark_indexed(await facts.to_index(1, embedding=True), complete=True)
    assert await stages() == set()
    window = f"{one.line}\n{other.line}"
    await index.upsert(GUILD, [point(message_memory_id(one), "message", one.text, 1, one.line, window)])
    assert await stages() == {Stage.INDEX}
    await messages.mark_indexed([one], complete=True)
    assert await stages() == set()
    await index.close()
    await database.close()


def stores(lines: Sequence[Line]) -> Stores:
    """What a bot holds that has taken in all of these lines."""
    held = Stores()
    held.near = {line.id: [other.id for other in lines[max(0, at - 2) : at + 2]] for at, line in enumerate(lines)}
    for number, (line, window) in enumerate(windows(lines, held.near)):
        fact = f"Ann spoke of {token(number)}"
        held.rows[line.id] = Row(line, "done", "complete")
        held.facts[f"fact-{number}"] = FactRow(f"fact-{number}", fact, "complete", (line.id,))
        held.points[line.point_id] = point(line.point_id, "message", line.text, line.id, str(line), window)
        held.points[f"fact-{number}"] = point(f"fact-{number}", "fact", fact, line.id, fact, str(line))
    return held


def point(id: str, kind: str, text: str, source: int, line: str, window: str = "") -> IndexPoint:
    """A point with all of its keys."""
    return IndexPoint(
        id,
        {"kind": kind, "data": text, "sources": [source]},
        dense={Key.DENSE: embed(line, DIMENSIONS), Key.WINDOW: embed(window or line, DIMENSIONS)},
        sparse={Key.BM25: sparse(line), Key.BM25_WINDOW: sparse(window or line)},
    )


def sparse(text: str) -> SparseVector:
    """The terms of a text, all of one weight."""
    found = sorted(terms(text))
    return SparseVector(found, [1.0] * len(found))


class Greeter(Listener):
    """A service that answers."""

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/", self._greet)]

    async def _greet(self, request: web.Request) -> web.Response:
        return web.Response(text="hello")


@pytest.mark.parametrize("fault", Fault)
async def test_a_wire_takes_a_service_away_and_gives_it_back(fault: Fault) -> None:
    """Before and after a fault a request is answered; during it, it is not, or only late."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with Greeter() as service, Wire(service.url) as wire, aiohttp.ClientSession(connector=connector) as client:
        url = wire.through(service.url)

        async def ask() -> tuple[int, str]:
            async with client.get(url) as answer:
                return answer.status, await answer.text()

        assert await ask() == (200, "hello")
        await wire.disturb(fault)
        match fault:
            case Fault.REFUSE:
                with pytest.raises(aiohttp.ClientConnectionError):
                    await ask()
            case Fault.HANG:
                asking = asyncio.create_task(ask())
                await asyncio.wait({asking}, timeout=0.1)
                assert not asking.done()
                await wire.mend()
                assert await asking == (200, "hello")
            case Fault.ERROR | Fault.GARBAGE:
                status, page = await ask()
                assert (status, "<html>" in page) == (500 if fault is Fault.ERROR else 200, True)
            case Fault.SLOW:
                assert await ask() == (200, "hello")
        await wire.mend()
        assert await ask() == (200, "hello")
