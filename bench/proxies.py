"""The proxies that are compared: how each is started, and which Debian package it comes from."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench import configs
from examples.demo import children
from examples.demo.children import Child

APACHE_MODULES = Path("/usr/lib/apache2/modules")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Place:
    """Where a proxy is to live: a temporary folder, its port, the upstream's port."""

    where: Path
    port: int
    upstream_port: int
    busy: bool = False
    """Whether the modules that keep workers busy have routes; the others have one location, as we have one route."""

    def write(self, name: str, template: str, **more: object) -> Path:
        """A configuration file, made from a template."""
        filled = template.format(where=self.where, port=self.port, upstream_port=self.upstream_port, **more)
        path = self.where / name
        path.write_text(filled)
        return path


def program(name: str) -> str | None:
    """Where a program is; the system's folders are looked into whatever the PATH says."""
    return shutil.which(name) or shutil.which(name, path=SYSTEM_PATH)


def nginx(place: Place) -> list[str]:
    """One worker process, as many connections as the system allows."""
    files = children.most_files()
    connections = min(files, 20000)
    more = {"user": configs.nginx_user(), "files": files, "connections": connections}
    config = place.write("nginx.conf", configs.NGINX, **more)
    errors = str(place.where / "nginx-error.log")
    return [
        str(program("nginx")),
        "-p",
        f"{place.where}/",
        "-e",
        errors,
        "-c",
        str(config),
        "-g",
        "daemon off;",
    ]


def apache(place: Place) -> list[str]:
    """The event MPM with 512 threads and mod_proxy_http."""
    more = {"modules": APACHE_MODULES, "user": configs.apache_user()}
    config = place.write("apache.conf", configs.APACHE, **more)
    return [str(program("apache2")), "-f", str(config), "-D", "FOREGROUND"]


def twisted_proxy(place: Place) -> list[str]:
    """twisted.web.proxy on Twisted's default reactor."""
    return [sys.executable, "-m", "bench.twisted_proxy", str(place.port), str(place.upstream_port)]


def asyncproxy(module: str, server: str = "") -> Callable[[Place], list[str]]:
    """asyncproxy with one module on "/", and more in its ``[server]``."""

    def command(place: Place) -> list[str]:
        template = configs.ASYNCPROXY + (configs.BUSY_ROUTES if place.busy else "")
        more = server.format(where=place.where, admin=children.free_port() if "{admin}" in server else 0)
        config = place.write("proxy.toml", template, module=module, server=more)
        return children.asyncproxy(config)

    return command


COMMANDS: dict[str, Callable[[Place], list[str]]] = {
    "asyncproxy": asyncproxy("reverse"),
    "asyncproxy-module": asyncproxy("bench.modules:ForwardOnce"),
    "nginx": nginx,
    "apache": apache,
    "twisted": twisted_proxy,
    "unseen": asyncproxy("reverse", configs.UNSEEN),
    "seen": asyncproxy("reverse", configs.SEEN),
}
PACKAGES = {"nginx": "nginx-light", "apache2": "apache2", "wrk": "wrk"}


def missing_packages(names: list[str]) -> list[str]:
    """The Debian packages that must be installed before these can be measured."""
    wanted = {"nginx": "nginx", "apache": "apache2"}
    programs = ["wrk", *(wanted[name] for name in names if name in wanted)]
    return [PACKAGES[name] for name in programs if program(name) is None]


def start(name: str, place: Place, cpus: set[int] | None) -> Child:
    """Start one and wait until it listens; the caller ends it."""
    return children.start_listening(COMMANDS[name](place), place.port, log=place.where / f"{name}.log", cpus=cpus)


def said(argv: list[str]) -> str:
    """The first line of what a program says about itself, on either stream and whatever its status."""
    if program(argv[0]) is None:
        return "not installed"
    done = subprocess.run([str(program(argv[0])), *argv[1:]], capture_output=True, text=True, check=False, timeout=10)
    return (done.stdout + done.stderr).strip().split("\n")[0]


def versions() -> dict[str, str]:
    """Of all that took part."""
    return {
        "asyncproxy": version("asyncproxy"),
        "nginx": said(["nginx", "-v"]).removeprefix("nginx version: nginx/"),
        "Apache httpd": said(["apache2", "-v"]).removeprefix("Server version: Apache/"),
        "Twisted": version("twisted"),
        "uvloop": version("uvloop"),
        "Python": sys.version.split()[0],
        "wrk": " ".join(said(["wrk", "-v"]).split()[1:2]),
    }
