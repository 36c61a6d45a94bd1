# SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for QEMU's monitor, for answers that the installed QEMUs do not give. If it is run as
a program named qemu-system-x86_64, the tools take it for a VM on this host.

usage: stand_in_vm.py SOCKET SCRIPT QEMU-ARGUMENT...

SCRIPT is JSON: {command: [answer, ...]}. Each call of a command takes the next answer; the last one
is repeated. An answer is a result, or {"do": "refuse" | "end" | "hang" | "drop" | "ignore"}: refuse
the command, end the process, never answer again, close the connection, or do not answer this
command. With "events": [event, ...], these events are sent before the answer: a name, or an object
with "event" and "data". Other commands have a default answer. A key may also name the arguments,
such as "qom-get /machine/peripheral/d0 size"; its answers are then used only for that command with
exactly these arguments. "map" is the path of a file that the process maps.
"""
import json
import mmap
import os
import signal
import socket
import sys

DEFAULTS = {
    "query-name": {"name": "stand-in"},
    "query-kvm": {"enabled": True, "present": True},
    "query-status": {"status": "running", "running": True},
    "query-migrate": {},
    "qom-list": [],
    "human-monitor-command": "",
}


def start(place, name, script, *arguments, program="qemu-system-x86_64"):
    """Start a stand-in. Return: the process, and the path of its monitor."""
    path = place.dir / f"{name}.qmp"
    process = place.start("bash", "-c", f'exec -a {program} /usr/bin/python3 "$@"', "bash",
                          __file__, path, json.dumps(script), *arguments)
    process.out.wait("ready")
    return process, path


class Ended(Exception):
    """Raised to have the connection closed."""


def answer(script, calls, request, send):
    """Return: the answer to a request; None: there is none."""
    name = request["execute"]
    longer = " ".join([name, *map(str, request.get("arguments", {}).values())])
    if longer in script:
        name = longer
    answers = script.get(name, [DEFAULTS.get(name, {})])
    result = answers[min(calls.get(name, 0), len(answers) - 1)]
    calls[name] = calls.get(name, 0) + 1
    for event in result.pop("events", []) if isinstance(result, dict) else []:
        event = event if isinstance(event, dict) else {"event": event}
        send({**event, "timestamp": {"seconds": 1, "microseconds": 0}})
    does = result.get("do") if isinstance(result, dict) else None
    if does == "ignore":
        return None
    if does == "refuse":
        return {"error": {"class": "GenericError", "desc": "as the script says"}}
    if does == "end":
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "hang":
        signal.pause()
    if does == "drop":
        raise Ended
    return {"return": result}


def serve(connection, script, calls):
    """Serve one connection."""
    stream = connection.makefile("rw")

    def send(message):
        stream.write(json.dumps(message) + "\n")
        stream.flush()

    version = {"qemu": {"major": 8, "minor": 1, "micro": 0}, "package": ""}
    send({"QMP": {"version": version, "capabilities": []}})
    for line in stream:
        request = json.loads(line)
        print(request["execute"], flush=True)
        try:
            reply = answer(script, calls, request, send)
            if reply:
                send({**reply, "id": request.get("id")})
        except Ended:
            return


def main():
    """Serve one connection after another."""
    path, script = sys.argv[1], json.loads(sys.argv[2])
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    if "map" in script:
        with open(script["map"], "r+b") as file:
            script["mapped"] = mmap.mmap(file.fileno(), 0)
    print("ready", flush=True)
    calls = {}
    while True:
        connection, _ = listener.accept()
        with connection:
            serve(connection, script, calls)


if __name__ == "__main__":
    main()
