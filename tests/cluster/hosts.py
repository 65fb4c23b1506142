"""Test hosts on one machine: to all that runs on one, a computer of its own, with its processes, mounts, name, network
card, home and sshd.

Nothing here has a name outside the lab: namespaces are held by processes alone, and go with them. So two labs can't
collide, and a lab leaves nothing behind even if it is killed: each of its processes dies with the one that started it.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
BOOT = Path(__file__).with_name("boot.sh")
TOOLS = ("ip", "unshare", "nsenter", "mount", "pivot_root", "sshd", "ssh", "ssh-keygen", "rsync")
NETWORK = "10.77.0"
SHARED = "/shared"  # on every host: one folder for all of them, as NFS would be
KEY = "/root/.ssh/lab_key"
READY_S = 60.0
_GONE_S = 30.0


def why_not() -> str | None:
    """Why this machine can't have test hosts; None if it can."""
    if os.geteuid() != 0:
        return "test hosts take root: namespaces, mounts, sshd"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if missing:
        packages = "iproute2 util-linux openssh-server openssh-client rsync"
        return f"test hosts take {', '.join(missing)}; on Debian: apt-get install {packages}"
    probe = "mount -t tmpfs tmpfs /mnt && ip link add br0 type bridge && mkdir /mnt/u /mnt/w /mnt/m && "
    probe += "mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/m"
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "bash", "-c", probe],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return None if tried.returncode == 0 else f"this machine makes no namespaces: {tried.stderr.strip()[-300:]}"


