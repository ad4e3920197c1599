"""Warm answer: what ensure said of a server when it last found it running, to be said again.

It hangs on the receipt (see warm_proof): that asks the live system whether the server still runs.
What is said of it comes from files alone, whose signatures are kept with it. While none of them has
changed, it is what would be said again.
"""

from devservers.githooks import warm_proof

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FORM = "devservers answer 1"


def read(folder: str, name: str) -> tuple[str, str] | None:
    """Return what is said of the server `name` of the worktree at `folder`: as JSON, in lines.

    None says only that it could not be known this way.
    """
    lines = warm_proof.kept(folder, _named(name))
    if len(lines) < 4 or lines[:2] != [FORM, warm_proof.surroundings(folder)]:  # noqa: PLR2004 - see write
        return None
    texts, inputs = lines[2:4], lines[4:]
    # The inputs last: what changed while the live system was asked has changed.
    if not warm_proof.is_good(folder, name) or not warm_proof.are_unchanged(inputs):
        return None
    as_json, in_lines = (f"{text}\n".replace("\t", "\n") for text in texts)
    return as_json, in_lines


def write(
    git_dir: str, folder: str, name: str, texts: "Iterable[str]", inputs: "Iterable[str]"
) -> None:
    """Keep both texts; `inputs` are lines of `sign`, from before any of those files was read."""
    kept = [text.removesuffix("\n") for text in texts]
    if any("\t" in text for text in kept):
        return
    flat = (text.replace("\n", "\t") for text in kept)
    lines = [FORM, warm_proof.surroundings(folder), *flat, *inputs, ""]
    warm_proof.keep(git_dir, _named(name), lines)


def _named(name: str) -> str:
    return f"{name}.answer"
