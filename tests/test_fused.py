"""The training kernels compute what plain torch computes, within rounding, and the same bytes for every number of threads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from clinquant.lab.fit import run_key
from clinquant.lab.quantize.fake_quant import LSQ, METHODS, PACT, FakeQuantizer, LSQPlus
from clinquant.lab.quantize.fused import build
from clinquant.lab.quantize.fused.execute import FusedStep
from clinquant.lab.quantize.fused.operators import ABSENT, NARROW, OWN, Clip, activation, can_fuse, weights
from clinquant.lab.quantize.qat import FakeQuantized
from clinquant.lab.quantize.trace.trace import trace
from small_training import small_plan, spots
from test_exactness import classifier, images
from test_qat import rounded

needs_compiler = pytest.mark.skipif(build.find_compiler() is None, reason="no C++ compiler here: training runs in plain torch")
SHAPES = [(2, 3, 5, 7), (3, 24, 9, 5), (2, 130, 3, 3), (1, 16, 4, 4), (4, 64, 24, 24), (5, 40, 1, 1)]
"""Among them rows that do not fill a vector, periods that end within one, and several blocks."""


@pytest.fixture
def start() -> Iterator[None]:
    build.library.cache_clear()
    yield
    build.library.cache_clear()


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def plain(
    x: Tensor, skip: Tensor | None, norm: nn.BatchNorm2d | None, clip: Clip, quantizer: nn.Module | None, where: int
) -> tuple[Tensor | None, Tensor | None]:
    """What `activation` promises, in torch's operators and the pure quantizers."""
    y = x if norm is None else norm(x)
    y = torch.clamp(y if skip is None else y + skip, clip.low, clip.high)
    q = None if quantizer is None else quantizer(y)
    return None if where == OWN else y, q


def close(found: Tensor, expected: Tensor, relative: float) -> bool:
    return float((found.double() - expected.double()).norm()) <= relative * float(expected.double().norm()) + 1e-7


def outcome(
    function: object,
    quantizer_type: type[FakeQuantizer],
    shape: tuple[int, ...],
    where: int,
    skips: bool,
    norms: bool,
    **to: torch.dtype,
):
    """Outputs, running statistics and all gradients of one operator on random data."""
    generator = torch.Generator().manual_seed(sum(shape) + where)
    x, added, of_y, of_q = (channels_last(torch.randn(shape, generator=generator)).to(**to) for _ in range(4))
    norm = nn.BatchNorm2d(shape[1]) if norms else None
    if norm is not None:
        nn.init.uniform_(norm.weight, 0.5, 1.5, generator=generator)
        nn.init.normal_(norm.bias, 0.3, 0.5, generator=generator)
    low = -3 if quantizer_type is LSQPlus else 0  # the range of LSQ+ ends within the clip's
    quantizer = quantizer_type(torch.tensor(0.113), low, low + 15) if where != ABSENT else None
    x, added = x.requires_grad_(), added.requires_grad_()
    y, q = function(x, added if skips else None, norm, Clip(low=0.0, high=2.1), quantizer, where)
    loss = sum((given.float() * out.float()).sum() for given, out in ((of_y, y), (of_q, q)) if out is not None)
    loss.backward()
    found = {"y": y, "q": q, "of_x": x.grad, "of_skip": added.grad}
    for module in (norm, quantizer):
        if module is not None:
            found |= {f"of_{name}": parameter.grad for name, parameter in module.named_parameters()}
            found |= {name: buffer.float() for name, buffer in module.named_buffers()}
    return {name: tensor.detach() for name, tensor in found.items() if tensor is not None}


@needs_compiler
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("where", [ABSENT, OWN, NARROW])
@pytest.mark.parametrize("kind", [LSQ, LSQPlus, PACT])
def test_an_operator_computes_what_torch_does(kind: type[FakeQuantizer], where: int, shape: tuple[int, ...]) -> None:
    """In float32: outputs and gradients within 2e-5 of plain torch's in norm; 1e-3 where, of over 10^5 codes, one may round otherwise."""
    limit = 2e-5 if math.prod(shape) < 10**5 else 1e-3
    for skips in (False, True):
        for norms in (False, True):
            found = outcome(activation, kind, shape, where, skips, norms)
            expected = outcome(plain, kind, shape, where, skips, norms)
            assert found.keys() == expected.keys()
            for name, tensor in expected.items():
                assert found[name].shape == tensor.shape
                assert close(found[name], tensor, limit), (name, skips, norms)


