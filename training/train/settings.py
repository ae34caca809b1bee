"""Every knob of a training run; a checkpoint carries them whole."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from streamer.features.settings import FeatureSettings
from streamer.inference.spec import NetworkSpec
from training.label_files import default_labels
from training.labels import LabelSet
from training.network.specs import make_spec


class TrainSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Defaults are the reference run."""

    seed: int = 1
    rounds: int = 3600
    """Each is `streams` scenes side by side."""
    easy_rounds: int = 60
    """Scenes get harder over so many rounds; from noise alone the network does not learn its first word."""
    hardest: float = 0.95
    """Share of hard scenes from then on."""
    streams: int = 16
    """Few streams mean many steps for each hour of sound."""
    scene_s: float = 60.0
    kept_hours: float = 100.0
    """Hard scenes that are rendered once and drawn from again and again, and a tenth as much of easy ones: to
    change a scene's rows costs a tenth of rendering it. 0: every scene is new."""
    vary: bool = True
    """Change a scene's rows whenever it is played: see `training.augment.rows`."""
    rooms: int = 600
    """Simulated rooms beside the recorded ones."""
    chunk_rows: int = 100
    """Rows between cuts of the back-propagation; the state is carried across."""
    forget_share: float = 0.1
    """Share of streams that begin each round with an empty state."""
    learning_rate: float = 2e-3
    last_learning_rate: float = 2e-5
    warmup_steps: int = 60
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dropout: float = 0.1
    positive_weight: float = 1.5
    hard_negative_weight: float = 2.0
    """How much more a row counts that is taken for a label, and is none."""
    keyword_weight: float = 2.5
    """Keywords last a moment and sounds for seconds: without this the sounds rule the gradient."""
    other_word_weight: float = 0.7
    """Words that only teach, and do not ship."""
    half_precision: bool = True
    """Products in bfloat16: twice as fast on processors that know it."""
    average_decay: float = 0.999
    """Of the running average of the weights, which is what is shipped."""
    feature_noise: float = 0.05
    """Standard deviation of noise on the normalised features, drawn once a stream, row and coefficient."""
    hidden: int = 160
    layers: int = 2
    front: int = 128
    stride: int = 3
    family: str = "lstm"
    """Of the network: see `training.network.specs`. `front` is of no use to conv and attention."""
    shape: dict[str, int] = msgspec.field(default_factory=dict)
    """What only this family has, such as {"kernel": 5} or {"heads": 4, "window": 50}."""
    features: FeatureSettings = FeatureSettings()
    labels: LabelSet = msgspec.field(default_factory=default_labels)
    """What is learnt; `train` takes what the cache was prepared for."""
    judge_every: int = 100
    """Rounds between two judgements of the averaged weights on held-out scenes."""
    held_out_scenes: int = 16
    patience: int = 12
    """Training ends after so many judgements in a row without gain; 0: never."""
    preset: str = "reference"
    """What all that is not told began with."""

    @property
    def network(self) -> NetworkSpec:
        """The network's shape."""
        shape = {
            "inputs": self.features.size,
            "outputs": len(self.labels.names),
            "stride": self.stride,
            "hidden": self.hidden,
            "layers": self.layers,
            "front": self.front,
        }
        return make_spec(self.family, **shape, **self.shape)

    @property
    def kept_scenes(self) -> int:
        """Hard scenes that are kept."""
        return math.ceil(self.kept_hours * 3600 / self.scene_s)

    @property
    def kept_easy_scenes(self) -> int:
        """Easy scenes that are kept."""
        return math.ceil(self.kept_scenes / 10)

    @property
    def rows_of_a_round(self) -> int:
        """What the network says of each stream in a round, however the time of its scene was stretched."""
        return int(self.scene_s * 100 / self.stride) - 1

    def hours_of(self, rounds: int) -> float:
        """Hours of sound in so many rounds."""
        return rounds * self.streams * self.scene_s / 3600

    def hardness(self, round_number: int) -> float:
        """Share of hard scenes in this round."""
        return min(self.hardest, self.hardest * round_number / max(1, self.easy_rounds))

    def label_weights(self) -> list[float]:
        """How much each label counts."""
        words = {
            name: self.keyword_weight if keyword.ship else self.other_word_weight
            for name, keyword in self.labels.keywords.items()
        }
        return [words.get(label, 1.0) for label in self.labels.names]

    @property
    def command(self) -> str:
        """The command line that gives these settings."""
        begun = preset(self.preset)
        given = [name for name in OPTIONS if getattr(self, name) != getattr(begun, name)]
        words = [f"--{name.replace('_', '-')} {getattr(self, name)}" for name in given]
        if self.half_precision != begun.half_precision:
            words.append(f"--precision {'bf16' if self.half_precision else 'float32'}")
        named = [] if self.preset == "reference" else [f"--preset {self.preset}"]
        return " ".join(["python -m training train", *named, *words])


OPTIONS = {
    "rounds": "rounds of scenes",
    "streams": "scenes side by side, over all processes",
    "seed": "all that is random follows from it: weights, scenes, noise, dropout",
    "hidden": "width of a layer",
    "easy_rounds": "rounds until scenes are as hard as they get",
    "scene_s": "length of a scene in seconds",
    "kept_hours": "hours of rendered scenes that are kept and played again, changed; 0: all are new",
    "rooms": "simulated rooms, made once; 0: none",
    "learning_rate": "the highest; up in a straight line, then down by a cosine over all rounds",
    "family": "of the network: lstm, gru, conv_lstm, conv, attention, bidirectional",
    "layers": "layers of the network",
    "dropout": "share of values dropped between layers",
    "clip_norm": "longer gradients are shortened to this norm",
    "positive_weight": "how much more a row counts where its label is heard",
    "hard_negative_weight": "how much more a row counts that is surely taken for what it is not",
    "keyword_weight": "how much more a keyword counts than a sound",
    "patience": "stop after so many judgements on held-out scenes without gain; 0: never",
    "judge_every": "rounds between two judgements",
    "held_out_scenes": "scenes of the dev split to judge on",
}
"""The settings that a command line can change, and what each does."""

PRESETS: dict[str, dict[str, Any]] = {
    "reference": {},
    "small": {
        "rounds": 200,
        "easy_rounds": 40,
        "streams": 8,
        "scene_s": 30.0,
        "kept_hours": 2.0,
        "rooms": 60,
        "learning_rate": 4e-3,
        "average_decay": 0.995,
        "hidden": 64,
        "front": 64,
        "judge_every": 20,
        "held_out_scenes": 8,
        "patience": 0,
    },
    "tiny": {
        "rounds": 60,
        "easy_rounds": 1000,
        "streams": 4,
        "scene_s": 12.0,
        "kept_hours": 0.0,
        "vary": False,
        "rooms": 0,
        "chunk_rows": 50,
        "learning_rate": 1e-2,
        "warmup_steps": 20,
        "dropout": 0.0,
        "average_decay": 0.97,
        "hidden": 32,
        "layers": 1,
        "front": 32,
        "judge_every": 20,
        "held_out_scenes": 4,
    },
}
"""By name, what differs from the reference run. `small` learns a few labels from a few dozen recordings in
minutes. `tiny` learns a few easy labels in seconds: for tests."""


def preset(name: str) -> TrainSettings:
    """Where settings begin."""
    return TrainSettings(preset=name, **PRESETS[name])
