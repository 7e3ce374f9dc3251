"""What the gateway refuses before it starts."""

import socket

import pytest

from configs.errors import ConfigError
from configs.serving import GatewayParams
from serving.supervisor import listening_sockets, must_be_safe


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.9"])
def test_on_loopback_no_key_is_needed(host: str) -> None:
    must_be_safe(GatewayParams(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gateway.example.org"])
def test_where_strangers_can_reach_it_keys_are_needed(host: str) -> None:
    with pytest.raises(ConfigError, match=r"gateway\.keys names no file of keys"):
        must_be_safe(GatewayParams(host=host))
    must_be_safe(GatewayParams(host=host, keys="data/keys.json"))


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            listening_sockets(GatewayParams(port=port))


def test_a_port_that_another_gateway_shares_among_its_workers_is_taken() -> None:
    sockets = listening_sockets(GatewayParams(port=0))
    port = sockets[0].getsockname()[1]
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
        listening_sockets(GatewayParams(port=port))
    for one in sockets:
        one.close()
