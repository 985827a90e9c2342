# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Would these OpenBao policies let a ServiceAccount read its path?"""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.doctor_policy import (
    Wanted,
    covers,
    may_read,
    resolved,
    rules,
)
from hypothesis import given
from hypothesis import strategies as st

NS = "{{identity.entity.aliases.acc1.metadata.service_account_namespace}}"
WANTED = Wanted("kv", 2, "tenants/prod/4-aux-a/x", "acc1", {"service_account_namespace": "4-aux-a"})


def block(path: str, *capabilities: str) -> str:
    listed = ", ".join(f'"{c}"' for c in capabilities or ("read",))
    return f'path "{path}" {{\n  capabilities = [{listed}]\n}}\n'


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (block(f"kv/data/tenants/prod/{NS}/*"), ""),
        (block(f"kv/data/tenants/prod/{NS}/+"), ""),
        (block("kv/data/tenants/+/4-aux-a/*"), ""),
        (block("kv/*"), ""),
        (block("*"), ""),
        (block(f"kv/data/tenants/prod/{NS}/*", "create", "list"), "policy-path"),
        (block(f"kv/data/tenants/prod/{NS}"), "policy-path"),
        (block("kv/data/tenants/prod/4-aux-b/*"), "policy-path"),
        (block(f"kv/data/tenants/prod/{NS.replace('acc1', 'acc2')}/*"), "policy-accessor"),
        (block(f"kv/tenants/prod/{NS}/*"), "policy-kv-version"),
        (block("kv/*", "deny") + block(f"kv/data/tenants/prod/{NS}/*"), ""),
        (block("kv/*") + block(f"kv/data/tenants/prod/{NS}/*", "deny"), "policy-denied"),
        (block("kv/*") + block(f"kv/data/tenants/prod/{NS}/*", "list"), "policy-path"),
        (f"# {block('kv/*')}".replace("\n", "\n# "), "policy-path"),
        ("", "policy-path"),
    ],
)
def test_answers(text: str, cause: str) -> None:
    assert may_read({"p": text}, WANTED).cause == cause


def test_deny_of_another_policy_on_the_same_path_wins() -> None:
    path = f"kv/data/tenants/prod/{NS}/*"
    answer = may_read({"a": block(path), "b": block(path, "deny")}, WANTED)
    assert (answer.cause, answer.policy) == ("policy-denied", "b")


def test_both_versions_of_kv() -> None:
    old = dataclasses.replace(WANTED, version=1)
    assert may_read({"p": block(f"kv/tenants/prod/{NS}/*")}, old).cause == ""
    answer = may_read({"p": block(f"kv/data/tenants/prod/{NS}/*")}, old)
    assert (answer.cause, answer.path) == ("policy-kv-version", f"kv/data/tenants/prod/{NS}/*")


def test_metadata_that_the_login_lacks_drops_the_path() -> None:
    assert resolved(f"a/{NS}/b", dataclasses.replace(WANTED, metadata={})) is None
    assert resolved(f"a/{NS}/b", WANTED) == "a/4-aux-a/b"
    assert resolved("a/{{identity.entity.id}}", WANTED) is None


def test_rules_of_a_policy() -> None:
    text = block("a/*", "read", "list") + '\n// path "no" { capabilities = ["read"] }\n' + block("b")
    assert [(rule.path, set(rule.capabilities)) for rule in rules(text)] == [("a/*", {"read", "list"}), ("b", {"read"})]


SEGMENT = st.text("abc-.", min_size=1, max_size=4)


@given(st.lists(SEGMENT, min_size=1, max_size=5), st.data())
def test_patterns_cover_what_they_were_made_from(parts: list[str], data: st.DataObject) -> None:
    asked = "/".join(parts)
    assert covers(asked, asked)
    place = data.draw(st.integers(0, len(parts) - 1))
    assert covers("/".join([*parts[:place], "+", *parts[place + 1 :]]), asked)
    assert not covers("/".join(["+"] * (len(parts) + 1)), asked)
    cut = data.draw(st.integers(0, len(asked)))
    assert covers(asked[:cut] + "*", asked)
    assert not covers(asked + "x*", asked)
