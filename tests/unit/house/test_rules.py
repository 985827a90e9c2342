# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each rule of the house finds what it is there for: on a small tree that keeps all rules, broken in one place."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.house.rules import FORBIDDEN, RULES, VOCABULARY, files

MODULE = '''\
DOCUMENTATION = r"""
module: thing
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_openbao
  - hackspace.infra._openbao
"""
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import run


def main():
    run(SPEC, work)
'''
SPECS = """\
argument_specs:
  main:
    options:
      demo_name: {description: A name., type: str, default: x}
      demo_list: {description: Some., type: list, elements: str, default: []}
      demo_from: {description: Where. From the inventory by default., type: str}
      demo_must: {description: Needed., type: str, required: true}
"""
GOOD = {
    ".ansible-lint": "profile: production\n",
    "README.md": "A tree.\n",
    "lab/api.py": "import json\n",
    "meta/runtime.yml": "action_groups: {openbao: [hackspace.infra.thing]}\n",
    "molecule/demo_alternative/converge.yml": "- hosts: localhost\n  roles: [hackspace.infra.demo]\n",
    "molecule/demo_alternative/molecule.yml": "{}\n",
    "molecule/demo_alternative/verify.yml": "[]\n",
    "molecule/demo_default/converge.yml": "- hosts: localhost\n  roles: [hackspace.infra.demo]\n",
    "molecule/demo_default/molecule.yml": "{}\n",
    "molecule/demo_default/verify.yml": "[]\n",
    "playbooks/demo.yml": (
        "# ansible-playbook playbooks/demo.yml\n---\n"
        "- name: Demo\n  hosts: localhost\n  gather_facts: false\n  tasks:\n"
        "    - name: One call\n      hackspace.infra.thing: {names: '{{ [1] | pick }}'}\n"
        "    - name: A loop over a file module\n      ansible.builtin.copy: {dest: x}\n      loop: [1]\n"
    ),
    "plugins/filter/pick.py": "from ..module_utils._openbao.plan import plan\n",
    "plugins/module_utils/_clients/openbao.py": "from .._core.errors import HackspaceError\n",
    "plugins/module_utils/_core/errors.py": "import typing\n",
    "plugins/module_utils/_openbao/plan.py": (
        "from .._core.errors import HackspaceError\nfrom .._kube import order\nfrom . import model\n"
    ),
    "plugins/modules/thing.py": MODULE,
    "roles/demo/README.md": "A role.\n",
    "roles/demo/defaults/main.yml": "demo_name: x\ndemo_list: []\ndemo_from: '{{ platform_x }}'\n",
    "roles/demo/meta/argument_specs.yml": SPECS,
    "roles/demo/meta/main.yml": "galaxy_info: {}\n",
    "roles/demo/tasks/main.yml": "- name: X\n  hackspace.infra.thing: {}\n",
    "roles/demo/tasks/preflight.yml": "[]\n",
    "tests/integration/test_thing.py": "MODULE = 'thing'\n",
    "tests/unit/test_pick.py": "FILTER = 'pick'\n",
}


def _tree(root: Path, changes: dict[str, str | None]) -> Path:
    for name, text in {**GOOD, **changes}.items():
        if text is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
    return root


def _with(name: str, old: str, new: str) -> dict[str, str | None]:
    assert old in GOOD[name]
    return {name: GOOD[name].replace(old, new)}


_DOMAIN = "plugins/module_utils/_openbao/plan.py"
_DEEP = "from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import OpenBao\n"

