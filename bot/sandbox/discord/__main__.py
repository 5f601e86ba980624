"""The stand-in in a process of its own, for load tests: `python -m bot.sandbox.discord`.

The first line of output tells where it listens. Each line of input is a command, each answered by one line;
both are JSON. Commands: {"do": "wait_ready"}, {"do": "burst", "messages": 20000},
{"do": "steady", "rate": 500, "seconds": 10}, {"do": "say", "channel_id": …, "author_id": …, "content": …},
{"do": "drop"}, {"do": "stop"}. The end of the input stops it too.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict

from bot.sandbox.discord.entities import Json
from bot.sandbox.discord.load import Crowd, burst, steady
from bot.sandbox.discord.server import DiscordServer
from bot.sandbox.listener import until_interrupted


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m bot.sandbox.discord", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0 takes any free one")
    parser.add_argument("--channels", type=int, default=1, help="how many channels people talk in")
    parser.add_argument("--people", type=int, default=20, help="how many people talk")
    arguments = parser.parse_args()
    until_interrupted(_serve(arguments.port, arguments.channels, arguments.people))


async def _serve(port: int, channels: int, people: int) -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with DiscordServer(port=port) as server:
        crowd = Crowd(server.world, channels=channels, people=people)
        _tell(
            {
                "event": "listening",
                "api_url": server.api_url,
                "gateway_url": server.gateway_url,
                "token": server.token,
                "guild_id": crowd.guild.id,
                "channel_ids": [channel.id for channel in crowd.channels],
                "user_ids": [person.id for person in crowd.people],
            }
        )
        async for line in lines:
            try:
                command = json.loads(line)
                if command["do"] == "stop":
                    break
                _tell({"event": command["do"], **await _obey(server, crowd, command)})
            except (ValueError, LookupError, TypeError):
                _tell(
                    {"error": f"not a command, or of nobody and nowhere known: {line.decode(errors='replace').strip()}"}
                )


async def _obey(server: DiscordServer, crowd: Crowd, command: Json) -> Json:
    match command:
        case {"do": "wait_ready"}:
            await server.wait_ready()
            return {}
        case {"do": "burst", "messages": messages}:
            return asdict(await burst(server, crowd, messages))
        case {"do": "steady", "rate": rate, "seconds": seconds}:
            return asdict(await steady(server, crowd, rate, seconds))
        case {"do": "say", "channel_id": channel, "author_id": author, "content": content}:
            return {"message": await server.say(channel, author, content)}
        case {"do": "drop"}:
            await server.drop_connections()
            return {}
        case _:
            return {"error": f"not a command: {json.dumps(command)}"}


def _tell(event: Json) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    main()
