# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Ceph behind SSH, the cluster that hosts OpenBao, and another one with External Secrets."""

from __future__ import annotations

import base64
import contextlib
import copy
import dataclasses
import json
import time
import typing as t
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from lab import rook_manifests
from lab.api import Lab
from lab.proxy import Proxy
from tests.integration import in_process
from tests.integration.ansible_run import ROOT, Result, Run, private, start_play
from tests.integration.ssh_host import SshHost

PLAYBOOK = ROOT / "playbooks" / "ceph_consumers.yml"
CORE, MEMBER = "core-infra", "member-prod"
POOL = "k8s"
ZONE_POOL = "k8s-b"
EPERM, EACCES = -1, -13
#: Secret of a role, and its fields for user and key.
SECRETS = {
    "health": ("rook-ceph-mon", "ceph-username", "ceph-secret"),
    "rbd-node": ("rook-csi-rbd-node", "userID", "userKey"),
    "rbd-provisioner": ("rook-csi-rbd-provisioner", "userID", "userKey"),
    "cephfs-node": ("rook-csi-cephfs-node", "userID", "userKey"),
    "cephfs-provisioner": ("rook-csi-cephfs-provisioner", "userID", "userKey"),
}
#: Two at once: the cluster that hosts OpenBao gets its keys directly, the other one through OpenBao.
CONSUMERS: tuple[dict[str, t.Any], ...] = (
    {
        "cluster": CORE,
        "delivery": "direct",
        "before_ceph_upgrade": True,
        "block": [{"storage_class": "ceph-block", "pool": POOL}],
        "files": [{"storage_class": "ceph-files", "filesystem": "cephfs", "quota": "1Gi"}],
    },
    {
        "cluster": MEMBER,
        "profile": "strict",
        "before_ceph_upgrade": True,
        "block": [
            {"storage_class": "ceph-block", "pool": POOL},
            {
                "storage_class": "ceph-zones",
                "topology": {
                    "label": "topology.kubernetes.io/zone",
                    "pools": [{"pool": POOL, "value": "a"}, {"pool": ZONE_POOL, "value": "b"}],
                },
            },
        ],
        "files": [{"storage_class": "ceph-files", "filesystem": "cephfs"}],
    },
)


def until(what: Callable[[], t.Any], timeout: float = 60) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@dataclasses.dataclass(frozen=True)
class Login:
    """A Ceph user with the key that a cluster has of it."""

    user: str
    key: str


