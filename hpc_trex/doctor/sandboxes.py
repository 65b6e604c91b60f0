"""What can keep code of agents in, on this node: each means tried as a job tries it."""

from __future__ import annotations

from collections.abc import Mapping

from hpc_trex.doctor.check import Check, failure, ok, warning
from hpc_trex.models import Profile
from hpc_trex.sandbox import examine


def remedy(profile: Profile) -> str:
    """Return what to do where nothing holds."""
    there = "in the image (those of containers/ have it)" if profile.container is not None else "there"
    return (
        f'install bubblewrap {there} and allow user namespaces, or name an image (sandbox_image); else sandbox = "none"'
    )


def found(image: str | None) -> dict[str, str]:
    """Return each means with what is wrong with it on this node; an empty text: it holds."""
    return {one.means: one.trouble for one in examine(image)}


def check_sandbox(name: str, means: Mapping[str, str], profile: Profile, *, jobs: bool) -> Check:
    """Say what holds here. ``jobs``: jobs run on this node, so what the profile says must be true here."""
    words = "; ".join(f"{one}: {trouble or 'holds'}" for one, trouble in means.items())
    holds = [one for one, trouble in means.items() if not trouble]
    if not profile.agent_code:
        return ok(name, f"{words}; code of agents is not allowed (agent_code)")
    if not jobs:
        return ok(name, f"{words}; what counts is where jobs run")
    if profile.sandbox == "none":
        better = f'sandbox = "{holds[0]}" in the profile' if holds else "agent_code = false says the same"
        return warning(name, f'{words}; the profile has sandbox = "none": python steps are refused', better)
    if profile.sandbox is not None and profile.sandbox not in holds:
        return failure(name, f"{words}; the profile relies on {profile.sandbox}", remedy(profile))
    if not holds:
        return warning(name, f"{words}; python steps will fail here", remedy(profile))
    advice = "" if profile.sandbox else f'sandbox = "{holds[0]}" in the profile keeps it so'
    return ok(name, words, advice)
