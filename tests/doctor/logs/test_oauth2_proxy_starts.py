"""oauth2-proxy's last words, when its configuration lets it not start."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml

from doctor.rules.facts import find
from ostiary.doctor.logs import read

STARTS = yaml.safe_load((Path(__file__).parent / "oauth2_proxy_starts.yaml").read_text())


@pytest.mark.parametrize("case", STARTS)
def test_what_it_refuses_is_named(case: dict[str, Any]) -> None:
    findings = find(*read(io.BytesIO(case["log"].encode()), "proxy.log").facts)
    assert sorted((finding.rule, finding.subject) for finding in findings) == [tuple(each) for each in case["found"]]
