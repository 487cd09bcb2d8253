from dataclasses import dataclass
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncproxy.exchange.routing import (
    MethodNotAllowed,
    NotFound,
    Router,
    bare_host,
    by_precedence,
    normal_path,
)


@dataclass(frozen=True)
class Place:
    path: str
    host: str | None = None
    methods: tuple[str, ...] | None = None


ROOT, ORDERS, OLD = Place("/"), Place("/orders/"), Place("/orders/old/")


def test_the_longest_prefix_wins_whatever_the_order():
    for routes in ([ROOT, ORDERS, OLD], [OLD, ROOT, ORDERS]):
        router = Router(routes)
        assert router.find("", "/orders/old/7", "GET") is OLD
        assert router.find("", "/orders/7", "GET") is ORDERS
        assert router.find("", "/orders", "GET") is ROOT


def test_a_prefix_is_a_plain_text_prefix_as_in_nginx():
    place = Place("/ord")
    assert Router([place]).find("", "/orders", "GET") is place


def test_a_path_of_nobody_is_not_found():
    for path in ("/", "/order", "*"):
        with pytest.raises(NotFound):
            Router([ORDERS]).find("", path, "GET")
    with pytest.raises(NotFound):
        Router([]).find("", "/", "GET")


def test_a_host_beats_none_at_the_same_path_but_not_a_longer_path():
    here = Place("/", "example.com")
    router = Router([ROOT, here, ORDERS])
    assert router.find("example.com", "/x", "GET") is here
    assert router.find("example.com", "/orders/7", "GET") is ORDERS
    assert router.find("example.org", "/x", "GET") is ROOT
    assert router.find("", "/x", "GET") is ROOT


@pytest.mark.parametrize("host", ["Example.COM", "example.com:8080", "EXAMPLE.com.:80", "example.com."])
def test_a_host_is_the_same_in_any_case_with_any_port_and_with_a_final_dot(host):
    here = Place("/", "example.com")
    assert Router([ROOT, here]).find(host, "/", "GET") is here


def test_a_wildcard_host_takes_every_name_below_it_and_a_closer_one_wins():
    wide, near, exact = Place("/", "*.example.com"), Place("/", "*.eu.example.com"), Place("/", "a.eu.example.com")
    router = Router([wide, exact, near])
    assert router.find("x.y.example.com:80", "/", "GET") is wide
    assert router.find("B.eu.example.com", "/", "GET") is near
    assert router.find("a.eu.example.com", "/", "GET") is exact
    for host in ("example.com", "badexample.com", "*.example.org"):
        with pytest.raises(NotFound):
            router.find(host, "/", "GET")


def test_the_closest_wildcard_answers_for_a_host_whatever_the_paths_are():
    near, wide = Place("/", "*.a.x.com"), Place("/long/path/", "*.x.com")
    router = Router([near, wide])
    assert router.find("b.a.x.com", "/", "GET") is near
    assert router.find("b.a.x.com", "/long/path/", "GET") is wide


def test_a_named_host_still_has_the_wildcards_longer_paths():
    wide, exact = Place("/orders/", "*.example.com"), Place("/", "a.example.com")
    assert Router([wide, exact]).find("a.example.com", "/orders/1", "GET") is wide


@pytest.mark.parametrize("host", ["[::1]", "[::1]:8080", "[0:0:0:0:0:0:0:1]:80"])
def test_an_ipv6_literal_is_compared_as_an_address(host):
    here = Place("/", "::1")
    assert Router([ROOT, here]).find(host, "/", "GET") is here


@given(st.text(max_size=30))
@example("[")
@example("[::1")
@example("a:b:c")
@example(":")
def test_any_host_header_finds_a_route_or_none_and_never_breaks(host):
    bare_host(host)
    assert Router([ROOT, Place("/", "example.com")]).find(host, "/", "GET").path == "/"


def test_methods_narrow_a_route_and_the_rest_falls_to_the_next():
    reading = Place("/", methods=("GET",))
    router = Router([ROOT, reading])
    assert router.find("", "/", "GET") is reading
    assert router.find("", "/", "HEAD") is reading
    assert router.find("", "/", "POST") is ROOT
    writing = Place("/orders/", methods=("POST",))
    assert Router([ROOT, writing]).find("", "/orders/1", "GET") is ROOT


def test_a_path_of_other_methods_only_says_which():
    router = Router(
        [Place("/a/", methods=("PUT", "GET")), Place("/", methods=("DELETE",)), Place("/b", methods=("X",))]
    )
    with pytest.raises(MethodNotAllowed) as caught:
        router.find("", "/a/1", "POST")
    assert caught.value.allow == ("DELETE", "GET", "HEAD", "PUT")


def test_head_goes_to_who_names_it_before_it_goes_to_who_takes_get():
    reading, heads = Place("/", methods=("GET",)), Place("/", methods=("HEAD",))
    assert Router([reading, heads]).find("", "/", "HEAD") is heads


