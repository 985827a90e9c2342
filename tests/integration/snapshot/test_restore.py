# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot brings data back: into its cluster, and into a fresh one that the shares of its time open."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.modules import openbao_unseal

from lab.api import Lab
from tests.integration.ansible_run import run_play
from tests.integration.reviewers.conftest import ReviewerSite, reviewer_site

from .conftest import HOLDERS, Bao, files

TAG = "snap"
GENERATION = "0123456789abcdef"


@dataclasses.dataclass
class Story:
    """A site with tenants, and a fresh cluster to restore into."""

    site: ReviewerSite
    bao: Bao
    fresh: Bao
    shares: list[str]
    shares_dir: Path

    def read(self, bao: Bao, namespace: str, whose: str) -> tuple[int, str]:
        """Read an OpenBao secret as a pod of *namespace* does; status, and the password in it."""
        jwt = self.site.token(namespace, "eso", f"openbao-{TAG}")
        server = bao.lab.openbao_server(bao.active)
        login = server.request("POST", f"/v1/auth/kubernetes-{TAG}/login", {"role": "tenant", "jwt": jwt})
        assert login.status == 200, login
        token = login.body["auth"]["client_token"]
        answer = server.request("GET", f"/v1/kv/data/tenants/{TAG}/{whose}/db", token=token)
        return answer.status, answer.body["data"]["data"]["password"] if answer.status == 200 else ""

    def tenants_read_their_own(self, bao: Bao) -> None:
        for mine, other in (("snap-alice", "snap-bob"), ("snap-bob", "snap-alice")):
            assert self.read(bao, mine, mine) == (200, f"of {mine}")
            assert self.read(bao, mine, other) == (403, "")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Story]:
    place = tmp_path_factory.mktemp("lab")
    first, second = Lab("snapshot-site", place), Lab("snapshot-fresh", place)
    try:
        site = reviewer_site(first)
        site.apply(site.entry(TAG))
        for namespace in ("snap-alice", "snap-bob"):
            site.make_account(namespace)
            site.write_secret(f"tenants/{TAG}/{namespace}/db", password=f"of {namespace}")
        made = first.init_openbao()
        second.up(["openbao"], init=True)
        bao = Bao(first, made.root_token)
        shares = bao.record_shares(place / "shares", made.shares, GENERATION)
        fresh = Bao(second, second.init_openbao().root_token)
        yield Story(site, bao, fresh, list(made.shares), shares)
    finally:
        second.down(wipe=True)
        first.down(wipe=True)