@needs_compiler
@pytest.mark.parametrize("where", [ABSENT, OWN, NARROW])
def test_in_bfloat16_only_what_goes_in_and_out_is_rounded(where: int) -> None:
    """Against float32 on the same bfloat16 input: outputs and gradients within a bfloat16 rounding (2^-8) in norm."""
    for skips in (False, True):
        found = outcome(activation, LSQ, (4, 24, 12, 12), where, skips, True, dtype=torch.bfloat16)

        expected = outcome(in_float32, LSQ, (4, 24, 12, 12), where, skips, True, dtype=torch.bfloat16)
        for name, tensor in expected.items():
            assert close(found[name], tensor, 2**-8), (name, skips)


def in_float32(
    x: Tensor, skip: Tensor | None, norm: nn.BatchNorm2d | None, clip: Clip, quantizer: nn.Module | None, where: int
) -> tuple[Tensor | None, Tensor | None]:
    """`plain` in float32, but for a narrow copy's source, which has left in bfloat16."""
    if where != NARROW or quantizer is None:
        return plain(x.float(), None if skip is None else skip.float(), norm, clip, quantizer, where)
    y = plain(x.float(), None if skip is None else skip.float(), norm, clip, None, ABSENT)[0]
    assert y is not None
    return y, quantizer(y + (y.bfloat16().float() - y).detach())


@needs_compiler
def test_without_arithmetic_before_it_a_quantizer_is_exact() -> None:
    """Values and input gradients of a quantizer alone, of activations and weights, are bit for bit those of plain torch."""
    for kind in (LSQ, LSQPlus, PACT):
        found, expected = (outcome(f, kind, (2, 24, 9, 9), OWN, False, False) for f in (activation, plain))
        assert torch.equal(found["q"], expected["q"]) and torch.equal(found["of_x"], expected["of_x"])
    generator = torch.Generator().manual_seed(0)
    layers = []
    for shape in ((8, 5, 3, 3), (24, 1, 3, 3), (7, 33, 1, 1), (4, 19)):
        weight = torch.randn(shape, generator=generator)
        weight = channels_last(weight) if weight.dim() == 4 and shape[1] == 5 else weight
        layers.append((nn.Parameter(weight), LSQ(torch.rand(shape[0], generator=generator) * 0.3 + 0.05, -7, 7, axis=0)))
    for dtype in (torch.float32, torch.bfloat16):
        made = weights(layers, dtype)
        given = [torch.randn(w.shape, generator=generator).to(dtype) for w, _ in layers]
        torch.autograd.backward(made, given)
        fused = [(w.grad, q.log_scale.grad) for w, q in layers]
        for (weight, quantizer), value, gradient, (of_weight, of_log_scale) in zip(layers, made, given, fused, strict=True):
            weight.grad = quantizer.log_scale.grad = None
            expected = quantizer(weight)
            expected.backward(gradient.float())
            assert torch.equal(value, expected.to(dtype)) and torch.equal(of_weight, weight.grad)
            assert close(of_log_scale, quantizer.log_scale.grad, 1e-5)
            weight.grad = quantizer.log_scale.grad = None


@needs_compiler
def test_threads_do_not_change_a_bit() -> None:
    threads = torch.get_num_threads()
    try:
        for dtype in (torch.float32, torch.bfloat16):
            seen = []
            for count in (1, 2, 3):
                torch.set_num_threads(count)
                seen.append(outcome(activation, LSQ, (4, 64, 24, 24), OWN, True, True, dtype=dtype))
            for name, tensor in seen[0].items():
                assert all(torch.equal(tensor, other[name]) for other in seen[1:]), name
    finally:
        torch.set_num_threads(threads)


