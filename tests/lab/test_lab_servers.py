# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's real servers."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.api import COMPONENTS, Lab
from lab.errors import LabError
from lab.procs import MARK_LAB
from lab.proxy import Rule
from lab.rest import Server

ROOT = Path(__file__).parents[2]


def until(check: Callable[[], object], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def seals(lab: Lab) -> dict[str, str]:
    return {line.name: line.detail for line in lab.status() if line.component == "openbao"}


def marked(state: Path) -> list[int]:
    """Processes of a lab, found without the lab's help."""
    mark = f"{MARK_LAB}={state}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def cli(state_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    # who starts tests in the background of a script makes them, and what they start, deaf to SIGINT
    return subprocess.Popen(
        [sys.executable, "-m", "lab", "--state-dir", str(state_dir), "--name", "cli", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,  # noqa: PLW1509 (no threads here)
    )


def test_everything_is_ready_on_ports_of_its_own(lab: Lab) -> None:
    lines = lab.status()
    assert {line.state for line in lines} == {"ready"}
    assert {line.component for line in lines} == set(COMPONENTS)
    assert len(lines) == 13
    ports = [port for line in lines for port in line.ports.values()]
    assert len(ports) == len(set(ports))
    assert sorted(seals(lab).values()) == ["active", "standby", "standby"]


def test_nothing_secret_is_readable_by_others_or_written_where_it_does_not_belong(lab: Lab) -> None:
    assert lab.state.stat().st_mode & 0o777 == 0o700
    secrets = lab.secrets()
    result = lab.init_openbao()
    assert {*result.shares, *result.shares_base64, result.root_token} <= secrets
    for holder in lab.holders:
        assert holder.age_identity_file.read_text().splitlines()[1] in secrets
        assert holder.age_identity_file.stat().st_mode & 0o777 == 0o600
    config = yaml.safe_load(lab.clusters["core-infra"].kubeconfig.read_text())
    assert config["users"][0]["user"]["client-key-data"] in secrets
    searched = [lab.state / "lab.json", *(lab.state / "logs").iterdir(), *(lab.state / "inventory").rglob("*.yml")]
    for file in searched:
        text = file.read_text()
        assert not [secret for secret in secrets if secret in text], file
    for file in lab.state.rglob("*.key"):
        assert file.stat().st_mode & 0o777 == 0o600, file
    for cluster in lab.clusters.values():
        assert cluster.kubeconfig.stat().st_mode & 0o777 == 0o600


def test_the_inventory_says_where_everything_is(lab: Lab) -> None:
    folder = lab.state / "inventory"
    groups = yaml.safe_load((folder / "hosts.yml").read_text())["all"]["children"]
    hosts = groups["openbao_nodes"]["hosts"]
    assert {name: host["openbao_address"] for name, host in hosts.items()} == {
        node.name: node.address for node in lab.openbao_nodes
    }
    site = yaml.safe_load((folder / "group_vars" / "all" / "platform.yml").read_text())
    assert [(entry["name"], entry["role"]) for entry in site["platform_clusters"]] == [
        ("core-infra", "upstream"),
        ("member-prod", "downstream"),
    ]
    described = json.loads((lab.state / "lab.json").read_text())
    assert described["openbao"]["nodes"][0]["address"] == lab.openbao_nodes[0].address


def test_openbao_is_known_by_name_only(lab: Lab) -> None:
    node = lab.openbao_nodes[1]
    assert Server(node.address, lab.openbao_ca, "openbao.lab.internal").request("GET", "/v1/sys/health").status in (
        200,
        429,
    )
    for server in (
        Server(node.address, lab.openbao_ca),
        Server(node.address, lab.openbao_ca, "openbao-0.lab.internal"),
        Server(node.address, lab.wrong_ca, node.tls_server_name),
    ):
        with pytest.raises(ssl.SSLCertVerificationError):
            server.request("GET", "/v1/sys/health")


def test_clusters_count_requests_and_refuse_strangers(lab: Lab) -> None:
    for cluster in lab.clusters.values():
        marker = f"/api/v1/namespaces/counted-{cluster.name}"

        def count(log: Path = cluster.audit_log, marker: str = marker) -> int:
            return sum(json.loads(line)["requestURI"] == marker for line in log.read_text().splitlines())

        server = Server(cluster.api_server, cluster.ca_file)
        assert server.request("GET", marker).status == 401
        before = count()
        with lab.proxy(cluster.name) as proxy:
            assert proxy.kubeconfig
            user = yaml.safe_load(proxy.kubeconfig.read_text())["users"][0]["user"]
            assert user["token"] in lab.secrets()
            assert _bearer(Server(proxy.address, cluster.ca_file), marker, user["token"]) == 404
            assert [request.path for request in proxy.requests()] == [marker]
        assert count() == before + 1


def _bearer(server: Server, path: str, token: str) -> int:
    import urllib.error
    import urllib.request

    request = urllib.request.Request(server.url + path, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, context=server.context(), timeout=5) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_clusters_issue_tokens_of_their_own_and_run_pods(lab: Lab) -> None:
    cluster = lab.clusters["member-prod"]
    server = lab.kube_server("member-prod")
    answer = server.request(
        "POST",
        "/api/v1/namespaces/default/serviceaccounts/default/token",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
    )
    assert answer.status == 201
    token = answer.body["status"]["token"]

    def review(name: str) -> Any:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        return lab.kube_server(name).request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body).body["status"]

    mine = review("member-prod")
    assert mine["user"]["username"] == "system:serviceaccount:default:default"
    assert mine["audiences"] == [cluster.audience]
    assert not review("core-infra").get("authenticated")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "sample"},
        "spec": {"containers": [{"name": "sample", "image": "none"}]},
    }
    pods = "/api/v1/namespaces/default/pods"
    assert server.request("POST", pods, pod).status == 201

    def ready() -> bool:
        conditions = server.request("GET", f"{pods}/sample").body["status"].get("conditions", [])
        return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)

    until(ready)
    node = server.request("GET", f"{pods}/sample").body["spec"]["nodeName"]
    assert node in cluster.nodes
    # The API server reaches the stand-in for the kubelet, verified: the way of port-forward.
    logs = server.request("GET", f"{pods}/sample/log")
    assert "no logs found for container" in logs.body["message"]
    assert server.request("DELETE", f"{pods}/sample").status == 200
    until(lambda: server.request("GET", f"{pods}/sample").status == 404)


