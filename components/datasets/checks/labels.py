"""Check of what images are labelled as: declared classes, one label for the same bytes, images of each class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from components.datasets.checks.suite import Part, Subject, between

_WORDS = {"label": "a label", "boxes_xyxy": "boxes, or an empty list", "mask_sha256": "a mask"}


def examine(subject: Subject) -> Part:
    """Check labels and classes."""
    columns = {
        "unlabelled": _unlabelled(subject),
        "undeclared_class": _undeclared(subject),
        "labels_of_copies": _labels_of_copies(subject),
    }
    words = " and ".join(_WORDS[name] for name in subject.needed if name in _WORDS) or "nothing"
    config, num_images = subject.config, max(1, len(subject))
    rules = [
        subject.clean("unlabelled", "each image is annotated", "unlabelled", words),
        subject.clean("undeclared_classes", "labels are declared classes", "undeclared_class", "a class of dataset.yaml"),
        subject.clean(
            "label_conflicts",
            "the same bytes have one label",
            "labels_of_copies",
            "one label",
            min(1.0, config.max_label_conflicts / num_images),
        ),
    ]
    classes = _classes(subject)
    if classes is None:
        return Part(columns, {}, rules)
    least, most, share = config.min_class_images, config.max_class_images, (config.class_share[0], config.class_share[1])
    rules += [
        subject.bounds("unused_classes", "each class has an image", "images", 1, None, "at least one image", table="classes"),
        subject.bounds("class_images", "each class has its images", "images", least, most, between(least, most), table="classes"),
    ]
    if "share" in classes:
        rules.append(subject.bounds("class_share", "class shares are in bounds", "share", *share, between(*share), table="classes"))
    return Part(columns, {"classes": classes}, rules)


def _classes(subject: Subject) -> pd.DataFrame | None:
    """Return how many images show each class, and its share of all labels, boxes too; masks have no share, None: nothing tells."""
    names = list(subject.info.classes)
    if subject.has("label"):
        codes = pd.Categorical(subject.frame["label"], categories=names).codes
        images = np.bincount(codes[codes >= 0], minlength=len(names))
        return pd.DataFrame({"class": names, "images": images, "share": images / max(1, len(subject))})
    if subject.has("boxes_xyxy"):
        boxes = subject.boxes
        codes = pd.Categorical(boxes.labels, categories=names).codes.astype(np.int64)
        image = np.repeat(np.arange(len(subject)), np.diff(boxes.offsets))
        shown = np.sort((image * max(1, len(names)) + codes)[codes >= 0])
        shown = shown[np.concatenate([[True], shown[1:] != shown[:-1]])] if len(shown) else shown
        images = np.bincount(shown % max(1, len(names)), minlength=len(names))
        share = np.bincount(codes[codes >= 0], minlength=len(names)) / max(1, len(codes))
        return pd.DataFrame({"class": names, "images": images, "share": share})
    if subject.has("mask_sha256"):
        on_masks = subject.measured["mask_classes"].dropna()
        images = np.bincount(np.concatenate([np.empty(0, dtype=np.int64), *on_masks]).astype(np.int64), minlength=len(names))
        return pd.DataFrame({"class": names, "images": images})
    return None


def _unlabelled(subject: Subject) -> pd.Series[Any]:
    found = np.full(len(subject), None, dtype=object)
    for name in subject.needed:
        if name in _WORDS:
            found[subject.table.column(name).is_null().to_numpy()] = f"without {_WORDS[name].partition(',')[0]}"
    missing = np.flatnonzero(found)
    return subject.texts(missing, found[missing])


def _undeclared(subject: Subject) -> pd.Series[Any]:
    classes = list(subject.info.classes)
    labels = subject.frame["label"]
    wrong = np.flatnonzero(labels.notna() & ~labels.isin(classes))
    if len(wrong) or not subject.has("boxes_xyxy"):
        return subject.texts(wrong, labels.to_numpy(dtype=object)[wrong])
    boxes = subject.boxes
    stray = np.flatnonzero(~pd.Series(boxes.labels, dtype=object).isin(classes))
    image, first = np.unique(np.searchsorted(boxes.offsets, stray, side="right") - 1, return_index=True)
    return subject.texts(image, [f"box {box - boxes.offsets[row]}: {boxes.labels[box]}" for row, box in zip(image, stray[first], strict=True)])


def _labels_of_copies(subject: Subject) -> pd.Series[Any]:
    """Say of each image whose bytes stand under several labels which."""
    whole = subject.measured["decodes"].to_numpy(dtype=bool) & subject.frame["label"].notna().to_numpy()
    several = np.bincount(subject.same_bytes)[subject.same_bytes] > 1
    rows = np.flatnonzero(whole & several)
    labels = subject.frame["label"].iloc[rows].reset_index(drop=True)
    groups = pd.Series(subject.same_bytes[rows])
    conflicting = np.flatnonzero(labels.groupby(groups).transform("nunique") > 1)
    texts = labels.iloc[conflicting].groupby(groups.iloc[conflicting]).agg(lambda given: "labels " + " and ".join(sorted(set(given))))
    return subject.texts(rows[conflicting], texts.reindex(groups.iloc[conflicting]).to_numpy(dtype=object))


def examine_suspects(subject: Subject, suspects: pd.DataFrame) -> Part:
    """Tell of likely wrong labels.

    Args:
        subject: The dataset.
        suspects: What `label_errors.suspects` found; `index` is a row number.
    """
    found = suspects[suspects["issue"]]
    rows = list(zip(found["label"], found["suggested"], found["quality"], strict=True))
    column = subject.texts(
        found["index"].to_numpy(), [f"{label}, rather {suggested} ({quality:.1%} for its label)" for label, suggested, quality in rows]
    )
    rule = subject.clean("label_errors", "labels look right", "label_error", "the label that a model of the other images gives")
    return Part({"label_error": column}, {}, [rule])
