"""Under which names public PyTorch implementations keep the parts of a DRAW."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KeyMap:
    """Names of one implementation's layers.

    Attributes:
        source: the implementation.
        spec: preset of its convention.
        posterior: its layers that give μ and log σ (or log σ²), or the one that gives both.
        patch, read, write: its layers; read and write may be the same.
        encoder, decoder: its cells.
        ignored: beginnings of names of layers that its forward does not use.
        log_sigma_scale: ½ where it gives log σ².
        decoder_state: whether the encoder sees h_dec beside the glimpse.
        steps: name of T beside the weights in its own checkpoints, if they say.
    """

    source: str
    spec: str
    posterior: tuple[str, ...]
    patch: str
    read: str
    write: str
    encoder: str = "encoder"
    decoder: str = "decoder"
    ignored: tuple[str, ...] = ()
    log_sigma_scale: float = 1.0
    decoder_state: bool = True
    steps: str | None = None

    def layers(self) -> tuple[str, ...]:
        """Every layer that has a part in the recurrence, once."""
        parts = (self.encoder, self.decoder, *self.posterior, self.patch, self.read, self.write)
        return tuple(dict.fromkeys(parts))


KEY_MAPS: dict[str, KeyMap] = {
    "natsu": KeyMap(
        source="Natsu6767/Generating-Devanagari-Using-DRAW and forks, as AmarSaini's",
        spec="natsu",
        posterior=("fc_mu", "fc_sigma"),
        patch="fc_write",
        read="fc_attention",
        write="fc_attention",
        steps="T",
    ),
    "czm0": KeyMap(
        source="czm0/draw_pytorch and forks, as dingwen07/draw_pytorch",
        spec="czm0",
        posterior=("mu_linear", "sigma_linear"),
        patch="dec_w_linear",
        read="dec_linear",
        write="dec_linear",
        ignored=("encoder_gru", "decoder_gru"),
    ),
    "shuaiyihuang": KeyMap(
        source="ShuaiyiHuang/DRAW",
        spec="shuaiyihuang",
        posterior=("mu_linear", "sigma_linear"),
        patch="write_linear",
        read="attparam_linear",
        write="attparam_linear",
        decoder_state=False,
    ),
    "kamen": KeyMap(
        source="kamenbliznashki/generative_models",
        spec="kamen",
        posterior=("z_linear",),
        patch="write_linear",
        read="read_attention_linear",
        write="write_attention_linear",
    ),
    "rhychen": KeyMap(
        source="rhychen/DRAW",
        spec="rhychen",
        posterior=("fc_mean", "fc_var"),
        patch="fc_wr_patch",
        read="fc_attn_rd",
        write="fc_attn_wr",
        ignored=("fc_wr",),
        log_sigma_scale=0.5,
        steps="recur_length",
    ),
}
