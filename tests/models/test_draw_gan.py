"""DRAW-GAN: Algorithm 1 against its formulas, and each option by its effect on the gradients."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from drawgan_fast.models import DRAWGAN
from drawgan_fast.models.draw_gan import GanTerms

TINY = {
    "image_size": (12, 12),
    "steps": 3,
    "hidden_size": 8,
    "latent_size": 4,
    "read_size": 3,
    "write_size": 3,
}


def make(**options) -> tuple[DRAWGAN, Tensor, Tensor]:
    """A model without dropout, so that two passes through D agree; images; noise."""
    torch.manual_seed(1)
    model = DRAWGAN(**{**TINY, **options}).double().eval()
    return model, torch.rand(5, 1, 12, 12).double(), model.noise(5)


def gradients(module: torch.nn.Module) -> dict[str, Tensor]:
    return {
        n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in module.named_parameters()
    }


def by_formula(loss: Tensor, module: torch.nn.Module) -> dict[str, Tensor]:
    names, parameters = zip(*module.named_parameters())
    grads = torch.autograd.grad(
        loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return dict(zip(names, grads))


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    for name in right:
        torch.testing.assert_close(left[name], right[name], msg=lambda m, n=name: f"{n}: {m}")


def differ(left: dict[str, Tensor], right: dict[str, Tensor]) -> set[str]:
    return {n for n in left if not torch.allclose(left[n], right[n], rtol=1e-9, atol=1e-14)}


class Formula:
    """Algorithm 1's quantities from their definitions, with probabilities and plain logs."""

    def __init__(self, model: DRAWGAN, x: Tensor, eps: Tensor) -> None:
        out = model.draw(x, eps[0], eps[1])
        self.canvas, self.x = out.canvas, x
        self.rec, self.prior_image = torch.sigmoid(out.canvas), torch.sigmoid(out.prior_canvas)
        self.z, self.prior_z = out.mu + out.log_sigma.exp() * eps[0], eps[1]
        d_x, d_rec, d_prior = (model.discriminator(i) for i in (x, self.rec, self.prior_image))
        D_x, D_rec, D_prior = (torch.sigmoid(d.logits) for d in (d_x, d_rec, d_prior))
        B = x.shape[0]
        sigma2 = torch.exp(2 * out.log_sigma)
        self.kl = 0.5 * (out.mu**2 + sigma2 - 2 * out.log_sigma - 1).sum() / B
        self.feature = 0.5 * ((d_x.features - d_rec.features) ** 2).sum() / B
        self.pixel = -(x * self.rec.log() + (1 - x) * (1 - self.rec).log()).sum() / B
        self.gan = ((1 - D_prior).log() + (1 - D_rec).log()).mean()
        self.l_gan = D_x.log().mean() + self.gan
        self.non_saturating = -(D_prior.log() + D_rec.log()).mean()


def test_algorithm_1() -> None:
    model, x, eps = make(reconstruction_weight=0.7)
    scalars = model.accumulate_gradients(x, eps)
    f = Formula(model, x, eps)
    generator = f.kl + 0.7 * f.feature + f.gan
    assert_same(gradients(model.draw), by_formula(generator, model.draw))
    assert_same(gradients(model.discriminator), by_formula(-f.l_gan, model.discriminator))
    assert scalars["loss"].item() == pytest.approx(generator.item())
    assert scalars["discriminator"].item() == pytest.approx(-f.l_gan.item())
    assert scalars["kl"].item() == pytest.approx(f.kl.item())
    torch.testing.assert_close(model.loss(x, eps).total, generator)


def test_gradients_accumulate_and_reach_no_other_tensor() -> None:
    model, x, eps = make()
    x.requires_grad_()
    model.accumulate_gradients(x, eps)
    once = {n: g.clone() for n, g in gradients(model).items()}
    model.accumulate_gradients(x, eps)
    assert_same(gradients(model), {n: 2 * g for n, g in once.items()})
    assert x.grad is None


def test_non_saturating_changes_the_generator_only() -> None:
    model, x, eps = make(gan_loss="non_saturating")
    model.accumulate_gradients(x, eps)
    f = Formula(model, x, eps)
    assert_same(gradients(model.draw), by_formula(f.kl + f.feature + f.non_saturating, model.draw))
    assert_same(gradients(model.discriminator), by_formula(-f.l_gan, model.discriminator))


