"""The training loop: play scenes side by side, learn every few seconds of them, never forget the state."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from streamer.audio import F32
from streamer.errors import StreamerError
from training.augment.targets import Codes
from training.network.build import build_network
from training.train import checkpoint
from training.train.feed import Rendered
from training.train.loss import Average, frame_loss
from training.train.settings import TrainSettings
from training.train.start import initialise, normalise, set_dropout

LOG = "log.jsonl"

Rounds = Callable[[int], Iterator[Rendered]]
"""From the number of the first round to the rounds from there on."""


class Run:
    """One training run: network, optimiser, carried state, and where it stands."""

    def __init__(self, settings: TrainSettings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        torch.manual_seed(settings.seed)
        self.network = build_network(settings.network)
        initialise(self.network)
        set_dropout(self.network, settings.dropout)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.average = Average(self.network, settings.average_decay)
        self.state = self.network.initial_state(settings.streams)
        self._label_weights = torch.tensor(settings.label_weights())
        self.round, self.step, self.seconds = 0, 0, 0.0
        self.hours_before = 0.0
        self._is_normalised = False

    def resume(self) -> None:
        """Go on from the folder's checkpoint."""
        settings, saved = checkpoint.load(self.folder)
        if settings != self.settings:
            raise StreamerError(
                "the checkpoint was made with other settings", "resume with those, or begin another run"
            )
        self.network.load_state_dict(saved["network"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.average.weights, self.average.steps = saved["average"], saved["average_steps"]
        self.state = tuple(saved["state"])
        self.round, self.step, self.seconds = saved["round"], saved["step"], saved["seconds"]
        self.hours_before = saved.get("hours_before", 0.0)
        torch.set_rng_state(saved["random"])

    def begin_from(self, run: Path) -> None:
        """Begin with another run's averaged weights instead of random ones."""
        before, saved = checkpoint.load(run)
        self.hours_before = saved.get("hours_before", 0.0) + before.hours_of(saved["round"])
        self.seconds = saved["seconds"]
        self.network.load_state_dict(saved["average"])
        self.average = Average(self.network, self.settings.average_decay)
        self._is_normalised = True

    def save(self) -> None:
        """Write the checkpoint."""
        content: dict[str, Any] = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.weights,
            "average_steps": self.average.steps,
            "state": list(self.state),
            "round": self.round,
            "step": self.step,
            "seconds": self.seconds,
            "hours_before": self.hours_before,
            "random": torch.get_rng_state(),
        }
        checkpoint.save(self.folder, self.settings, content)

    def train(self, rounds: Rounds, *, save_every: int = 40, report: Callable[[str], None] = print) -> None:
        """Play the rounds that are left."""
        source = rounds(self.round)
        self.network.train()
        while self.round < self.settings.rounds:
            begun = time.monotonic()
            rows, codes = next(source)
            waited_s = time.monotonic() - begun
            loss = self.play_round(rows, codes)
            self.seconds += time.monotonic() - begun
            self._log(loss, waited_s, report)
            if self.round % save_every == 0 or self.round == self.settings.rounds:
                self.save()

    def play_round(self, rows: F32, codes: Codes) -> float:
        """The next round; the very first one fixes the normalisation."""
        if self.round == 0 and not self._is_normalised:
            normalise(self.network, rows)
            self.average = Average(self.network, self.settings.average_decay)
        loss = self.play(torch.from_numpy(rows), torch.from_numpy(codes))
        self.round += 1
        return loss

    def play(self, rows: Tensor, codes: Tensor) -> float:
        """One round, (N, T, F) and (N, T // stride, L): the mean loss."""
        self._forget_some()
        stride, losses = self.settings.stride, []
        for first in range(0, codes.shape[1], self.settings.chunk_rows):
            last = min(first + self.settings.chunk_rows, codes.shape[1])
            losses.append(self.learn(rows[:, first * stride : last * stride], codes[:, first:last]))
        return float(np.mean(losses))

    def learn(self, rows: Tensor, codes: Tensor) -> float:
        """One step on one chunk; the state goes on to the next, the gradient does not."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.half_precision):
            logits, state = self.network(self._noisy(rows), self.state)
        loss = frame_loss(logits.float(), codes, self.settings.positive_weight, self._label_weights)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_norm)
        self.optimiser.step()
        self.average.update(self.network)
        self.state = tuple(part.detach().float() for part in state)
        self.step += 1
        return loss.item()

    def learning_rate(self) -> float:
        """Up linearly, down by a cosine over all rounds."""
        s = self.settings
        chunks = math.ceil(s.scene_s * 100 / s.stride / s.chunk_rows)
        progress = min(1.0, self.step / (chunks * s.rounds))
        fallen = s.last_learning_rate + (s.learning_rate - s.last_learning_rate) * 0.5 * (
            1 + math.cos(math.pi * progress)
        )
        return min(1.0, (self.step + 1) / s.warmup_steps) * fallen

    def _noisy(self, rows: Tensor) -> Tensor:
        if not self.settings.feature_noise:
            return rows
        return rows + torch.randn_like(rows) * (self.settings.feature_noise / self.network.scale)

    def _forget_some(self) -> None:
        """Some streams begin anew, as when a daemon starts; drawn from the round's number."""
        rng = np.random.default_rng((self.settings.seed, self.round))
        kept = torch.from_numpy(rng.random(self.settings.streams) >= self.settings.forget_share)
        self.state = tuple(part * kept.view(-1, *[1] * (part.ndim - 1)) for part in self.state)

    def _log(self, loss: float, waited_s: float, report: Callable[[str], None]) -> None:
        hours = self.hours_before + self.settings.hours_of(self.round)
        entry = {
            "round": self.round,
            "step": self.step,
            "loss": round(loss, 5),
            "learning_rate": round(self.learning_rate(), 7),
            "sound_hours": round(hours, 2),
            "minutes": round(self.seconds / 60, 2),
            "waited_s": round(waited_s, 2),
        }
        with (self.folder / LOG).open("a") as log:
            log.write(json.dumps(entry) + "\n")
        report(
            f"round {self.round}/{self.settings.rounds}  loss {loss:.4f}  {hours:.1f} h of sound"
            f"  {self.seconds / 60:.1f} min  {60 * hours / max(self.seconds, 1e-9):.1f} h/min"
        )
