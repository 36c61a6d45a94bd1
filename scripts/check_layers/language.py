# SPDX-License-Identifier: BSD-3-Clause
"""Find phrases that are not plain technical English in comments, messages and documents."""
import bisect
import re

#: Pattern -> advice. Patterns are matched after line breaks have been replaced by single spaces.
PATTERNS = {re.compile(pattern): advice for pattern, advice in {
    r"\b(gone|go|goes|going|went) on with\b": "resume or continue",
    r"\b(?<![Tt]here )[Ii]s no (?!longer\b|more\b|less\b|different\b)\w+": "is not a ...",
    r"\banew\b": "again",
    r"\bby now\b": "drop it, or say when",
    r"\bof use\b(?!-)": "useful, or what it is for",
    r"\b[Ww]hoever\b": "name the subject",
    r"\b[Ll]ikewise\b": "say what it does",
    r"\bone's own\b": "own, or its own",
    r"\b[Ww]ho (?:does|has|is|are|reads|speaks|comes|asks|connects|leaves|sends|wants|holds|maps"
    r"|rings)\b": "name the subject: a client that ...",
}.items()}

#: "who" is allowed after one of these words, and in the glossary's definition of the roster.
_PERSON = re.compile(r"\b(?:users?|people|persons?|those|administrators?|operators?|developers?"
                     r"|readers?|anyone|everyone|says) who \w+$")
_ROSTER = re.compile(r"\bwho is connected\b")

#: Files that are not searched, because they contain the phrases as examples
OWN = ("scripts/check_layers/", "test/style/test_layers")
_EXEMPT = re.compile(r"(LICENSES/|fuzz/corpus/)")

_C = re.compile(r'(?P<comment>/\*.*?\*/|//[^\n]*)|(?P<string>"(?:\\.|[^"\\\n])*"'
                r'(?:\s*"(?:\\.|[^"\\\n])*")*)|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
_PYTHON = re.compile(r'(?P<comment>\#[^\n]*(?:\n[ \t]*\#[^\n]*)*)|(?P<string>"""(?:\\.|[^\\])*?"""'
                     r"|'''(?:\\.|[^\\])*?'''"
                     r'|"(?:\\.|[^"\\\n])*"(?:\s*f?"(?:\\.|[^"\\\n])*")*'
                     r"|'(?:\\.|[^'\\\n])*')", re.DOTALL)
_SHELL = re.compile(r'(?P<comment>(?:^|(?<=\s))\#[^\n]*(?:\n[ \t]*\#[^\n]*)*)'
                    r'|(?P<string>"(?:\\.|[^"\\])*"|\'[^\']*\')', re.DOTALL | re.MULTILINE)
_JOINT = re.compile(r'"\s*f?"')
_DECORATION = re.compile(r"^[ \t]*(?:/\*+|\*+/?|//|\#)?[ \t]*|[ \t]*\*/$|[ \t]+$")


def _document(text):
    """Yield (line number, paragraph) of a Markdown or scdoc text, skipping code blocks."""
    paragraph, start, fenced, code = [], 1, False, False
    for number, line in enumerate(text.split("\n") + [""], 1):
        if line.lstrip().startswith("```"):
            fenced, line = not fenced, ""
        elif not paragraph and line.strip():
            code = line.startswith("    ")
        if fenced or not line.strip() or code:
            if paragraph:
                yield start, "\n".join(paragraph)
            paragraph = []
        else:
            start = start if paragraph else number
            paragraph.append(re.sub(r"`[^`]*`", "`", line))


def segments_of(name, text):
    """Yield (first line, text) for each comment and string of a file, or paragraph of a document.
    """
    if name.endswith((".md", ".scd")):
        yield from _document(text)
        return
    pattern = _C if name.endswith((".c", ".h")) else _PYTHON if name.endswith(".py") else _SHELL
    for match in pattern.finditer(text):
        if match["comment"] or match["string"]:
            joined = match.group()
            if match["string"]:
                joined = _JOINT.sub(lambda joint: "\n" * joint.group().count("\n"), joined)
            yield text.count("\n", 0, match.start()) + 1, joined


def _words(first, segment):
    """Return: @segment joined into one line, and the offset at which each original line begins."""
    line, offsets = "", []
    for part in segment.split("\n"):
        part = _DECORATION.sub("", part)
        offsets.append(len(line))
        line += part if not part or not line or line.endswith(" ") else " " + part
    return re.sub(r"[ \t]+", " ", line), offsets


def findings_in(name, text):
    """Yield (line, phrase, advice) for each phrase in @text that PATTERNS match."""
    for first, segment in segments_of(name, text):
        line, offsets = _words(first, segment)
        for pattern, advice in PATTERNS.items():
            for match in pattern.finditer(line):
                before = line[:match.end()]
                if "who" in match.group().lower() and (
                        _PERSON.search(before) or _ROSTER.match(line, match.start())):
                    continue
                number = first + bisect.bisect_right(offsets, match.start()) - 1
                yield number, match.group(), advice


def check(files):
    """Check that the files contain none of the phrases in PATTERNS."""
    for name, text in files.items():
        if (name.endswith((".c", ".h", ".py", ".sh", ".md", ".scd"))
                and not name.startswith(OWN) and not _EXEMPT.match(name)):
            for number, found, advice in findings_in(name, text):
                yield f"{name}:{number}", f'"{found}": {advice}'
