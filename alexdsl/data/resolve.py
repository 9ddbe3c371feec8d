"""From a `data` block's settings to the images to train on and those to hold out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexdsl.data.errors import DataError
from alexdsl.data.folder import class_folders, open_folder, parts
from alexdsl.data.permutation import permutation
from alexdsl.data.settings import DataSettings, Env, Folder, Idx, Npz, Sample, Shards, SourceSetting, Split
from alexdsl.data.shards.source import ShardSource, shard_classes, shard_parts
from alexdsl.data.sources import SAMPLES, Source, Subset, array_source, class_count, read_idx, read_npz

# Training images and labels, held-out images and labels: our names, Keras's, and those of a file of one set.
_NPZ_NAMES = (
    ("train_images", "train_labels", "val_images", "val_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("images", "labels", "", ""),
)
_THINGS = {Folder: "a folder of classes", Shards: "what alexdsl data prepare wrote"}
_PATHS = {Folder: "folders-of-classes", Shards: "shards"}


@dataclass(frozen=True)
class Resolved:
    """What a `data` block means here and now; ``notice`` is one line for the user when it fell back to other images."""

    train: Source
    val: Source | None
    notice: str | None = None

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes."""
        return self.train.classes


def resolve(settings: DataSettings, environ: Mapping[str, str] | None = None) -> Resolved:
    """Open the sources: list files, decode none; paths are relative to the working directory. Raises DataError."""
    for leaf, problem in settings.problems():
        raise DataError(f"data.{leaf}: {problem}")
    setting, missing = _choose(settings.source, environ)
    train, val = _open(setting, split=settings.val is None)
    if isinstance(settings.val, Split):
        train, val = _split(train, settings.val.fraction)
    elif settings.val is not None:
        val = _open_held_out(_choose(settings.val, environ)[0], train.classes)
    if settings.classes is not None and len(train.classes) > settings.classes:
        raise DataError(f"data.classes is {settings.classes}, but there are {train.description}")
    return Resolved(train, val, missing and _notice(settings.source, setting, missing, train))


def class_names(settings: DataSettings, environ: Mapping[str, str] | None = None) -> Sequence[str]:
    """The names of the classes, for ``data.classes``: lists folders or reads labels, no image. Raises DataError."""
    setting, _ = _choose(settings.source, environ)
    if isinstance(setting, Folder):
        return class_folders(Path(parts(_text(setting))[0]).expanduser())
    if isinstance(setting, Shards):
        return shard_classes(_text(setting))
    if isinstance(setting, Idx):
        return _numbered(read_idx(setting.labels, (1,)), setting.labels)
    path, origin = _npz_file(setting)
    arrays = read_npz(path, ["classes", *(names[1] for names in _NPZ_NAMES)])
    if "classes" in arrays:
        return tuple(str(name) for name in arrays["classes"])
    return _numbered(next((a for name, a in arrays.items() if name != "classes"), np.empty(0, np.int64)), origin)


def _numbered(labels: NDArray[np.generic], origin: str) -> tuple[str, ...]:
    if not labels.size:
        raise DataError(f"{origin} holds no labels")
    return tuple(str(i) for i in range(class_count(labels, origin)))


def _choose(setting: SourceSetting, environ: Mapping[str, str] | None) -> tuple[SourceSetting, str | None]:
    """The setting in force, with every variable replaced by its value, and what is missing if that is a fallback."""
    if not isinstance(setting, Folder | Shards):
        return setting, None
    if isinstance(setting.path, str):
        if setting.otherwise is None or Path(setting.path).expanduser().exists():
            return setting, None
        return _choose(setting.otherwise, environ)[0], f"there is no folder {setting.path}"
    name = setting.path.name
    value = (os.environ if environ is None else environ).get(name, "")
    if value:
        return type(setting)(value), None
    if setting.otherwise is None:
        raise DataError(
            f"the environment variable {name} is not set; it should name {_THINGS[type(setting)]}: {name}=/path"
        )
    return _choose(setting.otherwise, environ)[0], f"{name} is not set"


