# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HCL of OpenBao policies."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.admin_plan import DEFAULT_POLICY
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.hcl import (
    CAPABILITIES,
    LINE,
    check_text,
    marked,
    normalised,
    render,
    split_owner,
)
from hypothesis import given
from hypothesis import strategies as st

LINES = st.lists(
    st.sampled_from(["", "  ", "# why", 'path "a" {', "  }\t", "x\r", LINE, "# managed by hackspace.infra"])
)
NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=20)


@given(LINES)
def test_normalising_twice_is_normalising_once(lines: list[str]) -> None:
    once = normalised("\n".join(lines))
    assert normalised(once) == once
    assert normalised(once.replace("\n", "  \r\n")) == once


@given(LINES)
def test_the_mark_is_found_again_and_is_there_once(lines: list[str]) -> None:
    text = "\n".join(lines)
    once = marked(text)
    owner, bare = split_owner(once)
    assert owner == "openbao_policies"
    assert marked(once).startswith(LINE + "\n")
    assert bare == split_owner(text)[1]


RULES = st.lists(
    st.fixed_dictionaries(
        {
            "path": NAMES.map(lambda s: "p/" + s.strip() + "x"),
            "capabilities": st.lists(
                st.sampled_from([c for c in CAPABILITIES if c != "deny"]), min_size=1, unique=True
            ),
        },
        optional={
            "allowed_parameters": st.dictionaries(NAMES, st.lists(NAMES, max_size=2), max_size=2),
            "required_parameters": st.lists(NAMES, max_size=2),
            "comment": NAMES,
            "min_wrapping_ttl": st.sampled_from(["1m", "60"]),
        },
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda rule: str(rule["path"]).strip(),
)


@given(RULES)
def test_what_is_rendered_passes_the_check(rules: list[dict[str, t.Any]]) -> None:
    check_text(render(rules, item="p"), item="p")


def test_render() -> None:
    assert render(
        [
            {
                "path": "kv/data/{{identity.entity.id}}/*",
                "capabilities": ["create"],
                "allowed_parameters": {"b": [], "a": ["x", 'q"']},
                "required_parameters": ["a"],
                "max_wrapping_ttl": "1h",
                "comment": "two\nlines",
            },
            {"path": "x", "capabilities": ["deny"]},
        ],
        item="p",
    ) == (
        "# two\n# lines\n"
        'path "kv/data/{{identity.entity.id}}/*" {\n  capabilities = ["create"]\n'
        '  allowed_parameters = {\n    "a" = ["x", "q\\""]\n    "b" = []\n  }\n'
        '  required_parameters = ["a"]\n  max_wrapping_ttl = "3600s"\n}\n\n'
        'path "x" {\n  capabilities = ["deny"]\n}\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        DEFAULT_POLICY,
        'path "a" { capabilities = ["read"] }',
        'path "a" { capabilities = ["read",] pagination_limit = 100 }',
        'path "a" { policy = "write" }',
        '# {\n// [\n/* " */ path "a}" { capabilities = ["read"] }',
        'path "a" {\n allowed_parameters = { "x" = ["}"] capabilities = ["anything"] }\n}',
        'path "a" { comment = <<EOF\n } {\nEOF\n capabilities = ["list"] }',
        "# only a comment",
    ],
)
def test_good_texts(text: str) -> None:
    check_text(text, item="p")


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        (None, "# something else\npath"),
        (None, 'path "a" {}\n# managed by hackspace.infra'),
        ("", "\n# managed by hackspace.infra\npath"),
        ("tenants", "# first\n#managed by hackspace.infra: tenants  \npath"),
        (None, "# managed by hackspace.infrastructure\n"),
    ],
)
def test_owner(owner: str | None, text: str) -> None:
    assert split_owner(text)[0] == owner


def test_an_error_names_line_and_rule() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_text(
            'path "a" {\n  capabilities = ["read"]\n}\npath "b" {\n  capabilities = ["raed"]\n}', item="policies[0] (x)"
        )
    assert caught.value.item == "policies[0] (x), line 5 (b)"
    assert (caught.value.rule, caught.value.fix) == ("capability", "did you mean read?")
