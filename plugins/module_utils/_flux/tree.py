# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is in a Git tree that a locked-down Flux refuses, or that the next version of Flux does. Pure.

kustomize is not run: what its patches make of an object is not known here, but for the flags of Flux' own controllers.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .._core.errors import HackspaceError
from .._kube import manifests
from . import lockdown
from .bootstrap_plan import ACCOUNTS, REFERENCES, foreign_references
from .model import NAMESPACE

#: Every rule, and what it says.
RULES: t.Final[Mapping[str, str]] = {
    "platform-account": "Kustomizations and HelmReleases in Flux' own namespace name their ServiceAccount",
    "cross-namespace": "no object refers to a source of another namespace",
    "remote-base": "everything that kustomize builds lies in the repository",
    "removed-api": "no object has a version of its kind that Flux has removed",
    "substitute-default": "every variable that Flux substitutes has a value or a default",
    "git-components": "where Git holds Flux, it is locked down there",
    "unreadable": "every file can be read",
}

#: Versions that Flux 2.9 serves, by group; what else there is of these groups was removed.
_SERVED: t.Final[Mapping[str, Mapping[str, str]]] = {
    "source.toolkit.fluxcd.io": {"": "v1"},
    "kustomize.toolkit.fluxcd.io": {"": "v1"},
    "helm.toolkit.fluxcd.io": {"": "v2"},
    "image.toolkit.fluxcd.io": {"": "v1"},
    "notification.toolkit.fluxcd.io": {"": "v1beta3", "Receiver": "v1"},
}
_BUILD_FILES: t.Final = frozenset({"kustomization.yaml", "kustomization.yml", "Kustomization"})
_PATHS: t.Final = (
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "patchesStrategicMerge",
)
_URL: t.Final = re.compile(
    r"^([a-z][a-z0-9+.-]*::)?(https?|ssh|git|file)://|^[^/@\s]+@[^/:\s]+:|[?&]ref=|^github\.com/",
    re.IGNORECASE,
)
_VARIABLE: t.Final = re.compile(r"(?<!\$)\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<rest>[^}]*)\}")
_SUBSTITUTE: t.Final = "kustomize.toolkit.fluxcd.io/substitute"
_FLUX: t.Final = re.compile(r"[a-z0-9.-]*\.toolkit\.fluxcd\.io")


@dataclasses.dataclass(frozen=True)
class File:
    """A file of the tree.

    :ivar path: relative to the top of the repository.
    :ivar objects: its documents; :ivar text: its text, if it is known (variables are looked for in it).
    :ivar problem: why it could not be read.
    """

    path: str
    objects: Sequence[t.Any]
    text: str = ""
    problem: str = ""

    @property
    def folder(self) -> str:
        return posixpath.dirname(self.path)

    @property
    def builds(self) -> bool:
        """It tells kustomize what to build."""
        return posixpath.basename(self.path) in _BUILD_FILES


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    """One broken rule.

    :ivar object: kind, namespace and name; empty for a whole file.
    """

    file: str
    object: str
    rule: str
    message: str
    fix: str = dataclasses.field(compare=False)
    severity: str = dataclasses.field(default="error", compare=False)

    def as_dict(self) -> dict[str, str]:
        """Return the finding as the filter gives it out."""
        return {
            "id": self.rule,
            "severity": self.severity,
            "file": self.file,
            "object": self.object,
            "item": f"{self.file}: {self.object}" if self.object else self.file,
            "message": self.message,
            "fix": self.fix,
        }


def read(path: str, content: bytes) -> File:
    """Return a file of a tree; one that is not YAML is a finding, not an error."""
    try:
        found = manifests.load(content, path)
    except HackspaceError as error:
        empty = error.rule == "manifest-empty"
        return File(path, (), problem="" if empty else error.message)
    return File(path, tuple(one.body for one in found), content.decode("utf-8", "replace"))


