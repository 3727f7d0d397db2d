"""Python's audit events that are effects of a body. Events that are not named here are harmless.

Left out are events of importing, compiling and inspecting (``import``, ``compile``, ``exec``, ``marshal.*``,
``code.*``, ``object.*``, ``sys.*``, ``gc.*``), of memory (``mmap``, ``array``, ``ctypes.*`` except loading a library
and looking up its functions), of locks on files that were opened before (``fcntl.*``), those that other events cover
(``glob.glob``, ``os.walk``, ``pathlib.*``, the rest of ``shutil.*``), and those of logging (``syslog.*``).
"""

from __future__ import annotations

from typing import Final

from expops_prefect.models.effects import Kind

EFFECTS: Final[dict[str, tuple[Kind, str]]] = {
    "socket.connect": ("network", "socket.connect"),
    "socket.bind": ("network", "socket.bind"),
    "socket.sendto": ("network", "socket.sendto"),
    "socket.sendmsg": ("network", "socket.sendmsg"),
    "socket.getaddrinfo": ("network", "socket.getaddrinfo"),
    "socket.gethostbyname": ("network", "socket.gethostbyname"),
    "socket.gethostbyaddr": ("network", "socket.gethostbyaddr"),
    "socket.getnameinfo": ("network", "socket.getnameinfo"),
    "socket.gethostname": ("environment", "socket.gethostname"),
    "socket.sethostname": ("state", "socket.sethostname"),
    "ftplib.connect": ("network", "ftplib.FTP.connect"),
    "ftplib.sendcmd": ("network", "ftplib.FTP.sendcmd"),
    "http.client.connect": ("network", "http.client.HTTPConnection.connect"),
    "http.client.send": ("network", "http.client.HTTPConnection.send"),
    "imaplib.open": ("network", "imaplib.IMAP4.open"),
    "imaplib.send": ("network", "imaplib.IMAP4.send"),
    "nntplib.connect": ("network", "nntplib.NNTP"),
    "nntplib.putline": ("network", "nntplib.NNTP"),
    "poplib.connect": ("network", "poplib.POP3"),
    "poplib.putline": ("network", "poplib.POP3"),
    "smtplib.connect": ("network", "smtplib.SMTP.connect"),
    "smtplib.send": ("network", "smtplib.SMTP.send"),
    "telnetlib.Telnet.open": ("network", "telnetlib.Telnet.open"),
    "telnetlib.Telnet.write": ("network", "telnetlib.Telnet.write"),
    "subprocess.Popen": ("process", "subprocess.Popen"),
    "os.system": ("process", "os.system"),
    "os.exec": ("process", "os.exec"),
    "os.fork": ("process", "os.fork"),
    "os.forkpty": ("process", "os.forkpty"),
    "os.posix_spawn": ("process", "os.posix_spawn"),
    "os.spawn": ("process", "os.spawn"),
    "os.startfile": ("process", "os.startfile"),
    "os.startfile/2": ("process", "os.startfile"),
    "_winapi.CreateProcess": ("process", "subprocess.Popen"),
    "os.kill": ("process", "os.kill"),
    "os.killpg": ("process", "os.killpg"),
    "signal.pthread_kill": ("process", "signal.pthread_kill"),
    "pty.spawn": ("process", "pty.spawn"),
    "webbrowser.open": ("process", "webbrowser.open"),
    "ensurepip.bootstrap": ("process", "ensurepip.bootstrap"),
    "sys.remote_exec": ("process", "sys.remote_exec"),
    "builtins.input": ("person", "input"),
    "builtins.breakpoint": ("person", "breakpoint"),
    "pdb.Pdb": ("person", "pdb.Pdb"),
    "os.putenv": ("state", "os.putenv"),
    "os.unsetenv": ("state", "os.unsetenv"),
    "os.chdir": ("state", "os.chdir"),
    "resource.setrlimit": ("state", "resource.setrlimit"),
    "resource.prlimit": ("state", "resource.prlimit"),
    "winreg.OpenKey": ("environment", "winreg.OpenKey"),
    "winreg.CreateKey": ("state", "winreg.CreateKey"),
    "winreg.SetValue": ("state", "winreg.SetValue"),
    "winreg.DeleteKey": ("state", "winreg.DeleteKey"),
    "winreg.DeleteValue": ("state", "winreg.DeleteValue"),
}
"""Events that are an effect regardless of their arguments."""

CHANGES: Final[dict[str, tuple[int, int | None]]] = {
    "os.remove": (0, 1),
    "os.rmdir": (0, 1),
    "os.mkdir": (0, 2),
    "os.truncate": (0, None),
    "os.chmod": (0, 2),
    "os.chown": (0, 3),
    "os.chflags": (0, None),
    "os.utime": (0, 3),
    "os.setxattr": (0, None),
    "os.removexattr": (0, None),
    "os.rename": (1, 3),
    "os.link": (1, 3),
    "os.symlink": (1, 2),
    "shutil.rmtree": (0, 1),
    "shutil.chown": (0, None),
    "shutil.copyfile": (1, None),
    "shutil.copytree": (1, None),
    "shutil.move": (1, None),
}
"""Events that change a file: the positions of the path and of its folder's descriptor among the arguments."""

LISTINGS: Final = frozenset({"os.listdir", "os.scandir"})
MADE: Final = {"tempfile.mkstemp": "tempfile.mkstemp", "tempfile.mkdtemp": "tempfile.mkdtemp"}
THREADS: Final = frozenset({"_thread.start_new_thread", "_thread.start_joinable_thread"})
