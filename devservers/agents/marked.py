"""Marked: our part of a text that others write, too, between two marks."""

from typing import NamedTuple

from devservers.errors import StateUnusableError


class Marks(NamedTuple):
    """The lines before and after our part, as the kind of file has comments."""

    begin: str
    end: str


MARKDOWN = Marks(
    "<!-- devservers: begin (written by `agents.install`; changes in here are lost) -->",
    "<!-- devservers: end -->",
)
TOML = Marks(
    "# devservers: begin (written by `agents.install`; changes in here are lost)",
    "# devservers: end",
)


def part(text: str, marks: Marks, file: str) -> str | None:
    """Return what is between the marks in `text`, None where there is no such part.

    Raises StateUnusableError where it can't be told which part is ours.
    """
    found = _split(text, marks, file)
    return None if found is None else found[1]


def put_in(text: str, ours: str, marks: Marks, file: str) -> str:
    """Return `text` with our part in it: in the place where it was, else at the end."""
    found = _split(text, marks, file)
    newline = "\r\n" if "\r\n" in text else "\n"
    block = f"{marks.begin}\n{ours}{marks.end}\n".replace("\n", newline)
    if found is not None:
        return found[0] + block + found[2]
    if not text:
        return block
    return f"{text}{'' if text.endswith(newline) else newline}{newline}{block}"


def take_out(text: str, marks: Marks, file: str) -> str:
    """Return `text` as it was before our part was put in."""
    found = _split(text, marks, file)
    if found is None:
        return text
    before, _, after = found
    newline = "\r\n" if "\r\n" in text else "\n"
    if not after and before.endswith(newline * 2):
        before = before.removesuffix(newline)
    return before + after


def _split(text: str, marks: Marks, file: str) -> tuple[str, str, str] | None:
    """Return what is before our part, our part without its marks, and what is after it."""
    lines = text.splitlines(keepends=True)
    words = [line.strip() for line in lines]
    head = marks.begin.partition("(")[0].strip()  # what is in brackets may be another version's
    begins = [place for place, line in enumerate(words) if line.startswith(head)]
    ends = [place for place, line in enumerate(words) if line == marks.end]
    if not begins and not ends:
        return None
    if len(begins) != 1 or len(ends) != 1 or ends[0] < begins[0]:
        raise StateUnusableError(
            f"{file} was left as it is, since it can't be told which part of it is ours: "
            f"`{head}` stands in it {len(begins)} times, `{marks.end}` {len(ends)} times.",
            hint="Leave one of each, around our part; or take out all that belongs to it, and run "
            "this again.",
            details={"file": file},
        )
    (begin,), (end,) = begins, ends
    ours = "".join(lines[begin + 1 : end]).replace("\r\n", "\n")
    return "".join(lines[:begin]), ours, "".join(lines[end + 1 :])
