# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs of what people type, at the highest verbosity, searched for every secret of the site."""

from __future__ import annotations

import base64
import contextlib
import typing as t
from pathlib import Path

import pytest

from tests.integration.ansible_run import Result, run_play
from tests.site import SITE, UNSEAL, Site, new_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    with new_site("secrets", tmp_path_factory.mktemp("secrets")) as found:
        yield found


def notations(secret: str) -> set[str]:
    """Return *secret* as it could show up: as it is, as base64, and a hex share also as base64 of its bytes."""
    found = {secret, base64.b64encode(secret.encode()).decode().rstrip("=")}
    with contextlib.suppress(ValueError):
        found.add(base64.b64encode(bytes.fromhex(secret)).decode().rstrip("="))
    return found


def known(site: Site) -> set[str]:
    """Return every secret of the site in every notation."""
    secrets = {site.password(), *site.shares().values(), *site.lab.secrets()}
    assert len(site.shares()) == 3
    return {text for secret in secrets for text in notations(secret)}


def leaks(result: Result, secrets: t.Iterable[str]) -> list[str]:
    """Return where one of *secrets* is in what a run printed or left behind."""
    texts = {"stdout": result.stdout, "stderr": result.stderr}
    for file in result.folder.rglob("*"):
        if file.is_file():
            texts[str(file)] = file.read_text(encoding="utf-8", errors="replace")
    return [where for where, text in texts.items() if any(secret in text for secret in secrets)]


def test_site_unseal_and_refused_share(site: Site, tmp_path: Path) -> None:
    first = run_play(SITE, inventory=site.inventory, diff=True, verbosity=4).ok()
    secrets = known(site)
    assert leaks(first, secrets) == []
    second = run_play(SITE, inventory=site.inventory, diff=True, verbosity=4).ok()
    assert second.changed == []
    assert leaks(second, secrets) == []

    site.lab.restart("openbao")
    planned = run_play(UNSEAL, inventory=site.inventory, check=True, diff=True, verbosity=4).ok()
    assert leaks(planned, secrets) == []

    wrong = tmp_path / "wrong.share"
    wrong.touch(mode=0o600)
    damaged = next("0" * 8 + share[8:] for share in list(site.shares().values())[:1])
    wrong.write_text(damaged, encoding="utf-8")
    people = [
        {
            "name": name,
            "age_file": str(site.lab.state / "shares" / f"{name}.age"),
            "age_identity_file": str(site.lab.state / "holders" / name / "age-identity.txt"),
        }
        for name in ("bo", "cleo")
    ]
    sources = {"openbao_unseal_sources": [*people, {"name": "ada", "file": str(wrong)}]}
    failed = run_play(UNSEAL, inventory=site.inventory, extra_vars=sources, diff=True, verbosity=4)
    assert failed.rc != 0
    assert leaks(failed, {*secrets, *notations(damaged)}) == []

    repaired = run_play(UNSEAL, inventory=site.inventory, diff=True, verbosity=4).ok()
    assert repaired.of("openbao_unseal")["active"]
    assert leaks(repaired, {*secrets, *notations(damaged)}) == []


def test_the_search_finds_what_is_there(site: Site) -> None:
    planted = site.password()
    result = run_play([{"name": "Say it", "ansible.builtin.debug": {"msg": f"password {planted}"}}]).ok()
    assert "stdout" in leaks(result, notations(planted))
