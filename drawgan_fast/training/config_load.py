"""From preset, file and ``--set`` to one :class:`Config`, and back to TOML.

Later layers win: preset, then the user's file, then ``--set`` in the order given.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from drawgan_fast.errors import DrawganError, UsageError
from drawgan_fast.training.config import Config
from drawgan_fast.training.model_options import check_options, closest, listed, model_names

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Table = dict[str, Any]

#: Keys whose value may change when a run is resumed: none of them changes the numbers already made
#: (data that is named again is held to the checksum of the run's own).
CHANGEABLE = (
    "train.epochs",
    "train.steps",
    "train.checkpoint_every",
    "train.keep",
    "train.log_every",
    "train.sample_every",
    "train.samples",
    "train.device",
    "train.backend",
    "train.threads",
    "train.tensorboard",
    "train.animation",
    "data.name",
    "data.data_dir",
    "data.download",
)


def preset_names() -> list[str]:
    """Names of the presets in the package, the default first.

    >>> preset_names()
    ['quick', 'authors', 'authors-code', 'paper']
    """
    folder = resources.files("drawgan_fast.training") / "presets"
    found = sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    )
    return sorted(found, key=lambda name: name != "quick")


def preset_text(name: str) -> str:
    """The TOML of a preset; an unknown name is a :class:`UsageError`."""
    names = preset_names()
    if name not in names:
        raise UsageError(
            f"unknown preset {name!r}{closest(name, names) or ';'} allowed: {listed(names)}"
        )
    path = resources.files("drawgan_fast.training") / "presets" / f"{name}.toml"
    return path.read_text(encoding="utf-8")


def parse_set(setting: str) -> tuple[str, Any]:
    """Split ``key=value``; the value is TOML, and what is not TOML is a string.

    Example:
        >>> parse_set("train.steps=100"), parse_set("data.name=mnist")
        (('train.steps', 100), ('data.name', 'mnist'))
    """
    key, equals, text = setting.partition("=")
    key, text = key.strip(), text.strip()
    if not equals or not key or not all(key.split(".")):
        raise UsageError(
            f"--set {setting!r} is not key=value with a dotted key, for example train.steps=100"
        )
    try:
        return key, tomllib.loads(f"value = {text}\n")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return key, text


def _nested(key: str, value: Any) -> Table:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def read_toml(path: Path) -> Table:
    """A TOML file as a table, with or without a byte-order mark; every failure is one sentence."""
    name = f"configuration file {str(path)!r}"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"no {name}; check the path") from None
    except OSError as error:
        raise DrawganError(f"{name} cannot be read: {error.strerror}") from None
    try:
        return tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        # Windows' editors write it as "Unicode", and shells when a command's output is redirected.
        kind = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "not UTF-8"
        raise UsageError(
            f"{name} is {kind} ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    except tomllib.TOMLDecodeError as error:
        if b"\0" in data:
            raise UsageError(f"{name} is not UTF-8 (it holds NUL); save it as UTF-8") from None
        raise UsageError(f"{name} is not valid TOML: {error}") from None


def _merge(below: Table, above: Table) -> Table:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = (
            _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def _join_layers(layers: Sequence[Table]) -> Table:
    """One table of all layers, the model's options picked for the model that was chosen."""
    joined: Table = {}
    name, options = "draw-gan", {}
    for layer in layers:
        model = layer.get("model", {})
        if not isinstance(model, dict):
            raise UsageError(
                f'model = {model!r} is not a table; write model.name = "{model}" to choose a model'
            )
        name = model.get("name", name)
    for layer in layers:
        model = layer.get("model", {})
        tables = model_names()
        # Within one layer the plain keys win over the table named after the model.
        if isinstance(name, str) and isinstance(model.get(name), dict):
            options.update(model[name])
        options.update({k: v for k, v in model.items() if k != "name" and k not in tables})
        rest = {key: value for key, value in layer.items() if key != "model"}
        train = rest.get("train")
        if isinstance(train, dict) and isinstance(joined.get("train"), dict):
            # A new length in one unit replaces the old one in the other.
            for unit, other in (("epochs", "steps"), ("steps", "epochs")):
                if unit in train and other not in train:
                    joined["train"].pop(other, None)
        joined = _merge(joined, rest)
    return joined | {"model": {"name": name, "options": options}}


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    """Keys allowed in the table that an error points into."""
    section: Any = Config
    for part in location:
        field = getattr(section, "model_fields", {}).get(part)
        section = field.annotation if field is not None else None
    if isinstance(section, type) and issubclass(section, BaseModel):
        return list(section.model_fields)
    return []


