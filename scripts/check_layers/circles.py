# SPDX-License-Identifier: BSD-3-Clause
"""Find circular dependencies between files and between folders, in src/ and in tools/.

A node is a .c file together with the .h of the same name. Node A depends on node B if A includes
B's header, or uses a function or variable that B defines, whichever header declares it. So files
that share a private.h and call each other form a cycle as well. A private.h is not a node: it has
the types of the whole room, so an include of it does not show which files are needed. Calls do show
this, including calls through a macro or an inline function of the private.h. Cycles of headers,
including private.h, are checked separately.
"""
import re
import collections

from check_layers import csource, rooms

NAMES_MAX = 5
PATHS_MAX = 20


def node_of(name):
    return name.rsplit(".", 1)[0]


def _definitions(files):
    """Return: {name of a function or variable: the .c files that define it for other files}."""
    externs = set()
    for name, text in files.items():
        if name.endswith(".h"):
            externs |= csource.externs_of(text)
    found = collections.defaultdict(set)
    for name, text in files.items():
        if name.endswith(".c"):
            for symbol in csource.globals_of(text, externs):
                found[symbol].add(name)
    found.pop("main", None)
    return found


def _definers(name, places):
    """Return: the files of @places to which a use of a symbol in the file @name may refer. @places:
    the files that define the symbol. Several programs may define a function of the same name: a
    program uses its own, and shared code may use any of them."""
    if not name.startswith("tools/"):
        return places
    own = {place for place in places if rooms.room_of(place) == rooms.room_of(name)}
    shared = {place for place in places if place.startswith(rooms.SHARED + "/")}
    return own or shared or (places if name.startswith(rooms.SHARED + "/") else set())


def _expand(used, inlines):
    """Return: the names in @used, and all names that the inline functions and macros among them
    use, directly or not."""
    done, todo = set(), set(used)
    while todo:
        done |= todo
        todo = set().union(*(inlines[name] for name in todo if name in inlines)) - done
    return done


def edges_of(files):
    """Return: {(node, node on which it depends): reasons} for @files, which belong to one tree."""
    edges = collections.defaultdict(list)
    definitions = _definitions(files)
    inlines = collections.defaultdict(dict)
    for name, text in files.items():
        if name.endswith("/private.h"):
            inlines[rooms.room_of(name)].update(csource.inlines_of(text))
    for name, text in files.items():
        if name.endswith("/private.h"):
            continue
        node = node_of(name)
        for kind, header in csource.includes_of(text):
            target = csource.resolve(name, kind, header, files)
            if target and node_of(target) != node and not target.endswith("/private.h"):
                edges[node, node_of(target)].append(f'"{header}"')
        used = _expand(csource.uses_of(name, text), inlines[rooms.room_of(name)])
        for symbol in sorted(used & definitions.keys() - csource.locals_of(text)):
            if name not in definitions[symbol]:
                for place in _definers(name, definitions[symbol]):
                    if node_of(place) != node:
                        edges[node, node_of(place)].append(symbol)
    return dict(edges)


def _reach(start, following):
    """Return: {node: its predecessor} on the shortest paths from @start."""
    before = {}
    queue = collections.deque([start])
    while queue:
        node = queue.popleft()
        for other in following[node]:
            if other not in before:
                before[other] = node
                queue.append(other)
    return before


def _knots(edges):
    """Yield (nodes, edges between them) for each strongly connected component with a cycle."""
    following = collections.defaultdict(list)
    for one, other in sorted(edges):
        following[one].append(other)
    reach = {node: _reach(node, following) for node in list(following)}
    done = set()
    for node in sorted(reach):
        if node in reach[node] and node not in done:
            knot = {other for other in reach[node] if node in reach.get(other, ())}
            done |= knot
            yield knot, {key: names for key, names in edges.items() if knot.issuperset(key)}


def _paths(edges):
    """Yield the shortest cycles that together cover @edges."""
    following = collections.defaultdict(list)
    for one, other in sorted(edges):
        following[one].append(other)
    paths = []
    for one, other in sorted(edges):
        before = _reach(other, following)
        path = [one]
        while path[-1] != other:
            path.append(before[path[-1]])
        paths.append([one] + path[::-1])
    covered = set()
    for path in sorted(paths, key=len):
        steps = set(zip(path, path[1:]))
        if not steps <= covered:
            covered |= steps
            yield path


def _arrow(names):
    shown = sorted(set(names), key=lambda name: (name.startswith('"'), name))
    more = len(shown) - NAMES_MAX
    return ", ".join(shown[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")


def _describe(path, edges):
    return path[0] + "".join(f" -({_arrow(edges[step])})-> {step[1]}"
                             for step in zip(path, path[1:]))


def _header_edges(files):
    """Return: {(including header, included header): reasons}."""
    edges = {}
    for name, text in files.items():
        for kind, header in csource.includes_of(text) if name.endswith(".h") else ():
            target = csource.resolve(name, kind, header, files)
            if target and target.endswith(".h"):
                edges[name, target] = [f'"{header}"']
    return edges


def _complaints(edges, what):
    for knot, inside in _knots(edges):
        paths = [_describe(path, inside) for path in _paths(inside)]
        if len(paths) > PATHS_MAX:
            paths[PATHS_MAX:] = [f"... and {len(paths) - PATHS_MAX} more"]
        yield " ".join(sorted(knot)), "\n    ".join([f"a circle of {what}", *paths])


def _sources(files, tree):
    return {name: text for name, text in files.items()
            if name.startswith(tree) and name.endswith((".c", ".h"))}


def check_calls(files):
    """Check that the tables of rooms allow each call between rooms, even if the function is
    declared in a public header."""
    public = "".join(text for name, text in files.items() if name.startswith("include/"))
    for (one, other), names in sorted(edges_of(_sources(files, "src/")).items()):
        room, target = rooms.room_of(one), rooms.room_of(other)
        called = [name for name in names if not name.startswith('"')]
        if room and target and target[4:] in rooms.MAY_CALL.get(room[4:], ()):
            called = [name for name in called if not re.search(rf"\b{name}\(", public)]
        if called and room and target and room != target \
                and target[4:] not in rooms.MAY_INCLUDE.get(room[4:], ()):
            yield one, f"uses {_arrow(called)} of {other}: {room[4:]} must not use {target[4:]}"


def check(files):
    """Check that there are no circular dependencies between files, headers or folders."""
    for tree in ("src/", "tools/"):
        sources = _sources(files, tree)
        edges = edges_of(sources)
        yield from _complaints(edges, "files")
        yield from _complaints(_header_edges(sources), "headers")
        folders = collections.defaultdict(list)
        for (one, other), names in edges.items():
            if rooms.room_of(one) != rooms.room_of(other):
                folders[rooms.room_of(one) or one, rooms.room_of(other) or other] += names
        yield from _complaints(folders, "folders")
