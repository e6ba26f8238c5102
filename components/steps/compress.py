"""compress: one variant of the tuned model, as it is or smaller."""

from __future__ import annotations

import logging
from pathlib import Path

from components.compression._options import CompressConfig
from components.errors import unknown_name
from components.files import replacing
from components.protocols import Compressor, Context, plugin, plugin_names
from components.records import CompressRecord, TrainRecord

log = logging.getLogger(__name__)


def compress(config: CompressConfig, variant: str, data: Path, model: Path, out: Path, context: Context) -> CompressRecord:
    """Make one variant of a model: a model again, with weights.safetensors, spec.json, summary.json and compression.json.

    Args:
        config: The section `compress`.
        variant: A file of components/compression.
        data: The prepared data.
        model: The folder of the tuned model.
        out: The folder to write.
        context: Hears what recovery training reports; its scratch folder lets a killed one go on.

    Raises:
        ConfigError: There is no such variant.
        InputError: The network cannot be made that small.
    """
    for name in config.variants:
        if name not in plugin_names("components.compression"):
            raise unknown_name("entry of compress.variants", name, plugin_names("components.compression"))
    compressor: Compressor = plugin("components.compression", "variant", variant)
    before = TrainRecord.load(model / "summary.json")
    with replacing(out) as folder:
        after = compressor.compress(model, data, config, folder, context)
        record = CompressRecord(
            variant=variant,
            multiply_adds_before=before.multiply_adds,
            multiply_adds=after.multiply_adds,
            num_parameters_before=before.num_parameters,
            num_parameters=after.num_parameters,
            metric=after.metric,
            value_before=before.value,
            value=after.value,
        )
        record.save(folder / "compression.json")
    log.info(
        "%s: %.0f%% of the multiply-adds, %.0f%% of the parameters; validation %s %.2f%% (before: %.2f%%)",
        *(variant, 100 * record.multiply_adds / record.multiply_adds_before, 100 * record.num_parameters / record.num_parameters_before),
        *(record.metric, 100 * record.value, 100 * record.value_before),
    )
    return record
