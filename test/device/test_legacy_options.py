# SPDX-License-Identifier: BSD-3-Clause
"""Option strings of QEMU's legacy device, as accepted by --legacy, and the devices that result from
them."""
import os
import struct

import pytest

from support.py import vfio_user as vfu
from support.py.control import ask_once
from support.py.device import Devices
from support.py.vfio_user import BAR0, BAR1, BAR2, CONFIG, INTX, MSIX, Client

MIB = 1 << 20

BAD = [
    ("", "it needs shm=NAME, or chardev=PATH with the path of a server's socket"),
    ("ivshmem,", "it needs shm=NAME"),
    ("ivshmem", "unknown option ivshmem: use size, shm, chardev"),
    ("size=4M", "it needs shm=NAME"),
    ("msi=on,ioeventfd=on,vectors=2", "it needs shm=NAME"),
    ("shm={shm},chardev={dir}/s", "it has both shm={shm} and chardev={dir}/s: use one of them"),
    ("chardev={dir}/s,shm={shm}", "it has both shm={shm} and chardev={dir}/s: use one of them"),
    ("shm=", "shm=: it is empty or too long"),
    ("chardev=", "chardev=: it is empty or too long"),
    ("size=4M,shm", "shm has no value: use shm=NAME or chardev=PATH"),
    ("chardev=unix:/run/s", 'chardev=unix:/run/s: omit "unix:"'),
    ("chardev=unix:./s", 'chardev=unix:./s: omit "unix:"'),
    ("chardev,vectors=2", "chardev has no value: use shm=NAME or chardev=PATH"),
    ("shm=" + "n" * 256, "it is empty or too long"),
    ("shm=" + "n" * 300, 'the option "shm=nnnnnnnnnnnnnnnn..." is too long'),
    ("chardev=iv,vectors=2",
     "chardev=iv: use the path of a server's socket; if this is one, use ./iv"),
    ("chardev=/" + "p" * 107, "it is empty or too long"),
    ("shm={shm},size=0",
     "size=0: use a power of two with K, M, G or T, such as 4M (a plain number is in MiB)"),
    ("shm={shm},size=3", "size=3: use a power of two"),
    ("shm={shm},size=3M", "size=3M: use a power of two"),
    ("shm={shm},size=", "size=: use a power of two"),
    ("shm={shm},size=-4", "size=-4: use a power of two"),
    ("shm={shm},size=4MB", "size=4MB: use a power of two"),
    ("shm={shm},size=4 M", "size=4 M: use a power of two"),
    ("shm={shm},size=0x4", "size=0x4: use a power of two"),
    ("shm={shm},size", "size has no value: use size=4M"),
    ("shm={shm},size=17592186044416", "size=17592186044416: use a power of two"),
    ("shm={shm},size=18446744073709551616", "size=18446744073709551616: use a power of two"),
    ("shm={shm},size=16777216T", "size=16777216T: use a power of two"),
    ("shm={shm},vectors=0", "vectors=0: use 1 to 2048"),
    ("shm={shm},vectors=2049", "vectors=2049: use 1 to 2048"),
    ("shm={shm},vectors=two", "vectors=two: use 1 to 2048"),
    ("shm={shm},vectors=", "vectors=: use 1 to 2048"),
    ("shm={shm},vectors", "vectors=on: use 1 to 2048"),
    ("shm={shm},msi=maybe", "msi=maybe: use on or off"),
    ("shm={shm},msi=", "msi=: use on or off"),
    ("shm={shm},msi=ON", "msi=ON: use on or off"),
    ("shm={shm},ioeventfd=2", "ioeventfd=2: use on or off"),
    ("shm={shm},use64=x", "use64=x: use on or off"),
    ("chardev={dir}/s,ioeventfd=on,msi=off", "ioeventfd=on needs msi=on"),
    ("chardev={dir}/s,msi=off,ioeventfd", "ioeventfd=on needs msi=on"),
    ("shm={shm},role=slave", "role=slave: use peer or master"),
    ("shm={shm},role=", "role=: use peer or master"),
    ("shm={shm},role", "role=on: use peer or master"),
    ("shm={shm},id=iv0", "id=iv0 is an option of the VMM: pass it to the VMM"),
    ("id=iv0,shm={shm}", "id=iv0 is an option of the VMM"),
    ("shm={shm},bus=pci.0", "bus=pci.0 is an option of the VMM"),
    ("shm={shm},addr=05.0", "addr=05.0 is an option of the VMM"),
    ("shm={shm},multifunction=on", "multifunction=on is an option of the VMM"),
    ("x-memdev=mem0", "x-memdev=mem0 names an object in QEMU: use --region file:PATH"),
    ("shm={shm},nonsense", "unknown option nonsense: use size, shm, chardev, vectors, msi, "
     "ioeventfd, use64 or role"),
    ("shm={shm},nonsense=1", "unknown option nonsense: "),
    ("shm={shm},Size=4", "unknown option Size: "),
    ("shm={shm}, size=4", 'unknown option " size": omit the spaces'),
    (",shm={shm}", "unknown option : "),
    ("ivshmem,ivshmem,shm={shm}", "unknown option ivshmem: "),
    ("ivshmem-plain,shm={shm}", "unknown option ivshmem-plain: "),
    ("shm={shm},=1", "unknown option : "),
    ("shm={shm},,size=4M,msi=maybe", "msi=maybe: use on or off"),
]


