# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unsealing OpenBao inside Kubernetes: real controllers, real port-forwards, real servers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import typing as t

from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_seal import SealClient

from lab.api import Lab
from tests.integration.pods.helpers import NAMES, fresh, info, rescheduled, unseal
from tests.integration.seal.helpers import shares

if t.TYPE_CHECKING:
    import pytest

THREE = ("ada", "bo", "cleo")


def test_pods_that_are_made_one_after_the_other(pods_lab: Lab) -> None:
    fresh(pods_lab)
    deployed = pods_lab.openbao_pods
    before = info(pods_lab)
    assert before["sealed"] == ["openbao-0"]
    assert before["pods"]["absent"] == ["openbao-1", "openbao-2"]
    assert [n["problem"]["hop"] for n in before["nodes"][1:]] == ["absent", "absent"]
    assert deployed.running() == ["openbao-0"]
    assert deployed.endpoints() == []

    planned = unseal(pods_lab, *THREE, check=True)
    assert planned["changed"]
    assert [n["name"] for n in planned["plan"]] == ["openbao-0"]
    assert info(pods_lab)["nodes"][0]["progress"] == 0

    started = time.monotonic()
    result = unseal(pods_lab, *THREE)
    seconds = time.monotonic() - started
    assert result["changed"]
    assert result["unsealed"] == NAMES
    assert result["active"]["name"] in NAMES
    assert result["active"]["tls_server_name"] == f"{result['active']['name']}.openbao-internal"
    assert result["pods"]["ready"] == NAMES
    assert result["sent"]["bo"] == dict.fromkeys(NAMES, "counted")
    assert deployed.endpoints() == NAMES
    print(f"three pods, one after the other: {seconds:.1f} s {result['seconds']}")

    again = unseal(pods_lab, *THREE)
    assert not again["changed"]
    assert max(again["requests"].values()) <= 2
    assert not unseal(pods_lab, *THREE, check=True)["changed"]


class Relay:
    """Passes the bytes of connections on to a server and keeps what came from the client: what a kubelet could see."""

    def __init__(self, port: int) -> None:
        self.seen = bytearray()
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _address = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                for args in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._copy, args=args, daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, keep: bool) -> None:
        with contextlib.suppress(OSError), source, sink:
            while data := source.recv(65536):
                if keep:
                    self.seen += data
                sink.sendall(data)

    def close(self) -> None:
        self._listener.close()


def test_three_pods_at_once_within_the_budget_and_nobody_on_the_way_sees_a_share(pods_lab: Lab) -> None:
    fresh(pods_lab, "Parallel")
    port = int(pods_lab.openbao_nodes[0].address.rpartition(":")[2])
    relay = Relay(port)
    pods_lab.openbao_pods.lead("openbao-0", relay.port)
    try:
        started = time.monotonic()
        result = unseal(pods_lab, *THREE, wait=False)
        seconds = time.monotonic() - started
    finally:
        pods_lab.openbao_pods.lead("openbao-0", port)
        relay.close()
    assert result["unsealed"] == NAMES
    assert seconds < 5
    print(f"three pods at once: {seconds:.2f} s {result['seconds']}")

    seen = bytes(relay.seen)
    assert seen[:2] == b"\x16\x03"  # a TLS handshake
    assert len(seen) > 1000
    assert b"sys/unseal" not in seen
    for share in shares(pods_lab).values():
        assert share.encode() not in seen
        assert bytes.fromhex(share) not in seen

    log = pods_lab.clusters["core-infra"].audit_log.read_text(encoding="utf-8")
    assert "/pods/openbao-2/portforward?ports=8200" in log
    assert "/exec" not in log
    lowered = log.lower()
    assert not [secret for secret in pods_lab.secrets() if secret.lower() in lowered]
    unseal(pods_lab, *THREE)


def test_one_holder_after_the_other(pods_lab: Lab) -> None:
    fresh(pods_lab)
    for number, holder in enumerate(THREE[:2], 1):
        result = unseal(pods_lab, holder, known_holders=list(THREE))
        assert result["sealed"] == ["openbao-0"]
        assert result["missing"] == 3 - number
    # the third one's share unseals the first pod, so that the second one is made, and counts there
    result = unseal(pods_lab, "cleo", known_holders=list(THREE), wait_timeout=30)
    assert result["unsealed"] == ["openbao-0"]
    assert result["sealed"] == ["openbao-1"]
    assert result["missing"] == 2
    assert result["pods"]["absent"] == ["openbao-2"]
    assert unseal(pods_lab, *THREE)["unsealed"] == NAMES


def test_a_pod_that_is_deleted_in_the_middle(pods_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh(pods_lab, "Parallel")
    original, deleted = SealClient.send, threading.Event()

    def send(self: SealClient, key: t.Any, **options: t.Any) -> t.Any:
        answer = original(self, key, **options)
        name = self._client.connection.url
        if "openbao-1." in name and not deleted.is_set():
            deleted.set()
            rescheduled(pods_lab, "openbao-1")
        return answer

    monkeypatch.setattr(SealClient, "send", send)
    result = unseal(pods_lab, *THREE, require="all")
    assert deleted.is_set()
    assert result["unsealed"] == NAMES


def test_watching_for_one_pod_that_comes_back_sealed(pods_lab: Lab) -> None:
    fresh(pods_lab, "Parallel")
    unseal(pods_lab, *THREE)
    timer = threading.Timer(2, rescheduled, (pods_lab, "openbao-2"))
    timer.start()
    started = time.monotonic()
    result = unseal(pods_lab, *THREE, watch=60)
    timer.join()
    assert result["watched"]["node"] == "openbao-2"
    assert result["changed"]
    assert result["unsealed"] == NAMES
    assert time.monotonic() - started < 40

    nothing = unseal(pods_lab, *THREE, watch=1)
    assert nothing["watched"]["node"] == ""
    assert not nothing["changed"]


def test_watching_while_a_container_hangs_and_is_restarted_in_its_pod(pods_lab: Lab) -> None:
    """After the test above. The pod stays, only what runs in it is another process."""
    between: list[list[str]] = []

    def restarted() -> None:
        pods_lab.pause("openbao-1")
        time.sleep(3.5)
        between.append(pods_lab.openbao_pods.endpoints())
        pods_lab.restart("openbao-1", kill=True)

    timer = threading.Timer(1, restarted)
    timer.start()
    result = unseal(pods_lab, *THREE, watch=60, timeout=1.0)
    timer.join()
    assert between == [["openbao-0", "openbao-2"]]
    assert result["watched"]["node"] == "openbao-1"
    assert result["unsealed"] == NAMES
    assert pods_lab.openbao_pods.endpoints() == NAMES
