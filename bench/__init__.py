"""The benchmark: asyncproxy, nginx, Apache httpd and twisted.web.proxy in one run on one machine."""
