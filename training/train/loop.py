"""The training loop: play scenes side by side, learn every few seconds of them, never forget the state."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from streamer.audio import F32
from streamer.errors import StreamerError
from training.augment.targets import Codes
from training.network.build import build_network
from training.network.quality import judge
from training.train import checkpoint, log
from training.train.curves import draw
from training.train.feed import Rendered
from training.train.grow import grow
from training.train.held_out import Patience
from training.train.interruption import Interruption
from training.train.log import LOG, Entry
from training.train.loss import Average, frame_loss
from training.train.origin import origin_of, saved_origin
from training.train.place import ALONE, Place, random_states, set_random_states, takes_bfloat16
from training.train.settings import TrainSettings
from training.train.start import initialise, normalise, set_dropout

__all__ = ["LOG", "Rounds", "Run"]

Rounds = Callable[[int], Iterator[Rendered]]
"""From the number of the first round to the rounds from there on, of this process's streams."""


class Run:
    """One training run: network, optimiser, carried state, and where it stands."""

    def __init__(self, settings: TrainSettings, folder: Path, place: Place = ALONE) -> None:
        self.settings, self.folder, self.place = settings, folder, place
        self._streams = place.streams(settings.streams)
        torch.manual_seed(settings.seed)
        self.network = build_network(settings.network)
        initialise(self.network)
        set_dropout(self.network, settings.dropout)
        self.network.to(place.device)
        place.share_weights(self.network)
        self._half = settings.half_precision and takes_bfloat16(self.network, place.device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.average = Average(self.network, settings.average_decay)
        self.state = self.network.initial_state(len(self._streams))
        self._label_weights = torch.tensor(settings.label_weights(), device=place.device)
        self.round, self.step, self.seconds = 0, 0, 0.0
        self.hours_before = 0.0
        self.patience = Patience(settings.patience)
        self.origin = origin_of(settings)
        self._is_normalised = False
        if place.rank:  # all begin with the same weights, and then each draws noise of its own
            torch.manual_seed(settings.seed + 1_000_003 * place.rank)

    def resume(self) -> None:
        """Go on from the folder's checkpoint."""
        settings, saved = checkpoint.load(self.folder)
        if msgspec.structs.replace(settings, patience=self.settings.patience) != self.settings:
            raise StreamerError(
                "the checkpoint was made with other settings", "resume with those, or begin another run"
            )
        self.network.load_state_dict(saved["network"])
        self.optimiser.load_state_dict(saved["optimiser"])
        device, own = self.place.device, slice(self._streams.start, self._streams.stop)
        self.average.weights = {name: value.to(device) for name, value in saved["average"].items()}
        self.average.steps = saved["average_steps"]
        self.state = tuple(part[own].to(device) for part in saved["state"])
        self.round, self.step, self.seconds = saved["round"], saved["step"], saved["seconds"]
        self.hours_before = saved.get("hours_before", 0.0)
        self.patience = Patience(self.settings.patience, **saved.get("patience", {}))
        self.origin.resume(saved_origin(settings, saved))
        randoms = saved.get("randoms") or [{"cpu": saved["random"]}]
        if self.place.rank < len(randoms):
            set_random_states(randoms[self.place.rank], device)

    def begin_from(self, run: Path) -> None:
        """Begin with another run's averaged weights instead of random ones; the network may be wider."""
        file = checkpoint.chosen(run)
        before, saved = checkpoint.load(file)
        if before.labels.names != self.settings.labels.names:
            raise StreamerError(f"{run} has learnt other labels", "prepare with its labels, or begin anew")
        self.hours_before = saved.get("hours_before", 0.0) + before.hours_of(saved["round"])
        self.seconds = saved["seconds"]
        grow(self.network, saved["average"])
        self.average = Average(self.network, self.settings.average_decay)
        self._is_normalised = True
        weights = PurePosixPath(file.absolute().parent.name, file.name)  # the way there is nobody's business
        self.origin.begin_from(str(weights), saved_origin(before, saved))

    def save(self, name: str = checkpoint.LATEST) -> None:
        """Write the checkpoint. All processes must call it, because each holds a part of the state."""
        shares = self.place.everyones([part.cpu() for part in self.state])
        randoms = self.place.everyones(random_states(self.place.device))
        if not self.place.leads:
            return
        content: dict[str, Any] = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.weights,
            "average_steps": self.average.steps,
            "state": [torch.cat(parts) for parts in zip(*shares, strict=True)],
            "round": self.round,
            "step": self.step,
            "seconds": self.seconds,
            "hours_before": self.hours_before,
            "patience": self.patience.saved(),
            "randoms": randoms,
            "origin": msgspec.to_builtins(self.origin),
        }
        checkpoint.save(self.folder, self.settings, content, name)

    def train(
        self,
        rounds: Rounds,
        *,
        held_out: Sequence[Rendered] = (),
        save_every: int = 40,
        report: Callable[[str], None] = print,
        watch: Callable[[Entry], None] = lambda entry: None,
    ) -> None:
        """Play the rounds that are left. Ctrl-C ends the round, saves, and is raised then.

        The process that leads must be given the held-out scenes; others do not judge.
        """
        if self.place.leads:
            log.forget_after(self.folder, self.round)
        source = rounds(self.round)
        self.network.train()
        with Interruption(report) as interruption:
            stop = self.patience.is_over
            while self.round < self.settings.rounds and not stop:
                entry = self._next_round(source)
                is_best = self._judge(held_out, entry) if held_out and self._is_due() else False
                if self.place.leads:
                    log.add(self.folder, entry)
                    watch(entry)
                asked, stop = self._save(is_best, interruption.asked, save_every)
                if asked:
                    report(f"saved after round {self.round}")
                    raise KeyboardInterrupt
        self._say_end(report)

    def _next_round(self, source: Iterator[Rendered]) -> Entry:
        begun = time.monotonic()
        rows, codes = next(source)
        waited_s = time.monotonic() - begun
        loss = self.place.mean(self.play_round(rows, codes))
        self.seconds += time.monotonic() - begun
        return self._entry(loss, waited_s)

    def _is_due(self) -> bool:
        return self.round % self.settings.judge_every == 0 or self.round == self.settings.rounds

    def _judge(self, scenes: Sequence[Rendered], entry: Entry) -> bool:
        """The averaged weights on held-out scenes; whether they were never better."""
        network = copy.deepcopy(self.network)
        network.load_state_dict(self.average.weights)
        quality = judge(network, scenes, self.settings.chunk_rows)
        entry["held_out_loss"] = round(quality.frame_loss, 5)
        if not math.isnan(quality.precision):
            entry["held_out_precision"] = round(quality.precision, 4)
        return self.patience.take(quality.frame_loss, self.round)

    def _save(self, is_best: bool, asked: bool, save_every: int) -> tuple[bool, bool]:
        """What is due; (whether somebody asked for the end, whether it is the end)."""
        told = self.place.everyones((is_best, asked, self.patience.is_over))
        is_best, asked, is_over = (any(flags) for flags in zip(*told, strict=True))
        if is_best:
            self.save(checkpoint.BEST)
        if asked or is_over or self.round % save_every == 0 or self.round == self.settings.rounds:
            self.save()
            if self.place.leads:
                draw(self.folder)
        return asked, is_over

    def _say_end(self, report: Callable[[str], None]) -> None:
        patience = self.patience
        if patience.is_over:
            report(f"stopped early: no gain on held-out scenes in {patience.without_gain} judgements")
        if patience.best_round:
            best = self.folder / checkpoint.BEST
            report(f"best held-out loss {patience.best_loss:.4f} after round {patience.best_round}: {best}")

    def play_round(self, rows: F32, codes: Codes) -> float:
        """The next round; the very first one fixes the normalisation."""
        if self.round == 0 and not self._is_normalised:
            # All processes' rows, so that their number does not change the features.
            normalise(self.network, np.concatenate(self.place.everyones(rows)))
            self.average = Average(self.network, self.settings.average_decay)
        device = self.place.device
        loss = self.play(torch.from_numpy(rows).to(device), torch.from_numpy(codes).to(device))
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
        with torch.autocast(self.place.device.type, torch.bfloat16, enabled=self._half):
            logits, state = self.network(self._noisy(rows), self.state)
        loss = frame_loss(
            logits.float(),
            codes,
            self.settings.positive_weight,
            self._label_weights,
            self.settings.hard_negative_weight,
        )
        self.optimiser.zero_grad()
        loss.backward()
        self.place.share_gradients(self.network)
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
        drawn = rng.random(self.settings.streams)[self._streams.start : self._streams.stop]
        kept = torch.from_numpy(drawn >= self.settings.forget_share).to(self.place.device)
        self.state = tuple(part * kept.view(-1, *[1] * (part.ndim - 1)) for part in self.state)

    def _entry(self, loss: float, waited_s: float) -> Entry:
        hours = self.hours_before + self.settings.hours_of(self.round)
        return {
            "round": self.round,
            "step": self.step,
            "loss": round(loss, 5),
            "learning_rate": round(self.learning_rate(), 7),
            "sound_hours": round(hours, 2),
            "minutes": round(self.seconds / 60, 2),
            "waited_s": round(waited_s, 2),
        }
