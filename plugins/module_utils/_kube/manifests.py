# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Manifest files: several YAML documents, pinned by sha256."""

from __future__ import annotations

import hashlib
import typing as t

from .._core.errors import HackspaceError, InvalidInput, check
from .model import Source


def load(content: bytes, name: str, sha256: str | None = None) -> list[Source]:
    """Return the objects in a manifest; documents with nothing but comments are left out.

    :raises InvalidInput: for another checksum, for what is not YAML, and for a key given twice in one map.
    """
    if sha256:
        found = hashlib.sha256(content).hexdigest()
        check(
            found == sha256.lower(),
            f"its sha256 is {found}, pinned is {sha256.lower()}.",
            item=name,
            rule="manifest-sha256",
            fix="get the file that was pinned, or read what changed and pin the new one.",
        )
    try:
        import yaml
    except ImportError as error:
        raise HackspaceError(
            "the Python package PyYAML is missing on the controller.",
            rule="python-package",
            fix="pip install -r requirements.txt in the environment that runs Ansible.",
        ) from error
    base: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]  # the C loader exists only where libyaml does
        """Safe; refuses keys given twice; leaves dates as text, as JSON has none."""

        def construct_mapping(self, node: t.Any, deep: bool = False) -> t.Any:
            seen = set()
            for key_node, _value in node.value:
                if key_node.tag == "tag:yaml.org,2002:merge":
                    continue
                key = key_node.value if isinstance(key_node.value, str) else None
                if key is not None and key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} is given twice", key_node.start_mark
                    )
                seen.add(key)
            return super().construct_mapping(node, deep=deep)

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:timestamp"]
        for first, rules in base.yaml_implicit_resolvers.items()
    }
    result = []
    try:
        for number, document in enumerate(yaml.load_all(content, Loader=Loader), 1):
            if document is not None:
                result.append(Source(document, f"{name} document {number}"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise InvalidInput(
            f"this is not YAML{place}: {problem}.", item=name, rule="manifest-yaml", fix="correct the file."
        ) from None
    check(
        result,
        "the file has no objects.",
        item=name,
        rule="manifest-empty",
        fix="check that this is the right file.",
    )
    return result
