# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL of the lab: where its programs come from, and that it comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.api import Lab
from lab.errors import LabError
from lab.postgres import FOLDER_VARIABLE, as_unprivileged, installed, wanted_packages

SIMULATION = """Reading package lists...
Inst libpq5 (15.20-0+deb12u1 Debian:12/stable [amd64])
Inst libllvm14 (1:14.0.6-12 Debian:12/stable [amd64])
Inst libjson-perl (4.1-1 Debian:12/stable [all])
Inst postgresql-client-common (248 Debian:12/stable [all])
Inst postgresql-client-15 [15.18-0] (15.20-0+deb12u1 Debian:12/stable [amd64])
Inst ssl-cert (1.1.2 Debian:12/stable [all])
Inst postgresql-15 (15.20-0+deb12u1 Debian:12/stable [amd64])
Inst postgresql (15+248 Debian:12/stable [all])
Conf postgresql-15 (15.20-0+deb12u1 Debian:12/stable [amd64])
"""


def test_only_what_the_server_needs_is_fetched() -> None:
    assert wanted_packages(SIMULATION) == [
        "libpq5=15.20-0+deb12u1",
        "postgresql-client-15=15.20-0+deb12u1",
        "postgresql-15=15.20-0+deb12u1",
    ]


def test_the_newest_of_the_system_or_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert installed(tmp_path) is None
    for version in ("9", "15", "9.6"):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        for name in ("postgres", "initdb", "psql"):
            (folder / name).touch(mode=0o755)
    found = installed(tmp_path)
    assert found
    assert found.folder == tmp_path / "15" / "bin"
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(LabError, match="has no postgres"):
        installed()


def test_root_gives_up_being_root() -> None:
    assert as_unprivileged(("postgres", "-D", "x"), uid=1000) == ("postgres", "-D", "x")
    command = as_unprivileged(("postgres", "-D", "x"), uid=0)
    assert command[-3:] == ("postgres", "-D", "x")
    assert any(part.startswith("--reuid=") and part != "--reuid=0" for part in command)


def test_it_keeps_its_data_and_starts_fresh_after_a_reset(tmp_path: Path) -> None:
    lab = Lab("postgres", tmp_path)
    try:
        lab.up(["postgres"])
        first = lab.postgres.password
        assert lab.postgres.query("CREATE ROLE ada LOGIN PASSWORD 'lovelace'")[0] == 0
        assert lab.postgres.can_log_in("ada", "lovelace")
        assert not lab.postgres.can_log_in("ada", "wrong")
        assert first in lab.secrets()
        lab.restart("postgres", kill=True)
        assert lab.postgres.can_log_in("ada", "lovelace")
        assert [line.state for line in lab.status() if line.name == "postgres"] == ["ready"]
        lab.reset()
        assert lab.postgres.password != first
        assert not lab.postgres.can_log_in("ada", "lovelace")
    finally:
        lab.down(wipe=True)
    assert lab.pids() == []
