# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every wrong argument or file of namespace_tiers_info gives the one error that is expected of it."""

from __future__ import annotations

import base64
import contextlib
import inspect
import io
import json
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import run
from ansible_collections.hackspace.infra.plugins.module_utils._kube import dump
from ansible_collections.hackspace.infra.plugins.module_utils._tiers import report
from ansible_collections.hackspace.infra.plugins.modules import namespace_tiers_info

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())
RIGHT = '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "4-aux-wiki"}}'


def call(args: dict[str, t.Any]) -> dict[str, t.Any]:
    printed = io.StringIO()
    with patch_module_args(args), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        run(namespace_tiers_info.SPEC, namespace_tiers_info.main)
    result: dict[str, t.Any] = json.loads(printed.getvalue())
    return result


@pytest.mark.parametrize("case", [{"case": "right"}, *CASES], ids=["right", *(c["case"] for c in CASES)])
def test_the_expected_error(case: dict[str, t.Any], tmp_path: Path) -> None:
    file = tmp_path / "objects.json"
    file.write_bytes(base64.b64decode(case["base64"]) if "base64" in case else case.get("file", RIGHT).encode())
    result = call({"tiers": {"base": "default"}, "dump": [str(file)], **case.get("args", {})})
    if "rule" not in case:
        assert not result.get("failed"), result
        return
    assert result.get("failed"), result
    assert result["error"]["rule"] == case["rule"], result
    assert result["error"]["item"] == case.get("item", "dump"), result
    assert len(result["error"]["fix"]) > 10
    assert "table" not in result


def test_every_rule_has_a_case() -> None:
    source = inspect.getsource(namespace_tiers_info) + inspect.getsource(dump)
    rules = set(re.findall(r'rule="([a-z-]+)"', source)) - {"impact"}
    assert len(rules) > 4
    assert rules <= {case["rule"] for case in CASES}


def test_no_verdict() -> None:
    with pytest.raises(InvalidInput, match="is no verdict"):
        report.check_fail_on(["frozen", "broken"])
