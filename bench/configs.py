"""The configuration files that are generated: access logs off, connections to the upstream kept alive."""

import os

NGINX = """\
{user}
worker_processes 1;
worker_rlimit_nofile {files};
pid {where}/nginx.pid;
error_log {where}/nginx-error.log error;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {where}/body;
    proxy_temp_path {where}/proxy;
    fastcgi_temp_path {where}/fastcgi;
    uwsgi_temp_path {where}/uwsgi;
    scgi_temp_path {where}/scgi;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    map $http_upgrade $upgrading {{ default upgrade; "" ""; }}
    upstream bench {{
        server 127.0.0.1:{upstream_port};
        keepalive 128;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://bench;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $upgrading;
            proxy_read_timeout 300s;
            proxy_send_timeout 300s;
            proxy_max_temp_file_size 0;
            proxy_request_buffering off;
        }}
    }}
}}
"""

APACHE = """\
ServerRoot {where}
ServerName localhost
DefaultRuntimeDir {where}
PidFile {where}/apache.pid
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
{user}
ErrorLog {where}/apache-error.log
LogLevel error
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
ServerLimit 8
StartServers 8
ThreadsPerChild 64
MaxRequestWorkers 512
MinSpareThreads 1
MaxSpareThreads 512
ProxyTimeout 300
ProxyPass / http://127.0.0.1:{upstream_port}/
"""

ASYNCPROXY = """\
[server]
listen = ["tcp:{port}:interface=127.0.0.1"]
workers = 5
max_parked = 20000
drain = "1s"
{server}

[upstream.bench]
servers = ["http://127.0.0.1:{upstream_port}"]

[[route]]
path = "/"
module = "{module}"
upstream = "bench"
"""
UNSEEN = 'request_id_header = "off"'
SEEN = """\
access_log = "{where}/access.log"
access_log_format = "json"

[admin]
listen = "tcp:{admin}:interface=127.0.0.1"
"""
BUSY_ROUTES = """
[[route]]
path = "/sleep"
module = "bench.modules:Sleeper"

[[route]]
path = "/spin"
module = "bench.modules:Spinner"
"""


def nginx_user() -> str:
    """Started by root, its worker would become another user, who may not enter our temporary folder."""
    return "user root;" if os.geteuid() == 0 else ""


def apache_user() -> str:
    """Apache refuses to serve as root; as anybody else it stays who it is."""
    return "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
