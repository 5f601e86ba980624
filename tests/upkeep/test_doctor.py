"""What doctor finds on the machine that no whole deployment shows."""

import tempfile
from pathlib import Path

from bot.checks import Verdict
from bot.upkeep.doctor import check_secrets


def test_a_file_that_nobody_else_reaches_is_no_open_secret(tmp_path: Path) -> None:
    """It may be readable by all in a folder through which only its owner passes; a link to it opens nothing."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        secrets = Path(folder)
        token, link = secrets / "token", tmp_path / "token"
        token.write_text("hush")
        token.chmod(0o644)
        link.symlink_to(token)
        verdicts = []
        for mode in (0o700, 0o750, 0o711, 0o755):
            secrets.chmod(mode)
            verdicts.append([check_secrets([file], tmp_path / "data").verdict for file in (token, link)])
    assert verdicts == [[Verdict.PASS] * 2] * 2 + [[Verdict.WARN] * 2] * 2
