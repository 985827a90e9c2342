# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs of what people type, at the highest verbosity, searched for every secret of the site."""

from __future__ import annotations

import base64
import contextlib
import re
import typing as t
from pathlib import Path

import pytest

from tests.integration.ansible_run import Result, run_play
from tests.site import CLUSTER, REVIEWERS, SITE, UNSEAL, Site, new_site

#: What API servers and OpenBao mint during a run, and nobody but them ever keeps: signed tokens, OpenBao tokens.
MINTED = (
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}"),
    re.compile(r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    with new_site("secrets", tmp_path_factory.mktemp("secrets")) as found:
        yield found


@pytest.fixture(scope="module")
def first(site: Site) -> Result:
    """The first run on the new site: it initialises, unseals, configures and wires."""
    return run_play(SITE, inventory=site.inventory, diff=True, verbosity=4).ok()


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


def texts(result: Result) -> dict[str, str]:
    """Return what a run printed and what it left behind, by place."""
    found = {"stdout": result.stdout, "stderr": result.stderr}
    for file in result.folder.rglob("*"):
        if file.is_file():
            found[str(file)] = file.read_text(encoding="utf-8", errors="replace")
    return found


def leaks(result: Result, secrets: t.Iterable[str]) -> list[str]:
    """Return where one of *secrets*, or a token that was minted on the way, is in what a run printed or left behind."""
    return [
        where
        for where, text in texts(result).items()
        if any(secret in text for secret in secrets) or any(pattern.search(text) for pattern in MINTED)
    ]


def test_site_unseal_and_refused_share(site: Site, first: Result, tmp_path: Path) -> None:
    assert "jwt_reviewer" in {task.action.rsplit(".", 1)[-1] for task in first.tasks if task.status == "changed"}
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


@pytest.mark.usefixtures("first")
def test_reviewers_rotated_planned_and_failing(site: Site) -> None:
    """Every token is new, and every answer of a server may carry one."""
    secrets = known(site)
    options: dict[str, t.Any] = {"jwt_reviewer_renew_below": 1, "jwt_reviewer_verify": "always"}
    planned = run_play(REVIEWERS, inventory=site.inventory, extra_vars=options, check=True, diff=True, verbosity=4).ok()
    assert planned.changed
    rotated = run_play(REVIEWERS, inventory=site.inventory, extra_vars=options, diff=True, verbosity=4).ok()
    assert rotated.changed
    for result in (planned, rotated):
        assert leaks(result, secrets) == []

    node = site.lab.openbao_active()
    assert node
    for server, path in (
        (site.proxies[node], f"auth/kubernetes-{CLUSTER}/config"),
        (site.proxies[node], f"auth/kubernetes-{CLUSTER}/login"),
        (site.api, "/token$"),
    ):
        server.fail(500, None, method="POST|PUT", path=path)
        try:
            failed = run_play(REVIEWERS, inventory=site.inventory, extra_vars=options, diff=True, verbosity=4)
        finally:
            server.clear_rules()
        assert failed.rc != 0, path
        assert failed.of("jwt_reviewer")["failures"], path
        assert leaks(failed, secrets) == []
    run_play(REVIEWERS, inventory=site.inventory).ok()


@pytest.mark.usefixtures("first")
def test_the_search_finds_what_is_there(site: Site) -> None:
    planted = site.password()
    result = run_play([{"name": "Say it", "ansible.builtin.debug": {"msg": f"password {planted}"}}]).ok()
    assert "stdout" in leaks(result, notations(planted))
    jwt = ".".join(
        base64.urlsafe_b64encode(text.encode()).decode().rstrip("=") for text in ('{"alg":"x"}', '{"sub":"somebody"}')
    )
    for minted in (f"{jwt}.{'s' * 43}", f"hvs.{'C' * 24}"):
        result = run_play([{"name": "Say it", "ansible.builtin.debug": {"msg": f"token {minted}"}}]).ok()
        assert "stdout" in leaks(result, ["something else"])