@dataclasses.dataclass
class Site:
    """The lab, its inventory, and runs of the playbook.

    :ivar consumers: what the next run is to bring about; tests change it.
    """

    lab: Lab
    root: str
    host: SshHost
    proxies: Mapping[str, Proxy]
    folder: Path
    consumers: list[dict[str, t.Any]] = dataclasses.field(default_factory=lambda: copy.deepcopy([*CONSUMERS]))

    def inventory(self) -> Path:
        """Write the inventory as it is now."""
        state = self.lab.state / "inventory"
        variables = yaml.safe_load((state / "group_vars" / "all" / "platform.yml").read_text(encoding="utf-8"))
        hosts = yaml.safe_load((state / "hosts.yml").read_text(encoding="utf-8"))
        for name, proxy in self.proxies.items():
            hosts["all"]["children"]["openbao_nodes"]["hosts"][name]["openbao_address"] = proxy.address
        hosts["all"]["children"]["pve_nodes"] = {
            "hosts": {"pve1": self.host.variables(str(self.lab.ceph.bin / "python3"))}
        }
        variables["platform_openbao"]["login"] = {
            "auth_method": "token",
            "token_path": private(self.folder / "token", self.root),
        }
        hosts["all"]["vars"] = {
            **variables,
            "platform_ceph": {"provider_host": "pve1", "consumers": self.consumers},
            "rook_ceph_external_become": False,
            "rook_ceph_external_conf": str(self.lab.ceph.conf),
            "rook_ceph_external_keyring": str(self.lab.ceph.keyring),
            "rook_ceph_external_openbao_server": self.lab.openbao_nodes[0].address,
        }
        file = self.folder / "site.json"
        file.write_text(json.dumps(hosts), encoding="utf-8")
        return file

    def start(self, *, check: bool = False, verbosity: int = 0, **extra: t.Any) -> Run:
        """Start the playbook; options of the role without their prefix."""
        return start_play(
            PLAYBOOK,
            inventory=self.inventory(),
            extra_vars={f"rook_ceph_external_{name}": value for name, value in extra.items()},
            check=check,
            diff=True,
            verbosity=verbosity,
        )

    def play(self, **options: t.Any) -> Result:
        """Run the playbook to its end."""
        return self.start(**options).wait(300)

    # -- clusters --------------------------------------------------------------------------------------------

    def ask(self, cluster: str, method: str, path: str, body: t.Any = None) -> t.Any:
        """Ask an API server; ``None`` for what does not exist."""
        answer = self.lab.kube_server(cluster).request(method, path, body)
        assert answer.status < 300 or (method in ("GET", "DELETE") and answer.status == 404), answer
        return answer.body if answer.status < 300 else None

    def secret(self, cluster: str, role: str, namespace: str = "rook-ceph") -> Login:
        """Return what a cluster has for a role."""
        name, user, key = SECRETS[role]
        data = self.ask(cluster, "GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")["data"]
        said, kept = (base64.b64decode(data[field]).decode() for field in (user, key))
        return Login(f"client.{said.removeprefix('client.')}", kept)

    def users(self, cluster: str) -> dict[str, str]:
        """Return the user that a cluster has for each role."""
        return {role: self.secret(cluster, role).user for role in SECRETS}

    def monitors(self, cluster: str, namespace: str = "rook-ceph") -> str:
        """Return what Rook's operator reads about monitors."""
        path = f"/api/v1/namespaces/{namespace}/configmaps/rook-ceph-mon-endpoints"
        return str(self.ask(cluster, "GET", path)["data"]["data"])

    def restarts(self, cluster: str) -> int:
        """Return how often Rook's operator was started anew."""
        path = "/apis/apps/v1/namespaces/rook-ceph/deployments/rook-ceph-operator"
        return int(self.ask(cluster, "GET", path)["metadata"]["generation"]) - 1

    def storage_class(self, cluster: str, name: str) -> t.Any:
        return self.ask(cluster, "GET", f"/apis/storage.k8s.io/v1/storageclasses/{name}")

    # -- Ceph ------------------------------------------------------------------------------------------------

    def ceph_users(self) -> list[str]:
        """Return the users that are consumers'."""
        said = self.lab.ceph.command("auth ls")["auth_dump"]
        return sorted(one["entity"] for one in said if one["entity"].startswith(("client.k8s-", "client.csi-")))

    def codes(self, login: Login, orders: Sequence[Mapping[str, t.Any]]) -> list[int]:
        """Return Ceph's answers to who has this login."""
        return [one.code for one in self.lab.ceph.ask(orders, user=login.user, key=login.key, timeout=30)]

    def check_block(self, login: Login, own: str, others: Sequence[str]) -> None:
        """Its own images it can make and delete; all others, the pool's root and the list of users are refused."""
        image = {"pool": POOL, "image": f"try-{time.monotonic_ns()}"}
        mine = [{"rbd": what, **image, "namespace": own} for what in ("create", "ls", "remove")]
        theirs = [{"rbd": what, **image, "namespace": other} for other in others for what in ("create", "ls")]
        root = [{"rbd": what, **image} for what in ("create", "ls")]
        codes = self.codes(login, [*mine, *theirs, *root, {"mon": {"prefix": "auth ls"}}])
        assert codes == [0] * 3 + [EPERM] * (len(theirs) + 2) + [EACCES], (login.user, codes)

    def check_apart(self) -> None:
        """What both clusters have works where it should, and nowhere else."""
        for cluster, neighbour in ((CORE, MEMBER), (MEMBER, CORE)):
            for role in ("rbd-node", "rbd-provisioner"):
                self.check_block(self.secret(cluster, role), cluster, [neighbour])
            health = [{"mon": {"prefix": "quorum_status"}}, {"mon": {"prefix": "auth ls"}}]
            assert self.codes(self.secret(cluster, "health"), health) == [0, EACCES]
            groups = {"prefix": "fs subvolume ls", "vol_name": "cephfs", "group_name": cluster}
            listed = [{"mgr": groups}, {"mon": {"prefix": "auth ls"}}]
            assert self.codes(self.secret(cluster, "cephfs-provisioner"), listed) == [0, EACCES]
        zone = [{"rbd": "ls", "pool": ZONE_POOL, "namespace": name} for name in (MEMBER, CORE)]
        assert self.codes(self.secret(MEMBER, "rbd-provisioner"), zone) == [0, EPERM]
        assert self.codes(self.secret(CORE, "rbd-provisioner"), zone) == [EPERM, EPERM]
        # directories are kept apart by caps in the profile strict only
        orders = [{"fs": what, "root": f"/volumes/{MEMBER}", "path": "/tried"} for what in ("mkdir", "ls", "rmdir")]
        orders += [{"fs": "ls", "root": root, "path": "/"} for root in (f"/volumes/{CORE}", "/volumes", "/")]
        codes = self.codes(self.secret(MEMBER, "cephfs-node"), orders)
        assert codes[:3] == [0, 0, 0], codes
        assert set(codes[3:]) <= {EPERM, EACCES}, codes

    # -- OpenBao ---------------------------------------------------------------------------------------------

    def bao(self, method: str, path: str, body: t.Any = None) -> tuple[int, t.Any]:
        """Ask OpenBao as root."""
        server = self.lab.openbao_server(str(self.lab.openbao_active()))
        answer = server.request(method, f"/v1/{path}", body, token=self.root)
        return answer.status, answer.body

    def stored(self) -> list[str]:
        """Return the names of the OpenBao secrets with Ceph keys."""
        status, body = self.bao("LIST", f"kv/metadata/tenants/{MEMBER}/rook-ceph")
        return sorted(body["data"]["keys"]) if status == 200 else []


