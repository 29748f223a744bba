"""Which instance is used, that it is made once, and that SQLite stays off network file systems."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
import yaml

from activeuf_core.errors import ConfigError
from activeuf_core.paths import Layout
from activeuf_dagster import instance
from activeuf_dagster.instance import (
    TEMPLATE,
    TEMPLATES,
    Mount,
    ensure_instance,
    mount_of,
    sqlite_folder,
)

MOUNTINFO = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
31 27 0:29 / /home rw,relatime shared:3 - autofs /etc/auto.home rw,fd=7
44 31 0:40 / /home/ada rw,relatime shared:9 master:2 - nfs4 nas:/export/ada rw,vers=4.2
45 27 0:41 / /scratch rw,relatime - lustre 10.0.0.1@o2ib:/scratch rw,flock
46 45 8:17 / /scratch/local rw,relatime - xfs /dev/sdb1 rw
47 27 0:42 / /mnt/lab\040share rw,relatime - cifs //nas/lab rw
48 27 0:43 / /mnt/back\134slash rw - fuse.sshfs ada@login: rw
49 27 0:44 / /data rw - xfs /dev/sdc1 rw
50 49 0:45 / /data rw - beegfs beegfs_nodev rw
51 27 0:46 / /ceph rw - fuse.ceph-fuse ceph-fuse rw
52 27 0:47 / /win rw - 9p drvfs rw
53 27 0:48 / /squash ro - fuse.squashfuse squashfuse ro
"""


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACTIVEUF_DAGSTER", "ACTIVEUF_ALLOW_NETWORK_SQLITE", "PGDATABASE", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DAGSTER_HOME", "")  # put back at the end: ensure_instance sets it


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A home in the test's folder."""
    return Layout(tmp_path / "home")


@pytest.fixture
def nfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's folder lies on NFS."""
    text = f"44 1 0:40 / {tmp_path} rw - nfs4 nas:/export rw\n"
    (tmp_path / "mountinfo").write_text(text)
    monkeypatch.setattr(instance, "MOUNTINFO", tmp_path / "mountinfo")


@pytest.mark.parametrize(
    ("path", "point", "kind", "is_network"),
    [
        ("/", "/", "ext4", False),
        ("/var/tmp/dagster", "/", "ext4", False),
        ("/home/ada/project", "/home/ada", "nfs4", True),
        ("/home/adam", "/home", "autofs", False),
        ("/scratch/x", "/scratch", "lustre", True),
        ("/scratch/local/x", "/scratch/local", "xfs", False),
        ("/mnt/lab share/x", "/mnt/lab share", "cifs", True),
        ("/mnt/back\\slash", "/mnt/back\\slash", "fuse.sshfs", True),
        ("/data/x", "/data", "beegfs", True),
        ("/ceph/x", "/ceph", "fuse.ceph-fuse", True),
        ("/win/c", "/win", "9p", True),
        ("/squash/x", "/squash", "fuse.squashfuse", False),
    ],
)
def test_what_a_folder_lies_on(path: str, point: str, kind: str, is_network: bool) -> None:
    mount = mount_of(path, MOUNTINFO)
    assert mount == Mount(point, kind)
    assert mount.is_network is is_network


def test_without_a_mount_table_nothing_is_known() -> None:
    assert mount_of("/home", "") == Mount("/", "unknown")


def test_sqlite_on_nfs_is_refused_with_the_remedy(nfs: None, layout: Layout) -> None:
    with pytest.raises(ConfigError) as refused:
        ensure_instance(layout)
    for said in (str(layout.dagster), "(nfs4)", "DAGSTER_HOME", "ACTIVEUF_DAGSTER=postgres"):
        assert said in str(refused.value)
    assert not layout.dagster.exists()


def test_a_link_does_not_hide_nfs(
    nfs: None, layout: Layout, tmp_path_factory: pytest.TempPathFactory
) -> None:
    link = tmp_path_factory.mktemp("local") / "link"
    link.symlink_to(layout.home)
    with pytest.raises(ConfigError, match="nfs4"):
        ensure_instance(Layout(link))


def test_who_knows_better_may(nfs: None, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIVEUF_ALLOW_NETWORK_SQLITE", "1")
    assert (ensure_instance(layout) / "dagster.yaml").exists()


def test_where_the_files_of_sqlite_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEWHERE", "/local")
    assert sqlite_folder({}, tmp_path) == tmp_path
    named = {"storage": {"sqlite": {"base_dir": {"env": "SOMEWHERE"}}}}
    assert sqlite_folder(named, tmp_path) == Path("/local")


def test_the_first_start_makes_an_instance_and_edits_of_its_file_stay(layout: Layout) -> None:
    home = ensure_instance(layout)
    assert os.environ["DAGSTER_HOME"] == str(home) == str(layout.dagster)
    assert (home / "dagster.yaml").read_bytes() == TEMPLATE.read_bytes()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    ensure_instance(layout)
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_who_comes_first_makes_the_tables_the_others_wait(layout: Layout) -> None:
    with ThreadPoolExecutor(4) as pool:
        homes = set(pool.map(ensure_instance, [layout] * 4))
    with dg.DagsterInstance.from_config(str(homes.pop())) as made:
        assert made.get_runs() == []
        assert type(made.run_launcher).__name__ == "HealthCheckedRunLauncher"


def test_an_unknown_storage_is_refused(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIVEUF_DAGSTER", "postgre")
    with pytest.raises(ConfigError, match="did you mean 'postgres'"):
        ensure_instance(layout)


def test_a_storage_that_the_file_does_not_name_is_refused(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_instance(layout)
    monkeypatch.setenv("ACTIVEUF_DAGSTER", "postgres")
    with pytest.raises(ConfigError, match=r"dagster\.yaml names sqlite storage"):
        ensure_instance(layout)


def test_postgres_without_a_database_is_refused(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIVEUF_DAGSTER", "postgres")
    with pytest.raises(ConfigError, match="PGDATABASE is not set"):
        ensure_instance(layout)


@pytest.mark.parametrize(
    "settings",
    [
        {"postgres_url": "postgresql://ada@db/dagster"},
        {"postgres_url": {"env": "DAGSTER_DB"}},
        {"postgres_db": {"username": "ada", "hostname": "db", "db_name": "dagster"}},
    ],
)
def test_a_url_that_asks_for_psycopg_3_is_refused(
    settings: dict, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_DB", "postgresql://ada@db/dagster")
    layout.dagster.mkdir(parents=True)
    text = yaml.safe_dump({"storage": {"postgres": settings}})
    (layout.dagster / "dagster.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"postgresql\+psycopg2"):
        ensure_instance(layout)


def test_the_templates_differ_in_storage_alone_and_hold_no_password() -> None:
    settings = {name: yaml.safe_load(path.read_text()) for name, path in TEMPLATES.items()}
    assert settings["postgres"].pop("storage")
    assert settings["postgres"] == settings["sqlite"]
    assert "password:" not in TEMPLATES["postgres"].read_text()
