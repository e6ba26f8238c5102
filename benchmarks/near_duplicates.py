"""Near duplicates: what is found of planted copies of CIFAR-10, what is accused wrongly, and the search among a million hashes.

Of the training images, 1% for each kind of copy is planted in the test split. 200 accused pairs of the images as they came are drawn at random into
.darkroom/benchmarks/near_duplicates/*.png and listed in judged.csv there: a person looks at them and writes yes or no into its last column.
"""

from __future__ import annotations

import io
import resource
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageOps

from benchmarks import cifar10
from benchmarks.rows import Row
from components.datasets.checks._hamming import similar
from components.datasets.checks.duplicates import across_splits, draw_pairs, fingerprint, near_duplicates
from components.progress import bar

FOLDER = Path(".darkroom/benchmarks/near_duplicates")
NUM_HASHES, NUM_PLANTED, RADIUS = 1_000_000, 10_000, 8
NUM_DRAWN, PAIRS_A_SHEET = 200, 30
WRONG, SAME_PICTURE = 0.0002, 0.9


def _encoded(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def _scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def _cropped(image: Image.Image, share: float) -> Image.Image:
    """Cut `share` of the side off, half of it at each end, and scale what is left to the size there was."""
    x, y = image.width * share / 2, image.height * share / 2
    return image.resize(image.size, Image.Resampling.BICUBIC, box=(x, y, image.width - x, image.height - y))


#: Each kind of copy, and the share that has to be found; None: reported. All but the exact ones are encoded as JPEG once more.
KINDS: dict[str, tuple[Callable[[Image.Image], Image.Image], float | None]] = {
    "exact": (lambda image: image, 1.0),
    "re-encoded at JPEG quality 70": (lambda image: _encoded(image, 70), 0.95),
    "flipped left to right": (lambda image: _encoded(ImageOps.mirror(image), 90), 0.95),
    "resized by +10%": (lambda image: _encoded(_scaled(image, 1.1), 90), 0.95),
    "resized by -10%": (lambda image: _encoded(_scaled(image, 0.9), 90), 0.95),
    "resized by +10% and back": (lambda image: _encoded(_scaled(image, 1.1).resize(image.size, Image.Resampling.BICUBIC), 90), 0.95),
    "resized by -10% and back": (lambda image: _encoded(_scaled(image, 0.9).resize(image.size, Image.Resampling.BICUBIC), 90), 0.95),
    "flipped top to bottom": (lambda image: _encoded(ImageOps.flip(image), 90), None),
    "brightness +20%": (lambda image: _encoded(ImageEnhance.Brightness(image).enhance(1.2), 90), None),
    "brightness -20%": (lambda image: _encoded(ImageEnhance.Brightness(image).enhance(0.8), 90), None),
    "cropped by 3% of the side": (lambda image: _encoded(_cropped(image, 0.03), 90), None),
    "cropped by 6% of the side": (lambda image: _encoded(_cropped(image, 0.06), 90), None),
    "cropped by 12% of the side": (lambda image: _encoded(_cropped(image, 0.12), 90), None),
}


def search() -> Row:
    """Search among random hashes with planted near ones, all of which have to be found."""
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, NUM_HASHES, dtype=np.uint64)
    source, copy = generator.permutation(NUM_HASHES)[: 2 * NUM_PLANTED].reshape(2, -1)
    changed = np.argsort(generator.random((NUM_PLANTED, 64)), axis=1)[:, :RADIUS].astype(np.uint64)
    hashes[copy] = hashes[source] ^ np.bitwise_or.reduce(np.uint64(1) << changed, axis=1)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    working = time.process_time()
    pairs = {(int(a), int(b)) for earlier, later in similar(hashes, RADIUS) for a, b in zip(earlier, later, strict=True)}
    seconds, working = time.monotonic() - start, time.process_time() - working
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    found = sum((min(a, b), max(a, b)) in pairs for a, b in zip(source.tolist(), copy.tolist(), strict=True))
    note = (
        f"radius {RADIUS} of 64 bits, four orientations; {found:,} of {NUM_PLANTED:,} planted found; "
        f"{working:.0f} s of processor time, {memory:,.0f} MB more at the peak"
    )
    name = "near-duplicate search over 1,000,000 hashes"
    return Row(name, f"{seconds:.0f} s", "60 s", 60 / seconds, seconds <= 60 and found == NUM_PLANTED, note)


def cost() -> list[Row]:
    """Time a fingerprint beside decoding, on CIFAR-10 and on photographs of 640×480."""
    with tarfile.open(cifar10.ROOT.parent / "shared/data/bccd.tar") as tar:
        large = [tar.extractfile(member) for member in tar if member.name.endswith(".jpg")][:40]
        contents = {"640×480": [file.read() for file in large if file], "32×32": [path.read_bytes() for path in _paths()[:2000]]}
    rows = []
    for (size, files), target in zip(contents.items(), (0.5, 0.06), strict=True):
        decoding, taking = [], []
        for _ in range(5):
            seconds = np.zeros(2)
            for content in files:
                start = time.thread_time()
                image = Image.open(io.BytesIO(content)).convert("RGB")
                middle = time.thread_time()
                fingerprint(image)
                seconds += middle - start, time.thread_time() - middle
            decoding.append(seconds[0] / len(files) * 1000)
            taking.append(seconds[1] / len(files) * 1000)
        measured = f"{min(taking):.3f} ms; decoding {min(decoding):.3f} ms"
        ratio = float(target / min(taking))
        rows.append(Row(f"a fingerprint of a JPEG of {size}", measured, f"{target:g} ms", ratio, ratio >= 1, "processor time, beside decoding"))
    return rows


