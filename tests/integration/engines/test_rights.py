# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The administrators' OpenBao policy is enough for everything in engines, and shows nothing of tenants."""

from __future__ import annotations

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import Connection, Login, OpenBao
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.admin_plan import DEFAULT_POLICY

from .conftest import Engines


def test_rights_of_the_administrators(engines: Engines) -> None:
    tag = engines.tag
    engines.server.write(f"sys/policies/acl/{tag}", {"policy": DEFAULT_POLICY})
    made = engines.server.write("auth/token/create", {"policies": [tag], "no_default_policy": True})
    token = str(made["auth"]["client_token"])
    engines.server.login = {"auth_method": "token", "token": token}
    connection, _root, _password = engines.connection(rotate_root=True)
    user, _first = engines.user("app")
    role = {"name": "app", "db_name": "main", "username": user, "rotation_period": "24h"}
    root = {"type": "root", "common_name": "root", "ttl": "5000h"}
    middle = {
        "type": "intermediate",
        "common_name": "int",
        "issuer_name": "x",
        "ttl": "700h",
        "signed_by": f"{tag}-root",
    }
    pki = {"type": "pki", "config": {"max_lease_ttl": "5000h"}}
    engines.twice(
        {"path": f"{tag}-db", "type": "database", "database": {"connections": [connection], "static_roles": [role]}},
        {"path": f"{tag}-tr", "type": "transit", "transit_keys": [{"name": "a", "deletion_allowed": True}]},
        {"path": f"{tag}-root", **pki, "pki": {"ca": root, "roles": [{"name": "r", "allow_any_name": True}]}},
        {
            "path": f"{tag}-int",
            **pki,
            "pki": {"ca": middle, "crl": {"auto_rebuild": True}, "tidy": {"enabled": True, "tidy_cert_store": True}},
        },
    )
    outside = {"type": "intermediate", "common_name": "out"}
    assert engines.run({"path": f"{tag}-out", "type": "pki", "pki": {"ca": outside}})["pki"][0]["csr"]
    args = engines.server.connection()
    login = Login(method="token", token=Secret(token))
    with OpenBao(Connection(args["url"], args["tls_server_name"], args["ca_cert"]), login) as client:
        for path in (f"{tag}-db/static-creds/app", f"{tag}-tr/export/encryption-key/a", f"{tag}-tr/backup/a"):
            with pytest.raises(HackspaceError) as caught:
                client.data(path)
            assert caught.value.status == 403, path
