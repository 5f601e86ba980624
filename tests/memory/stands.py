"""One stand for each embedding service: its embedder, and how to make what it talks to behave.

OpenAI, Ollama and Voyage are stand-in servers that speak the real protocol to the real client. fastembed wants
its models from the network, so its stand is a module in the place of fastembed.
"""

import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

import numpy as np
import pytest

from bot.memory.embedders.base import BaseEmbedder
from bot.memory.embeddings import embedder_of
from bot.sandbox import ollama_embed, voyage
from bot.sandbox.embedding import EmbeddingDesk, Fault, embed
from bot.sandbox.listener import Listener
from bot.sandbox.ollama import MODEL, OllamaServer
from bot.sandbox.openai import OpenAIServer
from bot.sandbox.voyage import VoyageServer
from bot.settings import Settings

NEVER_TAKEN = ollama_embed.POISON + " " + "x" * 200
"""A text each of the services refuses, once told to by `refuse`."""


class Stand(ABC):
    """`async with` a stand: `embedder` is the one of the settings; it asked for `texts`, in `requests` requests."""

    section: ClassVar[str]
    service: ClassVar[str]
    size: ClassVar[int]
    size_setting: ClassVar[str]
    prefixes: ClassVar[tuple[str, str]] = ("", "")  # before a document, before a query

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self._folder = folder

    async def __aenter__(self) -> Self:
        self.embedder = self.opened()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.embedder.close()

    def opened(self, **changes: object) -> BaseEmbedder:
        """Another embedder, with other settings; the caller closes it."""
        settings = self.settings(**changes)
        made = embedder_of(settings, settings.embedding_model)
        assert isinstance(made, BaseEmbedder)
        return made

    def settings(self, **changes: object) -> Settings:
        """The settings of the embedder."""
        own = {self.section: {**self.own_settings(), **changes}}
        return Settings.model_validate(
            {"embedding": {"provider": self.section}, "storage": {"path": self._folder / "data"}, **own}
        )

    @property
    @abstractmethod
    def texts(self) -> Sequence[str]: ...

    @property
    @abstractmethod
    def requests(self) -> int: ...

    @abstractmethod
    def own_settings(self) -> dict[str, object]:
        """What the service's own section says."""

    @abstractmethod
    def show(self, fault: Fault | None) -> None:
        """Do this instead of answering, or answer again."""

    @abstractmethod
    def refuse(self) -> None:
        """Refuse `NEVER_TAKEN` whenever it is sent."""


class ServerStand(Stand):
    """A stand-in server; its `desk` counts, and shows faults."""

    server: Listener
    desk: EmbeddingDesk

    async def __aenter__(self) -> Self:
        await self.server.start()
        return await super().__aenter__()

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        await self.server.stop()

    @property
    def texts(self) -> Sequence[str]:
        return self.desk.texts

    @property
    def requests(self) -> int:
        return self.desk.requests

    def show(self, fault: Fault | None) -> None:
        self.desk.fault = fault


class OpenAIStand(ServerStand):
    section, service, size, size_setting = "openai", "OpenAI", 16, "openai.dimensions"

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, patch)
        self.server = self.desk = OpenAIServer()

    def own_settings(self) -> dict[str, object]:
        return {"api_key": "sk-secret", "base_url": self.server.url, "dimensions": self.size, "timeout": "5s"}

    def refuse(self) -> None:
        self.patch.setattr("bot.sandbox.openai.MOST_TOKENS", 40)


class OllamaStand(ServerStand):
    section, service, size, size_setting = "ollama", "Ollama embeddings", 768, "ollama.embedding_dimensions"
    prefixes = ("search_document: ", "search_query: ")

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, patch)
        self.server = ollama = OllamaServer(models=[MODEL, "nomic-embed-text"])
        self.desk: ollama_embed.OllamaEmbeddings = ollama.embeddings

    def own_settings(self) -> dict[str, object]:
        return {"url": self.server.url, "timeout": "5s", "keep_alive": "7m"}

    def refuse(self) -> None:
        """It does so as it is."""


class VoyageStand(ServerStand):
    section, service, size, size_setting = "voyage", "Voyage", 256, "voyage.dimensions"

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, patch)
        self.server = self.desk = VoyageServer()

    def own_settings(self) -> dict[str, object]:
        return {"api_key": "sk-secret", "base_url": self.server.url, "dimensions": self.size, "timeout": "5s"}

    def refuse(self) -> None:
        self.patch.setitem(voyage.MODELS, "voyage-4-lite", 40)


class FastembedStand(Stand):
    """`loaded` are the arguments with which models were loaded, `threads` the names of those in which it worked."""

    section, service, size, size_setting = "fastembed", "fastembed", 384, "fastembed.dimensions"

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, patch)
        self.loaded: list[dict[str, Any]] = []
        self.threads: set[str] = set()
        self.begun = threading.Event()
        self.released = threading.Event()
        self._texts: list[str] = []
        self._requests = 0
        self._fault: Fault | None = None

    async def __aenter__(self) -> Self:
        module: Any = ModuleType("fastembed")
        module.__spec__ = ModuleSpec("fastembed", None)
        module.TextEmbedding = self._model()
        self.patch.setitem(sys.modules, "fastembed", module)
        return await super().__aenter__()

    async def __aexit__(self, *_: object) -> None:
        self.released.set()
        await super().__aexit__()

    @property
    def texts(self) -> Sequence[str]:
        return self._texts

    @property
    def requests(self) -> int:
        return self._requests

    def own_settings(self) -> dict[str, object]:
        return {}

    def refuse(self) -> None:
        """It does so as it is."""

    def show(self, fault: Fault | None) -> None:
        self._fault = fault

    def _model(self) -> type:
        stand = self

        class TextEmbedding:
            def __init__(self, model_name: str, **options: Any) -> None:
                stand.threads.add(threading.current_thread().name)
                if stand._fault is Fault.NOT_OPENAI:
                    raise OSError("no such file")
                stand.loaded.append({"model_name": model_name, **options})

            @staticmethod
            def list_supported_models() -> list[dict[str, Any]]:
                return [{"model": "BAAI/bge-small-en-v1.5"}, {"model": "nomic-ai/nomic-embed-text-v1.5"}]

            def passage_embed(self, texts: list[str], batch_size: int) -> Iterator[Any]:
                return stand._embedded(texts)

            query_embed = passage_embed

        return TextEmbedding

    def _embedded(self, texts: list[str]) -> Iterator[Any]:
        self.threads.add(threading.current_thread().name)
        if self._fault is Fault.HANG:
            self.begun.set()
            self.released.wait(10)
        if any(NEVER_TAKEN in text for text in texts):
            raise ValueError(f"cannot read {texts}")
        self._requests += 1
        self._texts += texts
        for text in texts:
            yield np.array(embed(text, self.size + (self._fault is Fault.WRONG_SIZE)), np.float32)


STANDS = {stand.section: stand for stand in (OpenAIStand, OllamaStand, VoyageStand, FastembedStand)}
OVER_A_WIRE = [name for name, stand in STANDS.items() if issubclass(stand, ServerStand)]
