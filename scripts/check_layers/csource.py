# SPDX-License-Identifier: BSD-3-Clause
"""Find what a C file in kernel style includes, defines and uses, using regular expressions."""
import functools
import posixpath
import re

_TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
_PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
_DEFINE = re.compile(r"^[ \t]*#[ \t]*define\b(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"\n]+)[>"]', re.MULTILINE)

#: A function, from its name and parameters to the closing brace in the first column
_FUNCTION = re.compile(r"^(?P<head>[A-Za-z_][\w \t\n*]*?)\b(?P<name>\w+)\((?P<parameters>[^;{}]*)\)"
                       r"[^\n;{}()]*\n\{\n(?P<body>.*?)^\}", re.MULTILINE | re.DOTALL)
_EXTERN = re.compile(r"^extern\b(?P<declarator>[^;()]*);", re.MULTILINE)
_VARIABLE = re.compile(r"^(?!static\b|extern\b|typedef\b|return\b|goto\b)[A-Za-z_][\w \t*]*?"
                       r"\b(?P<name>\w+)(?:\[[^\]]*\])*[ \t]*[=;]", re.MULTILINE)
_SYSCALLS = re.compile(r"^IVS_SYSCALLS\((\w+)", re.MULTILINE)
#: An identifier that is neither a member of a struct nor a tag
_IDENTIFIER = re.compile(r"\b(?:struct|enum|union)\s+\w+|(?<![\w.])(?<!->)([A-Za-z_]\w*)")


def _blank(match):
    return re.sub(r"[^\n]", " ", match.group())


@functools.lru_cache(maxsize=None)
def code_of(text):
    """Return: @text with comments and literals replaced by spaces."""
    return _TOKEN.sub(_blank, text)


def comments_of(text):
    """Return: [(offset of its end, comment)] for each comment in @text."""
    return [(match.end(), match.group()) for match in _TOKEN.finditer(text)
            if match.group().startswith("/")]


def includes_of(text):
    """Return: [(kind, header)] for each #include in @text; kind is "<" or a double quote."""
    return _INCLUDE.findall(text)


def resolve(name, kind, header, files):
    """Return: the file that @name includes as @header, or None if the project has no such file."""
    places = ["src", "include", "tools", "."]
    if kind == '"':
        places.insert(0, posixpath.dirname(name))
    for place in places:
        path = posixpath.normpath(posixpath.join(place, header))
        if path in files:
            return path
    return None


@functools.lru_cache(maxsize=None)
def functions_of(text):
    """Return: (name, is_static, parameters, body) of each function that @text defines."""
    code = _PREPROCESSOR.sub(_blank, code_of(text))
    return tuple((match["name"], "static" in match["head"].split(), match["parameters"],
                  match["body"]) for match in _FUNCTION.finditer(code))


@functools.lru_cache(maxsize=None)
def prototypes_of(text):
    """Return: names of the functions that the header @text declares but does not define."""
    code = _PREPROCESSOR.sub(_blank, code_of(text))
    return frozenset(re.findall(r"^[A-Za-z_][\w \t\n*]*?\b(\w+)\([^;{}]*\)[^;{}]*;", code,
                                re.MULTILINE)) - {name for name, *_ in functions_of(text)}


def externs_of(text):
    """Return: names of the variables that @text declares as extern."""
    found = set()
    for match in _EXTERN.finditer(code_of(text)):
        for declarator in match["declarator"].split(","):
            found.update(re.findall(r"(\w+)\s*(?:\[[^\]]*\]\s*)*$", declarator))
    return found


def globals_of(text, externs):
    """Return: names that the .c file @text defines with external linkage. Variables are included
    only if they are in @externs."""
    found = {name for name, is_static, *_ in functions_of(text) if not is_static}
    code = _PREPROCESSOR.sub(_blank, code_of(text))
    found |= {name for name in _VARIABLE.findall(code) if name in externs}
    return found | set(_SYSCALLS.findall(code))


def locals_of(text):
    """Return: names of the static functions that @text defines."""
    return {name for name, is_static, *_ in functions_of(text) if is_static}


@functools.lru_cache(maxsize=None)
def inlines_of(text):
    """Return: {name: identifiers in its body} for macros and functions that the header @text
    defines."""
    bodies = [(name, body) for name, _, _, body in functions_of(text)]
    for define in _DEFINE.findall(code_of(text)):
        _, name, body = re.split(r"define\s+(\w+)", define, maxsplit=1)
        bodies.append((name, body))
    return {name: set(_IDENTIFIER.findall(body)) for name, body in bodies}


def uses_of(name, text):
    """Return: the identifiers that @text, the contents of the file @name, uses. In a header, only
    the bodies of macros and inline functions count."""
    if name.endswith(".h"):
        return set().union(*inlines_of(text).values())
    return set(_IDENTIFIER.findall(code_of(text)))
