# SPDX-License-Identifier: BSD-3-Clause
"""Test that each check of scripts/check-layers.py finds a planted violation, and accepts correct
files."""
import subprocess

import check_layers
import pytest
from check_layers import known

from support.py.paths import SOURCE

SCRIPT = SOURCE / "scripts" / "check-layers.py"

#: (description of the violation, check, correct files, files with the violation, part of the
#: complaint that the check must report)
CASES = [
    ("a room above", "rooms",
     {"src/base/fd.c": '#include "base/fd.h"\n', "src/base/fd.h": "", "src/peer/wait.h": ""},
     {"src/base/fd.c": '#include "peer/wait.h"\n'},
     'src/base/fd.c: includes "peer/wait.h": base must not include it'),
    ("a room above, by the compiler's path", "rooms",
     {"src/base/fd.c": "#include <stdio.h>\n", "src/peer/wait.h": ""},
     {"src/base/fd.c": "#include <peer/wait.h>\n"}, "base must not include it"),
    ("a room beside", "rooms",
     {"src/server/a.c": '#include "roster/roster.h"\n', "src/roster/roster.h": "",
      "src/client/greeting.h": ""},
     {"src/server/a.c": '#include "client/greeting.h"\n'}, "server must not include it"),
    ("a part of a room", "rooms",
     {"src/server/handover/a.c": '#include "server/client.h"\n#include "server/observe/b.h"\n',
      "src/server/a.c": '#include "server/handover/a.h"\n#include "ivshmem/api.h"\n',
      "src/server/handover/a.h": "", "src/server/observe/b.h": "", "src/server/client.h": "",
      "src/device/vmm.h": "", "include/ivshmem/api.h": ""},
     {"src/server/handover/a.c": '#include "device/vmm.h"\n'}, "server must not include it"),
    ("a room that the table lacks", "rooms",
     {"src/base/a.c": '#include "base/b.h"\n', "src/base/b.h": "", "src/util/b.h": ""},
     {"src/base/a.c": '#include "util/b.h"\n'}, "base must not include it"),
    ("a private header of another room", "rooms",
     {"src/server/observe/a.c": '#include "server/private.h"\n', "src/server/private.h": "",
      "tools/server/a.c": '#include "server/server.h"\n', "src/server/server.h": ""},
     {"tools/server/a.c": '#include "server/private.h"\n'}, "it is private to its room"),
    ("a header that does not exist", "rooms",
     {"src/base/a.c": '#include "base/a.h"\n', "src/base/a.h": ""},
     {"src/base/a.c": '#include "base/b.h"\n'}, "the project has no such header"),
    ("another program's folder", "rooms",
     {"tools/server/a.c": '#include "options.h"\n#include "tools/shared/b.h"\n'
                          '#include "base/c.h"\n',
      "tools/server/options.h": "", "tools/shared/b.h": "", "src/base/c.h": "",
      "tools/device/check.h": ""},
     {"tools/server/a.c": '#include "tools/device/check.h"\n'}, "tools/server includes src/, "),
    ("a program's header in shared code", "rooms",
     {"tools/shared/a.c": '#include "tools/shared/a.h"\n', "tools/shared/a.h": "",
      "tools/server/b.h": ""},
     {"tools/shared/a.c": '#include "tools/server/b.h"\n'}, "tools/shared includes src/, "),
    ("src includes tools", "rooms",
     {"src/server/a.c": '#include "base/a.h"\n', "src/base/a.h": "", "tools/shared/ask.h": ""},
     {"src/server/a.c": '#include "tools/shared/ask.h"\n'}, "server must not include it"),
    ("an example that includes more than public headers", "rooms",
     {"examples/meet/a.c": '#include <ivshmem/peer.h>\n#include "meet.h"\n#include <poll.h>\n',
      "examples/meet/meet.h": "", "include/ivshmem/peer.h": "", "src/base/clock.h": ""},
     {"examples/meet/a.c": '#include "base/clock.h"\n'}, "may include public headers only"),
    ("a conformance test that includes more than public headers", "rooms",
     {"test/library/conform/a.c": '#include "conform.h"\n', "test/library/conform/conform.h": "",
      "src/base/clock.h": "", "test/unit/base/clock.c": '#include "base/clock.h"\n'},
     {"test/library/conform/a.c": '#include "base/clock.h"\n'}, "may include public headers only"),

    ("a call through a public header", "calls",
     {"src/server/a.c": "int f(void)\n{\n\treturn ivs_region_open() + g();\n}\n",
      "src/region/region.c": "int ivs_region_open(void)\n{\n}\n",
      "src/server/observe/b.c": "int g(void)\n{\n}\n",
      "src/peer/peer.c": "int ivs_peer_open(void)\n{\n}\n"},
     {"src/server/a.c": "int f(void)\n{\n\treturn ivs_peer_open();\n}\n"},
     "src/server/a: uses ivs_peer_open of src/peer/peer: server must not use peer"),
    ("peers that call each other, all in private.h", "circles",
     {"src/peer/private.h": "int ivs_watch(int fd);\nint ivs_view_open(void);\n",
      "src/peer/core.c": '#include "peer/private.h"\n\nint ivs_watch(int fd)\n{\n}\n',
      "src/peer/view.c": '#include "peer/private.h"\n\nint ivs_view_open(void)\n{\n'
                         "\treturn ivs_watch(1);\n}\n",
      "src/peer/peer.c": '#include "peer/private.h"\n\nint ivs_open(void)\n{\n'
                         "\treturn ivs_view_open();\n}\n"},
     {"src/peer/core.c": "", "src/peer/peer.c":
      '#include "peer/private.h"\n\nint ivs_open(void)\n{\n\treturn ivs_view_open();\n}\n\n'
      "int ivs_watch(int fd)\n{\n}\n"},
     "src/peer/peer -(ivs_view_open)-> src/peer/view -(ivs_watch)-> src/peer/peer"),
    ("three files", "circles",
     {"src/base/a.c": "int a(void)\n{\n\treturn b();\n}\n",
      "src/base/b.c": "int b(void)\n{\n\treturn c(1);\n}\n",
      "src/base/c.c": "int c(int x)\n{\n\treturn x;\n}\n"},
     {"src/base/c.c": "int c(int x)\n{\n\treturn a();\n}\n"},
     "src/base/a -(b)-> src/base/b -(c)-> src/base/c -(a)-> src/base/a"),
    ("a callback", "circles",
     {"src/base/a.c": "static int a(void)\n{\n\treturn b(NULL);\n}\n",
      "src/base/b.c": "int b(int (*f)(void))\n{\n\treturn f();\n}\n"},
     {"src/base/a.c": "int a(void)\n{\n\treturn b(a);\n}\n",
      "src/base/b.c": "static int d(void)\n{\n}\n\nint b(int (*f)(void))\n{\n\tf = a;\n}\n"},
     "src/base/a -(b)-> src/base/b -(a)-> src/base/a"),
    ("a call by an inline function of a private.h", "circles",
     {"src/peer/private.h": "static inline int a1(void)\n{\n\treturn A();\n}\n#define A() a()\n",
      "src/peer/a.c": "int a(void)\n{\n\tb();\n}\n", "src/peer/b.c": "int b(void)\n{\n}\n"},
     {"src/peer/b.c": "int b(void)\n{\n\treturn a1();\n}\n"},
     "src/peer/a -(b)-> src/peer/b -(a)-> src/peer/a"),
    ("a table of operations", "circles",
     {"src/peer/private.h": "extern const struct ivs_ops ivs_ops_unix;\n",
      "src/peer/core.c": "int core(void)\n{\n}\n",
      "src/peer/unix.c": "const struct ivs_ops ivs_ops_unix = {\n\t.open = core,\n};\n",
      "src/peer/peer.c": "int f(void)\n{\n\treturn ivs_ops_unix.open();\n}\n"},
     {"src/peer/core.c": "int core(void)\n{\n\treturn f();\n}\n"},
     "src/peer/peer -(ivs_ops_unix)-> src/peer/unix -(core)-> src/peer/core"),
    ("a list of system calls", "circles",
     {"src/server/syscalls.c": "static void *l[] = {ivs_a_syscalls};\n\nint f(void)\n{\n}\n",
      "src/server/a.c": "IVS_SYSCALLS(ivs_a_syscalls, {\"read\"});\n"},
     {"src/server/a.c": "IVS_SYSCALLS(ivs_a_syscalls, {\"read\"});\nint a(void)\n{\n\tf();\n}\n"},
     "src/server/syscalls -(ivs_a_syscalls)-> src/server/a"),
    ("an include and a call", "circles",
     {"src/base/a.c": '#include "base/a.h"\nint a(void)\n{\n}\n', "src/base/a.h": "int a(void);\n",
      "src/base/b.h": '#include "base/a.h"\n', "src/base/b.c": "int b(void)\n{\n}\n"},
     {"src/base/a.c": '#include "base/a.h"\nint a(void)\n{\n\tb();\n}\n'},
     'src/base/a -(b)-> src/base/b -("base/a.h")-> src/base/a'),
    ("a call in a macro", "circles",
     {"src/base/a.c": "int a(void)\n{\n\treturn b();\n}\n", "src/base/b.c": "int b(void)\n{\n}\n",
      "src/base/b.h": "int a(void);\n/* a() is elsewhere */\n"},
     {"src/base/b.h": "#define B \\\n\ta()\n"}, "src/base/b -(a)-> src/base/a"),
    ("headers that include each other", "circles",
     {"src/base/a.h": "", "src/base/private.h": '#include "base/a.h"\n',
      "src/base/a.c": '#include "base/private.h"\n'},
     {"src/base/a.h": '#include "base/private.h"\n'}, "a circle of headers"),
    ("rooms that call each other", "circles",
     {"src/base/a.c": "int a(void)\n{\n\treturn b();\n}\n", "src/peer/b.c": "int b(void)\n{\n}\n",
      "src/base/c.c": "int c(void)\n{\n}\n"},
     {"src/peer/b.c": "int b(void)\n{\n\treturn c();\n}\n"},
     "a circle of folders\n    src/base -(b)-> src/peer -(c)-> src/base"),
    ("files of a program", "circles",
     {"tools/server/a.c": "int a(void)\n{\n\treturn shared(b());\n}\n",
      "tools/server/b.c": "int b(void)\n{\n}\n",
      "tools/shared/s.c": "int shared(int x)\n{\n}\n",
      "tools/device/a.c": "int a(void)\n{\n}\n", "tools/device/b.c": "int b(void)\n{\n\ta();\n}\n"},
     {"tools/server/b.c": "int b(void)\n{\n\treturn a();\n}\n"},
     "tools/server/a -(b)-> tools/server/b -(a)-> tools/server/a"),
    ("words, members and static functions are not calls", "circles",
     {"src/base/a.c": "int a(void)\n{\n\treturn b();\n}\n",
      "src/base/b.c": "/* a() */\nstatic int c(struct a *x)\n{\n\tputs(\"a()\");\n"
                      "\treturn x->a() + x->y.a;\n}\n\nint b(void)\n{\n\treturn c(0);\n}\n",
      "src/base/c.c": "int d(void)\n{\n\treturn b();\n}\n\nint c(void)\n{\n}\n"},
     {"src/base/b.c": "int b(void)\n{\n\treturn a();\n}\n"}, "src/base/b -(a)-> src/base/a"),

    ("a wide line", "columns", {"src/base/a.c": "\t" + "x" * 92 + "\n"},
     {"src/base/a.c": "\n\t" + "x" * 93 + "\n"}, "src/base/a.c:2: has 101 columns"),
    ("a wide line elsewhere", "columns",
     {"meson.build": "x" * 100, "README.md": "x" * 200, "fuzz/corpus/a.c": "x" * 200},
     {"test/meson.build": "x" * 101}, "test/meson.build:1: has 101 columns"),
    ("a long file", "budgets", {"test/a.py": "\n" * 600}, {"test/a.py": "\n" * 601}, "601 lines"),
    ("a long function", "budgets", {"src/base/a.c": "f()\n{\n" + "\n" * 59 + "}\n"},
     {"src/base/a.c": "f()\n{\n" + "\n" * 60 + "}\n"}, "a.c:2: the function has 61 lines"),
    ("no licence", "licences", {"Makefile": "# SPDX-License-Identifier: BSD-3-Clause\n"},
     {"Makefile": "all:\n", "README.md": "", "LICENSES/x": ""}, "Makefile: has no SPDX line"),
    ("the driver's licence", "licences",
     {"kernel/a.c": "/* SPDX-License-Identifier: GPL-2.0-only */\n"},
     {"kernel/a.c": "/* SPDX-License-Identifier: BSD-3-Clause */\n"}, "must begin with SPDX"),
    ("a header of the programs in the driver", "licences",
     {"kernel/a.c": '/* SPDX-License-Identifier: GPL-2.0-only */\n#include <linux/fs.h>\n'
                    '#include "ivshmem/driver.h"\n'},
     {"kernel/a.c": '/* SPDX-License-Identifier: GPL-2.0-only */\n#include "base/fd.h"\n'},
     'the driver must not include "base/fd.h"'),
    ("exit() in src", "exits",
     {"src/base/a.c": "/* exit(1) */\nint f(void)\n{\n\tmy_exit(1);\n}\n"},
     {"src/base/a.c": "int f(void)\n{\n\t_exit(1);\n}\n", "tools/server/a.c": "exit(1)"},
     "src/base/a.c: calls _exit()"),

    ("a list that no filter has", "syscalls",
     {"src/base/a.c": "IVS_SYSCALLS(ivs_a_syscalls, {\"read\"});\n",
      "src/server/syscalls.c": "x = ivs_a_syscalls;\n"},
     {"src/server/syscalls.c": "/* ivs_a_syscalls */\n"}, "ivs_a_syscalls is in no filter"),
    ("a rule that is cited nowhere", "rules",
     {"PROTOCOL.md": "**W-1** a\n**W-2** b\n", "test/a.py": "# W-1 to W-2\n"},
     {"test/a.py": "# W-1\n"}, "W-2 is cited in no code"),
    ("a rule that does not exist", "rules",
     {"PROTOCOL.md": "**W-1** a\n", "test/a.py": "# W-1\n"},
     {"src/base/a.c": "/* W-3 */\n"}, "cites W-3, which"),

    ("codes of two enums", "returns",
     {"src/base/a.h": "/**\n * f() - open\n *\n * Return: 0, IVS_A_E_X, _Y, IVS_A_E_Z,\n"
                      " * -errno.\n *\n * Not IVS_B_E_X.\n */\nint f(void);\n"},
     {"src/base/a.h": "/**\n * f() - open\n *\n * Return: 0, IVS_A_E_X,\n * IVS_B_E_*, -errno.\n"
                      " */\nint f(void);\n"},
     "f() returns codes of 2 enums: IVS_A_E_*, IVS_B_E_*"),
    ("codes of two enums, documented once for several functions", "returns",
     {"src/base/a.h": "/* a.c. Return: 0, IVS_A_E_X. */\n\n/** f() - it */\nint f(void);\n"},
     {"src/base/a.h": "/* Return: IVS_A_E_X, IVS_B_E_X. */\n\n/** f() - it */\nint f(void);\n"},
     "this returns codes of 2 enums"),
    ("codes of another function's enum", "returns",
     {"src/base/a.h": "/** f() - open. Return: 0, IVS_A_E_X. */\nint f(void);\n",
      "src/base/a.c": "/* Return: as f(). */\nstatic int g(void)\n{\n}\n\n"
                      "/* Return: what g() does, IVS_A_E_Z. */\nint h(void)\n{\n}\n"},
     {"src/base/a.h": "/** f() - open. Return: 0, IVS_B_E_X. */\nint f(void);\n"},
     "h() returns codes of 2 enums: IVS_A_E_*, IVS_B_E_* by g() by f()"),
    ("a function that returns codes of two enums", "bodies",
     {"src/base/a.c": "int f(void)\n{\n\tint result = IVS_A_E_X;\n\n\tif (g() == IVS_B_E_X)\n"
                      "\t\treturn h(err, IVS_A_E_Y);\n"
                      "\treturn result == IVS_B_E_Y ? IVS_A_E_Y : 0;\n}\n\n"
                      "int g(void)\n{\n\treturn IVS_B_E_X;\n}\n"},
     {"src/base/a.c": "int f(void)\n{\n\tint result = IVS_A_E_X;\n\n\tif (g())\n"
                      "\t\treturn h(err,\n\t\t         IVS_B_E_X);\n\treturn result;\n}\n"},
     "f() returns codes of 2 enums: IVS_A_E_*, IVS_B_E_*"),
    ("one prefix in two headers", "enums",
     {"src/base/a.h": "enum ivs_a_error {\n\tIVS_A_E_X = 1, /* IVS_B_E_X */\n\tIVS_A_E_Y,\n};\n",
      "src/base/b.h": "enum ivs_b_error { IVS_B_E_X = 1 };\n#define IVS_B_E_MORE 2\n"},
     {"src/peer/c.h": "#define IVS_A_E_MORE 3\n"},
     "src/base/a.h src/peer/c.h: both define codes IVS_A_E_*"),
    ("a second name for the ids", "limits",
     {"include/ivshmem/registers.h": "#define IVS_ID_MAX 65535\n",
      "src/roster/private.h": "#define IDS_N (IVS_ID_MAX + 1)\n",
      "test/a.c": "#define LEN 65536\n"},
     {"src/base/a.h": "#define IVS_PEERS_MAX 65535u\n"}, "IVS_PEERS_MAX is 65535u: use the name"),
    ("a second name for a sum", "limits", {"src/base/a.h": "#define IDS_N (IVS_ID_MAX + 1)\n"},
     {"src/base/b.c": "#define IDS_MAX (IVS_ID_MAX + 1)\n"},
     "IDS_MAX in src/base/b.c and IDS_N in src/base/a.h: a second name for IVS_ID_MAX + 1"),
    ("an alias", "limits", {"src/base/a.h": "#define IDS_N (IVS_ID_MAX + 2)\n"},
     {"src/base/a.h": "#define IDS_N IVS_ID_MAX\n"}, "a second name for IVS_ID_MAX"),
    ("a second name for the vectors", "limits",
     {"src/base/a.h": "#define NAME_LEN 256\n#define VECTORS_N 255\n"},
     {"src/base/a.h": "#define IVS_SERVER_VECTORS_MAX 2048\n"}, "IVS_SERVER_VECTORS_MAX is 2048"),
    ("an old name of a private header", "private", {"src/peer/private.h": "int f(void);\n"},
     {"src/peer/state.h": ""}, "src/peer/state.h: a private header must be called private.h"),
    ("a header without a .c of its name", "private",
     {"src/peer/a.h": "int f(void);\n", "src/peer/a.c": "",
      "src/base/bitmap.h": "static inline int g(int x)\n{\n\treturn h(x);\n}\n"},
     {"src/peer/b.h": "#include <stdio.h>\n\nint g(int x,\n      int y);\n"},
     "declares g but has no .c of its name"),
    ("a private.c", "private", {"src/peer/private.h": ""}, {"src/peer/private.c": ""}, "no .c"),
]


