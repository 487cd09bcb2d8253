"""Fresh Python environments that have what a wheel depends on, and neither a checkout nor anything else.

The dependencies are those of the environment that runs the tests, file by file as their RECORDs list them, so that
nothing is downloaded and Twisted stands in the very folders that a wheel of ours is installed into.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import Distribution, PackagePath, distribution
from pathlib import Path

from packaging.requirements import Requirement

PATIENCE = 50.0


def build(source: Path, out: Path, *kinds: str) -> list[Path]:
    """What hatchling builds of `source`, ``wheel`` or ``sdist``, in the order of `kinds`."""
    targets = [word for kind in kinds for word in ("-t", kind)]
    run(sys.executable, "-m", "hatchling", "build", "-d", str(out), *targets, cwd=source)
    endings = {"wheel": "*.whl", "sdist": "*.tar.gz"}
    return [one for kind in kinds for one in out.glob(endings[kind])]


class Environment:
    """A virtual environment in `directory`, with all that the distributions `needed` depend on, but not themselves."""

    def __init__(self, directory: Path, *needed: str) -> None:
        venv.create(directory, symlinks=True, with_pip=False)
        self.bin = directory / "bin"
        self.python = self.bin / "python"
        self.packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(directory)}))
        for found in {found.name: found for name in needed for found in dependencies(name)}.values():
            for file in found.files or ():
                self._take(file)

    def _take(self, file: PackagePath) -> None:
        source = Path(str(file.locate()))
        target = self.packages / file if ".." not in file.parts else self.bin / file.name
        if (file.parts[0] == ".." and file.parent.name != "bin") or source.suffix == ".pyc" or not source.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.parent == self.bin:
            text = source.read_text().replace(sys.executable, str(self.python)).partition("\n")[2]
            target.write_text(f"#!{self.python}\n{text}")
            target.chmod(0o755)
        else:
            shutil.copy2(source, target)

    def install(self, *wheels: Path) -> None:
        """Install `wheels`; whatever they depend on must be there."""
        self.pip("install", "--no-index", *map(str, wheels))

    def pip(self, *arguments: str) -> str:
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(self.python))
        return run(*pip, *arguments, cwd=self.bin)

    def run(self, program: str, *arguments: str) -> str:
        """The output of a program of the environment, which ends well."""
        return run(str(self.bin / program), *arguments, cwd=self.bin)


def run(*command: str, cwd: Path) -> str:
    """The output of a command that must end with 0."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    done = subprocess.run(
        command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE
    )
    assert done.returncode == 0, f"{' '.join(command)} ends with {done.returncode}: {done.stdout}"
    return done.stdout


def dependencies(name: str) -> list[Distribution]:
    """What the distribution `name` depends on, and what that does."""
    found: dict[tuple[str, str], Distribution] = {}
    _gather(distribution(name), "", found)
    return list(found.values())


def _gather(of: Distribution, extra: str, found: dict[tuple[str, str], Distribution]) -> None:
    for requirement in map(Requirement, of.requires or ()):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        for more in ("", *requirement.extras):
            if (requirement.name, more) not in found:
                found[requirement.name, more] = distribution(requirement.name)
                _gather(found[requirement.name, more], more, found)
