import pytest
import torch

from edgetran.search.methods.gobi import ascend
from edgetran.search.methods.networks import (
    NaturalParameterNetwork,
    NPNLinear,
    Teacher,
    fit,
    gaussian_nll,
    rectified_moments,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_npn_layer_matches_sampled_weights_and_inputs():
    layer = NPNLinear(5, 3, generator())
    torch.nn.init.constant_(layer.weight_rho, -1.0)
    mean = torch.randn(1, 5, generator=generator(1))
    variance = torch.rand(1, 5, generator=generator(2))
    got_mean, got_variance = layer(mean, variance)
    count = 200_000
    noise = generator(3)
    inputs = mean + variance.sqrt() * torch.randn(count, 5, generator=noise)
    spread = torch.nn.functional.softplus(layer.weight_rho).sqrt()
    weights = layer.weight + spread * torch.randn(count, 3, 5, generator=noise)
    bias_spread = torch.nn.functional.softplus(layer.bias_rho).sqrt()
    biases = layer.bias + bias_spread * torch.randn(count, 3, generator=noise)
    outputs = torch.einsum("nok,nk->no", weights, inputs) + biases
    assert torch.allclose(got_mean[0], outputs.mean(0), atol=0.02)
    assert torch.allclose(got_variance[0], outputs.var(0), rtol=0.03)


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (2.0, 0.5), (-1.5, 2.0), (0.3, 1e-4)])
def test_rectified_moments_match_sampling(mean, variance):
    samples = mean + variance**0.5 * torch.randn(400_000, generator=generator())
    rectified = samples.clamp_min(0)
    first, second = rectified_moments(torch.tensor([mean]), torch.tensor([variance]))
    assert first.item() == pytest.approx(rectified.mean().item(), abs=0.01)
    assert second.item() == pytest.approx(rectified.var().item(), rel=0.03, abs=1e-4)


def test_the_likelihood_is_least_at_the_true_moments():
    target = 2.0 + 0.5 * torch.randn(10_000, generator=generator())
    ones = torch.ones_like(target)
    best = gaussian_nll((2.0 * ones, 0.25 * ones), target)
    for mean, variance in ((1.5, 0.25), (2.5, 0.25), (2.0, 0.1), (2.0, 1.0)):
        assert gaussian_nll((mean * ones, variance * ones), target) > best


def test_the_npn_learns_where_noise_is_large():
    points = torch.rand(400, 1, generator=generator()) * 4 - 2
    noise = torch.where(points[:, 0] > 0, 1.0, 0.05) * torch.randn(400, generator=generator(1))
    network = NaturalParameterNetwork(1, generator(2))
    fit(network, lambda: network.loss(points, points[:, 0] + noise), steps=400)
    mean, variance = network(torch.tensor([[-1.0], [1.0]]))
    assert torch.allclose(mean, torch.tensor([-1.0, 1.0]), atol=0.3)
    assert variance[1] > 3 * variance[0]


def test_the_teachers_doubt_grows_away_from_data():
    points = torch.rand(30, 4, generator=generator()) - 0.5
    teacher = Teacher(4, generator(1))
    fit(teacher, lambda: teacher.loss(points, points.sum(dim=1)), steps=200)
    near = teacher.spread(points).mean()
    far = teacher.spread(points + 4).mean()
    assert far > 3 * near


def bowl(points):
    """Concave, curved 100 times more in one direction; highest at (0.5, −0.5)."""
    offset = points - torch.tensor([0.5, -0.5])
    return -(offset**2 * torch.tensor([100.0, 1.0])).sum(dim=1)


def climb(function, starts, **options):
    box = {"lower": torch.full((2,), -2.0), "upper": torch.full((2,), 2.0)}
    return ascend(function, starts, generator=generator(), **(box | options))


def test_ascent_reaches_the_summit_however_badly_scaled():
    starts = torch.tensor([[-1.5, 1.5], [1.0, 1.0]])
    summits = climb(bowl, starts, steps=100)
    assert torch.allclose(summits, torch.tensor([[0.5, -0.5]] * 2), atol=0.05)


def test_ascent_stays_in_the_box_and_never_ends_below_its_start():
    starts = torch.rand(16, 2, generator=generator(4)) * 4 - 2

    def waves(points):
        return torch.sin(3 * points).sum(dim=1) + points.sum(dim=1)

    summits = climb(waves, starts, upper=torch.tensor([1.0, 1.0]))
    assert (summits <= 2.0).all()
    assert (waves(summits) >= waves(starts) - 1e-6).all()
