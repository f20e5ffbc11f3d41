"""The client of benches/ftp.sh: does one thing with an FTP server, and says nothing where it worked.

    ftp.py PORT USER WHAT [KEY=VALUE…]

The password is always `secret`. A server is measured from without, so all that counts here is that the client is
not in its way: it reads into one large buffer, or writes from one.
"""

import ftplib
import socket
import ssl
import sys
import threading

BLOCK = 1 << 20


def connect(port, user, tls):
    if not tls:
        ftp = ftplib.FTP(timeout=60)
        ftp.connect("127.0.0.1", port)
    else:
        # All servers have this one, so that none gains by its choice.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")
        ftp = ftplib.FTP_TLS(timeout=60, context=context)
        ftp.connect("127.0.0.1", port)
    ftp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ftp.login(user, "secret")
    if tls:
        ftp.prot_p()
    ftp.voidcmd("TYPE I")
    return ftp


def close(data):
    if isinstance(data, ssl.SSLSocket):
        try:
            data.unwrap()
        except (OSError, ssl.SSLError):
            pass  # some servers do not wait for the other side's end
    data.close()


def get(ftp, path):
    """RETR, and how many bytes came."""
    buffer, total = bytearray(BLOCK), 0
    data = ftp.transfercmd("RETR " + path)
    while n := data.recv_into(buffer):
        total += n
    close(data)
    ftp.voidresp()
    return total


def put(ftp, path, size):
    """STOR of that many bytes."""
    block = memoryview(bytes(BLOCK))
    data = ftp.transfercmd("STOR " + path)
    left = size
    while left:
        n = min(left, BLOCK)
        data.sendall(block[:n])
        left -= n
    close(data)
    ftp.voidresp()


def expect(got, expected):
    if got != expected:
        sys.exit(f"{got} bytes came, not {expected}")


def main():
    port, user, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    keys = dict(word.split("=", 1) for word in sys.argv[4:])
    times, size, path = int(keys.get("times", 1)), int(keys.get("size", 0)), keys.get("path", "")
    tls = keys.get("tls") == "1"
    if what == "logins":
        for _ in range(times):
            ftp = connect(port, user, False)
            expect(get(ftp, path), size)
            ftp.quit()
        return
    if what == "idle":
        sessions = [connect(port, user, False) for _ in range(times)]
        print("ready", flush=True)
        sys.stdin.read()
        for ftp in sessions:
            ftp.quit()
        return
    if what == "puts":
        # Small files, by several sessions at once, each with names of its own.
        def work(number):
            ftp = connect(port, user, False)
            for turn in range(times):
                put(ftp, f"{path}-{number}-{turn}", size)
            ftp.quit()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(int(keys["sessions"]))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return
    ftp = connect(port, user, tls)
    if what == "get":
        for _ in range(times):
            expect(get(ftp, path), size)
    elif what == "put":
        for _ in range(times):
            put(ftp, path, size)
    elif what == "ask":
        line, file, sock = keys["line"].encode() + b"\r\n", ftp.file, ftp.sock
        for _ in range(times):
            sock.sendall(line)
            reply = file.readline()
            if not reply.startswith("2"):
                sys.exit(f"{line!r}: {reply!r}")
    else:
        sys.exit(f"unknown: {what}")
    ftp.quit()


if __name__ == "__main__":
    main()
