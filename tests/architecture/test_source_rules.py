"""A file is read in one sitting, a function in one screen; public names say what they are."""

import ast
from collections.abc import Iterator

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 7
OFFICIAL_SIGNATURES = (
    *("build_sam.py", "sam2_image_predictor.py", "sam2_video_predictor.py", "automatic_mask_generator.py"),
    "modeling/",
)
"""Where official signatures are mirrored, whatever their length: facades, constructors and ``forward`` of modules."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions_of(tree: ast.Module) -> Iterator[tuple[str, Function, bool]]:
    """(dotted name, function, whether it is public) for every function and method, nested ones left out."""
    for node in tree.body:
        if isinstance(node, Function):
            yield node.name, node, not node.name.startswith("_")
        elif isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, Function):
                    public = not node.name.startswith("_") and not member.name.startswith("_")
                    yield f"{node.name}.{member.name}", member, public


def test_files_are_read_in_one_sitting(sources) -> None:
    faults = [
        f"{source.path}: {lines} lines" for source in sources if (lines := source.text.count("\n")) > MAX_FILE_LINES
    ]

    assert not faults, "\n".join(faults)


def test_functions_fit_a_screen(sources) -> None:
    faults = []
    for source in sources:
        for name, function, _ in functions_of(source.tree):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            has_docstring = ast.get_docstring(function, clean=False)
            lines -= has_docstring.count("\n") + 1 if has_docstring else 0
            if lines > MAX_FUNCTION_LINES:
                faults.append(f"{source.path}:{function.lineno}: {name} has {lines} lines")

    assert not faults, "\n".join(faults)


def test_calls_have_few_arguments(sources) -> None:
    faults = []
    for source in sources:
        if source.part == "cli":  # a command's options are its arguments
            continue
        for name, function, _ in functions_of(source.tree):
            arguments = function.args
            named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            count = len([a for a in named if a.arg not in ("self", "cls")])
            official = source.path.startswith(OFFICIAL_SIGNATURES)
            if source.part == "modeling" and function.name not in ("__init__", "forward", "track_step"):
                official = False
            if count > MAX_PARAMETERS and not official:
                faults.append(f"{source.path}:{function.lineno}: {name} takes {count} arguments")

    assert not faults, "\n".join(faults)


def test_everything_is_annotated(sources) -> None:
    faults = []
    for source in sources:
        for name, function, _ in functions_of(source.tree):
            arguments = function.args
            named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            named += [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
            bare = [a.arg for a in named if a.annotation is None and a.arg not in ("self", "cls")]
            if bare or function.returns is None:
                missing = bare + (["return"] if function.returns is None else [])
                faults.append(f"{source.path}:{function.lineno}: {name} leaves {', '.join(missing)} without a type")

    assert not faults, "\n".join(faults)


def test_public_names_have_docstrings(sources) -> None:
    faults = []
    for source in sources:
        if source.text.strip() and not ast.get_docstring(source.tree):
            faults.append(f"{source.path}: no module docstring")
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node):
                faults.append(f"{source.path}:{node.lineno}: class {node.name}")
        for name, function, public in functions_of(source.tree):
            # the class says what its ``forward`` does; an override is documented where it is declared
            if public and function.name != "forward" and not ast.get_docstring(function):
                faults.append(f"{source.path}:{function.lineno}: {name}")

    assert not faults, "without a docstring:\n" + "\n".join(faults)


def test_annotations_are_evaluated(sources) -> None:
    """Deferred annotations would hide the shapes from the run-time checks of the test suite."""
    faults = [source.path for source in sources if "from __future__ import annotations" in source.text]

    assert not faults, "\n".join(faults)


def test_no_complex_arithmetic(sources) -> None:
    """Complex tensors keep a model from being exported and from running on several devices."""
    names = {"view_as_complex", "view_as_real", "polar", "complex64", "complex", "cfloat"}
    faults = [
        f"{source.path}:{node.lineno}: {node.attr}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr in names
    ]

    assert not faults, "\n".join(faults)
