"""Which peers there are, in which versions, and installing them into the scratch folder, by pip and npm as this machine has them set up."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import servers


class NotInstalled(Exception):
    """The peer could not be had here; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One peer: the folder it is installed into, and what is asked for by name and version."""

    folder: str
    wanted: tuple[str, ...]
    is_node: bool = False

    @property
    def home(self) -> Path:
        return servers.VAR / self.folder

    @property
    def python(self) -> str:
        """Its own interpreter."""
        return str(self.home / "bin" / "python")

    def versions(self) -> list[str]:
        """What was really installed, `name==version` each, by name."""
        return (self.home / "versions.txt").read_text().splitlines()


DJSTRIPE = Peer(
    folder="djstripe",
    wanted=("dj-stripe==2.11.0", "django==5.2.19", "stripe==15.6.2", "psycopg[binary]==3.3.9", "gunicorn==27.0.1"),
)
FLASK_RQ = Peer(
    folder="flask_rq",
    wanted=("flask==3.1.3", "rq==3.0.0", "redis==8.1.0", "stripe==16.1.0", "psycopg[binary]==3.3.9", "gunicorn==27.0.1"),
)
SYNC_ENGINE = Peer(folder="sync_engine", wanted=("@supabase/stripe-sync-engine@0.48.5", "stripe@23.1.0", "pg@8.20.0"), is_node=True)
ALL = (DJSTRIPE, FLASK_RQ, SYNC_ENGINE)
_PATIENCE = 600


def install(peer: Peer) -> None:
    """Have it in its folder; at once where it is there already. Raises NotInstalled."""
    stamp = peer.home / "installed.txt"
    asked = "\n".join(peer.wanted)
    if stamp.exists() and stamp.read_text() == asked:
        return
    shutil.rmtree(peer.home, ignore_errors=True)
    peer.home.mkdir(parents=True)
    listed = _npm(peer) if peer.is_node else _pip(peer)
    (peer.home / "versions.txt").write_text("\n".join(listed) + "\n")
    stamp.write_text(asked)


def _pip(peer: Peer) -> list[str]:
    _run(sys.executable, "-m", "venv", "--without-pip", str(peer.home))
    # The interpreter that made our .venv has pip; a venv without one is filled from outside.
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    pip = [str(base), "-m", "pip", "--python", peer.python, "--disable-pip-version-check"]
    _run(*pip, "install", "--quiet", *peer.wanted)
    return _run(*pip, "list", "--format", "freeze").splitlines()


def _npm(peer: Peer) -> list[str]:
    node = shutil.which("node")
    if shutil.which("npm") is None or node is None:
        raise NotInstalled("npm is not on this machine")
    (peer.home / "package.json").write_text('{"private": true}\n')
    _run("npm", "install", "--no-audit", "--no-fund", "--prefix", str(peer.home), *peer.wanted)
    listed = _run("npm", "ls", "--prefix", str(peer.home), "--depth", "0", "--parseable", "--long").splitlines()
    names = ["==".join(line.split(":")[1].rsplit("@", 1)) for line in listed[1:]]
    return [*names, f"node=={_run(node, '--version').strip()}"]


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise NotInstalled(f"{command[0]}: {problem}") from problem
    if done.returncode:
        raise NotInstalled(f"{' '.join(command[:4])} …: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout
