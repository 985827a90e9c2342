# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hidden fields stay hidden; the fact of a change does not."""

from __future__ import annotations

import base64
import json
import typing as t

from ansible_collections.hackspace.infra.plugins.module_utils._kube import redact
from hypothesis import given
from hypothesis import strategies as st

SECRET = redact.paths_for([], kind="Secret", secret=True)


def _secret(**data: str) -> dict[str, t.Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "uid": "u"}, "data": data}


def test_a_diff_shows_which_key_changed_and_no_value() -> None:
    before, after = redact.pair(
        _secret(a="b25l", b="dHdv", gone="eA=="), _secret(a="b25l", b="bmV3", c="bW9yZQ=="), SECRET
    )
    assert before is not None
    assert after is not None
    assert before["data"] == {"a": "(hidden)", "b": "(hidden)", "gone": "(hidden)"}
    assert after["data"] == {"a": "(hidden)", "b": "(hidden, changed)", "c": "(hidden, changed)"}
    assert after["metadata"] == {"name": "a"}


def test_absent_sides_stay_absent() -> None:
    assert redact.pair(None, _secret(a="b25l"), SECRET)[0] is None
    assert redact.pair(_secret(a="b25l"), None, SECRET)[1] is None


@given(st.dictionaries(st.text(min_size=1, max_size=4), st.text(min_size=6, max_size=12), min_size=1))
def test_no_value_of_a_kubernetes_secret_is_shown(data: dict[str, str]) -> None:
    body = _secret(**{k: base64.b64encode(v.encode()).decode() for k, v in data.items()})
    before, after = redact.pair(body, body, SECRET)
    assert before is not None
    assert after is not None
    assert set(before["data"].values()) == set(after["data"].values()) == {"(hidden)"}
    assert set(data.values()) <= redact.values(body, SECRET)
    shown = redact.shown_objects(
        [{"kind": "SecretList", "items": [{"data": data}]}, {"kind": "Secret", "stringData": data}], []
    )
    assert shown[0]["items"][0]["data"] == dict.fromkeys(data, "(hidden)")
    assert shown[1]["stringData"] == dict.fromkeys(data, "(hidden)")


def test_kubectls_copy_of_an_object_is_not_shown() -> None:
    body = _secret(a="b25l")
    body["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(body), "x": "y"}
    before, _after = redact.pair(body, None, SECRET)
    assert before is not None
    assert before["metadata"]["annotations"] == {"x": "y"}


def test_paths_of_the_user() -> None:
    rules = redact.parse_rules(["/spec/users/*/password", "ConfigMap:/data/a~1b"])
    body = {
        "kind": "ConfigMap",
        "metadata": {},
        "spec": {"users": [{"name": "x", "password": "one"}, {"name": "y"}]},
        "data": {"a/b": "two", "c": "three"},
    }
    paths = redact.paths_for(rules, kind="ConfigMap", secret=False)
    _before, after = redact.pair(None, body, paths)
    assert after is not None
    assert after["spec"]["users"] == [{"name": "x", "password": "(hidden, changed)"}, {"name": "y"}]
    assert after["data"] == {"a/b": "(hidden, changed)", "c": "three"}
    assert redact.values(body, paths) == {"one", "two"}
    assert redact.paths_for(rules, kind="Deployment", secret=False) == (("spec", "users", "*", "password"),)


def test_a_wrong_rule_shows_nothing() -> None:
    assert redact.shown_objects([{"kind": "ConfigMap", "data": {"a": "b"}}], ["oops"]) == ["(hidden)"]


def test_hidden_values_are_compared_to_the_letter() -> None:
    assert redact.hidden_equal(_secret(a="1E03"), _secret(a="1E03", b="x"), SECRET)
    assert not redact.hidden_equal(_secret(a="1E03"), _secret(a="1000"), SECRET)
    assert not redact.hidden_equal(_secret(a="1E03"), _secret(), SECRET)


def test_what_a_server_says_is_scrubbed() -> None:
    assert redact.scrub("Invalid value: hunter22 abc", {"hunter22", "abc"}) == "Invalid value: (hidden) abc"
