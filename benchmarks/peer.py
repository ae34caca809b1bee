"""One of the peers, in the peers' environment (no part of streamer is imported here):

peer.py PEER files SOUND.wav        the whole file as fast as it goes
peer.py PEER first SOUND.wav        prints a line at its first score, and ends
peer.py PEER paced SOUND.wav        80 ms every 80 ms, round and round, until it is stopped
peer.py PEER microphone DEVICE      80 ms whenever the device has them, until it is stopped
peer.py PEER version                prints what it is
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

RATE_HZ = 16_000
CHUNK_SAMPLES = 1_280
FILE_CHUNK_SAMPLES = 16 * CHUNK_SAMPLES
"""Larger pieces are cheaper for some, and this length suits all."""

Feed = Callable[[bytes], int]
"""Takes 16-bit samples; returns how many scores came of them."""


def pymicro_wakeword() -> Feed:
    """One word."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    word, features = MicroWakeWord.from_builtin(Model.HEY_JARVIS), MicroWakeWordFeatures()

    def feed(sound: bytes) -> int:
        scores = 0
        for row in features.process_streaming(sound):
            word.process_streaming(row)
            scores += 1
        return scores

    return feed


def pyopen_wakeword() -> Feed:
    """One word."""
    from pyopen_wakeword import Model, OpenWakeWord, OpenWakeWordFeatures

    word, features = OpenWakeWord.from_builtin(Model.HEY_JARVIS), OpenWakeWordFeatures.from_builtin()

    def feed(sound: bytes) -> int:
        return sum(1 for rows in features.process_streaming(sound) for _ in word.process_streaming(rows))

    return feed


def openwakeword() -> Feed:
    """One word; the newest release's code with the models of the last one that carried them."""
    from pathlib import Path

    import numpy as np
    from openwakeword.model import Model

    models = Path(sys.prefix) / "openwakeword-models/openwakeword/resources/models"
    model = Model(
        wakeword_models=[str(models / "hey_jarvis_v0.1.onnx")],
        inference_framework="onnx",
        melspec_model_path=str(models / "melspectrogram.onnx"),
        embedding_model_path=str(models / "embedding_model.onnx"),
    )

    def feed(sound: bytes) -> int:
        return len(model.predict(np.frombuffer(sound, np.int16)))

    return feed


def silero_vad() -> Feed:
    """Speech or not, every 32 ms: its ONNX as its own wrapper calls it, without the torch that one wants."""
    from importlib.util import find_spec
    from pathlib import Path

    import numpy as np
    import onnxruntime

    found = find_spec("silero_vad")
    assert found is not None
    assert found.origin is not None
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(Path(found.origin).parent / "data/silero_vad.onnx"),
        sess_options=options,
        providers=["CPUExecutionProvider"],
    )
    rate = np.array(RATE_HZ, np.int64)
    state = np.zeros((2, 1, 128), np.float32)
    kept = np.zeros(64, np.float32)  # the end of the sound before, which the model wants to see again

    def feed(sound: bytes) -> int:
        nonlocal state, kept
        kept = np.concatenate((kept, np.frombuffer(sound, np.int16).astype(np.float32) / 32_768))
        scores = 0
        while len(kept) >= 64 + 512:
            inputs = {"input": kept[np.newaxis, : 64 + 512], "state": state, "sr": rate}
            _, state = session.run(None, inputs)
            kept = kept[512:]
            scores += 1
        return scores

    return feed


def pocketsphinx() -> Feed:
    """One word, spotted with its English model."""
    from pocketsphinx import Decoder

    decoder = Decoder(keyphrase="computer", kws_threshold=1e-20, loglevel="FATAL")
    decoder.start_utt()

    def feed(sound: bytes) -> int:
        decoder.process_raw(sound, False, False)
        if decoder.hyp() is not None:
            decoder.end_utt()
            decoder.start_utt()
        return 1

    return feed


PEERS: dict[str, Callable[[], Feed]] = {
    "pymicro-wakeword": pymicro_wakeword,
    "openwakeword": openwakeword,
    "pyopen-wakeword": pyopen_wakeword,
    "silero-vad": silero_vad,
    "pocketsphinx": pocketsphinx,
}


def read_sound(path: str) -> bytes:
    """The samples of a 16 kHz mono WAV file."""
    import wave

    with wave.open(path, "rb") as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE_HZ, 1, 2):
            raise SystemExit(f"{path}: 16 kHz, one channel, 16 bits are wanted")
        return file.readframes(file.getnframes())


def pieces(sound: bytes, samples: int) -> list[bytes]:
    """Whole pieces of so many samples."""
    size = 2 * samples
    return [sound[at : at + size] for at in range(0, len(sound) - size + 1, size)]


def play_file(feed: Feed, path: str) -> None:
    """Through, and tell how many scores there were."""
    print(sum(feed(piece) for piece in pieces(read_sound(path), FILE_CHUNK_SAMPLES)))


def play_first(feed: Feed, path: str) -> None:
    """Until there is a score."""
    for piece in pieces(read_sound(path), CHUNK_SAMPLES):
        if feed(piece):
            break
    print("score", flush=True)


def play_paced(feed: Feed, path: str, chunk_ms: str = "80") -> None:
    """A sleep to each piece's moment, as any program would that is fed in real time."""
    samples = int(chunk_ms) * RATE_HZ // 1000
    chunks = pieces(read_sound(path), samples)
    print("ready", flush=True)
    begun_s = time.monotonic()
    turn = 0
    while True:
        turn += 1
        time.sleep(max(0.0, begun_s + turn * samples / RATE_HZ - time.monotonic()))
        feed(chunks[turn % len(chunks)])


def listen(feed: Feed, device: str) -> None:
    """Blocking reads, as the peers' own examples do."""
    import sounddevice

    stream = sounddevice.RawInputStream(
        samplerate=RATE_HZ, blocksize=CHUNK_SAMPLES, device=device, channels=1, dtype="int16"
    )
    with stream:
        print("ready", flush=True)
        while True:
            data, _ = stream.read(CHUNK_SAMPLES)
            feed(bytes(data))


def tell_version(name: str) -> None:
    """As its package has it."""
    from importlib.metadata import version

    print(version(name))


def main() -> None:
    """One thing with one peer."""
    name, what, *rest = sys.argv[1:]
    if what == "version":
        tell_version(name)
        return
    feed = PEERS[name]()
    {"files": play_file, "first": play_first, "paced": play_paced, "microphone": listen}[what](feed, *rest)


if __name__ == "__main__":
    main()
