"""A process graph for people: a numbered list of its steps, and a picture in Mermaid's notation."""

from typing import Any

_SHORT = 48  # characters of one argument


def step_lines(graph: dict[str, Any]) -> list[str]:
    """One line per node of a flat graph, in its order: number, process, what goes in, main arguments."""
    number = {name: k for k, name in enumerate(graph, 1)}
    lines = []
    for name, node in graph.items():
        told = []
        for key, value in node["arguments"].items():
            source = _from(value)
            told.append(f"{key} = step {number[source]}" if source in number else f"{key} = {_short(value)}")
        lines.append(f"{number[name]:3}. {node['process_id']}: {', '.join(told) or 'no arguments'}")
    return lines


def mermaid(graph: dict[str, Any]) -> str:
    """The graph as a Mermaid flow chart, one box per node and one arrow per input."""
    number = {name: k for k, name in enumerate(graph, 1)}
    lines = ["flowchart TD"]
    for name, node in graph.items():
        collection = node["arguments"].get("id")
        label = node["process_id"] + (f"<br>{collection}" if isinstance(collection, str) else "")
        lines.append(f'    n{number[name]}["{number[name]}. {label}"]')
    for name, node in graph.items():
        for key, value in node["arguments"].items():
            for source in _inputs(value):
                if source in number:
                    arrow = "-->" if key in ("data", "cube1") else f"-- {key} -->"
                    lines.append(f"    n{number[source]} {arrow} n{number[name]}")
    return "\n".join(lines)


def _from(value: Any) -> str | None:
    return value.get("from_node") if isinstance(value, dict) and set(value) == {"from_node"} else None


def _inputs(value: Any) -> list[str]:
    """Nodes that an argument names, in child graphs too where those point outside of them."""
    if isinstance(value, list):
        return [source for part in value for source in _inputs(part)]
    if not isinstance(value, dict) or "process_graph" in value:
        return []
    source = _from(value)
    return [source] if source else [found for part in value.values() for found in _inputs(part)]


def _short(value: Any) -> str:
    """An argument in a few characters; sources and kernels by their size, child graphs by their processes."""
    if isinstance(value, dict) and "process_graph" in value:
        inner = value["process_graph"].values()
        lengths = [f" ({len(n['arguments']['udf'])} characters)" if "udf" in n["arguments"] else "" for n in inner]
        return " > ".join(n["process_id"] + size for n, size in zip(inner, lengths, strict=True))
    if isinstance(value, list) and value and isinstance(value[0], list):
        return f"<{len(value)} x {len(value[0])} numbers>"
    if isinstance(value, dict) and "from_parameter" in value:
        return f"parameter {value['from_parameter']}"
    if isinstance(value, dict) and "type" in value:
        return f"<{value['type']}>"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_short(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value)) + "]"
    text = str(value)
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."