def planted(good, change):
    return dict(sorted({**good, **change}.items()))


@pytest.mark.parametrize("check, good, change, said", [case[1:] for case in CASES],
                         ids=[f"{case[1]}: {case[0]}" for case in CASES])
def test_planted(check, good, change, said):
    """A check accepts the correct files, and reports exactly one complaint about the violation."""
    assert check_layers.complaints_of(check, good) == []
    complaints = check_layers.complaints_of(check, planted(good, change))
    assert len(complaints) == 1
    assert said in complaints[0]


def rooms_tree():
    return {f"{room}/a.c": "" for room in
            [f"src/{room}" for room in check_layers.rooms.MAY_INCLUDE]
            + [check_layers.rooms.SHARED, *check_layers.rooms.PROGRAMS, "examples",
               "test/library/conform"]}


def test_folders(monkeypatch):
    """The check "folders" complains about a room that is missing from the table or from the
    tree."""
    tree = rooms_tree()
    assert check_layers.complaints_of("folders", {**tree, "src/server/observe/a.c": ""}) == []
    for name in ("src/util/a.c", "src/a.c", "tools/fourth/a.c", "tools/a.c"):
        (complaint,) = check_layers.complaints_of("folders", {**tree, name: ""})
        assert "add the room to the table" in complaint
    for name in ("src/pci/a.c", "tools/device/a.c", "examples/a.c"):
        (complaint,) = check_layers.complaints_of(
            "folders", {other: "" for other in tree if other != name})
        assert name.removesuffix("/a.c") in complaint and "but has no source" in complaint
    monkeypatch.setitem(check_layers.rooms.MAY_INCLUDE, "base", {"peer"})
    (complaint,) = check_layers.complaints_of("folders", tree)
    assert "base -> peer, which is not above it" in complaint


