"""Options of a command from the fields of configuration dataclasses."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from rich.markup import escape

T = TypeVar("T")
_ENTRY = re.compile(r"^([a-z]\w*(?:, [a-z]\w*)*): (.*)$")


def options_from(*configs: type) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command an option for every plain field of ``configs``, in the place of its ``**given``.

    A field's help is what its dataclass says under "Attributes"; ``n_steps`` is ``--steps``. The command gets those
    that were given, by the field's name: ``configured`` makes the configuration of them.
    """

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.kind != p.VAR_KEYWORD]
        theirs = [parameter for config in configs for parameter in _parameters(config)]

        @functools.wraps(command)
        def with_options(**values: Any) -> T:
            names = {p.name for p in theirs}
            given = {name: values.pop(name) for name in names & set(values)}
            return command(**values, **{name: value for name, value in given.items() if value is not None})

        parameters = [*own, *theirs]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {p.name: p.annotation for p in parameters}
        return with_options

    return decorate


def configured(config: type[T], given: Mapping[str, Any], **others: Any) -> T:
    """``config`` of the options that were given to its fields, and ``others``."""
    names = {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    return config(**{name: value for name, value in given.items() if name in names}, **others)


def option_name(field_name: str) -> str:
    """Of the option for a field.

    >>> option_name("n_warmup"), option_name("lr_core")
    ('--warmup', '--lr-core')
    """
    return "--" + field_name.removeprefix("n_").replace("_", "-")


def attribute_docs(config: type) -> dict[str, str]:
    """What a docstring says of each name under "Attributes", on one line."""
    _, _, section = (inspect.getdoc(config) or "").partition("Attributes:\n")
    docs: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        entry = _ENTRY.match(line[4:]) if line.startswith("    ") else None
        if line.strip() and not line.startswith("    "):
            break
        if entry:
            names = entry[1].split(", ")
            docs |= dict.fromkeys(names, entry[2])
        else:
            docs |= {name: f"{docs[name]} {line.strip()}" for name in names if line.strip()}
    return docs


def _parameters(config: type) -> list[inspect.Parameter]:
    """One for every field that one word of a command line can set."""
    kinds, docs = get_type_hints(config), attribute_docs(config)
    plain = (int, float, bool, str, float | None, int | None, str | None)
    fields = [field for field in dataclasses.fields(config) if kinds[field.name] in plain]
    return [_parameter(field, kinds[field.name], docs[field.name].replace("``", "")) for field in fields]


def _parameter(field: dataclasses.Field[Any], kind: Any, text: str) -> inspect.Parameter:
    name = option_name(field.name)
    default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default).lower()
    ending = "" if field.default is None else f" Default: {default}."
    flags = (f"{name}/--no-{name[2:]}",) if kind is bool else (name,)
    option = typer.Option(*flags, help=escape(text[:1].upper() + text[1:] + ending), show_default=False)
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )
