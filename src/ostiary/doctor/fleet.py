"""Many proxies at once: each is a case of its own, and findings that are equal become one that counts them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ostiary.doctor.case import Case
from ostiary.doctor.diagnose import by_weight, diagnose
from ostiary.doctor.facts.configuration import ClusterSeen
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.finding import Finding
from ostiary.doctor.mends.patch import with_patches
from ostiary.doctor.report import Evidence, Found
from ostiary.doctor.rules import all_rules
from ostiary.doctor.rules.evidence import listed
from ostiary.net.admin_client import AdminClient, PodAdmin

_SHOWN: Final = 5
_Key = tuple[str, str, str, str, str]


def together(common: Found, running: Mapping[str, Found], written: Mapping[str, str]) -> list[Finding]:
    """The findings of all proxies (by name), equal ones once. `common` is true of each: files, logs, probes."""
    rules = all_rules()
    found: dict[_Key, tuple[Finding, list[str]]] = {}
    patches: dict[str, str | None] = {}
    for name, own in running.items():
        texts = {**own.texts, **written}
        for finding in diagnose(Case([*common.facts, *own.facts]), rules):
            if finding.edits:  # most proxies have the same text, so the same patch
                key = repr((finding.edits, [texts.get(edit.file) for edit in finding.edits]))
                if key not in patches:
                    (patched,) = with_patches([finding], texts)
                    patches[key] = patched.patch
                finding = replace(finding, patch=patches[key])
            found.setdefault(_key(finding), (finding, []))[1].append(name)
    return by_weight([_counted(finding, names, len(running)) for finding, names in found.values()], rules)


def _key(finding: Finding) -> _Key:
    return (finding.rule, finding.severity, finding.title, finding.subject, finding.patch or "")


def _counted(finding: Finding, names: Sequence[str], count: int) -> Finding:
    if len(names) == count:
        return replace(finding, cause=f"{finding.cause} So it is in all {count} proxies.")
    many = f"in {len(names)} of {count} proxies" if len(names) > 1 else f"in one of {count} proxies"
    return replace(finding, cause=f"{finding.cause} So it is {many}: {listed(names, _SHOWN)}.", proxies=tuple(names))


def elsewhere(far: Sequence[AdminClient], facts: Sequence[Fact]) -> Iterator[Evidence]:
    """What to run where the proxies are: a probe from here would see other routes and another DNS."""
    places = {f"{host}:{c.port}" for c in facts if isinstance(c, ClusterSeen) and c.for_provider for host in c.hosts}
    for place in sorted(places)[:_SHOWN]:
        proxy = far[0]
        if isinstance(proxy, PodAdmin):
            argv = proxy.pod.kubectl("exec")
            command = f"{' '.join(argv)} -- curl -v4 https://{place}/ (and -v6)"
        else:
            command = f"there: ostiary connect {place} --families"
        yield Evidence(kind="probe", source=place, summary=f"not tried: the proxy is elsewhere. {command}")
