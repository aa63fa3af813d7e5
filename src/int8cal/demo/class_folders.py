"""A classification data set on disk: one folder of pictures per class, and the spec that names them.

OUT/train/car/000000.png …          pictures
OUT/val/car/…                       the same for validation
OUT/classification_spec.txt         experiment spec
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from google.protobuf.text_encoding import CEscape
from PIL import Image

from int8cal.demo.evaluate import PICTURE_SIZE
from int8cal.demo.scene import CLASSES, draw_object
from int8cal.errors import OutputError
from int8cal.io.progress import watched
from int8cal.types import Progress

VALIDATION_EVERY = 8
_SPEC = "classification_spec.txt"


def make_class_folders(
    folder: Path, *, images: int, seed: int, batch_size: int, progress: Progress | None = None
) -> Path:
    """Draw pictures of single objects, 64×64, the classes in turn; beside them a few for validation.

    Args:
        folder: created; must not exist.
        images: number of training pictures.
        seed: equal seeds give equal pictures.
        batch_size: images per batch in the spec.
        progress: told how many pictures are drawn.

    Returns:
        The experiment spec.

    Raises:
        OutputError: the folder cannot be written, or exists.
    """
    folder = folder.absolute()
    spec = folder / _SPEC
    try:
        folder.mkdir(parents=True)
        with watched(progress, images) as advance:
            for index in range(images + images // VALIDATION_EVERY):
                split = "train" if index < images else "val"
                name = CLASSES[index % len(CLASSES)]
                picture = draw_object(np.random.default_rng((seed, index)), name, PICTURE_SIZE)
                path = folder / split / name / f"{index:06d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(path)
                advance(split == "train")
        spec.write_text(_spec_text(folder, batch_size), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"The data set cannot be written: {error.strerror}.", where=str(folder)) from error
    return spec


def _spec_text(folder: Path, batch_size: int) -> str:
    train, validation = (CEscape(str(folder / split).encode(), as_utf8=True) for split in ("train", "val"))
    return f"""\
model_config {{
  arch: "resnet"
  n_layers: 10
  use_batch_norm: true
  input_image_size: "3,{PICTURE_SIZE.height},{PICTURE_SIZE.width}"
}}
train_config {{
  train_dataset_path: "{train}"
  val_dataset_path: "{validation}"
  optimizer {{
    sgd {{
      lr: 0.01
      decay: 0.0
      momentum: 0.9
      nesterov: false
    }}
  }}
  batch_size_per_gpu: {batch_size}
  n_epochs: 5
  n_workers: 2
  preprocess_mode: "torch"
  reg_config {{
    type: "L2"
    scope: "Conv2D,Dense"
    weight_decay: 0.00005
  }}
  lr_config {{
    step {{
      learning_rate: 0.006
      step_size: 10
      gamma: 0.1
    }}
  }}
}}
"""