def judge(files: Iterable[File], *, namespace: str = NAMESPACE) -> list[Finding]:
    """Return everything that is wrong with a tree, errors first.

    :param namespace: that of Flux, whose objects are the platform's.
    """
    listed = sorted(files, key=lambda one: one.path)
    spaces = {one.folder: _space_of(one) for one in listed if one.builds}
    found: list[Finding] = []
    for file in listed:
        if file.problem:
            found.append(
                Finding(file.path, "", "unreadable", file.problem, "correct the file, or move it away.", "warning")
            )
        if file.builds:
            found += _remote(file)
            continue
        for body in file.objects:
            if isinstance(body, Mapping) and body.get("kind"):
                found += _object(file, body, spaces.get(file.folder, ""), namespace)
    found += _components(listed)
    found += _variables(listed)
    return sorted(found, key=lambda one: (one.severity != "error", one))


def _space_of(file: File) -> str:
    for body in file.objects:
        if isinstance(body, Mapping) and body.get("namespace"):
            return str(body["namespace"])
    return ""


def _title(body: Mapping[str, t.Any], space: str) -> str:
    metadata = body.get("metadata") or {}
    name = f"{space}/{metadata.get('name')}" if space else str(metadata.get("name"))
    return f"{body.get('kind')} {name}"


def _object(file: File, body: Mapping[str, t.Any], built: str, flux: str) -> Iterator[Finding]:
    group, _slash, version = str(body.get("apiVersion") or "").rpartition("/")
    if not _FLUX.fullmatch(group):
        return
    kind = str(body["kind"])
    # kustomize's namespace goes over the one that is written down.
    space = built or str((body.get("metadata") or {}).get("namespace") or "")
    title = _title(body, space)
    served = _SERVED.get(group)
    if served is not None:
        wanted = served.get(kind, served[""])
        if version != wanted:
            yield Finding(
                file.path,
                title,
                "removed-api",
                f"{group}/{version} is not served any more.",
                f"write {group}/{wanted}: flux migrate -f . does it, with the fields that were renamed.",
            )
    spec = body.get("spec") or {}
    if not isinstance(spec, Mapping):
        return
    if kind in ACCOUNTS and not spec.get("serviceAccountName") and space in ("", flux):
        sure = space == flux
        yield Finding(
            file.path,
            title,
            "platform-account",
            "names no ServiceAccount, so under lockdown it runs as the tenants' and may do nothing"
            + ("." if sure else f", if it comes into {flux}."),
            f"set spec.serviceAccountName, for the platform's own {ACCOUNTS[kind]}.",
            "error" if sure else "warning",
        )
    if kind in REFERENCES:
        placed = {**body, "metadata": {**(body.get("metadata") or {}), "namespace": space}}
        for field, other in foreign_references(placed):
            yield Finding(
                file.path,
                title,
                "cross-namespace",
                f"{field} refers to the namespace {other}.",
                "put a source of its own beside it, and leave the namespace out.",
                "error" if space else "warning",
            )


# -- kustomize -----------------------------------------------------------------------------------------------------


def _remote(file: File) -> Iterator[Finding]:
    for body in file.objects:
        if not isinstance(body, Mapping):
            continue
        entries = [(name, one) for name in _PATHS for one in body.get(name) or ()]
        for name in ("patches", "patchesJson6902", "replacements"):
            entries += [(name, one.get("path")) for one in body.get(name) or () if isinstance(one, Mapping)]
        for name in ("configMapGenerator", "secretGenerator"):
            for maker in (one for one in body.get(name) or () if isinstance(one, Mapping)):
                files = [*(maker.get("files") or ()), *(maker.get("envs") or ()), maker.get("env")]
                # The name of the key may come first.
                entries += [(name, re.sub(r"^[-._a-zA-Z0-9]+=", "", str(one or ""))) for one in files]
        for name, one in entries:
            if isinstance(one, str) and "\n" not in one and _URL.search(one):
                yield Finding(
                    file.path,
                    "",
                    "remote-base",
                    f"{name} has {_without_login(one)}, which lies elsewhere.",
                    "copy it into the repository, or give it a GitRepository and a Kustomization of its own.",
                )


def _without_login(text: str) -> str:
    return re.sub(r"//[^/@]*@", "//", text)


