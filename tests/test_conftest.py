"""The guards that every test runs under."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from activeuf_core.paths import PROJECT, Layout
from tests.conftest import NetworkUseError


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80)])
def test_a_connection_to_another_machine_is_refused(address: tuple[str, int]) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as client, pytest.raises(NetworkUseError, match=address[0]):
        client.connect(address)


def test_the_name_of_another_machine_is_not_looked_up() -> None:
    with pytest.raises(NetworkUseError, match="a test tried to reach"):
        socket.create_connection(("example.invalid", 80))


def test_this_machine_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def test_the_home_is_the_tests_own(tmp_path: Path) -> None:
    assert Layout.default().home == tmp_path / "home"
    assert PROJECT not in Layout.default().home.parents


def test_nobody_is_logged_in() -> None:
    assert os.environ["WANDB_MODE"] == "offline"
    assert "WANDB_API_KEY" not in os.environ
