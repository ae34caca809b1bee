"""Both ways to run a model give the same scores, for any cut of the rows and any company of streams."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.audio import F32
from streamer.decoding.rules import LabelRule
from streamer.errors import BundleError, ConfigError
from streamer.features.settings import FeatureSettings
from streamer.inference import kernel_backend
from streamer.inference.bundle import Bundle, Provenance, load_bundle
from streamer.inference.classifier import Classifier, State, split_state, stack_states
from streamer.inference.model import open_classifier, variant_of
from streamer.inference.spec import LstmSpec
from streamer.kernel import library
from tests.support.chunks import told
from training.export.bundle_writer import write_bundle
from training.export.onnx_graph import network_graph, network_state

AGREE = 1e-5
HAVE_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAVE_TORCH, reason="torch is not installed")
needs_kernel = pytest.mark.skipif(library() is None, reason="the kernel was not built")
OTHERS = [pytest.param("kernel", marks=needs_kernel), pytest.param("torch", marks=needs_torch)]
VARIANTS = ["onnx", *OTHERS]

WIDE = LstmSpec(inputs=26, outputs=7, stride=3, front=24, hidden=32, layers=3)


def random_weights(spec: LstmSpec, rng: np.random.Generator) -> dict[str, F32]:
    """Weights as large as trained ones, so that the cells are at work and not saturated."""
    gathered, hidden = spec.inputs * spec.stride, spec.hidden

    def some(*shape: int) -> F32:
        return (rng.standard_normal(shape) * 1.5 / np.sqrt(shape[-1])).astype(np.float32)

    weights = {
        "mean": some(spec.inputs),
        "scale": np.abs(some(spec.inputs)) + np.float32(0.5),
        "head.weight": some(spec.outputs, hidden),
        "head.bias": some(spec.outputs),
    }
    if spec.front:
        weights |= {"front.weight": some(spec.front, gathered), "front.bias": some(spec.front)}
    for layer in range(spec.layers):
        inputs = hidden if layer else spec.front or gathered
        weights |= {
            f"lstm.weight_ih_l{layer}": some(4 * hidden, inputs),
            f"lstm.weight_hh_l{layer}": some(4 * hidden, hidden),
            f"lstm.bias_ih_l{layer}": some(4 * hidden),
            f"lstm.bias_hh_l{layer}": some(4 * hidden),
        }
    return weights


def write(folder: Path, spec: LstmSpec, weights: dict[str, F32]) -> Bundle:
    from safetensors.numpy import save

    write_bundle(
        folder,
        name="random",
        version="1",
        description="random weights, for tests",
        labels=[LabelRule(name=f"label{index}", kind="sound") for index in range(spec.outputs)],
        features=FeatureSettings(mel_bins=23, coefficients=13, delta_order=1),
        network=spec,
        state=network_state(spec),
        files={
            "onnx": ("model.onnx", network_graph(spec, weights).SerializeToString()),
            "torch": ("model.safetensors", save(weights)),
        },
        provenance=Provenance(data=[], licences=[], git_revision="", trained_utc="", command=""),
        metrics={},
    )
    return load_bundle(folder)


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Two threads that wait for each other are many times slower than one on rows this small."""
    if not HAVE_TORCH:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["tiny", "wide"])
def bundle(
    request: pytest.FixtureRequest, tiny_bundle: Path, tmp_path: Path, rng: np.random.Generator
) -> Bundle:
    """The hand-made network, and a random one with everything that the format offers."""
    if request.param == "tiny":
        return load_bundle(tiny_bundle)
    return write(tmp_path / "wide", WIDE, random_weights(WIDE, rng))


@pytest.fixture(params=VARIANTS)
def classifier(request: pytest.FixtureRequest, bundle: Bundle) -> Classifier:
    return open_classifier(bundle, request.param)


