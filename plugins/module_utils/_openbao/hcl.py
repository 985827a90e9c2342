# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""HCL of OpenBao policies: written from rules, checked cheaply, compared without regard to trailing white space.

No full parser: the server has one. This finds what people get wrong (a brace, a quote, a capability) before anything is
written, and names the rule.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing as t

from .._core.errors import InvalidInput, check
from .fields import seconds

CAPABILITIES: t.Final = ("create", "read", "update", "delete", "list", "patch", "scan", "sudo", "deny")
#: Keys inside ``path "..." { }`` that OpenBao or Vault 1.13 know.
RULE_KEYS: t.Final = (
    "capabilities",
    "policy",
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "min_wrapping_ttl",
    "max_wrapping_ttl",
    "pagination_limit",
    "response_keys_filter_path",
    "list_scan_response_keys_filter_path",
    "expiration",
    "comment",
    "mfa_methods",
    "control_group",
)

_OWNER_LINE = re.compile(r"^#\s*managed by hackspace\.infra(?::\s*(\S+))?\s*$")
#: Who we are in the comment line that marks an OpenBao policy.
OWNER: t.Final = "openbao_policies"
LINE: t.Final = f"# managed by hackspace.infra: {OWNER}"


def normalised(text: str) -> str:
    """Return *text* without white space at the ends of lines and of the whole, with one newline at the end."""
    return "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").split("\n")).strip() + "\n"


def split_owner(text: str) -> tuple[str | None, str]:
    """Return the owner (``""`` for a mark without one, ``None`` for no mark) and the text without the mark."""
    lines = normalised(text).split("\n")
    for number, line in enumerate(lines):
        if line and not line.startswith("#"):
            break
        match = _OWNER_LINE.match(line)
        if match:
            return match.group(1) or "", normalised("\n".join(lines[:number] + lines[number + 1 :]))
    return None, normalised(text)


def marked(text: str) -> str:
    """Return *text* with our mark as its first line, and no other mark."""
    return f"{LINE}\n{split_owner(text)[1]}"


# -- rules to text -------------------------------------------------------------------------------------------------


