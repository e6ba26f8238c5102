"""What the training loop can be told: shared by train, finetune and the recovery of a compressed model."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from components.errors import unknown_name

OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")
SCHEDULES = ("constant", "cosine", "onecycle", "step")


def _switch(value: object) -> object:
    """YAML reads `on` and `off` as texts (1.2) or as booleans (1.1): take both."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


def _known(kind: str, names: tuple[str, ...]) -> BeforeValidator:
    def check(value: object) -> object:
        if value not in names:
            raise ValueError(str(unknown_name(kind, str(value), names)))
        return value

    return BeforeValidator(check)


def _holds_one(value: list[float]) -> list[float]:
    if len(value) != 2 or not 0 < value[0] <= 1 <= value[1] <= 4:
        raise ValueError("expected [low, high] with 0 < low <= 1 <= high <= 4, for example [0.75, 1.25]: 1 is the size that validation judges")
    return value


Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)]


class LoopOptions(BaseModel):
    """Everything the loop reads but the learning rate. `auto` follows from what the machine and the network are, never from a timing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    epochs: int = Field(default=10, ge=0, description="0: the start weights pass through")
    batch_size: int = Field(default=64, ge=1, le=65536)
    accumulate: int = Field(default=1, ge=1, description="batches per optimiser step")
    optimizer: Annotated[str, _known("optimizer", OPTIMIZERS)] = "adamw"
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd (Nesterov) and rmsprop")
    weight_decay: float = Field(default=0.0, ge=0, le=1, description="of weights with two or more dimensions")
    schedule: Annotated[str, _known("schedule", SCHEDULES)] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0, description="linear from zero; onecycle: where the peak is (0: at 30%)")
    step_epochs: int = Field(default=10, ge=1, description="of schedule step: epochs between two drops")
    step_factor: float = Field(default=0.1, gt=0, le=1, description="of schedule step: what a drop multiplies with")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] | dict[str, float] = "none"
    loss: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="by the name of a part of the task's loss what it weighs; empty: the task's own"
    )
    multi_scale: Annotated[list[float], AfterValidator(_holds_one)] = Field(
        default=[1.0, 1.0], description="range of factors of the image size, one drawn for each batch; [1, 1]: off"
    )
    batch_norm: Literal["train", "frozen"] = Field(
        default="train", description="frozen: those that came with trained weights keep statistics, scale and shift: for batches of a few images"
    )
    ema: float = Field(default=0.0, ge=0, lt=1, description="decay of the weights' moving average; 0: off")
    clip_norm: float = Field(default=0.0, ge=0, description="largest norm of the gradient; 0: off")
    patience: int = Field(default=0, ge=0, description="epochs without a better validation before stopping; 0: never")
    seed: int = Field(default=0, ge=0, lt=2**31)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    precision: Literal["auto", "float32", "bf16"] = "auto"
    channels_last: Switch = "auto"
    compile: Switch = "auto"
    num_threads: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = Field(
        default="auto", description="of the CPU; auto: one for small networks, else all"
    )
    checkpoint_minutes: float = Field(default=10.0, gt=0, description="beside the checkpoint at every epoch")

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.epochs and self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs:g} leaves nothing of {self.epochs} epochs; make it smaller")
        return self


class FitOptions(LoopOptions):
    """Everything the loop reads."""

    lr: float = Field(default=1e-3, gt=0, le=100, description="at the peak of the schedule")


class DistillOptions(BaseModel):
    """How much is learnt from a teacher's outputs (Hinton et al. 2015, arXiv:1503.02531)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    weight: float = Field(default=0.0, ge=0, le=1, description="share of the loss that is the distance from the teacher; 0: off, no teacher runs")
    temperature: float = Field(default=4.0, gt=0, le=100, description="divides the logits of both: the higher, the more the unlikely classes count")
