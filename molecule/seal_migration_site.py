# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepares the scenarios of openbao_seal_migration: a living site, its snapshot, and another OpenBao with transit.

python molecule/seal_migration_site.py LAB   writes <state>/migration/vars.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / ".collections"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lab.api import Lab
from tests.integration.ansible_run import private
from tests.integration.seal_migration.migration_site import MigrationSite


def main(name: str) -> None:
    lab = Lab(name, say=print)
    lab.up(["openbao", "transit"], init=True)
    folder = lab.state / "migration"
    folder.mkdir(mode=0o700, exist_ok=True)
    site = MigrationSite(lab, folder)
    known = json.loads(site.inventory.read_text(encoding="utf-8"))["all"]["vars"]
    found = {
        **known,
        **site.variables("transit"),
        "openbao_seal_migration_nodes": site.nodes,
        **{f"scenario_{name}": file for name, file in site.files.items()},
        "scenario_config": str(lab.seal_file("openbao-0").parent).replace("openbao-0", "NODE"),
    }
    private(folder / "vars.json", json.dumps(found, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