def _quoted(value: t.Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else json.dumps(value)


def _list(values: t.Iterable[t.Any]) -> str:
    return "[" + ", ".join(_quoted(v) for v in values) + "]"


_PARAMETERS: t.Final = ("allowed_parameters", "denied_parameters")


def render(rules: t.Sequence[t.Mapping[str, t.Any]], *, item: str) -> str:
    """Return the HCL of *rules*, one block each, in the order given."""
    blocks: list[str] = []
    seen: set[str] = set()
    for number, rule in enumerate(rules):
        where = f"{item}.rules[{number}]"
        path = str(rule.get("path") or "").strip()
        check(path, "has no path.", item=where, rule="rule-path", fix='write path: "kv/data/team/*".')
        where = f"{where} ({path})"
        check(
            not path.startswith("v1/") and not path.startswith("/v1/"),
            "begins with v1/, which is part of the address and not of the path.",
            item=where,
            rule="rule-path-v1",
            fix="leave v1/ out.",
        )
        check(
            path not in seen,
            "is there twice; OpenBao would take one of the two.",
            item=where,
            rule="rule-path-twice",
            fix="join the two rules.",
        )
        seen.add(path)
        wanted = [str(c) for c in rule.get("capabilities") or []]
        check(
            wanted, "has no capabilities.", item=where, rule="capabilities-missing", fix="write capabilities: [read]."
        )
        _check_capabilities(wanted, where)
        lines = [f"# {line}" for line in str(rule.get("comment") or "").strip().splitlines()]
        lines += [f"path {_quoted(path)} {{", f"  capabilities = {_list(wanted)}"]
        for key in _PARAMETERS:
            if rule.get(key):
                check(
                    isinstance(rule[key], t.Mapping),
                    "is not a mapping.",
                    item=f"{where}.{key}",
                    rule="type",
                    fix="name: [values].",
                )
                lines.append(f"  {key} = {{")
                lines += [f"    {_quoted(str(n))} = {_list(v or [])}" for n, v in sorted(rule[key].items())]
                lines.append("  }")
        if rule.get("required_parameters"):
            lines.append(f"  required_parameters = {_list(str(v) for v in rule['required_parameters'])}")
        for key in ("min_wrapping_ttl", "max_wrapping_ttl"):
            if rule.get(key):
                lines.append(f"  {key} = {_quoted(str(seconds(rule[key], item=f'{where}.{key}')) + 's')}")
        lines.append("}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _check_capabilities(wanted: t.Sequence[str], where: str) -> None:
    for capability in wanted:
        near = difflib.get_close_matches(capability.lower(), CAPABILITIES, 1)
        check(
            capability in CAPABILITIES,
            f"{capability!r} is not a capability.",
            item=where,
            rule="capability",
            fix=f"did you mean {near[0]}?" if near else f"capabilities are {', '.join(CAPABILITIES)}.",
        )
    check(
        "deny" not in wanted or len(wanted) == 1,
        "has deny together with other capabilities; deny wins over all of them.",
        item=where,
        rule="capability-deny",
        fix="write deny alone, or leave it out.",
    )


# -- the check of a text -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Token:
    kind: str  # string, word, or the character itself
    text: str
    line: int


_WORD = re.compile(r"[A-Za-z0-9_.\-]+")
_HEREDOC = re.compile(r"<<-?([A-Za-z_][A-Za-z0-9_]*)\n(.*?)\n\s*\1(?=\n|$)", re.DOTALL)
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_CLOSES: t.Final = {"}": "{", "]": "["}


def _tokens(text: str, item: str) -> list[_Token]:
    found: list[_Token] = []
    at, line = 0, 1
    while at < len(text):
        char = text[at]
        if char == "\n":
            line += 1
            at += 1
        elif char.isspace() or char in ",=:":
            at += 1
        elif char == "#" or text.startswith("//", at):
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif text.startswith("/*", at):
            end = text.find("*/", at)
            check(
                end >= 0,
                "has a comment that never ends.",
                item=f"{item}, line {line}",
                rule="hcl-comment",
                fix="close it with */.",
            )
            line += text.count("\n", at, end)
            at = end + 2
        elif char == '"':
            match = _STRING.match(text, at)
            if match is None:
                raise InvalidInput(
                    "has a text in quotes that does not end on its line.",
                    item=f"{item}, line {line}",
                    rule="hcl-quote",
                    fix='close it with ".',
                )
            found.append(_Token("string", match.group(1), line))
            at = match.end()
        elif char in "{}[]":
            found.append(_Token(char, char, line))
            at += 1
        elif text.startswith("<<", at) and (heredoc := _HEREDOC.match(text, at)):
            found.append(_Token("string", heredoc.group(2), line))
            line += heredoc.group(0).count("\n")
            at = heredoc.end()
        elif word := _WORD.match(text, at):
            found.append(_Token("word", word.group(0), line))
            at = word.end()
        else:
            raise InvalidInput(
                f"has a {char!r} where none can be.",
                item=f"{item}, line {line}",
                rule="hcl-character",
                fix="look for a missing quote before it.",
            )
    return found


def check_text(text: str, *, item: str) -> None:
    """Check the text of an OpenBao policy.

    :raises InvalidInput: naming the line or the rule.
    """
    check(text.strip(), "is empty.", item=item, rule="hcl-empty", fix="write at least one rule.")
    check(
        not text.lstrip().startswith("{"),
        "is JSON; the comment line that marks it as ours has no place in JSON.",
        item=item,
        rule="hcl-json",
        fix="write HCL, or use rules.",
    )
    tokens = _tokens(text, item)
    opened: list[_Token] = []
    rule = ""
    for index, token in enumerate(tokens):
        where = f"{item}, line {token.line}" + (f" ({rule})" if rule else "")
        if token.kind in "{[":
            opened.append(token)
        elif token.kind in _CLOSES:
            check(
                opened and opened[-1].kind == _CLOSES[token.kind],
                f"has a {token.text} that closes nothing.",
                item=where,
                rule="hcl-braces",
                fix="count the braces and brackets.",
            )
            opened.pop()
        elif not opened and token.kind == "word":
            check(
                token.text in ("path", "name"),
                f"{token.text!r} cannot stand outside of a rule.",
                item=where,
                rule="hcl-keyword",
                fix='rules begin with path "...".',
            )
            after = tokens[index + 1 : index + 3]
            if token.text == "path":
                check(
                    len(after) == 2 and after[0].kind == "string" and after[1].kind == "{",
                    "path is not followed by a path in quotes and a {.",
                    item=where,
                    rule="hcl-path",
                    fix='write path "kv/data/team/*" { ... }.',
                )
                rule = after[0].text
        elif len(opened) == 1 and token.kind == "word" and opened[0].kind == "{":
            before = tokens[index - 1]
            if before.kind in ("{", "}", "]", "string", "word") and _is_key(tokens, index):
                near = difflib.get_close_matches(token.text, RULE_KEYS, 1)
                check(
                    token.text in RULE_KEYS,
                    f"{token.text!r} is no key of a rule.",
                    item=where,
                    rule="hcl-key",
                    fix=f"did you mean {near[0]}?" if near else f"keys are {', '.join(RULE_KEYS)}.",
                )
                if token.text == "capabilities":
                    _check_capabilities(_values(tokens, index + 1), where)
    if opened:
        raise InvalidInput(
            f"has a {opened[-1].text} that is never closed.",
            item=f"{item}, line {opened[-1].line}" + (f" ({rule})" if rule else ""),
            rule="hcl-braces",
            fix="count the braces and brackets.",
        )


def _is_key(tokens: t.Sequence[_Token], index: int) -> bool:
    """A word is a key unless it is the value of the key before it (``pagination_limit = 100``)."""
    before = tokens[index - 1]
    return not (before.kind == "word" and before.text in RULE_KEYS)


def _values(tokens: t.Sequence[_Token], start: int) -> list[str]:
    if start >= len(tokens) or tokens[start].kind != "[":
        return []
    values: list[str] = []
    for token in tokens[start + 1 :]:
        if token.kind in "{}[]":
            break
        values.append(token.text)
    return values