def test_a_closer_host_that_takes_all_methods_leaves_none_to_others():
    here, reading = Place("/", "example.com"), Place("/", methods=("GET",))
    assert Router([reading, here]).find("example.com", "/", "GET") is here


def test_of_two_routes_for_the_very_same_the_first_has_it():
    first, second = Place("/", methods=("GET",)), Place("/", methods=("GET",))
    assert Router([first, second]).find("", "/", "GET") is first


places = st.builds(
    Place,
    st.sampled_from(["/", "/a", "/a/", "/a/b", "/b/"]),
    st.sampled_from([None, "x.com", "a.x.com", "*.x.com", "*.a.x.com"]),
    st.sampled_from([None, ("GET",), ("HEAD",), ("POST", "PUT")]),
)


def plainly_found(routes, host, path, method):
    """The same question asked slowly: the first in order of precedence, where HEAD's own names come before GET's."""

    def takes(route, methods):
        return route.methods is None or any(name in route.methods for name in methods)

    def at(route):
        covers = route.host is None or route.host == host or (route.host[0] == "*" and host.endswith(route.host[1:]))
        return covers and path.startswith(route.path)

    order = [route for route in by_precedence(routes) if at(route)]
    hits = [route for route in order if takes(route, (method, "GET") if method == "HEAD" else (method,))]
    if hits and method == "HEAD":
        same = [
            r for r in hits if (r.path, r.host) == (hits[0].path, hits[0].host) and r.methods and "HEAD" in r.methods
        ]
        return (same or hits)[0]
    return hits[0] if hits else bool(order)


@given(
    st.lists(places, max_size=8),
    st.sampled_from(["x.com", "a.x.com", "b.a.x.com", "y.com"]),
    st.sampled_from(["/", "/a", "/a/b/c", "/b", "/b/1"]),
    st.sampled_from(["GET", "HEAD", "POST", "DELETE"]),
)
def test_the_prepared_answer_is_the_plain_one(routes, host, path, method):
    try:
        found = Router(routes).find(host, path, method)
    except NotFound:
        found = False
    except MethodNotAllowed:
        found = True
    assert found == plainly_found(routes, host, path, method)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", "/"),
        (b"/orders/7?x=/../y%zz", "/orders/7"),
        (b"/a%20b%2Fc", "/a b/c"),
        (b"/public/../admin", "/admin"),
        (b"/public/..%2fadmin", "/admin"),
        (b"/public/%2e%2E/admin", "/admin"),
        (b"/public/.%2e/admin/.", "/admin/"),
        (b"/a/b/..", "/a/"),
        (b"/a/..", "/"),
        (b"/a/./b/", "/a/b/"),
        (b"/a/...", "/a/..."),
        (b"/.well-known/x", "/.well-known/x"),
        (b"//admin", "/admin"),
        (b"/a//b///", "/a/b/"),
        (b"/a%2f/b", "/a/b"),
        (b"/%252e%252e/a", "/%2e%2e/a"),
        (b"/a;v=1/b", "/a;v=1/b"),
        ("/caf\u00e9".encode(), "/caf\u00e9"),
        (b"/caf%C3%A9", "/caf\u00e9"),
        (b"/%ff/x\xfe", "/\ufffd/x\ufffd"),
        (b"http://example.com/a/../b?x", "/b"),
        (b"HTTP://example.com:80", "/"),
        (b"http://example.com?x=/y", "/"),
        (b"*", "*"),
    ],
)
def test_the_path_is_what_a_server_will_understand(target, path):
    assert normal_path(target) == path


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (b"/..", "climbs above the root"),
        (b"/a/../../b", "climbs above the root"),
        (b"/%2e%2e/b", "climbs above the root"),
        (b"/a//../b", "behind '//'"),
        (b"/a/..;x/b", "with parameters"),
        (b"/a/.;/b", "with parameters"),
        (b"/a%", "two hexadecimal digits"),
        (b"/a%2", "two hexadecimal digits"),
        (b"/a%zz", "two hexadecimal digits"),
        (b"/a%00", "NUL"),
        (b"/a\0", "NUL"),
        (b"", "neither a path"),
        (b"admin", "neither a path"),
        (b"example.com:443", "neither a path"),
        (b"ftp://example.com/", "neither a path"),
    ],
)
def test_a_path_that_servers_may_disagree_about_is_refused(target, why):
    with pytest.raises(ValueError, match=why):
        normal_path(target)


pieces = st.sampled_from([b"/", b"//", b".", b"..", b"%2e", b"%2F", b"%", b"%00", b"?", b";", b"a", b"\xc3", b"%c3%a9"])


@given(st.one_of(st.binary(max_size=40), st.lists(pieces, max_size=14).map(lambda parts: b"/" + b"".join(parts))))
def test_no_path_has_a_way_up_left_in_it(target):
    try:
        path = normal_path(target)
    except ValueError:
        return
    assert path == "*" or path.startswith("/")
    assert not {".", "..", "\0"} & set(path.split("/"))
    assert "//" not in path
    path.encode()
    assert normal_path(quote(path).encode() if path != "*" else b"*") == path
