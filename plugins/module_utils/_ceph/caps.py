# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What a Ceph user may do, as sets of grants per kind of daemon. Pure.

Ceph keeps one text per kind of daemon and compares nothing. Here a text is parsed into grants, so that neither order,
spacing, quotes nor repetition make a difference, and what differs is named grant by grant.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Iterable, Mapping

from .._core.errors import InvalidInput

#: Kinds of daemons that know caps, in the order in which they are shown.
DAEMONS: t.Final = ("mon", "mgr", "osd", "mds")
_LETTERS: t.Final = "rwxpsf"
_EVERYTHING: t.Final = frozenset({"*", "all", "any"})
_CLASS_ACCESS: t.Final = frozenset({"class-read", "class-write"})
_ACCESS: t.Final = re.compile(rf"[{_LETTERS}]+")
#: Words that are followed by a value, with or without ``=``.
_VALUED: t.Final = frozenset({"fsname", "gids", "namespace", "network", "object_prefix", "path", "pool", "uid"})
#: Words that are followed by a name and say what is allowed instead of, or next to, the access.
_SUBJECTS: t.Final = ("command", "service", "module", "class")
#: A word; a list of numbers is one word as well.
_PLAIN: t.Final = re.compile(r"[0-9]+(?:,[0-9]+)+(?![^\s,;])|[^\s,;'\"=]+")


@dataclasses.dataclass(frozen=True, order=True)
class Grant:
    """One grant of one daemon's text.

    :ivar text: its canonical form, which Ceph understands; two grants are the same when it is the same.
    :ivar profile: name of the profile, empty when it is none.
    :ivar access: ``*``, letters in the order ``rwxpsf``, or empty.
    :ivar where: restrictions, such as ``pool``, ``namespace``, ``fsname``, ``path``; ``tag cephfs data`` for a tag.
    """

    text: str
    profile: str = dataclasses.field(default="", compare=False)
    access: str = dataclasses.field(default="", compare=False)
    where: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return self.text


Grants = frozenset[Grant]
Caps = Mapping[str, Grants]


@dataclasses.dataclass(frozen=True)
class CapsDiff:
    """Grants to add and to take away, as texts by daemon; daemons without a difference are left out."""

    added: Mapping[str, tuple[str, ...]]
    removed: Mapping[str, tuple[str, ...]]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    @property
    def widens(self) -> bool:
        """Something is allowed afterwards that is not now."""
        return bool(self.added)

    def why(self) -> str:
        """The difference in one clause."""
        parts = [f"{daemon} + {', '.join(texts)}" for daemon, texts in self.added.items()]
        parts += [f"{daemon} - {', '.join(texts)}" for daemon, texts in self.removed.items()]
        return "; ".join(parts)


# -- parsing ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Token:
    text: str
    quoted: bool = False


def _tokens(text: str) -> list[_Token]:
    """Split into words, quoted strings and the signs ``, ; =``."""
    found: list[_Token] = []
    at = 0
    while at < len(text):
        sign = text[at]
        if sign.isspace():
            at += 1
        elif sign in ",;=":
            found.append(_Token(sign))
            at += 1
        elif sign in "'\"":
            end = text.find(sign, at + 1)
            if end < 0:
                raise ValueError(f"the quote {sign} at character {at + 1} is not closed")
            found.append(_Token(text[at + 1 : end], quoted=True))
            at = end + 1
        else:
            word = _PLAIN.match(text, at)
            if word is None:
                raise ValueError(f"character {at + 1} fits nowhere")
            found.append(_Token(word.group()))
            at = word.end()
    return found


def _split(tokens: Iterable[_Token]) -> list[list[_Token]]:
    """Split into grants."""
    groups: list[list[_Token]] = [[]]
    for token in tokens:
        if not token.quoted and token.text in (",", ";"):
            groups.append([])
        else:
            groups[-1].append(token)
    return [group for group in groups if group]


def _quoted(value: str) -> str:
    """Return a value as it may stand in a text."""
    if value and re.fullmatch(r"[A-Za-z0-9_./:*@+-]+(?:,[0-9]+)*", value):
        return value
    return f"'{value}'" if "'" not in value else f'"{value}"'


