"""One stream of a running daemon: its source, its pipeline, and the messages that come of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from streamer import __version__
from streamer.audio import SAMPLE_RATE_HZ, Chunk
from streamer.capture.files import SoundFileSource
from streamer.capture.microphone import Microphone
from streamer.capture.pipe import PcmPipeSource
from streamer.capture.source import EndOfSound, Source
from streamer.config import EngineConfig, StreamConfig
from streamer.decoding.decoder import Detection
from streamer.decoding.rules import LabelRule
from streamer.delivery.messages import Event, Frames, Health, State, pack_scores, utc_text
from streamer.ears import Ear, Ears
from streamer.inference.model import Model
from streamer.pipeline import Intake, Listener, Output, ScoreBlock
from streamer.tuned import TunedModel, joined_name, label_count

if TYPE_CHECKING:
    from streamer.clips.cutter import Clip
    from streamer.clips.stream_clips import StreamClips
    from streamer.doze import Doze

STDIN = 0
FILE_BLOCK_S = 0.1
MENDED_S = 60.0
"""A microphone that is there and silent for longer, whatever we do, may want a restart of the daemon."""
LOSS_ADVICE = "is the machine too busy? a larger engine.ring_s or engine.hop_ms may help"


def open_source(config: StreamConfig, engine: EngineConfig) -> Source:
    """The source that a stream's settings describe, not opened yet."""
    if config.source == "file":
        # A hop is often enough where nobody says what is waited for; more seldom than this is a stall.
        longest_s = engine.stall_s / 2
        block_s = max(FILE_BLOCK_S, min(engine.hop_ms / 1000, longest_s))
        paced = config.pace == "realtime"
        return SoundFileSource(str(config.path), paced, block_s, longest_s=longest_s, loop=config.loop)
    if config.source == "stdin":
        return PcmPipeSource(STDIN, config.rate_hz or SAMPLE_RATE_HZ, config.channels or 1, config.format)
    return Microphone(
        config.device,
        config.rate_hz,
        config.channels,
        ring_s=engine.ring_s,
        wake_ms=engine.wake_ms,
        stall_s=engine.stall_s,
    )


def try_source(config: StreamConfig, engine: EngineConfig) -> str:
    """Open the source and close it again; its description, or the StreamerError that stands in the way."""
    with contextlib.closing(open_source(config, engine)) as source:
        source.open()
        return source.description


