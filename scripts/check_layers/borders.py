# SPDX-License-Identifier: BSD-3-Clause
"""Checks of interfaces between files: error codes, limits, private headers."""
import collections
import re

from check_layers import csource, rooms

_CODE = re.compile(r"\bIVS_(\w+?)_E_(?:\w+|\*)")
_ENUM = re.compile(r"\benum\b[^{};]*\{([^}]*)\}")
_ENUMERATOR = re.compile(r"(?:^|[,{])\s*IVS_(\w+?)_E_\w+")
_DEFINED_CODE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+IVS_(\w+?)_E_\w+", re.MULTILINE)
#: In a "Return:" text, phrases such as "as f()" or "what f() returned" refer to the codes of f().
_AS = re.compile(r"\b(?:as|as for|as of|like|what|whatever|result of|codes of)\s+(\w+)\(\)")
_TITLE = re.compile(r"\b(\w+)\(\) - ")
#: The prototype or definition that follows a comment.
_FOLLOWING = re.compile(r"\s*[A-Za-z_][^;{}#(/]*?\b(\w+)\(")

#: The expressions that a function returns; values that they are merely compared with are ignored.
_RETURNED = re.compile(r"\b(?:return\b|result\s*=(?!=))([^;]*);")
_COMPARED = re.compile(r"[!=]=\s*\w+")

LIMITS_HOME = "include/ivshmem/registers.h"
_DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+([^\n]*)", re.MULTILINE)
_ALL_IDS = re.compile(r"\(*(65535|65536|0xffff|0x10000|UINT16_MAX)[uUlL]*\)*", re.IGNORECASE)
_VECTORS = re.compile(r"\(*(2048|256|0x800|0x100)[uUlL]*\)*", re.IGNORECASE)
_COUNTED = re.compile(r"(^|_)(IDS?|PEERS?|VECTORS?)(_|$)")
_DERIVED = re.compile(r"\(*(IVS_ID_MAX|IVS_VECTOR_MAX|IVS_MSIX_VECTORS_MAX|IVS_LINUX_VECTORS_MAX)"
                      r"( \+ 1)?[uUlL]*\)*")

#: Names for private headers that are no longer allowed
_OLD_PRIVATE = re.compile(r"(^|_)(state|inside|internal|priv|private|backend|way)\.h$")


def _plain(comment):
    """Return: the text of a comment, without its asterisks."""
    body = comment.removeprefix("/*").removesuffix("*/")
    return "\n".join(re.sub(r"^[ \t]*(\*+|//)[ \t]?", "", line).rstrip()
                     for line in body.strip("*").split("\n"))


def _returns_in(plain):
    """Return: the text after each "Return:", up to the end of its paragraph."""
    return [re.split(r"\n[ \t]*\n", part, maxsplit=1)[0] for part in plain.split("Return:")[1:]]


def returns_of(files):
    """Return: [(where, names of the documented functions, text after "Return:")] for all comments
    in src/ and include/."""
    found = []
    for name, text in files.items():
        if not name.startswith(("src/", "include/")) or not name.endswith((".c", ".h")):
            continue
        for end, comment in csource.comments_of(text):
            if "Return:" not in comment:
                continue
            plain = _plain(comment)
            functions = _TITLE.findall(plain)
            following = _FOLLOWING.match(text, end)
            if following and not functions:
                functions = [following[1]]
            line = text.count("\n", 0, end) + 1
            for said in _returns_in(plain):
                found.append((f"{name}:{line}", functions, said))
    return found


def _codes(said, by_function, seen):
    """Return: {prefix of a code: functions} for the codes that @said names. For a code that @said
    names directly, the functions are (). For a code that @said names by a phrase such as "as f()",
    they are f() and, if the text of f() refers to g() in turn, g(), and so on."""
    found = {prefix: () for prefix in _CODE.findall(said)}
    for function in _AS.findall(said):
        if function not in seen:
            for other in by_function.get(function, ()):
                for prefix, way in _codes(other, by_function, seen | {function}).items():
                    found.setdefault(prefix, (function, *way))
    return found


def check_returns(files):
    """Check that the positive codes that a function documents belong to a single enum."""
    returns = returns_of(files)
    by_function = collections.defaultdict(list)
    for _where, functions, said in returns:
        for function in functions:
            by_function[function].append(said)
    for where, functions, said in returns:
        codes = _codes(said, by_function, set(functions))
        if len(codes) > 1:
            shown = ", ".join(f"IVS_{prefix}_E_*" + "".join(f" by {step}()" for step in way)
                              for prefix, way in sorted(codes.items()))
            subject = "() and ".join(functions) + "() returns" if functions else "this returns"
            yield where, f"{subject} codes of {len(codes)} enums: {shown}"


def check_bodies(files):
    """Check that the codes in the return statements of a function belong to a single enum."""
    for name, text in files.items():
        if not name.startswith("src/") or not name.endswith(".c"):
            continue
        for function, _, _, body in csource.functions_of(text):
            prefixes = {prefix for said in _RETURNED.findall(body)
                        for prefix in _CODE.findall(_COMPARED.sub("", said))}
            if len(prefixes) > 1:
                shown = ", ".join(f"IVS_{prefix}_E_*" for prefix in sorted(prefixes))
                yield name, f"{function}() returns codes of {len(prefixes)} enums: {shown}"


def check_enums(files):
    """Check that all codes with the same prefix are defined in one header."""
    places = collections.defaultdict(set)
    for name, text in files.items():
        if name.startswith(("src/", "include/", "tools/")) and name.endswith(".h"):
            code = csource.code_of(text)
            for body in _ENUM.findall(code):
                for prefix in _ENUMERATOR.findall(body):
                    places[prefix].add(name)
            for prefix in _DEFINED_CODE.findall(code):
                places[prefix].add(name)
    for prefix, names in sorted(places.items()):
        if len(names) > 1:
            yield " ".join(sorted(names)), f"both define codes IVS_{prefix}_E_*"


def check_limits(files):
    """Check that each limit has a single, public name."""
    derived = collections.defaultdict(set)
    for name, text in files.items():
        if (not name.startswith(("src/", "tools/", "include/", "kernel/"))
                or not name.endswith((".c", ".h")) or name == LIMITS_HOME):
            continue
        for macro, value in _DEFINE.findall(csource.code_of(text)):
            value = value.strip()
            counts = _COUNTED.search(macro) and _VECTORS.fullmatch(value)
            if _ALL_IDS.fullmatch(value) or counts:
                yield name, f"{macro} is {value}: use the name that {LIMITS_HOME} has for it"
            if _DERIVED.fullmatch(value):
                derived[value.strip("()uUlL")].add(f"{macro} in {name}")
    for value, macros in sorted(derived.items()):
        if len(macros) > 1 or "+" not in value:
            yield " and ".join(sorted(macros)), f"a second name for {value}"


def check_private(files):
    """Check that a header that declares functions, but has no .c file of the same name, is called
    private.h."""
    for name, text in files.items():
        if not name.startswith("src/") or not name.endswith(".h") or name.endswith("/private.h"):
            continue
        if _OLD_PRIVATE.search(name.rsplit("/", 1)[1]):
            yield name, "a private header must be called private.h"
        elif name[:-2] + ".c" not in files and csource.prototypes_of(text):
            declared = ", ".join(sorted(csource.prototypes_of(text))[:3])
            yield name, (f"declares {declared} but has no .c of its name: only a private.h may do "
                         "that")
    for name in files:
        if name.endswith("/private.c") and rooms.room_of(name):
            yield name, "a private.h has no .c of its own"
