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
    address, answered = _asked(load(config).web, probe)
    if not answered:
        raise RecollectError(f"The bot on {address} did not say yes to {probe}; its log says why.")
    print(f"The bot on {address} is {'ready' if ready else 'alive'}.")


def _asked(web: WebSettings, probe: str) -> tuple[str, bool]:
    """Where it was asked, and whether it said yes."""
    if web.port == 0:
        raise RecollectError("The port of the probes is unknown while web.port is 0; set it to a fixed one.")
    host = _reachable(web.host)
    connection = http.client.HTTPConnection(host, web.port, timeout=_PATIENCE)
    try:
        connection.request("GET", probe)
        answered = connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        answered = False
    finally:
        connection.close()
    return (f"[{host}]:{web.port}" if ":" in host else f"{host}:{web.port}"), answered


def _reachable(host: str) -> str:
    """Where a server bound to `host` answers: one that listens on every address does on the loopback."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"
