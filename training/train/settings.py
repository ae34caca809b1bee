"""Every knob of a training run; a checkpoint carries them whole."""

from __future__ import annotations

import msgspec

from streamer.features.settings import FeatureSettings
from streamer.inference.spec import NetworkSpec
from training.labels import KEYWORDS, LABELS
from training.network.specs import make_spec


class TrainSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Defaults are the reference run."""

    seed: int = 1
    rounds: int = 1600
    """Each is `streams` scenes side by side."""
    easy_rounds: int = 150
    """Scenes get harder over so many rounds; from noise alone the network does not learn its first word."""
    hardest: float = 0.75
    """Share of hard scenes from then on."""
    streams: int = 16
    """Few streams mean many steps for each hour of sound."""
    scene_s: float = 60.0
    chunk_rows: int = 100
    """Rows between cuts of the back-propagation; the state is carried across."""
    forget_share: float = 0.1
    """Share of streams that begin each round with an empty state."""
    learning_rate: float = 2e-3
    last_learning_rate: float = 2e-5
    warmup_steps: int = 60
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dropout: float = 0.15
    positive_weight: float = 1.5
    keyword_weight: float = 2.5
    """Keywords last a moment and sounds for seconds: without this the sounds rule the gradient."""
    half_precision: bool = True
    """Products in bfloat16: twice as fast on processors that know it."""
    average_decay: float = 0.999
    """Of the running average of the weights, which is what is shipped."""
    feature_noise: float = 0.1
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
    labels: tuple[str, ...] = LABELS

    @property
    def network(self) -> NetworkSpec:
        """The network's shape."""
        shape = {
            "inputs": self.features.size,
            "outputs": len(self.labels),
            "stride": self.stride,
            "hidden": self.hidden,
            "layers": self.layers,
            "front": self.front,
        }
        return make_spec(self.family, **shape, **self.shape)

    def hours_of(self, rounds: int) -> float:
        """Hours of sound in so many rounds."""
        return rounds * self.streams * self.scene_s / 3600

    def hardness(self, round_number: int) -> float:
        """Share of hard scenes in this round."""
        return min(self.hardest, self.hardest * round_number / max(1, self.easy_rounds))

    def label_weights(self) -> list[float]:
        """How much each label counts."""
        return [self.keyword_weight if label in KEYWORDS else 1.0 for label in self.labels]

    @property
    def command(self) -> str:
        """The command line that gives these settings."""
        default = TrainSettings()
        named = (
            "rounds",
            "streams",
            "seed",
            "hidden",
            "easy_rounds",
            "scene_s",
            "learning_rate",
            "family",
            "layers",
        )
        given = [name for name in named if getattr(self, name) != getattr(default, name)]
        return " ".join(
            ["python -m training train", *(f"--{n.replace('_', '-')} {getattr(self, n)}" for n in given)]
        )