@needs_compiler
def test_instruction_sets_do_not_change_a_bit(start: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels for any processor give what those for this one do."""
    cases = [(kind, where, dtype) for kind in (LSQ, PACT) for where in (OWN, NARROW) for dtype in (torch.float32, torch.bfloat16)]
    native = [outcome(activation, kind, (4, 24, 24, 24), where, True, True, dtype=dtype) for kind, where, dtype in cases]
    monkeypatch.setattr(build, "EXTRAS", (("-O0", "-fopenmp"), ("-O0",)))  # a third of the time to compile
    build.library.cache_clear()
    for (kind, where, dtype), expected in zip(cases, native, strict=True):
        found = outcome(activation, kind, (4, 24, 24, 24), where, True, True, dtype=dtype)
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items()), (kind, where, dtype)


@needs_compiler
def test_a_nan_stays_one() -> None:
    """Divergence must show in the loss."""
    x = channels_last(torch.full((1, 4, 2, 2), float("nan")))
    assert torch.isnan(activation(x, None, None, Clip(low=0.0), LSQ(torch.tensor(1.0), 0, 15), OWN)[1]).all()


def fake_quantized(name: str, method: str = "lsq", bits: str = "w4a4") -> FakeQuantized:
    source = classifier(name)
    begun = rounded(source, images(source.card.preprocess.size, 4, 1), bits)
    return FakeQuantized(trace(source.module), begun, method).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload, no-any-return]


@needs_compiler
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["branches", "plain", "small_hard_swish"])
def test_a_network_s_step_is_that_of_plain_torch(name: str, method: str) -> None:
    """In float32 logits, gradients and running statistics of one step agree within 1e-4 in norm."""
    seen = []
    for fused in (True, False):
        module = fake_quantized(name, method)
        if not fused:
            module.fused = None
        size = classifier(name).card.preprocess.size
        logits = module(channels_last(torch.randn(8, 3, size, size, generator=torch.Generator().manual_seed(1))))
        torch.nn.functional.cross_entropy(logits, torch.arange(8) % logits.shape[1]).backward()
        gradients = {key: parameter.grad for key, parameter in module.named_parameters()}
        seen.append({"logits": logits.detach(), **gradients, **{key: buffer.float() for key, buffer in module.named_buffers()}})
    largest = max(float(tensor.norm()) for tensor in seen[1].values())
    for key, tensor in seen[1].items():
        assert float((seen[0][key] - tensor).norm()) <= 1e-4 * float(tensor.norm()) + 1e-7 * largest, key


@needs_compiler
@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2", "efficientnet_lite0"])
def test_every_batch_norm_and_quantizer_of_the_zoo_is_in_a_kernel(name: str) -> None:
    module = fake_quantized(name)
    step = FusedStep(module)
    norms = {node.name for node in module.network if node.op == "batch_norm"}
    assert {chain.norm for chain in step.chains.values() if chain.norm} == norms
    last = {chain.last for chain in step.chains.values()}
    assert set(step.written) <= last and set(step.written) | set(step.copied) <= last and len(step.weighted) == len(module.inner)
    sums = {node.name for node in module.network if node.op == "add"}
    assert sums <= {node.name for chain in step.chains.values() if chain.norm for node in chain.members}


@needs_compiler
def test_other_layouts_and_devices_are_left_to_torch() -> None:
    x = torch.randn(2, 8, 4, 4)
    assert can_fuse(channels_last(x)) and not can_fuse(x) and not can_fuse(channels_last(x).double()) and not can_fuse(x[0])
    module = fake_quantized("plain")
    seen = []
    for layout in (torch.channels_last, torch.contiguous_format):
        pixels = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
        seen.append(module.to(memory_format=layout)(pixels).detach())  # type: ignore[call-overload]
    assert torch.allclose(*seen, atol=1e-4)


def test_without_kernels_torch_trains_and_the_run_is_another(
    start: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("CLINQUANT_FUSED", "0")
    module = fake_quantized("plain")
    assert module.fused is None and module.arithmetic == "torch"
    sets = (spots(8, 1), spots(8, 2))
    without = run_key(module, *sets, small_plan())
    monkeypatch.setattr(FakeQuantized, "arithmetic", "fused 0123")
    assert run_key(module, *sets, small_plan()) != without
    monkeypatch.delenv("CLINQUANT_FUSED")
    build.library.cache_clear()
    monkeypatch.setenv("CXX", "false")
    monkeypatch.setenv("CLINQUANT_CACHE", str(tmp_path))
    assert build.library() is None and "plain torch" in caplog.text
    monkeypatch.setenv("CXX", str(tmp_path / "absent"))
    build.library.cache_clear()
    assert build.library() is None
