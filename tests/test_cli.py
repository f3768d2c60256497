"""The command line: quick help, one-line errors with codes and fixes, documented exit codes, nothing but JSON with --json."""

from __future__ import annotations

import errno
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from clinquant.cli import main as main_module
from clinquant.cli.failures import explain
from clinquant.cli.main import COMMANDS, cli, run
from clinquant.cli.progress import progress
from clinquant.core.errors import ClinquantError
from tiny_bundle import write_bundle, write_pictures

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    write_bundle(folder)
    write_pictures(folder / "pictures", each=2)
    return folder


def seconds(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def test_help_is_quick() -> None:
    """Under .3 s where bare Python starts in .03 s: as a difference and a ratio, so that a busy machine does not decide."""
    bare = statistics.median(seconds("-c", "pass") for _ in range(5))
    helped = statistics.median(seconds("-m", "clinquant.cli.main", "--help") for _ in range(5))
    assert helped - bare < 0.27 or helped / bare < 10


def test_predict_answers_from_a_cold_start(folder: Path) -> None:
    bare = statistics.median(seconds("-c", "import onnxruntime") for _ in range(3))
    picture = str(folder / "pictures" / "dark" / "dark0.png")
    cold = statistics.median(seconds("-m", "clinquant.cli.main", "predict", str(folder / "bundle"), picture) for _ in range(3))
    assert cold < 1.5 or cold / bare < 4


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_is_one_verb(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert f"clinquant {name}" in capsys.readouterr().out


OWN_MEANING = (("bench", "size"), ("demo", "out"), ("app", "out"), ("study", "arch"))


def test_shared_options_mean_the_same_everywhere() -> None:
    context = click.Context(cli)
    declared: dict[str, set[tuple[str, str]]] = {}
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        for option in command.params:
            if isinstance(option, click.Option) and (name, option.name) not in (
                ("bench", "size"),
                ("demo", "out"),
                ("app", "out"),
                ("study", "arch"),
            ):
                declared.setdefault(option.opts[0], set()).add((str(option.default), str(option.help)))
    assert {option: says for option, says in declared.items() if len(says) > 1} == {}


def test_the_bare_command_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0 and "Start with: clinquant build" in capsys.readouterr().out


def test_the_reference_is_what_help_says() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    import make_cli

    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == make_cli.reference(), "run 'make docs'"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["verfy"], 2, "Did you mean 'verify'?"),
        (["verify", "x", "--jsn"], 2, "did you mean --json?"),
        (["build", "x", "--epoch", "3"], 2, "did you mean --epochs?"),
        (["verify"], 2, "Missing argument 'BUNDLE'"),
        (["verify", "nowhere"], 4, "error[bundle-missing]"),
        (["predict", "nowhere", "x.png"], 4, "error[bundle-missing]"),
        (["bench", "nowhere.onnx"], 2, "error[model-unreadable]"),
        (["bench", "x", "--runs", "many"], 2, "'many' is not a valid"),
    ],
)
def test_a_mistake_is_one_line_and_a_fix(arguments: list[str], code: int, says: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == code
    out, err = capfd.readouterr()
    first, second = err.splitlines()
    assert first.startswith("error[") and second.startswith("fix: ") and says in err
    assert out == ""


def test_with_json_an_error_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "nowhere", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "bundle-missing"


def test_json_is_one_versioned_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["verify", str(folder / "bundle")],
        ["predict", str(folder / "bundle"), str(folder / "pictures")],
        ["doctor"],
        ["runtimes"],
        ["methods"],
    ):
        assert run([*arguments, "--json"]) == 0
        captured = capsys.readouterr()
        body = json.loads(captured.out)
        assert body["format"].startswith("clinquant/") and body["version"] == 1
        assert captured.err == ""


def test_every_method_is_told_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", "--json"]) == 0
    kinds = {kind: names for kind, names in json.loads(capsys.readouterr().out).items() if isinstance(names, dict)}
    assert "fake quantizers of weights" in kinds and not [
        (kind, name) for kind, names in kinds.items() for name, says in names.items() if not says
    ]


