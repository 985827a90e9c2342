# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ladder: every cause has something to see that leads to it, and the first broken hop is the one that is named."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import re
import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers import ladder
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.claims import Claims
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.doctor_model import (
    Bound,
    Certificate,
    Failure,
    Login,
    Mount,
    Network,
    Read,
    Review,
    Seen,
    Target,
)
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.doctor_report import (
    FINDINGS,
    findings,
    result,
)
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[3]
NOW = 1_800_000_000.0
DAY = 86400.0
ISSUER = "https://member-prod.lab.internal:6443"
API = "https://192.0.2.21:6443"

TARGET = Target(
    name="member-prod",
    mount="kubernetes-member-prod",
    audience="openbao-member-prod",
    api_server=API,
    ca=("ca-text", "ca-der"),
    namespace="0-core-openbao-auth",
    service_account="openbao-reviewer",
    role="tenant",
    client_namespace="4-aux-alice",
    client_account="eso",
    tenant=True,
    path="tenants/member-prod/4-aux-alice/doctor",
)
POLICY = (
    'path "kv/data/tenants/member-prod/{{identity.entity.aliases.acc1.metadata.service_account_namespace}}/*" '
    '{ capabilities = ["read"] }'
)
CONFIG = {
    "kubernetes_host": API,
    "kubernetes_ca_cert": "PEM",
    "disable_local_ca_jwt": True,
    "disable_iss_validation": True,
    "token_reviewer_jwt_set": True,
}
ROLE = {
    "audience": "openbao-member-prod",
    "bound_service_account_names": ["eso"],
    "bound_service_account_namespaces": ["4-aux-*"],
    "token_policies": ["tenant-member-prod"],
}
TOKEN = Bound("openbao-reviewer-member-prod-1", NOW + 20 * DAY, NOW - 10 * DAY, ISSUER, "ca-text", "uid-1")
METADATA = {"service_account_namespace": "4-aux-alice", "service_account_name": "eso"}


def network(hop: str = "", rule: str = "", **changes: t.Any) -> Network:
    problem = Failure(rule, rule) if hop else None
    shown = Certificate("CN=kube-apiserver", "CN=lab member-prod", ("localhost", "192.0.2.21"), NOW + 300 * DAY)
    return dataclasses.replace(
        Network("192.0.2.21", 6443, ("192.0.2.21",), hop, problem, shown, None, ahead=0.0), **changes
    )


def fine() -> Seen:
    """Everything as it should be."""
    return Seen(
        now=NOW,
        openbao_asked=True,
        openbao_ahead=0.0,
        network=network(),
        access_asked=True,
        issuer=ISSUER,
        account=True,
        account_uid="uid-1",
        bound=(TOKEN,),
        rbac=True,
        client=Claims(issuer=ISSUER, audiences=("openbao-member-prod",), issued_at=int(NOW), key_id="k1"),
        review=Review(201, True, "system:serviceaccount:4-aux-alice:eso", ("openbao-member-prod",)),
        mounts={"kubernetes-member-prod": Mount("kubernetes-member-prod", "kubernetes", "acc1")},
        config_asked=True,
        config=CONFIG,
        config_ca=("ca-text", "ca-der"),
        role=ROLE,
        policies={"tenant-member-prod": POLICY, "default": "path"},
        engines={"kv": 2, "cubbyhole": 0},
        login=Login(200, policies=("tenant-member-prod",), metadata=METADATA),
        read=Read("kv/data/tenants/member-prod/4-aux-alice/doctor", 404),
    )


