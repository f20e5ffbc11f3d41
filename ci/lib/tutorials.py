#!/usr/bin/env python3
"""Compares polygate with the servers of the socket tutorials, written here as the tutorials write them.

usage: tutorials.py POLYGATE FOLDER_OF_EXAMPLES, in an empty folder

A client takes what one recv returns for one message. It plays against the Python server and against polygate
on the example of that program; both transcripts must be equal.
"""
import contextlib
import json
import os
import re
import socket
import socketserver
import subprocess
import sys
import threading


# === the servers ===

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1024):
            self.request.sendall(data)


class Greeter(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"hello...")
        while data := self.request.recv(1024):
            self.request.sendall(b"response:" + data)


class Welcome(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall("欢迎致电...".encode())
        while data := self.request.recv(1024):
            self.request.sendall(data)


class Upper(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1024):
            self.request.sendall(data.strip().upper())


class Ok(socketserver.BaseRequestHandler):
    def handle(self):
        self.request[1].sendto(b"ok", self.client_address)


class Commands(socketserver.BaseRequestHandler):
    def handle(self):
        while command := self.request.recv(1024):
            output = os.popen(command.decode() + " 2>/dev/null").read().encode() or b"cmd error"
            self.request.sendall(b"Ready|%d" % len(output))
            if self.request.recv(1024) == b"Start":
                self.request.sendall(output)


class Course(socketserver.BaseRequestHandler):
    users = {}

    def handle(self):
        self.login = None
        self.request.sendall("欢迎使用... ".encode())
        while data := self.request.recv(8192):
            command = json.loads(data)
            action = getattr(self, command["cmd"], None)
            answer = action(command) if action else "Invalid command..."
            self.request.sendall(answer.encode())
            if command["cmd"] == "put" and answer != "Invalid command...":
                self.receive(command)

    def register(self, command):
        if command["username"] in self.users:
            return "用户名已存在"
        self.users[command["username"]] = command["password"]
        return "注册成功"

    def check_user(self, command):
        known = self.users.get(command["username"])
        if known is None:
            return "用户名不存在"
        if known != command["password"]:
            return "密码错误"
        self.login = command["username"]
        return "登陆成功"

    def held(self, command):
        try:
            return os.path.getsize(command["filename"])
        except FileNotFoundError:
            return 0

    def put(self, command):
        if not self.login or command["file_owner"] != self.login:
            return "Invalid command..."
        return str(self.held(command) or "Start")

    def receive(self, command):
        missing = command["filesize"] - self.held(command)
        with open(command["filename"], "ab") as file:
            while missing > 0 and (data := self.request.recv(min(missing, 8192))):
                file.write(data)
                file.flush()
                missing -= len(data)


# === the clients: each gives what its recv calls returned ===

class Line:
    """A connection that notes what it hears."""

    def __init__(self, address, heard):
        self.socket = socket.create_connection(address, timeout=10)
        self.heard = heard

    def recv(self):
        data = self.socket.recv(1024)
        self.heard.append(data)
        return data

    def ask(self, message):
        self.socket.sendall(message if isinstance(message, bytes) else message.encode())
        return self.recv()

    def end(self):
        """Closes the sending side; the other side must end without a further word."""
        self.socket.shutdown(socket.SHUT_WR)
        self.recv()
        self.socket.close()


def lines(greeted, *messages):
    def play(address):
        heard = []
        line = Line(address, heard)
        if greeted:
            line.recv()
        for message in messages:
            line.ask(message)
        line.end()
        return heard
    return play


def datagrams(address):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(10)
    heard = []
    for message in [b"hello", b"", "再见".encode()]:
        client.sendto(message, address)
        heard.append(client.recvfrom(1024)[0])
    client.close()
    return heard


def commands(address):
    heard = []
    line = Line(address, heard)
    for command in ["seq 3", "nothing-of-that-name", "seq 1 200"]:
        line.ask(command)
        line.ask("Start")
    line.end()
    return heard


def course(address):
    heard = []
    ann = {"username": "ann", "password": "sesame"}
    put = {"cmd": "put", "filename": "notes.txt", "filesize": 20, "file_owner": "ann"}
    line = Line(address, heard)
    line.recv()
    line.ask(json.dumps({"cmd": "register", **ann}))
    line.ask(json.dumps({"cmd": "register", **ann}))
    line.ask(json.dumps({"cmd": "nonsense"}))
    line.ask(json.dumps({"cmd": "check_user", **ann}))
    line.ask(json.dumps({**put, "file_owner": "bob"}))
    line.ask(json.dumps(put))
    line.socket.sendall(b"0123456789")
    line.end()
    line = Line(address, heard)
    line.recv()
    line.ask(json.dumps({"cmd": "check_user", **ann}))
    line.ask(json.dumps(put))
    line.socket.sendall(b"9876543210")
    # Nothing is answered; the next answer is the next command's.
    line.ask(json.dumps({"cmd": "nonsense"}))
    line.ask(json.dumps(put))
    line.end()
    for wrong in [{**ann, "password": "wrong"}, {**ann, "username": "bob"}]:
        line = Line(address, heard)
        line.recv()
        line.ask(json.dumps({"cmd": "check_user", **wrong}))
        line.socket.close()
    return heard


# === both sides ===

@contextlib.contextmanager
def python(server, handler):
    server.allow_reuse_address = True
    with server(("127.0.0.1", 0), handler) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield running.server_address
        finally:
            running.shutdown()


@contextlib.contextmanager
def polygate(program, example):
    with open(example, encoding="utf-8") as file:
        text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", file.read())
    name = os.path.basename(example)
    with open(name, "w", encoding="utf-8") as file:
        file.write(f'admin.bind = "off"\nstate_dir = "{name}.state"\n{text}')
    with open(f"{name}.log", "w", encoding="utf-8") as log:
        running = subprocess.Popen([program, "run", name], stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        said = running.stdout.readline()
        found = re.match(r"listening \S+ (?:tcp|udp)://(.*):(\d+)$", said)
        if not found:
            sys.exit(f"{name}: no address in {said!r}")
        yield found.group(1), int(found.group(2))
    finally:
        running.terminate()
        running.wait(timeout=20)


TCP, UDP = socketserver.ThreadingTCPServer, socketserver.ThreadingUDPServer
PROGRAMS = [
    ("selectors", TCP, Echo, lines(False, "hello", "欢迎\n", b"\x00\xff" * 100, b"x" * 1024)),
    ("greeting", TCP, Greeter, lines(True, "a", "你好", b"x" * 1000)),
    ("welcome", TCP, Welcome, lines(True, "q", "再见\r\n")),
    ("upper", TCP, Upper, lines(False, "hello world with TCP\n", "  a b \r\n", "ß é z", b"\xff\x80a")),
    ("sequential", TCP, Upper, lines(False, "one", "two")),
    ("forking", TCP, Echo, lines(False, "one", "two\n")),
    ("ok", UDP, Ok, datagrams),
    ("commands", TCP, Commands, commands),
    ("course-ftp", TCP, Course, course),
]


def main():
    program, examples = sys.argv[1:]
    for name, server, handler, play in PROGRAMS:
        with python(server, handler) as address:
            original = play(address)
        with polygate(program, os.path.join(examples, f"{name}.toml")) as address:
            ours = play(address)
        for index, (theirs, mine) in enumerate(zip(original, ours)):
            if theirs != mine:
                sys.exit(f"{name}: recv {index + 1} gave {theirs!r} in Python and {mine!r} here")
        if len(original) != len(ours) or not original:
            sys.exit(f"{name}: {len(original)} messages in Python, {len(ours)} here")
        print(f"{name}: {len(ours)} messages are equal, {sum(map(len, ours))} bytes")


if __name__ == "__main__":
    main()
