"""The dashboard, the alert rules and the table in docs/operations.md: they speak of what /metrics has.

The rules' own tests are in k8s/observability/rules.test.yaml, for `promtool test rules`.
"""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bot.app import App
from bot.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "k8s" / "observability"
RULES = yaml.safe_load((FOLDER / "rules.yaml").read_text("utf-8"))
RULES_TEST = yaml.safe_load((FOLDER / "rules.test.yaml").read_text("utf-8"))
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

_ASIDE = re.compile(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(?:by|without|on|ignoring|group_left|group_right)\s*(?:\([^)]*\))?')
_NAME = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\()\b")
_OPERATORS = {"and", "or", "unless", "offset", "bool"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The name of every metric on a real page, histograms as their three series."""
    return set(asyncio.run(_exported(tmp_path_factory.mktemp("bot") / "data")))


async def _exported(data: Path) -> list[str]:
    sections = {"storage": {"path": data}, "web": {"port": 0}, "ollama": {"url": "http://127.0.0.1:9"}}
    async with App(Settings.model_validate(sections)) as app, app.web.serving(), httpx.AsyncClient() as client:
        page = (await client.get(f"http://127.0.0.1:{app.web.port}/metrics")).text
    types = re.findall(r"^# TYPE (\S+) (\w+)$", page, re.MULTILINE)
    parts = {"histogram": ("_bucket", "_sum", "_count")}
    return [name + part for name, kind in types for part in parts.get(kind, ("",))]


def expressions() -> list[tuple[str, str]]:
    """Every expression with what it belongs to."""
    alerts = [(rule["alert"], rule["expr"]) for rule in ALERTS]
    return alerts + [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


def names(expression: str) -> set[str]:
    """The metrics of an expression: what is left of it without strings, labels, ranges, functions and operators."""
    while (plain := _ASIDE.sub(" ", expression)) != expression:
        expression = plain
    return set(_NAME.findall(expression)) - _OPERATORS


def test_names_are_told_from_the_rest_of_an_expression() -> None:
    """As the tests below need it."""
    rates = 'max by (a) (rate(x_total{b="c_total"}[$__rate_interval])) / ignoring (d) group_left sum(y) > 1e3'
    assert names(rates) == {"x_total", "y"}
    assert names("z and on (instance, job) up offset 1h") == {"z", "up"}


def test_an_expression_names_metrics_there_are(exported: set[str]) -> None:
    """Nothing on the dashboard is empty, and no alert silent, because of a name."""
    for owner, expression in expressions():
        assert names(expression), owner
        assert names(expression) <= exported, owner


def test_an_expression_is_balanced() -> None:
    """Every bracket that is opened is closed, in order."""
    pairs = {")": "(", "]": "[", "}": "{"}
    for owner, expression in expressions():
        opened: list[str] = []
        for character in re.sub(r'"[^"]*"', "", expression):
            if character in pairs.values():
                opened.append(character)
            elif character in pairs:
                assert opened, owner
                assert opened.pop() == pairs[character], owner
        assert not opened, owner


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    """A severity, a summary, and a heading in the documentation that exists."""
    headings = re.findall(r"(?m)^#+ (.+)$", OPERATIONS)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    for rule in ALERTS:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "0s")), rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]
        assert rule["annotations"]["summary"].endswith((".", "?")), rule["alert"]
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (page, anchor in anchors) == ("docs/operations.md", True), rule["alert"]
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)


def test_every_alert_is_tested_to_be_raised_and_to_be_silent() -> None:
    """In promtool's file, with the words it is raised with."""
    cases = [case for test in RULES_TEST["tests"] for case in test["alert_rule_test"]]
    alerts = {rule["alert"] for rule in ALERTS}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == alerts
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == alerts


def test_the_operator_gets_the_same_rules() -> None:
    """The PrometheusRule differs from the file for Prometheus in its wrapping alone."""
    wrapped = yaml.safe_load((FOLDER / "prometheusrule.yaml").read_text("utf-8"))
    assert (wrapped["apiVersion"], wrapped["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert wrapped["spec"] == RULES


def test_the_dashboard_can_be_imported() -> None:
    """It has the shape Grafana 11 saves, with one variable for the source, which every query asks."""
    assert DASHBOARD["schemaVersion"] >= 39
    assert DASHBOARD["uid"] == "recollect"
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in PANELS:
        assert panel["datasource"] == source, panel["title"]
        assert panel["description"], panel["title"]
        assert [target["refId"] for target in panel["targets"]] == list("ABCD"[: len(panel["targets"])])
        assert all(target["datasource"] == source for target in panel["targets"]), panel["title"]
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Overview", "Extraction", "Recall", "Services", "Cost"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_no_panel_covers_another() -> None:
    """Each cell of Grafana's grid, 24 wide, belongs to one panel at most."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in columns for y in rows}
        assert columns.stop <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_documentation_lists_every_metric(exported: set[str]) -> None:
    """And none that there is not."""
    listed = set(re.findall(r"(?m)^\| `(recollect_\w+)` \|", OPERATIONS))
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported if name.startswith("recollect_")}
    assert listed == ours