def _usage_error(errors: list[ErrorDetails]) -> UsageError:
    first = errors[0]
    location = tuple(part for part in first["loc"] if isinstance(part, str | int))
    # Unions report each branch: cut the branch names that are no keys.
    key_parts = []
    for depth, part in enumerate(location):
        if (
            depth > 0
            and part not in _fields_at(location[:depth])
            and first["type"] not in ("extra_forbidden",)
        ):
            break
        key_parts.append(str(part))
    key = ".".join(key_parts)
    if first["type"] == "extra_forbidden":
        allowed = _fields_at(location[:-1])
        prefix = ".".join(str(part) for part in location[:-1])
        return UsageError(
            f"unknown key {key!r} (value {first['input']!r})"
            f"{closest(str(location[-1]), allowed) or ';'} allowed"
            f"{f' in [{prefix}]' if prefix else ''}: {listed(allowed)}"
        )
    wanted: list[str] = []
    for error in errors:
        if tuple(error["loc"][: len(key_parts)]) == location[: len(key_parts)]:
            message = error["msg"].removeprefix("Value error, ")
            message = message.replace("Input should be ", "it must be ", 1)
            if message not in wanted:
                wanted.append(message)
    if first["type"] == "value_error":
        return UsageError(f"[{key}] is not consistent: {wanted[0]}")
    return UsageError(f"{key} = {first['input']!r} is not allowed: {', or '.join(wanted)}")


def config_from_table(table: Table, *, check_model: bool = True) -> Config:
    """Check a table in the form that :func:`config_to_toml` writes, and make it a :class:`Config`.

    Raises:
        UsageError: one sentence that names the key, its value and what is allowed.
    """
    return _config_from_layers([table], check_model=check_model)


def _config_from_layers(layers: Sequence[Table], *, check_model: bool) -> Config:
    for layer in layers:
        for key, value in flat(layer).items():
            _check_text(key, value)
    try:
        config = Config.model_validate(_join_layers(layers))
    except ValidationError as error:
        raise _usage_error(error.errors()) from None
    if not check_model:
        return config
    options = check_options(config.model.name, config.model.options)
    return config.model_copy(update={"model": config.model.model_copy(update={"options": options})})


def _check_text(key: str, value: Any) -> None:
    """Raise unless a string can be written in the run's files.

    A name whose letters the locale does not have comes in as bytes in disguise.
    """
    try:
        if isinstance(value, str):
            value.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{key} = {value!a} has letters that this locale ({sys.getfilesystemencoding()}) "
            "does not have; set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
        ) from None


def load_config(
    preset: str = "quick",
    *,
    file: Path | str | None = None,
    settings: Sequence[str] = (),
    check_model: bool = True,
) -> Config:
    """The configuration of a new run.

    Args:
        preset: one of :func:`preset_names`.
        file: a TOML file whose keys win over the preset's.
        settings: ``"key=value"`` strings that win over both, e.g. ``"model.name=draw"``.
        check_model: also check the model's options against its constructor (imports the models).

    Raises:
        UsageError: an unknown preset, key or value; one sentence that names it, with what is
            allowed and the closest match.
        DrawganError: a file that cannot be read.

    Example:
        >>> config = load_config("quick", settings=["train.steps=10"], check_model=False)
        >>> config.train.steps, config.train.epochs
        (10, None)
    """
    layers = [tomllib.loads(preset_text(preset)), {"preset": preset}]
    if file is not None:
        layers.append(read_toml(Path(file)))
    layers += [_nested(*parse_set(setting)) for setting in settings]
    return _config_from_layers(layers, check_model=check_model)


def override(config: Config, settings: Sequence[str]) -> Config:
    """A configuration with some ``"key=value"`` changed, checked like any other.

    >>> override(load_config("paper", check_model=False), []).preset
    'paper'
    """
    if not settings:
        return config
    layers = [config_to_table(config), *(_nested(*parse_set(setting)) for setting in settings)]
    return _config_from_layers(layers, check_model=True)


def config_to_table(config: Config) -> Table:
    """Nested plain values; reading them back gives an equal configuration."""
    table = config.model_dump(mode="json", exclude_none=True)
    model = table.pop("model")
    return {
        "preset": table.pop("preset"),
        "model": {"name": model["name"]} | model["options"],
        **table,
    }


def config_to_toml(config: Config) -> str:
    """The configuration as TOML text; reading it back gives an equal configuration.

    Example:
        >>> config = load_config("paper", check_model=False)
        >>> config_from_table(tomllib.loads(config_to_toml(config)), check_model=False) == config
        True
    """
    return tomli_w.dumps(config_to_table(config))


def flat(table: Table, prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a nested table.

    >>> flat({"train": {"steps": 3}})
    {'train.steps': 3}
    """
    out: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = value
    return out


def check_changes(old: Config, new: Config, run: str) -> list[str]:
    """Keys that differ between a run and the way it is resumed; only harmless ones may.

    Raises:
        UsageError: a key outside :data:`CHANGEABLE` differs.
    """
    before, after = flat(config_to_table(old)), flat(config_to_table(new))
    changed = [key for key in before | after if before.get(key) != after.get(key)]
    for key in changed:
        if key not in CHANGEABLE and key != "preset":
            raise UsageError(
                f"{key} is {before.get(key)!r} in run {run!r} and cannot become "
                f"{after.get(key)!r} on resuming; start a new run for that "
                f"(may change: {', '.join(CHANGEABLE)})"
            )
    return changed