@pytest.mark.parametrize("options, message", BAD, ids=range(len(BAD)))
def test_bad_strings_are_refused(place, options, message):
    """A bad string results in exit status 2 and one line that contains the string and the error."""
    names = {"dir": place.dir, "shm": place.shm}
    options = options.format(**names)
    done = place.run_device("--socket", place.dir / "vmm", "--legacy", options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f'ivshmem-device: invalid --legacy "{options}": ')
    assert message.format(**names) in done.stderr and done.stderr.count("\n") == 1
    assert os.listdir(place.dir) == [] and not place.shm_path.exists()


# Each row: the option string, and how the device differs from its test's default.
SHM = [
    ("shm={shm}", {}),
    ("ivshmem,shm={shm}", {}),
    ("shm={shm},", {}),
    ("shm={shm},size=4M", {}),
    ("shm={shm},size=4m", {}),
    ("shm={shm},size=4", {}),
    ("size=1,shm={shm}", {"size": MIB}),
    ("size=2,shm={shm}", {"size": 2 * MIB}),
    ("size=004,shm={shm}", {}),
    ("size=64K,shm={shm}", {"size": 65536}),
    ("size=4K,shm={shm}", {"size": 4096}),
    ("size=1M,size=2M,shm={shm}", {"size": 2 * MIB}),
    ("shm=other,shm={shm}", {}),
    ("shm={shm},use64=0", {"wide": False}),
    ("shm={shm},use64=off", {"wide": False}),
    ("shm={shm},use64=1", {}),
    ("shm={shm},use64", {}),
    ("shm={shm},msi", {}),
    ("shm={shm},msi=yes", {}),
    ("shm={shm},ioeventfd=off", {}),
    ("shm={shm},ioeventfd=on", {}),
    ("shm={shm},role=peer", {"role": "peer"}),
    ("shm={shm},role=master", {}),
    ("shm={shm},vectors=8", {}),
    ("shm={shm},,comma", {"suffix": ",comma"}),
    ("shm={shm},,size=1M", {"suffix": ",size=1M"}),
]

CHARDEV = [
    ("chardev={dir}/s", {}),
    ("chardev={dir}/s,size=1", {"size": MIB}),
    ("size=1,vectors=2,chardev={dir}/s,msi=on,ioeventfd=on", {"size": MIB, "vectors": 2}),
    ("ivshmem,chardev={dir}/s,vectors=2048", {"vectors": 2048}),
    ("chardev={dir}/s,ioeventfd=on", {}),
    ("chardev={dir}/s,msi=no", {"vectors": 0, "intx": True}),
    ("chardev={dir}/s,msi=off,vectors=2", {"vectors": 0, "intx": True}),
    ("chardev={dir}/s,msi=0,ioeventfd=0", {"vectors": 0, "intx": True}),
    ("chardev={dir}/s,role=master", {"role": "master"}),
    ("chardev={dir}/s,role=peer", {}),
    ("chardev={dir}/s,use64=0", {"wide": False}),
]


