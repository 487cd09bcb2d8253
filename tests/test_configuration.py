import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncproxy.configuration import (
    ConfigurationError,
    Limits,
    Origin,
    Route,
    Upstream,
    describe,
    duration,
    from_options,
    load,
    size,
)

LISTEN = "tcp:8080:interface=127.0.0.1"


def source(**tables):
    return {"server": {"listen": LISTEN}, "route": [{"module": "status"}], **tables}


def routed(*routes, **tables):
    return source(route=[{"module": "status", **route} for route in routes], **tables)


def problems(of):
    with pytest.raises(ConfigurationError) as caught:
        load(of)
    return list(caught.value.problems)


def written(folder: Path, text: str) -> Path:
    file = folder / "proxy.toml"
    file.write_text(text, "utf-8")
    return file


# The file of DESIGN.md section 6, a contract.
CONTRACT = """
[server]
listen = ["tcp:8080:interface=127.0.0.1"]
workers = 5
max_parked = 20000
max_queued = 1000
drain = "30s"
access_log = "access.log"
access_log_format = "combined"

[admin]
listen = "tcp:8081:interface=127.0.0.1"

[upstream.orders]
servers = ["http://127.0.0.1:9000", "http://127.0.0.1:9001"]

[[route]]
path = "/orders/"
module = "reverse"
upstream = "orders"
timeout = "30s"
filters = []
settings = { strip_prefix = true }

[[route]]
module = "package.file:Class"
[route.settings]
region = "eu"
"""


def test_the_documented_file_is_read_whole(tmp_path):
    settings = load(written(tmp_path, CONTRACT))
    assert settings.server.listen == (LISTEN,)
    assert (settings.server.workers, settings.server.max_parked, settings.server.max_queued) == (5, 20000, 1000)
    assert (settings.server.drain, settings.server.access_log) == (30.0, "access.log")
    assert settings.admin is not None
    assert settings.admin.token is None
    assert settings.limits == Limits()
    assert settings.upstream["orders"].servers == (Origin("http", "127.0.0.1", 9000), Origin("http", "127.0.0.1", 9001))
    assert settings.route[0] == Route(
        path="/orders/", module="reverse", upstream="orders", timeout=30.0, settings={"strip_prefix": True}
    )
    assert settings.route[1] == Route(path="/", module="package.file:Class", settings={"region": "eu"})


def test_a_file_a_text_path_and_a_mapping_say_the_same(tmp_path):
    file = written(tmp_path, f'server.listen = "{LISTEN}"\n[[route]]\nmodule = "status"')
    assert load(file) == load(str(file)) == load(source())


def test_the_least_there_can_be_has_the_documented_defaults():
    settings = load(source(upstream={"a": {"servers": "http://h"}}))
    assert settings.limits == Limits(
        request_line=8192,
        head=65536,
        body=2**30,
        spool=2**20,
        pipeline_buffer=65536,
        fields=100,
        connections=20000,
        connections_per_client=None,
        requests_per_connection=10000,
        first_request_timeout=60.0,
        head_timeout=60.0,
        keep_alive=75.0,
        body_idle=60.0,
        body_rate=500,
        body_rate_grace=20.0,
        send_timeout=60.0,
        send_rate=0,
        linger=2.0,
    )
    assert settings.upstream["a"] == Upstream(
        servers=(Origin("http", "h", 80),),
        connect_timeout=5.0,
        send_timeout=60.0,
        first_byte_timeout=60.0,
        idle_timeout=60.0,
        total_timeout=None,
        keep_alive=60.0,
        max_connections=10000,
        max_idle=128,
    )
    assert settings.route == (Route(path="/", module="status"),)
    assert settings.admin is None


def test_settings_are_frozen():
    settings = load(source())
    with pytest.raises(AttributeError):
        settings.server.workers = 6
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"head": 1, "hed": 2}, Limits)


OFF = dict.fromkeys(
    ("connections", "connections_per_client", "requests_per_connection", "body_rate", "send_rate", "linger"), "off"
)


def test_off_and_zero_are_off_where_that_makes_sense():
    group = {"servers": ["http://h"], "total_timeout": "off", "idle_timeout": 0, "keep_alive": "off"}
    settings = load(
        routed({"timeout": 0}, upstream={"a": group}, limits={"body": 0, "keep_alive": "0s", "spool": "off", **OFF})
    )
    assert [getattr(settings.limits, name) or None for name in OFF] == [None] * len(OFF)
    upstream = settings.upstream["a"]
    assert (upstream.total_timeout, upstream.idle_timeout, upstream.keep_alive) == (None, None, 0.0)
    assert (settings.limits.body, settings.limits.keep_alive, settings.limits.spool) == (0, 0.0, 0)
    assert settings.route[0].timeout is None


