"""Configuration: layers, every wrong key and value, TOML there and back, the presets' numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from drawgan_fast.errors import DrawganError, UsageError
from drawgan_fast.models import MODELS, build
from drawgan_fast.training import CHANGEABLE, Config, config_to_toml, load_config, preset_names
from drawgan_fast.training.config_load import (
    check_changes,
    config_from_table,
    config_to_table,
    flat,
    override,
    parse_set,
    tomllib,
)


def test_later_layers_win(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[train]\nbatch_size = 7\nseed = 3\n[model.draw-gan]\nsteps = 5\n")
    config = load_config("authors", file=file, settings=["train.seed=9"])
    assert config.train.batch_size == 7  # file over preset
    assert config.train.seed == 9  # --set over file
    assert config.train.epochs == 20  # preset
    assert config.model.options["steps"] == 5
    assert config.model.options["hidden_size"] == 400


def test_a_length_in_steps_replaces_the_presets_epochs_and_back() -> None:
    assert load_config("authors", settings=["train.steps=10"]).train.epochs is None
    config = load_config("quick", settings=["train.epochs=1.5"])
    assert (config.train.epochs, config.train.steps) == (1.5, None)


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("model", list(MODELS))
def test_every_preset_takes_every_model_and_survives_toml(preset: str, model: str) -> None:
    config = load_config(preset, settings=[f"model.name={model}"])
    assert config.model.name == model
    assert config_from_table(tomllib.loads(config_to_toml(config))) == config


def test_presets_hold_the_published_numbers() -> None:
    authors = load_config("authors")
    options = authors.model.options
    assert [options[k] for k in ("steps", "latent_size", "read_size", "write_size")] == [
        20,
        20,
        5,
        5,
    ]
    assert (options["hidden_size"], options["discriminator"]) == (400, "mlp")
    assert (options["reconstruction"], options["gan_loss"], options["prior"]) == (
        "feature",
        "minimax",
        "kl",
    )
    assert (authors.data.size, authors.train.batch_size, authors.train.epochs) == ((32, 32), 64, 20)
    assert authors.optimizer.gradient_clip == 5
    assert authors.optimizer.generator.learning_rate == 1e-3
    assert authors.optimizer.generator.betas[0] == 0.5
    assert authors.optimizer.discriminator.learning_rate == 5e-4

    code = load_config("authors-code")
    differing = {
        key for key, value in code.model.options.items() if authors.model.options.get(key) != value
    }
    assert differing == {"reconstruction", "reconstruction_weight", "shared_attention"}
    # Pixel BCE as a mean, x 1024 x 0.8, is 0.8 of the sum over the 32 x 32 pixels.
    assert (code.model.options["reconstruction"], code.model.options["reconstruction_weight"]) == (
        "pixel",
        0.8,
    )

    paper = load_config("paper", settings=["model.name=draw"])
    options = paper.model.options
    assert [options[k] for k in ("steps", "hidden_size", "latent_size")] == [64, 256, 100]
    assert (options["read_size"], options["write_size"]) == (2, 5)
    assert paper.data.binarise == "epoch"
    assert paper.data.size is None


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.bacth_size=3", ["train.bacth_size", "3", "'batch_size'"]),
        ("train.batch_size=0", ["train.batch_size = 0", "greater than or equal to 1"]),
        ("train.batch_size=abc", ["train.batch_size = 'abc'", "integer"]),
        ("train.batch_size=true", ["train.batch_size = True", "integer"]),
        ("train=3", ["train = 3"]),
        ("optimizer.fused=yes", ["optimizer.fused = 'yes'", "'auto'", "boolean"]),
        ("optimizer.generator.lr=1", ["optimizer.generator.lr", "learning_rate"]),
        ("optimizer.generator.learning_rate=-1", ["optimizer.generator.learning_rate = -1"]),
        ("optimizer.generator.betas=[0.5, 1.5]", ["optimizer.generator.betas", "1.5"]),
        ("optimizer.gradient_clip=inf", ["optimizer.gradient_clip = inf", "finite"]),
        ("data.binarise=epcoh", ["data.binarise = 'epcoh'", "'epoch'"]),
        ("data.size=[1,2,3]", ["data.size", "2 items"]),
        ("dtaa.size=3", ["dtaa", "'data'"]),
        ("model.name=drwa", ["model.name = 'drwa'", "'draw'"]),
        ("model.hiden_size=3", ["model.hiden_size = 3", "'hidden_size'"]),
        ("model.gan_loss=wgan", ["model.gan_loss = 'wgan'", "'minimax'"]),
        ("model.image_size=[9,9]", ["model.image_size", "data.size"]),
        ("model=draw", ['model.name = "draw"']),
        ("train.steps", ["--set 'train.steps'", "key=value"]),
    ],
)
def test_a_wrong_setting_is_one_sentence_that_names_it(setting: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        load_config("quick", settings=[setting])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert caught.value.exit_code == 2


def test_both_lengths_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match=r"exactly one of train.epochs and train.steps"):
        load_config("quick", settings=["train={steps=3, epochs=2}"])


def test_unknown_preset_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'qiuck'.*did you mean 'quick'"):
        load_config("qiuck")
    with pytest.raises(UsageError, match="no configuration file"):
        load_config("quick", file=tmp_path / "none.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("[train\n")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_config("quick", file=bad)
    with pytest.raises(DrawganError, match="cannot be read"):
        load_config("quick", file=tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"], ids=["plain", "byte-order mark"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_a_file_as_editors_write_it(tmp_path: Path, encoding: str, newline: str) -> None:
    file = tmp_path / "mine.toml"
    lines = ["[train]", "seed = 3", "[data]", 'name = """Bilder \\', '  ä"""', ""]
    file.write_bytes(newline.join(lines).encode(encoding))
    config = load_config("quick", file=file)
    assert (config.train.seed, config.data.name) == (3, "Bilder ä")


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("utf-16", r"mine.toml' is UTF-16 .*; save it as UTF-8"),
        ("utf-16-le", r"mine.toml' is not UTF-8 .*; save it as UTF-8"),
        ("latin-1", r"mine.toml' is not UTF-8 \(.* at byte 14\); save it as UTF-8"),
    ],
)
def test_a_file_in_another_encoding_is_named(tmp_path: Path, encoding: str, words: str) -> None:
    file = tmp_path / "mine.toml"
    text = "[train]\nseed=3\n" if encoding == "utf-16-le" else '[data]\nname="Bübchen"\n'
    file.write_bytes(text.encode(encoding))
    with pytest.raises(UsageError, match=words):
        load_config("quick", file=file)


def test_numbers_of_numpy() -> None:
    table = config_to_table(load_config("quick"))
    table["train"] = {"steps": np.int64(3), "batch_size": np.int32(4)}
    table["data"]["size"] = (np.int64(8), np.int64(9))
    table["optimizer"]["gradient_clip"] = np.float32(2.0)
    config = config_from_table(table)
    assert (config.train.steps, config.train.batch_size) == (3, 4)
    assert type(config.train.steps) is int
    assert config.data.size == (8, 9)
    assert config_from_table(tomllib.loads(config_to_toml(config))) == config


def test_set_values_are_toml_and_bare_words_are_strings() -> None:
    assert parse_set("a.b=[1, 2]") == ("a.b", [1, 2])
    assert parse_set("a=1e-3") == ("a", 1e-3)
    assert parse_set("a=true") == ("a", True)
    assert parse_set("a=runs/x y") == ("a", "runs/x y")
    assert parse_set("a = b=c") == ("a", "b=c")


def test_only_named_keys_may_change_on_resuming(tiny: Callable[..., Config]) -> None:
    config = tiny("train.steps=5")
    assert check_changes(config, override(config, ["train.steps=9"]), "r") == ["train.steps"]
    with pytest.raises(UsageError, match=r"train.seed is 0 in run 'r'.*cannot become 4"):
        check_changes(config, override(config, ["train.seed=4"]), "r")
    everything = Config.model_validate({"train": {"steps": 1}}).model_dump()
    assert set(CHANGEABLE) <= set(flat(everything))


def test_defaults_of_the_constructor_are_written_out() -> None:
    options = load_config("quick", settings=["model.name=draw"]).model.options
    made = build("draw", image_size=(28, 28), channels=1, **options)
    for key, value in made.config().items():
        if key not in ("image_size", "channels"):
            assert options[key] == value, key
