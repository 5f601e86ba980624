"""What this process tells, and whom."""

import asyncio
from pathlib import Path

import pytest
from processes import recollect


async def test_no_library_tells_its_makers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime, which comes with qdrant-client where fastembed is installed, would keep what it has to tell."""
    monkeypatch.delenv("CI", raising=False)  # there it keeps silent anyway
    code, out, _ = await recollect(tmp_path, "doctor", HOME=str(tmp_path), BOT_QDRANT__URL="http://127.0.0.1:9")
    assert (code, "Qdrant" in out) == (1, True)
    assert await asyncio.to_thread(lambda: list(tmp_path.rglob("onnxruntime*"))) == []
