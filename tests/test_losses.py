"""The losses equal the equations, worked slowly in NumPy or by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from napari_cmrcnet.model.losses import contrastive_loss, reconstruction_loss, total_loss

VARIANTS = ("paper", "released")


def softmax_rows(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    for i, row in enumerate(x):
        powers = [math.exp(value - max(row)) for value in row]
        out[i] = [power / sum(powers) for power in powers]
    return out


def cross_entropy(logits: np.ndarray, target: np.ndarray, i: int) -> float:
    """- Σ_j target_ij log softmax_row(logits)_ij, one term at a time."""
    total = 0.0
    for j in range(logits.shape[1]):
        log_sum = max(logits[i]) + math.log(sum(math.exp(value - max(logits[i])) for value in logits[i]))
        total -= target[i, j] * (logits[i, j] - log_sum)
    return total


def slow_contrastive(image: np.ndarray, gene: np.ndarray, temperature: float, variant: str) -> float:
    target = softmax_rows((image @ image.T + gene @ gene.T) / 2 * temperature)
    image_to_gene, gene_to_image = image @ gene.T, gene @ image.T
    losses = []
    for i in range(len(image)):
        if variant == "paper":
            losses.append(cross_entropy(image_to_gene, target, i) + cross_entropy(gene_to_image, target.T, i))
        else:
            both = cross_entropy(gene_to_image, target, i) + cross_entropy(image_to_gene, target.T, i)
            losses.append(math.log(1 + both / 2))
    return sum(losses) / len(losses)


def embeddings(batch: int, dim: int, scale: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, dim)) * scale, rng.normal(size=(batch, dim)) * scale


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("temperature", [0.1, 1.0, 2.5])
@pytest.mark.parametrize(("batch", "dim", "scale"), [(1, 3, 1.0), (2, 2, 0.5), (5, 4, 1.0), (16, 256, 1.0)])
def test_contrastive_loss_equals_the_slow_reference(
    batch: int, dim: int, scale: float, temperature: float, variant: Any
) -> None:
    image, gene = embeddings(batch, dim, scale)
    expected = slow_contrastive(image, gene, temperature, variant)
    exact = contrastive_loss(torch.tensor(image), torch.tensor(gene), temperature, variant)
    single = contrastive_loss(torch.tensor(image).float(), torch.tensor(gene).float(), temperature, variant)
    assert exact.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert single.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert single.dtype == torch.float32


def test_contrastive_loss_worked_by_hand() -> None:
    # F_img = (1, 0)ᵀ and F_gene = (0, 1)ᵀ, one feature. The similarities (F_img F_imgᵀ + F_gene F_geneᵀ) / 2 are
    # [[.5, 0], [0, .5]]; so the target is [[a, b], [b, a]], a = e^.5 / (e^.5 + 1), b = 1 - a, its own transpose.
    # F_img F_geneᵀ = [[0, 1], [0, 0]]: CE = (a log(1+e) + b (log(1+e) - 1), log 2).
    # F_gene F_imgᵀ = [[0, 0], [1, 0]]: CE = (log 2, b (log(1+e) - 1) + a log(1+e)).
    image, gene = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]])
    b = 1 / (math.exp(0.5) + 1)
    uneven = math.log(1 + math.e) - b
    assert contrastive_loss(image, gene).item() == pytest.approx(uneven + math.log(2), abs=1e-6)
    released = math.log(1 + (uneven + math.log(2)) / 2)
    assert contrastive_loss(image, gene, variant="released").item() == pytest.approx(released, abs=1e-6)


def test_embeddings_without_difference_cost_the_entropy_of_a_uniform_target() -> None:
    same = torch.ones(8, 4)
    assert contrastive_loss(same, same).item() == pytest.approx(2 * math.log(8), rel=1e-6)
    released = contrastive_loss(same, same, variant="released").item()
    assert released == pytest.approx(math.log(1 + math.log(8)), rel=1e-6)


def test_a_single_spot_costs_nothing() -> None:
    image, gene = (torch.tensor(x) for x in embeddings(1, 7))
    for variant in VARIANTS:
        assert contrastive_loss(image, gene, variant=variant).item() == 0  # type: ignore[arg-type]


def test_the_pairing_of_the_transposed_target_matters() -> None:
    image, gene = embeddings(5, 4)
    target = softmax_rows((image @ image.T + gene @ gene.T) / 2)
    columns = target.sum(axis=0)
    assert np.abs(columns - 1).max() > 0.1  # so the rows of the transposed target do not sum to one
    paired = slow_contrastive(image, gene, 1.0, "paper")
    swapped = slow_contrastive(gene, image, 1.0, "paper")
    assert abs(paired - swapped) > 1e-2
    assert contrastive_loss(torch.tensor(image), torch.tensor(gene)).item() == pytest.approx(paired)
    assert contrastive_loss(torch.tensor(gene), torch.tensor(image)).item() == pytest.approx(swapped)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_order_of_the_spots_does_not_matter(variant: Any) -> None:
    image, gene = (torch.tensor(x) for x in embeddings(6, 5))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = contrastive_loss(image[order], gene[order], variant=variant)
    torch.testing.assert_close(shuffled, contrastive_loss(image, gene, variant=variant))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_gradient_flows_through_the_target_too(variant: Any) -> None:
    image, gene = (torch.tensor(x, requires_grad=True) for x in embeddings(4, 3))
    # Finite differences see every path; a target cut from the graph would fail here.
    assert torch.autograd.gradcheck(lambda a, b: contrastive_loss(a, b, 0.7, variant), (image, gene))


@pytest.mark.parametrize("variant", VARIANTS)
def test_large_embeddings_stay_finite_and_autocast_changes_nothing(variant: Any) -> None:
    image, gene = (torch.tensor(x).float().requires_grad_() for x in embeddings(32, 256, scale=10.0))
    plain = contrastive_loss(image, gene, variant=variant)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = contrastive_loss(image, gene, variant=variant)
        assert contrastive_loss(image.bfloat16(), gene.bfloat16(), variant=variant).dtype == torch.float32
    assert torch.equal(plain, cast)
    plain.backward()
    assert torch.isfinite(image.grad).all()


def test_reconstruction_loss_worked_by_hand() -> None:
    reconstructed, target = torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 2.0], [3.0, 4.0]])
    assert reconstruction_loss(reconstructed, target).item() == pytest.approx((1 + 4 + 0 + 0) / 4)
    assert reconstruction_loss(reconstructed, target, "cosine").item() == pytest.approx((1 + 0) / 2, abs=1e-6)


@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_reconstruction_loss_sends_its_gradient_to_both_sides(kind: Any) -> None:
    reconstructed, target = (torch.tensor(x, requires_grad=True) for x in embeddings(4, 3))
    assert torch.autograd.gradcheck(lambda a, b: reconstruction_loss(a, b, kind), (reconstructed, target))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert reconstruction_loss(reconstructed.bfloat16(), target.bfloat16(), kind).dtype == torch.float32


def test_total_loss_compresses_each_part_once() -> None:
    contrastive, reconstruction = torch.tensor(3.0), torch.tensor(0.5)
    assert total_loss(contrastive, reconstruction).item() == pytest.approx(math.log(4) + math.log(1.5))
    assert total_loss(contrastive).item() == pytest.approx(math.log(4))
    # the released contrastive loss is compressed spot by spot already
    released = total_loss(contrastive, reconstruction, variant="released").item()
    assert released == pytest.approx(3 + math.log(1.5))


def test_clip_loss_tells_each_spot_from_the_others_by_cosine() -> None:
    image, gene = embeddings(5, 4)
    cosine = (image @ gene.T) / np.linalg.norm(image, axis=1)[:, None] / np.linalg.norm(gene, axis=1)
    own, logits = np.eye(5), cosine / 0.1
    expected = sum(cross_entropy(logits, own, i) + cross_entropy(logits.T, own, i) for i in range(5)) / 10
    found = contrastive_loss(torch.tensor(image), torch.tensor(gene), 0.1, contrast="clip")
    assert found.item() == pytest.approx(expected, rel=1e-10)