def _operator(site: Site, cluster: str) -> None:
    """Rook's operator, whose pods nothing runs: its Deployment."""
    labels = {"app": "rook-ceph-operator"}
    pod = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "rook", "image": "rook.invalid/rook:v1"}]},
    }
    site.ask(cluster, "POST", "/api/v1/namespaces", {"metadata": {"name": "rook-ceph"}})
    site.ask(
        cluster,
        "POST",
        "/apis/apps/v1/namespaces/rook-ceph/deployments",
        {
            "metadata": {"name": "rook-ceph-operator"},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod},
        },
    )


def _wire(site: Site) -> None:
    """Give OpenBao a key/value engine, and let Rook's namespace of the member read its own OpenBao secrets."""
    site.bao("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
    until(lambda: site.bao("GET", "kv/config")[0] == 200)
    node = next(one for one in site.lab.openbao_nodes if one.name == site.lab.openbao_active())
    result = in_process.call(
        "jwt_reviewer",
        {
            "openbao": {
                "url": node.address,
                "tls_server_name": node.tls_server_name,
                "ca_cert": str(site.lab.openbao_ca),
                "auth_method": "token",
                "token": site.root,
            },
            "clusters": [
                {
                    "name": MEMBER,
                    "kubeconfig": str(site.lab.clusters[MEMBER].kubeconfig),
                    "access": {"namespaces": ["rook-ceph"]},
                }
            ],
            "verify": "never",
        },
    )
    assert not result.get("failed"), result


@contextlib.contextmanager
def new_site(name: str, state: Path, folder: Path) -> Iterator[Site]:
    """Start a lab in which nobody is a consumer yet; everything is gone afterwards."""
    lab = Lab(name, state)
    try:
        lab.up(["ceph", "openbao", CORE, MEMBER, "eso"])
        with contextlib.ExitStack() as stack:
            root = lab.init_openbao().root_token
            host = stack.enter_context(SshHost(folder).serving())
            proxies = {node.name: stack.enter_context(lab.proxy(node.name)) for node in lab.openbao_nodes}
            made = Site(lab, root, host, proxies, folder)
            for cluster in (CORE, MEMBER):
                rook_manifests.define(lab.kube_server(cluster))
                _operator(made, cluster)
            _wire(made)
            for pool in (POOL, ZONE_POOL):
                # as Proxmox VE makes pools
                lab.ceph.command("osd pool create", pool=pool, pg_num=8)
                lab.ceph.command("osd pool application enable", pool=pool, app="rbd")
            yield made
    finally:
        lab.down(wipe=True)


@pytest.fixture(scope="package")
def lab_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with new_site("ceph-consumers", tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("site")) as made:
        yield made
