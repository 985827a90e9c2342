# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real Kyverno command line, and what it says about a folder of tests."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

from lab import build

#: So many run at once.
WORKERS = 2


@dataclasses.dataclass(frozen=True)
class Row:
    """One result as the command line prints it."""

    policy: str
    resource: str
    result: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What ``kyverno test`` did."""

    rc: int
    rows: list[Row]
    output: str

    @property
    def failed(self) -> list[Row]:
        """What is not as expected."""
        return [row for row in self.rows if row.result != "Pass"]

    @property
    def excluded(self) -> list[Row]:
        """What passes whatever was expected."""
        return [row for row in self.rows if row.reason == "Excluded"]


class Kyverno:
    """Kyverno's command line."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it without a cluster."""
        environment = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
        return subprocess.run(
            [str(self._program), *arguments], capture_output=True, text=True, check=False, env=environment, timeout=120
        )

    def test(self, folder: Path) -> Outcome:
        """Run the tests of one folder."""
        done = self.run("test", str(folder), "--remove-color", "--output-format", "json", "--require-tests")
        rows = [
            Row(one["POLICY"], one["RESOURCE"], one["RESULT"], one["REASON"])
            for block in re.findall(r"^\[$.*?^\]$", done.stdout, re.MULTILINE | re.DOTALL)
            for one in json.loads(block)
        ]
        return Outcome(done.returncode, rows, done.stdout + done.stderr)

    def test_each(self, folders: t.Iterable[Path]) -> list[Outcome]:
        """Run several folders, some at once; in the order given."""
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(self.test, folders))


def program() -> Kyverno:
    """Return the program, built if it is not there."""
    for name in build.missing(["kyverno"]):
        build.Builder([name], print).build(name, lambda: False)
    return Kyverno(build.path("kyverno"))


@pytest.fixture(scope="package")
def kyverno() -> Kyverno:
    """The program."""
    return program()


def write(folder: Path, files: t.Mapping[str, str | t.Sequence[t.Any]]) -> list[Path]:
    """Write files, as texts or as documents; return the folders with a test, sorted."""
    for path, content in files.items():
        text = content if isinstance(content, str) else yaml.safe_dump_all(content)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return sorted(one.parent for one in folder.glob("*/kyverno-test.yaml"))


def failures(outcomes: list[Outcome]) -> list[str]:
    """Return a sentence for each result that is not as expected, and for each run that broke off."""
    return [
        *(f"{row.policy} {row.resource}: {row.reason}" for one in outcomes for row in one.failed),
        *(one.output[-2000:] for one in outcomes if one.rc and not one.failed),
    ]
