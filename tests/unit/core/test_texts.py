# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of generated text files."""

from __future__ import annotations

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core import texts
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput, Refused

MARK = "Made by us"
OLD, NEW = f"# {MARK}\nold\n", f"# {MARK}\nnew\n"


def test_create_update_leave_and_name_what_is_stale() -> None:
    wanted = {"a": NEW, "b/c": NEW, "d": OLD}
    made = texts.plan(wanted, {"b/c": OLD, "d": OLD, "e": OLD}, MARK, adopt=False, prune=None)
    assert [(one.action, one.name) for one in made.changes] == [("create", "a"), ("update", "b/c")]
    assert made.unchanged == 1
    assert "e" in made.warnings[0]
    assert made.diff()[1]["before"] == {"content": OLD}


def test_prune_is_capped_and_needs_something_wanted() -> None:
    current = {"a": NEW, "b": OLD, "c": OLD}
    made = texts.plan({"a": NEW}, current, MARK, adopt=False, prune=100)
    assert [(one.action, one.name) for one in made.changes] == [("delete", "b"), ("delete", "c")]
    with pytest.raises(Refused, match=r"\[prune-cap\]"):
        texts.plan({"a": NEW}, current, MARK, adopt=False, prune=20)
    with pytest.raises(Refused, match=r"\[prune-empty\]"):
        texts.plan({}, current, MARK, adopt=False, prune=100)


def test_what_others_wrote_is_replaced_only_on_request() -> None:
    current = {"a": "by hand\n", "z": "by hand\n"}
    with pytest.raises(Refused, match=r"\[not-ours\]"):
        texts.plan({"a": NEW}, current, MARK, adopt=False, prune=100)
    made = texts.plan({"a": NEW}, current, MARK, adopt=True, prune=100)
    assert [(one.action, one.name) for one in made.changes] == [("update", "a")]
    assert made.foreign == ["a"]


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\0b"])
def test_paths_stay_inside(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"\[file-path\]"):
        texts.check_names({name: NEW}, MARK)


def test_every_file_carries_the_mark() -> None:
    with pytest.raises(InvalidInput, match=r"\[file-mark\]"):
        texts.check_names({"a": f"text\n# {MARK}\n"}, MARK)
    texts.check_names({"a/b.yaml": NEW}, MARK)
