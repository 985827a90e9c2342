# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""flux_info on Flux's real controllers."""

from __future__ import annotations

from .conftest import Site


def test_it_says_what_is_there_and_what_is_the_matter(site: Site) -> None:
    broken, well, asleep = site.tenant(), site.tenant(), site.tenant()
    broken.source()
    broken.kustomization(path="./nowhere")
    for tenant in (well, asleep):
        tenant.source()
        tenant.kustomization()
        tenant.settled()
    objects = [asleep.key("Kustomization")]
    site.apply("flux_action", action="suspend", objects=objects)
    site.refused("flux_wait", objects=[broken.key("Kustomization")], timeout=180)
    mark = site.mark()
    found = site.apply("flux_info", namespaces=[broken.name, well.name, asleep.name])
    assert found["installed"]
    assert (found["version"], found["owner"]["kind"]) == ("2.9.4", "plain")
    assert [one["name"] for one in found["controllers"]] == ["kustomize-controller", "source-controller"]
    assert [one["version"] for one in found["controllers"]] == ["v1.9.4", "v1.9.3"]
    assert "--no-remote-bases=true" in found["controllers"][0]["arguments"]
    assert found["locked_down"], found["lockdown"]
    assert found["counts"] == {
        "GitRepository": {"ready": 3},
        "Kustomization": {"failed": 1, "ready": 1, "suspended": 1},
    }
    [failing] = found["failing"]
    assert (failing["name"], failing["hint_rule"], failing["state"]) == (broken.name, "path", "failed")
    assert failing["since"].startswith("20")
    assert found["suspended"] == [f"Kustomization {asleep.name}/{asleep.name}"]
    assert [one["object"] for one in found["behind"]] == [f"Kustomization {broken.name}/{broken.name}"]
    assert any("nowhere" in line for line in found["summary"])
    # Lists by kind, whatever the number of objects.
    asked = site.asked(mark)
    assert len(asked) == found["requests"] <= 20
    assert {verb for verb, _uri in asked} <= {"get", "list"}


def test_it_says_when_it_is_not_locked_down(site: Site) -> None:
    found = site.apply("flux_info", namespaces=["nowhere"], default_service_account="another")
    assert not found["locked_down"]
    assert found["lockdown"][0]["flag"] == "default-service-account"
    assert (found["failing"], found["counts"]) == ([], {})
    assert any("NOT locked down" in line for line in found["summary"])
