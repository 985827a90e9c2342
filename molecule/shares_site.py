# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts a lab for a scenario of openbao_shares: OpenBao unsealed, its shares with ada, bo and cleo, on record.

python molecule/shares_site.py LAB   writes <state>/shares/ (record and share files) and <state>/shares-vars.json
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pyrage

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / ".collections")]

from ansible_collections.hackspace.infra.plugins.module_utils._openbao import share_record  # noqa: E402

from lab.api import Lab  # noqa: E402


def main(name: str) -> None:
    lab = Lab(name, say=print)
    lab.up(["openbao"], init=True)
    made = lab.init_openbao()
    folder = lab.state / "shares"
    folder.mkdir(mode=0o700, exist_ok=True)
    entries, sources = [], {}
    for holder, key in zip(lab.holders, made.shares, strict=True):
        recipient = pyrage.x25519.Recipient.from_str(holder.age_recipient)
        path = folder / f"{holder.name}.age"
        path.touch(mode=0o600)
        path.write_bytes(pyrage.encrypt(key.encode(), [recipient], armored=True))
        mark = hashlib.sha256(bytes.fromhex(key)).hexdigest()[:12]
        entries.append(share_record.Entry(holder.name, path.name, holder.age_recipient, mark))
        sources[holder.name] = {
            "name": holder.name,
            "age_file": str(path),
            "age_identity_file": str(holder.age_identity_file),
        }
    record = share_record.Record("complete", "a" * 16, share_record.now(), "unseal", 3, tuple(entries))
    share_record.write(str(folder), record)
    token = lab.state / "token"
    token.touch(mode=0o600)
    token.write_text(made.root_token, encoding="utf-8")
    nodes = [{"name": n.name, "url": n.address, "tls_server_name": n.tls_server_name} for n in lab.openbao_nodes]
    found = {
        "scenario_sources": sources,
        "scenario_people": [{"name": h.name, "age_recipient": h.age_recipient} for h in lab.holders],
        "openbao_shares_nodes": nodes,
        "openbao_shares_ca_cert": str(lab.openbao_ca),
        "openbao_shares_dir": str(folder),
        "openbao_shares_login": {"auth_method": "token", "token_path": str(token)},
    }
    target = lab.state / "shares-vars.json"
    target.touch(mode=0o600)
    target.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