REFUSED = {"login": Login(403, ("permission denied",)), "read": None}
JWT_ROLE = {
    "bound_audiences": ["openbao-member-prod"],
    "bound_claims": {
        "/kubernetes.io/namespace": ["4-aux-*"],
        "/kubernetes.io/serviceaccount/name": ["eso"],
    },
    "claim_mappings": {"/kubernetes.io/namespace": "service_account_namespace"},
    "token_policies": ["tenant-member-prod"],
}
JWT: dict[str, t.Any] = {
    "mounts": {"kubernetes-member-prod": Mount("kubernetes-member-prod", "jwt", "acc1")},
    "config": {"jwt_validation_pubkeys": ["PEM"], "bound_issuer": ISSUER},
    "config_keys": ("fp1",),
    "jwks": {"k1": "fp1"},
    "role": JWT_ROLE,
    "network": None,
    "account": None,
    "bound": None,
    "rbac": None,
    "review": None,
}


def policy(path: str, capabilities: str = '"read"') -> dict[str, t.Any]:
    text = f'path "{path}" {{\n  capabilities = [{capabilities}]\n}}\n'
    return {"policies": {"tenant-member-prod": text}, **REFUSED}


def role(**changes: t.Any) -> dict[str, t.Any]:
    return {"role": {**ROLE, **changes}, **REFUSED}


def config(**changes: t.Any) -> dict[str, t.Any]:
    return {"config": {**CONFIG, **changes}, **REFUSED}


NS = "{{identity.entity.aliases.acc1.metadata.service_account_namespace}}"

