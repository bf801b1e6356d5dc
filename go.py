#!/usr/bin/env python3
"""The two commands of the README, on any Python 3:

    python3 go.py demo      shows a network's execution, after installing what is needed
    python3 go.py test      runs the tests; further arguments go to pytest

Both make .venv beside this file with the newest Python from 3.11 to 3.14, once. This file itself keeps to what every
Python 3 understands, and needs nothing but the standard library.
"""

import ctypes
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "installed.json")
PYTHONS = ("3.14", "3.13", "3.12", "3.11")
# The newest Python that each release of Debian and Ubuntu packages itself, as far as we can use it.
PACKAGED = {
    "bookworm": "3.11",
    "trixie": "3.13",
    "jammy": "3.11",
    "noble": "3.12",
    "plucky": "3.13",
    "questing": "3.13",
}
OLD_MESA = """Note: Mesa 22.3 of Debian 12 ends every shader invocation after 65,535 loop iterations, silently.
TSTorch keeps its kernels below that or refuses. For the newer Mesa, enable bookworm-backports and run:
    apt-get install -t bookworm-backports mesa-vulkan-drivers"""


def say(text):
    """Tells the user something, at once even where the output is a pipe."""
    print(text, flush=True)


def parse_os_release(text):
    """Turns the text of /etc/os-release into a dict of its keys, quotes removed."""
    pairs = [line.strip().split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#")]
    return {key: value.strip("\"'") for key, value in pairs}


def read_os_release(path="/etc/os-release"):
    """Reads os-release; an empty dict where the system has none (macOS, Windows)."""
    if not os.path.exists(path):
        return {}
    with open(path) as file:
        return parse_os_release(file.read())


def has_apt(release):
    """Says whether this is Debian or Ubuntu, or calls itself like one of them."""
    names = [release.get("ID", "")] + release.get("ID_LIKE", "").split()
    return "debian" in names or "ubuntu" in names


def packaged_python(release):
    """Names the Python package of this Debian or Ubuntu: python3.13, or python3 where we do not know the release."""
    codename = release.get("UBUNTU_CODENAME") or release.get("VERSION_CODENAME", "")
    return "python" + PACKAGED.get(codename, "3")


def answer(command):
    """Returns what a command prints, or None where it is missing or fails."""
    try:
        with open(os.devnull) as nothing:
            text = subprocess.check_output(command, stdin=nothing, stderr=subprocess.STDOUT)
    except (OSError, subprocess.CalledProcessError):
        return None
    return text.decode("utf-8", "replace").strip()


def version_of(python):
    """Returns the version of an interpreter as "3.12", or None where it does not run."""
    return answer([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])


def find_pythons(search=None):
    """Finds interpreters that we can use, the newest first, as (path, version).

    A name on the PATH is not enough: version managers leave names there that only print an error.
    """
    names = [(shutil.which("python" + version, path=search), version) for version in PYTHONS]
    found = [(path, version) for path, version in names if path and version_of(path) == version]
    for path in [shutil.which(name, path=search) for name in ("python3", "python")] + [sys.executable]:
        version = version_of(path) if path else None
        if version in PYTHONS and version not in [known for _, known in found]:
            found.append((path, version))
    return sorted(found, key=lambda pair: PYTHONS.index(pair[1]))


def choose_python(pythons):
    """Picks the newest interpreter that can make a venv (Debian packages that part apart); None where none can."""
    for path, _ in pythons:
        if answer([path, "-c", "import ensurepip, venv"]) is not None:
            return path
    return None


def loads(library):
    """Says whether a shared library can be loaded here."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def driver_files(environ):
    """Lists the Vulkan driver manifests that the loader would read, in its own order of search."""
    chosen = environ.get("VK_DRIVER_FILES") or environ.get("VK_ICD_FILENAMES")
    if chosen:
        places = chosen.split(os.pathsep)
    else:
        home = environ.get("HOME", "")
        bases = [environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")]
        bases += (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep) + ["/usr/local/etc", "/etc"]
        bases += [environ.get("XDG_DATA_HOME") or os.path.join(home, ".local/share")]
        bases += (environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(os.pathsep)
        places = environ.get("VK_ADD_DRIVER_FILES", "").split(os.pathsep)
        places += [os.path.join(base, "vulkan", "icd.d") for base in bases]
    files = []
    for place in places:
        files += sorted(glob.glob(os.path.join(place, "*.json"))) if os.path.isdir(place) else [place]
    return [path for path in files if os.path.isfile(path)]


def driver_works(manifest):
    """Says whether the library that a driver manifest names is there and loads."""
    try:
        with open(manifest) as file:
            library = json.load(file)["ICD"]["library_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if os.path.basename(library) != library:
        library = os.path.join(os.path.dirname(manifest), library)
    return loads(library)


def missing_packages(release, environ, pythons, platform=sys.platform):
    """Names what the system lacks, as packages of Debian: a Python that makes venvs, the Vulkan loader, a driver."""
    missing = []
    if not pythons:
        python = packaged_python(release)
        missing += [python, python + "-venv"]
    elif choose_python(pythons) is None:
        missing.append("python" + pythons[0][1] + "-venv")
    if platform.startswith("linux"):
        if not loads("libvulkan.so.1"):
            missing.append("libvulkan1")
        if not any(driver_works(manifest) for manifest in driver_files(environ)):
            missing.append("mesa-vulkan-drivers")
    return missing


def apt_line(packages):
    """Spells the command that installs packages on Debian and Ubuntu."""
    return ["apt-get", "install", "-y", "--no-install-recommends"] + packages


def apt_install(packages, run=subprocess.call):
    """Shows the apt line and runs it, after one update of the lists; returns the exit status."""
    environ = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    say("Running: apt-get update && " + " ".join(apt_line(packages)))
    with open(os.devnull) as nothing:
        run(["apt-get", "update", "-qq"], env=environ, stdin=nothing)
        return run(apt_line(packages), env=environ, stdin=nothing)


def provide(missing, release, is_root):
    """Says in one line what the system lacks, and installs it where that is ours to do: as root, with apt."""
    say("Missing system packages: " + " ".join(missing) + ("" if has_apt(release) else " (as Debian calls them)"))
    if not has_apt(release):
        return
    if not is_root:
        say("Install them with: sudo " + " ".join(apt_line(missing)))
    elif apt_install(missing) != 0:
        say("apt-get failed; going on without")


def mesa_is_old(release):
    """Says whether Vulkan here is Debian 12's own Mesa."""
    if release.get("VERSION_CODENAME") != "bookworm":
        return False
    version = answer(["dpkg-query", "-W", "-f", "${Version}", "mesa-vulkan-drivers"])
    return version is not None and version.startswith("22.")


def prepare_system(release, environ):
    """Brings the system as far as we may, and returns the Python to use; exits where there is none."""
    missing = missing_packages(release, environ, find_pythons())
    if missing:
        provide(missing, release, hasattr(os, "geteuid") and os.geteuid() == 0)
    if mesa_is_old(release):
        say(OLD_MESA)
    python = choose_python(find_pythons())
    if python is None:
        sys.exit("No Python from 3.11 to 3.14 that can make a venv was found; install one and run this again.")
    return python


def in_venv(program):
    """Returns the path of a program of the venv."""
    windows = os.name == "nt"
    return os.path.join(VENV, "Scripts" if windows else "bin", program + (".exe" if windows else ""))


def digest_of_project():
    """Identifies what an installation depends on: the project's metadata, and where it stands."""
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        return hashlib.sha256(file.read() + ROOT.encode()).hexdigest()


def is_installed(extra):
    """Says whether .venv runs and holds this project with this extra, as its stamp tells."""
    try:
        with open(STAMP) as file:
            stamp = json.load(file)
    except (OSError, ValueError):
        return False
    known = stamp.get("digest") == digest_of_project() and extra in stamp.get("extras", [])
    return known and version_of(in_venv("python")) in PYTHONS


def install(extra, release, environ):
    """Makes .venv and installs the project into it, editable, with an extra ("" for none)."""
    python = prepare_system(release, environ)
    if version_of(in_venv("python")) not in PYTHONS or answer([in_venv("python"), "-m", "pip", "--version"]) is None:
        say("Making .venv with " + python)
        if subprocess.call([python, "-m", "venv", "--clear", VENV]) != 0:
            sys.exit("Could not make .venv with " + python)
    say("Installing TSTorch and what it needs into .venv (some hundred MB, once)")
    what = ROOT + ("[" + extra + "]" if extra else "")
    command = [in_venv("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    if subprocess.call(command + ["--editable", what]) != 0:
        sys.exit("pip could not install the project; its message stands above.")
    with open(STAMP, "w") as file:
        json.dump({"digest": digest_of_project(), "extras": ["", extra]}, file)


def own_model_line():
    """Spells the command that runs the user's own model, as it must be typed where the user stands."""
    program = in_venv("tstorch-run")
    shown = os.path.relpath(program) if os.getcwd() == ROOT else program
    return (shown if " " not in shown else '"' + shown + '"') + " path/to/your/model.onnx"


def demo():
    """Restores the example's weights, runs it, and says how to run another model; returns the exit status."""
    stripped = os.path.join(ROOT, "examples", "resnet18_bn.onnx")
    whole = os.path.join(ROOT, "out", "resnet18_bn.onnx")
    if not os.path.isdir(os.path.dirname(whole)):
        os.makedirs(os.path.dirname(whole))
    restore = [in_venv("python"), os.path.join(ROOT, "examples", "restore.py"), stripped, whole]
    status = subprocess.call(restore) or subprocess.call([in_venv("tstorch-run"), whole])
    if status == 0:
        say("\nNow your own model:\n    " + own_model_line())
    return status


def test(arguments):
    """Runs pytest as the README does; returns its exit status."""
    return subprocess.call([in_venv("pytest")] + arguments, cwd=ROOT)


def main(arguments):
    """Runs `demo` or `test`; returns the exit status, 2 where the command is neither."""
    if not arguments or arguments[0] not in ("demo", "test") or (arguments[0] == "demo" and arguments[1:]):
        say(__doc__.strip())
        return 0 if arguments in (["-h"], ["--help"]) else 2
    extra = "test" if arguments[0] == "test" else ""
    if not is_installed(extra):
        install(extra, read_os_release(), os.environ)
    return demo() if arguments[0] == "demo" else test(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
