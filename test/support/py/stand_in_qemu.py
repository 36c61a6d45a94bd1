#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for QEMU's monitor, run as a program of its own, for behaviour that the installed
QEMUs cannot show.

usage: stand_in_qemu.py SOCKET SETTINGS

SETTINGS is a JSON object:
    version   [7, 2, 22]
    kvm       whether query-kvm says that KVM is enabled
    state     what query-status says
    ports     the number of free ports, rp0 and so on
    devices   {id: [driver, {property: value}]}: the initial devices
    objects, chardevs
              lists of ids: the initial objects and chardevs
    enabled   whether the guest enables devices that are plugged in
    release   what device_del leads to: "deleted" (an event), "silent" (deleted without an event),
              "refused" (by the guest), "never", "busy" (for three requests), "always busy",
              "pending" (rejected because a request is pending, then deleted)
    fail      {command: kind}; kind is "refuse", "hang" or "close". The first such command fails;
              "COMMAND#2" stands for the second one
    released_after
              a command ("COMMAND#2": the second such command) after which the guest releases all
              devices, as if requests were pending, without an event
    unplugs   number of devices that the guest unplugs as soon as they are plugged in
    busy_backends
              number of requests to remove a chardev or object that are rejected as premature
    late_blocks
              how often "info ramblock" shows the memory of a device that is gone
    high_fd   the number of an additional fd that is open
    fds       open this number of fds with each doorbell device, and close them with the device
