# SPDX-License-Identifier: BSD-3-Clause
"""Check udev rules with `udevadm verify`, which this machine's systemd may not have yet."""

_SCRIPT = """
for group in ivshmem kvm video; do
	getent group $group >/dev/null || echo $group:x:$((id += 1)): >>/etc/group
done
echo operator:x:77:77::/:/bin/sh >>/etc/passwd
udevadm verify /build/*.rules || true
"""


def verify(folder, files, directory):
    """Verify udev rules with the udevadm of a release.Folder. files: {name without .rules: text};
    directory: an empty directory, to which the files are written. The users and groups that the
    rules name must exist. Return: the names of the files with an error or a style problem, and
    udevadm's output."""
    for name, text in files.items():
        (directory / f"{name}.rules").write_text(text, encoding="utf-8")
    said = folder.run(["sh", "-ec", _SCRIPT], 120, build=directory, lines=400)
    wrong = {name for name in files if f"/build/{name}.rules: udev rules " in said}
    assert f"{len(files)} udev rules files have been checked" in said, said
    assert f"Fail:    {len(wrong)}" in said, said
    return wrong, said