@pytest.mark.parametrize("gan_loss", ["minimax", "non_saturating"])
@pytest.mark.parametrize("shared", [False, True])
def test_decoder_only_keeps_the_gan_gradient_from_the_encoder(gan_loss: str, shared: bool) -> None:
    model, x, eps = make(gan_gradient="decoder", gan_loss=gan_loss, shared_attention=shared)
    model.accumulate_gradients(x, eps)
    f = Formula(model, x, eps)
    gan = f.gan if gan_loss == "minimax" else f.non_saturating
    without, full = f.kl + f.feature, f.kl + f.feature + gan
    got = gradients(model.draw)
    encoder = {n for n in got if n.startswith(("core.encoder", "core.posterior", "core.read"))}
    assert encoder
    assert_same(got, {n: g for n, g in by_formula(without, model.draw).items() if n in encoder})
    assert_same(got, {n: g for n, g in by_formula(full, model.draw).items() if n not in encoder})
    # The option is not idle: with it off, the encoder's gradient is another.
    assert differ(by_formula(without, model.draw), by_formula(full, model.draw)) >= encoder


def test_pixel_reconstruction_is_the_bernoulli_nll() -> None:
    model, x, eps = make(reconstruction="pixel", reconstruction_weight=0.8)
    model.accumulate_gradients(x, eps)
    f = Formula(model, x, eps)
    assert_same(gradients(model.draw), by_formula(f.kl + 0.8 * f.pixel + f.gan, model.draw))


def test_the_authors_published_code_is_a_variant() -> None:
    """Their pixel BCE (a mean) × 1024 × 0.8 on 32×32, and one attention Linear."""
    model = DRAWGAN(
        steps=2,
        hidden_size=8,
        latent_size=4,
        reconstruction="pixel",
        reconstruction_weight=0.8,
        shared_attention=True,
    ).eval()
    x, eps = torch.rand(3, 1, 32, 32), model.noise(3)
    theirs = torch.nn.functional.binary_cross_entropy(model.reconstruct(x, eps), x) * 1024 * 0.8
    terms = model.terms(x, eps)
    assert 0.8 * terms.reconstruction.item() == pytest.approx(theirs.item(), rel=1e-5)
    weights = model.draw.core.weights()
    assert weights.read_w is weights.write_w


def test_ssim_reconstruction_looks_at_structure() -> None:
    model, x, eps = make(reconstruction="ssim", reconstruction_weight=0.5)
    model.accumulate_gradients(x, eps)
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    f = Formula(model, x, eps)
    loss = 144 * (1 - ssim(f.rec, x, data_range=1.0))
    assert_same(gradients(model.draw), by_formula(f.kl + 0.5 * loss + f.gan, model.draw))


def test_mmd_prior_matches_samples_not_densities() -> None:
    model, x, eps = make(prior="mmd", prior_weight=3.0)
    model.accumulate_gradients(x, eps)
    f = Formula(model, x, eps)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        # exp(−mean((a−b)²)/dim), the InfoVAE authors' kernel
        return torch.exp(-((a[:, None] - b[None]) ** 2).mean(-1) / a.shape[-1]).mean()

    mmd = sum(kernel(q, q) + kernel(p, p) - 2 * kernel(q, p) for q, p in zip(f.z, f.prior_z))
    assert_same(gradients(model.draw), by_formula(3 * mmd + f.feature + f.gan, model.draw))
    assert make(prior="mmd")[0].prior_weight == 144


def test_adversarial_prior_is_a_second_game_on_the_latents() -> None:
    model, x, eps = make(prior="adversarial", gan_loss="non_saturating")
    assert set(model.players()) == {"generator", "discriminator", "latent_discriminator"}
    model.accumulate_gradients(x, eps)
    f = Formula(model, x, eps)

    def rows(z: Tensor) -> Tensor:
        return z.transpose(0, 1).reshape(5, -1)

    posterior = torch.sigmoid(model.latent_discriminator(rows(f.z)).logits)
    prior = torch.sigmoid(model.latent_discriminator(rows(f.prior_z)).logits)
    judge = -(prior.log() + (1 - posterior).log()).mean()
    assert_same(
        gradients(model.latent_discriminator), by_formula(judge, model.latent_discriminator)
    )
    generator = -posterior.log().mean() + f.feature + f.non_saturating
    assert_same(gradients(model.draw), by_formula(generator, model.draw))
    assert_same(gradients(model.discriminator), by_formula(-f.l_gan, model.discriminator))


def test_feature_layer_is_selectable() -> None:
    first, x, eps = make(feature_layer=1)
    last, _, _ = make()
    last.load_state_dict(first.state_dict())
    first_features = first.discriminator(x).features
    assert first_features.shape == (5, 500)
    assert first.terms(x, eps).reconstruction != last.terms(x, eps).reconstruction


