# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Ceph cluster for all tests of this folder, and modules run in this process against it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import itertools
import json
import os
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import run

from lab.api import Lab
from lab.ceph import Answer
from lab.ceph import Ceph as LabCeph

PLUGINS = "ansible_collections.hackspace.infra.plugins.modules."
EPERM, EACCES = -1, -13
_NUMBERS = itertools.count(1)


def wait_for(condition: t.Callable[[], bool], timeout: float = 60) -> None:
    """Wait until something is so."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@dataclasses.dataclass
class Site:
    """The lab, and modules run in this process; librados is in the Python of the program ceph."""

    lab: Lab
    tmp: Path

    @property
    def ceph(self) -> LabCeph:
        return self.lab.ceph

    @property
    def login(self) -> dict[str, t.Any]:
        return {"conf": str(self.ceph.conf), "keyring": str(self.ceph.keyring)}

    def call(self, name: str, *, check: bool = False, **args: t.Any) -> dict[str, t.Any]:
        """Run a module and return what it prints."""
        plugin = importlib.import_module(PLUGINS + name)
        given = {**self.login, **args, "_ansible_check_mode": check, "_ansible_diff": True}
        printed = io.StringIO()
        with (
            mock.patch.dict(os.environ, self.ceph.environment),
            patch_module_args(given),
            contextlib.redirect_stdout(printed),
            contextlib.suppress(SystemExit),
        ):
            run(plugin.SPEC, plugin.main)
        result: dict[str, t.Any] = json.loads(printed.getvalue())
        return result

    def apply(self, name: str, **args: t.Any) -> dict[str, t.Any]:
        """Run a module; it must succeed."""
        result = self.call(name, **args)
        assert not result.get("failed"), result
        return result

    def refused(self, rule: str, name: str, **args: t.Any) -> dict[str, t.Any]:
        """Run a module; it must fail by this rule."""
        result = self.call(name, **args)
        assert result.get("failed"), result
        assert result["error"]["rule"] == rule, result
        return result

    def settled(self, name: str, **args: t.Any) -> dict[str, t.Any]:
        """Check mode, then for real, then again: the same changes, then none and no writing command."""
        planned = self.call(name, check=True, **args)
        assert not planned.get("failed"), planned
        result = self.apply(name, **args)
        assert result["changes"] == planned["changes"]
        assert result["diff"] == planned["diff"]
        before = self.ceph.written()
        again = self.apply(name, **args)
        assert not again["changed"], again
        self.call(name, check=True, **args)
        assert self.ceph.written() == before
        return result

    def name(self, stem: str) -> str:
        """A name that no other test has."""
        return f"{stem}{next(_NUMBERS)}"

    def pool(self, **more: t.Any) -> str:
        """A pool for RBD."""
        name = self.name("pool")
        self.apply("ceph_pools", pools=[{"name": name, "applications": ["rbd"], "init": True, "pg_num": 8, **more}])
        return name

    def tries(self, entity: str, *commands: t.Mapping[str, t.Any]) -> list[Answer]:
        """What Ceph says to somebody with the key of *entity*."""
        return self.ceph.ask(commands, user=entity, key=self.ceph.key(entity), timeout=30)


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A Ceph cluster."""
    lab = Lab("ceph", tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["ceph"])
        yield Site(lab, tmp_path_factory.mktemp("files"))
    finally:
        lab.down(wipe=True)