#: cause -> changes to what is fine, changes to the target.
CASES: dict[str, tuple[dict[str, t.Any], dict[str, t.Any]]] = {
    "openbao-refused": ({"openbao": Failure("refused", "no answer"), "mounts": None}, {}),
    "openbao-sealed": ({"openbao": Failure("sealed", "it is sealed"), "mounts": None}, {}),
    "name": ({"network": network("name", "dns")}, {}),
    "tcp-refused": ({"network": network("tcp", "refused")}, {}),
    "tcp-timeout": ({"network": network("tcp", "timeout")}, {}),
    "tcp-unreachable": ({"network": network("tcp", "unreachable")}, {}),
    "tls-silent": ({"network": network("tls", "timeout")}, {}),
    "tls-name": ({"network": network("tls", "tls-name")}, {}),
    "tls-expired": ({"network": network("tls", "tls-expired")}, {}),
    "tls-ca": ({"network": network("tls", "tls-ca"), "bound": None}, {"ca": ("other", "other-der")}),
    "tls-ca-rotated": ({"network": network("tls", "tls-ca"), "bound": None}, {}),
    "tls-cut": ({"network": network("tls", "cut")}, {}),
    "tls": ({"network": network("tls", "tls")}, {}),
    "access-unauthorized": ({"access": Failure("unauthorized", "HTTP 401")}, {}),
    "clock": ({"network": network(ahead=-3600.0), "client": None, **REFUSED}, {}),
    "token-never": ({"account": False, "bound": (), "mounts": {}}, {}),
    "token-account": ({"account": False}, {}),
    "token-revoked": ({"bound": ()}, {}),
    "token-expired": ({"bound": (dataclasses.replace(TOKEN, expires_at=NOW - 1),)}, {}),
    "token-issuer": ({"issuer": "https://new.example:6443"}, {}),
    "token-account-recreated": ({"account_uid": "uid-2"}, {}),
    "rbac": ({"rbac": False}, {}),
    "client-missing": ({"client": None, "client_problem": Failure("missing", "HTTP 404", 404)}, {}),
    "client-forbidden": ({"client": None, "client_problem": Failure("forbidden", "HTTP 403", 403)}, {}),
    "client": ({"client": None, "client_problem": Failure("cut", "the connection was cut")}, {}),
    "review": ({"review": None, "review_problem": Failure("cut", "the connection was cut")}, {}),
    "review-unauthorized": ({"review": Review(401)}, {}),
    "review-client-audience": ({"review": Review(401)}, {"mode": "client_jwt"}),
    "review-forbidden": ({"review": Review(403)}, {}),
    "review-status": ({"review": Review(500)}, {}),
    "review-refused": ({"review": Review(201, False, error="token is not yet valid")}, {}),
    "review-audience": ({"review": Review(201, True, "x", ("https://other",))}, {}),
    "mount-missing": ({}, {"mount": "kubernetes-member-prd"}),
    "mount-type": ({}, {"mode": "jwt_pubkeys"}),
    "config-missing": ({"config": None}, {}),
    "config-wiped": (config(kubernetes_ca_cert="", disable_local_ca_jwt=False), {}),
    "config-host": (config(kubernetes_host="https://192.0.2.22:6443"), {}),
    "config-local-token": (config(disable_local_ca_jwt=False), {}),
    "config-token-missing": (config(token_reviewer_jwt_set=False), {}),
    "config-ca": (
        {"config_ca": ("other",), "config_ca_fits": False, "bound": (dataclasses.replace(TOKEN, ca=""),)},
        {},
    ),
    "config-ca-rotated": (
        {"config_ca": ("old",), "config_ca_fits": False, "bound": (dataclasses.replace(TOKEN, ca="old"),)},
        {},
    ),
    "config-issuer": (config(disable_iss_validation=False, issuer=""), {}),
    "config-keys": ({**JWT, "config_keys": ("fp-old",)}, {"mode": "jwt_pubkeys"}),
    "role-missing": ({"role": None, "role_names": ("canary",)}, {}),
    "role-no-audience": (role(audience=""), {}),
    "role-audience": (role(audience="vault"), {}),
    "role-service-account": (role(bound_service_account_names=["external-secrets"]), {}),
    "role-namespace": (role(bound_service_account_namespaces=["3-edge-*"]), {}),
    "role-claims": ({**JWT, "role": {**JWT_ROLE, "claim_mappings": {}}, **REFUSED}, {"mode": "jwt_pubkeys"}),
    "policy-no-engine": ({"engines": {"cubbyhole": 0, "secret": 2}, **REFUSED}, {}),
    "policy-missing": ({"policies": {"tenant-member-prod": None}, **REFUSED}, {}),
    "policy-accessor": (policy(f"kv/data/tenants/member-prod/{NS.replace('acc1', 'acc0')}/*"), {}),
    "policy-kv-version": (policy(f"kv/tenants/member-prod/{NS}/*"), {}),
    "policy-denied": (policy(f"kv/data/tenants/member-prod/{NS}/*", '"deny"'), {}),
    "policy-path": (policy(f"kv/data/tenants/member-lab/{NS}/*"), {}),
    "login-timeout": ({"login": Login(0, seconds=2.0, problem=Failure("timeout", "no answer")), "read": None}, {}),
    "login": ({"login": Login(500, ("internal error",)), "read": None}, {}),
    "login-forbidden": (REFUSED, {}),
    "login-metadata": ({"login": Login(200), "read": Read("p", 403)}, {}),
    "login-audience": ({"login": Login(403, ("invalid audience (aud) claim",)), "read": None}, {}),
    "login-service-account": ({"login": Login(403, ("service account name not authorized",)), "read": None}, {}),
    "login-namespace": ({"login": Login(403, ("namespace not authorized",)), "read": None}, {}),
    "login-role": ({"login": Login(400, ('invalid role name "tenant"',)), "read": None}, {}),
    "login-clock": ({"login": Login(400, ("token not yet valid: (nbf)",)), "read": None}, {}),
    "login-issuer": ({"login": Login(400, ("invalid issuer (iss) claim",)), "read": None}, {}),
    "login-signature": ({"login": Login(400, ("no known key successfully validated",)), "read": None}, {}),
    "read-forbidden": ({"read": Read("kv/data/x", 403, ("permission denied",))}, {}),
    "read-kv-version": (
        {"read": Read("kv/x", 404, warnings=("Invalid path for a versioned K/V secrets engine",))},
        {},
    ),
    "read": ({"read": Read("kv/data/x", 500)}, {}),
}