@pytest.mark.parametrize(("written", "seconds"), [("250ms", 0.25), ("off", None), ("0s", None)])
def test_how_long_a_worker_may_be_kept_has_a_default_and_can_be_off(written, seconds):
    assert load(source()).server.stall == 1.0
    assert load({**source(), "server": {"listen": LISTEN, "stall": written}}).server.stall == seconds


def test_a_route_may_name_a_url_which_becomes_a_group_of_that_name():
    settings = load(routed({"upstream": "http://H:9000/"}, {"path": "/b", "upstream": "http://h:9000"}))
    assert settings.upstream == {"http://h:9000": Upstream(servers=(Origin("http", "h", 9000),))}
    assert [route.upstream for route in settings.route] == ["http://h:9000", "http://h:9000"]


def test_hosts_and_methods_are_stored_in_one_spelling():
    settings = load(
        routed({"host": "*.Example.com.", "methods": "get"}, {"host": "[0:0::1]", "methods": ["Put", "put"]})
    )
    assert [(route.host, route.methods) for route in settings.route] == [("*.example.com", ("GET",)), ("::1", ("PUT",))]


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ({"server": {"listen": LISTEN, "worker": 5}}, "server.worker: unknown key; did you mean workers?"),
        ({"frobnicate": {}}, "frobnicate: unknown key; known are server, admin, limits, tickets, upstream, route"),
        ({"routes": []}, "routes: unknown key; did you mean route?"),
        ({"server": {}}, f'server.listen: is missing; write listen = "{LISTEN}"'),
        ({"server": {"listen": []}}, f'server.listen: is empty; write at least one, for example "{LISTEN}"'),
        ({"server": {"listen": LISTEN, "workers": 0}}, "server.workers: expected int >= 1, not 0; the default is 5"),
        (
            {"server": {"listen": LISTEN, "max_parked": "many"}},
            'server.max_parked: expected int, not "many"; the default is 20000',
        ),
        (
            {"server": {"listen": LISTEN, "access_log_format": "xml"}},
            'server.access_log_format: "xml" is neither "combined" nor "json"; write one of them',
        ),
        (
            {"server": {"listen": LISTEN, "server_name": "a\nb"}},
            'server.server_name: "a\nb" cannot be told as Server: write "name/1.0" in ASCII, or "off"',
        ),
        (
            {"server": {"listen": LISTEN, "via": "two words"}},
            'server.via: "two words" is no name for Via: write a host or a word such as "asyncproxy", or "off"',
        ),
        (
            {"server": {"listen": LISTEN, "request_id_header": "X Request"}},
            'server.request_id_header: "X Request" cannot carry an id; write for example "X-Request-ID", or "off"',
        ),
        (
            {"server": {"listen": LISTEN, "request_id_header": "Connection"}},
            'server.request_id_header: "Connection" cannot carry an id; write for example "X-Request-ID", or "off"',
        ),
        ({"server": 8080}, "server: must be a table, not 8080; write [server]"),
        ({"limits": {"head": 65536}}, 'limits.head: 65536 has no unit; write "65536B" or "64KiB"'),
        ({"limits": {"head": "0B"}}, 'limits.head: "0B" leaves no room at all; write for example "64KiB"'),
        (
            {"limits": {"head_timeout": "off"}},
            'limits.head_timeout: "off": this cannot be off; write for example "30s"',
        ),
        (
            {"limits": {"head_timeout": False}},
            'limits.head_timeout: False is not a duration; write for example "500ms"',
        ),
        (
            {"limits": {"connections": 0}},
            'limits.connections: 0 is no count; write 1 or more, or "off"',
        ),
        (
            {"limits": {"requests_per_connection": "many"}},
            'limits.requests_per_connection: "many" is no count; write 1 or more, or "off"',
        ),
        ({"limits": {"body_rate": 500}}, 'limits.body_rate: 500 has no unit; write "500B" or "64KiB"'),
        ({"upstream": {"servers": []}}, "upstream: must be tables with a name each; write [upstream.NAME]"),
        ({"upstream": {"a": {}}}, 'upstream.a.servers: is missing; write servers = ["http://127.0.0.1:9000"]'),
        (
            {"upstream": {"a": {"servers": ["https://h"]}}},
            'upstream.a.servers: "https://h": https to upstreams comes later; write http://host:port',
        ),
        ({"route": {"module": "status"}}, "route: must be a list of tables; write [[route]]"),
        ({"route": []}, 'route: there are no routes; write [[route]] with path = "/" and module = "reverse"'),
        ({"route": [{}]}, 'route[0].module: is missing; write module = "reverse"'),
    ],
)
def test_a_mistake_is_told_with_its_place_and_its_mend(tables, problem):
    assert problems(source(**tables)) == [problem]


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        ({"timeout": "30"}, 'route[1].timeout: "30" has no unit; write "30s" or "500ms"'),
        ({"timeout": 30}, 'route[1].timeout: 30 has no unit; write "30s" or "500ms"'),
        ({"path": "b"}, 'route[1].path: "b" must begin with "/"'),
        ({"path": 5}, 'route[1].path: 5 must begin with "/"'),
        (
            {"path": "/a/../b"},
            'route[1].path: "/a/../b" never matches: paths are compared in normal form; write "/b"',
        ),
        ({"path": "/a//b"}, 'route[1].path: "/a//b" never matches: paths are compared in normal form; write "/a/b"'),
        ({"path": "/a%20b"}, 'route[1].path: "/a%20b" never matches: paths are compared decoded; write "/a b"'),
        (
            {"path": "/b?x"},
            'route[1].path: "/b?x" has a query or fragment, which routes do not look at; write the path alone',
        ),
        (
            {"host": "example.com:80"},
            'route[1].host: "example.com:80" has a port, and hosts are compared without; write "example.com"',
        ),
        (
            {"host": "http://example.com"},
            'route[1].host: "http://example.com" is not a host; write for example "example.com" or "*.example.com"',
        ),
        (
            {"host": "a.*.com"},
            'route[1].host: "a.*.com" is not a host; write for example "example.com" or "*.example.com"',
        ),
        (
            {"methods": ["get post"]},
            'route[1].methods: [\'get post\']: not all of it are methods; write for example ["GET", "POST"]',
        ),
        ({"methods": []}, 'route[1].methods: is empty; write at least one, for example "GET"'),
        (
            {"module": " "},
            'route[1].module: " " is not a module; write for example "reverse" or "package.file:Class"',
        ),
        (
            {"keep_alive": "SSE"},
            'route[1].keep_alive: "SSE" is nothing that keeps a waiting client; did you mean "sse"?',
        ),
        (
            {"keep_alive": 103},
            'route[1].keep_alive: 103 is nothing that keeps a waiting client; did you mean "102"?',
        ),
        (
            {"keep_alive": "15s"},
            'route[1].keep_alive: "15s" is nothing that keeps a waiting client; write "sse", "json", "102" or "off"; '
            "how often is keep_alive_every",
        ),
        (
            {"keep_alive": True},
            'route[1].keep_alive: true is nothing that keeps a waiting client; write "sse", "json", "102" or "off"',
        ),
        ({"keep_alive_every": "off"}, 'route[1].keep_alive_every: "off": this cannot be off; write for example "30s"'),
        ({"settings": 5}, "route[1].settings: expected a table, not 5"),
        (
            {"strip_prefix": True},
            "route[1].strip_prefix: unknown key; known are path, host, methods, module, upstream, timeout, "
            "keep_alive, keep_alive_every, server_timing, filters, settings; a module's own keys go in settings",
        ),
        (
            {"upstream": "order"},
            'route[1].upstream: there is no upstream "order"; did you mean orders? known are orders',
        ),
        ({"upstream": "x"}, 'route[1].upstream: there is no upstream "x"; known are orders'),
        (
            {"upstream": "localhost:9000"},
            'route[1].upstream: "localhost:9000" does not say how to speak to it; write "http://localhost:9000"',
        ),
        ({"path": "/a/"}, 'route[1]: all methods at "/a/" already goes to route[0]; remove one'),
    ],
)
def test_a_mistake_in_a_route_is_told_with_its_number(route, problem):
    assert problems(routed({"path": "/a/"}, route, upstream={"orders": {"servers": ["http://h"]}})) == [problem]