"""
import array
import contextlib
import json
import os
import resource
import socket
import sys


class Refused(Exception):
    """A command fails, with a class and a description."""


class Monitor:
    """The state of the stand-in."""

    def __init__(self, settings):
        self.settings = {"version": [7, 2, 22], "kvm": False, "state": "running", "ports": 1,
                         "enabled": True, "release": "deleted", "fail": {}, "fds": 0, **settings}
        self.devices = {f"rp{at}": ["pcie-root-port", {"chassis": at + 1, "slot": at + 1}]
                        for at in range(self.settings["ports"])}
        self.devices.update(settings.get("devices", {}))
        self.objects = list(settings.get("objects", []))
        self.chardevs = list(settings.get("chardevs", []))
        self.counts = {}
        self.fds = {}
        self.kept = []
        self.closed = []
        self.requests = 0
        self.events = []

    def run(self, command, arguments, fds):
        """Run a command. Return: its result."""
        if command == "getfd":
            self.kept += fds
            return {}
        name = "do_" + command.replace("-", "_")
        if not hasattr(self, name):
            raise Refused("CommandNotFound", f"The command {command} has not been found")
        return getattr(self, name)(**{key.replace("-", "_"): value
                                      for key, value in arguments.items()})

    def do_qmp_capabilities(self):
        return {}

    def do_query_kvm(self):
        return {"enabled": self.settings["kvm"], "present": True}

    def do_query_status(self):
        state = self.settings["state"]
        return {"status": state, "running": state == "running", "singlestep": False}

    def do_device_list_properties(self, typename):
        if typename == "vfio-user-pci" and self.settings["version"] < [10, 1]:
            raise Refused("DeviceNotFound", f"Device '{typename}' not found")
        return []

    def do_qom_list(self, path):
        parts = path.strip("/").split("/")
        if path == "/objects":
            return [child(name, "memory-backend-file") for name in self.objects]
        if path == "/machine/peripheral-anon":
            return []
        if path == "/machine/peripheral":
            return [child(name, kind) for name, (kind, _) in reversed(self.devices.items())]
        if len(parts) == 3:
            return [child(parts[2], "PCIE")]
        return [{"name": "child[0]", "type": f"link<{kind}>"}
                for kind, properties in self.devices.values() if properties.get("bus") == parts[3]]

    def do_qom_get(self, path, property):
        if path == "/machine":
            return "pc-q35-7.2-machine"
        value = self.devices[path.rsplit("/", 1)[1]][1].get(property)
        if value is None:
            raise Refused("GenericError", f"Property '{property}' not found")
        return f"/objects/{value}" if property == "memdev" else value

    def do_query_pci(self):
        bars = [0, 1, 2] if self.settings.get("doorbell_bars") else [0, 2]
        address = 4096 if self.settings["enabled"] else -1
        return [{"bus": 0, "devices": [
            {"qdev_id": name, "regions": [{"bar": bar, "address": address, "size": 4096}
                                          for bar in bars]} for name in self.devices]}]

    def do_query_chardev(self):
        return [{"label": name, "filename": "unix:", "frontend-open": True}
                for name in self.chardevs]

    def do_human_monitor_command(self, command_line):
        """Show the memory of the doorbell devices, and perhaps that of one that is gone."""
        assert command_line == "info ramblock"
        late = self.settings.get("late_blocks", 0)
        self.settings["late_blocks"] = max(late - 1, 0)
        doorbells = sum(kind == "ivshmem-doorbell" for kind, _ in self.devices.values())
        return "".join(f"0000:00:{at:02x}.0/ivshmem.bar2    4 KiB\r\n"
                       for at in range(doorbells + bool(late)))

    def do_object_add(self, id, **_):
        self.objects.append(id)
        return {}

    def check_backend(self, text):
        """Fail if QEMU would not remove a backend yet."""
        left = self.settings.get("busy_backends", 0)
        self.settings["busy_backends"] = max(left - 1, 0)
        if left:
            raise Refused("GenericError", text)

    def do_object_del(self, id):
        self.check_backend(f"object '{id}' is in use, can not be deleted")
        self.objects.remove(id)
        return {}

    def do_chardev_add(self, id, **_):
        self.chardevs.append(id)
        return {}

    def do_chardev_remove(self, id):
        self.check_backend(f"Chardev '{id}' is busy")
        self.chardevs.remove(id)
        return {}

    def do_device_add(self, driver, id, **properties):
        self.devices[id] = [driver, properties]
        self.open_fds(id)
        if self.settings.get("unplugs", 0):
            self.settings["unplugs"] -= 1
            self.delete(id)
            self.events.append({"event": "DEVICE_DELETED", "data": {
                "device": id, "path": f"/machine/peripheral/{id}"}})
        return {}

    def open_fds(self, name):
        self.fds[name] = [os.open("/dev/null", os.O_RDONLY) for _ in range(self.settings["fds"])]

    def delete(self, name):
        del self.devices[name]
        for fd in self.fds.pop(name, []):
            os.close(fd)
            self.closed.append(fd)

    def delete_all(self):
        for name in [name for name in self.devices if not name.startswith("rp")]:
            self.delete(name)

    def do_device_del(self, id):
        release = self.settings["release"]
        self.requests += 1
        if id not in self.devices:
            raise Refused("DeviceNotFound", f"Device '{id}' not found")
        if release == "always busy" or release == "busy" and self.requests < 4:
            raise Refused("GenericError", "Hot-unplug failed: guest is busy (power indicator "
                                          "blinking)")
        if release == "refused":
            self.events.append({"event": "DEVICE_UNPLUG_GUEST_ERROR", "data": {
                "device": id, "path": f"/machine/peripheral/{id}"}})
            return {}
        if release == "never":
            return {}
        self.delete(id)
        if release != "silent":
            self.events.append({"event": "DEVICE_DELETED", "data": {
                "path": f"/machine/peripheral/{id}/x"}})
            self.events.append({"event": "DEVICE_DELETED", "data": {
                "device": id, "path": f"/machine/peripheral/{id}"}})
        if release == "pending":
            raise Refused("GenericError", f"Device {id} is already in the process of unplug")
        return {}

    def do_stand_in_state(self):
        return {"devices": self.devices, "objects": self.objects, "chardevs": self.chardevs,
                "counts": self.counts, "kept": self.kept, "closed": self.closed}


def child(name, kind):
    return {"name": name, "type": f"child<{kind}>"}


def receive(sock):
    """Return: bytes, and the fds that came with them."""
    data, controls, _, _ = sock.recvmsg(65536, socket.CMSG_SPACE(4))
    fds = array.array("i")
    for level, kind, content in controls:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[:4])
    return data, list(fds)


def send(sock, message):
    sock.sendall(json.dumps(message).encode() + b"\r\n")


def answer(sock, monitor, request, fds):
    """Answer a command. Return: whether to keep this connection."""
    command = request["execute"]
    print(command, flush=True)
    count = monitor.counts[command] = monitor.counts.get(command, 0) + 1
    fail = monitor.settings["fail"]
    name = command if count == 1 else f"{command}#{count}"
    kind = fail.get(name)
    if kind in ("hang", "close"):
        # The command may have had its effect.
        with contextlib.suppress(Refused):
            monitor.run(command, request.get("arguments", {}), fds)
        return kind == "hang"
    try:
        if kind == "refuse":
            raise Refused("GenericError", f"{command} is refused")
        reply = {"return": monitor.run(command, request.get("arguments", {}), fds)}
    except Refused as e:
        reply = {"error": {"class": e.args[0], "desc": e.args[1]}}
    if name == monitor.settings.get("released_after"):
        monitor.delete_all()
    send(sock, reply | ({"id": request["id"]} if "id" in request else {}))
    while monitor.events:
        send(sock, monitor.events.pop(0))
    return True


def serve(sock, monitor):
    major, minor, micro = monitor.settings["version"]
    send(sock, {"QMP": {"version": {"qemu": {"major": major, "minor": minor, "micro": micro},
                                    "package": "stand-in"}, "capabilities": []}})
    data, fds = b"", []
    while True:
        more, new = receive(sock)
        if not more:
            return
        data += more
        fds += new
        while b"\n" in data:
            line, data = data.split(b"\n", 1)
            if not answer(sock, monitor, json.loads(line), fds):
                return
            fds = []


def main(path, settings):
    monitor = Monitor(json.loads(settings))
    for name, (kind, _) in monitor.devices.items():
        if kind == "ivshmem-doorbell":
            monitor.open_fds(name)
    if "high_fd" in monitor.settings:
        _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        os.dup2(0, monitor.settings["high_fd"])
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    print("listening", flush=True)
    while True:
        sock, _ = listener.accept()
        with sock, contextlib.suppress(ConnectionError):
            serve(sock, monitor)


if __name__ == "__main__":
    main(*sys.argv[1:])
