"""Everything a report needs, made up: synthetic scores of a few hundred cases, judged by the real evidence room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clinquant.core.predictions import Predictions
from clinquant.core.sets import PredictionSets
from clinquant.data.audit import Audit
from clinquant.data.balance import Sizes
from clinquant.data.split import Split
from clinquant.data.study import Case, Source, Study
from clinquant.evidence.claims import Claim, Role
from clinquant.evidence.evidence import ElementType, Evidence, FileFacts, IntegerAudit, Latency, Pair, TestSet
from clinquant.evidence.pair import compare_pair
from clinquant.evidence.power import decidable
from clinquant.evidence.summary import summarise

SHA = "0123456789abcdef" * 4


def sample(
    classes: Sequence[str] = ("NORMAL", "PNEUMONIA"),
    *,
    cases: int = 600,
    noise: float = 0.15,
    damage: float = 0.0,
    ids: Sequence[str] | None = None,
    external: bool = False,
    copies: bool = True,
    maps: bool = True,
    seed: int = 0,
    **overrides: Any,
) -> dict[str, Any]:
    """The arguments of `render`.

    Args:
        classes: two or more names; with two the second is the diseased one.
        cases: of the test set.
        noise: standard deviation of the integer file's logits around the float's.
        damage: taken off the last class's logit in the integer file.
        ids: of the test cases, else made from class and number.
        external: add a second test set.
        copies: let the audit have found some.
        maps: the files have class maps.
    """
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, len(classes), cases)
    names = list(ids or (f"{classes[label]}/case-{i:04d}.jpeg" for i, label in enumerate(labels)))
    tables = _tables(generator, classes, labels, names, noise, damage)
    pair = _pair("locked test set", tables, classes, seed)
    study, split = _study(classes, labels, names, generator)
    others = ()
    if external:
        others = (_pair("Another hospital", _tables(generator, classes, labels[:150], names[:150], noise, damage), classes, seed),)
    arguments = {
        "predictions": tables,
        "audit": _audit(study, names, copies),
        "study": study,
        "split": split,
        "images": picture,
        "class_maps": class_maps(len(classes)) if maps else None,
        "plan": {
            "command": "clinquant build data/cxr --out runs/cxr",
            "arch": "efficientnet_lite0",
            "size": 224,
            "margin": 0.02,
            "seed": 0,
        },
    }
    return {"evidence": _evidence(pair, classes, others), **arguments, **overrides}


def picture(case: str) -> np.ndarray:
    """A smooth made-up picture of a case, uint8 [90, 120, 3]."""
    generator = np.random.default_rng(list(case.encode()))
    x, y = np.meshgrid(np.linspace(-1, 1, 120), np.linspace(-1, 1, 90))
    cx, cy = generator.uniform(-0.4, 0.4, 2)
    grey = 230 * np.exp(-3 * ((x - cx) ** 2 + (y - cy) ** 2)) + generator.normal(0, 6, x.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def class_maps(classes: int) -> Callable[[list[str]], dict[str, np.ndarray]]:
    """Made-up class maps, float32 [k, 7, 7]."""

    def maps(cases: list[str]) -> dict[str, np.ndarray]:
        return {case: np.random.default_rng(list(case.encode())).normal(size=(classes, 7, 7)).astype(np.float32) for case in cases}

    return maps


def _tables(
    generator: np.random.Generator, classes: Sequence[str], labels: np.ndarray, names: list[str], noise: float, damage: float
) -> dict[str, Predictions]:
    before = generator.normal(0, 1, (len(labels), len(classes)))
    before[np.arange(len(labels)), labels] += 2.4
    after = before + generator.normal(0, noise, before.shape)
    after[:, -1] -= damage
    shared = {"ids": tuple(names), "groups": tuple(names), "labels": labels.astype(np.int64), "classes": tuple(classes)}
    return {
        file: Predictions(
            scores=scores.astype(np.float32), model_sha256=SHA, runtime="onnxruntime 1.32.0", device="CPU, 1 thread", **shared
        )
        for file, scores in (("float", before), ("integer", after))
    }


def _claims(classes: Sequence[str]) -> tuple[Claim, ...]:
    general = [Claim(metric="auc"), Claim(metric="accuracy")]
    if len(classes) > 2:
        return (*general, *(Claim(metric="recall", class_name=name, role=Role.SECONDARY) for name in classes))
    ends = (("sensitivity", classes[1]), ("specificity", classes[0]))
    own = [Claim(metric=metric, class_name=name, threshold="own") for metric, name in ends]
    reused = [Claim(metric=metric, class_name=name, threshold="baseline", role=Role.SECONDARY) for metric, name in ends]
    return (*general, *own, *reused)


def _pair(name: str, tables: dict[str, Predictions], classes: Sequence[str], seed: int) -> Pair:
    labels = tables["float"].labels
    by_class = {class_name: int((labels == k).sum()) for k, class_name in enumerate(classes)}
    test = TestSet(name=name, sha256=SHA, images=len(labels), units=len(labels), unit="image", images_by_class=by_class, reads=1)
    two = len(classes) == 2
    return compare_pair(
        tables["float"],
        tables["integer"],
        _claims(classes),
        test=test,
        thresholds=(0.512, 0.498) if two else (None, None),
        rule="youden" if two else "argmax",
        positive=1 if two else None,
        temperatures=(1.2, 1.25),
        refer_below=(0.62, 0.6),
        sets={file: [PredictionSets(rule="lac", coverage=0.95, at_least=(0.2,) * len(classes), cases=85)] for file in tables},
        covariates={
            "sex": {case: "FM"[len(case) % 2] for case in tables["float"].ids},
            "<b>site": dict.fromkeys(tables["float"].ids[::2], "</td>"),
        },
        bootstraps=200,
        seed=seed,
    )


def _evidence(pair: Pair, classes: Sequence[str], external: tuple[Pair, ...]) -> Evidence:
    shared = {name: getattr(pair, name) for name in Pair.__dataclass_fields__}
    return Evidence(
        **shared,
        summary=summarise(pair.findings),
        claims=_claims(classes),
        claims_sha256=SHA,
        classes=tuple(classes),
        positive=1 if len(classes) == 2 else None,
        model={
            "architecture": "efficientnet_lite0",
            "bits": "w8a8 (7-bit weights)",
            "target": "portable",
            "recipe": "mse",
            "size": 224,
            "parameters": 3_412_000,
            "weights": "ImageNet (Apache-2.0)",
        },
        files={"float": FileFacts(bytes=13_553_120, sha256=SHA), "integer": FileFacts(bytes=3_571_204, sha256=SHA[::-1])},
        latency={
            "float": Latency(median_ms=28.41, minimum_ms=27.2, maximum_ms=34.8, runs=50, megapixel_median_ms=36.9),
            "integer": Latency(median_ms=12.87, minimum_ms=12.4, maximum_ms=16.1, runs=50, megapixel_median_ms=21.2),
        },
        runtime="onnxruntime 1.32.0",
        machine="x86-64 with AVX512-VNNI, 2 cores",
        audits={
            "float": IntegerAudit(
                share_int8=0.0,
                types={"float": ElementType(macs=384_000_000, operators={"Conv": 50, "Gemm": 1}, tensors=70, constant_bytes=13_500_000)},
                uncounted=(),
                memory_bytes=13_500_000,
            ),
            "integer": IntegerAudit(
                share_int8=0.9987,
                types={
                    "float": ElementType(macs=500_000, operators={"MatMul": 1}, tensors=1, constant_bytes=9_000),
                    "int8": ElementType(constant_bytes=3_400_000),
                    "uint8": ElementType(macs=383_500_000, operators={"QLinearConv": 50}, tensors=66, constant_bytes=800),
                },
                uncounted=("Attention",),
                memory_bytes=3_409_800,
            ),
        },
        external=external,
        recipes_on_tune=(
            {"recipe": "minmax", "auc": 0.9812, "nll": 0.1423},
            {"recipe": "percentile", "auc": 0.9833, "nll": 0.1391},
            {"recipe": "mse", "auc": 0.9841, "nll": 0.1366},
            {"recipe": "entropy", "auc": 0.9838, "nll": 0.1402},
        ),
        layers_on_tune=(
            {"layer": "layer1.0.conv1", "weights": 2304, "bits": "w4a4", "w4a4": 0.0027, "w2a2": 0.0362},
            {"layer": "layer3.2.conv2", "weights": 36864, "bits": "w2a2", "w4a4": 0.0001, "w2a2": 0.0085},
        ),
        not_shown=(
            "Whether the float file itself is good enough: only the loss against it was tested.",
            "Other hospitals, scanners and age groups: every picture comes from one source.",
            "Harm or benefit to patients: no clinician used either file.",
        ),
        parents={"study": SHA, "split": SHA, "predictions_float": SHA, "predictions_integer": SHA},
        clinquant="0.1.0",
        created="2026-01-02T03:04:05Z",
    )


def _study(classes: Sequence[str], labels: np.ndarray, names: list[str], generator: np.random.Generator) -> tuple[Study, Split]:
    extra = [(f"{name}/train-{i:04d}.jpeg", k) for k, name in enumerate(classes) for i in range(1400 // len(classes))]
    rows = sorted([*zip(names, labels.tolist(), strict=True), *extra])
    cases = tuple(Case(id=case, label=int(label), sha256=SHA, width=224, height=224, mode="L") for case, label in rows)
    study = Study(
        name="Chest X-rays of children",
        task="binary" if len(classes) == 2 else "multi-class",
        classes=tuple(classes),
        positive=1 if len(classes) == 2 else None,
        source=Source(kind="folder", path="data/cxr"),
        cases=cases,
        licence="CC BY 4.0",
    )
    pool = [case for case, _ in extra]
    dropped = dict.fromkeys(pool[:24], f"exact copy of {pool[40]}")
    dropped |= dict.fromkeys(pool[24:31], f"same patient or picture as {names[0]}, which is in test")
    kept = pool[31:]
    tune = tuple(kept[:170])
    split = Split(
        train=tuple(kept[170:]),
        tune=tune,
        test=tuple(names),
        calibration=tuple(kept[170:300]),
        referral=tune[:85],
        units={case: case for case in [*kept, *names]},
        rule="Drawn by unit (patient, copies together), stratified by class: train 70% / tune 10% / test 20%.",
        seed=0,
        dropped=dropped,
        warnings=("Only 600 test images: a margin below 0.01 cannot be decided.",),
    )
    return study, split


def _audit(study: Study, names: list[str], copies: bool) -> Audit:
    ids = [case.id for case in study.cases if "train" in case.id]
    tested = set(names)
    by_class = {name: sum(case.label == k and case.id in tested for case in study.cases) for k, name in enumerate(study.classes)}
    return Audit(
        exact=tuple(tuple(ids[i : i + 2]) for i in range(0, 48, 2)) if copies else (),
        near=(tuple(ids[50:53]), tuple(ids[53:60])) if copies else (),
        edited=(),
        conflicts=((ids[0], ids[-1]),) if copies else (),
        leaks=(),
        images=len(study),
        distinct=len(study) - 32 if copies else len(study),
        units=len(study) - 32 if copies else len(study),
        balance={name: {"images": count, "units": count} for name, count in by_class.items()},
        sizes=Sizes(distinct=1, smallest="224 x 224", largest="224 x 224", commonest={"224 x 224": len(study)}),
        modes={"L": len(study)},
        margin=0.02,
        power=decidable(by_class, 0.02, study.positive),
        power_of="the given test set",
        warnings=(),
        parents={"study": SHA},
    )
