"""What the Hugging Face Hub says of a repository, with every refusal as one clear line. Nothing is fetched here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from typing import NamedTuple

from hpc_trex.errors import CredentialsMissing, EnvironmentProblem, NotFound, UsageProblem
from hpc_trex.ftbench.hub import WANTED, reachable
from hpc_trex.models import StagedKind

#: Of a whole commit.
DIGITS = 40
_TOKENIZER = ["tokenizer*", "*.tiktoken", "*.model", "vocab*", "merges.txt", "special_tokens_map.json",
              "added_tokens.json", "chat_template*", "config.json"]  # fmt: skip
#: What of a repository is fetched: never code, never weights in several formats.
PATTERNS: dict[StagedKind, list[str]] = {
    "models": ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"],
    "datasets": WANTED,
    "tokenizers": _TOKENIZER,
}
#: How a person says each kind, and which option names it.
WORDS: dict[StagedKind, tuple[str, str]] = {
    "models": ("model", "--model"),
    "datasets": ("data set", "--dataset"),
    "tokenizers": ("tokenizer", "--tokenizer"),
}


class Wish(NamedTuple):
    """What is to be staged; ``revision`` empty: the hub's ``main``."""

    kind: StagedKind
    repository: str
    revision: str = ""

    @property
    def words(self) -> str:
        """Name it for a person."""
        return f"{WORDS[self.kind][0]} {self.repository}" + (f" at {self.revision[:12]}" if self.revision else "")

    @property
    def option(self) -> str:
        """Name it for ``hpc-trex stage``."""
        return f"{WORDS[self.kind][1]} {self.repository}" + (f"@{self.revision}" if self.revision else "")


class RemoteFile(NamedTuple):
    """A file as the hub lists it; its digests where the hub knows them."""

    name: str
    size: int
    sha256: str
    """Of a large file (LFS)."""
    git: str
    """Of a small one: git's SHA-1."""


class Remote(NamedTuple):
    """A repository at one commit."""

    commit: str
    licence: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def describe(wish: Wish, keep: Callable[[str], bool] | None = None) -> Remote:
    """Ask the hub which commit a wish means, what its files are and under which licence.

    ``keep`` says which files are wanted, where it is not what is wanted of its kind (:data:`PATTERNS`).
    Raises UsageProblem (no id), NotFound (3), CredentialsMissing (4) or EnvironmentProblem (no network, 8).
    """
    from huggingface_hub import HfApi

    with hub_errors(wish):
        if not reachable():
            raise EnvironmentProblem(f"cannot ask for {wish.words}: {endpoint()} does not answer", hint=_NO_NETWORK)
        kind = "dataset" if wish.kind == "datasets" else "model"
        info = HfApi().repo_info(
            wish.repository, repo_type=kind, revision=wish.revision or None, files_metadata=True, timeout=30
        )
    listed = [
        RemoteFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else "", file.blob_id or "")
        for file in getattr(info, "siblings", None) or []
    ]
    wanted = keep or (lambda name: any(fnmatch(name, pattern) for pattern in PATTERNS[wish.kind]))
    files = tuple(file for file in listed if wanted(file.name))
    if not files:
        asked = "" if keep else f": {', '.join(PATTERNS[wish.kind])}"
        there = ", ".join(file.name for file in listed[:8]) or "none"
        raise UsageProblem(f"{wish.words} has none of the files that are fetched{asked}", hint=f"its files: {there}")
    outside = [file.name for file in files if file.name.startswith("/") or ".." in file.name.split("/")]
    if outside or info.sha is None:
        raise EnvironmentProblem(f"the hub's answer for {wish.words} cannot be used: {outside or 'no commit'}")
    return Remote(info.sha, _licence(info), files)


def whole_commit(wish: Wish) -> Wish:
    """Return the wish with all 40 digits of its commit, which may be named by its first ones.

    The hub itself takes no short form: its history is asked for. Raises as :func:`describe` does.
    """
    from huggingface_hub import HfApi

    if len(wish.revision) == DIGITS:
        return wish
    with hub_errors(wish):
        if not reachable():
            raise EnvironmentProblem(f"cannot ask for {wish.words}: {endpoint()} does not answer", hint=_NO_NETWORK)
        kind = "dataset" if wish.kind == "datasets" else "model"
        commits = [one.commit_id for one in HfApi().list_repo_commits(wish.repository, repo_type=kind)]
    found = [commit for commit in commits if commit.startswith(wish.revision)]
    if len(found) != 1:
        several = f"several commits that begin with {wish.revision}" if found else f"no commit {wish.revision}"
        raise NotFound(
            f"{WORDS[wish.kind][0]} {wish.repository} has {several} on its main branch",
            hint="give all 40 digits, from the history on its page",
        )
    return wish._replace(revision=found[0])


def endpoint() -> str:
    """Return the hub's address (``HF_ENDPOINT``)."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


_NO_NETWORK = "run this where there is network (a login node, your own machine) and copy the stage folder"


@contextmanager
def hub_errors(wish: Wish) -> Iterator[None]:
    """Turn what the hub's client raises into the user's errors."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    what = WORDS[wish.kind][0]
    # The client's HTTP library, whichever this version of it uses: a broken connection is no OSError there.
    transport: type[Exception] = next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")
    try:
        yield
    except HFValidationError as error:
        raise UsageProblem(f"{wish.repository!r} is no hub id", hint="an id looks like owner/name") from error
    except GatedRepoError as error:
        raise CredentialsMissing(
            f"{what} {wish.repository} is gated: its terms must be accepted first",
            hint="accept them on its page on the hub, then: hf auth login",
        ) from error
    except RevisionNotFoundError as error:
        raise NotFound(
            f"{what} {wish.repository} has no revision {wish.revision}", hint="see the history on its page on the hub"
        ) from error
    except RepositoryNotFoundError as error:
        raise NotFound(
            f"the hub has no {what} {wish.repository}, or it is private", hint="check the id; if private: hf auth login"
        ) from error
    except OfflineModeIsEnabled as error:
        raise EnvironmentProblem(
            f"cannot fetch {wish.words}: HF_HUB_OFFLINE is set here", hint="env -u HF_HUB_OFFLINE hpc-trex stage ..."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, transport) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise EnvironmentProblem(f"cannot fetch {wish.words}: {first}", hint=_NO_NETWORK) from error


def _licence(info: object) -> str:
    """Return the licence on the repository's page: of its card, else of its tags."""
    card = getattr(info, "card_data", None)
    named = getattr(card, "license", None) or next(
        (tag.removeprefix("license:") for tag in getattr(info, "tags", None) or [] if tag.startswith("license:")), None
    )
    if isinstance(named, list):
        named = ", ".join(map(str, named))
    return str(named) if named else "unknown"
