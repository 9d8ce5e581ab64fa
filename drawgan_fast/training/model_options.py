"""Model options, checked against the model's own constructor before anything is built."""

from __future__ import annotations

import difflib
import inspect
import typing
from typing import TYPE_CHECKING, Any

from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from drawgan_fast.errors import UsageError

if TYPE_CHECKING:
    from drawgan_fast.models import GenerativeModel

#: Constructor arguments that follow the data.
FROM_DATA = ("image_size", "channels")


def closest(word: str, allowed: list[str]) -> str:
    """ ", did you mean 'x'?" or nothing.

    >>> closest("qiuck", ["quick", "paper"])
    ", did you mean 'quick'?"
    """
    match = difflib.get_close_matches(word, allowed, n=1, cutoff=0.5)
    return f", did you mean {match[0]!r}?" if match else ""


def listed(words: list[str]) -> str:
    """Words for a sentence: quoted, in order, with commas."""
    return ", ".join(repr(word) for word in words) if words else "none"


def model_names() -> list[str]:
    """Names that ``[model] name`` may take."""
    from drawgan_fast.models import MODELS

    return list(MODELS)


def model_class(name: str) -> type[GenerativeModel]:
    """The class behind a model's name; an unknown name is a :class:`UsageError`."""
    from drawgan_fast.models import MODELS

    if name not in MODELS:
        raise UsageError(
            f"model.name = {name!r} is not a model{closest(name, list(MODELS)) or ';'} "
            f"allowed: {listed(list(MODELS))}"
        )
    return MODELS[name]


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Named constructor arguments; a ``**kwargs`` passes on to the next class up."""
    found: dict[str, inspect.Parameter] = {}
    for ancestor in cls.__mro__:
        if "__init__" not in vars(ancestor):
            continue
        parameters = list(inspect.signature(vars(ancestor)["__init__"]).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                found.setdefault(parameter.name, parameter)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def _adapter(cls: type, key: str) -> TypeAdapter[Any] | None:
    """Checker of one argument's annotation, where pydantic understands it."""
    for ancestor in cls.__mro__:
        init = vars(ancestor).get("__init__")
        if init is None or key not in inspect.signature(init).parameters:
            continue
        try:
            hint = typing.get_type_hints(init, include_extras=True).get(key, Any)
            return TypeAdapter(hint)
        except (NameError, TypeError, PydanticSchemaGenerationError, PydanticUserError):
            return None
    return None


def check_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Every option the model takes, with the constructor's defaults filled in.

    Args:
        name: a key of ``drawgan_fast.models.MODELS``.
        options: the ones that were given.

    Returns:
        All options but those that follow the data, in the constructor's order. Options whose
        value is ``None`` are left out (TOML has no null).

    Raises:
        UsageError: an unknown model or option, or a value of the wrong type.
    """
    cls = model_class(name)
    parameters = _parameters(cls)
    allowed = [key for key in parameters if key not in FROM_DATA]
    for key, value in options.items():
        if key in FROM_DATA:
            raise UsageError(
                f"model.{key} = {value!r} cannot be set because it follows the data; "
                "give data.size to have other sizes"
            )
        if key not in allowed:
            raise UsageError(
                f"model.{key} = {value!r} is not an option of {name}"
                f"{closest(key, allowed) or ';'} allowed: {listed(allowed)}"
            )
        adapter = _adapter(cls, key)
        if adapter is not None:
            try:
                adapter.validate_python(value)
            except ValidationError as error:
                raise UsageError(
                    f"model.{key} = {value!r} is not allowed: {sentence(error)}"
                ) from None
    resolved = {}
    for key in allowed:
        value = options.get(key, parameters[key].default)
        if value is not None and value is not inspect.Parameter.empty:
            resolved[key] = list(value) if isinstance(value, tuple) else value
    return resolved


def sentence(error: ValidationError) -> str:
    """What pydantic asks for, as the end of a sentence."""
    wanted = []
    for item in error.errors():
        message = item["msg"]
        for prefix in ("Input should be ", "Value error, "):
            message = message.removeprefix(prefix)
        if message not in wanted:
            wanted.append(message)
    return "it must be " + " or ".join(wanted)


def build_model(
    name: str, options: dict[str, Any], image_size: tuple[int, int], channels: int
) -> GenerativeModel:
    """The model itself; what its constructor refuses becomes a :class:`UsageError`.

    Args:
        name: a key of ``drawgan_fast.models.MODELS``.
        options: checked by :func:`check_options`.
        image_size: height and width in pixels.
        channels: 1 for grey, 3 for colour.
    """
    cls = model_class(name)
    taken = _parameters(cls)
    from_data: dict[str, Any] = {"image_size": image_size, "channels": channels}
    arguments = {key: value for key, value in from_data.items() if key in taken}
    try:
        return cls(**arguments, **options)
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in (arguments | options).items())
        raise UsageError(f"{name} cannot be built: {error} (given {given})") from error
