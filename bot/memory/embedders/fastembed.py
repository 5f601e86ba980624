"""Embeddings by a model inside this process, through fastembed and ONNX Runtime: no text leaves it."""

import asyncio
import os
from array import array
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from bot.errors import EmbedderUnavailable, SettingsError
from bot.memory.embedders.base import BaseEmbedder, Embedded, Limits, Purpose, TextsRefused
from bot.memory.embedders.prefixes import prefix
from bot.settings_services import FastembedSettings
from bot.telemetry import keep_private

if TYPE_CHECKING:
    from fastembed import TextEmbedding

log = structlog.get_logger(__name__)

_NOT_INSTALLED = (
    "The embedder fastembed is not installed: in the checkout, run `pip install '.[fastembed]'`, or build the image "
    "with EXTRAS=fastembed."
)
# What is begun is finished even if nobody waits for it any more, and whoever comes next waits for that.
_LIMITS = Limits(inputs=16, bytes=64_000)
# All texts of a batch are padded to the longest, and ONNX Runtime's arena keeps what its largest batch took: with it
# and batches of 16 long texts all-MiniLM-L6-v2 grew the process by 490 MB, without it and with these by 60.
_BATCH = 4


class FastEmbedder(BaseEmbedder):
    """The `Embedder` of a local model, which works on one request at a time, on every core but one.

    The model is loaded by the first request, in the worker thread: from `folder`, or else from `cache`, into which it
    is downloaded where it is not there yet. Raises `SettingsError` if fastembed is not installed, or the folder is
    none.
    """

    service = "fastembed"

    def __init__(self, settings: FastembedSettings, cache: Path) -> None:
        super().__init__(settings.model, settings.dimensions, "fastembed.dimensions", _LIMITS)
        if find_spec("fastembed") is None:
            raise SettingsError(_NOT_INSTALLED)
        if settings.folder and not Path(settings.folder).is_dir():
            raise SettingsError(f"There is no model in {settings.folder}: it is no folder. Check fastembed.folder.")
        self._folder = settings.folder
        self._cache = cache
        self._encoder: TextEmbedding | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="embedder")

    async def close(self) -> None:
        """See `Embedder`. Leaves the request under way to the end of the process.

        It may be a download of gigabytes, and a bot that is told to stop has everything else to put away in time.
        """
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _request(self, texts: list[str], purpose: Purpose) -> Embedded:
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._encode, texts, purpose)

    def _encode(self, texts: list[str], purpose: Purpose) -> Embedded:
        before = prefix(self.model, purpose)
        encoder = self._encoder = self._encoder or self._load()
        embed = encoder.query_embed if purpose is Purpose.QUERY else encoder.passage_embed
        try:
            found = embed([before + text for text in texts], batch_size=_BATCH)
            vectors = [array("f", vector.tolist()) for vector in found]
        except Exception as error:  # the tokenizer's and ONNX Runtime's own are of no common kind
            raise TextsRefused(f"{self.model} failed ({type(error).__name__}).") from None
        return Embedded(vectors, 0)

    def _load(self) -> "TextEmbedding":
        keep_private()
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # in the middle of a log
        from fastembed import TextEmbedding
        from loguru import logger

        logger.disable("fastembed")  # it has a log of its own on stderr; what went wrong is told below
        log.info("model_loading", model=self.model, folder=str(self._folder or self._cache))

        known = {str(model["model"]).lower() for model in TextEmbedding.list_supported_models()}
        if self.model.lower() not in known:
            raise EmbedderUnavailable(f"fastembed knows no model named {self.model}: check fastembed.model.")
        files: dict[str, Any] = {"cache_dir": str(self._cache)}
        if self._folder:
            files = {"specific_model_path": self._folder, "local_files_only": True}
        try:
            return TextEmbedding(self.model, threads=_threads(), enable_cpu_mem_arena=False, **files)
        except Exception as error:  # it downloads, unpacks and runs files of others: anything can be wrong with them
            where = self._folder or self._cache
            raise EmbedderUnavailable(
                f"{self.model} cannot be loaded from {where} ({type(error).__name__}): put its files into a folder "
                "and name that in fastembed.folder."
            ) from error


def _threads() -> int:
    """One core is left to the bot: ONNX Runtime's threads go on spinning for a while after each request.

    With both of two cores taken, a question was embedded in 8 ms instead of 10, and searched for in 9.5 instead of 7.
    """
    return max(1, (os.cpu_count() or 1) - 1)
