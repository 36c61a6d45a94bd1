# SPDX-License-Identifier: BSD-3-Clause
"""Check that each room (folder of src/ or tools/) includes only headers of the rooms that it may
use."""
from check_layers import csource

#: Room of src/ -> other rooms whose headers it may include. Each of these is listed above the room.
#: Folders inside a room (server/handover, server/observe) belong to that room. Every room may
#: include public headers.
MAY_INCLUDE = {
    "base": set(),
    "daemon": {"base"},
    "protocol": {"base"},
    "region": {"base"},
    "pci": {"base"},
    "host": {"region", "base"},
    "doctor": {"host", "base"},
    "config": {"base"},
    "image": {"base"},
    "migration": {"base"},
    "looking_glass": {"base"},
    "qmp": {"base"},
    "roster_page": {"region", "base"},
    "roster": {"protocol", "base"},
    "client": {"protocol", "base"},
    "vfio_user": {"pci", "daemon", "base"},
    "peer": {"client", "roster_page", "region", "protocol", "base"},
    "channel": {"base"},
    "server": {"roster", "roster_page", "protocol", "region", "daemon", "base"},
    "device": {"vfio_user", "pci", "client", "protocol", "region", "daemon", "base"},
}

#: Room of src/ -> rooms whose public functions (declared in include/) it may also call
MAY_CALL = {"channel": {"peer"}}

#: Rooms of tools/: one for each program, and one for code that the programs share
SHARED = "tools/shared"
PROGRAMS = ("tools/server", "tools/device", "tools/client", "tools/ivshmem")

#: Code that may include only public headers, as programs of the library's users do
PUBLIC_ONLY = ("examples/", "test/library/conform/")


def room_of(name):
    """Return: the room of a file (src/server/observe/status.c -> src/server), or None if it is in
    no room."""
    parts = name.split("/")
    return "/".join(parts[:2]) if parts[0] in ("src", "tools") and len(parts) > 2 else None


def _check_of_src(room, target):
    other = room_of(target)
    if other == room or target.startswith("include/"):
        return None
    if target.startswith("src/") and other and other[4:] in MAY_INCLUDE.get(room[4:], ()):
        return None
    return f"{room[4:]} must not include it"


def _check_of_tools(room, target):
    other = room_of(target)
    if other in (room, SHARED) or target.startswith(("include/", "src/")):
        return None
    return f"{room} includes src/, {SHARED} and its own folder only"


def _check_public_only(name, target):
    own = next(place for place in PUBLIC_ONLY if name.startswith(place))
    if target.startswith(("include/", own)):
        return None
    return f"{own} may include public headers only"


def _check_target(name, target):
    """Return: why @name must not include @target, or None if it may."""
    room = room_of(name)
    if target.endswith("/private.h") and room_of(target) != room and room:
        return "it is private to its room"
    if name.startswith("src/") and room:
        return _check_of_src(room, target)
    if name.startswith("tools/") and room:
        return _check_of_tools(room, target)
    if name.startswith(PUBLIC_ONLY):
        return _check_public_only(name, target)
    return None


def check_includes(files):
    """Check that the table of rooms allows each include."""
    for name, text in files.items():
        if not name.endswith((".c", ".h")) or not name.startswith(("src/", "tools/") + PUBLIC_ONLY):
            continue
        for kind, header in csource.includes_of(text):
            target = csource.resolve(name, kind, header, files)
            if target:
                wrong = _check_target(name, target)
            else:
                wrong = "the project has no such header" if kind == '"' else None
            if wrong:
                yield name, f'includes "{header}": {wrong}'


def check_folders(files):
    """Check that the table and the tree have the same rooms, and that the table has no cycle."""
    found = {room_of(name) or name for name in files
             if name.startswith(("src/", "tools/")) and name.endswith((".c", ".h"))}
    expected = {"src/" + room for room in MAY_INCLUDE} | {SHARED, *PROGRAMS}
    for room in sorted(found - expected):
        yield room, "add the room to the table in scripts/check_layers/rooms.py, or move it"
    for room in sorted(expected - found):
        yield "scripts/check_layers/rooms.py", f"{room} is in the table but has no source"
    for place in PUBLIC_ONLY:
        if not any(name.startswith(place) for name in files):
            yield "scripts/check_layers/rooms.py", f"{place} is in PUBLIC_ONLY but has no source"
    above = set()
    for room, others in MAY_INCLUDE.items():
        for other in sorted(others - above):
            yield "scripts/check_layers/rooms.py", f"{room} -> {other}, which is not above it"
        above.add(room)