class LiveStream:
    """Reads its source, feeds its pipeline, and words what comes out.

    `history_s` of sound are kept for a model that takes over.
    """

    def __init__(
        self,
        config: StreamConfig,
        engine: EngineConfig,
        models: Sequence[TunedModel],
        *,
        source: Source | None = None,
        history_s: float = 0.0,
        clips: StreamClips | None = None,
    ) -> None:
        self.name = config.name
        self.config = config
        self.source = source or open_source(config, engine)
        self.ended = False
        self.dry = False
        """Its source came to an end without having given any sound."""
        self.said_goodbye = False
        """Its final health message has been made: no other may follow."""
        self.muted = False
        """Nothing is listened to: a microphone is closed, other sound is thrown away."""
        self.state: State = "starting"
        self.detail = ""
        self._engine = engine
        self._models = models
        self._ears = Ears(models, engine.hop_ms)
        self._history_s = history_s
        self._clips = clips
        self._was_muted = False
        self._passed_pause: int | None = None
        self._pipeline: Intake | None = None
        self._heard_s = time.monotonic()  # when sound last came
        self._anchor = (0, 0.0)  # a sample on the 16 kHz clock, and the wall clock at which it was captured
        self._captured_s = 0.0  # the same moment as in the anchor, on the monotonic clock
        self._lag_s: float | None = None
        self._warned = ""
        self._told_lost_samples = self._told_absent_samples = 0
        self._news = ""  # of the microphone, for the next health message
        self._why_ended = ""

    def open(self) -> None:
        """Open the source; raises StreamerError."""
        self.source.open()
        prompt = isinstance(self.source, Microphone)
        self._pipeline = self._ears.open(self.source.rate_hz, self._history_s, prompt=prompt)
        self._pipeline.memory = self._clips.memory if self._clips else None
        self.await_block()
        self._heard_s = time.monotonic()

    @property
    def pipeline(self) -> Intake:
        """The stream's pipeline, there from `open` on."""
        assert self._pipeline is not None
        return self._pipeline

    def read(self) -> Chunk | None:
        """Take what the source has; at its end the pipeline gives up what it holds back."""
        try:
            chunk = self.source.read()
        except EndOfSound:
            self.dry = not (self.pipeline.meter.heard_samples or self._was_muted)
            self.end("the sound has ended")
            return None
        if chunk is not None:
            if self.muted:
                self.pipeline.skip(chunk)
            else:
                self._pass_pause(chunk)
                self.pipeline.feed(chunk)
            self._hear_of(chunk.captured_utc_s, time.monotonic())
        return chunk

    def await_block(self) -> None:
        """Let the source wake us when the models' next block is complete, if it can and anybody knows."""
        if isinstance(self.source, Microphone | SoundFileSource) and self.source.live:
            due = self.pipeline.due_sample
            if due is not None:
                self.source.want(due)

    def doze(self, doze: Doze, until_s: float) -> bool:
        """Sleep, and listen meanwhile, until then or until something is going on; True: it is to be read.

        Not while there is news of its state, which is told first.
        """
        if self.muted or self.ended or not isinstance(self.source, Microphone):
            return False
        if self.state != "listening" or self.pipeline.meter.lost_samples != self._told_lost_samples:
            return False
        passed = doze.sleep(self.source, self.pipeline, until_s)
        if passed is not None:
            self._hear_of(passed.captured_utc_s, passed.heard_s)
            self._lag_s = self._lag_s if passed.lag_s is None else max(0.0, passed.lag_s)
        return self.source.has_news

    def _hear_of(self, captured_utc_s: float, heard_s: float) -> None:
        """The newest sound was captured then, and has come now."""
        self._heard_s = heard_s
        self._anchor = (self.pipeline.next_sample * SAMPLE_RATE_HZ // self.source.rate_hz, captured_utc_s)
        # From here on by a clock that nobody sets: a leap of the other one is no lag.
        now_s = time.monotonic()
        self._captured_s = now_s - max(0.0, time.time() - captured_utc_s)

    def _pass_pause(self, chunk: Chunk) -> None:
        """What was not to be heard before this sound is no gap."""
        pause_end = getattr(self.source, "pause_end", None)
        if pause_end is not None and pause_end != self._passed_pause:
            self._passed_pause = pause_end
            self.pipeline.skip(Chunk(chunk.samples[:0], pause_end, chunk.captured_utc_s))

    def end(self, why: str = "told to stop") -> None:
        """No more sound is taken; what is open will be told as ended."""
        if not self.ended:
            self.ended = True
            self._why_ended = why
            self.pipeline.end()

    def close(self) -> None:
        """Let go of the source."""
        self.source.close()

    def use(self, models: Sequence[TunedModel], engine: EngineConfig, history_s: float) -> None:
        """Go on with the models and settings of another config; nothing may wait for a classifier."""
        self._models, self._engine = models, engine
        self.pipeline.history_s = history_s
        self._ears.change(self.pipeline, models, engine.hop_ms)

    def set_threshold(self, label: str, value: float | None) -> float:
        """Another threshold for a label, or again the config's (None); the one in force then."""
        return self._ears.set_threshold(label, value)

    @property
    def rules(self) -> list[LabelRule]:
        """How each label is decided at present."""
        return [rule for _, rule in self.rules_by_model]

    @property
    def rules_by_model(self) -> list[tuple[Model, LabelRule]]:
        """The same, with the model whose label it is."""
        return self._ears.rules

    @property
    def listeners(self) -> list[Listener]:
        """One for each model, in the config's order."""
        return self._ears.listeners

    def mute(self) -> None:
        """Listen no more; what is open is told as ended."""
        if not self.muted and not self.ended:
            self.muted = self._was_muted = True
            self.pipeline.end("muted")
            if isinstance(self.source, Microphone):
                self.source.pause()

    def unmute(self) -> None:
        """Listen again."""
        if self.muted and isinstance(self.source, Microphone):
            self.source.resume()
        self.muted = False

    def take_outputs(self) -> list[tuple[Ear, Output]]:
        """What each model has found since the last call."""
        outputs = self._ears.take_outputs()
        for _, output in outputs:
            if output.scores:
                self._lag_s = max(0.0, time.monotonic() - self._captured_s)
        return outputs

    def take_warning(self) -> str:
        """What the source has to complain of and has not said yet."""
        warning = (
            (getattr(self.source, "warning", None) or "") if not self.dry else ""
        )  # Service tells of those
        fresh, self._warned = (warning if warning != self._warned else ""), warning
        return fresh

    def take_loss(self) -> str:
        """What was lost since the last call, in words; "" where nothing was."""
        meter = self.pipeline.meter
        lost, self._told_lost_samples = meter.lost_samples - self._told_lost_samples, meter.lost_samples
        told = []
        if isinstance(self.source, Microphone):  # which tells itself of the sound of its absence
            news = self.source.take_news()
            self._news = news or self._news
            told.append(news)
            absent_samples = self.source.absent_samples
            lost -= absent_samples - self._told_absent_samples
            self._told_absent_samples = absent_samples
        if lost > 0:
            length = f"{lost} samples ({lost / self.source.rate_hz:.3f} s) lost"
            told.append(f"{length}; {getattr(self.source, 'loss_advice', LOSS_ADVICE)}")
        return "; ".join(filter(None, told))

    def check_state(self) -> bool:
        """Judge the stream by the time since its last sample; True where its state has changed."""
        before = self.state
        self.state, self.detail = self._judge()
        return self.state != before

    def _judge(self) -> tuple[State, str]:
        if self.ended:
            return "stopping", self._why_ended
        if self.muted:
            return "muted", "told not to listen"
        stall_s = getattr(self.source, "stall_s", self._engine.stall_s)
        silent_s = time.monotonic() - self._heard_s
        if isinstance(self.source, Microphone):  # which judges itself, and does something about it
            if self.source.trouble:
                return self.source.trouble.state, self.source.trouble.detail
            silent_s = 0.0
        if silent_s < stall_s:
            return (
                ("listening", "") if self.pipeline.meter.heard_samples else ("starting", "waiting for sound")
            )
        if getattr(self.source, "finished", False):
            return "no-device", f"{self.source.description} is gone"
        return "stalled", f"no sound from {self.source.description} for {stall_s:g} s"

    @property
    def needs_no_restart(self) -> bool:
        """It listens, or does not for a reason that a restart of the daemon would not mend."""
        trouble = self.source.trouble if isinstance(self.source, Microphone) else None
        if trouble and self.state in ("no-device", "stalled"):
            return trouble.state == "no-device" or time.monotonic() - trouble.since_s < MENDED_S
        return self.state in ("listening", "muted", "stopping")

    @property
    def helpers_cpu_s(self) -> float:
        """Processor time of the processes that record for it."""
        return self.source.cpu_s if isinstance(self.source, Microphone) else 0.0

    def events(
        self, detections: list[Detection], ear: Ear, run: str, journal: str, after_seq: int
    ) -> Iterator[Event]:
        """Detections of a model as messages, numbered on."""
        for seq, found in enumerate(detections, start=after_seq + 1):
            yield Event(
                run=run,
                journal=journal,
                seq=seq,
                stream=self.name,
                kind=found.kind,
                label=found.label,
                phase=found.phase,
                onset_s=seconds(found.onset_sample),
                offset_s=None if found.offset_sample is None else seconds(found.offset_sample),
                detected_s=seconds(found.detected_sample),
                score=found.score,
                time_utc=utc_text(self._utc_s(found.detected_sample)),
                reason=found.reason,
                model=ear.model.name,
            )

    def with_clip(self, event: Event, found: Detection) -> Event:
        """An event that is going to be told, with the name of its sound if that is kept."""
        if not self._clips:
            return event
        name = self._clips.name(found, self.name, event.time_utc, event.seq)
        return msgspec.structs.replace(event, clip=name)

    def take_clips(self) -> list[Clip]:
        """The sound around events, as far as all of it has come."""
        return self._clips.take(at_end=self.ended) if self._clips else []

    def _utc_s(self, sample: int) -> float:
        anchor_sample, utc_s = self._anchor
        return utc_s - (anchor_sample - sample) / SAMPLE_RATE_HZ

    def frames(self, block: ScoreBlock, ear: Ear, run: str) -> Frames:
        """A block of a model's scores as a message."""
        return Frames(
            run=run,
            stream=self.name,
            first_row=block.first_row,
            first_s=seconds(block.first_sample),
            row_s=seconds(ear.listener.row_samples),
            labels=ear.model.labels,
            rows=len(block.scores),
            model=ear.model.name,
            data=pack_scores(block.scores),
        )

    def health(
        self, run: str, seq: int, uptime_s: float, heartbeat_s: float, cpu_percent: float | None
    ) -> Health:
        """How the stream is, as a message."""
        meter = self.pipeline.meter
        level_dbfs, peak_dbfs = meter.take_levels()
        heard = bool(meter.heard_samples)
        self.said_goodbye = self.state == "stopping"
        news, self._news = self._news, ""
        return Health(
            run=run,
            stream=self.name,
            state=self.state,
            detail=self.detail or news,
            final=self.said_goodbye,
            time_utc=utc_text(time.time()),
            uptime_s=round(uptime_s, 3),
            heartbeat_s=heartbeat_s,
            seq=seq,
            source=self.source.description,
            listened_s=round(meter.heard_samples / self.source.rate_hz, 3),
            level_dbfs=level_dbfs,
            peak_dbfs=peak_dbfs,
            overruns=self.source.overruns,
            lost_samples=meter.lost_samples,
            gaps=meter.gaps,
            bad_samples=meter.bad_samples,
            clipped_samples=meter.clipped_samples,
            lag_s=None if self._lag_s is None else round(self._lag_s, 4),
            last_sample_age_s=round(time.monotonic() - self._heard_s, 3) if heard else None,
            cpu_percent=cpu_percent,
            drift_ppm=self.source.drift_ppm if isinstance(self.source, Microphone) else None,
            version=__version__,
            model=joined_name(self._models),
            label_count=label_count(self._models),
        )


def seconds(sample: int) -> float:
    """A place on the 16 kHz clock in seconds; five digits tell every sample apart."""
    return round(sample / SAMPLE_RATE_HZ, 5)