def matching(pattern):
    """Return: the name of a file that matches the pattern."""
    return pattern.replace("*", "a" if "." in pattern else "a.c")


def pure_tree():
    shape = check_layers.shape
    tree = {matching(pattern): "#include <string.h>\n" for pattern in shape.PURE}
    for pattern, header in shape.PURE_EXCEPTIONS:
        tree[matching(pattern)] += f"#include <{header}>\n"
    return tree


def test_pure():
    """The check "pure" complains about a pure file that is missing or includes a header that is not
    pure, and about an exception that is not used."""
    tree = pure_tree()
    assert check_layers.complaints_of("pure", tree) == []
    assert check_layers.complaints_of("pure", {**tree, "src/pci/b.c": "#include <unistd.h>\n"}) \
        == ["src/pci/b.c: is listed as pure, but includes <unistd.h>"]
    assert check_layers.complaints_of("pure", {**tree, "src/base/parse.c": ""}) == [
        "src/base/parse.c: no longer includes <stdio.h>: remove it from PURE_EXCEPTIONS"]
    del tree["src/base/bitmap.h"]
    assert check_layers.complaints_of("pure", tree) == [
        "src/base/bitmap.h: is listed as pure, but does not exist"]


LANGUAGE = [
    ("a.c", "/*\n * A client\n * who is\n * gone.\n */\n", [(3, "who is")]),
    ("a.c", "/* Users who read, and those who have it mapped */\nint who_is;\n", []),
    ("a.h", "/* roster: who is connected */\n/* a client that is gone, there is no other */\n", []),
    ("a.c", '\n\tlog("%s is "\n\t    "no socket");\n', [(2, "is no socket")]),
    ("a.c", "int anew = '\"'; /* it is no longer there; it is not there */\n", []),
    ("a.py", '"""What is\ngone on with."""\nanew = f(x)  # by now\n',
     [(1 + 1, "gone on with"), (3, "by now")]),
    ("a.py", "def f():\n    # it has gone on\n    # with all\n    return 'of use'\n",
     [(2, "gone on with"), (4, "of use")]),
    ("a.sh", "#!/bin/sh\nanew=1 # again, likewise\necho \"one's own\"\n",
     [(2, "likewise"), (3, "one's own")]),
    ("A.md", "It goes\non with it.\n\n    anew = 1\n\n```\nanew\n```\n`anew` - whoever\n",
     [(1, "goes on with"), (9, "whoever")]),
    ("a.1.scd", "*a*\n\tLikewise.\n", [(2, "Likewise")]),
]


