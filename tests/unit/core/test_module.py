# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module starts, reports and fails."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    OWNERSHIP,
    ArgumentSpec,
    hide,
    logins,
    plan_result,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Change, Plan

SPEC = ArgumentSpec(
    options={"name": {"type": "str"}, "other": {"type": "str"}, "things": {"type": "list", "elements": "dict"}},
    mutually_exclusive=(("name", "other"),),
)
Main = t.Callable[[AnsibleModule], t.Mapping[str, t.Any]]


def _run(
    capsys: pytest.CaptureFixture[str], main: Main, args: dict[str, t.Any], spec: ArgumentSpec = SPEC
) -> tuple[int, dict[str, t.Any]]:
    with patch_module_args(args), pytest.raises(SystemExit) as caught:
        run(spec, main)
    assert isinstance(caught.value.code, int)
    return caught.value.code, json.loads(capsys.readouterr().out)


def test_result_of_a_plan(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda self, text: warned.append(text))
    plan = Plan([Change("thing", "a", "create", None, {"x": 1}, "missing", frozenset({"x"}))], 1, [], ["look"])
    code, out = _run(capsys, lambda module: plan_result(module, plan, more=1), {})
    assert code == 0
    assert out["changed"] is True
    assert out["more"] == 1
    assert warned == ["look"]


def test_check_mode_is_supported(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = _run(capsys, lambda module: {"seen": module.check_mode}, {"_ansible_check_mode": True})
    assert (code, out["seen"]) == (0, True)


def test_error_becomes_one_failure(capsys: pytest.CaptureFixture[str]) -> None:
    def main(module: AnsibleModule) -> dict[str, t.Any]:
        raise InvalidInput("no.", item="things[1]", rule="r", fix="f.", data={"seen": 2})

    code, out = _run(capsys, main, {})
    assert code == 1
    assert out["failed"] is True
    assert out["error"] == {"item": "things[1]", "rule": "r", "fix": "f.", "status": None}
    assert out["seen"] == 2
    assert out["msg"] == "things[1]: no. [r] Fix: f."


def test_defect_shows_its_place_and_not_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(module: AnsibleModule) -> dict[str, t.Any]:
        raise ValueError("hunter2hunter2")

    code, out = _run(capsys, broken, {})
    assert code == 1
    assert "hunter2" not in json.dumps(out)
    assert out["msg"].startswith("defect in the module: ValueError at test_module.py:")
    assert out["error"]["rule"] == "defect"


def test_arguments_that_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = _run(capsys, lambda module: {}, {"name": "a", "other": "b"})
    assert code == 1
    assert "mutually exclusive" in out["msg"]


def test_hidden_values_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    def main(module: AnsibleModule) -> dict[str, t.Any]:
        hide(module, module.params["things"][0]["token"], None, "")
        return {"echo": module.params["things"], "text": "token is hunter2hunter2!"}

    code, out = _run(capsys, main, {"things": [{"token": "hunter2hunter2"}]})
    assert code == 0
    assert "hunter2" not in json.dumps(out)
    assert out["text"] == "token is ********!"


def test_specs_merge_with_their_rules() -> None:
    other = ArgumentSpec(
        options={"x": {"type": "int"}},
        required_together=(("x", "name"),),
        required_one_of=(("x", "name"),),
        required_if=(("x", 1, ("name",)),),
    )
    merged = SPEC.merge(other).merge(OWNERSHIP)
    assert set(merged.options) == {"name", "other", "things", "x", "adopt", "prune", "prune_max_percent"}
    assert merged.mutually_exclusive == SPEC.mutually_exclusive
    assert merged.required_together == other.required_together
    assert merged.required_one_of == other.required_one_of
    assert merged.required_if == other.required_if


def test_option_defined_twice_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="name"):
        SPEC.merge(SPEC)


def test_rules_of_a_merged_spec_are_enforced(capsys: pytest.CaptureFixture[str]) -> None:
    spec = SPEC.merge(ArgumentSpec(options={"x": {"type": "int"}}, required_if=(("x", 1, ("name",)),)))
    code, out = _run(capsys, lambda module: {}, {"x": 1}, spec)
    assert code == 1
    assert "name" in out["msg"]


def test_ownership_defaults_destroy_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _code, out = _run(capsys, lambda module: {"p": dict(module.params)}, {}, OWNERSHIP)
    assert out["p"] == {"adopt": False, "prune": False, "prune_max_percent": 20}


@pytest.mark.parametrize("refused", [False, True])
def test_a_login_in_an_address_is_not_repeated(capsys: pytest.CaptureFixture[str], *, refused: bool) -> None:
    """Neither by a module that returns an option, nor by Ansible, which repeats all of them in some versions."""

    def main(module: AnsibleModule) -> dict[str, t.Any]:
        if refused:
            raise InvalidInput("must not hold a login.", item="things[0].url", rule="git-url", fix="f.")
        return {"name": module.params["name"], "things": module.params["things"]}

    address = "https://ada:hunter2hunter2@git.example.org/a.git"
    args = {"name": "https://a-long-lived-token@git.example.org/b.git", "things": [{"url": address}]}
    code, out = _run(capsys, main, args)
    text = json.dumps(out)
    assert code == int(refused)
    assert refused or text.count("git.example.org") >= 2
    assert "hunter2" not in text
    assert "a-long-lived-token" not in text


@pytest.mark.parametrize(
    ("address", "hidden"),
    [
        ("https://git.example.org/a.git", set()),
        ("ssh://git@git.example.org/a.git", set()),
        ("git@git.example.org:a.git", set()),
        ("postgresql://{{username}}:{{password}}@db.example.org/app", set()),
        ("https://example.org/?mail=ada:x@example.org", set()),
        ("https://:hunter2@git.example.org/", {"hunter2", ":hunter2"}),
        ("oci://ada:hunter2@registry.example.org/x", {"hunter2", "ada:hunter2"}),
    ],
)
def test_what_is_a_login(address: str, hidden: set[str]) -> None:
    assert logins({"deep": [{"url": address}]}) == hidden