def test_the_only_mend_for_an_unknown_upstream_where_there_are_none_is_to_write_one():
    assert problems(routed({"upstream": "a"})) == [
        'route[0].upstream: there is no upstream "a"; write [upstream.a], or a URL'
    ]


def test_methods_that_two_routes_at_one_place_share_are_told_once_each():
    first, second = {"methods": ["GET", "PUT"], "host": "a.com"}, {"methods": ["put", "get"], "host": "A.com"}
    assert problems(routed(first, second)) == [
        'route[1]: PUT at "/" of a.com already goes to route[0]; remove one',
        'route[1]: GET at "/" of a.com already goes to route[0]; remove one',
    ]


def test_a_route_for_some_methods_stands_beside_one_for_the_rest():
    assert len(load(routed({}, {"methods": ["GET"]}, {"methods": ["HEAD", "PUT"]}, {"host": "a.com"})).route) == 4


def test_all_problems_are_told_at_once_each_on_a_line_with_the_file(tmp_path):
    file = written(
        tmp_path, '[server]\nworker = 1\n[limits]\nhead = "1"\n[[route]]\nmodule = ""\n[[route]]\npath = "x"'
    )
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    lines = str(caught.value).splitlines()
    assert [line.removeprefix(f"{file}: ").split(":")[0] for line in lines] == [
        "server.worker", "server.listen", "limits.head", "route[0].module", "route[1].path", "route[1].module",
    ]  # fmt: skip


