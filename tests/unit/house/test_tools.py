# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner of the gates fails when a gate fails; the checks of documentation and package find what they look for."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from tools import demonstration, docs, environments, gates, sanity, scenarios

ROOT = Path(__file__).resolve().parents[3]


def _gate(name: str, code: str, **more: t.Any) -> gates.Gate:
    return gates.Gate(name, "something", ((sys.executable, "-c", code),), **more)


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gates.Runner:
    monkeypatch.setattr(gates, "OUTPUT", tmp_path)
    return gates.Runner()


def test_gate_that_ends_with_an_error_fails(runner: gates.Runner, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = runner.run(_gate("bad", "print('the reason'); raise SystemExit(3)"))
    assert not outcome.passed
    shown = capsys.readouterr().out
    assert "FAILED  bad" in shown
    assert "the reason" in shown


def test_second_command_is_not_run_after_a_failure(runner: gates.Runner, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    touch = f"open({str(mark)!r}, 'w')"
    gate = gates.Gate("two", "x", ((sys.executable, "-c", "raise SystemExit(1)"), (sys.executable, "-c", touch)))
    assert not runner.run(gate).passed
    assert not mark.exists()


def test_closing_line_of_a_runner_is_shown_as_it_is(runner: gates.Runner, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = runner.run(_gate("good", "print('12 passed in 3.45s'); print('bye')"))
    assert outcome.passed
    assert outcome.closing == ["12 passed in 3.45s"]
    assert "12 passed in 3.45s" in capsys.readouterr().out.splitlines()


def test_processor_time_is_that_of_the_command_and_what_it_waited_for(runner: gates.Runner) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    busy, idle = runner.run(_gate("busy", child)), runner.run(_gate("idle", "import time; time.sleep(0.4)"))
    assert busy.processor >= 0.3 > idle.processor


def test_gate_with_nothing_to_run_fails(runner: gates.Runner) -> None:
    outcome = runner.run(_gate("empty", "pass", needs=("tests/unit/no-such-folder",)))
    assert not outcome.passed
    assert outcome.closing == ["nothing to run: no tests in tests/unit/no-such-folder"]


ONE_OF_THREE = """
print("FAILED tests/a.py::test_b - assert 1")
print("1 failed, 2 passed in 1.00s")
raise SystemExit(1)
"""


def _second(code: str, failures: str = ONE_OF_THREE) -> gates.Gate:
    return _gate("servers", failures, group="server", again=lambda _failed: (sys.executable, "-c", code))


def _twice(runner: gates.Runner, gate: gates.Gate) -> gates.Outcome:
    [outcome] = gates.second_chances(runner, [runner.run(gate)])
    return outcome


def test_test_that_passes_alone_is_named_in_the_summary(
    runner: gates.Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = _twice(runner, _second("print('1 passed in 0.10s')"))
    assert outcome.passed
    assert outcome.unsteady == ["tests/a.py::test_b"]
    assert gates._summary(runner, [outcome], [], 1.0) == 0
    assert "unsteady: tests/a.py::test_b failed in the run of servers" in capsys.readouterr().out


def test_test_that_fails_twice_fails_the_gate(runner: gates.Runner, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = _twice(runner, _second("print('1 failed in 0.10s'); raise SystemExit(1)"))
    assert not outcome.passed
    assert not outcome.unsteady
    assert "FAILED tests/a.py::test_b - assert 1" in capsys.readouterr().out


def test_many_failures_get_no_second_chance(runner: gates.Runner, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    many = f"[print(f'FAILED tests/a.py::t{{i}}') for i in range({gates.SECOND_CHANCES + 1})]; raise SystemExit(1)"
    assert not _twice(runner, _second(f"open({str(mark)!r}, 'w')", many)).passed
    assert not mark.exists()


def test_run_that_broke_off_gets_no_second_chance(runner: gates.Runner, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    broken = ONE_OF_THREE.replace("SystemExit(1)", "SystemExit(2)")
    assert not _twice(runner, _second(f"open({str(mark)!r}, 'w')", broken)).passed
    assert not mark.exists()


def test_failures_of_all_gates_count_together(runner: gates.Runner) -> None:
    well = _second("print('1 passed in 0.10s')")
    enough = [runner.run(dataclasses.replace(well, name=f"servers/{i}")) for i in range(gates.SECOND_CHANCES + 1)]
    assert all(outcome.passed for outcome in gates.second_chances(runner, enough[:-1]))
    assert not any(outcome.passed for outcome in gates.second_chances(runner, enough))
    # where one cannot be mended, nothing is run again
    hopeless = runner.run(_gate("hopeless", "raise SystemExit(3)", group="server"))
    assert not any(outcome.passed for outcome in gates.second_chances(runner, [enough[0], hopeless]))


def test_scenarios_that_failed_are_run_again_by_name(runner: gates.Runner) -> None:
    told = "print('===== thing_default: FAILED (2 s)'); print('scenarios: 1 passed, 1 failed'); raise SystemExit(1)"
    again = "import sys; print(sys.argv[1:]); print('scenarios: 1 passed, 0 failed')"
    gate = _gate("molecule", told, group="server", again=lambda failed: (sys.executable, "-c", again, *failed))
    outcome = _twice(runner, gate)
    assert outcome.passed
    assert outcome.unsteady == ["thing_default"]
    assert "['thing_default']" in (gates.OUTPUT / "molecule.log").read_text()


def test_summary_fails_with_one_failure_and_with_nothing(runner: gates.Runner) -> None:
    good = gates.Outcome(_gate("good", ""), True, 1.0, 1.0, [])
    bad = gates.Outcome(_gate("bad", ""), False, 1.0, 1.0, [])
    assert gates._summary(runner, [good], [], 1.0) == 0
    assert gates._summary(runner, [good, bad], [], 1.0) == 1
    assert gates._summary(runner, [], [], 1.0) == 1


def test_failed_builds_fail_the_gates_that_need_them(runner: gates.Runner, tmp_path: Path) -> None:
    runner.build_log = tmp_path / "build.log"
    runner.build_log.write_text("go is broken\n")
    runner.builds = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
    outcomes = gates._run_all(runner, [_gate("static", "pass"), _gate("server", "pass", group="server")])
    assert [outcome.passed for outcome in outcomes] == [True, False]


def test_gates_of_the_contract_are_there() -> None:
    names = [gate.name for gate in gates.choose(gates.gates(), [], None, long=False)]
    static = "reuse ruff mypy yamllint ansible-lint changelog unit docs sanity package"
    folders = [f"integration/{name}" for name in gates.integration_folders()]
    roles = [f"molecule/{name}" for name in ("default", *sorted(path.name for path in (ROOT / "roles").iterdir()))]
    assert names == [*static.split(), *roles, *folders, "lab", "secrets", "requests"]
    assert {"integration/kube", "integration/seal"} <= set(folders)
    assert [gate.name for gate in gates.choose(gates.gates(), ["integration"], None, long=False)] == folders
    loose = [path.name for path in (gates.ROOT / "tests" / "integration").glob("test_*.py")]
    assert loose == [], "each gate runs a folder"
    assert [gate.name for gate in gates.choose(gates.gates(), [], None, long=True)] == [*names, "long"]


def test_the_longest_begin_first_and_no_gate_is_forgotten() -> None:
    everything = gates.gates()
    ordered = [gate.name for gate in gates.in_order(everything)]
    assert set(gates.LONGEST) | set(gates.QUICKEST) <= set(ordered)
    assert sorted(ordered) == sorted(gate.name for gate in everything)
    assert ordered[: len(gates.QUICKEST) + 1] == [*gates.QUICKEST, gates.LONGEST[0]]
    other = [dataclasses.replace(gate, name=f"{gate.name}-3.13") for gate in everything if gate.name == "sanity"]
    assert [gate.name for gate in gates.in_order([*everything[:3], *other])][-2:] == ["sanity-3.13", "reuse"]


def test_gates_without_servers_run_at_a_low_priority(runner: gates.Runner) -> None:
    told = "import os; print(os.nice(0), 'is how nice it is')"
    runner.run(_gate("servers", told, group="server"))
    runner.run(_gate("static", told))
    nice = [int((gates.OUTPUT / f"{name}.log").read_text().split()[0]) for name in ("servers", "static")]
    assert nice[1] == min(nice[0] + gates.LOW_PRIORITY, 19)


def test_gates_of_both_kinds_run_together_and_are_told_in_order(runner: gates.Runner, tmp_path: Path) -> None:
    there = f"import pathlib, time; (pathlib.Path({str(tmp_path)!r}) / '{{}}').touch()\n"
    there += f"while not (pathlib.Path({str(tmp_path)!r}) / '{{}}').exists(): time.sleep(0.01)"
    chosen = [_gate("two", there.format("two", "one"), group="server"), _gate("one", there.format("one", "two"))]
    assert [(o.gate.name, o.passed) for o in gates._run_all(runner, chosen)] == [("two", True), ("one", True)]


def test_on_another_python_runs_what_hangs_on_it_and_the_rest_when_asked_for() -> None:
    found = {gate.name: gate for gate in gates.gates([environments.Environment("3.13", Path("python3.13"))])}
    some, everything = found["sanity-3.13"], found["sanity-3.13-all"]
    assert [argument for argument in some.commands[0] if argument.startswith("--test=")]
    assert (some.group, everything.group) == ("static", "long")
    assert everything.commands[0] == ("python3.13", "-m", "tools.sanity")


def test_unknown_gate_is_an_error() -> None:
    with pytest.raises(SystemExit, match="no such gate: nonsense"):
        gates.choose(gates.gates(), ["nonsense"], None, long=False)


def test_callers_settings_do_not_reach_the_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANSIBLE_CONFIG", "VAULT_TOKEN", "BAO_ADDR", "MOLECULE_GLOB", "KUBECONFIG"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("OPENBAO_BIN", "/usr/bin/bao")
    environment = gates.clean_environment()
    assert not {"ANSIBLE_CONFIG", "VAULT_TOKEN", "BAO_ADDR", "MOLECULE_GLOB", "KUBECONFIG"} & set(environment)
    assert environment["OPENBAO_BIN"] == "/usr/bin/bao"


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("[a](b.md)", ""),
        ("[a](b.md#the-heading)", ""),
        ("[a](#here)\n# Here", ""),
        ("[a](https://example.org/x)", ""),
        ("`[a](nowhere.md)`", ""),
        ("```\n[a](nowhere.md)\n```", ""),
        ("[a](nowhere.md)", "leads nowhere"),
        ("[a](b.md#nothing)", "no such heading"),
        ("[a](#nothing)", "no such heading"),
        ("![a](nowhere.png)", "leads nowhere"),
        ("[a](../../../../etc/passwd)", "leads"),
    ],
)
def test_links(tmp_path: Path, text: str, finding: str) -> None:
    (tmp_path / "a.md").write_text(text)
    (tmp_path / "b.md").write_text("# The `Heading`\n")
    found = docs.broken_links(tmp_path, [tmp_path / "a.md"])
    assert [finding in one for one in found] == ([True] if finding else [])


def test_page_that_the_index_forgets(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[a](a.md)")
    files = [tmp_path / "docs" / name for name in ("index.md", "a.md", "b.md")]
    assert docs.orphans(tmp_path, files) == ["docs/b.md: docs/index.md does not link to it"]


def test_copy_holds_exactly_the_files(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "a").mkdir(parents=True)
    (source / ".gitignore").write_text("*.log\n")
    for name in ("a/one.py", "two.yml", "three.log"):
        (source / name).write_text(name)
    subprocess.run(["git", "init", "-q", str(source)], check=True, capture_output=True)
    for old in ("old/gone.py", "tests/output/kept", "a/gone.py"):
        (target / old).parent.mkdir(parents=True, exist_ok=True)
        (target / old).write_text("old")
    assert sanity.copy(source, target) == 3
    left = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert left == [".gitignore", "a/one.py", "tests/output/kept", "two.yml"]


def test_stand_in_takes_the_name_that_ansible_test_looks_for(tmp_path: Path) -> None:
    (version,) = sanity.pip_versions()
    name = f"get_pip_{version.replace('.', '_')}.py"
    assert sanity.place_stand_in(tmp_path) == [name]
    assert sanity.place_stand_in(tmp_path) == []
    (tmp_path / name).write_text("the real one\n")
    assert sanity.place_stand_in(tmp_path) == []
    assert (tmp_path / name).read_text() == "the real one\n"


def test_every_scenario_is_run_and_default_comes_first() -> None:
    names = scenarios.scenarios(ROOT)
    assert names[0] == "default"
    assert set(names) == {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")}
    assert sorted(name for some in scenarios.subjects().values() for name in some) == sorted(names)
    assert scenarios.subjects()["openbao_shares"] == ["openbao_shares_alternative", "openbao_shares_default"]


def test_version_of_ansible_playbook_is_told_at_once_and_all_else_is_ansibles(tmp_path: Path) -> None:
    scenarios.quick_playbook(tmp_path)
    program = str(tmp_path / "ansible-playbook")
    quick = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert quick.stdout == "ansible-playbook\n"
    real = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    assert "--syntax-check" in real.stdout


def test_demo_counts_changes_and_sealed_nodes() -> None:
    assert demonstration.changed("a : ok=3 changed=2 \nb : ok=1 changed=1 ") == 3
    with pytest.raises(demonstration.Failed):
        demonstration.changed("no recap")
    states = {"openbao-0": "sealed", "openbao-1": "unsealed, active", "openbao-2": "sealed 1/3"}
    assert demonstration.sealed(states) == ["openbao-0", "openbao-2"]
