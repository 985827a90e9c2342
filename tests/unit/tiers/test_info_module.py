# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules print of a login, before anything is asked."""

from __future__ import annotations

import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import run
from ansible_collections.hackspace.infra.plugins.modules import kube_apply, namespace_tiers_info

LOGIN: t.Final = {
    "host": "https://192.0.2.1:1",
    "api_key": "k3y-of-api",
    "password": "sh0rt",
    "proxy_headers": {"proxy_basic_auth": "proxy-user:proxy-word", "user_agent": "seen"},
}


@pytest.mark.parametrize(
    ("module", "args"),
    [
        (namespace_tiers_info, {"tiers": {"base": "gold"}, "dump": ["/nowhere/dump.json"]}),
        (kube_apply, {"objects": [{"kind": "Nothing"}], "inventory": {"name": "a", "namespace": "b"}}),
    ],
)
def test_nothing_of_the_login_is_printed(
    module: t.Any, args: dict[str, t.Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with patch_module_args({**LOGIN, **args}), pytest.raises(SystemExit):
        run(module.SPEC, module.main)
    out = capsys.readouterr().out
    assert '"failed": true' in out
    # ansible-core 2.19 prints what a module was given, newer ones only when asked to.
    assert '"user_agent": "seen"' in out or '"invocation"' not in out
    for secret in ("k3y-of-api", "sh0rt", "proxy-word"):
        assert secret not in out
