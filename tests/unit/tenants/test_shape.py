# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The published schema is the one that is checked, and our checker judges as any other would."""

from __future__ import annotations

import copy
import json
import re
import typing as t
from pathlib import Path

import jsonschema
import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._core import shape
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import findings, model, profile, schema
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[3]
PUBLISHED = json.loads((ROOT / "docs" / "tenant.schema.json").read_text())
JUDGE = jsonschema.Draft202012Validator(PUBLISHED)
SEALED = "AgB3x7nq2L0v9Tt5Rk8Wc1Zd4Yf6Uh8Ij0Kl2Mn4Op6Qr8St0=="

WHOLE: dict[str, t.Any] = {
    "version": 1,
    "name": "alice",
    "owner": {"subject": "alice", "group": "board", "contact": "alice@example.org"},
    "state": "active",
    "clusters": ["member-prod"],
    "namespaces": [
        {"name": "4-aux-alice", "tier": "4-aux", "path": "deploy", "network": "ingress", "quota": {"pods": "5"}},
        {"name": "4-aux-alice-test", "pod_security": "baseline"},
    ],
    "access": [{"group": "tenant-alice", "role": "operator"}, {"user": "carol", "role": "viewer"}],
    "source": {
        "url": "https://git.example.org/alice/k8s",
        "ref": {"semver": ">=1.0.0 <2.0.0"},
        "path": "./deploy",
        "interval": "10m",
        "auth": {"type": "token", "path": "git"},
        "verify": {"mode": "HEAD", "path": "keys"},
    },
    "domains": [
        {"name": "cal.alice.example.org", "auth": "app", "reason": "the proxy checks a token", "tls": {"path": "tls"}},
        {"name": "alice.example.org", "subdomains": True, "namespace": "4-aux-alice"},
    ],
    "network": "internet",
    "pod_security": "restricted",
    "secrets": {"from": ["openbao", "sealed-secrets"], "path": "web"},
    "image_pull": [{"name": "registry", "sealed": {".dockerconfigjson": SEALED}}],
    "data": [{"name": "calendar", "storage_class": "ceph-block", "retention_days": 30, "description": "CalDAV"}],
    "membership": {"id": "alice", "paid_until": "2026-12-31", "grace_days": 14},
}


def accepted(value: t.Any) -> bool:
    """Say whether our parser takes it."""
    try:
        model.parse(value, "alice.yaml")
    except InvalidInput:
        return False
    return True


def test_the_published_schema_is_the_one_that_is_checked() -> None:
    assert json.loads(json.dumps(dict(schema.TENANT))) == PUBLISHED
    jsonschema.Draft202012Validator.check_schema(PUBLISHED)


def test_the_inventory_has_the_same_for_the_platform() -> None:
    inventory = json.loads((ROOT / "plugins/module_utils/_graph/inventory.schema.json").read_text())
    assert inventory["properties"]["variables"]["properties"]["platform_tenants"] == json.loads(
        json.dumps(dict(profile.PROFILE))
    )


@pytest.mark.parametrize("given_schema", [schema.TENANT, profile.PROFILE], ids=["tenant", "platform"])
def test_only_keywords_are_used_that_are_checked(given_schema: t.Mapping[str, t.Any]) -> None:
    def look(value: t.Mapping[str, t.Any]) -> None:
        assert set(value) <= shape.KEYWORDS | shape.WORDS, set(value)
        assert "pattern" not in value or {"x-rule", "x-message", "x-fix"} <= set(value)
        for key in ("properties", "patternProperties", "$defs"):
            for one in value.get(key, {}).values():
                look(one)
        for key in ("items", "if", "then", "else", "additionalProperties"):
            if isinstance(value.get(key), dict):
                look(value[key])

    look(given_schema)


def test_the_documentation_names_every_rule_and_key() -> None:
    text = (ROOT / "docs" / "tenants.md").read_text()
    assert not [rule for rule, said in findings.RULES.items() if f"| `{rule}` | {said} |" not in text]
    assert not [key for key in schema.TENANT["properties"] if f"`{key}`" not in text and f"`{key}[]`" not in text]
    offered = set(profile.PROFILE["properties"]) - {"repository", "branch", "directory", "membership"}
    assert not [key for key in offered if not re.search(rf"`{key}[`.\[]", text)]
    inventory = (ROOT / "docs" / "inventory.md").read_text()
    assert not [key for key in profile.PROFILE["properties"] if not re.search(rf"`{key}[`\[]", inventory)]