def planted() -> list[Row]:
    """Plant copies, search, and count what was found and what was accused wrongly."""
    paths = _paths()
    ids = ["/".join(path.parts[-3:]) for path in paths]
    train = np.array([number for number, name in enumerate(ids) if name.startswith("train/")])
    count = len(train) // 100
    chosen = np.random.default_rng(0).permutation(train)[: count * len(KINDS)].reshape(len(KINDS), count)
    prints = []
    with bar("fingerprints", len(paths)) as progress:
        for path in paths:
            prints.append(fingerprint(Image.open(path).convert("RGB")))
            progress.update()
    copies, copied = [], []
    for (kind, (change, _)), originals in zip(KINDS.items(), chosen, strict=True):
        copies += [fingerprint(change(Image.open(paths[number]).convert("RGB"))) for number in originals]
        copied += [f"{kind}:{ids[number]}" for number in originals]
    start = time.monotonic()
    pairs = near_duplicates(ids + copied, prints + copies)
    seconds = time.monotonic() - start
    listed = set(zip(pairs["first"], pairs["second"], strict=True))
    rows = []
    for (kind, (_, target)), originals in zip(KINDS.items(), chosen, strict=True):
        found = sum((ids[number], f"{kind}:{ids[number]}") in listed for number in originals) / count
        met = None if target is None else found >= target
        rows.append(
            Row(f"copies found: {kind}", f"{found:.1%}", "—" if target is None else f"{target:.0%}", None, met, f"{count} planted in CIFAR-10")
        )
    wrong = int((pairs["first"].map(_label) != pairs["second"].map(_label)).sum())
    share = wrong / len(prints + copies)
    note = f"{len(pairs):,} pairs accused among {len(prints + copies):,} images in {seconds:.1f} s; the detector sees no label"
    rows.append(Row("accused pairs whose labels differ", f"{wrong}: {share:.3%} of the images", f"{WRONG:.2%}", None, share <= WRONG, note))
    own = pairs[~pairs["second"].str.contains(":")]
    return [*rows, _own(own, ids), _looked_at(own, dict(zip(ids, paths, strict=True)))]


def _own(pairs: pd.DataFrame, ids: list[str]) -> Row:
    """Count the test images that have a near duplicate among the training images of the set as it came."""
    across = across_splits(pairs, pd.Series([name.split("/")[0] for name in ids], index=ids, dtype=object))
    leaked = len(set(across["first"].where(across["first_split"] == "test", across["second"])))
    share = leaked / sum(name.startswith("test/") for name in ids)
    note = "Barz and Denzler 2020 count 3.3%, shifted, scaled and recoloured ones included"
    return Row("CIFAR-10's own test images with a near duplicate in train", f"{leaked}: {share:.1%}", "—", None, None, note)


def _looked_at(pairs: pd.DataFrame, paths: dict[str, Path]) -> Row:
    """Draw pairs of the images as they came, and count what a person wrote beside them."""
    drawn = pairs.sample(min(NUM_DRAWN, len(pairs)), random_state=0).reset_index(drop=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    table = FOLDER / "judged.csv"
    said = pd.read_csv(table, dtype=str).set_index(["first", "second"])["same"] if table.exists() else pd.Series(dtype=str)
    drawn["same"] = [said.get((first, second)) for first, second in zip(drawn["first"], drawn["second"], strict=True)]
    drawn.to_csv(table, index_label="number")
    for start in range(0, len(drawn), PAIRS_A_SHEET):
        part = drawn.iloc[start : start + PAIRS_A_SHEET]
        title = f"pairs {start} to {start + len(part) - 1}, in rows of three"
        draw_pairs(part, lambda name: np.asarray(Image.open(paths[name]).convert("RGB")), FOLDER / f"pairs-{start:03}.png", title)
    judged = int(drawn["same"].notna().sum())
    same = int((drawn["same"] == "yes").sum())
    measured = f"{same} of {judged}" if judged == len(drawn) else f"{len(drawn) - judged} of {len(drawn)} not looked at"
    met = same / max(judged, 1) >= SAME_PICTURE if judged == len(drawn) else None
    name = f"{len(drawn)} accused pairs of CIFAR-10 drawn at random: the same picture"
    return Row(name, measured, f"{SAME_PICTURE:.0%}", None, met, "looked at one by one; CIFAR-10's own near duplicates")


def _paths() -> list[Path]:
    return sorted(cifar10.jpegs().glob("*/*/*.jpg"))


def _label(name: str) -> str:
    return name.split("/")[-2]


def rows() -> list[Row]:
    """Measure."""
    return [search(), *cost(), *planted()]
