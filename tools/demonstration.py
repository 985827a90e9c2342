# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration: real servers are set up, restarted, unsealed by three holders, and found as they should be; a pod
of a tenant on one cluster reads its OpenBao secret on the other, and is refused its neighbour's.

Talks to the lab by its command line only, and to OpenBao by the playbooks that people type and as a pod would.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import yaml

from tools.pod_identity import Api, Problem, log_in, make_pod, owner, token_of_pod

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "tests" / "output" / "demo"
HOLDERS = ("ada", "bo", "cleo")
#: OpenBao policy of those who write the tenants' OpenBao secrets.
EDITOR = "tenants-editor"
#: The cluster whose pods log in, and its two tenants with what each keeps in OpenBao.
CLUSTER = "member-prod"
TENANTS = {"4-aux-alice": {"colour": "turquoise"}, "4-aux-bob": {"colour": "crimson"}}
#: What the shipped table gives the pods of these tenants.
TIER_CLASS = "tier-4-aux"
#: Tenants from their declarations; their own repositories follow.
DECLARED = ("4-aux-carol", "4-aux-dave")
#: What the first of them has in her Git repository: a calendar, behind a proxy that checks tokens.
CALENDAR = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: calendar}
spec:
  serviceName: calendar
  replicas: 1
  selector: {matchLabels: {app: calendar}}
  template:
    metadata: {labels: {app: calendar}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: caldav
          image: registry.example/radicale:3
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        - name: proxy
          image: registry.example/token-proxy:1
          ports: [{containerPort: 8443}]
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata: {name: calendar}
spec: {selector: {app: calendar}, ports: [{port: 443, targetPort: 8443}]}
"""
#: What the second has in his: he would like to be administrator.
TAKEOVER = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: everything-is-mine}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: flux, namespace: 4-aux-dave}]
"""
#: What Flux applies to the cluster itself.
CLUSTER_MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: about-this-cluster, namespace: default}
data: {from: git}
"""
#: Longest time for Flux's controllers to apply what is in Git, in seconds.
APPLIED = 180


class Failed(Exception):
    """A step did not do what it should; the text says what to look at."""


class Demo:
    """The steps, and what they found."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = ROOT / "lab" / ".state" / name
        self.inventory = f"lab/.state/{name}/inventory"
        self.begin = time.monotonic()
        self.times: list[tuple[str, float]] = []

    # -- doing things ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def step(self, text: str) -> t.Iterator[None]:
        """Show what is done and how long it took."""
        started = time.monotonic()
        print(f"\n{len(self.times) + 1}. {text}", flush=True)
        yield
        self.times.append((text, time.monotonic() - started))

    def lab(self, *arguments: str) -> str:
        """Run the lab's command line; its lines are shown as they come."""
        command = [sys.executable, "-m", "lab", "--name", self.name, *arguments]
        child = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        lines = []
        try:
            for line in t.cast("t.IO[str]", child.stdout):
                lines.append(line)
                if not re.match(r"\S+: (ready|runs already)", line):
                    print(f"   {line.rstrip()}", flush=True)
            code = child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGTERM)
            child.wait(60)
            raise
        if code:
            raise Failed(f"'python -m lab {' '.join(arguments)}' ended with {code}")
        return "".join(lines)

    def play(self, playbook: str, *, fails: bool = False) -> str:
        """Run a playbook as a person would; the whole output goes to a file. Returns it.

        :param fails: it is to end with an error (a check that finds something), and with nothing else.
        """
        log = LOGS / f"{len(self.times) + 1}-{playbook}.log"
        program = str(Path(sys.executable).parent / "ansible-playbook")
        command = [program, "-i", self.inventory, f"playbooks/{playbook}.yml"]
        shown = " ".join(["ansible-playbook", *command[3:]]).replace(f"{ROOT}/", "")
        print(f"   $ {shown}", flush=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "VAULT_", "BAO_"))}
        environment["ANSIBLE_NOCOLOR"] = "1"
        with log.open("w", encoding="utf-8") as stream:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                check=False,
            )
        text = log.read_text(encoding="utf-8")
        if bool(done.returncode) != fails:
            errors = [line for line in text.splitlines() if "ERROR" in line or "fatal:" in line][:6]
            where = log.relative_to(ROOT)
            raise Failed("\n".join([f"{playbook}.yml ended with {done.returncode}; all of it: {where}", *errors]))
        return text

    # -- looking at things -------------------------------------------------------------------------------------------

    def states(self) -> dict[str, str]:
        """Return what the lab says about each OpenBao node (its own look at the servers, not the collection's)."""
        done = subprocess.run(
            [sys.executable, "-m", "lab", "--name", self.name, "status", "--json"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        return {row["name"]: str(row["detail"]) for row in json.loads(done.stdout) if row["component"] == "openbao"}

    @staticmethod
    def say(text: str) -> None:
        """Say what happens."""
        print(f"   {text}", flush=True)

    def expect(self, condition: object, text: str) -> None:
        """Say what was found, or fail."""
        if not condition:
            raise Failed(f"expected: {text}")
        print(f"   -> {text}", flush=True)

    def described(self) -> dict[str, t.Any]:
        """Return what the lab says about itself: addresses and paths."""
        return t.cast("dict[str, t.Any]", json.loads((self.state / "lab.json").read_text(encoding="utf-8")))


def changed(output: str) -> int:
    """Return how many tasks a run changed, from its recap.

    :raises Failed: when there is no recap.
    """
    found = re.findall(r"changed=(\d+)", output)
    if not found:
        raise Failed("the run has no recap")
    return sum(int(number) for number in found)


def sealed(states: t.Mapping[str, str]) -> list[str]:
    """Return the nodes that are sealed."""
    return sorted(name for name, detail in states.items() if re.search(r"\bsealed\b", detail))


def fill_repositories(demo: Demo) -> dict[str, str]:
    """Put the clusters', the tenants' and each tenant's own files into Git, as people would push them.

    :returns: the addresses.
    """
    tenants = [space.removeprefix("4-aux-") for space in DECLARED]
    contents: dict[str, dict[str, str]] = {"clusters": {f"clusters/{CLUSTER}/about.yaml": CLUSTER_MAP}, "tenants": {}}
    for name, manifest in zip(tenants, (CALENDAR, TAKEOVER), strict=True):
        contents[name] = {"deploy/all.yaml": manifest}
    addresses: dict[str, str] = {}
    for repository in (*tenants, "clusters", "tenants"):
        folder = demo.state / "pushed" / repository
        shutil.rmtree(folder, ignore_errors=True)
        if repository == "tenants":
            for name in tenants:
                declaration = {
                    "version": 1,
                    "name": name,
                    "owner": {"contact": f"{name}@example.org"},
                    "clusters": [CLUSTER],
                    "source": {"url": addresses[name], "path": "./deploy"},
                }
                contents["tenants"][f"tenants/{name}.yaml"] = json.dumps(declaration, indent=2) + "\n"
        for path, text in contents[repository].items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        addresses[repository] = demo.lab("repository", repository, str(folder)).split()[-1]
    return addresses


def describe_site(state: Path) -> None:
    """Complete the lab's inventory as an operator would: a new site, its administrators' login, where shares land."""
    folder = state / "inventory" / "group_vars" / "all"
    shares = state / "shares"
    shutil.rmtree(shares, ignore_errors=True)
    shares.mkdir(mode=0o700)
    password = state / "platform-admin.password"
    password.unlink(missing_ok=True)
    with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(secrets.token_urlsafe(24))
    site = yaml.safe_load((folder / "platform.yml").read_text(encoding="utf-8"))["platform_openbao"]
    site |= {
        "initialise": True,
        "shares_dir": str(shares),
        "login": {"auth_method": "userpass", "username": "platform-admin", "password_file": str(password)},
        "config": {
            "policies": [
                {"name": EDITOR, "rules": [{"path": "kv/data/tenants/*", "capabilities": ["create", "update"]}]}
            ]
        },
    }
    sources = [
        {
            "name": holder,
            "age_file": str(shares / f"{holder}.age"),
            "age_identity_file": str(state / "holders" / holder / "age-identity.txt"),
        }
        for holder in HOLDERS
    ]
    clusters = yaml.safe_load((folder / "platform.yml").read_text(encoding="utf-8"))["platform_clusters"]
    tiered = [{**cluster, "namespace_tiers": cluster["name"] == CLUSTER} for cluster in clusters]
    given = {"platform_openbao": site, "platform_clusters": tiered, "openbao_unseal_sources": sources}
    text = json.dumps(given, indent=2)
    (folder / "site.yml").write_text(text + "\n", encoding="utf-8")


def describe_tenants(state: Path, repositories: t.Mapping[str, str], manifests: t.Mapping[str, str]) -> None:
    """Add Flux and the tenants to an inventory that :func:`describe_site` has completed."""
    file = state / "inventory" / "group_vars" / "all" / "site.yml"
    given = json.loads(file.read_text(encoding="utf-8"))
    for cluster in given["platform_clusters"]:
        if cluster["name"] == CLUSTER:
            cluster["flux"] = {"repository": repositories["clusters"], "path": f"./clusters/{CLUSTER}"}
    given |= {
        "platform_tenants": {
            "repository": repositories["tenants"],
            "directory": "tenants",
            "git": {"allow": [repositories["tenants"].rpartition("/")[0] + "/"]},
        },
        "tenant_onboarding_git_ca_cert": str(state / "git" / "pki" / "ca.pem"),
        "flux_bootstrap_manifests": dict(manifests),
        # Its controllers start a step later, next to the cluster: nothing runs in the lab's pods.
        "flux_bootstrap_wait": "components",
    }
    file.write_text(json.dumps(given, indent=2) + "\n", encoding="utf-8")


def administrator(demo: Demo) -> Api:
    """Return the tenants' cluster, as its administrator."""
    about = demo.described()["clusters"][CLUSTER]
    bearer = Path(about["token_file"]).read_text(encoding="utf-8").strip()
    return Api(about["api_server"], about["ca_file"], {"Authorization": f"Bearer {bearer}"})


def namespace_tier(demo: Demo) -> None:
    """Look at what the namespace tier gave the first tenant: to its pod at once, to its namespace by a run.

    :raises Failed: when something else is there.
    """
    cluster = administrator(demo)
    mine = next(iter(TENANTS))
    pod = cluster.need("GET", f"/api/v1/namespaces/{mine}/pods/web")["spec"]
    demo.expect(
        pod.get("priorityClassName") == TIER_CLASS,
        f"its pod, which named no class, has the class {TIER_CLASS} (priority {pod.get('priority')})",
    )
    demo.play("tiers")
    for kind in ("limitranges", "resourcequotas"):
        items = cluster.need("GET", f"/api/v1/namespaces/{mine}/{kind}")["items"]
        demo.expect(len(items) == 1, f"one of {kind} in {mine}: {', '.join(i['metadata']['name'] for i in items)}")


def tenants_by_flux(demo: Demo) -> None:
    """Let Flux's controllers run with what their Deployments say; look at what they make of the tenants' repositories.

    :raises Failed: when something else is there.
    """
    demo.lab("flux", "follow", CLUSTER, "--trust-git")
    cluster = administrator(demo)
    mine, theirs = DECLARED
    end = time.monotonic() + APPLIED
    calendar, said = 0, ""
    while time.monotonic() < end and not (calendar and said):
        status, found = cluster.request("GET", f"/apis/apps/v1/namespaces/{mine}/statefulsets/calendar")
        calendar = (found.get("status") or {}).get("readyReplicas", 0) if status == 200 else 0
        name = theirs.removeprefix("4-aux-")
        path = f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{theirs}/kustomizations/{name}"
        conditions = (cluster.need("GET", path).get("status") or {}).get("conditions") or []
        said = next((c["message"] for c in conditions if c["type"] == "Ready" and "forbidden" in c["message"]), "")
        time.sleep(1)
    demo.expect(calendar, f"{mine}: the calendar of her repository runs")
    demo.expect(said, f"{theirs}: his repository wants to be administrator, and is refused by the API server")
    status, _found = cluster.request("GET", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/everything-is-mine")
    demo.expect(status == 404, "there is no such ClusterRoleBinding")


def pod_of_a_tenant(demo: Demo) -> None:
    """Log in as a pod of the first tenant; read what is the tenant's, be refused what is the neighbour's.

    :raises Failed: when a read is answered otherwise.
    :raises Problem: when the pod gets no token or no login.
    """
    lab = demo.described()
    node = next(n for n in lab["openbao"]["nodes"] if demo.states()[n["name"]] == "active")
    openbao = Api(node["address"], lab["openbao"]["ca_file"], name=node["tls_server_name"])
    password = (demo.state / "platform-admin.password").read_text(encoding="utf-8").strip()
    editor = owner(openbao, "platform-admin", password, EDITOR)
    for namespace, content in TENANTS.items():
        editor.need("POST", f"/v1/kv/data/tenants/{CLUSTER}/{namespace}/web", {"data": content})

    cluster = administrator(demo)
    mine, theirs = TENANTS
    pod = ("web", make_pod(cluster, mine, "eso", "web"))
    audience = f"openbao-{CLUSTER}"
    jwt = token_of_pod(cluster, mine, "eso", pod, audience)
    demo.say(f"pod web in namespace {mine} of {CLUSTER} gets a token of its ServiceAccount eso, audience {audience}")
    tenant, login = log_in(openbao, f"kubernetes-{CLUSTER}", "tenant", jwt)
    demo.expect(
        login["metadata"]["service_account_namespace"] == mine,
        f"OpenBao asked {CLUSTER} who that is ({login['metadata']['service_account_namespace']}"
        f"/{login['metadata']['service_account_name']}) and lets it in for {login['lease_duration'] // 60} minutes",
    )
    path = f"kv/data/tenants/{CLUSTER}/{mine}/web"
    status, answer = tenant.request("GET", f"/v1/{path}")
    demo.expect(status == 200 and answer["data"]["data"] == TENANTS[mine], f"reads {path}: {json.dumps(TENANTS[mine])}")
    path = f"kv/data/tenants/{CLUSTER}/{theirs}/web"
    status, _answer = tenant.request("GET", f"/v1/{path}")
    demo.expect(status == 403, f"is refused {path}: HTTP 403")


def run(demo: Demo) -> None:
    """All steps.

    :raises Failed: at the first that does not do what it should.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    with demo.step("Two clusters; three OpenBao servers on raft with TLS, nobody has initialised them"):
        if (demo.state / "lab.json").is_file():
            demo.lab("up", "--with", "git")
            demo.lab("reset")
        else:
            demo.lab("up", "--with", "git")
        manifests = json.loads(demo.lab("flux-manifests").splitlines()[-1])
        describe_site(demo.state)
        describe_tenants(demo.state, fill_repositories(demo), manifests)
    with demo.step("Set up: unseal shares for five holders, OpenBao, clusters, namespace tiers, Flux, two tenants"):
        first = changed(demo.play("site"))
        demo.expect(first > 0 and not sealed(demo.states()), f"{first} tasks changed something; all nodes unsealed")
    with demo.step("A power cut: all three servers restart"):
        demo.lab("restart", "--kill", "openbao")
        down = sealed(demo.states())
        demo.expect(len(down) == 3, f"three sealed nodes: {', '.join(down)}")
    with demo.step("Look, without writing anything"):
        report = demo.play("check", fails=True)
        named = [node for node in down if re.search(rf"{node}.*sealed", report)]
        demo.expect(named == down, f"the check fails and names {', '.join(named)} as sealed")
    with demo.step(f"Three of five holders send their shares: {', '.join(HOLDERS)}"):
        demo.play("unseal")
        demo.expect(not sealed(demo.states()), "all three nodes unsealed, one of them active")
    with demo.step("Set up again: there is nothing to do"):
        output = demo.play("site")
        demo.expect(changed(output) == 0, "changed=0")
    with demo.step(f"A pod of tenant A on {CLUSTER} reads its OpenBao secret, and tries tenant B's"):
        pod_of_a_tenant(demo)
        said = re.search(rf'"({CLUSTER}: .* until .*)"', output)
        demo.expect(said, said[1] if said else "the last run names the end of the reviewer's token")
    with demo.step("What the namespace tier 4-aux gives tenant A"):
        namespace_tier(demo)
    with demo.step("Flux's controllers start, with what the run installed; each tenant's own repository is applied"):
        tenants_by_flux(demo)


def summary(demo: Demo) -> str:
    """Return the closing words."""
    lines = ["", "What happened", "-------------"]
    lines += [f"{seconds:6.1f} s  {text}" for text, seconds in demo.times]
    lines += [
        f"{time.monotonic() - demo.begin:6.1f} s  in all",
        "",
        f"The servers still run. Try:   .venv/bin/ansible-playbook -i {demo.inventory} playbooks/check.yml",
        "Stop them and forget all:     make demo-down",
        "What each run printed:        tests/output/demo/",
    ]
    return "\n".join(lines)


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Run the demonstration; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tools/demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--down", action="store_true", help="stop the demo's servers and forget their state")
    parser.add_argument("--name", default="default", help="name of the lab")
    options = parser.parse_args(arguments)
    demo = Demo(options.name)
    try:
        if options.down:
            demo.lab("down", "--wipe")
            return 0
        run(demo)
    except (Failed, Problem) as problem:
        print(f"\nThe demo stopped: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. 'make demo' starts again, 'make demo-down' stops the servers.", file=sys.stderr)
        return 130
    print(summary(demo))
    return 0


if __name__ == "__main__":
    sys.exit(main())
