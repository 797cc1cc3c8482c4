"""The video snippet of the official README, line for line, on a machine with CUDA or without."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import Clip
from seeded import seed_weights

from sam2.build_sam import build_sam2

CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
LENGTH = 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded weights in the official layout."""
    path = tmp_path_factory.mktemp("weights") / "sam2.1_hiera_tiny.pt"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*random weights.*")
        model = seed_weights(build_sam2(CONFIG, None, device="cpu"), 5)
    torch.save({"model": model.state_dict()}, path)
    return path


@pytest.fixture
def video() -> Iterator[str]:
    clip = Clip(5, LENGTH)
    yield clip.path
    clip.folder.cleanup()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*CUDA.*", "ignore:.*cuda.*")
def test_video_snippet(checkpoint: Path, video: str) -> None:
    from sam2.build_sam import build_sam2_video_predictor

    model_cfg = CONFIG
    predictor = build_sam2_video_predictor(model_cfg, str(checkpoint), hydra_overrides_extra=["++model.image_size=256"])

    found = {}
    with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
        state = predictor.init_state(video)

        # add new prompts and instantly get the output on the same frame
        frame_idx, object_ids, masks = predictor.add_new_points_or_box(
            state, frame_idx=0, obj_id=1, points=np.array([[150, 110]], np.float32), labels=np.array([1], np.int32)
        )

        # propagate the prompts to get masklets throughout the video
        for frame_idx, object_ids, masks in predictor.propagate_in_video(state):
            found[frame_idx] = (object_ids, masks)

    assert list(found) == list(range(LENGTH))
    for object_ids, masks in found.values():
        assert object_ids == [1]
        assert masks.shape == (1, 1, 240, 320)
        assert masks.dtype == torch.float32
        assert torch.isfinite(masks).all()
        # What the official notebook does with it.
        assert {object_id: (masks[i] > 0.0).cpu().numpy() for i, object_id in enumerate(object_ids)}[1].shape == (
            1,
            240,
            320,
        )
