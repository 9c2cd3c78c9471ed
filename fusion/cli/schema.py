"""Names, defaults and nested classes of the settings, read from the pydantic classes."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

MISSING = "???"  # how OmegaConf writes a value that the caller must give


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models in an annotation such as ``Model``, ``Model | None`` or ``ModelA | ModelB``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (tuple, list, dict):
        return []
    return [model for inner in get_args(annotation) for model in models_in(inner)]


def nested_model(annotation: Any, value: Any = None) -> type[BaseModel] | None:
    """The model that ``value`` belongs to; where several are possible, the one that carries the value's tag."""
    models = models_in(annotation)
    if len(models) > 1:
        models = [m for m in models if isinstance(value, Mapping) and _carries_tag(m, value)]
    return models[0] if models else None


def is_tag(annotation: Any) -> bool:
    """Whether only one word is allowed: such a field distinguishes the models of a union."""
    return get_origin(annotation) is Literal and len(get_args(annotation)) == 1


def field_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of every setting, nested models included."""
    names: dict[str, None] = {}
    for name, field in model.model_fields.items():
        full = f"{prefix}{name}"
        inner = [key for found in models_in(field.annotation) for key in field_names(found, full + ".")]
        names |= dict.fromkeys([full, *inner])
    return list(names)


def located(path: tuple[Any, ...], model: type[BaseModel]) -> tuple[list[str], type[BaseModel], int]:
    """Where a mistake lies that pydantic names by ``path``: the setting's names, without the tags by which pydantic
    tells the models of a union apart, the innermost model, and how many names lead to it.
    """
    names: list[str] = []
    depth, rest = 0, [str(part) for part in path]
    while rest and rest[0] in model.model_fields:
        name = rest.pop(0)
        names.append(name)
        models = models_in(model.model_fields[name].annotation)
        tagged = [inner for inner in models if rest and rest[0] in tags_of(inner).values()]
        if len(models) > 1 and tagged:
            rest.pop(0)
            models = tagged
        if len(models) != 1:
            break
        model, depth = models[0], len(names)
    return names + rest, model, depth


def owners(key: str, model: type[BaseModel]) -> list[str]:
    """``name=tag`` of those models of a union that have the setting of this dotted name."""
    name, _, rest = key.partition(".")
    models = models_in(model.model_fields[name].annotation) if name in model.model_fields else []
    if len(models) == 1:
        return [f"{name}.{owner}" for owner in owners(rest, models[0])]
    return [f"{name}={tag}" for m in models if rest in field_names(m) for tag in tags_of(m).values()]


def tags_of(model: type[BaseModel]) -> dict[str, str]:
    """Field and word that tell a model of a union apart."""
    return {name: get_args(f.annotation)[0] for name, f in model.model_fields.items() if is_tag(f.annotation)}


def default_values(model: type[BaseModel], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of a model with its default as plain values, nested models opened; ``???`` where there is none.

    ``chosen`` are the values known so far: they select the model of a union, and state that an optional one is used.
    """
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        given = chosen.get(name)
        default = None if field.is_required() else field.get_default(call_default_factory=True)  # type: ignore[call-arg]
        inner = nested_model(field.annotation, given)
        opened = isinstance(given, Mapping) or field.is_required()
        if inner is not None and opened and not isinstance(default, inner):
            values[name] = default_values(inner, given if isinstance(given, Mapping) else {})
        else:
            values[name] = MISSING if field.is_required() else to_jsonable_python(default)
    return values


def in_free_mapping(key: list[str], model: type[BaseModel], values: Mapping[str, Any]) -> bool:
    """Whether a dotted key leads into a mapping whose names the caller chooses."""
    name, rest = key[0], key[1:]
    value = values.get(name)
    if name not in model.model_fields or not isinstance(value, Mapping):
        return False
    inner = nested_model(model.model_fields[name].annotation, value)
    return inner is None or (bool(rest) and in_free_mapping(rest, inner, value))


def target_models(spec: Mapping[str, Any], key: str) -> Iterator[tuple[str, type[BaseModel], dict[str, Any]]]:
    """Settings inside a Hydra ``_target_``: (dotted key, model, values) of each part that a pydantic model describes.

    Raises
    ------
    ImportError
        The target does not exist.
    KeyError
        The target has no parameter of that name; its argument is (dotted key, dotted names that exist).
    """
    from hydra.utils import get_object

    target = get_object(str(spec["_target_"]))
    values = {name: value for name, value in spec.items() if name != "_target_"}
    if isinstance(target, type) and issubclass(target, BaseModel):
        yield key, target, values
        return
    parameters = inspect.signature(target).parameters
    for name, value in values.items():
        if name not in parameters:
            raise KeyError(f"{key}.{name}", [f"{key}.{known}" for known in parameters])
        if not isinstance(value, Mapping):
            continue
        if "_target_" in value:
            yield from target_models(value, f"{key}.{name}")
        elif (model := nested_model(parameters[name].annotation, value)) is not None:
            yield f"{key}.{name}", model, dict(value)


def _carries_tag(model: type[BaseModel], value: Mapping[str, Any]) -> bool:
    return all(value.get(name) == tag for name, tag in tags_of(model).items())