def check(place, options, expected):
    """Start a device with these options, and check what its VMM and its status show."""
    control = place.dir / "control"
    running = Devices(place, "--control", control, "--socket", place.dir / "vmm", "--legacy",
                      options.format(dir=place.dir, shm=place.shm))
    with Client(place.dir / "vmm") as client:
        client.start()
        config = client.read(CONFIG, 0, 256)
        low, = struct.unpack_from("<I", config, 0x18)
        assert config[8] == 0, "the revision"
        assert low & 0xf == (0xc if expected["wide"] else 0x8) & (low | 0x4), hex(low)
        assert bool(low & 4) == expected["wide"]
        assert config[0x3d] == 1
        assert client.region_info(BAR1)[1] == (
            0 if not expected["vectors"] else max(4096, 2 * 16 * expected["vectors"]))
        assert client.irq_info(MSIX)[1] == expected["vectors"]
        assert client.irq_info(INTX)[1] == 1
        assert client.read32(BAR0, vfu.IV_POSITION) == expected["position"]
        flags, size, _, fd = client.region_info(BAR2)
        assert size == expected["size"] and (fd is not None) == expected["attached"]
        assert flags == (7 if expected["attached"] else 3)
        if fd is not None:
            os.close(fd)
        one, = ask_once(control)["devices"]
    assert (one["revision"], one["role"], one["vectors"], one["intx"]) == (
        0, expected["role"], expected["vectors"], expected["intx"])
    assert (one["memory"]["size"], one["memory"]["attached"]) == (
        expected["size"], expected["attached"])
    running.stop()


@pytest.mark.parametrize("options, differs", SHM, ids=range(len(SHM)))
def test_legacy_device_with_memory(place, options, differs):
    """With shm= the device has memory and no interrupts, and is a master unless configured
    otherwise."""
    suffix = differs.get("suffix", "")
    check(place, options, {"size": 4 * MIB, "vectors": 0, "intx": False, "wide": True,
                           "role": "master", "position": 0, "attached": True, **differs})
    path = place.shm_path.with_name(place.shm + suffix)
    assert path.stat().st_size == differs.get("size", 4 * MIB)


@pytest.mark.parametrize("options, differs", CHARDEV, ids=range(len(CHARDEV)))
def test_legacy_device_before_its_server(place, options, differs):
    """With chardev= the device can start before its server. IVPosition reads -1 until the server
    starts."""
    check(place, options, {"size": 4 * MIB, "vectors": 1, "intx": False, "wide": True,
                           "role": "peer", "position": 0xffffffff, "attached": False, **differs})


@pytest.mark.parametrize("more", [[], ["--read-only"], ["--window", "1M,1M"]])
def test_legacy_memory_may_be_larger_than_size(place, more):
    """As in QEMU, existing memory may be larger than size=, and its size is not changed. Smaller
    memory is an error."""
    place.shm_path.write_bytes(bytes(MIB) + b"first" + bytes(MIB - 5))
    running = Devices(place, "-S", place.dir / "vmm", "--legacy", f"size=1,shm={place.shm}", *more)
    with Client(place.dir / "vmm") as client:
        assert client.region_info(BAR2)[1] == MIB
        assert client.read(BAR2, 0, 5) == (b"first" if "--window" in more else bytes(5))
    running.stop()
    assert place.shm_path.stat().st_size == 2 * MIB
    done = place.run_device("-S", place.dir / "vmm", "--legacy", f"size=4,shm={place.shm}")
    assert done.returncode == 1 \
        and "cannot map 4M from offset 0 of a region of 2M: choose a smaller size=" in done.stderr
    assert place.shm_path.stat().st_size == 2 * MIB


def test_role_option_overrides_the_string(place):
    """--role takes precedence over role= in the string, in either order."""
    for options in (["--role", "peer", "--legacy", f"shm={place.shm},role=master"],
                    ["--legacy", f"shm={place.shm},role=master", "--role", "peer"]):
        running = Devices(place, "--control", place.dir / "c", "-S", place.dir / "vmm", *options)
        assert ask_once(place.dir / "c")["devices"][0]["role"] == "peer"
        running.stop()


def test_too_large_32_bit_bar_is_refused(place):
    """A size that is too large for a 32-bit BAR is refused before memory is allocated."""
    done = place.run_device("-S", place.dir / "vmm", "--legacy", f"shm={place.shm},use64=0,size=4G")
    assert done.returncode == 2
    assert "use64=0" in done.stderr and "2G" in done.stderr
    assert not place.shm_path.exists()
