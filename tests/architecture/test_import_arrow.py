"""Who may import whom: ``modeling <- tracking <- facades <- {eval, export, web} <- cli``; the rest are leaves."""

import ast
from collections.abc import Iterator

FACADES = {
    "__init__",
    "build_sam",
    "checkpoints",
    "sam2_image_predictor",
    "sam2_video_predictor",
    "sam2_video_predictor_legacy",
    "sam2_camera_predictor",
    "automatic_mask_generator",
}
LEAVES = {"utils", "io", "interop"}
BELOW_FACADES = {"modeling", "tracking", "loading", "image", "automatic", "configs", *LEAVES}

MAY_IMPORT: dict[str, set[str]] = {
    "modeling": {"modeling"},
    "tracking": {"modeling", "tracking", *LEAVES},
    **{leaf: LEAVES for leaf in LEAVES},
    "viz": {"viz", *LEAVES},
    "text": {"text", *LEAVES},
    "configs": set(),
    "loading": BELOW_FACADES,
    "image": BELOW_FACADES - {"automatic"},
    "automatic": {"automatic", "modeling", "image", "tracking", *LEAVES},
    **{facade: FACADES | BELOW_FACADES for facade in FACADES},
    "eval": {"eval", "viz", *FACADES, *BELOW_FACADES},
    "export": {"export", *FACADES, *BELOW_FACADES},
    "train": {"train", "eval", "viz", *FACADES, *BELOW_FACADES},
    "web": {"web", "viz", *FACADES, *BELOW_FACADES},
    "cli": {"cli", "eval", "export", "train", "viz", "web", *FACADES, *BELOW_FACADES},
    "__main__": {"cli"},
}
"""Part -> parts it may import. A new part is added here first, with what it stands on."""


def _absolute_imports(path: str, tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every module of ``sam2`` that a file imports, anywhere in it, as (dotted name under sam2, line)."""
    package = ("sam2/" + path).split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # ``from sam2 import x`` names either a part or something of __init__
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "sam2" else [module]
        else:
            continue
        for name in names:
            if name == "sam2":
                yield "__init__", node.lineno
            elif name.startswith("sam2."):
                yield name.removeprefix("sam2."), node.lineno


def test_every_part_has_its_place(sources) -> None:
    unknown = {source.part for source in sources} - MAY_IMPORT.keys()

    assert not unknown, f"{sorted(unknown)}: say in MAY_IMPORT what they may import"


def test_imports_follow_the_arrow(sources) -> None:
    parts = {source.part for source in sources}
    faults = []
    for source in sources:
        for name, line in _absolute_imports(source.path, source.tree):
            target = name.split(".")[0]
            target = target if target in parts else "__init__"
            if target != source.part and target not in MAY_IMPORT.get(source.part, set()):
                faults.append(f"{source.path}:{line}: {source.part} imports {target}")

    assert not faults, "\n".join(faults)


def test_no_star_imports(sources) -> None:
    faults = [
        f"{source.path}:{node.lineno}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]

    assert not faults, "\n".join(faults)
