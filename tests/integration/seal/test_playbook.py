# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook as holders run it: sources, terminal, secrets, kills, no DNS."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import typing as t
from pathlib import Path

import pyrage
import pytest

from lab.api import Lab
from lab.holders import stop_agent
from tests.integration.ansible_run import ROOT, Run, environment, private, program, run_module, run_play, start_play
from tests.integration.seal.helpers import HOLDERS, holders, nodes, progress, seal, shares, unseal

PLAYBOOK = ROOT / "playbooks" / "unseal.yml"
ALL = ["unsealed", "unsealed", "unsealed"]


@pytest.fixture(autouse=True)
def lab(openbao_lab: Lab) -> Lab:
    """The lab of this file, sealed, with nothing counted."""
    seal(openbao_lab)
    return openbao_lab


def site(lab: Lab, **more: t.Any) -> dict[str, t.Any]:
    """Return variables as an inventory would have them, without waiting for a leader."""
    return {
        "openbao_unseal_nodes": nodes(lab),
        "openbao_unseal_ca_cert": str(lab.openbao_ca),
        "openbao_unseal_holders": list(HOLDERS),
        "openbao_unseal_wait": False,
        **more,
    }


def files(lab: Lab, folder: Path, *names: str, **others: str) -> list[dict[str, str]]:
    known = {**shares(lab), **others}
    return [{"name": n, "file": private(folder / f"{n}.share", known[n] + "\n")} for n in names]