def _dies_with_us() -> None:
    """In a child before it becomes another program: the kernel kills it when this process ends in whatever way."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def wait_until(what: str, done: Callable[[], bool], timeout_s: float, log: Callable[[str], None] = print) -> None:
    """Waits, saying for what. Raises TimeoutError."""
    log(f"waiting for {what} (at most {timeout_s:.0f} s)")
    begun = time.monotonic()
    while not done():
        if time.monotonic() - begun > timeout_s:
            raise TimeoutError(f"waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(0.2)
    log(f"{what}: after {time.monotonic() - begun:.1f} s")


@dataclass
class Host:
    """A computer. Its disk survives a power cut; /tmp, /run and /dev/shm don't."""

    lab: "Lab"
    name: str
    address: str
    _process: subprocess.Popen[bytes] | None = None  # unshare; its child is the host's process 1

    @property
    def init(self) -> int:
        """Our number for the host's process 1."""
        assert self._process is not None, f"{self.name} is off"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children:
            raise RuntimeError(f"{self.name} did not boot; see {self.lab.logs / self.name}.log")
        return int(children[0])

    def power_on(self) -> None:
        """Boots it, and waits until its sshd listens."""
        assert self._process is None
        boot = ["bash", str(BOOT), self.name, str(self.lab.folder), *self.lab.shown_to(self)]
        namespaces = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        with open(self.lab.logs / f"{self.name}.log", "ab") as log:
            self._process = subprocess.Popen(
                [*self.lab.in_switch(), *namespaces, *boot], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=_dies_with_us, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )  # fmt: skip
        wait_until(f"{self.name} to boot", self._has_booted, READY_S, self.lab.say)
        self.lab.note_namespaces(self.init)
        self._plug_in_card()
        wait_until(f"sshd of {self.name}", lambda: self.run("pidof sshd").returncode == 0, READY_S, self.lab.say)

    def _has_booted(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} did not boot; see {self.lab.logs / self.name}.log")
        with suppress(RuntimeError, OSError):
            return Path(f"/proc/{self.init}/root/run/booted").exists()
        return False

    def _plug_in_card(self) -> None:
        """A cable from the switch to the host's network card; the port has the host's name."""
        switch = self.lab.in_switch()
        subprocess.run([*switch, "ip", "link", "delete", self.name], capture_output=True)  # of a host that was cut off
        for command in (
            f"ip link add {self.name} type veth peer name eth0 netns {self.init}",
            f"ip link set {self.name} master br0 up",
        ):
            subprocess.run([*switch, *command.split()], check=True, capture_output=True)
        card = f"ip address add {self.address}/24 dev eth0 && ip link set eth0 up && ip link set lo up"
        done = self.run(card)
        assert done.returncode == 0, done.stdout

    def power_off(self) -> None:
        """Pulls the plug: everything on it is gone at once, and no connection is closed politely."""
        if self._process is None:
            return
        with suppress(RuntimeError, OSError):
            os.kill(self.init, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        self._process = None
        wait_until(f"{self.name} to be off", lambda: not self.lab.holders(self), _GONE_S, self.lab.say)

    def cut_cable(self) -> None:
        """The host runs on, and hears nothing more."""
        subprocess.run([*self.lab.in_switch(), "ip", "link", "set", self.name, "down"], check=True)

    def mend_cable(self) -> None:
        subprocess.run([*self.lab.in_switch(), "ip", "link", "set", self.name, "up"], check=True)

    def command(self, command: str) -> list[str]:
        """What runs a shell command on the host, as a login of root."""
        environment = "HOME=/root USER=root LANG=C.UTF-8 TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        spaces = "--mount --net --uts --ipc --pid --root --wd"
        entered = ["nsenter", "--target", str(self.init), *spaces.split(), "env", "-i", *environment.split()]
        return [*entered, "bash", "-c", command]

    def run(self, command: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """stdout and stderr together, as text."""
        return subprocess.run(
            self.command(command), text=True, timeout=timeout_s, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=_dies_with_us,
        )  # fmt: skip

    def start(self, command: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Runs on while the test does other things."""
        return subprocess.Popen(
            self.command(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_dies_with_us
        )

    def processes(self, beginning: str) -> list[int]:
        """Our numbers of the host's processes whose command line begins so."""
        space = os.readlink(f"/proc/{self.init}/ns/pid")
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                ours = os.readlink(folder / "ns" / "pid") == space
                if ours and (folder / "cmdline").read_bytes().startswith(beginning.encode()):
                    found.append(int(folder.name))
        return found


@dataclass
class Lab:
    """Hosts on one switch. ``logs``: where the hosts' own output goes."""

    logs: Path
    folder: Path = field(init=False)
    hosts: dict[str, Host] = field(default_factory=dict)
    _switch: subprocess.Popen[bytes] | None = None
    _namespaces: set[str] = field(default_factory=set)  # every one that the lab ever had

    def say(self, line: str) -> None:
        print(f"[{time.strftime('%H:%M:%S')}] {line}", flush=True)

    @property
    def shared(self) -> Path:
        """The shared folder, seen from outside."""
        return self.folder / "shared"

    def in_switch(self) -> list[str]:
        assert self._switch is not None
        return ["nsenter", "--target", str(self._switch.pid), "--mount", "--net"]

    def shown_to(self, host: Host) -> list[str]:
        """Folders of this machine that a host sees, read-only, at their own places."""
        shown = {Path(sys.prefix), Path(sys.base_prefix)} - {Path("/usr")}
        # The source is on the laptop alone: the others must get it from there.
        return [str(ROOT), "laptop" if host.name == "laptop" else "host", *sorted(map(str, shown))]

    def note_namespaces(self, process: int) -> None:
        for kind in ("mnt", "net", "pid", "uts", "ipc"):
            self._namespaces.add(os.readlink(f"/proc/{process}/ns/{kind}"))
        for kind in ("mnt", "net", "pid", "uts", "ipc"):
            self._namespaces.discard(os.readlink(f"/proc/self/ns/{kind}"))

    def holders(self, host: Host | None = None) -> list[int]:
        """Processes of the lab, or of one host by its disk: those whose root lies on it, and whatever is in a namespace
        of the lab."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if host is not None:
                    mine = f"upperdir={self.folder}/disks/{host.name}/" in (folder / "mountinfo").read_text()
                else:
                    mine = any(os.readlink(entry) in self._namespaces for entry in (folder / "ns").iterdir())
                if mine:
                    found.append(int(folder.name))
        return found

    @contextmanager
    def opened(self, names: Sequence[str]) -> Iterator["Lab"]:
        """The lab with its hosts running, numbered from .2 on. On leaving, nothing of it is left, or it raises."""
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)
        with ExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="cnnb-lab-", dir="/tmp"))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.shared.mkdir()
            (self.folder / "disks").mkdir()
            stack.callback(self._check_that_nothing_is_left)
            self._start_switch()
            stack.callback(self._stop_switch)
            addresses = {name: f"{NETWORK}.{number}" for number, name in enumerate(names, 2)}
            (self.folder / "hosts").write_text(
                "127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in addresses.items())
            )
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(self.folder / "key")]
            subprocess.run(key, check=True)
            for name, address in addresses.items():
                self.hosts[name] = host = Host(self, name, address)
                stack.callback(host.power_off)
                host.power_on()
            yield self

    def _start_switch(self) -> None:
        """A network of its own without a way out, and a disk in memory for all hosts."""
        disks = self.folder / "disks"
        script = f"mount -t tmpfs -o size=6g tmpfs {disks} && ip link add br0 type bridge && ip link set br0 up"
        self._switch = subprocess.Popen(
            ["unshare", "--mount", "--net", "bash", "-c", f"{script} && touch {self.folder}/on && exec sleep infinity"],
            stdin=subprocess.DEVNULL, preexec_fn=_dies_with_us,
        )  # fmt: skip
        wait_until("the switch", lambda: (self.folder / "on").exists(), READY_S, self.say)
        self.note_namespaces(self._switch.pid)

    def _stop_switch(self) -> None:
        if self._switch is not None:
            self._switch.kill()
            self._switch.wait()

    def _check_that_nothing_is_left(self) -> None:
        deadline = time.monotonic() + _GONE_S
        while (left := self.holders()) and time.monotonic() < deadline:
            time.sleep(0.2)
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if left:
            raise RuntimeError(f"processes of the lab outlived it: {left}")