def test_a_file_that_is_not_there_or_not_toml_says_so(tmp_path):
    with pytest.raises(ConfigurationError, match=re.escape(f"proxy.toml: no such file; looked in {Path.cwd()}")):
        load("proxy.toml")
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load(tmp_path)
    with pytest.raises(ConfigurationError, match=r"proxy.toml: line 2, column 8: not TOML: "):
        load(written(tmp_path, "[server]\nlisten 5"))
    (tmp_path / "proxy.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigurationError, match="is not UTF-8 at byte 5"):
        load(tmp_path / "proxy.toml")


@pytest.mark.parametrize(
    "listen",
    [
        "tcp:8081:interface=127.0.0.1",
        "tcp:interface=127.9.9.9:port=8081",
        "tcp:8081:127.0.0.1",
        r"tcp:8081:interface=\:\:1",
        "tcp:8081:interface=localhost",
        "unix:/run/admin.sock:mode=600",
    ],
)
def test_an_admin_listener_on_this_machine_needs_no_token(listen):
    assert load(source(admin={"listen": listen})).admin.listen == listen


@pytest.mark.parametrize(
    "listen",
    [
        "tcp:8081",
        "tcp:8081:interface=",
        "tcp:8081:interface=0.0.0.0",
        "tcp:8081:interface=10.0.0.1",
        "systemd:domain=INET",
    ],
)
def test_any_other_admin_listener_must_have_a_token(listen):
    [problem] = problems(source(admin={"listen": listen}))
    assert problem.startswith(
        f'admin.listen: "{listen}" can be reached from other machines and there is no admin.token'
    )
    assert load(source(admin={"listen": listen, "token": "s3cret"})).admin.token == "s3cret"


def test_a_token_is_never_shown():
    assert problems(source(admin={"listen": LISTEN, "token": "hush hush"})) == [
        "admin.token: must be text of visible ASCII characters without spaces, and not empty"
    ]
    assert len(problems(source(admin={"listen": "tcp:1", "token": ""}))) == 1
    settings = load(source(admin={"listen": LISTEN, "token": "s3cret"}))
    assert "s3cret" not in repr(settings) + describe(settings)


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "localhost:8080", "8080", ":8080", "tcp", "", 8080, "http://x"])
def test_what_is_no_endpoint_is_told_how_one_looks(listen):
    [problem] = problems({"server": {"listen": listen}, "route": [{"module": "status"}]})
    assert problem.endswith(f'write for example "{LISTEN}"')


@pytest.mark.parametrize("listen", ["tcp:http", "tcp:65536", "tcp:interface=127.0.0.1"])
def test_a_tcp_endpoint_has_a_port(listen):
    assert problems({"server": {"listen": listen}, "route": [{"module": "status"}]}) == [
        f'server.listen: "{listen}" has no good port; write for example "{LISTEN}"'
    ]


def test_the_command_line_is_one_route_to_one_server():
    settings = from_options(LISTEN, "http://127.0.0.1:9000", "7", "tcp:8081:interface=127.0.0.1")
    assert settings == load(
        {
            "server": {"listen": [LISTEN], "workers": 7},
            "admin": {"listen": "tcp:8081:interface=127.0.0.1"},
            "route": [{"path": "/", "module": "reverse", "upstream": "http://127.0.0.1:9000"}],
        }
    )
    assert from_options([LISTEN], "http://h").server.workers == 5


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("8080", "http://h"), "--listen: "),
        ((LISTEN, "h:9000"), '--upstream: "h:9000" does not say how to speak to it; write "http://h:9000"'),
        ((LISTEN, "http://h", "five"), '--workers: expected int, not "five"; the default is 5'),
        ((LISTEN, "http://h", 5, "tcp:8081"), "--admin: "),
    ],
)
def test_a_mistake_on_the_command_line_is_told_with_its_option(options, problem):
    with pytest.raises(ConfigurationError, match="^command line: " + re.escape(problem)):
        from_options(*options)