def test_everything_at_once_is_right() -> None:
    assert JUDGE.is_valid(WHOLE)
    made = model.parse(WHOLE, "alice.yaml")
    assert made.source is not None
    assert made.source.ref == ("semver", ">=1.0.0 <2.0.0")
    assert made.namespaces[0].path == "./deploy"
    assert [one.kind for one in made.access] == ["Group", "User"]
    assert len(list(made.credentials())) == 5


def places(value: t.Any, path: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    """Yield the path of everything in a value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


PLACES = sorted(places(WHOLE), key=repr)
# Line ends: Python's $ stands before one at the end, and a validator that searches takes it; no editor does.
TEXT = st.text(st.characters(codec="ascii", exclude_characters="\n"), max_size=40)
SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5000),
    TEXT,
    st.sampled_from(
        [
            "none",
            "ssh",
            "required",
            "app",
            "./a/b",
            "a/../b",
            "x" * 64,
            "1Gi",
            "5m",
            "v1",
            "2026-13-01",
            "system:a",
            "a.b",
        ]
    ),
)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["name", "path", "type", "sealed", "auth", "role", "pods", "a"]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PLACES), st.sampled_from(["replace", "remove", "add"]), VALUE, TEXT)
def test_schema_and_parser_agree_on_whatever_is_changed(
    path: tuple[t.Any, ...], how: str, value: t.Any, key: str
) -> None:
    changed = copy.deepcopy(WHOLE)
    if not path:
        changed = value
    else:
        holder: t.Any = changed
        for step in path[:-1]:
            holder = holder[step]
        if how == "remove":
            del holder[path[-1]]
        elif how == "add" and isinstance(holder[path[-1]], dict):
            holder[path[-1]][key] = value
        else:
            holder[path[-1]] = value
    assert accepted(changed) is JUDGE.is_valid(changed)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda b: b.decode("latin-1"))))
def test_whatever_a_file_holds_is_one_clear_error(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        model.load(text, "alice.yaml")
    assert caught.value.rule
    assert caught.value.fix
    assert caught.value.item.startswith("alice.yaml")


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["a.yaml", "b.yml", "x/a.yaml", "_c.yaml", "d.txt"]), st.text(max_size=60)))
def test_whatever_files_hold_each_is_one_finding(files: dict[str, str]) -> None:
    found = findings.judge(files, profile.parse({}))
    read = {path for path in files if model.is_declaration(path)}
    assert {one.file for one in found.findings} == read
    assert found.broken == {model.stem(path) for path in read}


@pytest.mark.parametrize(
    "change",
    [
        {"source": {"url": "https://alice:hunter2@git.example.org/a/b"}},
        {"source": {"url": "https://git.example.org/a/b", "auth": "hunter2"}},
        {"image_pull": [{"name": "registry", "sealed": {"password": "hunter2"}}]},
        {"image_pull": [{"name": "registry", "sealed": "hunter2"}]},
        {"secrets": "hunter2"},
    ],
)
def test_an_error_repeats_no_password(change: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        model.parse({**WHOLE, **change}, "alice.yaml")
    assert "hunter2" not in str(caught.value.as_fail())


def test_an_alias_that_stands_for_more_and_more_ends_soon() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    text = "version: 1\nname: alice\nclusters: [a]\nowner: {contact: abc}\nnamespaces:\n" + "- *z\n"
    with pytest.raises(InvalidInput):
        model.load(text.replace("*z", "{}") + "access: &b\n- *b\n", "alice.yaml")
    with pytest.raises(InvalidInput):
        model.load("\n".join(lines), "alice.yaml")


def test_the_example_of_the_documentation_is_right() -> None:
    text = (ROOT / "docs" / "tenants.md").read_text()
    declaration, offer = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[:2]
    platform = yaml.safe_load(offer)["platform_tenants"]
    found = findings.judge({"tenants/alice.yaml": declaration}, profile.parse(platform), clusters=["member-prod"])
    # the example of an approval is for another domain
    assert [one.rule for one in found.findings] == ["approval-unused"]
    assert [one.name for one in found.sound] == ["alice"]
