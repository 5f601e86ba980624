"""A Qdrant server for tests: the REST routes used, in front of qdrant-client's in-memory implementation."""

import warnings
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter
from qdrant_client import AsyncQdrantClient, models

from bot.sandbox.listener import Listener


class QdrantServer(Listener):
    """`async with QdrantServer() as server:` listens at `server.url`.

    `refuses` holds parts of the protocol an older server does not know: "idf", "vector names", "metadata"; "aliases"
    is what a key for one collection may not ask for.
    `requests` are the (method, path, body) it answered.
    """

    def __init__(self, api_key: str | None = None) -> None:
        super().__init__()
        self.refuses: set[str] = set()
        self.requests: list[tuple[str, str, Any]] = []
        self.local = AsyncQdrantClient(":memory:")
        self._api_key = api_key

    def routes(self) -> Iterable[web.RouteDef]:
        return (web.route("*", "/{tail:.*}", self._answer),)

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        await self.local.close()

    async def _answer(self, request: web.Request) -> web.Response:
        if self._api_key is not None and request.headers.get("api-key") != self._api_key:
            return web.json_response({"status": {"error": "forbidden"}}, status=403)
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.method, request.path, body))
        match request.path.strip("/").split("/"):
            case ["aliases"] if "aliases" in self.refuses:
                return _refusal(403)
            case ["aliases"]:
                return _result(await self.local.get_aliases())
            case ["collections", "aliases"]:
                asked = models.ChangeAliasesOperation.model_validate(body)
                return _result(await self.local.update_collection_aliases(asked.actions))
            case ["collections"]:
                return _result(await self.local.get_collections())
            case ["collections", name]:
                return await self._collection(request.method, name, body)
            case ["collections", name, "exists"]:
                return _result({"exists": await self.local.collection_exists(name)})
            case ["collections", name, *rest] if await self.local.collection_exists(name):
                return await self._inside(request.method, name, rest, body)
            case _:
                return _refusal(404)

    async def _collection(self, method: str, name: str, body: Any) -> web.Response:
        kept = None if body is None or "metadata" in self.refuses else body.get("metadata")
        if method == "PUT":
            asked = models.CreateCollection.model_validate(body)
            made = await self.local.create_collection(
                name, vectors_config=asked.vectors, sparse_vectors_config=asked.sparse_vectors, metadata=kept
            )
            return _result(made)
        if not await self.local.collection_exists(name):
            return _refusal(404)
        if method == "DELETE":
            return _result(await self.local.delete_collection(name))
        if method == "PATCH":
            return _result(await self.local.update_collection(name, metadata=kept))
        return _result(await self.local.get_collection(name))

    async def _inside(self, method: str, name: str, rest: list[str], body: Any) -> web.Response:
        routes: dict[tuple[str, ...], Callable[[str, Any], Awaitable[Any]]] = {
            ("PUT", "index"): self._index,
            ("PUT", "points"): self._upsert,
            ("POST", "points"): self._retrieve,
            ("POST", "points", "delete"): self._delete,
            ("POST", "points", "scroll"): self._scroll,
            ("POST", "points", "count"): self._count,
            ("POST", "points", "payload"): self._set_payload,
            ("PUT", "points", "vectors"): self._update_vectors,
            ("POST", "points", "query"): self._query,
            ("POST", "points", "query", "batch"): self._query_batch,
        }
        try:
            if rest[0] == "vectors" and method == "PUT":
                return await self._add_vector(name, rest[1] if len(rest) > 1 else "", body)
            if (route := routes.get((method, *rest))) is None or ("idf" in self.refuses and _has_idf(body)):
                return _refusal(400 if route else 404)
            return _result(await route(name, body))
        except ValueError:
            return _refusal(400)

    async def _index(self, name: str, body: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # in memory, payload indexes have no effect
            await self.local.create_payload_index(name, body["field_name"], body["field_schema"])
        return _done()

    async def _add_vector(self, name: str, vector: str, body: Any) -> web.Response:
        if "vector names" in self.refuses:
            return _refusal(404)
        kind = models.DenseVectorNameConfig if "dense" in body else models.SparseVectorNameConfig
        await self.local.create_vector_name(name, vector, kind.model_validate(body))
        return _result(_done())

    async def _upsert(self, name: str, body: Any) -> Any:
        return await self.local.upsert(name, TypeAdapter(list[models.PointStruct]).validate_python(body["points"]))

    async def _retrieve(self, name: str, body: Any) -> Any:
        return await self.local.retrieve(name, body["ids"], with_payload=True, with_vectors=body.get("with_vector"))

    async def _delete(self, name: str, body: Any) -> Any:
        selector: Any = models.PointIdsList if "points" in body else models.FilterSelector
        return await self.local.delete(name, selector.model_validate(body))

    async def _scroll(self, name: str, body: Any) -> Any:
        points, following = await self.local.scroll(
            name,
            scroll_filter=_filter(body.get("filter")),
            limit=body["limit"],
            offset=body.get("offset"),
            with_payload=True,
            with_vectors=body.get("with_vector") or False,
        )
        return {"points": points, "next_page_offset": following}

    async def _count(self, name: str, body: Any) -> Any:
        return await self.local.count(name, _filter(body.get("filter")), exact=body["exact"])

    async def _set_payload(self, name: str, body: Any) -> Any:
        return await self.local.set_payload(name, body["payload"], body["points"])

    async def _update_vectors(self, name: str, body: Any) -> Any:
        points = TypeAdapter(list[models.PointVectors]).validate_python(body["points"])
        return await self.local.update_vectors(name, points)

    async def _query(self, name: str, body: Any) -> Any:
        [answer] = await self.local.query_batch_points(name, [models.QueryRequest.model_validate(body)])
        return answer

    async def _query_batch(self, name: str, body: Any) -> Any:
        requests = TypeAdapter(list[models.QueryRequest]).validate_python(body["searches"])
        return await self.local.query_batch_points(name, requests)


def _filter(body: Any) -> models.Filter | None:
    return None if body is None else models.Filter.model_validate(body)


def _has_idf(body: Any) -> bool:
    return any((search.get("params") or {}).get("idf") for search in body.get("searches", [body]))


def _done() -> dict[str, Any]:
    return {"operation_id": 0, "status": "completed"}


def _result(result: Any) -> web.Response:
    plain = TypeAdapter(Any).dump_python(result, mode="json")
    return web.json_response({"time": 0.0, "status": "ok", "result": plain})


def _refusal(status: int) -> web.Response:
    return web.json_response({"time": 0.0, "status": {"error": "refused"}}, status=status)
