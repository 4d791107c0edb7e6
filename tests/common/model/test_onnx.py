"""Exported models: ONNX Runtime gives what torch gives, and a file of somebody else is told, not run."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from carousel.common.cli.models import export_model
from carousel.common.errors import InputError, UsageError
from carousel.common.lstm import LSTMStack
from carousel.common.lstm.cells import VARIANTS
from carousel.common.model import file as model_file
from carousel.common.model.catalogue import describe, open_model
from carousel.common.model.file import Model
from carousel.common.text.alphabet import Alphabet
from tests.common.lstm.test_stack import filled
from tests.common.test_network import FRONTS, SIZE, STRIDES, network

onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
runtime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")

from carousel.common.model import onnx_run as onnx_file  # noqa: E402
from carousel.common.model.onnx_export import FLOAT, INT64, Graph, _recurrent, export  # noqa: E402

OPERATORS = [c for c in VARIANTS if c not in ("fgr", "layer_norm", "time_aware")]  # those that ONNX has
EXPORTED = ("conv1d", "conv2d", "stack")
ALPHABET = Alphabet("abcdefghé ")
LENGTHS = (40, 1, 27, 13, 40, 2)


def model(front: str = "stack", cell: str = "peephole", **more) -> Model:
    settings = {"hidden": 8, "layers": 2, "cell": cell, "dropout": 0.3} | FRONTS[front] | more
    return Model(
        *(network(front, cell, **more).requires_grad_(False), ALPHABET, "ink", {"kind": "ink"}, settings),
        *(SIZE, {"decoder": "beam"}, {"name": "m", "licence": "CC0"}),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    export(model(), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def altered(path: Path, change) -> Path:
    """The file after change(proto)."""
    proto = onnx.load(path)
    change(proto)
    other = path.with_name("altered.onnx")
    other.write_bytes(proto.SerializeToString())
    return other


@pytest.mark.parametrize("front", EXPORTED)
@pytest.mark.parametrize("cell", ["lstm", "peephole"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_log_probabilities_are_the_networks_on_ragged_batches(front, cell, bidirectional, tmp_path: Path):
    ours = model(front, cell, bidirectional=bidirectional)
    assert 0 <= export(ours, tmp_path / "m.onnx") < 1e-5
    theirs = onnx_file.load(tmp_path / "m.onnx")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(0, 3, (n, SIZE)).astype(np.float32) for n in LENGTHS]
    for batch in (arrays, arrays[3:4]):  # any number of rows, any number of frames
        for a, b in zip(ours.log_probs(batch), theirs.log_probs(batch), strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    assert theirs.stride == STRIDES[front]


@pytest.mark.parametrize("front", EXPORTED)
def test_what_stands_in_the_padding_is_not_looked_at(front: str, tmp_path: Path):
    export(model(front), tmp_path / "m.onnx")
    session = runtime.InferenceSession((tmp_path / "m.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(size=(2, 20, SIZE)).astype(np.float32)
    x[1, 9:] = np.nan
    lengths = np.array([20, 9])
    log_probs, out_lengths = session.run(None, {"features": x, "lengths": lengths})
    (alone, _) = session.run(None, {"features": x[1:, :9], "lengths": lengths[1:]})
    assert out_lengths.tolist() == [-(-20 // STRIDES[front]), -(-9 // STRIDES[front])]
    np.testing.assert_allclose(log_probs[1, : out_lengths[1]], alone[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", OPERATORS)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_stack_is_onnx_runtimes_over_several_layers(cell: str, bidirectional: bool):
    stack = filled(LSTMStack(5, 6, 3, cell, bidirectional))
    graph = Graph()
    _recurrent(graph, stack, "x", "lengths")
    graph.nodes[-1].output[0] = "y"
    value = onnx.helper.make_tensor_value_info
    ends = [value("x", FLOAT, [None, None, 5]), value("lengths", INT64, [None])]
    whole = onnx.helper.make_graph(
        graph.nodes, "stack", ends, [value("y", FLOAT, [None] * 3)], graph.constants
    )
    proto = onnx.helper.make_model(whole, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto, full_check=True)
    session = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    lengths = torch.tensor([9, 3, 0, 12, 1, 12])
    x = torch.randn(6, 12, 5, generator=torch.Generator().manual_seed(1))
    (y,) = session.run(None, {"x": x.numpy(), "lengths": lengths.numpy()})
    torch.testing.assert_close(stack(x, lengths), torch.from_numpy(y), rtol=0, atol=1e-5)


def test_the_file_is_standard_and_needs_no_other(path: Path):
    proto = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(proto, full_check=True)
    lstm = [node for node in proto.graph.node if node.op_type == "LSTM"]
    assert len(lstm) == 2 and all(len(node.input) == 8 for node in lstm)  # the last is P
    assert [d.dim_param for d in proto.graph.input[0].type.tensor_type.shape.dim] == ["batch", "frames", ""]


def test_the_description_comes_along(path: Path):
    loaded = onnx_file.load(path)
    ours = model()
    for name in ("alphabet", "domain", "features", "network_settings", "size", "decoder", "card", "device"):
        assert getattr(loaded, name) == getattr(ours, name)
    assert describe(path)["alphabet"] == "abcdefghé " and describe(path)["licence"] == "CC0"
    empty, short = loaded.log_probs([np.zeros((0, SIZE), np.float32), np.zeros((2, SIZE), np.float32)])
    assert empty.shape == (0, 11) and short.shape == (1, 11)
    assert loaded.log_probs([np.zeros((0, SIZE), np.float32)])[0].shape == (0, 11)
    assert loaded.log_probs([]) == []


def test_a_file_quantised_by_onnx_runtime_is_read_too(path: Path, tmp_path: Path, caplog):
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(path, tmp_path / "small.onnx")
    assert "com.microsoft" in {node.domain for node in onnx.load(tmp_path / "small.onnx").graph.node}
    x = np.random.default_rng(0).normal(size=(30, SIZE)).astype(np.float32)
    exact, rough = (onnx_file.load(p).log_probs([x])[0] for p in (path, tmp_path / "small.onnx"))
    assert 0 < np.abs(exact - rough).max() < 0.2


def test_damaged_foreign_and_missing_files_are_named(path: Path, tmp_path: Path):
    whole = path.read_bytes()
    cases = {
        "cut.onnx": (whole[: len(whole) // 2], "not an ONNX file, or a damaged one"),
        "text.onnx": (b"hello, this is no model at all" * 10, "not an ONNX file, or a damaged one"),
        "empty.onnx": (b"", "not of Carousel; give one that `asr export` or `hwr export` has written"),
    }
    for name, (content, said) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: .*{said}"):
            onnx_file.load(tmp_path / name)
    for name in ("gone.onnx", "."):
        with pytest.raises(InputError, match="cannot be read"):
            onnx_file.load(tmp_path / name)
    with pytest.raises(InputError, match="can be run, not trained on"):
        model_file.load(path)
    with pytest.raises(InputError, match="an ONNX file already"):
        export(onnx_file.load(path), tmp_path / "again.onnx")


def test_a_file_without_a_description_is_refused(path: Path):
    def foreign(proto):
        del proto.metadata_props[:]

    with pytest.raises(InputError, match=r"altered.onnx: an ONNX file, but not of Carousel"):
        onnx_file.read_header(altered(path, foreign))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 99}, "has format 99"),
        ({"domain": "smell"}, "damaged"),
        ({"alphabet": ["a"]}, "does not fit its description"),
        ({"alphabet": ["a", "a"]}, "makes no network"),
        ({"size": 6}, "does not fit its description"),
        ({"network": {}}, "makes no network"),
        ({"network": {"front": "stack", "stride": 3, "hidden": 8, "layers": 10**9}}, "makes no network"),
        ({"network": {"front": "stack", "stride": 1, "hidden": 8, "layers": 2}}, "gives float32"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(path: Path, changes: dict, said: str):
    def describe_anew(proto):
        (item,) = proto.metadata_props
        item.value = json.dumps({**json.loads(item.value), **changes})

    with pytest.raises(InputError, match=said) as caught:
        onnx_file.load(altered(path, describe_anew)).log_probs([np.zeros((9, SIZE), np.float32)])
    assert str(caught.value).startswith(str(path.with_name("altered.onnx")))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def external(proto):
    tensor = proto.graph.initializer[-1]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")


def external_in_a_node(proto):
    tensor = onnx.helper.make_tensor("t", FLOAT, [1], [0.0])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    proto.graph.node.append(onnx.helper.make_node("Constant", [], ["unused"], value=tensor))


def larger(proto):
    proto.graph.initializer[-1].dims[0] *= 1000


def negative(proto):
    tensor = proto.graph.initializer[-1]
    tensor.dims[:] = [-1, -len(tensor.raw_data) // 4]


def hollow(proto):
    tensor = proto.graph.initializer[-1]
    tensor.ClearField("raw_data")
    tensor.dims[:] = [10**12]


def foreign_operator(proto):
    proto.graph.node[0].domain = "example.org"
    proto.opset_import.add(domain="example.org", version=1)


def function(proto):
    proto.functions.add(name="f", domain="")


def branch(proto):
    inner = onnx.helper.make_graph([], "inner", [], [])
    proto.graph.node.append(onnx.helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner))


def another_input(proto):
    proto.graph.input.append(onnx.helper.make_tensor_value_info("more", FLOAT, [1]))


def unknown_operator(proto):
    proto.graph.node[0].op_type = "Telepathy"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (external, "lies in another file"),
        (external_in_a_node, "lies in another file"),
        (larger, "bytes for"),
        (negative, "bytes for"),
        (hollow, "ONNX Runtime cannot load it"),
        (foreign_operator, "operators of example.org"),
        (function, "operators of the file itself"),
        (branch, "loops, branches"),
        (another_input, r"does not fit its description \(more\)"),
        (unknown_operator, "ONNX Runtime cannot load it"),
    ],
)
def test_a_graph_that_is_unsafe_or_broken_is_refused(path: Path, change, said: str):
    with pytest.raises(InputError, match=said) as caught:
        onnx_file.load(altered(path, change))
    assert str(caught.value).startswith(str(path.with_name("altered.onnx")))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_network_that_fails_while_it_runs_is_told(path: Path):
    def misfit(proto):
        node = next(n for n in proto.graph.node if n.op_type == "Pad")
        node.input[1] = proto.graph.initializer[0].name

    with pytest.raises(InputError, match=r"altered.onnx: (its network cannot be run|ONNX Runtime cannot)"):
        onnx_file.load(altered(path, misfit)).log_probs([np.zeros((9, SIZE), np.float32)])


@pytest.mark.parametrize("operator", ["Softmax", "Abs", "Identity"])
def test_what_a_network_gives_must_be_log_probabilities(path: Path, operator: str):
    """Probabilities, positive numbers and scores before the softmax make a text too, and a wrong one."""

    def other(proto):
        (node,) = (n for n in proto.graph.node if n.op_type == "LogSoftmax")
        if operator == "Abs":
            last = onnx.helper.make_node("Abs", ["positive"], [node.output[0]])
            node.output[0] = "positive"
            proto.graph.node.append(last)
        else:
            node.op_type = operator
            del node.attribute[operator == "Softmax" :]

    broken = onnx_file.load(altered(path, other))
    with pytest.raises(InputError, match=r"altered.onnx: its network gives numbers that are not log-prob"):
        broken.log_probs([np.random.default_rng(0).normal(size=(9, SIZE)).astype(np.float32)])


def test_what_onnx_has_no_operator_for_is_told(tmp_path: Path):
    for settings, said in (
        ({"cell": "fgr"}, "network.cell=fgr cannot"),
        ({"cell": "layer_norm"}, "network.cell=layer_norm cannot"),
        ({"projection": 3, "zoneout": [0.1, 0]}, "network.projection and network.zoneout cannot"),
    ):
        with pytest.raises(InputError, match=f"{said} be exported"):
            export(model(**settings), tmp_path / "m.onnx")
    with pytest.raises(InputError, match="front end MultiDimensional cannot be exported"):
        export(model("mdlstm"), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_where_the_exported_network_would_differ(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(
        "carousel.common.model.onnx_export._reordered", lambda gates, *orders: gates.detach()
    )  # as they are
    with pytest.raises(InputError, match=r"m.onnx: not written, as ONNX Runtime's .* differ by"):
        export(model(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_extra_it_is_named(package: str, path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"pip install 'carousel-ctc\[onnx\]'"):
        onnx_file.load(path)
    if package == "onnx":
        with pytest.raises(InputError, match=r"pip install 'carousel-ctc\[onnx\]'"):
            export(model(), path)


def test_a_device_that_is_not_there_is_wrong_usage(path: Path, monkeypatch):
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UsageError, match="--device cuda"):
        open_model(str(path), path.parent, ["ink"], "cuda")
    assert open_model(str(path), path.parent, ["ink"], "auto").stride == 3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_of_its_own_is_wrong_usage(precision: str, path: Path):
    with pytest.raises(UsageError, match=f"--precision {precision}: {path}"):
        open_model(str(path), path.parent, ["ink"], precision=precision)


def test_targets_that_cannot_be_are_wrong_usage(tmp_path: Path):
    for target in (tmp_path / "m.safetensors", tmp_path / "gone" / "m.onnx"):
        with pytest.raises(UsageError, match=str(target)):
            export_model("m", target, tmp_path, ["ink"])


@pytest.mark.parametrize("room", ["asr", "hwr"])
def test_shipped_models_read_the_samples_alike(room: str, tmp_path: Path, capsys):
    if room == "asr":
        from carousel.asr import cli

        verb, pairs = "transcribe", {"speech-en-commands": ["digits.wav", "phrase.wav"]}
    else:
        from carousel.hwr import cli

        verb, pairs = "recognise", {"lines-latin": ["line.png"], "ink-en": ["word.json"]}
    for name, samples in pairs.items():
        exported = str(tmp_path / f"{name}.onnx")
        assert cli.main(["export", name, exported]) == 0
        assert capsys.readouterr().out.startswith(f"{exported}: {name}, ")
        inputs = [str(cli.PROGRAM.domains[0].samples / sample) for sample in samples]
        texts = []
        for choice in (name, exported):
            assert (
                cli.main([verb, *inputs, "--model", choice, "--lm", "none"]) == 0
            )  # as the export has none beside it
            texts.append(capsys.readouterr().out)
        assert texts[0] == texts[1] and texts[0].strip()
        assert cli.main(["models", exported, "--json"]) == 0
        assert name in {entry["name"] for entry in json.loads(capsys.readouterr().out)}


def test_evaluate_takes_an_exported_model(tmp_path: Path, capsys):
    from carousel.hwr import cli

    manifest = tmp_path / "m.jsonl"
    picture = (cli.PROGRAM.domains[0].samples / "line.png").resolve()
    manifest.write_text(json.dumps({"image": str(picture), "text": "Seven letters"}) + "\n")
    assert cli.main(["export", "lines-latin", str(tmp_path / "m.onnx")]) == 0
    capsys.readouterr()
    rates = []
    for choice in ("lines-latin", str(tmp_path / "m.onnx")):
        assert cli.main(["evaluate", str(manifest), "--model", choice, "--json"]) == 0
        rates.append(json.loads(capsys.readouterr().out)["cer"])
    assert rates[0] == rates[1]


def test_another_domain_is_refused(path: Path):
    with pytest.raises(InputError, match="reads pen strokes, and recordings are to be read"):
        open_model(str(path), path.parent, ["speech"])
