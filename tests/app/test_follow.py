"""Lines of a pod's log, however long: Envoy prints whole request heads at debug, and configurations at trace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ostiary.app.follow import follow_pod
from ostiary.net.admin_client import AdminError, Pod
from wire import scenario

KUBECTL = """#!/bin/sh
head -c 300000 /dev/zero | tr '\\0' x
printf '\\nshort\\r\\nthe last'
"""


@scenario
async def test_long_lines_and_a_last_one_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    lines: list[str] = []
    with pytest.raises(AdminError, match="kubectl logs has ended"):
        await follow_pod(Pod("httpbin-1", "shop"), lines.append)
    assert lines == ["x" * 300_000, "short", "the last"]