def test_convolutional_discriminator_plays() -> None:
    model, x, eps = make(discriminator="conv")
    model.accumulate_gradients(x, eps)
    f = Formula(model, x, eps)
    assert_same(gradients(model.draw), by_formula(f.kl + f.feature + f.gan, model.draw))


def test_terms_and_scalars_name_the_same_things() -> None:
    model, x, eps = make()
    terms = model.terms(x, eps)
    assert isinstance(terms, GanTerms)
    assert set(model.accumulate_gradients(x, eps)) == {"loss", *terms.scalars()}


def test_config_comes_back() -> None:
    model, x, eps = make(prior="adversarial", spec="natsu", prior_weight=2.0)
    again = DRAWGAN(**model.config()).double().eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.loss(x, eps).total, model.loss(x, eps).total)


def test_samples_come_from_the_drawing_network() -> None:
    model, x, eps = make()
    generator = torch.Generator().manual_seed(5)
    images = model.generate(3, generator=generator)
    assert torch.equal(images, model.draw.generate(3, generator=generator.manual_seed(5)))
    assert torch.equal(model.reconstruct(x, eps), model.draw.reconstruct(x, eps[0]))
    assert torch.equal(model.log_weight(x, eps), model.draw.log_weight(x, eps[0]))


@pytest.mark.parametrize(
    "option", ["discriminator", "gan_loss", "gan_gradient", "reconstruction", "prior"]
)
def test_unknown_options_are_named(option: str) -> None:
    with pytest.raises(ValueError, match=rf"{option} must be one of .*got 'nothing'"):
        DRAWGAN(**TINY, **{option: "nothing"})


def passes(model: DRAWGAN, x: Tensor, eps: Tensor, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often one step walks back through DRAW's graph, and through D's."""
    walked: Counter[str] = Counter()

    def count(name: str, tensor: Tensor) -> None:
        assert tensor.grad_fn is not None
        tensor.grad_fn.register_prehook(lambda _: walked.update([name]))

    draw, judge = model.draw.forward, model.discriminator.forward

    def drawn(*args, **options):
        out = draw(*args, **options)
        count("DRAW", out.canvas)
        return out

    def judged(images: Tensor):
        seen = judge(images)
        count("D", seen.logits)
        return seen

    monkeypatch.setattr(model.draw, "forward", drawn)
    monkeypatch.setattr(model.discriminator, "forward", judged)
    model.accumulate_gradients(x, eps)
    return walked


@pytest.mark.parametrize(
    ("options", "draw", "discriminator"),
    [
        ({}, 1, 2),  # the feature loss must not reach D's gradient: one pass each
        ({"reconstruction": "pixel"}, 1, 1),  # minimax: one pass serves both players
        ({"reconstruction": "ssim"}, 1, 1),
        ({"reconstruction": "pixel", "gan_loss": "non_saturating"}, 1, 2),
        ({"prior": "adversarial"}, 1, 2),
        ({"prior": "mmd"}, 1, 2),
        ({"gan_gradient": "decoder", "reconstruction": "pixel"}, 2, 1),
        ({"gan_gradient": "decoder", "gan_loss": "non_saturating"}, 2, 2),
    ],
    ids=str,
)
def test_no_graph_is_walked_through_more_often_than_needed(
    options: dict, draw: int, discriminator: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert passes(*make(**options), monkeypatch) == {"DRAW": draw, "D": discriminator}


@pytest.mark.parametrize("reconstruction", ["feature", "pixel"])
def test_a_frozen_player_stays_as_it_is(reconstruction: str) -> None:
    for player in ("draw", "discriminator"):
        model, x, eps = make(reconstruction=reconstruction)
        whole, _, _ = make(reconstruction=reconstruction)
        getattr(model, player).requires_grad_(False)
        model.accumulate_gradients(x, eps)
        whole.accumulate_gradients(x, eps)
        other = "discriminator" if player == "draw" else "draw"
        assert_same(gradients(getattr(model, other)), gradients(getattr(whole, other)))
        assert all(p.grad is None for p in getattr(model, player).parameters())


def test_memory_is_an_option_that_changes_no_gradient() -> None:
    kept, x, eps = make()
    again, _, _ = make(memory="recompute")
    assert again.config()["memory"] == "recompute"
    assert again.draw.core.memory == "recompute"
    kept.accumulate_gradients(x, eps)
    again.accumulate_gradients(x, eps)
    assert_same(gradients(again), gradients(kept))
    before = {key: value for key, value in kept.config().items() if key != "memory"}
    assert DRAWGAN(**before).config() == kept.config()
    with pytest.raises(ValueError, match=r"memory must be one of .*got 'some'"):
        DRAWGAN(**TINY, memory="some")