class _Reader:
    """The words of one grant, one after the other."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._left = tokens

    def __bool__(self) -> bool:
        return bool(self._left)

    def next(self) -> _Token:
        return self._left.pop(0)

    def peek(self, ahead: int = 0) -> str:
        """The next word, or a later one; empty if it is quoted or there is none."""
        return "" if len(self._left) <= ahead or self._left[ahead].quoted else self._left[ahead].text

    def value(self, word: str) -> str:
        """What follows *word*, with or without ``=``."""
        if self.peek() == "=":
            self.next()
        if not self._left or self.peek() == "=":
            raise ValueError(f"nothing follows {word!r}")
        return self.next().text


def _access(words: Iterable[str]) -> str:
    letters: set[str] = set()
    classes: set[str] = set()
    for word in words:
        if word in _EVERYTHING:
            return "*"
        if word in _CLASS_ACCESS:
            classes.add(word)
        else:
            letters |= set(word)
    return " ".join(["".join(sorted(letters, key=_LETTERS.index)), *sorted(classes)]).strip()


def _grant(tokens: list[_Token]) -> Grant:
    reader = _Reader(tokens)
    first = reader.next().text
    profile = ""
    if first == "profile":
        profile = reader.value("profile")
    elif first != "allow":
        raise ValueError(f"a grant begins with 'allow' or 'profile', not with {first!r}")
    accesses: list[str] = []
    subjects: list[tuple[str, str]] = []
    where: dict[str, str] = {}
    conditions: list[str] = []
    while reader:
        token = reader.next()
        word = token.text
        if token.quoted:
            raise ValueError(f"{word!r} stands where no value is expected")
        if word == "profile" and not profile:
            profile = reader.value(word)
        elif word in _VALUED:
            where[word] = reader.value(word)
        elif word == "tag":
            application = reader.value(word)
            key = reader.next().text if reader else ""
            if not key or reader.peek() != "=":
                raise ValueError(f"a tag is written as 'tag {application} KEY=VALUE'")
            where[f"tag {application} {key}"] = reader.value(key)
        elif word == "root_squash":
            where[word] = ""
        elif word in _SUBJECTS:
            subjects.append((word, reader.value(word)))
            if word == "class" and reader and reader.peek() not in (*_SUBJECTS, "with", "") and not accesses:
                subjects.append(("", reader.next().text))
        elif word == "with":
            conditions.append(_condition(reader))
        elif word in _EVERYTHING or word in _CLASS_ACCESS or _ACCESS.fullmatch(word):
            accesses.append(word)
        else:
            raise ValueError(f"{word!r} is no word of a grant")
    access = _access(accesses)
    return Grant(_render(profile, access, subjects, where, conditions), profile, access, where)


def _condition(reader: _Reader) -> str:
    """One or more ``key=value``, ``key prefix value`` or ``key regex value`` after ``with``."""
    found: list[str] = []
    while reader.peek(1) in ("=", "prefix", "regex"):
        key = reader.next().text
        if reader.peek() == "=":
            found.append(f"{key}={_quoted(reader.value(key))}")
        else:
            how = reader.next().text
            found.append(f"{key} {how} {_quoted(reader.value(how))}")
    if not found:
        raise ValueError("no condition follows 'with'")
    return "with " + " ".join(sorted(found))


def _command(name: str) -> str:
    """A command in quotes, if it is more than a word."""
    if "'" in name:
        return f'"{name}"'
    return f"'{name}'" if " " in name else name


def _render(
    profile: str,
    access: str,
    subjects: Iterable[tuple[str, str]],
    where: Mapping[str, str],
    conditions: Iterable[str],
) -> str:
    parts = [f"profile {_quoted(profile)}"] if profile else ["allow"]
    parts += [f"{word} {_command(name) if word == 'command' else name}".strip() for word, name in subjects]
    parts += conditions
    if access:
        parts.append(access)
    order = ("fsname", "pool", "namespace", "object_prefix", "path", "uid", "gids")
    for word in order:
        if word in where:
            parts.append(f"{word}={_quoted(where[word])}")
    for word in sorted(word for word in where if word.startswith("tag ")):
        value = where[word]
        parts.append(f"{word}={_quoted(value)}")
    if "root_squash" in where:
        parts.append("root_squash")
    if "network" in where:
        parts.append(f"network {where['network']}")
    return " ".join(parts)


def grants(text: str | Iterable[str]) -> Grants:
    """Return the grants of one daemon's text, or of several texts.

    :raises ValueError: what is wrong with the text.
    """
    texts = [text] if isinstance(text, str) else list(text)
    found: set[Grant] = set()
    for one in texts:
        found |= {_grant(group) for group in _split(_tokens(one))}
    return frozenset(found)


def lenient(text: str) -> Grants:
    """Return the grants of a text that Ceph has accepted; one that is not understood counts as it is written."""
    try:
        return grants(text)
    except ValueError:
        return frozenset({Grant(" ".join(text.split()))}) if text.strip() else frozenset()


def present(caps: Mapping[str, str]) -> dict[str, Grants]:
    """Return the caps of a user as the server has them."""
    found = {daemon: lenient(text) for daemon, text in caps.items()}
    return {daemon: given for daemon, given in found.items() if given}


def parse(caps: Mapping[str, t.Any], item: str) -> dict[str, Grants]:
    """Return declared caps: by daemon, a text or a list of grants.

    :param item: where they are written.
    :raises InvalidInput: with the daemon that is wrong (rules ``caps-daemon``, ``caps-grammar``).
    """
    result: dict[str, Grants] = {}
    for daemon, value in caps.items():
        if daemon not in DAEMONS:
            raise InvalidInput(
                f"{daemon!r} is no kind of daemon.",
                item=item,
                rule="caps-daemon",
                fix=f"use {', '.join(DAEMONS)}.",
            )
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, (list, tuple)) or not all(isinstance(one, str) for one in texts):
            raise InvalidInput(
                "caps are a text, or a list of texts.",
                item=f"{item}.{daemon}",
                rule="caps-grammar",
                fix="write for instance profile rbd pool=POOL namespace=NAMESPACE.",
            )
        try:
            given = grants(texts)
        except ValueError as error:
            raise InvalidInput(
                f"Ceph would not take these caps: {error}.",
                item=f"{item}.{daemon}",
                rule="caps-grammar",
                fix="write for instance allow rw tag cephfs data=FS, or profile rbd pool=POOL namespace=NAMESPACE.",
            ) from error
        if given:
            result[daemon] = given
    return result


# -- as sets ---------------------------------------------------------------------------------------------------------


def render(given: Grants) -> str:
    """Return the text of one daemon's grants, in one order."""
    return ", ".join(sorted(grant.text for grant in given))


