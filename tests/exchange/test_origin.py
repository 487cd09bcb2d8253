import pytest

from asyncproxy.exchange.origin import Origin


@pytest.mark.parametrize(
    ("url", "origin", "said"),
    [
        ("http://127.0.0.1:9000", Origin("http", "127.0.0.1", 9000), "http://127.0.0.1:9000"),
        ("HTTP://Pricing/", Origin("http", "pricing", 80), "http://pricing"),
        ("http://my_service:80", Origin("http", "my_service", 80), "http://my_service"),
        ("http://[0:0::1]:9000", Origin("http", "::1", 9000), "http://[::1]:9000"),
        ("unix:/run/app.sock", Origin("unix", path="/run/app.sock"), "unix:/run/app.sock"),
    ],
)
def test_a_url_is_read_and_said_back(url, origin, said):
    assert Origin.parse(url) == origin
    assert str(origin) == said
    assert Origin.parse(said) == origin


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://x", "https to upstreams comes later; write http://host:port"),
        ("ftp://x", "write http://host:port or unix:/path"),
        ("localhost:9000", 'write "http://localhost:9000"'),
        ("http://x/path", "says more than host and port"),
        ("http://x?q", "says more than host and port"),
        ("http://me:secret@x", "name or password"),
        ("http://x:0", "from 1 to 65535"),
        ("http://x:65536", "from 1 to 65535"),
        ("http://x:", "from 1 to 65535"),
        ("http://x:٣", "from 1 to 65535"),
        ("http://", "no good host;"),
        ("http://a b", "no good host name"),
        ("http://a\nb", "no good host name"),
        ("http://[::g]", "no good IPv6 address"),
        ("http://::1:9000", "with brackets"),
        ("unix:run/app.sock", "not an absolute path"),
        ("", "does not say how"),
        (9000, "is not a URL"),
    ],
)
def test_a_url_that_says_less_or_more_than_a_place_is_refused_with_a_mend(url, why):
    with pytest.raises(ValueError, match=why.replace("[", r"\[")):
        Origin.parse(url)
