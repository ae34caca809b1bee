"""Where a process learns: on which device, and which share of the streams. Imports torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from streamer.errors import StreamerError

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Place:
    """One of `processes` processes that learn the same network from streams of their own."""

    device: torch.device
    rank: int = 0
    processes: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that judges, logs and saves."""
        return self.rank == 0

    def streams(self, total: int) -> range:
        """Which of all streams this process plays."""
        if total % self.processes:
            raise StreamerError(
                f"{total} streams cannot be shared evenly by {self.processes} processes",
                f"--streams {max(1, round(total / self.processes)) * self.processes}",
            )
        share = total // self.processes
        return range(self.rank * share, (self.rank + 1) * share)

    def share_weights(self, network: nn.Module) -> None:
        """Begin everywhere with the weights of the process that leads."""
        if self.processes > 1:
            for value in network.state_dict().values():
                dist.broadcast(value, 0)

    def share_gradients(self, network: nn.Module) -> None:
        """Take the mean over all processes, in one message: what costs is the waiting.

        torch's own wrapper of networks would hold on to the group, and to its threads, see `find_place`.
        """
        if self.processes == 1:
            return
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        parts = torch.split(flat / self.processes, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def everyones(self, value: Any) -> list[Any]:
        """What each process has here, by rank."""
        if self.processes == 1:
            return [value]
        found: list[Any] = [None] * self.processes
        dist.all_gather_object(found, value)
        return found

    def mean(self, value: float) -> float:
        """Over all processes."""
        found = self.everyones(value)
        return float(sum(found) / len(found))


ALONE = Place(torch.device("cpu"))


@contextmanager
def find_place(device: str) -> Iterator[Place]:
    """The place that `--device` and torchrun's variables name; joins the other processes if there are any."""
    processes, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    chosen = _device(device)
    if processes == 1:
        yield Place(chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    # Its functions have the group as a default argument, if there is one when they are made. Imported later,
    # as torch's optimisers do, they would keep the group for good, and gloo's threads with it: those abort a
    # process that ends, now and then, and torchrun would report the failure of a training that has succeeded.
    import_module("torch.distributed.nn")
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Place(chosen, rank, processes)
        dist.barrier()  # who leaves early would take the connection from those that still talk
    finally:
        dist.destroy_process_group()  # nobody else holds it: this waits for its threads to end


def _device(name: str) -> torch.device:
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise StreamerError("--device cuda: torch finds no such GPU", "use --device cpu")
    if name == "cpu" or not there:
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def takes_bfloat16(network: nn.Module, device: torch.device) -> bool:
    """Whether torch would round this network's products to bfloat16 on this device, and to nothing narrower.

    On a GPU it runs recurrent layers in float16 whatever it is told (ATen/cudnn/AutocastRNN.cpp), whose range
    is too small for their gradients.
    """
    return device.type == "cpu" or not any(isinstance(module, nn.RNNBase) for module in network.modules())


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Where torch's random numbers stand."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_states(states: dict[str, Tensor], device: torch.device) -> None:
    """Go on with the same random numbers."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
