"""How keys are shown: as rows of a table, and one in full."""

from __future__ import annotations

from ..wire.keys import KeyView, RestrictionsSpec
from .output import Printer, ago, metadata, state, when
from .records import common_details, credit_text, limit_lines


def rows(out: Printer, keys: list[KeyView]) -> None:
    """Print keys as a table."""
    out.table(
        ("id", "name", "kind", "state", "used", "expires"),
        [
            (
                key.id,
                key.name,
                f"{'pk' if key.kind.value.startswith('pub') else 'sk'} {key.environment.value}",
                state("expired" if key.expired and key.state.value == "enabled" else key.state.value),
                ago(key.last_used_at),
                ago(key.expires_at),
            )
            for key in keys
        ],
        flexible=("name",),
    )


def details(out: Printer, key: KeyView) -> None:
    """Print one key in full, and its secrets by number."""
    head, *times = common_details(key)
    out.details(
        [
            head,
            ("name", key.name),
            *times[:1],
            ("expired", "yes" if key.expired else None),
            ("kind", f"{key.kind.value}, {key.environment.value}"),
            ("looks like", key.hint),
            ("project", key.project_id),
            ("owner", key.owner),
            ("identity", key.identity_id),
            ("plan", key.plan_id),
            ("permissions", key.permissions),
            ("restricted to", restriction_lines(key.restrictions)),
            ("limits", limit_lines(key.limits, key.quotas)),
            ("credits", credit_text(key.credits)),
            ("expires", when(key.expires_at)),
            ("last used", when(key.last_used_at)),
            ("revoked", when(key.revoked_at)),
            *times[1:],
            ("created by", key.created_by),
            ("tags", ", ".join(key.tags)),
            ("metadata", metadata(key.metadata)),
        ]
    )
    out.line("")
    out.table(
        ("secret", "state", "created", "ends", "used"),
        [
            (
                version.number,
                state(version.state.value),
                ago(version.created_at),
                ago(version.revoked_at or version.expires_at),
                ago(version.last_used_at),
            )
            for version in key.versions
        ],
    )


def restriction_lines(restrictions: RestrictionsSpec) -> list[str]:
    """Return a line for each restriction, as it is written on the command line."""
    named = (
        ("ip", restrictions.ip_networks),
        ("origin", restrictions.origins),
        ("referrer", restrictions.referrers),
        ("android", [f"{app.package}={app.certificate_sha256}" for app in restrictions.android_apps]),
        ("ios", restrictions.ios_bundle_ids),
        ("allow-api", restrictions.apis),
        ("method", restrictions.methods),
        ("path", restrictions.paths),
    )
    return [f"{name} {value}" for name, found in named for value in found]
