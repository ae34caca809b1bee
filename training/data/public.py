"""Public collections that can be fetched by name: where they are, and how to know that they came whole.

Sizes and SHA-256 of Speech Commands are those that TensorFlow Datasets and torchaudio publish. ESC-50 has no
release: GitHub packs the named commit anew when asked and promises its contents, not its bytes. The hash here
is what others have seen; an archive with another one is judged by its contents.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.data.dataset import DataError
from training.data.names import did_you_mean

_TENSORFLOW = "https://storage.googleapis.com/download.tensorflow.org/data"
_ESC50_COMMIT = "33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6"


@dataclass(frozen=True, slots=True)
class PublicSet:
    """One archive."""

    name: str
    about: str
    licence: str
    url: str
    archive: str
    """Its file name; the suffix says how it is packed."""
    bytes: int
    sha256: str
    spec: str
    """How to read it, with {} for its folder."""
    hash_is_promised: bool = True
    sounds: int | None = None
    """How many .wav files there must be; None: the hash says it all."""
    zip_comment: str = ""
    """What git writes into a zip archive: its commit."""


SETS = {
    one.name: one
    for one in (
        PublicSet(
            name="speech_commands_v0.02",
            about="105,829 spoken words, 35 of them, and background noise",
            licence="CC BY 4.0",
            url=f"{_TENSORFLOW}/speech_commands_v0.02.tar.gz",
            archive="speech_commands_v0.02.tar.gz",
            bytes=2_428_923_189,
            sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
            spec="gsc:{}",
        ),
        PublicSet(
            name="speech_commands_test_set_v0.02",
            about="the twelve-label test set that papers quote",
            licence="CC BY 4.0",
            url=f"{_TENSORFLOW}/speech_commands_test_set_v0.02.tar.gz",
            archive="speech_commands_test_set_v0.02.tar.gz",
            bytes=112_563_277,
            sha256="cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df",
            spec="gsc:{}?split=test",
        ),
        PublicSet(
            name="speech_commands_v0.01",
            about="the older edition: 64,727 files, 30 words",
            licence="CC BY 4.0",
            url=f"{_TENSORFLOW}/speech_commands_v0.01.tar.gz",
            archive="speech_commands_v0.01.tar.gz",
            bytes=1_489_096_277,
            sha256="743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
            spec="gsc:{}",
        ),
        PublicSet(
            name="esc50",
            about="2,000 clips of 50 everyday sounds in five folds",
            licence="CC BY-NC 3.0; its part ESC-10: CC BY 3.0",
            url=f"https://github.com/karolpiczak/ESC-50/archive/{_ESC50_COMMIT}.zip",
            archive="esc50.zip",
            bytes=645_832_161,
            sha256="661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
            spec="esc50:{}",
            hash_is_promised=False,
            sounds=2000,
            zip_comment=_ESC50_COMMIT,
        ),
    )
}


def public_set(name: str) -> PublicSet:
    """The set of this name."""
    if name not in SETS:
        raise DataError(
            f"no public set {name!r}{did_you_mean(name, SETS)}", f"legal values: {', '.join(SETS)}"
        )
    return SETS[name]