#: (rule, changes to the good tree, words of the one finding)
BROKEN: list[tuple[str, dict[str, str | None], str]] = [
    (
        "dependency_direction",
        {_DOMAIN: "from .._clients.openbao import OpenBao\n"},
        "_openbao must not import _clients",
    ),
    ("dependency_direction", {_DOMAIN: "from .._clients import openbao\n"}, "_openbao must not import _clients"),
    ("dependency_direction", {_DOMAIN: "from .. import _clients\n"}, "_openbao must not import _clients"),
    ("dependency_direction", {_DOMAIN: f"def f():\n    {_DEEP}"}, "_openbao must not import _clients"),
    ("dependency_direction", {_DOMAIN: "import typing as t\nfrom .._reviewers import model\n"}, "import _reviewers"),
    ("dependency_direction", {_DOMAIN: "from ...modules import thing\n"}, "must not import modules"),
    ("dependency_direction", {"plugins/module_utils/loose.py": ""}, "directly in module_utils"),
    ("dependency_direction", {"plugins/module_utils/_other/x.py": ""}, "no package of the design"),
    (
        "dependency_direction",
        {"plugins/module_utils/_core/errors.py": "from .._kube import order\n"},
        "_core must not import _kube",
    ),
    (
        "lab_apart",
        {"lab/api.py": "from ansible_collections.hackspace.infra.plugins.filter import pick\n"},
        "lab must not",
    ),
    ("lab_apart", {"plugins/filter/pick.py": "from lab.api import Lab\n"}, "plugins must not import lab"),
    ("lab_apart", {"lab/api.py": "import tests.integration\n"}, "lab must not import tests"),
    ("role_files", {"roles/demo/README.md": None}, "README.md is missing"),
    ("role_files", {"roles/demo/tasks/preflight.yml": None}, "preflight.yml is missing"),
    ("role_scenarios", {"molecule/demo_alternative/verify.yml": None}, "verify.yml is missing"),
    ("role_scenarios", {"molecule/demo_default/converge.yml": "[]\n"}, "does not run hackspace.infra.demo"),
    ("argument_specs", _with("roles/demo/defaults/main.yml", "demo_name: x", "demo_name: y"), "defaults to 'y'"),
    ("argument_specs", _with("roles/demo/defaults/main.yml", "demo_list: []\n", ""), "not in defaults/main.yml"),
    (
        "argument_specs",
        {"roles/demo/defaults/main.yml": GOOD["roles/demo/defaults/main.yml"] + "demo_z: 1\n"},
        "demo_z",
    ),
    ("argument_specs", _with("roles/demo/meta/argument_specs.yml", " From the inventory by default.", ""), "computed"),
    (
        "argument_specs",
        _with("roles/demo/meta/argument_specs.yml", "default., type: str", "default., type: str, default: 1"),
        "instead",
    ),
    (
        "argument_specs",
        _with("roles/demo/meta/argument_specs.yml", "type: str, default: x", "type: str"),
        "and none in",
    ),
    (
        "argument_specs",
        _with("roles/demo/meta/argument_specs.yml", "type: str, default: x", "type: int, default: x"),
        "int",
    ),
    (
        "argument_specs",
        _with("roles/demo/meta/argument_specs.yml", "default: x}", "default: x, choices: [a]}"),
        "which is no choice",
    ),
    ("argument_specs", _with("roles/demo/meta/argument_specs.yml", "A name.", ""), "no description"),
    ("argument_specs", _with("roles/demo/meta/argument_specs.yml", " elements: str,", ""), "without elements"),
    (
        "argument_specs",
        {
            **_with("roles/demo/meta/argument_specs.yml", "default: x", "default: true"),
            "roles/demo/defaults/main.yml": "demo_name: 1\ndemo_list: []\ndemo_from: '{{ x }}'\n",
        },
        "defaults to 1 in defaults/main.yml and to True",
    ),
    (
        "argument_specs",
        {"roles/demo/defaults/main.yml": GOOD["roles/demo/defaults/main.yml"] + "demo_must: 1\n"},
        "is required and has a default",
    ),
    (
        "argument_specs",
        _with("roles/demo/meta/argument_specs.yml", "  main:", "  other: {options: {}}\n  main:"),
        "no tasks/other.yml",
    ),
    ("loops", {"roles/demo/tasks/main.yml": "- hackspace.infra.thing: {}\n  loop: [1]\n"}, "thing in a loop"),
    (
        "loops",
        {"roles/demo/tasks/x.yml": "- block:\n    - kubernetes.core.k8s: {}\n      with_items: [1]\n"},
        "k8s in a with_items",
    ),
    (
        "loops",
        {"playbooks/x.yml": "# ansible-playbook\n---\n- tasks: [{ansible.builtin.uri: {}, loop: [1]}]\n"},
        "uri in a loop",
    ),
    ("plays", _with("playbooks/demo.yml", "  gather_facts: false\n", ""), "does not say gather_facts"),
    ("plays", _with("playbooks/demo.yml", "# ansible-playbook playbooks/demo.yml\n", ""), "command to type"),
    ("modules", _with("plugins/modules/thing.py", "  - hackspace.infra._attributes\n", ""), "_attributes is missing"),
    ("modules", _with("plugins/modules/thing.py", "    run(SPEC, work)", "    pass"), "_core.module.run"),
    ("modules", {"plugins/modules/thing.py": f"{MODULE}\nx = dict(supports_check_mode=False)\n"}, "check mode"),
    ("modules", {"plugins/modules/thing.py": f"{MODULE}\nx = AnsibleModule(spec)\n"}, "AnsibleModule of its own"),
    ("action_groups", {"meta/runtime.yml": "action_groups: {openbao: []}\n"}, "thing is missing in the group"),
    (
        "action_groups",
        {"meta/runtime.yml": "action_groups: {kube: [hackspace.infra.thing], openbao: [hackspace.infra.thing]}\n"},
        "in the group kube lacks",
    ),
    (
        "action_groups",
        _with("meta/runtime.yml", "{openbao", "{pve: [], openbao"),
        "the group pve has no connection fragment",
    ),
    (
        "action_groups",
        _with("plugins/modules/thing.py", "  - hackspace.infra._attributes.actiongroup_openbao\n", ""),
        "is missing",
    ),
    (
        "action_groups",
        {
            **_with("plugins/modules/thing.py", "  - hackspace.infra._openbao\n", ""),
            "meta/runtime.yml": "action_groups: {}\n",
        },
        "says it is in the group openbao",
    ),
    (
        "action_groups",
        _with("meta/runtime.yml", "[hackspace.infra.thing]", "[hackspace.infra.thing, hackspace.infra.thing]"),
        "is not sorted",
    ),
    (
        "tested",
        {"tests/integration/test_thing.py": "# other\n", "roles/demo/tasks/main.yml": "[]\n"},
        "run by no integration test",
    ),
    ("tested", {"plugins/action/deed.py": ""}, "named in no test"),
    ("no_ignores", {"tests/sanity/ignore-2.19.txt": ""}, "an ignore file"),
    ("no_ignores", {".ansible-lint-ignore": ""}, "an ignore file"),
    ("no_ignores", {".ansible-lint": "profile: production\nskip_list: [x]\n"}, "skip_list"),
    ("no_ignores", {".ansible-lint": "profile: safety\n"}, "not production"),
    ("no_ignores", _with("roles/demo/tasks/main.yml", "- name: X", "- name: X # noqa: name"), "switched off"),
]