def test_a_proxy_counts_and_breaks_what_it_is_told(lab: Lab, tmp_path: Path) -> None:
    node = lab.openbao_nodes[0]
    log = tmp_path / "requests.jsonl"
    with lab.proxy(node.name, log) as proxy:
        server = Server(proxy.address, lab.openbao_ca, node.tls_server_name)

        def ask(path: str = "/v1/sys/seal-status") -> int:
            return server.request("GET", path).status

        assert ask() == 200
        proxy.fail(503, 2, method="GET", path="seal-status")
        assert [ask(), ask("/v1/sys/leader"), ask(), ask()] == [503, 200, 503, 200]
        seen: list[str] = []
        proxy.call(lambda method, path: seen.append(f"{method} {path}"), "after", path="leader", skip=1)
        ask("/v1/sys/leader")
        assert seen == []
        ask("/v1/sys/leader")
        ask("/v1/sys/leader")
        assert seen == ["GET /v1/sys/leader"]
        proxy.clear_requests()
        for when in ("before", "after"):
            proxy.cut(when)
            with pytest.raises(OSError, match=r"reset|closed|EOF"):
                ask()
        assert [(request.status, request.fault) for request in proxy.requests()] == [
            (0, "cut-before"),
            (200, "cut-after"),
        ]
        proxy.delay(0.4)
        begin = time.monotonic()
        assert ask() == 200
        assert time.monotonic() - begin >= 0.4
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            ask()
        proxy.accept()
        assert ask() == 200
        proxy.fail(count=None)
        assert {ask() for _other in range(5)} == {503}
        proxy.clear_rules()
        assert ask() == 200
        with pytest.raises(LabError, match="unknown action"):
            proxy.add(Rule("explode"))  # type: ignore[arg-type]
        written = [json.loads(line) for line in log.read_text().splitlines()]
        assert all(set(line) == {"time", "method", "path", "query", "status", "fault"} for line in written)
        assert sum(line["fault"] == "fail" for line in written) == 7
        result = lab.init_openbao()
        answer = server.request("POST", "/v1/auth/token/create", {"ttl": "60s"}, token=result.root_token)
        assert answer.status == 200
        assert answer.body["auth"]["client_token"] not in log.read_text()
        assert result.root_token not in log.read_text()
        assert server.request("LIST", "/v1/sys/policies/acl?x=1", token=result.root_token).status == 200
        assert json.loads(log.read_text().splitlines()[-1])["query"] == "x=1"
    with pytest.raises(ConnectionRefusedError):
        ask()


def test_a_node_that_hangs_one_that_is_gone_and_a_restart_of_all(lab: Lab) -> None:
    active = lab.openbao_active()
    assert active
    lab.pause(active)
    assert {line.state for line in lab.status() if line.name == active} == {"paused"}
    with pytest.raises(TimeoutError):
        lab.openbao_server(active).request("GET", "/v1/sys/health", timeout=0.5)
    until(lambda: lab.openbao_active() not in (None, active))
    lab.resume(active)
    until(lambda: seals(lab)[active] == "standby")
    lab.stop(active, kill=True)
    assert {line.state for line in lab.status() if line.name == active} == {"stopped"}
    lab.restart("openbao")
    assert set(seals(lab).values()) == {"sealed"}
    lab.unseal()
    assert sorted(seals(lab).values()) == ["active", "standby", "standby"]


