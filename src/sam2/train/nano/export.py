"""``python -m sam2.train.nano.export RUN_DIR OUT``: the averaged weights of a run as half-precision safetensors.

With ``--mix FILE`` they are averaged once more with the weights that the run started from, or others near them: what
was gained stays, and some of what was lost comes back.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from sam2.train.checkpoint import CHECKPOINT
from sam2.train.config import read_config
from sam2.train.trainer import CONFIG


def export_weights(
    run: str | Path, path: str | Path, *, mix: str | Path | None = None, share: float = 0.5
) -> dict[str, str]:
    """Write the weights of the run in folder ``run`` to ``path`` and return the metadata written with them.

    Parameters that were not trained (those of memory, in a run on photos) have the values of the run's seed.

    Args:
        run: folder.
        path: file to write.
        mix: weights (.safetensors) of the same model to average with.
        share: of ``mix`` in the average, 0..1.

    Raises:
        FileNotFoundError: no run in ``run`` has saved anything.
        ValueError: ``share`` is out of range, or ``mix`` holds another model.
    """
    run = Path(run)
    content = torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True)
    weights: dict[str, torch.Tensor] = content["model"]
    if mix is not None:
        weights = _mixed(weights, load_file(mix), share)
    tensors = {name: value.to(torch.float16).contiguous().clone() for name, value in weights.items()}
    bad = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if bad:
        raise ValueError(f"{bad[0]!r} does not fit half precision")
    metadata = {
        "format": "pt",
        "config": str(content["sam2"]["config"]),
        "step": str(content["steps"]["train"]),
        "seed": str(read_config(run / CONFIG).run.seed),
    }
    if mix is None:
        metadata["scores"] = json.dumps(content["best_meter_values"])
    else:  # scores of the run would not be those of the mixture
        metadata["mixed"] = f"{share:g} of {Path(mix).name}"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=metadata)
    path.chmod(0o644)  # safetensors keeps files to their owner; this one goes into a package
    return metadata


def _mixed(weights: dict[str, torch.Tensor], other: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    if not 0 <= share <= 1:
        raise ValueError(f"share must be 0 to 1, got {share}")
    if {name: value.shape for name, value in weights.items()} != {name: value.shape for name, value in other.items()}:
        raise ValueError("mix must hold weights of the same model: names or shapes differ")
    return {name: torch.lerp(value.float(), other[name].float(), share) for name, value in weights.items()}


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(prog="python -m sam2.train.nano.export", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("out", type=Path, help="file to write, e.g. src/sam2/weights/nano.safetensors")
    parser.add_argument("--mix", type=Path, help="weights (.safetensors) to average with")
    parser.add_argument("--share", type=float, default=0.5, help="of --mix in the average")
    options = parser.parse_args()
    metadata = export_weights(options.run, options.out, mix=options.mix, share=options.share)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, {metadata}")


if __name__ == "__main__":
    main()