for _word in FORBIDDEN:
    BROKEN.append(("forbidden_words", {"plugins/filter/pick.py": f"x = '{_word}'\n"}, _word))
for _word in VOCABULARY:
    BROKEN.append(("vocabulary", {"docs/a.md": f"The {_word} of it.\n"}, _word))


@pytest.mark.parametrize("rule", RULES)
def test_good_tree_has_no_findings(tmp_path: Path, rule: str) -> None:
    assert RULES[rule](_tree(tmp_path, {})) == []


@pytest.mark.parametrize(
    ("rule", "changes", "words"), BROKEN, ids=[f"{rule}-{number}" for number, (rule, _c, _w) in enumerate(BROKEN)]
)
def test_broken_tree_is_found(tmp_path: Path, rule: str, changes: dict[str, str | None], words: str) -> None:
    findings = RULES[rule](_tree(tmp_path, changes))
    assert any(words in finding for finding in findings), findings


def test_every_rule_has_a_broken_tree() -> None:
    assert {rule for rule, _changes, _words in BROKEN} == set(RULES)


def test_files_follow_git(tmp_path: Path) -> None:
    root = _tree(tmp_path, {".gitignore": "lab/\n"})
    before = files(root)
    subprocess.run(["git", "init", "-q", str(root)], check=True, capture_output=True)
    after = files(root)
    assert "lab/api.py" in before
    assert "lab/api.py" not in after
    assert after == [name for name in before if not name.startswith("lab/")]