def rows(classifier: Classifier, rng: np.random.Generator, streams: int, strides: int) -> F32:
    """(N, T, F) rows that make both networks work: for the tiny one around 10, with tones now and then."""
    shape = (streams, strides * classifier.stride, classifier.n_features)
    loud = np.repeat(rng.random((streams, shape[1] // 20 + 1, shape[2])) < 0.1, 20, axis=1)[:, : shape[1]]
    centre, step = (10, 12) if classifier.n_features == 40 else (0, 2)
    return (centre + rng.standard_normal(shape) + step * loud).astype(np.float32)


def cut_rows(rng: np.random.Generator, classifier: Classifier, features: F32, chunks: int) -> list[F32]:
    """So many chunks of random size, some of them empty."""
    strides = features.shape[1] // classifier.stride
    at = np.sort(rng.integers(0, strides + 1, chunks - 1))
    return np.split(features, at * classifier.stride, axis=1)


def run(classifier: Classifier, pieces: list[F32], state: State | None = None) -> tuple[F32, State]:
    state = classifier.initial_state(len(pieces[0])) if state is None else state
    scores = []
    for piece in pieces:
        some, state = classifier.step(piece, state)
        scores.append(some)
    return np.concatenate(scores, axis=1), state


def assert_near(got: Any, expected: Any, what: str) -> None:
    assert got.dtype == expected.dtype == np.float32, what
    assert got.shape == expected.shape, f"{what}: {got.shape} instead of {expected.shape}"
    error = np.abs(got - expected)
    if error.size and not error.max() <= AGREE:
        at = tuple(map(int, np.argwhere(~(error <= AGREE))[0]))
        raise AssertionError(f"{what}: first mismatch at {at}: {got[at]!r} instead of {expected[at]!r}")


def assert_states_near(got: State, expected: State, what: str) -> None:
    for index, (one, other) in enumerate(zip(got, expected, strict=True)):
        assert_near(one, other, f"{what}, state {index}")


@pytest.mark.parametrize("variant", OTHERS)
@pytest.mark.parametrize("streams", [1, 3, 9])
def test_it_agrees_with_onnx_over_a_thousand_chunks(
    bundle: Bundle, rng: np.random.Generator, streams: int, variant: str
) -> None:
    onnx, other_way = open_classifier(bundle, "onnx"), open_classifier(bundle, variant)
    pieces = cut_rows(rng, onnx, rows(onnx, rng, streams, 3000), 1000)
    lengths = told([piece.shape[1] for piece in pieces])
    assert min(piece.shape[1] for piece in pieces) == 0
    scores, state = run(onnx, pieces)
    other, other_state = run(other_way, pieces)
    assert_near(scores, other, lengths)
    assert_states_near(state, other_state, lengths)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores.std() > 0.01, "scores that never move would agree whatever the state"


def test_any_chunks_give_the_scores_of_one_call(classifier: Classifier, rng: np.random.Generator) -> None:
    features = rows(classifier, rng, 2, 400)
    expected, after = run(classifier, [features])
    for chunks in (7, 150):
        pieces = cut_rows(rng, classifier, features, chunks)
        scores, state = run(classifier, pieces)
        what = told([piece.shape[1] for piece in pieces])
        assert_near(scores, expected, what)
        assert_states_near(state, after, what)


def test_streams_in_one_call_equal_each_alone(classifier: Classifier, rng: np.random.Generator) -> None:
    """Each with a past of its own, too."""
    streams = 5
    past, features = rows(classifier, rng, streams, 50), rows(classifier, rng, streams, 60)
    states = [run(classifier, [past[n : n + 1, : n * classifier.stride]])[1] for n in range(streams)]
    together, after = classifier.step(features, stack_states(states))
    for n, own_after in enumerate(split_state(after, streams)):
        alone, alone_after = classifier.step(features[n : n + 1], states[n])
        assert_near(together[n : n + 1], alone, f"stream {n} of {streams}")
        assert_states_near(own_after, alone_after, f"stream {n} of {streams}")


def test_state_is_a_value(classifier: Classifier, rng: np.random.Generator) -> None:
    """A step changes neither its state nor its features: the same call again gives the same bits."""
    _, state = run(classifier, [rows(classifier, rng, 2, 30)])
    features = rows(classifier, rng, 2, 10)
    before = [part.copy() for part in state]
    for array in (features, *state):
        array.flags.writeable = False
    first, first_after = classifier.step(features, state)
    kept, kept_after = first.copy(), [part.copy() for part in first_after]
    classifier.step(rows(classifier, rng, 2, 40), first_after)
    second, second_after = classifier.step(features, state)
    np.testing.assert_array_equal(second, kept)
    np.testing.assert_array_equal(first, kept, "an earlier answer was written over")
    for part, old, new, again in zip(state, before, kept_after, second_after, strict=True):
        np.testing.assert_array_equal(part, old)
        np.testing.assert_array_equal(again, new)
        assert np.abs(new - old).max() > 1e-3, "a state that never moves is no state"
    for array in (first, *first_after):
        assert not any(np.shares_memory(array, other) for other in (features, *state))


def test_no_rows_give_no_scores_and_leave_the_state(classifier: Classifier, rng: np.random.Generator) -> None:
    _, state = run(classifier, [rows(classifier, rng, 3, 5)])
    scores, after = classifier.step(rows(classifier, rng, 3, 0), state)
    assert (scores.shape, scores.dtype) == ((3, 0, classifier.n_labels), np.float32)
    for one, other in zip(after, state, strict=True):
        np.testing.assert_array_equal(one, other)


def test_initial_states_are_fresh_each_time(classifier: Classifier) -> None:
    for part in classifier.initial_state(2):
        assert (part.dtype, len(part)) == (np.float32, 2)
        part[...] = 9
    assert all((part == 0).all() for part in classifier.initial_state(2))


def test_later_rows_never_alter_earlier_scores(classifier: Classifier, rng: np.random.Generator) -> None:
    features = rows(classifier, rng, 1, 1060)
    other = features.copy()
    other[:, 60 * classifier.stride :] = rows(classifier, rng, 1, 1000)
    one, two = run(classifier, [features])[0], run(classifier, [other])[0]
    assert_near(one[:, :60], two[:, :60], "changed from row 60 on")
    assert np.abs(one[:, 60:] - two[:, 60:]).max() > 1e-3, "the change had no effect"


@pytest.mark.parametrize("fill", [0.0, 15.9, -15.9, 80.0, 1e6])
def test_scores_stay_finite(classifier: Classifier, fill: float) -> None:
    features = np.full((1, 200 * classifier.stride, classifier.n_features), fill, np.float32)
    scores, state = run(classifier, [features])
    assert np.isfinite(scores).all()
    assert all(np.isfinite(part).all() for part in state)


def test_a_view_is_read_as_it_stands(classifier: Classifier, rng: np.random.Generator) -> None:
    wide = rows(classifier, rng, 2, 20)
    for view in (wide[:, ::-1], np.asfortranarray(wide), wide[::-1, :, ::-1]):
        scores, _ = run(classifier, [view])
        assert_near(scores, run(classifier, [np.ascontiguousarray(view)])[0], f"strides {view.strides}")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: x.astype(np.float64),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.int32),
        lambda x: x.tolist(),
        lambda x: x[0],
        lambda x: x[..., :-1],
        lambda x: np.concatenate((x, x[..., :1]), axis=2),
        lambda x: x[:, :-1],
        lambda x: x[None],
        lambda x: np.concatenate((x, x)),
        lambda x: x[:1],
    ],
    ids=[
        "float64",
        "float16",
        "int32",
        "list",
        "2-D",
        "narrow",
        "wide",
        "part-of-a-stride",
        "4-D",
        "more-streams",
        "fewer-streams",
    ],
)
def test_wrong_features_are_refused(classifier: Classifier, rng: np.random.Generator, spoil: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        classifier.step(spoil(rows(classifier, rng, 2, 4)), classifier.initial_state(2))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: tuple(part.astype(np.float64) for part in s),
        lambda s: s[:1],
        lambda s: (*s, s[0]),
        lambda s: (),
        lambda s: tuple(part[:, :1] for part in s),
        lambda s: tuple(part[..., :-1] for part in s),
        lambda s: tuple(part[:1] for part in s),
        lambda s: tuple(part[0] for part in s),
    ],
    ids=["float64", "one-only", "one-more", "none", "one-layer", "narrow", "one-stream", "no-streams"],
)
def test_wrong_states_are_refused(classifier: Classifier, rng: np.random.Generator, spoil: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        classifier.step(rows(classifier, rng, 2, 4), spoil(classifier.initial_state(2)))


def test_stack_and_split_are_each_others_inverse(rng: np.random.Generator) -> None:
    states = [tuple(rng.standard_normal((1, 2, 3)).astype(np.float32) for _ in range(2)) for _ in range(4)]
    parts = split_state(stack_states(states), 4)
    for state, part in zip(states, parts, strict=True):
        for one, other in zip(state, part, strict=True):
            np.testing.assert_array_equal(one, other)
            assert other.base is None or other.base.nbytes == other.nbytes, "a part keeps all streams alive"


def test_one_thread_that_never_spins(tiny_bundle: Path) -> None:
    session = open_classifier(load_bundle(tiny_bundle), "onnx")._session  # type: ignore[attr-defined]
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    for pool in ("intra_op", "inter_op"):
        assert options.get_session_config_entry(f"session.{pool}.allow_spinning") == "0"
    assert session.get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize("variant", OTHERS)
@pytest.mark.parametrize("front", [0, 5, 70])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("stride", [1, 4])
def test_every_shape_of_network(
    tmp_path: Path, rng: np.random.Generator, front: int, layers: int, stride: int, variant: str
) -> None:
    spec = LstmSpec(inputs=26, outputs=1, stride=stride, front=front, hidden=6, layers=layers)
    bundle = write(tmp_path / "some", spec, random_weights(spec, rng))
    onnx, other = open_classifier(bundle, "onnx"), open_classifier(bundle, variant)
    pieces = cut_rows(rng, onnx, rows(onnx, rng, 2, 60), 20)
    assert_near(run(onnx, pieces)[0], run(other, pieces)[0], told([piece.shape[1] for piece in pieces]))


@needs_kernel
def test_the_kernel_gives_the_same_bits_in_any_company(bundle: Bundle, rng: np.random.Generator) -> None:
    """Of streams: whichever others are in the call, each of its sums goes in the same order."""
    kernel = open_classifier(bundle, "kernel")
    features = rows(kernel, rng, 7, 9)
    together, after = kernel.step(features, kernel.initial_state(7))
    for n, own_after in enumerate(split_state(after, 7)):
        alone, alone_after = kernel.step(features[n : n + 1], kernel.initial_state(1))
        np.testing.assert_array_equal(alone[0], together[n])
        for one, other in zip(alone_after, own_after, strict=True):
            np.testing.assert_array_equal(one, other)


@needs_kernel
def test_scores_far_out_are_finite(tiny_bundle: Path) -> None:
    kernel = open_classifier(load_bundle(tiny_bundle), "kernel")
    for value in (0.0, 1e-44, 1e6, -1e6, 3e38):
        features = np.full((1, 20 * kernel.stride, kernel.n_features), value, np.float32)
        scores, _ = kernel.step(features, kernel.initial_state())
        assert ((scores >= 0) & (scores <= 1)).all(), value


def test_what_runs_a_model_by_itself(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel where there is one, else onnx; asked for without being there, it is refused."""
    if library() is not None:
        assert variant_of(bundle, "auto") == "kernel"
    monkeypatch.setattr(kernel_backend, "library", lambda: None)
    assert variant_of(bundle, "auto") == "onnx"
    with pytest.raises(ConfigError, match="there is no kernel"):
        open_classifier(bundle, "kernel")


SPOILT = {
    "cut short": lambda content: content[:-4],
    "no length": lambda content: content[:5],
    "no header": lambda content: content[:8] + b"[" + content[9:],
    "a length beyond the file": lambda content: (2**60).to_bytes(8, "little") + content[8:],
    "other numbers": lambda content: content.replace(b'"F32"', b'"F16"', 1),
    "another shape": lambda content: content.replace(b"[24,78]", b"[78,24]"),
    "an offset below nought": lambda content: content.replace(b'"data_offsets":[0', b'"data_offsets":[-1', 1),
    "a name that is not there": lambda content: content.replace(b"head.bias", b"tail.bias"),
}


@needs_kernel
@pytest.mark.parametrize("what", SPOILT)
def test_weights_that_do_not_fit_are_refused(what: str, tmp_path: Path, rng: np.random.Generator) -> None:
    bundle = write(tmp_path / "wide", WIDE, random_weights(WIDE, rng))
    path = bundle.file("torch")
    content = path.read_bytes()
    path.write_bytes(SPOILT[what](content))
    assert path.read_bytes() != content, "nothing was spoilt"
    with pytest.raises(BundleError, match="the weights do not fit"):
        open_classifier(bundle, "kernel")


@pytest.mark.parametrize("variant", VARIANTS[:2])
def test_a_model_that_gives_no_numbers_is_refused(
    variant: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """It would be deaf, and nobody would know."""
    weights = random_weights(WIDE, rng)
    weights["head.bias"][3] = np.nan
    with pytest.raises(BundleError, match="no numbers"):
        open_classifier(write(tmp_path / "deaf", WIDE, weights), variant)