def diagnosed(changes: t.Mapping[str, t.Any], target: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    seen = dataclasses.replace(fine(), **changes)
    return result(dataclasses.replace(TARGET, **target), seen, seconds=0.1)


@pytest.mark.parametrize("cause", sorted(CASES))
def test_each_cause_has_its_own_answer(cause: str) -> None:
    changes, target = CASES[cause]
    told = diagnosed(changes, target)
    assert told["broken"] is not None, told["hops"]
    assert told["broken"]["cause"] == cause, told["broken"]
    assert not told["healthy"]
    broken = told["broken"]
    for key in ("reason", "fix"):
        text = broken[key]
        assert text, key
        assert text.endswith("."), text
        assert "\n" not in text
        assert ". " not in text.replace(" The kubeconfig's CA fits.", ""), f"one sentence: {text}"
    statuses = [hop["status"] for hop in told["hops"]]
    first = statuses.index("broken")
    assert told["hops"][first]["hop"] == broken["hop"]
    assert set(statuses[:first]) <= {"ok", "skipped"}
    assert set(statuses[first + 1 :]) <= {"not reached"}


def causes_in_code() -> set[str]:
    """Causes that the code can name: the first argument of _broken, where it is a constant."""
    found = set()
    tree = ast.parse(Path(ladder.__file__).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_broken":
            first = node.args[0]
            if isinstance(first, ast.Constant):
                found.add(str(first.value))
    assert len(found) > 40
    return found


def test_no_cause_is_left_without_a_case() -> None:
    assert causes_in_code() - set(CASES) == set()


def test_reasons_and_fixes_differ() -> None:
    told = {cause: diagnosed(*CASES[cause])["broken"] for cause in CASES}
    for one, other in itertools.combinations(sorted(told), 2):
        same = {told[one]["reason"]} & {told[other]["reason"]}
        assert not same, (one, other)


def test_docs_name_every_cause_and_every_hop() -> None:
    guide = (ROOT / "docs" / "doctor.md").read_text()
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", guide, re.MULTILINE))
    assert causes_in_code() <= listed
    headings = re.findall(r"^### (\w+)", guide, re.MULTILINE)
    assert headings == list(ladder.HOPS)
    check = (ROOT / "docs" / "check.md").read_text()
    assert set(FINDINGS) == set(re.findall(r"^\| `(reviewer-[a-z-]+)`", check, re.MULTILINE))


def test_all_is_fine() -> None:
    told = diagnosed({}, {})
    assert told["healthy"]
    assert told["broken"] is None
    assert told["doubts"] == []
    assert [hop["status"] for hop in told["hops"]] == ["ok"] * len(ladder.HOPS)
    assert told["reviewer"]["seconds_left"] == 20 * DAY
    assert told["reviewer"]["expires_at"] == "2027-02-04T08:00:00Z"
    assert findings(TARGET, fine()) == []


def test_without_callback_the_ladder_is_shorter() -> None:
    told = diagnosed(JWT, {"mode": "jwt_pubkeys"})
    assert told["healthy"], told["broken"]
    assert [hop["hop"] for hop in told["hops"]] == [
        "openbao",
        "access",
        "clock",
        "client",
        "mount",
        "config",
        "role",
        "policy",
        "login",
        "read",
    ]
    assert told["reviewer"] is None


def test_a_key_that_will_be_used_is_announced() -> None:
    told = diagnosed({**JWT, "jwks": {"k1": "fp1", "k2": "fp2"}}, {"mode": "jwt_pubkeys"})
    assert told["healthy"]
    assert "1 more will be needed" in next(h["detail"] for h in told["hops"] if h["hop"] == "config")


@pytest.mark.parametrize(
    ("mode", "changes"),
    [
        ("long_lived", {"bound": (Bound("openbao-reviewer-token", long_lived=True),)}),
        ("client_jwt", {"bound": None, "account": None}),
    ],
)
def test_other_modes(mode: str, changes: dict[str, t.Any]) -> None:
    told = diagnosed(changes, {"mode": mode})
    assert told["healthy"], told["broken"]


@pytest.mark.parametrize("cause", ["policy-path", "policy-missing", "policy-accessor", "clock"])
def test_a_doubt_is_settled_by_a_login(cause: str) -> None:
    changes, target = CASES[cause]
    working = {**changes, "login": fine().login, "read": fine().read}
    told = diagnosed(working, target)
    assert told["healthy"], told["broken"]
    assert len(told["doubts"]) == 1
    seen = dataclasses.replace(fine(), **working)
    assert [f["id"] for f in findings(TARGET, seen)] == ["reviewer-doubt"]


def test_what_is_certain_is_not_overruled_by_a_login() -> None:
    working = {**CASES["config-local-token"][0], "login": fine().login, "read": fine().read}
    assert diagnosed(working, {})["broken"]["cause"] == "config-local-token"


def test_without_login_nothing_is_said_about_it() -> None:
    told = diagnosed({"client": None, "review": None, "login": None, "read": None}, {"login": False})
    assert told["healthy"]
    skipped = [hop["hop"] for hop in told["hops"] if hop["status"] == "skipped"]
    assert skipped == ["client", "review", "login", "read"]


def test_interrupted_run_does_not_hide_the_token_in_use() -> None:
    pending = Bound("openbao-reviewer-member-prod-2", NOW + 30 * DAY, NOW, ISSUER, "ca-text", "uid-1", pending=True)
    told = diagnosed({"bound": (pending, TOKEN)}, {})
    assert told["reviewer"]["secret"] == TOKEN.name
    assert diagnosed({"bound": (pending,)}, {})["reviewer"]["secret"] == pending.name


def test_expiry_counts_by_the_api_servers_clock() -> None:
    ahead = {"network": network(ahead=21 * DAY), "openbao_ahead": 21 * DAY, "client": None, "review": None}
    told = diagnosed(ahead, {"login": False})
    assert told["broken"]["cause"] == "token-expired"


def test_near_expiry_is_a_warning() -> None:
    seen = dataclasses.replace(fine(), bound=(dataclasses.replace(TOKEN, expires_at=NOW + DAY),))
    (found,) = findings(TARGET, seen)
    assert (found["id"], found["severity"]) == ("reviewer-near-expiry", "warning")


def test_too_slow_is_named_at_the_hop_that_was_not_seen() -> None:
    told = diagnosed({"login": None, "read": None, "late": True}, {})
    assert told["broken"]["cause"] == "login-late"
    assert diagnosed({"rbac": None, "late": True}, {})["broken"]["hop"] == "rbac"


def test_a_selector_leaves_namespaces_to_the_login() -> None:
    chosen = {**ROLE, "bound_service_account_namespaces": [], "bound_service_account_namespace_selector": "{}"}
    assert diagnosed({"role": chosen}, {})["healthy"]


FIELDS = [f.name for f in dataclasses.fields(Seen) if f.name not in ("now", "ms", "late")]


@given(st.sets(st.sampled_from(FIELDS)), st.sampled_from(["token_request", "jwt_pubkeys", "client_jwt", "long_lived"]))
def test_any_gap_in_what_was_seen_ends_the_ladder_there(gaps: set[str], mode: str) -> None:
    """Whatever is unknown, nothing crashes, nothing is called broken that was not seen, and no hop is skipped over."""
    blank = Seen(now=NOW)
    seen = dataclasses.replace(fine(), **{name: getattr(blank, name) for name in gaps})
    walked = ladder.walk(dataclasses.replace(TARGET, mode=mode), seen)
    assert [hop.hop for hop in walked] == ladder.hops(mode)
    statuses = [hop.status for hop in walked]
    if "not reached" in statuses:
        assert set(statuses[statuses.index("not reached") :]) == {"not reached"}
