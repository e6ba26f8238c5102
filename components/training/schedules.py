"""The learning rate as a pure function of the optimiser step: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from components.training.options import FitOptions

_ONECYCLE_START, _ONECYCLE_END, _ONECYCLE_PEAK = 1 / 25, 1e-4, 0.3


def lr_factor(options: FitOptions, step: int, steps_per_epoch: int) -> float:
    """Return what the learning rates are multiplied with at a step.

    Args:
        options: `schedule`, `warmup_epochs`, `epochs`, and those of schedule step.
        step: Optimiser step, from 0.
        steps_per_epoch: Optimiser steps in an epoch.

    Returns:
        0..1. `constant`; `cosine`: half a cosine to zero (Loshchilov and Hutter 2017, arXiv:1608.03983); `step`: a drop by `step_factor`
        every `step_epochs`; `onecycle`: cosine from 1/25 to the peak and down to 1e-4 (Smith and Topin 2018, arXiv:1708.07120). All
        but onecycle rise linearly over `warmup_epochs` first.
    """
    total = options.epochs * steps_per_epoch
    warmup = options.warmup_epochs * steps_per_epoch
    if options.schedule == "onecycle":
        peak = warmup or _ONECYCLE_PEAK * total
        if step < peak:
            return _cosine(_ONECYCLE_START, 1.0, step / peak)
        return _cosine(1.0, _ONECYCLE_END, (step - peak) / max(total - peak, 1))
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if options.schedule == "cosine":
        return _cosine(1.0, 0.0, (step - warmup) / max(total - warmup, 1))
    if options.schedule == "step":
        return float(options.step_factor ** (step // (options.step_epochs * steps_per_epoch)))
    return 1.0


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
