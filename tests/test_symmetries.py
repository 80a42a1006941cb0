"""Flips and right-angle rotations of patches."""

import numpy as np
import torch

from napari_cmrcnet.model.symmetries import SYMMETRIES, apply_symmetries, draw_symmetries


def all_draws() -> np.ndarray:
    return np.array([[t, r, c] for t in (0, 1) for r in (0, 1) for c in (0, 1)], bool)


def test_the_eight_draws_are_the_eight_symmetries_of_a_square() -> None:
    patch = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    expected = {np.rot90(side, turns).tobytes() for side in (patch, patch[:, ::-1]) for turns in range(4)}
    augmented = apply_symmetries(torch.from_numpy(np.stack([patch] * 8)), all_draws())
    assert len(expected) == 8
    assert {one.numpy().tobytes() for one in augmented} == expected


def test_pixels_stay_uint8_and_each_patch_is_drawn_by_itself() -> None:
    patches = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (8, 5, 5, 3), np.uint8))
    together = apply_symmetries(patches, all_draws())
    alone = [apply_symmetries(patches[i : i + 1], all_draws()[i : i + 1]) for i in range(8)]
    assert together.dtype == torch.uint8
    assert torch.equal(together, torch.cat(alone))


def test_all_symmetries_are_equally_likely_and_follow_the_seed() -> None:
    drawn = draw_symmetries(np.random.default_rng(3), 8000)
    counts = np.bincount(drawn @ [1, 2, 4], minlength=8)
    assert counts.min() > 880
    assert counts.max() < 1120
    np.testing.assert_array_equal(drawn, draw_symmetries(np.random.default_rng(3), 8000))


def test_all_patches_turned_alike_are_as_each_by_itself() -> None:
    patches = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 5, 5, 3), np.uint8))
    for one in SYMMETRIES:
        each = apply_symmetries(patches, np.tile(one, (3, 1)))
        assert torch.equal(apply_symmetries(patches, one), each)
