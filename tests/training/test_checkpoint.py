"""Checkpoints: exact there and back, whole or not at all, and every damage has its sentence."""

from __future__ import annotations

import errno
import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from drawgan_fast.errors import DrawganError
from drawgan_fast.files import write_atomically
from drawgan_fast.models import build
from drawgan_fast.training import checkpoint as module
from drawgan_fast.training.checkpoint import (
    list_checkpoints,
    load_checkpoint,
    load_model,
    load_weights,
    save_checkpoint,
)

TENSORS = {
    "model/weight": torch.arange(6.0).reshape(2, 3).t(),  # not contiguous
    "model/half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "model/empty": torch.zeros(0, 3),
    "optimizer/generator/step/weight": torch.tensor(7.0),
}


def save(folder: Path, step: int, **header: Any) -> Path:
    return save_checkpoint(folder, {"step": step, **header}, TENSORS, keep=3)


def test_everything_comes_back_exactly(tmp_path: Path) -> None:
    loaded = load_checkpoint(save(tmp_path, 5, metrics={"loss": 0.1}))
    assert loaded.step == 5
    assert loaded.header["metrics"] == {"loss": 0.1}
    assert loaded.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        torch.testing.assert_close(loaded.tensors[name], tensor, rtol=0, atol=0)
    assert loaded.group("optimizer/generator").keys() == {"step/weight"}


def test_the_last_k_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 100000000):
        save(tmp_path, step)
    assert [load_checkpoint(path).step for path in list_checkpoints(tmp_path)] == [3, 4, 10**8]


def test_tensors_that_share_memory_are_saved(tmp_path: Path) -> None:
    weight = torch.ones(3)
    path = save_checkpoint(tmp_path, {"step": 1}, {"a": weight, "b": weight}, keep=1)
    assert load_checkpoint(path).tensors["b"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("length", [0, 4, 8, 50, 500, -1])
def test_a_truncated_file_names_itself_and_the_one_before(tmp_path: Path, length: int) -> None:
    good = save(tmp_path, 1)
    path = save(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DrawganError) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "truncated or corrupt" in str(caught.value)
    assert str(good) in str(caught.value)


def test_one_flipped_bit_in_a_weight_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path, 2)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DrawganError, match=r"checksum.*no older checkpoint"):
        load_checkpoint(path)


def test_foreign_and_newer_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, foreign)
    with pytest.raises(DrawganError, match="no checkpoint of a drawgan run"):
        load_checkpoint(foreign)
    pickled = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(1)}, pickled)
    with pytest.raises(DrawganError, match="truncated or corrupt"):
        load_checkpoint(pickled)
    monkeypatch.setattr(module, "FORMAT_VERSION", 99)
    newer = save(tmp_path, 3)
    monkeypatch.undo()
    with pytest.raises(DrawganError, match="format 99"):
        load_checkpoint(newer)
    with pytest.raises(DrawganError, match="cannot be read"):
        load_checkpoint(tmp_path / "absent.safetensors")


def test_a_checkpoint_is_never_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "exploded"),))

    path = tmp_path / "step-00000001.safetensors"
    torch.save(Bomb(), path)
    with pytest.raises(DrawganError):
        load_model(path)
    assert not (tmp_path / "exploded").exists()


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    small, large = (build("vae", image_size=(4, 4), hidden_size=h, latent_size=2) for h in (3, 5))
    with pytest.raises(DrawganError, match=r"another model.*is \[.*5.*\] there"):
        load_weights(small, large.state_dict(), tmp_path / "c")
    weights = {f"model/{k}": v for k, v in large.state_dict().items()}
    header = {"step": 1, "model": {"name": "vea", "config": {}}}
    with pytest.raises(
        DrawganError, match="'vea' that this version does not have; it has draw-gan"
    ):
        load_model(save_checkpoint(tmp_path, header, weights, keep=1))
    header = {"step": 1, "model": {"name": "vae", "config": small.config()}}
    with pytest.raises(DrawganError, match="another model"):
        load_model(save_checkpoint(tmp_path, header, weights, keep=1))


def test_load_model_gives_the_weights_and_the_average_where_there_is_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build("vae", image_size=(4, 4), hidden_size=3, latent_size=2)
    weights = model.state_dict()
    tensors = {f"model/{k}": v for k, v in weights.items()}
    header = {"step": 1, "model": {"name": "vae", "config": model.config()}}
    path = save_checkpoint(tmp_path, header, tensors, keep=1)
    loaded = load_model(path)
    assert not loaded.training
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, weights[key])
    with pytest.raises(DrawganError, match="no averaged weights"):
        load_model(path, ema=True)
    tensors |= {f"ema/{k}": v + 1 for k, v in weights.items()}
    path = save_checkpoint(tmp_path, header, tensors, keep=1)
    key = next(iter(weights))
    assert torch.equal(load_model(path).state_dict()[key], weights[key] + 1)
    assert torch.equal(load_model(path, ema=False).state_dict()[key], weights[key])


def test_a_write_that_the_disk_refuses_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """The kernel itself stops the write half way (RLIMIT_FSIZE), as a full disk does."""
    for step in (1, 2, 3):
        save(tmp_path, step)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    big = {"model/weight": torch.zeros(100_000)}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        with pytest.raises(DrawganError, match=r"no space left to write .*step-00000004.*free"):
            save_checkpoint(tmp_path, {"step": 4}, big, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failure_before_the_rename_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(DrawganError, match="no space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_header_is_json_that_other_programs_can_read(tmp_path: Path) -> None:
    data = save(tmp_path, 9).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert json.loads(header["__metadata__"]["drawgan_fast"])["step"] == 9