@pytest.fixture(scope="module")
def snapshot(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of the site with its tenants."""
    folder = tmp_path_factory.mktemp("snapshots")
    folder.chmod(0o700)
    saved = story.bao.call(folder=str(folder), shares_dir=str(story.shares_dir))
    return Path(saved["snapshot"]["path"])


def unseal(bao: Bao, shares: t.Sequence[str]) -> dict[str, t.Any]:
    """Send unseal shares to all nodes, with our own module."""
    args = bao.args(token=None)
    holders = [{"name": name, "share": share} for name, share in zip(HOLDERS, shares, strict=False)]
    with patch_module_args({**args, "holders": holders, "wait_timeout": 60}):
        module = openbao_unseal.SPEC.create_module()
    return dict(openbao_unseal.main(module))


def sealed_all(bao: Bao, done: dict[str, t.Any]) -> None:
    """No node is open. The lab's stand-in may crash on a standby that is sealed so: such a one is started again."""
    gone = [node["name"] for node in done["nodes"] if node["state"] == "unreachable"]
    assert sorted(done["sealed"] + gone) == [n.name for n in bao.lab.openbao_nodes]
    if gone:
        assert f"start {', '.join(gone)} again" in "\n".join(done["summary"])
        bao.lab.start(*gone)


def test_into_the_same_cluster(story: Story, snapshot: Path, folder: Path) -> None:
    story.tenants_read_their_own(story.bao)
    story.bao.ask("DELETE", f"kv/metadata/tenants/{TAG}/snap-alice/db")
    assert story.read(story.bao, "snap-alice", "snap-alice")[0] == 404
    given: dict[str, t.Any] = {"state": "restored", "file": str(snapshot), "folder": str(folder)}
    story.bao.error("confirm", **given)
    story.bao.error("confirm", **given, confirm="prod", check=True)
    story.bao.error("confirm", **given, confirm="lab", platform_name="hackspace")
    look = story.bao.call(**given, check=True)
    assert [c["action"] for c in look["changes"]] == ["create", "reset"]
    assert files(folder) == []
    assert story.read(story.bao, "snap-alice", "snap-alice")[0] == 404
    done = story.bao.call(**given, confirm="hackspace", platform_name="hackspace", shares_dir=str(story.shares_dir))
    assert done["changed"]
    assert done["sealed"] == []
    assert [n["state"] for n in done["nodes"]] == ["unsealed"] * 3
    assert "playbooks/reviewers.yml" in done["summary"][-1]
    story.tenants_read_their_own(story.bao)
    # the present state was saved first, and is itself a snapshot; it does not count as a recent one
    assert Path(done["safety_snapshot"]).parent == folder
    assert len(files(folder)) == 2
    assert story.bao.call(folder=str(folder), check=True)["changed"]


def test_into_a_fresh_cluster(story: Story, snapshot: Path, folder: Path) -> None:
    given: dict[str, t.Any] = {"state": "restored", "file": str(snapshot), "folder": str(folder)}
    other = story.fresh.error("other-cluster", **given, confirm="lab")
    assert f"generation {GENERATION}" in other.fix
    assert "ada, bo, cleo" in other.fix
    bare = folder / snapshot.name
    bare.write_bytes(snapshot.read_bytes())
    story.fresh.error("no-sidecar", **{**given, "file": str(bare)}, confirm="lab")
    damaged = folder / "damaged.snap"
    damaged.write_bytes(snapshot.read_bytes()[:-9])
    story.fresh.error("snapshot-damaged", **{**given, "file": str(damaged)}, confirm="lab", force=True)
    assert story.fresh.ask("GET", "sys/mounts")[1]["data"].get("kv/") is None
    done = story.fresh.call(**given, confirm="lab", force=True, next_command="ansible-playbook unseal.yml")
    sealed_all(story.fresh, done)
    text = "\n".join(done["summary"])
    assert f"generation {GENERATION}, held by ada, bo, cleo, dan, eve" in text
    assert "next: ansible-playbook unseal.yml" in text
    unsealed = unseal(story.fresh, story.shares)
    assert unsealed["sealed"] == []
    story.fresh.root = story.bao.root  # logins are those of the snapshot too
    story.tenants_read_their_own(story.fresh)
    assert (
        story.fresh.call(folder=str(folder))["snapshot"]["cluster"]
        == story.bao.call(state="verified", file=str(snapshot))["snapshots"][0]["cluster"]
    )


def test_from_before_a_rotation_of_the_shares(story: Story, snapshot: Path, folder: Path) -> None:
    version = story.fresh.ask("GET", "sys/seal-status")[1]["version"]
    path = "sys/rekey" if version.startswith("1.") else "sys/rotate/root"
    begun = story.fresh.ask("PUT", f"{path}/init", {"secret_shares": 5, "secret_threshold": 2})[1]
    nonce = (begun.get("data") or begun)["nonce"]
    for share in story.shares[:3]:
        answer = story.fresh.ask("PUT", f"{path}/update", {"key": share, "nonce": nonce})[1]
    answer = answer.get("data") or answer
    new = answer["keys"]
    rotated = story.fresh.record_shares(folder.parent / "new-shares", new, "fedcba9876543210", threshold=2)
    given: dict[str, t.Any] = {
        "state": "restored",
        "file": str(snapshot),
        "folder": str(folder),
        "confirm": "lab",
        "shares_dir": str(rotated),
    }
    error = story.fresh.error("other-keys", **given)
    assert f"generation {GENERATION}" in error.fix
    safety = Path(error.data["safety_snapshot"])
    assert safety.exists()
    done = story.fresh.call(**given, force=True)
    assert done["changed"]
    text = "\n".join(done["summary"])
    assert "generation fedcba9876543210" in text  # what opens the state of before
    # the barrier key is still the same one: nobody is sealed, but the shares that count are the older ones
    assert done["sealed"] == []
    assert f"from the next restart on, 3 of 5 unseal shares of its time, generation {GENERATION}" in text
    story.tenants_read_their_own(story.fresh)
    story.fresh.lab.restart("openbao")
    assert unseal(story.fresh, story.shares)["sealed"] == []
    story.tenants_read_their_own(story.fresh)


def test_the_playbook(story: Story, snapshot: Path, tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(story.bao.root)
    values = {
        "openbao_snapshot_folder": str(folder),
        "openbao_snapshot_shares_dir": str(story.shares_dir),
        "platform_openbao": {
            "ca_cert": str(story.bao.lab.openbao_ca),
            "login": {"auth_method": "token", "token_path": str(token)},
        },
        "platform_name": "hackspace",
    }
    inventory = story.bao.lab.state / "inventory"
    folder.mkdir(mode=0o700)
    playbook = "playbooks/snapshot.yml"
    for check, changed in ((True, ["Save a snapshot"]), (False, ["Save a snapshot"]), (False, [])):
        run = run_play(playbook, inventory=inventory, extra_vars=values, check=check).ok()
        assert run.changed == changed
    [name] = [name for name in files(folder) if name.endswith(".snap")]
    values["openbao_snapshot_do"] = "verify"
    assert "whole" in run_play(playbook, inventory=inventory, extra_vars=values).ok().stdout
    values |= {"openbao_snapshot_do": "restore", "openbao_snapshot_file": str(folder / name)}
    run = run_play(playbook, inventory=inventory, extra_vars=values)
    assert run.rc != 0
    assert "[confirm]" in run.stdout
    values["openbao_snapshot_confirm"] = "hackspace"
    run = run_play(playbook, inventory=inventory, extra_vars=values, diff=True, verbosity=3).ok()
    assert run.changed == ["Restore the snapshot"]
    assert "playbooks/reviewers.yml" in run.stdout
    story.tenants_read_their_own(story.bao)
    for word in story.bao.lab.secrets():
        assert word not in run.output
