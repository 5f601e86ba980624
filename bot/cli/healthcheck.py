"""The command by which a container engine asks whether the bot lives: the image has no curl."""

import http.client
import ipaddress
from typing import Annotated

import typer

from bot.cli.common import Config, cli
from bot.errors import RecollectError
from bot.settings import WebSettings

_PATIENCE = 3.0  # seconds


@cli.command()
def healthcheck(
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether it can do its job: connected to Discord.")
    ] = False,
    config: Config = None,
) -> None:
    """Ask the bot that runs here whether it is alive.

    A bot that waits for Discord is alive, so that nothing restarts it while Discord is down.
    """
    from bot.settings_sources import load

    probe = "/readyz" if ready else "/livez"
    address, status = _asked(load(config).web, probe)
    if status is None:
        raise RecollectError(f"No bot listens on {address}: start it with `recollect run`, or correct web.port.")
    if status != http.client.OK:
        raise RecollectError(f"The bot on {address} did not say yes to {probe}; its log says why.")
    print(f"The bot on {address} is {'ready' if ready else 'alive'}.")


def _asked(web: WebSettings, probe: str) -> tuple[str, int | None]:
    """Where it was asked, and what it said: a status of HTTP, 0 for no answer, or `None` if nobody listens there."""
    if web.port == 0:
        raise RecollectError("The port of the probes is unknown while web.port is 0; set it to a fixed one.")
    host = _reachable(web.host)
    connection = http.client.HTTPConnection(host, web.port, timeout=_PATIENCE)
    try:
        connection.request("GET", probe)
        status: int | None = connection.getresponse().status
    except ConnectionRefusedError:
        status = None
    except (OSError, http.client.HTTPException):
        status = 0
    finally:
        connection.close()
    return (f"[{host}]:{web.port}" if ":" in host else f"{host}:{web.port}"), status


def _reachable(host: str) -> str:
    """Where a server bound to `host` answers: one that listens on every address does on the loopback."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"