def texts(caps: Caps) -> dict[str, str]:
    """Return the texts of a user's caps, as Ceph takes them."""
    return {daemon: render(caps[daemon]) for daemon in DAEMONS if caps.get(daemon)}


def lists(caps: Caps) -> dict[str, list[str]]:
    """Return the grants of a user's caps as sorted lists, for people to read."""
    return {daemon: sorted(grant.text for grant in caps[daemon]) for daemon in DAEMONS if caps.get(daemon)}


def diff(before: Caps, after: Caps) -> CapsDiff:
    """Return what is to be added and removed."""
    added: dict[str, tuple[str, ...]] = {}
    removed: dict[str, tuple[str, ...]] = {}
    for daemon in DAEMONS:
        old, new = before.get(daemon, frozenset()), after.get(daemon, frozenset())
        if new - old:
            added[daemon] = tuple(sorted(grant.text for grant in new - old))
        if old - new:
            removed[daemon] = tuple(sorted(grant.text for grant in old - new))
    return CapsDiff(added, removed)


def union(*given: Caps) -> dict[str, Grants]:
    """Return all grants of several caps."""
    result: dict[str, Grants] = {}
    for caps in given:
        for daemon, some in caps.items():
            result[daemon] = result.get(daemon, frozenset()) | some
    return result


def within(caps: Caps, other: Caps) -> bool:
    """Say whether *other* has every grant of *caps*."""
    return all(given <= other.get(daemon, frozenset()) for daemon, given in caps.items())
