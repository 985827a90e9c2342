# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the documentation and makes the reference.

``python -m tools.docs check`` looks for broken links, for a stale list in docs/reference.md, and lets antsibull-docs
judge the documentation of the plugins. ``python -m tools.docs build`` writes that list, and HTML into docs/_build.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
import urllib.parse
from pathlib import Path

from tools.sanity import cache, copy, place_dependencies

ROOT = Path(__file__).resolve().parent.parent
NAME = "hackspace.infra"
REFERENCE = "docs/reference.md"
KINDS = ("module", "filter", "role")
_LINK = re.compile(
    r"(?<!!)\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|!\[[^\]]*\]\(([^)\s]+)\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE
)


def pages(root: Path) -> list[Path]:
    """Return the Markdown pages of the tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=root,
        capture_output=True,
        check=True,
    ).stdout.decode()
    return sorted(root / name for name in listed.split("\0") if name and (root / name).is_file())


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as Git hosts make them."""
    found: dict[str, int] = {}
    names = set()
    for line in _without_fences(text).splitlines():
        match = re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
        if match:
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match.group(1))
            name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            count = found.get(name, 0)
            found[name] = count + 1
            names.add(f"{name}-{count}" if count else name)
    return names


def _without_fences(text: str) -> str:
    return re.sub(r"^(```|~~~).*?^\1\s*$", "", text, flags=re.MULTILINE | re.DOTALL)


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", _without_fences(text))


def broken_links(root: Path, files: t.Sequence[Path]) -> list[str]:
    """Return a sentence for each link to a file or heading that is not there. Addresses on the web are not asked."""
    found = []
    for page in files:
        text = page.read_text(encoding="utf-8")
        where = page.relative_to(root)
        for match in _LINK.finditer(_without_code(text)):
            target = next(group for group in match.groups() if group)
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            path, _hash, anchor = urllib.parse.unquote(target).partition("#")
            goal = (page.parent / path).resolve() if path else page
            if not goal.exists():
                found.append(f"{where}: {target} leads nowhere")
            elif not goal.is_relative_to(root):
                found.append(f"{where}: {target} leads out of the repository")
            elif anchor and goal.suffix == ".md" and anchor not in anchors(goal.read_text(encoding="utf-8")):
                found.append(f"{where}: {target}: no such heading")
    return found


def orphans(root: Path, files: t.Sequence[Path]) -> list[str]:
    """Return a sentence for each page in docs/ that docs/index.md does not link to."""
    index = root / "docs" / "index.md"
    text = index.read_text(encoding="utf-8") if index.is_file() else ""
    linked = {
        (index.parent / urllib.parse.unquote(m.group(1) or "").partition("#")[0]).resolve()
        for m in _LINK.finditer(text)
        if m.group(1)
    }
    return [
        f"{page.relative_to(root)}: docs/index.md does not link to it"
        for page in files
        if page.parent == root / "docs" and page != index and page.resolve() not in linked
    ]


def _environment(collections: Path = ROOT / ".collections") -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_NOCOLOR": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def _clean_copy() -> Path:
    """Return a folder with a copy of the collection and its dependencies, without environments and build results.

    antsibull-docs copies what it is pointed at as a whole, and follows links.
    """
    target = cache().with_name(f"{cache().name}-docs") / "ansible_collections"
    copy(ROOT, target / "hackspace" / "infra")
    place_dependencies(target)
    return target.parent


def listed(kind: str) -> dict[str, str]:
    """Return the plugins of *kind* with their one-line descriptions, by short name."""
    program = str(Path(sys.executable).parent / "ansible-doc")
    done = subprocess.run(
        [program, "-t", kind, "--list", "--json", NAME],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"ansible-doc -t {kind}: {done.stderr.strip()}")
    data = json.loads(done.stdout or "{}")
    if kind == "role":
        return {
            name.rpartition(".")[2]: str((role.get("entry_points") or {}).get("main") or "")
            for name, role in sorted(data.items())
        }
    return {name.rpartition(".")[2]: str(text) for name, text in sorted(data.items())}


def reference() -> str:
    """Return the page that lists everything the collection has."""
    lines = [
        "<!--",
        *(ROOT / "docs" / "index.md").read_text(encoding="utf-8").splitlines()[1:3],  # the licence
        "Generated by 'make docs' from the plugins' own documentation. Do not edit.",
        "-->",
        "# Reference",
        "",
        "Everything the collection has, one line each. The whole text of one: `ansible-doc hackspace.infra.NAME`,",
        "`ansible-doc -t filter hackspace.infra.NAME`, `ansible-doc -t role hackspace.infra.NAME`; as HTML with",
        "`make docs`.",
    ]
    for kind in KINDS:
        entries = listed(kind)
        if not entries:
            continue
        lines += ["", f"## {kind.capitalize()}s", "", "| name | what it does |", "|---|---|"]
        for name, text in entries.items():
            shown = f"[{name}](../roles/{name}/README.md)" if kind == "role" else f"`{name}`"
            lines.append(f"| {shown} | {text.rstrip('.')} |")
    return "\n".join(lines) + "\n"


def check() -> int:
    """Return 0 if the documentation is sound."""
    files = pages(ROOT)
    problems = broken_links(ROOT, files) + orphans(ROOT, files)
    page = ROOT / REFERENCE
    if not page.is_file() or page.read_text(encoding="utf-8") != reference():
        problems.append(f"{REFERENCE}: not what the plugins say. Fix: make docs")
    for problem in problems:
        print(problem)
    program = str(Path(sys.executable).parent / "antsibull-docs")
    tree = _clean_copy()
    options = ["--plugin-docs", "--validate-collection-refs", "dependent", "--skip-rstcheck"]
    # It copies a collection that lies in a Git work tree as Git knows it. The dependencies in .venv, which it may find
    # first, are ignored there: without this it would copy nothing of them.
    environment = {**_environment(tree), "GIT_CEILING_DIRECTORIES": str(ROOT)}
    judged = subprocess.run(
        [program, "lint-collection-docs", *options, "."],
        cwd=tree / "ansible_collections" / "hackspace" / "infra",
        env=environment,
        check=False,
    )
    if judged.returncode:
        problems.append("antsibull-docs found problems")
    print(f"docs: {len(files)} pages, {len(problems)} problems")
    return 1 if problems else 0


def build() -> int:
    """Write the list, and HTML of everything."""
    (ROOT / REFERENCE).write_text(reference(), encoding="utf-8")
    print(f"written: {REFERENCE}")
    target = ROOT / "docs" / "_build"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    tools = Path(sys.executable).parent
    command = [str(tools / "antsibull-docs"), "collection", "--use-current", "--squash-hierarchy", "--fail-on-error"]
    (target / "rst").mkdir()
    subprocess.run(
        [*command, "--dest-dir", str(target / "rst"), NAME], cwd=ROOT, env=_environment(_clean_copy()), check=True
    )
    (target / "rst" / "conf.py").write_text(
        f"project = {NAME!r}\nhtml_title = {NAME!r}\nhtml_theme = 'alabaster'\n"
        "extensions = ['sphinx_antsibull_ext']\nsuppress_warnings = ['ref.ref']\n",
        encoding="utf-8",
    )
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(target / "rst"), str(target / "html")],
        cwd=ROOT,
        check=True,
    )
    print("written: docs/_build/html/index.html")
    return 0


if __name__ == "__main__":
    if sys.argv[1:] not in (["check"], ["build"]):
        sys.exit("usage: python -m tools.docs check|build")
    sys.exit(check() if sys.argv[1] == "check" else build())
