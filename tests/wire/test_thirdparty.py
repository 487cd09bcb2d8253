"""A stranger's package, `examples/thirdparty`, built, installed beside asyncproxy's wheel and used by name."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.wire.environments import Environment, build
from tests.wire.peers import free_port
from tests.wire.proxies import ROOT, Proxy, ended

EXAMPLE = ROOT / "examples" / "thirdparty"


@pytest.fixture(scope="module")
def environment(asyncproxy_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("environment"), "asyncproxy", "pytest-timeout")
    (wheel,) = build(EXAMPLE, tmp_path_factory.mktemp("wheel"), "wheel")
    environment.install(asyncproxy_wheel, wheel)
    return environment


def settings() -> str:
    """The example's own configuration, from its routes on."""
    return "[[route]]" + (EXAMPLE / "proxy.toml").read_text().partition("[[route]]")[2]


@pytest.mark.parametrize("reactor", ["uvloop", "epoll"])
def test_a_module_of_another_package_is_used_by_its_name(
    environment: Environment, tmp_path: Path, reactor: str
) -> None:
    proxy = Proxy(tmp_path, reactor, settings(), cwd=tmp_path, program=environment.bin / "twistd")
    with proxy.client() as client:
        assert client.get("/orders?shop=slow&pieces=3").json() == {"sum": 20.52, "currency": "USD"}
        assert client.get("/orders?shop=near").json() == {"sum": 8.55, "currency": "USD"}
        assert client.get("/orders?shop=gone").status == 400
        assert client.get(f"/orders?shop=near&{'x' * 1024}").status == 414
    proxy.stop()


def check(environment: Environment, config: Path, rest: str) -> tuple[int, str]:
    config.write_text(f'[server]\nlisten = "tcp:{free_port()}"\n{rest}')
    command = (environment.bin / "twistd", "asyncproxy", "--config", config, "--check")
    return ended(
        subprocess.Popen(command, cwd=config.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    )


def test_check_tells_all_that_is_wrong_with_its_settings(environment: Environment, tmp_path: Path) -> None:
    config = tmp_path / "proxy.toml"
    wrong = settings().replace("discounts", "discount").replace('"200ms"', "200").replace('"USD"', '"DM"')
    status, output = check(environment, config, wrong)
    assert status == 1
    place = f"{config}: route[0].settings"
    assert output.splitlines() == [
        f'{place}.discount (path "/orders"): no such setting; did you mean discounts?',
        f'{place}.shops.slow.thinks (path "/orders"): 200 has no unit; write "200s" or "500ms"',
        f'{place}.currency (path "/orders"): expected one of "EUR", "USD", not "DM"',
    ]


def test_a_name_that_is_misspelt_is_told_the_plugins(environment: Environment, tmp_path: Path) -> None:
    status, output = check(environment, tmp_path / "proxy.toml", '[[route]]\nmodule = "order"\n')
    assert status == 1
    assert "did you mean orders? stock modules are " in output
    assert "; plugins are orders; " in output


def test_the_packages_own_tests_pass_with_what_is_installed(environment: Environment, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    output = environment.run("python", "-m", "pytest", "-p", "no:cacheprovider", "-q", str(tmp_path))
    assert "3 passed" in output
