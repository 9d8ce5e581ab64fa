"""What a training run is: the configuration's sections, their types and their ranges.

Reading presets, files and ``--set`` is in :mod:`drawgan_fast.training.config_load`; model options
are checked against the model's constructor in :mod:`drawgan_fast.training.model_options`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from drawgan_fast.sizes import plain_numbers

Count = Annotated[int, Field(strict=True, ge=1)]
CountOrOff = Annotated[int, Field(strict=True, ge=0)]
Flag = Annotated[bool, Field(strict=True)]
Probability = Annotated[float, Field(strict=True, ge=0, lt=1)]


class Section(BaseModel):
    """A table of the configuration: unknown keys are errors, values never change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _of_numpy(cls, values: Any) -> Any:
        return plain_numbers(values) if isinstance(values, dict) else values


class ModelSection(Section):
    """Which model, and its constructor's arguments (``image_size``, ``channels`` follow the data).

    In a file the options stand beside ``name``: ``[model] name = "draw"``, ``steps = 32``. A table
    named after a model, ``[model.draw]``, counts only when that model is the one trained, so one
    preset can serve them all.
    """

    name: Annotated[str, Field(strict=True)] = "draw-gan"
    options: dict[str, Any] = {}


class DataSection(Section):
    """What to learn from."""

    #: "mnist", or the path of a folder of images or of IDX or .amat files, or of one such file, a
    #: .npy or a .npz file. A run stores it absolute.
    name: Annotated[str, Field(strict=True, min_length=1)] = "mnist"
    #: Folder that holds the official MNIST files.
    data_dir: Annotated[str, Field(strict=True, min_length=1)] | None = None
    #: May missing files be fetched from the public mirrors?
    download: Flag = True
    #: Height and width in pixels, one number for a square; absent: as the images are. Images of one
    #: size that fit are padded with zeros, others scaled.
    size: tuple[Count, Count] | None = None
    #: "epoch" draws new Bernoulli pixels each epoch, "fixed" once and for all.
    binarise: Literal["none", "fixed", "epoch"] = "none"

    @model_validator(mode="before")
    @classmethod
    def _square(cls, values: Any) -> Any:
        if isinstance(values, dict):
            size = values.get("size")
            if isinstance(size, int) and not isinstance(size, bool):
                return {**values, "size": (size, size)}
        return values


class AdamSection(Section):
    """One player's Adam (Kingma & Ba 2015)."""

    learning_rate: Annotated[float, Field(strict=True, gt=0)] = 1e-3
    betas: tuple[Probability, Probability] = (0.9, 0.999)
    eps: Annotated[float, Field(strict=True, gt=0)] = 1e-8


class OptimizerSection(Section):
    """The players' optimizers, and what is common to them."""

    #: The generator of a GAN, and the whole of a model that has one player.
    generator: AdamSection = AdamSection()
    discriminator: AdamSection = AdamSection()
    #: Plays only with ``prior = "adversarial"``.
    latent_discriminator: AdamSection = AdamSection()
    #: "auto": one fused kernel per step where torch has it; true insists, false never.
    fused: Literal["auto"] | Flag = "auto"
    #: Largest gradient norm of each player; 0: no clipping.
    gradient_clip: Annotated[float, Field(strict=True, ge=0)] = 5.0
    #: Decay of the weights' moving average, which samples and scores then use; 0: none.
    ema_decay: Probability = 0.0

    def adam(self, player: str) -> AdamSection:
        """The table of a player; players without their own take the generator's.

        >>> OptimizerSection().adam("model") == OptimizerSection().generator
        True
        """
        if player in ("discriminator", "latent_discriminator"):
            return getattr(self, player)
        return self.generator


class TrainSection(Section):
    """How long, how fast, how often."""

    #: Passes over the data, fractions allowed; exactly one of epochs and steps.
    epochs: Annotated[float, Field(strict=True, gt=0)] | None = None
    #: Optimizer steps; exactly one of epochs and steps.
    steps: Count | None = None
    batch_size: Count = 64
    seed: CountOrOff = 0
    #: "auto": the first CUDA device, or else the CPU; or any name torch knows.
    device: Annotated[str, Field(strict=True, min_length=1)] = "auto"
    #: Backend of the operators (``drawgan info`` lists them); "auto": the fastest that can run.
    backend: Annotated[str, Field(strict=True, min_length=1)] = "auto"
    #: Run steps as a CUDA graph? "auto": on CUDA devices, where it gives what an eager step gives.
    cuda_graph: Literal["auto"] | Flag = "auto"
    #: CPU threads; 0: torch's own choice.
    threads: CountOrOff = 0
    #: Steps between checkpoints (one more at the end and at an interrupt).
    checkpoint_every: Count = 1000
    #: Checkpoints kept, newest first.
    keep: Count = 3
    #: Steps between records in metrics.jsonl and TensorBoard.
    log_every: Count = 1
    #: Steps between sample grids; 0: only at the end.
    sample_every: CountOrOff = 500
    #: Images in a sample grid.
    samples: Count = 64
    #: Write TensorBoard curves?
    tensorboard: Flag = True
    #: At the end, animations of the canvas being painted?
    animation: Flag = True

    @model_validator(mode="after")
    def _one_length(self) -> TrainSection:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("exactly one of train.epochs and train.steps must be given")
        return self


class Config(Section):
    """The whole configuration of a run. Build one with :func:`load_config`.

    Example:
        >>> from drawgan_fast.training import load_config
        >>> load_config("authors", check_model=False).train.batch_size
        64
    """

    #: The preset it started from, for people; its values are already in the sections.
    preset: Annotated[str, Field(strict=True)] = "none"
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    optimizer: OptimizerSection = OptimizerSection()
    train: TrainSection
