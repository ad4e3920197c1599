r"""Terminal: text that others wrote, made safe to show to people. The one place that knows how.

A branch, a path, a process, an app or a server can bring any character along. What would move a
cursor, change a terminal, turn the direction of writing or begin a line is shown as Python would
write it: `\x1b`, `\u202e`.
"""

TYPE_CHECKING = False  # a warm call imports this
if TYPE_CHECKING:
    from collections.abc import Mapping

# C0 but tab and newline, DEL, and C1: U+009B alone is as good as ESC [.
_CONTROLS = (*range(9), *range(0x0B, 0x20), *range(0x7F, 0xA0))
# Marks, embeddings, overrides and isolates of writing from right to left; line and paragraph ends.
_TURNS = (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_SHOWN = {code: ascii(chr(code))[1:-1] for code in (*_CONTROLS, *_TURNS)}
_LONGEST_COLOUR = 40  # characters between `ESC [` and `m`
_MOST_COLOURS = 16  # in force at once
_RESET = "\x1b[0m"
_KNOW_LINKS = frozenset({"iTerm.app", "WezTerm", "vscode", "Hyper", "ghostty", "Tabby", "rio"})
_KNOW_LINKS |= {"alacritty", "foot", "wezterm", "xterm-ghostty", "xterm-kitty"}  # of TERM


def block(text: str) -> str:
    """Return `text`, whose lines and tabs stay as they are."""
    return text if text.isprintable() else text.translate(_SHOWN)


def line(text: str) -> str:
    """Return `text` as one line, whatever is in it."""
    return block(text).replace("\n", "\\n")


def cell(text: str) -> str:
    """Return `text` as a part of one line that takes as much room as it has characters."""
    return line(text).replace("\t", "\\t")


def without_colours(text: str) -> str:
    """Return `text` without its colours (`ESC [ … m`)."""
    import re  # noqa: PLC0415 - for a server's last words only

    return re.sub(_colour(), "", text)


def knows_links(env: "Mapping[str, str]") -> bool:
    """Return whether the terminal of that environment shows OSC 8 as a link, and not as letters."""
    if env.get("TERM", "").startswith(("screen", "tmux")):
        return False  # what is around it may not
    vte = env.get("VTE_VERSION", "")
    return (
        env.get("TERM_PROGRAM") in _KNOW_LINKS
        or env.get("TERM") in _KNOW_LINKS
        or any(env.get(name) for name in ("WT_SESSION", "KONSOLE_VERSION", "KITTY_WINDOW_ID"))
        or (vte.isdecimal() and int(vte) >= 5000)  # noqa: PLR2004 - that is 0.50
    )


def linked(text: str) -> str:
    """Return safe text with each URL in it as a link to itself (OSC 8)."""
    import re  # noqa: PLC0415 - rarely needed

    def link(found: "re.Match[str]") -> str:
        return f"\x1b]8;;{found[0]}\x1b\\{found[0]}\x1b]8;;\x1b\\"

    return re.sub(r"https?://[!-~]*[0-9A-Za-z/]", link, text)


class LogFilter:
    """Makes a log safe that comes in pieces, cut anywhere: colours pass, nothing else does.

    With `colours` false, they are taken out.

    No piece leaves the terminal coloured, whoever ends the process: what is in force at its end is
    taken back, and set again by the next.
    """

    def __init__(self, *, colours: bool = True) -> None:
        import re  # noqa: PLC0415 - for logs only

        self._wanted = colours
        unsafe = "".join(map(chr, _SHOWN))
        self._special = re.compile(f"\r\n|{_colour()}|[{re.escape(unsafe)}]")
        self._half = re.compile(rf"(?:\r|\x1b(?:\[[0-9;:]{{0,{_LONGEST_COLOUR}}})?)\Z")
        self._held = ""
        self._colours: list[str] = []

    def feed(self, text: str, *, final: bool = False) -> str:
        """Return what can be shown of `text`, and hold back what the next piece may complete."""
        text = self._held + text
        end = len(text)
        half = None if final else self._half.search(text, max(end - _LONGEST_COLOUR - 2, 0))
        cut = half.start() if half else end
        self._held = text[cut:]
        if not cut:
            return ""
        before = "".join(self._colours)
        shown = self._special.sub(lambda found: self._show(found[0]), text[:cut])
        return f"{before}{shown}{_RESET if self._colours else ''}"

    def _show(self, found: str) -> str:
        if found == "\r\n":
            return "\n"
        if len(found) == 1:
            return _SHOWN[ord(found)]
        if not self._wanted:
            return ""
        if found in {"\x1b[m", _RESET}:
            self._colours.clear()
        else:
            self._colours = [*self._colours[1 - _MOST_COLOURS :], found]
        return found


def _colour() -> str:
    return rf"\x1b\[[0-9;:]{{0,{_LONGEST_COLOUR}}}m"
