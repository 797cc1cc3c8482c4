"""``python -m sam2.train.nano.export RUN_DIR OUT``: the averaged weights of a run as half-precision safetensors."""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from sam2.train.nano.loop import load_checkpoint


def export_weights(run: str | Path, path: str | Path) -> dict[str, str]:
    """Write the weights of the run in folder ``run`` to ``path`` and return the metadata written with them.

    Parameters that were not trained (those of memory) have the values of the run's seed.
    """
    content = load_checkpoint(run)
    weights = {**content["model"], **content["average"]}
    tensors = {name: value.to(torch.float16).contiguous().clone() for name, value in weights.items()}
    bad = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if bad:
        raise ValueError(f"{bad[0]!r} does not fit half precision")
    metadata = {
        "format": "pt",
        "config": str(content["config"]["model"]),
        "step": str(content["step"]),
        "images": str(content["images"]),
        "seed": str(content["config"]["seed"]),
        "scores": json.dumps(content["scores"]),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=metadata)
    path.chmod(0o644)  # safetensors keeps files to their owner; this one goes into a package
    return metadata


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(prog="python -m sam2.train.nano.export", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("out", type=Path, help="file to write, e.g. src/sam2/weights/nano.safetensors")
    options = parser.parse_args()
    metadata = export_weights(options.run, options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, {metadata}")


if __name__ == "__main__":
    main()
