"""One stream of a running daemon: its source, its pipeline, and the messages that come of them."""

from __future__ import annotations

import time
from collections.abc import Iterator

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
from streamer.inference.model import Model
from streamer.pipeline import Output, ScoreBlock, StreamPipeline

STDIN = 0
LOSS_ADVICE = "is the machine too busy? a larger engine.ring_s or engine.hop_ms may help"


def open_source(config: StreamConfig, engine: EngineConfig) -> Source:
    """The source that a stream's settings describe, not opened yet."""
    if config.source == "file":
        return SoundFileSource(str(config.path), realtime=config.pace == "realtime", loop=config.loop)
    if config.source == "stdin":
        return PcmPipeSource(STDIN, config.rate_hz or SAMPLE_RATE_HZ, config.channels or 1, config.format)
    # Woken a few times a hop: once a hop would add up to a hop of delay, each block of the device costs more.
    return Microphone(
        config.device,
        config.rate_hz,
        config.channels,
        ring_s=engine.ring_s,
        wake_ms=max(10, engine.hop_ms / 4),
    )


class LiveStream:
    """Reads its source, feeds its pipeline, and words what comes out."""

    def __init__(
        self,
        config: StreamConfig,
        engine: EngineConfig,
        model: Model,
        rules: list[LabelRule],
        *,
        source: Source | None = None,
    ) -> None:
        self.name = config.name
        self.source = source or open_source(config, engine)
        self.ended = False
        self.dry = False
        """Its source came to an end without having given any sound."""
        self.said_goodbye = False
        """Its final health message has been made: no other may follow."""
        self.muted = False
        """Sound is taken and thrown away."""
        self.state: State = "starting"
        self.detail = ""
        self._engine = engine
        self._model = model
        self._config_rules = rules
        self._rules = list(rules)  # in force: a threshold may have been changed since
        self._was_muted = False
        self._pipeline: StreamPipeline | None = None
        self._heard_s = time.monotonic()  # when sound last came
        self._anchor = (0, 0.0)  # a sample on the 16 kHz clock, and the wall clock at which it was captured
        self._lag_s: float | None = None
        self._warned = ""
        self._told_lost_samples = 0
        self._why_ended = ""

    def open(self) -> None:
        """Open the source; raises StreamerError."""
        self.source.open()
        self._pipeline = StreamPipeline(
            self._model.classifier,
            self._model.bundle.manifest.features,
            self._rules,
            self.source.rate_hz,
            self._engine.hop_ms,
        )
        self._heard_s = time.monotonic()

    @property
    def pipeline(self) -> StreamPipeline:
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
                self.pipeline.feed(chunk)
            self._heard_s = time.monotonic()
            self._anchor = (chunk.end_sample * SAMPLE_RATE_HZ // self.source.rate_hz, chunk.captured_utc_s)
        return chunk

    def end(self, why: str = "told to stop") -> None:
        """No more sound is taken; what is open will be told as ended."""
        if not self.ended:
            self.ended = True
            self._why_ended = why
            self.pipeline.end()

    def close(self) -> None:
        """Let go of the source."""
        self.source.close()

    def retune(self, rules: list[LabelRule]) -> None:
        """Go on with the rules of another config."""
        self._config_rules = rules
        self._use(rules)

    def set_threshold(self, label: str, value: float | None) -> float:
        """Another threshold for a label of the model, or again the config's (None); the one in force then."""
        place = {rule.name: index for index, rule in enumerate(self._rules)}[label]
        rule = self._config_rules[place]
        changed = rule if value is None else rule.at_threshold(value)
        self._use([*self._rules[:place], changed, *self._rules[place + 1 :]])
        return changed.threshold

    def _use(self, rules: list[LabelRule]) -> None:
        self._rules = list(rules)
        self.pipeline.retune(rules)

    @property
    def rules(self) -> list[LabelRule]:
        """How each label is decided at present."""
        return self._rules

    def mute(self) -> None:
        """Listen no more; what is open is told as ended."""
        if not self.muted and not self.ended:
            self.muted = self._was_muted = True
            self.pipeline.end("muted")

    def unmute(self) -> None:
        """Listen again."""
        self.muted = False

    def take_output(self) -> Output:
        """What has been found since the last call."""
        output = self.pipeline.take_output()
        if output.scores:
            self._lag_s = max(0.0, time.time() - self._anchor[1])
        return output

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
        if not lost:
            return ""
        length = f"{lost} samples ({lost / self.source.rate_hz:.3f} s) lost"
        return f"{length}; {getattr(self.source, 'loss_advice', LOSS_ADVICE)}"

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
        silent_s = time.monotonic() - self._heard_s
        if silent_s < self._engine.stall_s:
            return (
                ("listening", "") if self.pipeline.meter.heard_samples else ("starting", "waiting for sound")
            )
        if getattr(self.source, "finished", False):
            return "no-device", f"{self.source.description} is gone"
        return "stalled", f"no sound from {self.source.description} for {self._engine.stall_s:g} s"

    def events(self, detections: list[Detection], run: str, journal: str, after_seq: int) -> Iterator[Event]:
        """Detections as messages, numbered on."""
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
                model=self._model.name,
            )

    def _utc_s(self, sample: int) -> float:
        anchor_sample, utc_s = self._anchor
        return utc_s - (anchor_sample - sample) / SAMPLE_RATE_HZ

    def frames(self, block: ScoreBlock, run: str) -> Frames:
        """A block of scores as a message."""
        return Frames(
            run=run,
            stream=self.name,
            first_row=block.first_row,
            first_s=seconds(block.first_sample),
            row_s=seconds(self.pipeline.row_samples),
            labels=self._model.labels,
            rows=len(block.scores),
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
        return Health(
            run=run,
            stream=self.name,
            state=self.state,
            detail=self.detail,
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
            version=__version__,
            model=self._model.name,
            label_count=len(self._model.labels),
        )


def seconds(sample: int) -> float:
    """A place on the 16 kHz clock in seconds; five digits tell every sample apart."""
    return round(sample / SAMPLE_RATE_HZ, 5)
