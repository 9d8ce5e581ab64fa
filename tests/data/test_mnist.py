"""MNIST from folders, mirrors and the package: whole files are taken, damaged ones refused."""

from __future__ import annotations

import gzip
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch

from drawgan_fast.data import load, mnist
from drawgan_fast.data.idx import read_idx
from drawgan_fast.data.make_subset import choose, main, make_subset
from drawgan_fast.errors import DrawganError

TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

needs_mnist = pytest.mark.skipif(
    not os.environ.get("DRAWGAN_DATA"),
    reason="needs the official files: set DRAWGAN_DATA to the folder that holds them",
)


DATA = os.environ.get("DRAWGAN_DATA")  # read once: tests below take it out of the environment


@pytest.fixture
def official() -> Path:
    return mnist.find_folder(Path(DATA), "train", "DRAWGAN_DATA")


@pytest.fixture
def no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user with neither a data folder nor anything in the cache."""
    monkeypatch.delenv("DRAWGAN_DATA", raising=False)
    cache = tmp_path / "cache"
    monkeypatch.setattr(mnist, "_cache_folder", lambda: cache)
    return cache


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


class TestIdx:
    images = np.arange(24).reshape(2, 3, 4)

    @pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
    def test_reads_what_was_written(self, tmp_path: Path, pack) -> None:
        path = tmp_path / "images"
        path.write_bytes(pack(idx_bytes(self.images)))
        read = read_idx(path, 3)
        assert read.dtype == np.uint8
        assert read.flags.writeable
        np.testing.assert_array_equal(read, self.images)

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"", "truncated"),
            (idx_bytes(images)[:10], "fewer than its header"),
            (idx_bytes(images)[:-1], "announces 24 bytes"),
            (idx_bytes(images) + b"x", "announces 24 bytes"),
            (b"\0\0\x0a\x03" + idx_bytes(images)[4:], "got 00000a03"),
            (idx_bytes(images.reshape(6, 4)) + bytes(20), "got 00000802"),
            (gzip.compress(idx_bytes(images))[:-9], "gzip"),
            (gzip.compress(idx_bytes(images))[:-12] + bytes(12), "gzip"),
        ],
        ids=["empty", "header", "short", "long", "type", "2d", "gzip-cut", "gzip-corrupt"],
    )
    def test_damage_names_the_file_and_the_remedy(
        self, tmp_path: Path, content: bytes, what: str
    ) -> None:
        path = tmp_path / "broken-file"
        path.write_bytes(content)
        with pytest.raises(DrawganError, match=what) as caught:
            read_idx(path, 3, remedy="fetch it again")
        assert "broken-file" in str(caught.value)
        assert str(caught.value).endswith("fetch it again.")

    def test_checksum(self, tmp_path: Path) -> None:
        path = tmp_path / "images"
        path.write_bytes(idx_bytes(self.images))
        with pytest.raises(DrawganError, match=r"expected md5 0123 unpacked, got [0-9a-f]{32}"):
            read_idx(path, 3, md5="0123")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DrawganError, match="absent"):
            read_idx(tmp_path / "absent", 3)


class TestNamedFolder:
    @needs_mnist
    @pytest.mark.parametrize(("split", "count"), [("train", 60_000), ("test", 10_000)])
    def test_official_files(self, split, count: int) -> None:
        lines: list[str] = []
        data = load("mnist", split, notify=lines.append)
        assert data.images.shape == (count, 1, 28, 28)
        assert not lines
        # Known figures of MNIST: mean ink 0.1307 (train), 0.1325 (test); first labels.
        mean = {"train": 0.13066, "test": 0.13251}[split]
        assert data.images.double().mean().item() / 255 == pytest.approx(mean, abs=1e-5)
        first = {"train": [5, 0, 4, 1, 9], "test": [7, 2, 1, 0, 4]}[split]
        assert data.labels[:5].tolist() == first

    @needs_mnist
    @pytest.mark.parametrize("place", [".", "mnist", "MNIST/raw"])
    @pytest.mark.parametrize("unpacked", [False, True])
    def test_places_and_packing(
        self, official: Path, tmp_path: Path, place: str, unpacked: bool
    ) -> None:
        folder = tmp_path / place
        folder.mkdir(parents=True, exist_ok=True)
        for name in TEST:
            packed = (official / f"{name}.gz").read_bytes()
            if unpacked:
                (folder / name).write_bytes(gzip.decompress(packed))
            else:
                (folder / f"{name}.gz").write_bytes(packed)
        assert len(load("mnist", "test", data_dir=tmp_path)) == 10_000

    def test_checksum_mismatch_is_refused(self, tmp_path: Path) -> None:
        """Well-formed files of the right size under the official names, such as Fashion-MNIST.

        They are somebody's: the way out is to use them as they are, not to delete them.
        """
        (tmp_path / TEST[0]).write_bytes(idx_bytes(np.zeros((10_000, 28, 28))))
        (tmp_path / TEST[1]).write_bytes(idx_bytes(np.zeros(10_000)))
        with pytest.raises(DrawganError, match="not the official MNIST file") as caught:
            load("mnist", "test", data_dir=tmp_path)
        assert TEST[0] in str(caught.value)
        assert f"--data {tmp_path}" in str(caught.value)
        assert "delete" not in str(caught.value)

    @pytest.mark.parametrize("by", ["argument", "environment"])
    @pytest.mark.parametrize("exists", [True, False])
    def test_a_folder_without_the_files_is_an_error_not_the_subset(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by: str, exists: bool
    ) -> None:
        folder = tmp_path if exists else tmp_path / "nowhere"
        if by == "environment":
            monkeypatch.setenv("DRAWGAN_DATA", str(folder))
        argument = folder if by == "argument" else None
        with pytest.raises(DrawganError, match=str(folder)) as caught:
            load("mnist", "train", data_dir=argument)
        assert ("data_dir" if argument else "DRAWGAN_DATA") in str(caught.value)

    def test_the_argument_goes_before_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("DRAWGAN_DATA", str(tmp_path / "environment"))
        with pytest.raises(DrawganError, match=r"data_dir names .*argument"):
            load("mnist", "train", data_dir=tmp_path / "argument")

    @needs_mnist
    def test_a_truncated_gz_is_refused(self, official: Path, tmp_path: Path) -> None:
        for name in TEST:
            shutil.copy(official / f"{name}.gz", tmp_path)
        images = tmp_path / f"{TEST[0]}.gz"
        images.chmod(0o644)
        images.write_bytes(images.read_bytes()[:100_000])
        with pytest.raises(DrawganError, match="truncated or corrupt gzip") as caught:
            load("mnist", "test", data_dir=tmp_path)
        assert str(images) in str(caught.value)


class TestMirrors:
    def test_offline_uses_the_subset_and_says_so_in_one_line(
        self, monkeypatch: pytest.MonkeyPatch, no_folder: Path
    ) -> None:
        monkeypatch.setattr(mnist, "reachable", lambda mirrors: [])
        lines: list[str] = []
        data = load("mnist", "train", notify=lines.append)
        assert len(data) == 5_000
        assert len(lines) == 1
        assert "\n" not in lines[0]
        for part in ("5,000", "shipped", "60,000", "no mirror", "DRAWGAN_DATA", mnist.MIRRORS[0]):
            assert part in lines[0]
        assert not no_folder.exists()

    def test_download_false_never_touches_the_network(
        self, monkeypatch: pytest.MonkeyPatch, no_folder: Path
    ) -> None:
        def forbidden(*args: object, **kwargs: object) -> None:
            raise AssertionError("the network was used")

        monkeypatch.setattr(socket, "getaddrinfo", forbidden)
        monkeypatch.setattr(mnist, "reachable", forbidden)
        lines: list[str] = []
        assert len(load("mnist", "test", download=False, notify=lines.append)) == 1_000
        assert "switched off" in lines[0]

    @needs_mnist
    def test_downloads_with_checksum_and_falls_back_to_the_second_mirror(
        self, monkeypatch: pytest.MonkeyPatch, no_folder: Path, official: Path
    ) -> None:
        """The first mirror hands out damaged images: they are thrown away and asked for again."""
        asked: list[str] = []

        class Downloader:
            def __init__(self, **kwargs: object) -> None:
                pass

            def __call__(self, url: str, output_file: str, pooch: object) -> None:
                asked.append(url)
                content = (official / url.rsplit("/", 1)[1]).read_bytes()
                damaged = url.startswith(mnist.MIRRORS[0]) and "images" in url
                Path(output_file).write_bytes(content[:-1] if damaged else content)

        monkeypatch.setattr("pooch.HTTPDownloader", Downloader)
        monkeypatch.setattr(mnist, "reachable", list)
        lines: list[str] = []
        logged: list[logging.LogRecord] = []
        handler = logging.Handler()
        monkeypatch.setattr(handler, "emit", logged.append)
        pooch.get_logger().addHandler(handler)
        assert len(load("mnist", "test", notify=lines.append)) == 10_000
        pooch.get_logger().removeHandler(handler)
        assert not logged
        assert len(asked) == 6  # four files, the two of images twice
        assert sum(url.startswith(mnist.MIRRORS[1]) for url in asked) == 2
        assert len(lines) == 1
        assert "downloading" in lines[0]
        # From now on the cache serves, without a word or a request.
        assert len(load("mnist", "train", notify=lines.append)) == 60_000
        assert len(asked) == 6
        assert len(lines) == 1

    @needs_mnist
    def test_a_damaged_cache_is_fetched_again(
        self, monkeypatch: pytest.MonkeyPatch, no_folder: Path, official: Path
    ) -> None:
        no_folder.mkdir()
        for name in (*TRAIN, *TEST):
            shutil.copy(official / f"{name}.gz", no_folder)
        images = no_folder / f"{TEST[0]}.gz"
        images.chmod(0o644)
        images.write_bytes(b"damaged")

        class Downloader:
            def __init__(self, **kwargs: object) -> None:
                pass

            def __call__(self, url: str, output_file: str, pooch: object) -> None:
                shutil.copyfile(official / url.rsplit("/", 1)[1], output_file)

        monkeypatch.setattr("pooch.HTTPDownloader", Downloader)
        monkeypatch.setattr(mnist, "reachable", list)
        assert len(load("mnist", "test", notify=lambda line: None)) == 10_000
        assert images.read_bytes() == (official / images.name).read_bytes()

    def test_a_resolver_that_hangs_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mnist, "_CONNECT_SECONDS", 0.2)

        def hang(*args: object, **kwargs: object) -> None:
            time.sleep(3)
            raise OSError("no answer")

        monkeypatch.setattr("requests.head", hang)
        begun = time.perf_counter()
        assert mnist.reachable(mnist.MIRRORS) == []
        assert time.perf_counter() - begun < 1.5

    def test_really_offline_is_quick_and_quiet(self, tmp_path: Path) -> None:
        """A whole process whose every connection fails, through a proxy where nobody listens."""
        environment = {k: v for k, v in os.environ.items() if k != "DRAWGAN_DATA"}
        environment |= {
            "XDG_CACHE_HOME": str(tmp_path),
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "https_proxy": "http://127.0.0.1:9",
        }
        code = (
            "import time; from drawgan_fast.data import load; begun = time.perf_counter();"
            "print(len(load('mnist', 'test')), time.perf_counter() - begun)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            timeout=150,
            check=True,
        )
        count, seconds = done.stdout.split()
        assert count == "1000"
        assert float(seconds) < 20  # 0.1 when the machine is idle; a busy one must not fail this
        assert len(done.stderr.splitlines()) == 1
        assert "shipped" in done.stderr


class TestSubset:
    @pytest.mark.parametrize(("split", "per_class"), [("train", 500), ("test", 100)])
    def test_classes_are_balanced(self, split, per_class: int) -> None:
        data = mnist.load_subset(split)
        assert data.images.shape == (10 * per_class, 1, 28, 28)
        assert torch.bincount(data.labels).tolist() == [per_class] * 10
        assert data.images.flatten(1).unique(dim=0).shape[0] == len(data)
        assert data.images.double().mean().item() / 255 == pytest.approx(0.131, abs=0.003)

    def test_digits_look_like_their_labels(self) -> None:
        """The nearest class mean of the training digits names most test digits (MNIST: 0.82)."""
        train, test = mnist.load_subset("train"), mnist.load_subset("test")
        means = torch.stack(
            [train.images[train.labels == c].float().mean(0).flatten() for c in range(10)]
        )
        nearest = torch.cdist(test.images.flatten(1).float(), means).argmin(1)
        assert (nearest == test.labels).float().mean() > 0.75

    def test_it_is_about_a_megabyte_and_licensed(self) -> None:
        assets = Path(mnist.__file__).parent / "assets"
        assert 500_000 < (assets / mnist.SUBSET).stat().st_size < 1_200_000
        licence = (assets / "LICENSE-MNIST.txt").read_text()
        for part in ("Yann LeCun", "Corinna Cortes", "Christopher J.C. Burges", "CC BY-SA 3.0"):
            assert part in licence

    @needs_mnist
    def test_the_script_makes_it_again_byte_for_byte(self, official: Path, tmp_path: Path) -> None:
        one, two = make_subset(official), make_subset(official)
        assert one == two
        path = tmp_path / "again.npz"
        assert main([str(official), "--output", str(path)]) == 0
        assert path.read_bytes() == one
        # What is shipped holds the same; its bytes depend on zlib's version besides.
        with (
            np.load(path, allow_pickle=False) as made,
            np.load(Path(mnist.__file__).parent / "assets" / mnist.SUBSET) as shipped,
        ):
            assert made.files == shipped.files
            for name in made.files:
                np.testing.assert_array_equal(made[name], shipped[name])

    def test_the_script_fails_with_one_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([str(tmp_path), "--output", str(tmp_path / "out.npz")]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1
        assert not list(tmp_path.iterdir())

    def test_choice_is_spread_over_the_file(self) -> None:
        labels = np.tile(np.arange(10), 100)
        chosen = choose(labels, 10)
        assert np.bincount(labels[chosen]).tolist() == [10] * 10
        assert chosen.min() < 20
        assert chosen.max() > 890