def test_a_description_says_what_each_route_does_in_order_of_precedence():
    settings = load(
        {
            "server": {"listen": [LISTEN, "unix:/run/p.sock"], "access_log": "-", "access_log_format": "json"},
            "admin": {"listen": r"tcp:8081:interface=\:\:1"},
            "limits": {"body": "10MiB", "keep_alive": "off"},
            "upstream": {"orders": {"servers": ["http://[::1]:9000", "unix:/run/app.sock"], "total_timeout": "2h"}},
            "route": [
                {"module": "reverse", "upstream": "http://localhost:9000"},
                {"module": "status", "path": "/orders/"},
                {
                    "module": "package.file:Class",
                    "path": "/orders/",
                    "host": "*.example.com",
                    "methods": ["get", "post"],
                    "upstream": "orders",
                    "timeout": "90s",
                    "keep_alive": "sse",
                    "keep_alive_every": "5s",
                    "filters": ["a.b:C", "d.e:F"],
                },
            ],
        }
    )
    # fmt: off
    assert describe(settings) == r"""
listen      tcp:8080:interface=127.0.0.1
listen      unix:/run/p.sock
admin       tcp:8081:interface=\:\:1 (this machine only)
workers     5 threads, 20000 parked and 1000 queued at most
access log  - (json)

PATH      HOST           METHODS   MODULE              FILTERS        UPSTREAM                                        TIMEOUT
/orders/  *.example.com  GET POST  package.file:Class  a.b:C > d.e:F  orders -> http://[::1]:9000 unix:/run/app.sock  90s
/orders/  any            any       status              -              -                                               off
/         any            any       reverse             -              http://localhost:9000                           off

while a client waits
  /orders/  *.example.com  sse: a comment of an event stream every 5s

not the default
  limits.body                    10MiB  (default 1GiB)
  limits.keep_alive              off    (default 75s)
  upstream.orders.total_timeout  2h     (default off)
""".strip()  # noqa: E501
    # fmt: on


def test_a_description_says_who_is_believed_and_what_is_told(tmp_path):
    (tmp_path / "502.html").write_text("<h1>{status}</h1>")
    server = {
        "trusted": ["10.0.0.0/8", "unix"], "proxy_protocol": True, "forwarded": "off", "via": "off",
        "server_name": "edge", "error_pages": str(tmp_path), "workers": 9, "access_log": "-", "drain": "5s",
    }  # fmt: skip
    route = {"module": "reverse", "upstream": "http://h"}
    # fmt: off
    assert describe(load({"server": {"listen": [LISTEN], **server}, "route": [route]})).endswith("""
not the default
  server.drain           5s               (default 30s)
  server.trusted         10.0.0.0/8 unix  (default none)
  server.proxy_protocol  true             (default false)
  server.forwarded       off              (default both)
  server.error_pages     502.html         (default off)
  server.server_name     edge             (default asyncproxy)
  server.via             off              (default asyncproxy)""")
    # fmt: on


def test_a_description_without_anything_special_is_short():
    assert "not the default" not in describe(from_options(LISTEN, "http://h"))


def test_the_readers_of_units_are_public_here():
    assert (duration("1m"), size("1KiB")) == (60.0, 1024)


toml = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
tables = {
    "server": ["listen", "workers", "drain", "stall", "access_log", "access_log_format"],
    "admin": ["listen", "token"],
    "limits": ["body", "head", "keep_alive", "head_timeout"],
}
keys = ["path", "host", "methods", "module", "upstream", "timeout", "filters", "settings"]
anything = st.fixed_dictionaries(
    {},
    optional={
        **{name: toml | st.dictionaries(st.sampled_from(known), toml) for name, known in tables.items()},
        "route": toml | st.lists(st.dictionaries(st.sampled_from(keys), toml), max_size=3),
        "upstream": toml | st.dictionaries(st.text(max_size=4), st.dictionaries(st.just("servers"), toml), max_size=2),
    },
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # it is, on a busy machine
@given(anything)
def test_whatever_is_written_is_settings_or_a_configuration_error(given_source):
    try:
        settings = load(given_source)
    except ConfigurationError as error:
        assert error.problems  # noqa: PT017 - both ways out are right
    else:
        assert describe(settings)
