#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: tenants
short_description: Bring the tenants of a cluster to what their declarations say
version_added: 0.1.0
author:
  - hackspace.infra contributors (@hackspace)
description:
  - Reads all declarations, judges them together, and brings one cluster to what they say, in one call - namespaces,
    service accounts and their rights, NetworkPolicies, Git source and Kustomization, stores of secrets.
  - The same objects go to the cluster, or, with O(rendered), into a Git repository that Flux follows.
  - Refuses a cluster on which Flux is not locked down.
  - A tenant whose declaration is wrong, or whose objects the server refuses, holds up none of the others. It is left as
    it is; when all others are done, the module fails and names each.
  - A declaration that is gone removes nothing, and neither do no declarations at all. What is left on the cluster of
    such tenants is reported. To remove a tenant, its declaration says so.
notes:
  - Run it on the controller, with C(connection=local) or C(delegate_to=localhost).
  - When nothing is to be done, the number of requests does not depend on the number of tenants, but for lists of more
    than 500 objects of a kind.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - hackspace.infra._kube
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_kube
  - hackspace.infra._attributes.ownership
  - hackspace.infra._tenants
options:
  membership:
    description: Who is a member, and what happens to tenants whose membership has ended.
    type: dict
    default: {}
    suboptions:
      source:
        description: Where it is looked up. V(declaration) goes by the date in the declaration alone.
        type: str
        choices: [declaration, keycloak]
        default: declaration
      suspend:
        description:
          - Suspend tenants whose membership ended longer ago than their days of grace.
          - Without it they are reported only.
        type: bool
        default: false
      max_suspend:
        description:
          - How many may be suspended in one run. If there were more, none is.
          - By default as C(max_suspensions) in O(platform).
        type: int
      required:
        description:
          - A declaration without a member (C(membership.id), or, with O(membership.source=declaration), a day that is
            paid for) counts as one whose membership ended when that was first seen. Without it such tenants are exempt.
          - Set it where people write their own declarations.
        type: bool
        default: false
      exempt:
        description: Names of tenants that O(membership.required) is not for.
        type: list
        elements: str
        default: []
      keycloak:
        description: Keycloak's admin API.
        type: dict
        suboptions:
          url:
            description: Address, as V(https://sso.example.org).
            type: str
            required: true
          realm:
            description: The realm with the members.
            type: str
            required: true
          client_id:
            description: A client with a service account that has the role C(view-users) of C(realm-management).
            type: str
            required: true
          client_secret:
            description: Its secret.
            type: str
          client_secret_file:
            description: File with its secret, plain with mode 0600, or encrypted with ansible-vault or sops.
            type: path
          ca_cert:
            description: File with the authority that signed the certificate; by default those of the system.
            type: path
          group:
            description: Path of the group of members. By default every user of the realm is one.
            type: str
            default: ""
          member_key:
            description: What C(membership.id) of a declaration is.
            type: str
            choices: [username, email, id]
            default: username
          paid_until_attribute:
            description: Attribute of a user with the last day that is paid for, if there is one.
            type: str
            default: ""
          timeout:
            description: Seconds to wait for each answer.
            type: float
            default: 10.0
  allow_removal:
    description:
      - Tenants whose declarations say V(archived) or V(removed) are brought to that, so many at most at a time as
        C(max_removals) in O(platform) says. Without it they are suspended, or stay archived, and are reported.
      - Not with O(rendered), as there Flux would take everything away in no order.
    type: bool
    default: false
  confirm_removal:
    description:
      - Names of tenants that may be removed in this run, namespaces and all. Their volumes stay.
      - Without its name here, a tenant that is to be removed stays as it is.
    type: list
    elements: str
    default: []
  rendered:
    description: Write the objects into a Git repository instead of applying them.
    type: dict
    suboptions:
      url:
        description: Address of the repository - C(https://), C(ssh://), or an absolute path.
        type: str
        required: true
      branch:
        description: Branch that Flux follows.
        type: str
        default: main
      review_branch:
        description: Push to this branch instead, for somebody to review.
        type: str
        default: ""
      directory:
        description: Folder in the repository.
        type: str
        required: true
      username:
        description: Name to log in with beside the token.
        type: str
        default: git
      token:
        description: Token for https.
        type: str
      token_file:
        description: File with the token.
        type: path
      ssh_key:
        description: Private key for ssh.
        type: str
      ssh_key_file:
        description: File with the private key.
        type: path
      known_hosts:
        description: Lines with the host keys of the server.
        type: str
        default: ""
      ca_cert:
        description: File with the authority that signed the server's certificate.
        type: path
  inventory:
    description: Name under which the objects are owned.
    type: str
    default: tenants
  inventory_namespace:
    description: Namespace of the ownership record. It must exist.
    type: str
    default: kube-system
  force_conflicts:
    description:
      - Take over fields that another field manager has set to another value.
      - Without it a tenant with such fields is left as it is and reported.
    type: bool
    default: false
  wait_timeout:
    description: Seconds that what was stopped may take to be gone, for each tenant.
    type: int
    default: 120
seealso:
  - module: hackspace.infra.tenants_info
  - module: hackspace.infra.kube_apply
"""

EXAMPLES = r"""
- name: See what the declarations would change
  hackspace.infra.tenants:
    kubeconfig: ~/.kube/member-prod
    cluster: member-prod
    platform: "{{ platform_tenants }}"
    directory: ~/tenants/tenants
  check_mode: true
  diff: true

- name: Bring the cluster to what the tenants repository says
  hackspace.infra.tenants:
    kubeconfig: ~/.kube/member-prod
    cluster: member-prod
    platform: "{{ platform_tenants }}"
    repository:
      url: https://git.example.org/hackspace/tenants.git
      directory: tenants
      token_file: ~/platform/git-token
    openbao:
      server: https://openbao.example.org:8200
      mount: kubernetes-member-prod
      audience: openbao-member-prod

- name: Write the objects into the cluster's repository, as a branch for review
  hackspace.infra.tenants:
    kubeconfig: ~/.kube/member-prod
    cluster: member-prod
    platform: "{{ platform_tenants }}"
    directory: ~/tenants/tenants
    rendered:
      url: ssh://git@git.example.org/hackspace/clusters.git
      directory: clusters/member-prod/tenants
      review_branch: tenants/member-prod
      ssh_key_file: ~/platform/git-key
      known_hosts: "{{ lookup('ansible.builtin.file', 'known_hosts') }}"
"""

RETURN = r"""
changes:
  description: One line per change, in the order of application.
  returned: success
  type: list
  elements: dict
  sample: [{kind: Namespace, name: 4-aux-alice, action: create, why: ""}]
unchanged:
  description: Number of wanted objects, or of rendered files, that are as wanted.
  returned: success
  type: int
  sample: 31
foreign:
  description: Objects that belonged to somebody else, and to whom.
  returned: success
  type: list
  elements: str
stale:
  description: Objects that are no longer wanted and are kept, and why.
  returned: success
  type: list
  elements: str
tenants:
  description: Every tenant of this cluster.
  returned: success, and when some tenants failed
  type: list
  elements: dict
  contains:
    name:
      description: Name of the tenant.
      type: str
    state:
      description: What it was brought to - V(active), V(suspended), V(archived) or V(removed).
      type: str
    by:
      description: Who reduced it - V(declaration), V(membership), or nobody.
      type: str
    namespaces:
      description: Its namespaces.
      type: list
      elements: str
    result:
      description: V(unchanged), V(changed), V(held) (not onboarded), or V(failed) (left as it is).
      type: str
    problem:
      description: Why it is held or failed; empty otherwise.
      type: str
    membership:
      description: C(standing), C(why), and whether it follows that the tenant is to be suspended.
      type: dict
    changes:
      description: Number of changes.
      type: int
undeclared:
  description: Namespaces that no declaration has any more, and the objects of ours in them. Nothing touched them.
  returned: success, and when some tenants failed
  type: dict
findings:
  description: Everything that is wrong with the declarations, as the filter C(tenant_findings) returns it.
  returned: when something is wrong
  type: list
  elements: dict
stray_hosts:
  description:
    - Hosts that Ingresses and routes of tenants publish and that are in no declaration of theirs (any more), each with
      C(tenant), C(namespace), C(kind), C(name) and C(host). There is a warning for each as well.
  returned: success, and when some tenants failed
  type: list
  elements: dict
commit:
  description: The commit that was pushed; empty if nothing was.
  returned: with O(rendered)
  type: str
revision:
  description: The revision of the repository with the declarations.
  returned: with O(repository)
  type: str
requests:
  description: Number of requests sent to the API server.
  returned: success
  type: int
  sample: 17
"""

import datetime
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients import git, keycloak, tenant_files
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import CONNECTION_SPEC, client_of
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput, check
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    OWNERSHIP,
    ArgumentSpec,
    program,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import Inventory
from ansible_collections.hackspace.infra.plugins.module_utils._kube.plan import Options
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import apply as applying
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import membership, published, render, site

SPEC = (
    CONNECTION_SPEC.merge(OWNERSHIP)
    .merge(tenant_files.SPEC)
    .merge(
        ArgumentSpec(
            options={
                "membership": {
                    "type": "dict",
                    "default": {},
                    "options": {
                        "source": {"type": "str", "choices": list(membership.SOURCES), "default": "declaration"},
                        "suspend": {"type": "bool", "default": False},
                        "max_suspend": {"type": "int"},
                        "required": {"type": "bool", "default": False},
                        "exempt": {"type": "list", "elements": "str", "default": []},
                        "keycloak": {
                            "type": "dict",
                            "no_log": False,
                            "options": {
                                "url": {"type": "str", "required": True},
                                "realm": {"type": "str", "required": True},
                                "client_id": {"type": "str", "required": True},
                                "client_secret": {"type": "str", "no_log": True},
                                "client_secret_file": {"type": "path", "no_log": False},
                                "ca_cert": {"type": "path"},
                                "group": {"type": "str", "default": ""},
                                "member_key": {
                                    "type": "str",
                                    "choices": ["username", "email", "id"],
                                    "default": "username",
                                    "no_log": False,
                                },
                                "paid_until_attribute": {"type": "str", "default": ""},
                                "timeout": {"type": "float", "default": 10.0},
                            },
                        },
                    },
                },
                "allow_removal": {"type": "bool", "default": False},
                "confirm_removal": {"type": "list", "elements": "str", "default": []},
                "rendered": {
                    "type": "dict",
                    "options": {
                        **tenant_files.REPOSITORY,
                        "review_branch": {"type": "str", "default": ""},
                        "directory": {"type": "str", "required": True},
                    },
                },
                "inventory": {"type": "str", "default": "tenants"},
                "inventory_namespace": {"type": "str", "default": "kube-system"},
                "force_conflicts": {"type": "bool", "default": False},
                "wait_timeout": {"type": "int", "default": 120},
            }
        )
    )
)


def ask_members(given: t.Mapping[str, t.Any], ids: t.Collection[str]) -> tuple[membership.Answer | None, list[str]]:
    """Return what the source of memberships says, and warnings; no answer where declarations alone count.

    That it cannot be asked is an answer too. Nobody is asked where no declaration has a membership.
    """
    if given["source"] == "declaration" or not ids:
        return None, []
    options = given["keycloak"]
    check(
        options and options.get("client_secret"),
        "is not given, or has no client_secret.",
        item="membership.keycloak",
        rule="login",
        fix="give url, realm, client_id and client_secret_file.",
    )
    realm = keycloak.Realm(
        url=options["url"],
        realm=options["realm"],
        client_id=options["client_id"],
        client_secret=Secret(options["client_secret"]),
        ca_cert=options["ca_cert"],
        timeout=options["timeout"],
    ).checked()
    try:
        with keycloak.Keycloak(realm) as source:
            users = source.users(options["group"])
    except InvalidInput:
        raise
    except HackspaceError as error:
        return membership.Answer(problem=str(error)), []
    members, warnings = membership.from_keycloak(
        users, key=options["member_key"], attribute=options["paid_until_attribute"]
    )
    return membership.Answer(members), warnings


def main(module: AnsibleModule) -> dict[str, t.Any]:
    """Read, judge, plan, and outside check mode apply or push."""
    params = module.params
    run_program = program(module)
    texts, revision = tenant_files.read(params, run_program)
    if params["rendered"]:
        tenant_files.remote(params["rendered"], "rendered")
        check(
            not params["allow_removal"],
            "cannot be done by rendering.",
            item="allow_removal",
            rule="removal-rendered",
            fix="archive and remove tenants by a run without rendered.",
        )
    here = site.of(params)
    now = datetime.datetime.now(datetime.UTC).date()
    read = site.read(texts, here, now)
    given = {**_MEMBERSHIP, **params["membership"]}
    answer, warnings = ask_members(given, read.member_ids | read.judged.broken)
    rules = membership.Rules(
        source=given["source"],
        grace_days=here.profile.grace_days,
        suspend=given["suspend"],
        max_suspend=here.profile.max_suspensions if given["max_suspend"] is None else given["max_suspend"],
        required=given["required"],
        exempt=frozenset(given["exempt"]),
    )
    options = Options(
        adopt=params["adopt"],
        prune=params["prune"],
        prune_max_percent=params["prune_max_percent"],
        force_conflicts=params["force_conflicts"],
    )
    inventory = Inventory(params["inventory"], params["inventory_namespace"], params["label_domain"])
    with client_of(params) as api:
        applying.check_lockdown(api, params["flux_namespace"], here.profile.flux_account)
        made = applying.decide(
            api,
            read,
            here,
            answer=answer,
            rules=rules,
            today=now,
            allow_removal=params["allow_removal"],
            confirmed=params["confirm_removal"],
        )
        kinds = (*published.INGRESSES, *(published.ROUTES if here.profile.gateways else ()))
        strays, blind = published.look(api, published.allowed(made.wanted, made.known, here.profile), kinds)
        for warning in [*warnings, *made.warnings, *_told(strays), *published.unseen(blind)]:
            module.warn(warning)
        if params["rendered"]:
            # Nothing can be rendered without a declaration, so these stay as they are.
            made.cuts.clear()
            failures = {} if params["adopt"] else applying.foreign(api, made)
            result = _render(params, made, run_program, failures, check_mode=module.check_mode)
        else:
            result = applying.bring(
                api,
                made,
                inventory,
                options,
                check_mode=module.check_mode,
                timeout=float(params["wait_timeout"]),
                today=now,
            )
        result["requests"] = api.requests
    result["stray_hosts"] = [one.as_dict() for one in strays]
    if revision:
        result["revision"] = revision
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    if not module._diff:
        # a thousand new tenants are a diff of twelve megabytes, which nobody is shown without --diff
        del result["diff"]
    applying.complain(made, result)
    return result


def _told(strays: t.Sequence[published.Stray]) -> list[str]:
    """Return the warnings about hosts that are published and in no declaration."""
    return [str(one) for one in strays[:_SHOWN]] + (
        [f"and {len(strays) - _SHOWN} more of such hosts."] if len(strays) > _SHOWN else []
    )


_SHOWN: t.Final = 10

#: Defaults of ``membership``, where nothing is given.
_MEMBERSHIP: t.Final = {
    "source": "declaration",
    "suspend": False,
    "max_suspend": None,
    "required": False,
    "exempt": (),
    "keycloak": None,
}


def _render(
    params: t.Mapping[str, t.Any],
    made: applying.Decided,
    run_program: t.Any,
    failures: t.Mapping[str, str],
    *,
    check_mode: bool,
) -> dict[str, t.Any]:
    given = params["rendered"]
    target = render.Target(
        directory=given["directory"].strip("/"),
        branch=given["branch"],
        review=given["review_branch"],
    )
    check(
        not target.review or git.good_branch(target.review),
        f"{target.review!r} is no name of a branch.",
        item="rendered.review_branch",
        rule="git-branch",
        fix="give a name such as tenants/member-prod.",
    )
    with git.Repository(run_program, tenant_files.remote(given, "rendered"), item="rendered") as copy:
        done = render.publish(copy, made.bundles, target, check=check_mode, keep=made.kept_files, lost=git.LostRace)
    return {
        **done.plan.result(),
        "warnings": done.plan.warnings,
        "stale": [],
        "tenants": made.report(done.counts, failures),
        "undeclared": made.undeclared,
        "commit": done.revision,
    }


if __name__ == "__main__":
    run(SPEC, main)