@pytest.mark.parametrize("name, text, found", LANGUAGE)
def test_language(name, text, found):
    """The check "language" finds phrases in comments, strings and prose, even across lines, but not
    in code."""
    assert [(line, words) for line, words, _ in
            check_layers.language.findings_in(name, text)] == found
    assert len(check_layers.complaints_of("language", {name: text})) == len(found)
    assert check_layers.complaints_of("language", {"scripts/check_layers/" + name: text}) == []


def test_every_check_is_tested():
    """Each check has a planted violation in this file."""
    assert {case[1] for case in CASES} | {"folders", "pure", "language"} == {*check_layers.CHECKS}


def test_exceptions():
    """An exception suppresses the complaints that it matches; one that matches nothing is a
    complaint."""
    found = {"exits": ["src/base/a.c: calls exit()", "src/base/b.c: calls exit()"], "rules": []}
    assert known.without_known(found, [("exits", "base/a.c", "why")]) == {
        "exits": ["src/base/b.c: calls exit()"], "rules": []}
    left = known.without_known(found, [("rules", "W-1", "why")])
    assert left["exits"] == found["exits"]
    assert "no longer occurs: remove the entry" in left["rules"][0]


def test_counted():
    """A check in COUNTED reports the number of its complaints, but does not fail."""
    tree = {**rooms_tree(), **pure_tree()}
    tree = {name: "/* SPDX-License-Identifier: BSD-3-Clause */\n" + text
            for name, text in tree.items()}
    tree["src/pci/a.c"] += "/* anew */\n"
    assert check_layers.run(tree, (), ("language",)) == ([], {"language": 1})
    assert check_layers.run(tree, (), ()) == (['src/pci/a.c:3: "anew": again'], {})


def test_program(tmp_path):
    """The program reads all files that git does not ignore. Its exit status is 1 if there are
    complaints."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("ignored.c\n")
    (tmp_path / "ignored.c").write_text("\n")
    (tmp_path / "a.c").write_text("/* anew */\n")
    for options, said in [((), "a.c: has no SPDX line\n"), (("--only", "licences"), "a.c: has no "),
                          (("--only", "language"), 'a.c:1: "anew"')]:
        done = subprocess.run([SCRIPT, *options, tmp_path], capture_output=True, text=True,
                              timeout=60, check=False)
        assert (done.returncode, done.stderr) == (1, "")
        assert said in done.stdout and "ignored.c" not in done.stdout
    done = subprocess.run([SCRIPT, "--only", "exits", tmp_path], capture_output=True, text=True,
                          timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "layers: 2 files pass\n")


def test_sources():
    """The project's own sources pass all checks."""
    done = subprocess.run([SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
