# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts a lab for a scenario of flux_bootstrap: a cluster, and for the default one a Git server with a repository.

python molecule/flux_site.py LAB [COMPONENT...]   writes <state>/flux-vars.json, and the secrets that it names
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pyrage

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from lab import flux_manifests  # noqa: E402
from lab.api import Lab  # noqa: E402
from lab.files import write  # noqa: E402

MAP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: from-git, namespace: default}
data: {text: good morning}
"""


def main(name: str, components: list[str]) -> None:
    lab = Lab(name, say=print)
    lab.up(["member-prod", *components])
    manifests = flux_manifests.install()
    values = {
        "site_kubeconfig": str(lab.clusters["member-prod"].kubeconfig),
        "site_manifests": {
            "path": str(manifests),
            "sha256": hashlib.sha256(manifests.read_bytes()).hexdigest(),
        },
    }
    if "git" in components:
        repository = lab.git.repository("clusters", {"clusters/member-prod/map.yaml": MAP}, public=False)
        write(lab.state / "token", lab.git.token("member-prod", ["clusters"]))
        write(lab.state / "age-key", str(pyrage.x25519.Identity.generate()))
        values |= {
            "site_repository": repository.url,
            "site_token_file": str(lab.state / "token"),
            "site_age_key_file": str(lab.state / "age-key"),
            "site_git_ca": str(lab.git.ca),
        }
    write(lab.state / "flux-vars.json", json.dumps(values))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
