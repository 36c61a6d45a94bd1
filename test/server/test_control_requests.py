# SPDX-License-Identifier: BSD-3-Clause
"""Requests to the control socket: valid, invalid, split and combined."""
import json
import socket

import pytest

from support.py.clients import join
from support.py.control import STATUS, VERSION, Control, ask_once

LINE_MAX = 4096


def serve(where):
    """Start a server with a control socket."""
    return where.server("--control", where.dir / "control")


def open_control(where):
    """Connect to the control socket."""
    return where.add(Control(where.dir / "control"))


HOW = 'send {"request":"status"} or {"request":"version"}'
BAD = {
    "empty": (b"", "the request is empty: " + HOW),
    "blanks": (b" \t\r", "the request is empty: " + HOW),
    "no JSON": (b"status", "the request is not JSON ("),
    "half": (b'{"request":"status"', "the request is not JSON ("),
    "two": (b'{"request":"status"} {}', "the request is not JSON ("),
    "array": (b'["status"]', "the request is an array and not an object: " + HOW),
    "string": (b'"status"', "the request is a string and not an object: " + HOW),
    "null": (b"null", "the request is null and not an object: " + HOW),
    "number": (b"7", "the request is a number and not an object: " + HOW),
    "empty object": (b"{}", 'the request has no member "request": ' + HOW),
    "number as request": (b'{"request":1}', '"request" is a number: ' + HOW),
    "object as request": (b'{"request":{}}', '"request" is an object: ' + HOW),
    "unknown": (b'{"request":"stop"}',
                'there is no request "stop": the requests are "status" and "version"'),
    "capital": (b'{"request":"Status"}', 'there is no request "Status"'),
    "long name": (b'{"request":"' + b"x" * 4000 + b'"}', 'there is no request "' + "x" * 64 + '":'),
    "long name in UTF-8": ('{"request":"x' .encode() + "€".encode() * 40 + b'"}',
                           'there is no request "x€€€'),
    "unknown member": (b'{"request":"status","doorbell":true}',
                       '"status" has no member "doorbell": it may have "doorbells"'),
    "member of another": (b'{"request":"version","doorbells":true}',
                          '"version" has no member "doorbells"'),
    "number as boolean": (b'{"request":"status","doorbells":1}',
                          '"doorbells" is a number: use true or false'),
    "twice": (b'{"request":"status","request":"status"}', "duplicate object key"),
    "twice another": (b'{"request":"status","doorbells":true,"doorbells":false}',
                      "duplicate object key"),
    "NUL": (b'{"request":"sta\0tus"}', "the request is not JSON ("),
    "NUL as text": (b'{"request":"status\\u0000"}', "the request is not JSON ("),
    "NUL at the end": (b'{"request":"status"}\0', "the request is not JSON ("),
    "only NUL": (b"\0", "the request is not JSON ("),
    "no UTF-8": (b'{"request":"\xff"}', "the request is not JSON ("),
    "deep": (b"[" * LINE_MAX, "the request is not JSON ("),
    "deep objects": (b'{"a":' * 800, "the request is not JSON ("),
    "huge integer": (b'{"request":' + b"9" * 4000 + b"}", "too big integer"),
    "huge real": (b'{"request":1e999999999}', "real number overflow"),
    "longest": (b"[" + b" " * (LINE_MAX - 1), "the request is not JSON ("),
    "too long": (b" " * (LINE_MAX + 1), "the request is longer than 4096 bytes: " + HOW),
    "much too long": (b'{"request":"status"}' * 10000, "the request is longer than 4096 bytes"),
}


@pytest.mark.parametrize("line, message", BAD.values(), ids=BAD.keys())
def test_bad_request_is_answered_with_a_reason(place, line, message):
    """A bad request is answered with an error that says why; the connection can still be used."""
    server = serve(place)
    client = join(place)
    control = open_control(place)
    reply = control.ask(line + b"\n")
    assert list(reply) == ["error"]
    assert message in reply["error"]
    assert control.ask(VERSION)["pid"] == server.pid
    assert client.hears_nothing(0)


GOOD = {
    "blanks": b' { "request" : "version" } \r\n',
    "escapes": b'{"request":"\\u0076ersion"}\n',
    "longest": b'{"request":"version"}' + b" " * (LINE_MAX - 21) + b"\n",
}


@pytest.mark.parametrize("line", GOOD.values(), ids=GOOD.keys())
def test_any_valid_json_is_accepted(place, line):
    """A request is accepted in any valid JSON notation, up to 4096 bytes."""
    server = serve(place)
    assert open_control(place).ask(line)["pid"] == server.pid


def test_many_requests_in_one_write_are_answered_in_order(place):
    """Each request gets its reply, even if it follows invalid requests."""
    server = serve(place)
    control = open_control(place)
    version = place.run_server("-V").stdout.split()[1]
    control.send((VERSION + STATUS + b"x\n\n") * 500)
    for _ in range(500):
        assert control.reply() == {"version": version, "pid": server.pid}
        assert control.reply()["peers"] == []
        assert "not JSON" in control.reply()["error"]
        assert "empty" in control.reply()["error"]


def test_request_may_arrive_byte_by_byte(place):
    """A request that arrives byte by byte is answered."""
    server = serve(place)
    control = open_control(place)
    for at in range(len(VERSION)):
        control.send(VERSION[at:at + 1])
        if at % 5 == 0:
            ask_once(place.dir / "control")  # returns after the server has read the byte
    assert control.reply()["pid"] == server.pid


@pytest.mark.parametrize("data, replies", [
    (VERSION, 1), (VERSION.rstrip(b"\n"), 1), (VERSION * 3, 3), (VERSION * 2 + b"x", 3), (b"", 0),
    (b"\n", 1), (b" " * 5000, 1), (b" " * 9000 + b"\n" + VERSION, 2),
], ids=["line", "no newline", "three", "rest", "nothing", "newline", "too long", "too long, line"])
def test_requests_before_a_half_close_are_answered(place, data, replies):
    """A client that shuts down its sending side still gets every reply, and then end of file."""
    serve(place)
    control = open_control(place)
    control.send(data)
    control.no_more()
    for _ in range(replies):
        assert control.reply()
    assert control.line() is None


def test_fds_sent_to_the_control_socket_are_closed(place):
    """The server closes all fds that arrive with requests."""
    server = serve(place)
    control = open_control(place)
    control.ask(VERSION)
    before = server.fds()
    for _ in range(10):
        try:
            socket.send_fds(control.sock, [VERSION], [0, 1, 2])
        except PermissionError:  # since Linux 6.16 the kernel can reject the fds
            control.send(VERSION)
        assert control.reply()["pid"] == server.pid
    assert server.fds() == before


def test_reply_is_one_line_of_json(place):
    """The only newline in a reply is its last byte, and no member occurs twice in an object."""
    serve(place)
    join(place)
    control = open_control(place)
    control.send(STATUS)

    def once(pairs):
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    line = control.line()
    assert json.loads(line, object_pairs_hook=once)["peers"][0]["id"] == 0
    control.ask(VERSION)  # fails if any data followed the status