def test_predict_says_class_probability_and_refer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", str(folder / "bundle"), str(folder / "pictures" / "*" / "*0.png")]) == 0
    head, bright, dark = capsys.readouterr().out.splitlines()
    assert head == "image,class,probability,refer,set,probability:dark,probability:bright"
    assert ",bright,0.9" in bright and ",dark,0.9" in dark


def test_a_fault_of_ours_is_one_line_and_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a\nfault")

    monkeypatch.setattr(main_module.cli, "main", fail)
    assert run(["doctor"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error[internal]: a fault of clinquant: RuntimeError: a fault"
    path = Path(second.rpartition(" ")[2].rstrip("."))
    assert "raise RuntimeError" in path.read_text()
    path.unlink()


@pytest.mark.parametrize(
    ("error", "code", "exit_code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x"), "disk-full", 5),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "output-unwritable", 5),
        (OSError(errno.EROFS, "Read-only file system", "x"), "output-unwritable", 5),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk-full", 5),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), "internal", 1),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "extra-missing", 5),
        (ModuleNotFoundError("No module named 'safetensors'", name="safetensors.torch"), "extra-missing", 5),
        (ModuleNotFoundError("No module named 'clinquant.x'", name="clinquant.x"), "internal", 1),
        (KeyboardInterrupt(), "interrupted", 130),
        (click.Abort(), "interrupted", 130),
        (MemoryError(), "memory-full", 5),
        (ClinquantError("one-class", "m", fix="f"), "one-class", 2),
    ],
)
def test_every_way_to_fail_has_its_code(error: BaseException, code: str, exit_code: int) -> None:
    failure = explain(error)
    assert (failure.code, int(failure.exit_code)) == (code, exit_code)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_the_output_is_told() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "clinquant.cli.main", "doctor"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 5 and done.stderr.startswith("error[disk-full]") and "Traceback" not in done.stderr


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(f"{sys.executable} -m clinquant.cli.main methods | true", shell=True, capture_output=True, text=True)
    assert done.stderr == ""


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(folder: Path) -> None:
    loaded = "import clinquant.edge.bench, clinquant.edge.integer_audit, clinquant.cli.main"  # so that no import is interrupted
    program = f"{loaded}; print('loaded', flush=True); clinquant.cli.main.main()"
    command = [sys.executable, "-c", program, "bench", str(folder / "integer.onnx"), "--size", "16", "--runs", "100000000"]
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}  # a shell's background job would ignore it
    with subprocess.Popen(  # type: ignore[call-overload]
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, **heard
    ) as process:
        assert process.stdout.readline() == "loaded\n"
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        try:
            _, err = process.communicate(timeout=20)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert "run the same command again" in err


def test_progress_tells_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 15.0, 20.0, 40.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with progress("train") as tick:
        for done in (1, 3, 4, 4):  # the end is told once
            tick(done, 4)
    assert capsys.readouterr().err.splitlines() == ["train: 3/4, 5 s left", "train: 4/4, 0 s left"]
    with progress("train", quiet=True) as tick:
        tick(1, 1)
    assert capsys.readouterr().err == ""


def test_compare_exits_with_3_when_not_proven(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = str(folder / "test.float.csv")
    assert run(["compare", same, same]) == 3, "20 patients cannot show a margin of .02"
    assert "INCONCLUSIVE" in capsys.readouterr().out
    assert run(["compare", same, same, "--margin", ".3", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["verdict"] == "NON_INFERIOR" and {finding["difference"] for finding in body["findings"]} == {0.0}


def test_compare_recomputes_a_bundle(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", str(folder / "bundle")]) in (0, 3)
    assert "sensitivity" in capsys.readouterr().out


def test_evaluate_prints_both_thresholds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", str(folder / "bundle"), str(folder / "pictures")]) == 0
    out = capsys.readouterr().out
    assert "at the bundle's threshold 0.5000" in out and "auc" in out