def _notice(asked: SourceSetting, setting: SourceSetting, missing: str, train: Source) -> str:
    assert isinstance(asked, Folder | Shards)
    kind = "the sample: " if isinstance(setting, Sample) else ""
    if isinstance(asked.path, Env):
        real = f"{asked.path.name}=/path/to/{_PATHS[type(asked)]} alexdsl run ..."
    elif isinstance(asked, Folder):
        real = f"put one sub-folder of images per class into {asked.path}"
    else:
        real = f"alexdsl data prepare IMAGES {asked.path}"
    return f"{missing}, so this trains on {kind}{train.description}. For the real thing: {real}"


def _open(setting: SourceSetting, split: bool = True) -> tuple[Source, Source | None]:
    """The training images and, where the source brings them and ``split`` wants them, the held-out ones."""
    if isinstance(setting, Folder):
        path, held_out = parts(_text(setting))
        train = open_folder(path)
        return train, open_folder(held_out, train.classes) if held_out and split else None
    if isinstance(setting, Shards):
        folder, others = shard_parts(_text(setting))
        prepared = ShardSource(folder)
        return prepared, ShardSource(others, prepared.classes) if others and split else None
    if isinstance(setting, Idx):
        origin = f"{setting.images} and {setting.labels}"
        return array_source(read_idx(setting.images, (3, 4)), read_idx(setting.labels, (1,)), None, origin), None
    path, origin = _npz_file(setting)
    wanted = [name for names in _NPZ_NAMES for name in (names if split else names[:2]) if name]
    arrays = read_npz(path, ["classes", *wanted])
    names = next((names for names in _NPZ_NAMES if names[0] in arrays and names[1] in arrays), None)
    if names is None:
        raise DataError(f"{path} holds no arrays train_images, train_labels (nor x_train, y_train, nor images, labels)")
    known = [str(name) for name in arrays["classes"]] if "classes" in arrays else None
    source = array_source(arrays[names[0]], arrays[names[1]], known, origin)
    if names[2] not in arrays or names[3] not in arrays:
        return source, None
    return source, array_source(arrays[names[2]], arrays[names[3]], source.classes, f"{origin} (held out)")


def _open_held_out(setting: SourceSetting, known: Sequence[str]) -> Source:
    """A source asked for as held-out images: its held-out part if it has one, else all of it."""
    if isinstance(setting, Folder):
        path, held_out = parts(_text(setting))
        return open_folder(held_out or path, known)
    if isinstance(setting, Shards):
        folder, others = shard_parts(_text(setting))
        return ShardSource(others or folder, known)
    train, val = _open(setting)
    source = val or train
    if len(source.classes) > len(known):
        raise DataError(f"data.val has {source.description}, but the training images have {len(known)} classes")
    return source


def _split(source: Source, fraction: float) -> tuple[Source, Source]:
    held_out = round(len(source) * fraction)
    if not 0 < held_out < len(source):
        raise DataError(f"data.val: {fraction:.3%} of {source.description} leaves no image on one side")
    # Seed 0 whatever the run's seed: runs that differ in it are then judged by the same images, unseen by all of them.
    order = permutation(0, 0, len(source), purpose="data/split")
    train, val = np.sort(order[held_out:]), np.sort(order[:held_out])
    return (
        Subset(source, train, f"{len(train):,} of the {source.description}"),
        Subset(source, val, f"{len(val):,} held out of the {source.description}"),
    )


def _npz_file(setting: Npz | Sample) -> tuple[str, str]:
    """The file of the setting, and what to call it."""
    if isinstance(setting, Npz):
        return setting.path, setting.path
    path = SAMPLES / f"{setting.name}.npz"
    if not path.is_file():
        known = ", ".join(sorted(f"'{file.stem}'" for file in SAMPLES.glob("*.npz")))
        raise DataError(f"there is no sample '{setting.name}'; there is {known or 'none in this installation'}")
    return str(path), f"sample '{setting.name}'"


def _text(setting: Folder | Shards) -> str:
    assert isinstance(setting.path, str)  # _choose has replaced variables
    return setting.path