def _components(files: Sequence[File]) -> Iterator[Finding]:
    """Controllers of Flux in Git, judged with what the patches beside them add."""
    builds = {one.folder: one for one in files if one.builds}
    for file in files:
        if file.builds:
            continue
        for body in file.objects:
            if not isinstance(body, Mapping) or body.get("kind") != "Deployment":
                continue
            build = builds.get(file.folder)
            patched = "\n".join(_patches(build, body, files)) if build else ""
            for one in lockdown.judge_one(body):
                if one.rule == "lockdown-flag" and re.search(rf"--{one.flag}(=(?!false)|[\s\"']|$)", patched):
                    continue
                yield Finding(
                    file.path,
                    one.item,
                    "git-components",
                    one.message,
                    "add the flag as a patch to the kustomization.yaml beside it; docs/flux.md has them.",
                )


def _patches(build: File, body: Mapping[str, t.Any], files: Sequence[File]) -> Iterator[str]:
    """Return the texts of the patches that kustomize puts over an object."""
    name = str((body.get("metadata") or {}).get("name"))
    texts = {file.path: file.text for file in files}
    named = re.compile(rf"\bname: *[\"']?{re.escape(name)}[\"']?\s*([,}}]|$)", re.MULTILINE)
    for given in (one for one in build.objects if isinstance(one, Mapping)):
        for kind in ("patches", "patchesJson6902", "patchesStrategicMerge"):
            for entry in given.get(kind) or ():
                one = entry if isinstance(entry, Mapping) else {"patch": entry}
                text = str(one.get("patch") or "")
                place = str(one.get("path") or ("" if "\n" in text else text))
                text = texts.get(posixpath.normpath(posixpath.join(build.folder, place)), text)
                target = one.get("target")
                if isinstance(target, Mapping):
                    if _targets(target.get("kind"), "Deployment") and _targets(target.get("name"), name):
                        yield text
                elif named.search(text):
                    yield text


def _targets(pattern: t.Any, word: str) -> bool:
    """Return whether kustomize's pattern, which holds for the whole word, is met; none is always met."""
    try:
        return not pattern or re.fullmatch(str(pattern), word) is not None
    except re.error:
        return False


# -- variables -----------------------------------------------------------------------------------------------------


def _variables(files: Sequence[File]) -> list[Finding]:
    """Variables below the folders of Kustomizations that substitute; the strictest of those that share a folder."""
    found: dict[tuple[str, str], Finding] = {}
    names = {file.path: _without_default(file) for file in files}
    for owner in files:
        for body in owner.objects:
            build = _substitution(body)
            if build is None:
                continue
            folder, given, elsewhere = build
            for file in files:
                if folder and not f"{file.folder}/".startswith(f"{folder}/"):
                    continue
                for name in sorted(names[file.path] - given):
                    severity = "warning" if elsewhere else "error"
                    one = Finding(
                        file.path,
                        "",
                        "substitute-default",
                        f"${{{name}}} has no default"
                        + (
                            f" and may be missing in what {_title(body, '')} takes its values from."
                            if elsewhere
                            else f" and no value in {_title(body, '')}: Flux 2.9 refuses the whole Kustomization."
                        ),
                        f"write ${{{name}:=value}}, or $${{{name}}} where it is not meant for Flux.",
                        severity,
                    )
                    before = found.get((file.path, name))
                    if before is None or before.severity == "warning":
                        found[file.path, name] = one
    return list(found.values())


def _substitution(body: t.Any) -> tuple[str, frozenset[str], bool] | None:
    """Return in which folder a Kustomization of Flux substitutes, its values, and whether more come from elsewhere."""
    if not isinstance(body, Mapping) or body.get("kind") != "Kustomization":
        return None
    if not str(body.get("apiVersion") or "").startswith("kustomize.toolkit.fluxcd.io/"):
        return None
    spec = body.get("spec") or {}
    build = spec.get("postBuild") or {}
    if not build.get("substitute") and not build.get("substituteFrom"):
        return None
    folder = posixpath.normpath(str(spec.get("path") or ".")).lstrip("/")
    return (
        "" if folder == "." else folder,
        frozenset(map(str, build.get("substitute") or {})),
        bool(build.get("substituteFrom")),
    )


def _without_default(file: File) -> frozenset[str]:
    if "${" not in file.text or _SUBSTITUTE in file.text:
        return frozenset()
    return frozenset(
        match["name"]
        for line in file.text.splitlines()
        if not line.lstrip().startswith("#")
        for match in _VARIABLE.finditer(line)
        if not match["rest"].startswith((":=", ":-", "=", "-"))
    )
