import socket
import sys

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError
from twisted.logger import capturedLogs, formatEvent
from twisted.python.usage import UsageError

from asyncproxy import Module, Response
from asyncproxy.configuration import ConfigurationError
from asyncproxy.service import Options, Proxy, ProxyService, address_text, makeService


def settings(**more):
    return {"server": {"listen": "tcp:0:interface=127.0.0.1"}, "route": [{"module": "status"}], **more}


class Counted(Module):
    made = 0

    def __init__(self, **given):
        type(self).made += 1
        super().__init__(**given)

    def handle(self, request):
        return Response()


class Unmakeable(Module):
    def __init__(self, **given):
        raise KeyError("no database")


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (IPv4Address("TCP", "127.0.0.1", 8080), "127.0.0.1:8080"),
        (IPv6Address("TCP", "::1", 8080), "[::1]:8080"),
        (UNIXAddress("/run/proxy.sock"), "unix:/run/proxy.sock"),
        (UNIXAddress(b"/run/proxy.sock"), "unix:/run/proxy.sock"),
    ],
)
def test_an_address_reads_as_people_write_it(address, text):
    assert address_text(address) == text


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_listens_says_where_and_with_what(reactor):
    proxy = Proxy(settings(admin={"listen": "tcp:0:interface=127.0.0.1"}), reactor)
    await proxy.start()
    try:
        clients, status = (address.port for address in proxy.addresses)
        assert proxy.summary() == f"127.0.0.1:{clients}, status on 127.0.0.1:{status}: 5 workers, 1 route"
        assert repr(proxy) == f"<Proxy 127.0.0.1:{clients}, 127.0.0.1:{status}>"
    finally:
        await proxy.stop()
    assert repr(proxy) == "<Proxy stopped>"


def test_a_service_whose_port_is_taken_raises_before_the_reactor_runs(reactor, taken, monkeypatch):
    monkeypatch.setattr(reactor, "running", False)
    monkeypatch.setattr(sys, "tracebacklimit", 1000, raising=False)
    service = ProxyService(Proxy(settings(server={"listen": f"tcp:{taken}:interface=127.0.0.1"}), reactor))
    with capturedLogs() as logged, pytest.raises(CannotListenError, match=str(taken)):
        service.startService()
    service.stopService()
    (told,) = logged
    assert formatEvent(told).startswith("asyncproxy cannot start: Couldn't listen on 127.0.0.1:")


def test_every_route_whose_module_is_wrong_is_told_at_once():
    routes = [
        {"path": "/a", "module": "revers"},
        {"path": "/b", "module": "reverse", "settings": {"strip": True}},
        {"path": "/c", "module": "reverse"},
    ]
    with pytest.raises(ConfigurationError) as caught:
        Proxy(settings(route=routes))
    first, second = caught.value.problems
    assert first.startswith('route[0] (path "/a"): module "revers": no module has this name')
    known = "preserve_host, rewrite, strip_prefix"
    assert second == f'route[1].settings.strip (path "/b"): no such setting; known are {known}'


def test_what_is_wrong_with_tables_and_with_modules_is_told_at_once():
    routes = [
        {"path": "/a", "module": "reverse", "settings": {"strip_prefix": "yes"}},
        {"path": "/b", "module": f"{__name__}:Unmakeable"},
        {"path": "/c", "module": "reverse", "timout": "3s"},
    ]
    with pytest.raises(ConfigurationError) as caught:
        Proxy(settings(server={"listen": "tcp:0", "wrokers": 3}, route=routes))
    wrong, unknown, setting, raised = caught.value.problems
    assert wrong.startswith("server.wrokers: unknown key")
    assert unknown.startswith("route[2].timout: unknown key")
    assert setting == 'route[0].settings.strip_prefix (path "/a"): expected bool, not "yes"'
    module = f'module "{__name__}:Unmakeable"'
    assert raised.startswith(
        f"""route[1] (path "/b"): {module} could not be made: KeyError: 'no database' ({__file__}"""
    )


class Unfinished(Module):
    """Answers nothing yet."""


def test_a_module_that_cannot_answer_is_told_at_start_and_not_to_every_client():
    with pytest.raises(ConfigurationError, match=r'Unfinished": Unfinished has no handle\(self, request\); write one$'):
        Proxy(settings(route=[{"module": f"{__name__}:Unfinished"}]))


def test_a_route_with_filters_is_refused_rather_than_served_without_them():
    with pytest.raises(
        ConfigurationError, match=r"route\[0\] \(path \"/\"\): filters are not applied by this version yet"
    ):
        Proxy(settings(route=[{"module": "reverse", "filters": ["guard:Guard"]}]))


def test_problems_of_a_file_are_told_with_its_name(tmp_path):
    file = tmp_path / "proxy.toml"
    file.write_text('[server]\nlisten = "tcp:0"\n[[route]]\nmodule = "revers"\n')
    with pytest.raises(ConfigurationError, match=rf"^{file}: route\[0\] "):
        Proxy(file)


def test_the_command_makes_each_module_once(tmp_path, monkeypatch):
    monkeypatch.setattr(Counted, "made", 0)
    file = tmp_path / "proxy.toml"
    file.write_text(f'[server]\nlisten = "tcp:0"\n[[route]]\nmodule = "{__name__}:Counted"\n')
    options = Options()
    options.parseOptions(["--config", str(file)])
    assert makeService(options).proxy.bindings[0].name == f"{__name__}:Counted"
    assert Counted.made == 1


def test_the_command_without_a_file_needs_a_place_and_a_server():
    with pytest.raises(UsageError, match="give --config FILE, or --listen ENDPOINT and --upstream URL"):
        Options().parseOptions([])


def test_check_says_what_each_route_does_and_ends_well(capsys):
    with pytest.raises(SystemExit) as ended:
        Options().parseOptions(["--listen", "tcp:8080", "--upstream", "http://127.0.0.1:9000", "--check"])
    assert ended.value.code == 0
    assert "http://127.0.0.1:9000" in capsys.readouterr().out


def test_check_of_a_bad_file_says_why_and_ends_badly(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        Options().parseOptions(["--config", str(tmp_path / "none.toml"), "--check"])
    assert ended.value.code == 1
    assert "no such file" in capsys.readouterr().err


def test_the_version_is_asyncproxys_own(capsys):
    with pytest.raises(SystemExit):
        Options().parseOptions(["--version"])
    assert capsys.readouterr().out.startswith("asyncproxy 0.")
