#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: text_files
version_added: 0.1.0
short_description: Keep a folder of generated text files as wanted
description:
  - Writes many small text files in one call, as the tests that P(hackspace.infra.tier_tests#filter) renders.
  - Files of its own carry O(mark) in their first line. Others are not overwritten unless O(adopt=true), and never
    deleted. Nothing secret belongs here, as contents are shown in the diff.
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.ownership
options:
  path:
    description: Folder; made if it is not there. The folder above it must exist.
    type: path
    required: true
  files:
    description: Contents by path in the folder. Folders between are made.
    type: dict
    required: true
  mark:
    description: Text that the first line of each file holds.
    type: str
    required: true
author:
  - hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Write the tests of the namespace tiers
  hackspace.infra.text_files:
    path: "{{ playbook_dir }}/tests/tiers"
    mark: Made by hackspace.infra.tier_tests
    files: "{{ (platform_tiers | hackspace.infra.tier_tests).files }}"
"""

RETURN = r"""
changes:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: dict
unchanged:
  description: Number of files that were as wanted.
  returned: success
  type: int
foreign:
  description: Files that were there and were not made by this, and were replaced.
  returned: success
  type: list
  elements: str
stale:
  description: Files made earlier that are not wanted any more, and are left.
  returned: success
  type: list
  elements: str
"""

import contextlib
import os
import typing as t
from collections.abc import Iterator

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core.errors import HackspaceError, check
from ..module_utils._core.module import OWNERSHIP, ArgumentSpec, plan_result, run
from ..module_utils._core.plan import Plan
from ..module_utils._core.texts import check_names, is_ours, plan

SPEC = ArgumentSpec(
    options={
        "path": {"type": "path", "required": True},
        "files": {"type": "dict", "required": True},
        "mark": {"type": "str", "required": True},
    }
).merge(OWNERSHIP)


def main(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    """Read, plan, write."""
    params = module.params
    files = {str(name): str(content) for name, content in params["files"].items()}
    check_names(files, params["mark"])
    above = os.path.dirname(os.path.abspath(params["path"]))
    check(
        os.path.isdir(above),
        f"there is no folder {above}.",
        item="path",
        rule="folder-above",
        fix="make it, or give another path.",
    )
    try:
        current = dict(_read(params["path"], files, params["mark"]))
        prune = params["prune_max_percent"] if params["prune"] else None
        made = plan(files, current, params["mark"], adopt=params["adopt"], prune=prune)
        if not module.check_mode:
            _apply(params["path"], made)
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise HackspaceError(
            f"a file cannot be read or written ({what}).",
            item=str(getattr(error, "filename", None) or params["path"]),
            rule="file-write",
            fix="look at the folder, its owner and its mode.",
        ) from None
    stale = [] if params["prune"] else sorted(set(current) - set(files))
    return plan_result(module, made, stale=stale)


def _read(folder: str, wanted: t.Mapping[str, str], mark: str) -> Iterator[tuple[str, str]]:
    """Return the wanted files that are there, and all others that are ours."""
    # What a link leads to is not walked through, and is written through all the same.
    for path in wanted:
        full = os.path.join(folder, path)
        if os.path.lexists(full):
            with open(full, encoding="utf-8", newline="") as handle:
                yield path, handle.read()
    for top, _folders, names in os.walk(folder):
        for name in names:
            full = os.path.join(top, name)
            path = os.path.relpath(full, folder)
            if path not in wanted and os.path.isfile(full):
                with open(full, encoding="utf-8", errors="replace", newline="") as handle:
                    content = handle.readline(4096)
                    if is_ours(content, mark):
                        yield path, content + handle.read()


def _apply(folder: str, made: Plan) -> None:
    if made.changes and not os.path.isdir(folder):
        os.mkdir(folder)
    for change in made.changes:
        full = os.path.join(folder, change.name)
        if change.action == "delete":
            os.unlink(full)
            # Folders that are empty now go as well.
            with contextlib.suppress(OSError):
                os.removedirs(os.path.dirname(full))
            continue
        os.makedirs(os.path.dirname(full), exist_ok=True)
        part = f"{full}.part"
        with open(part, "w", encoding="utf-8", newline="") as handle:
            handle.write((change.after or {})["content"])
        os.replace(part, full)


if __name__ == "__main__":
    run(SPEC, main)
