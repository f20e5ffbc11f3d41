#!/usr/bin/env python3
"""Runs the ```console blocks of Markdown files and compares what is printed with what is written.

A line that begins with "$ " is a command, the lines behind it are its output. "..." stands for any text in
a line, a line of "..." alone for any lines. A block headed "console gateway" starts the gateway, which then
serves the rest of the file: its command is replaced by POLYGATE, a built binary, and it is ended by its pid.
A block headed by another word is for `--only WORD`: it needs what other scripts have, such as Docker.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile


# The headings of blocks that scripts run with --only.
ELSEWHERE = ("compose", "docker", "kubernetes", "systemd")
HERE = ("", "gateway")


def blocks(text):
    for match in re.finditer(r"^```console([^\n]*)\n(.*?)^```$", text, re.M | re.S):
        line = text.count("\n", 0, match.start()) + 1
        commands = []
        for written in match.group(2).splitlines():
            if written.startswith("$ "):
                commands.append((written[2:], []))
            else:
                commands[-1][1].append(written)
        yield line, match.group(1).strip(), commands


def pattern(lines):
    parts = []
    for line in lines:
        if line == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append("[^\n]*".join(re.escape(piece) for piece in line.split("...")) + "\n")
    return re.compile("".join(parts) + r"\Z")


def compare(where, command, written, printed):
    if printed and not printed.endswith("\n"):
        printed += "\n"
    if not pattern(written).match(printed):
        sys.exit(f"{where}: $ {command}\n--- written\n" + "\n".join(written) + f"\n--- printed\n{printed}")


def start(where, command, written):
    log = open(os.path.join(tempfile.gettempdir(), "polygate-docs.log"), "w")
    gateway = subprocess.Popen([os.environ["POLYGATE"]], stdout=subprocess.PIPE, stderr=log, text=True)
    printed = ""
    for line in gateway.stdout:
        printed += line
        if line == "ready\n":
            break
    compare(where, command, written, printed)
    return gateway


def run(command):
    # A file, not a pipe: what a command leaves in the background must not be waited for.
    with tempfile.TemporaryFile() as output:
        subprocess.run(["bash", "-c", command], stdout=output, stderr=subprocess.STDOUT, timeout=60)
        output.seek(0)
        return output.read().decode()


def main():
    ran, files, kinds = 0, sys.argv[1:], HERE
    if files[0] == "--only":
        files, kinds = files[2:], (files[1],)
    for path in files:
        gateway = None
        try:
            with open(path, encoding="utf-8") as file:
                found = list(blocks(file.read()))
            for line, kind, commands in found:
                if kind not in kinds:
                    if kind not in HERE + ELSEWHERE:
                        sys.exit(f"{path}:{line}: nobody runs a block headed {kind!r}")
                    continue
                for command, written in commands:
                    where = f"{path}:{line}"
                    if kind == "gateway":
                        gateway = start(where, command, written)
                    else:
                        compare(where, command, written, run(command))
                    ran += 1
        finally:
            if gateway:
                gateway.send_signal(signal.SIGTERM)
                gateway.wait(timeout=20)
    if ran == 0:
        sys.exit("no command was found: is the pattern still right?")
    print(f"docs: {ran} commands ran and printed what is written")


if __name__ == "__main__":
    main()