def test_three_holders_of_the_inventory_and_the_second_run(lab: Lab, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.json"
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    members = {
        n["name"]: {"openbao_address": n["url"], "openbao_tls_server_name": n["tls_server_name"]} for n in nodes(lab)
    }
    inventory.write_text(
        json.dumps(
            {
                "all": {
                    "vars": {
                        "platform_openbao": {
                            "ca_cert": str(lab.openbao_ca),
                            "holders": [{"name": h} for h in HOLDERS],
                        }
                    },
                    "children": {
                        "controller": {"hosts": {"localhost": local}},
                        "openbao_nodes": {"hosts": members},
                    },
                }
            }
        )
    )
    one = {"openbao_unseal_sources": files(lab, tmp_path, "ada")}
    first = run_play(PLAYBOOK, inventory=inventory, extra_vars=one).ok()
    assert "still needed: 2 unseal share(s) from bo, cleo, dan, eve" in first.stdout
    command = f"ansible-playbook -i {inventory} playbooks/unseal.yml -e openbao_unseal_holder=HOLDER"
    assert f"next command: {command}" in first.stdout
    rest = {"openbao_unseal_sources": files(lab, tmp_path, "bo", "cleo")}
    second = run_play(PLAYBOOK, inventory=inventory, extra_vars=rest).ok()
    assert second.of("openbao_unseal")["active"]
    assert "active node: openbao-" in second.stdout
    third = run_play(PLAYBOOK, inventory=inventory, extra_vars=rest).ok()
    assert third.changed == []
    assert third.of("openbao_unseal")["requests"] == dict.fromkeys(("openbao-0", "openbao-1", "openbao-2"), 2)


@pytest.fixture
def encrypted(lab: Lab, tmp_path: Path) -> tuple[list[dict[str, t.Any]], str]:
    """Three holders: a file in ansible-vault, an age file, a command; and the file with the vault password."""
    known, people = shares(lab), {h.name: h for h in lab.holders}
    password = private(tmp_path / "vault-password", "correct horse")
    vaulted = private(tmp_path / "ada.share", known["ada"])
    subprocess.run(
        [program("ansible-vault"), "encrypt", "--vault-password-file", password, vaulted],
        check=True,
        capture_output=True,
        env=environment(tmp_path),
    )
    age = tmp_path / "bo.age"
    age.write_bytes(
        pyrage.encrypt(known["bo"].encode(), [pyrage.x25519.Recipient.from_str(people["bo"].age_recipient)])
    )
    plain = private(tmp_path / "cleo.share", known["cleo"])
    return [
        {"name": "ada", "file": vaulted},
        {"name": "bo", "age_file": str(age), "age_identity_file": str(people["bo"].age_identity_file)},
        {"name": "cleo", "command": ["cat", plain]},
    ], password


def test_every_source_but_the_terminal(lab: Lab, tmp_path: Path, encrypted: tuple[list[dict[str, t.Any]], str]) -> None:
    sources, password = encrypted
    eve = next(h for h in lab.holders if h.name == "eve")
    home = tempfile.mkdtemp(prefix="gpg-")  # short, as the agent's socket lies in it
    try:
        if eve.pgp_public_key:  # gpg is installed
            assert eve.gnupg_home
            shutil.copytree(eve.gnupg_home, home, dirs_exist_ok=True)
            Path(home).chmod(0o700)
            done = subprocess.run(
                ["gpg", "--batch", "--trust-model", "always", "--armor", "-e", "-f", str(eve.pgp_public_key)],
                input=shares(lab)["eve"].encode(),
                capture_output=True,
                check=True,
                env={**os.environ, "GNUPGHOME": home},
            )
            message = tmp_path / "eve.asc"
            message.write_bytes(done.stdout)
            sources[2] = {"name": "eve", "pgp_file": str(message)}
        result = run_play(
            PLAYBOOK,
            extra_vars=site(lab, openbao_unseal_sources=sources),
            args=["--vault-password-file", password],
            env={"GNUPGHOME": home},
        ).ok()
    finally:
        stop_agent(Path(home))
        shutil.rmtree(home, ignore_errors=True)
    assert progress(lab) == ALL
    assert result.of("openbao_unseal")["holders_sent"] == [s["name"] for s in sources]


def _type(argv: list[str], env: dict[str, str], answers: list[tuple[str, str]], timeout: float = 90) -> tuple[int, str]:
    """Run a program on a terminal of its own and type *answers* when the words before them appear."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execvpe(argv[0], argv, env)  # noqa: S606 (no shell is wanted)
    seen, todo, deadline = "", list(answers), time.monotonic() + timeout
    mark = 0
    while time.monotonic() < deadline:
        ready = select.select([terminal], [], [], 0.2)[0]
        if ready:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            if not data:
                break
            seen += data.decode(errors="replace")
        if todo and todo[0][0] in seen[mark:]:
            mark = len(seen)
            time.sleep(0.3)  # Ansible drops what was typed before it asks
            os.write(terminal, todo.pop(0)[1].encode() + b"\r")
    else:
        os.kill(pid, signal.SIGKILL)
    state = os.waitpid(pid, 0)[1]
    os.close(terminal)
    assert not todo, f"never asked for {todo[0][0]!r}:\n{seen}"
    return os.waitstatus_to_exitcode(state), seen


def test_terminal_asks_without_echo(lab: Lab, tmp_path: Path) -> None:
    share = shares(lab)["bo"]
    variables = private(tmp_path / "vars.json", json.dumps(site(lab)))
    for name in ("home", "local-tmp", "remote-tmp", "tmp"):
        (tmp_path / name).mkdir()
    argv = [program(), str(PLAYBOOK), "-i", "localhost,", "-c", "local", "-e", f"@{variables}"]
    argv += ["-e", f"ansible_python_interpreter={sys.executable}", "-vvv"]
    answers = [("Whose unseal share", "bo"), ("Unseal share of bo", "nonsense"), ("Once more", share)]
    code, seen = _type(argv, environment(tmp_path), answers)
    assert code == 0, seen
    assert progress(lab) == ["1/3"] * 3
    assert share not in seen
    assert "nonsense" not in seen
    assert "still needed: 2 unseal share(s) from ada, cleo, dan, eve" in seen.replace("\r\n", " ")


def test_nothing_is_asked_when_nothing_is_sealed_or_in_check_mode(lab: Lab) -> None:
    variables = site(lab, openbao_unseal_holder="ada")
    looked = run_play(PLAYBOOK, extra_vars=variables, check=True).ok()
    assert "openbao-0: would send ada, 2 more unseal share(s) missing" in looked.stdout
    assert progress(lab) == ["0/3"] * 3
    refused = run_play(PLAYBOOK, extra_vars=variables)
    assert refused.rc != 0
    assert refused.of("openbao_unseal")["error"]["rule"] == "no-terminal"
    unseal(lab, holders(lab, "ada", "bo", "cleo"), wait=True)
    quiet = run_play(PLAYBOOK, extra_vars={**variables, "openbao_unseal_wait": True}).ok()
    assert quiet.changed == []


def test_literal_shares_and_unsafe_settings_are_refused(lab: Lab, tmp_path: Path) -> None:
    literal = [{"name": "ada", "share": shares(lab)["ada"]}]
    result = run_play(PLAYBOOK, extra_vars=site(lab, openbao_unseal_sources=literal))
    assert result.rc != 0
    variables = site(lab, openbao_unseal_sources=files(lab, tmp_path, "ada"))
    kept = run_play(PLAYBOOK, extra_vars=variables, env={"ANSIBLE_KEEP_REMOTE_FILES": "1"})
    assert kept.of("openbao_unseal")["error"]["rule"] == "keep-remote-files"
    task = {
        "hackspace.infra.openbao_unseal": {
            "nodes": nodes(lab),
            "ca_cert": str(lab.openbao_ca),
            "holders": files(lab, tmp_path, "ada"),
        },
        "async": 60,
        "poll": 1,
    }
    assert "async" in run_play([task]).of("openbao_unseal")["msg"]
    assert progress(lab) == ["0/3"] * 3


def test_no_name_is_looked_up(lab: Lab, tmp_path: Path) -> None:
    """With every name lookup failing, addresses and tls_server_name are enough; and no lookup is even tried."""
    trap = tmp_path / "trap"
    trap.mkdir()
    log = tmp_path / "lookups"
    (trap / "sitecustomize.py").write_text(
        textwrap.dedent(f"""
        import ipaddress, socket
        real = socket.getaddrinfo
        def getaddrinfo(host, *args, **kwargs):
            try:
                ipaddress.ip_address(host)
            except ValueError:
                with open({str(log)!r}, "a") as handle:
                    handle.write(repr(host) + "\\n")
                raise socket.gaierror(-2, "name lookup is down")
            return real(host, *args, **kwargs)
        socket.getaddrinfo = getaddrinfo
        """)
    )
    sources = files(lab, tmp_path, "ada", "bo", "cleo")
    env = {"PYTHONPATH": str(trap)}
    run_play(PLAYBOOK, extra_vars=site(lab, openbao_unseal_sources=sources), env=env).ok()
    assert progress(lab) == ALL
    assert not log.exists()
    # the trap works: a name in an address is looked up and reported
    named = nodes(lab)
    named[0]["url"] = "https://openbao-0.example.org:8200"
    seen = run_module("openbao_seal_info", {"nodes": named, "ca_cert": str(lab.openbao_ca)}, env=env).ok()
    assert seen.of("openbao_seal_info")["nodes"][0]["problem"]["hop"] == "dns"
    assert "openbao-0.example.org" in log.read_text()


@pytest.mark.parametrize("moment", [0, 2, 4, 6, 8])
def test_killed_at_any_point_and_repaired(lab: Lab, tmp_path: Path, moment: int) -> None:
    """kill -9 of the whole session when the n-th unseal share passes; a second run finishes."""
    sources = files(lab, tmp_path, "ada", "bo", "cleo")
    started: list[Run] = []
    ready, counted, guard = threading.Event(), [0], threading.Lock()

    def kill(_method: str, _path: str) -> None:
        with guard:
            counted[0] += 1
            mine = counted[0] == moment + 1
        if mine:
            ready.wait(30)
            os.killpg(started[0].process.pid, signal.SIGKILL)

    with lab.proxy("openbao-0") as p0, lab.proxy("openbao-1") as p1, lab.proxy("openbao-2") as p2:
        for proxy in (p0, p1, p2):
            proxy.call(kill, "after", count=None, path="unseal")
        through = nodes(lab, openbao_0=p0.address, openbao_1=p1.address, openbao_2=p2.address)
        variables = site(lab, openbao_unseal_sources=sources, openbao_unseal_nodes=through)
        started.append(start_play(PLAYBOOK, extra_vars=variables))
        ready.set()
        result = started[0].wait()
        subprocess.run(["pkill", "-9", "-g", str(started[0].process.pid)], check=False)
    assert result.rc == -signal.SIGKILL
    assert counted[0] > moment
    unseal(lab, holders(lab, "ada", "bo", "cleo"))
    assert progress(lab) == ALL


# -- secrets -----------------------------------------------------------------------------------------------------------


class Watch(threading.Thread):
    """Looks at every argument list and environment of the machine's processes for values that must not be there."""

    def __init__(self, secrets: t.Iterable[bytes]) -> None:
        super().__init__(daemon=True)
        self.secrets = list(secrets)
        self.found: set[str] = set()
        self.looks = 0
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(0.02):
            self.looks += 1
            for entry in Path("/proc").iterdir():
                if not entry.name.isdigit():
                    continue
                for part in ("cmdline", "environ"):
                    try:
                        data = (entry / part).read_bytes()
                    except OSError:
                        continue
                    if any(s in data for s in self.secrets):
                        self.found.add(f"{part} of {entry.name}")

    def end(self) -> None:
        self._end.set()
        self.join()


def values(lab: Lab) -> list[bytes]:
    """Return every secret of the lab: as known, and shares also raw and in the other notations."""
    found = {s.encode() for s in lab.secrets() if len(s) >= 16}
    for share in shares(lab).values():
        found |= {share.encode(), share.upper().encode(), bytes.fromhex(share)}
    return sorted(found)


def leaks(folder: Path, secrets: list[bytes], keep: t.Collection[str]) -> list[str]:
    """Return the files under *folder* with a secret in them, apart from those that are meant to have one."""
    found = []
    for file in folder.rglob("*"):
        if file.is_file() and str(file) not in keep:
            data = file.read_bytes()
            found += [str(file) for s in secrets if s in data]
    return found


@pytest.mark.parametrize("case", ["success", "wrong-share", "malformed", "no-leader", "check"])
def test_no_secret_is_printed_or_written(
    lab: Lab, tmp_path: Path, encrypted: tuple[list[dict[str, t.Any]], str], case: str
) -> None:
    sources, password = encrypted
    secrets = values(lab)
    bad = os.urandom(32).hex() + shares(lab)["dan"][-2:]
    options: dict[str, t.Any] = {}
    if case in ("wrong-share", "malformed"):
        text = bad if case == "wrong-share" else bad + "zz"
        secrets += [bad.encode(), bytes.fromhex(bad)]
        sources[2] = {"name": "dan", "file": private(tmp_path / "dan.share", text)}
    if case == "no-leader":
        gone = [nodes(lab)[0], *({**n, "url": f"https://127.0.0.1:{i}"} for i, n in enumerate(nodes(lab)[1:], 1))]
        options = {"openbao_unseal_nodes": gone, "openbao_unseal_wait": True}
    meant = {str(tmp_path / name) for name in ("cleo.share", "dan.share")}
    watch = Watch(secrets)
    watch.start()
    written = tmp_path / "run"
    result = run_play(
        PLAYBOOK,
        extra_vars=site(lab, openbao_unseal_sources=sources, **options),
        args=["--vault-password-file", password],
        verbosity=3,
        diff=True,
        check=case == "check",
        folder=written,
        env={"ANSIBLE_LOG_PATH": str(written / "ansible.log")},
    )
    watch.end()
    assert (result.rc == 0) == (case in ("success", "check")), result.output
    if case not in ("success", "check"):
        assert result.of("openbao_unseal")["error"]["rule"] == {"malformed": "share-format"}.get(case, case)
    said = result.output.encode(errors="replace")
    assert [s for s in secrets if s in said] == []
    assert leaks(tmp_path, secrets, meant) == []
    assert (written / "ansible.log").stat().st_size > 1000
    assert watch.looks > 10
    assert watch.found == set()


def test_the_search_for_secrets_finds_them(lab: Lab, tmp_path: Path) -> None:
    secrets = values(lab)
    share = shares(lab)["ada"]
    (tmp_path / "left-behind").write_text(f"x {share} y")
    assert leaks(tmp_path, secrets, ())
    watch = Watch(secrets)
    watch.start()
    subprocess.run(["sh", "-c", "sleep 0.5", share], check=True)
    watch.end()
    assert any(f.startswith("cmdline") for f in watch.found)
