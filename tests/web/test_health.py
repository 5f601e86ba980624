"""The health probes, over real HTTP."""

import socket

import httpx
import pytest

from bot.checks import Verdict
from bot.errors import RecollectError
from bot.model import ServiceHealth
from bot.upkeep.doctor import check_port
from bot.web.health import HealthServer, Readiness


def server(readiness: Readiness, port: int = 0, host: str = "127.0.0.1") -> HealthServer:
    async def state() -> Readiness:
        return readiness

    async def page() -> tuple[bytes, str]:
        return b"", "text/plain"

    return HealthServer(host, port, state, page)


async def get(health: HealthServer, path: str, host: str = "127.0.0.1") -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"http://{host}:{health.port}{path}")


async def test_a_process_that_runs_is_live() -> None:
    """/livez answers 200 whatever the services do."""
    health = server(Readiness(gateway=False, database=False))
    async with health.serving():
        assert (await get(health, "/livez")).status_code == 200


async def test_ready_needs_gateway_and_database_only() -> None:
    """A service that is down is reported in a 200 answer, by name and reason."""
    down = ServiceHealth("Ollama", False, "connection refused")
    health = server(Readiness(gateway=True, database=True, services=(down,)))
    async with health.serving():
        answer = await get(health, "/readyz")
    assert answer.status_code == 200
    assert answer.json()["services"] == {"Ollama": {"ok": False, "detail": "connection refused"}}


@pytest.mark.parametrize("state", [Readiness(gateway=False, database=True), Readiness(gateway=True, database=False)])
async def test_not_ready_without_either(state: Readiness) -> None:
    """Without the gateway or the database /readyz answers 503."""
    health = server(state)
    async with health.serving():
        answer = await get(health, "/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)


async def test_probes_come_by_ipv6_too() -> None:
    """A cluster without IPv4 needs it, and the doctor knows such an address."""
    health = server(Readiness(gateway=True, database=True), host="::1")
    async with health.serving():
        assert (await get(health, "/livez", "[::1]")).status_code == 200
        assert "the running bot answers" in (await check_port("::1", health.port, running=True)).detail
    assert (await check_port("::1", health.port, running=False)).verdict is Verdict.PASS


async def test_a_taken_port_is_one_sentence() -> None:
    """The error names the address and the setting to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RecollectError, match=rf"127\.0\.0\.1:{port}.*web\.port"):
            async with server(Readiness(True, True), port).serving():
                pass