def test_clusters_keep_their_objects_over_a_restart_and_lose_them_on_reset(lab: Lab) -> None:
    namespaces = "/api/v1/namespaces"

    def exists() -> bool:
        return lab.kube_server("core-infra").request("GET", f"{namespaces}/kept").status == 200

    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kept"}}
    assert lab.kube_server("core-infra").request("POST", namespaces, body).status == 201
    lab.restart("core-infra")
    assert exists()
    before = {line.name: (line.pid, line.ports) for line in lab.status()}
    kubeconfig = lab.clusters["core-infra"].kubeconfig.read_text()
    lab.reset()
    after = {line.name: (line.pid, line.ports) for line in lab.status()}
    assert not exists()
    assert set(seals(lab).values()) == {"not initialised"}
    assert lab.clusters["core-infra"].kubeconfig.read_text() == kubeconfig
    assert {name: row[1] for name, row in before.items()} == {name: row[1] for name, row in after.items()}
    assert not any(before[name][0] == pid for name, (pid, _other) in after.items())
    assert lab.clusters["core-infra"].audit_log.read_text().count("/api/v1/namespaces/kept") == 0


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_up_is_continued_or_cleaned_up(tmp_path: Path, signum: signal.Signals) -> None:
    mine = Lab("cli", tmp_path)
    try:
        with cli(tmp_path, "up", "--only", "openbao,member-prod") as started:
            assert started.stdout
            for line in started.stdout:
                if "member-prod-etcd: ready" in line:
                    break
            started.send_signal(signum)
            rest = started.stdout.read()
        assert started.returncode == (130 if signum == signal.SIGINT else -signal.SIGKILL), rest
        half = mine.pids()
        assert half
        if signum == signal.SIGINT:
            assert "'lab up' continues" in rest
            with cli(tmp_path, "down") as down:
                assert down.wait(30) == 0
        else:
            mine.up(["openbao", "member-prod"])
            assert {line.state for line in mine.status() if line.component != "core-infra"} == {"ready"}
            pids = mine.pids()
            assert len(pids) == 8
            assert len([pid for pid in half if pid in pids]) >= 1
            with cli(tmp_path, "status") as status:
                assert status.wait(30) == 0
            mine.up(["openbao", "member-prod"])
            assert mine.pids() == pids
            mine.stop("openbao-2")
            with cli(tmp_path, "status") as status:
                assert status.wait(30) == 3
    finally:
        mine.down()
    assert marked(mine.state) == []
    assert not [
        pid for pid in half if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def test_two_labs_do_not_know_of_each_other(tmp_path: Path) -> None:
    labs = [Lab(name, tmp_path) for name in ("one", "two")]
    environment = dict(os.environ)
    try:
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "lab", "--state-dir", tmp_path, "--name", lab.name, "up", "--only", "openbao"],
                cwd=ROOT,
                env=environment,
            )
            for lab in labs
        ]
        assert [process.wait(60) for process in running] == [0, 0]
        ports = [port for lab in labs for line in lab.status() for port in line.ports.values()]
        assert len(ports) == len(set(ports))
        labs[0].down(wipe=True)
        assert marked(labs[0].state) == []
        assert len(marked(labs[1].state)) == 3
        assert set(seals(labs[1]).values()) >= {"not initialised"}
        with pytest.raises(LabError, match="never started"):
            labs[0].status()
    finally:
        for lab in labs:
            lab.down(wipe=True)
    assert marked(labs[1].state) == []


def test_proxies_take_the_place_of_the_nodes_in_the_inventory(tmp_path: Path) -> None:
    mine = Lab("proxied", tmp_path)
    try:
        mine.up(["openbao"], proxy=True)
        described = json.loads((mine.state / "lab.json").read_text())
        hosts = yaml.safe_load((mine.state / "inventory" / "hosts.yml").read_text())["all"]["children"]["openbao_nodes"]
        for node in mine.openbao_nodes:
            proxy = described["openbao"]["proxies"][node.name]
            assert hosts["hosts"][node.name]["openbao_address"] == proxy["address"]
            server = Server(proxy["address"], mine.openbao_ca, node.tls_server_name)
            assert server.request("GET", "/v1/sys/seal-status").status == 200
            assert (
                _control(proxy["control"], "POST", "/rules", {"action": "fail", "status": 500, "path": "seal-status"})
                == 200
            )
            assert server.request("GET", "/v1/sys/seal-status").status == 500
            assert _control(proxy["control"], "POST", "/rules", {"action": "nonsense"}) == 400
            assert _control(proxy["control"], "POST", "/refuse") == 200
            with pytest.raises(ConnectionRefusedError):
                server.request("GET", "/v1/sys/seal-status")
            assert _control(proxy["control"], "POST", "/accept") == 200
            assert [json.loads(line)["status"] for line in Path(proxy["log"]).read_text().splitlines()] == [200, 500]
        mine.reset()
        assert mine.proxied
        assert len(mine.pids()) == 6
    finally:
        mine.down()
    assert marked(mine.state) == []


def _control(url: str, method: str, path: str, body: object = None) -> int:
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url + path, json.dumps(body).encode() if body else None, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_wrong_names_are_told(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no process 'openbao-9'; there are core-infra, "):
        lab.stop("openbao-9")
    with pytest.raises(LabError, match="unknown components"):
        lab.up(["nothing"])
    with pytest.raises(LabError, match="is no name"):
        Lab("../other", tmp_path)
    with pytest.raises(LabError, match="never started"):
        Lab("none", tmp_path).status()
    assert not (tmp_path / "none").exists()
