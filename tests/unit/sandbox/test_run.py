"""Code in the real bubblewrap: what it cannot reach, what ends it, and what is told of how it ended."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_trex.models import FailureClass
from hpc_trex.sandbox import CodeFailed, Limits, Ran, SandboxMissing, choose, run
from hpc_trex.sandbox.listener import listening

RUNG = choose("bwrap")
ROW = {"prompt": "2+2", "answer": "4", "source": "a", "row_id": "a:1"}
QUICK = Limits(seconds=20, memory_bytes=2**28, output_bytes=2**22)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def work_folders() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("hpc-trex-python-*"))


def ran(code: str, rows: list[dict[str, str]] | None = None, limits: Limits = QUICK, **options: object) -> Ran:
    return run(code, rows or [ROW], limits, RUNG, **options)  # type: ignore[arg-type]


def told(code: str, rows: list[dict[str, str]] | None = None, limits: Limits = QUICK) -> str:
    """What the failure of the code says."""
    with pytest.raises(CodeFailed) as error:
        ran(code, rows, limits)
    assert error.value.failure is FailureClass.DATA
    assert work_folders() == [], "the work folder is removed, whatever happened"
    return error.value.message


def result(body: str) -> object:
    """What an expression inside the sandbox gives, as text."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return ran(f"import os, socket, sys\ndef transform(row):\n{lines}\n").answers[0]


# ---- walls -------------------------------------------------------------------------------------------------------------


def test_a_server_on_this_machine_cannot_be_reached() -> None:
    with listening() as port:
        probe = f"s = socket.socket()\ns.settimeout(2)\ns.connect(('127.0.0.1', {port}))"
        assert "PermissionError" in told(f"import socket\ndef transform(row):\n    {'; '.join(probe.splitlines())}\n")


def test_the_network_is_another_one_even_where_calls_are_not_filtered(tmp_path: Path) -> None:
    """The same command with a program of ours instead: sockets can be opened there, and lead nowhere."""
    with listening() as port:
        source = (
            f"import socket\ns = socket.socket()\nprint(s.connect_ex(('127.0.0.1', {port})), socket.if_nameindex())"
        )
        done = subprocess.run(RUNG.command(tmp_path, source), capture_output=True, text=True, check=True, env={})
    code, interfaces = done.stdout.split(" ", 1)
    assert int(code) != 0
    assert "eth" not in interfaces


def test_files_outside_cannot_be_seen(tmp_path: Path) -> None:
    secret = tmp_path / "sealed-test.jsonl"
    secret.write_text("42")
    for path in (
        secret,
        tmp_path,
        Path(__file__),
        Path.cwd(),
        Path("/proc/self/environ"),
        Path("/sys"),
        Path("/etc/passwd"),
    ):
        assert result(f"return os.path.exists({str(path)!r})") is False, path
    assert result("return sorted(os.listdir('/sandbox'))") == []
    assert result("return os.getcwd(), os.path.expanduser('~')") == ["/sandbox", "/sandbox"]


def test_the_home_holds_nothing_but_the_way_to_the_interpreter() -> None:
    home = Path.home()
    way = Path(sys.base_prefix).resolve()
    here = {way.relative_to(home).parts[0]} if way.is_relative_to(home) else set()
    assert set(result(f"return os.listdir({str(home)!r}) if os.path.exists({str(home)!r}) else []")) == here


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "OPENAI_API_KEY", "HF_TOKEN", "PYTHONPATH", "LD_PRELOAD_X", "HPC_TREX_HOME"):
        monkeypatch.setenv(name, "/secret-value")
    found = result("return dict(os.environ)")
    assert set(found) - {"LD_LIBRARY_PATH", "PWD"} == {
        "HOME", "TMPDIR", "LANG", "PATH", "PYTHONHASHSEED", "PYTHONSAFEPATH", "PYTHONNOUSERSITE",
    }  # fmt: skip
    assert "secret-value" not in json.dumps(found)


def test_only_the_work_folder_can_be_written() -> None:
    body = "import sys\nfound = []\nfor folder in ('/', '/usr', '/dev', '/dev/shm', '/tmp', '/etc', '/root', sys.base_prefix, '/sandbox'):\n"
    body += "    try:\n        open(folder + '/x', 'w').close(); found.append(folder)\n    except OSError:\n        pass\nreturn found"
    assert result(body) == ["/sandbox"]


def test_no_other_process_is_seen_or_signalled() -> None:
    victim = subprocess.Popen(["sleep", "60"])
    try:
        assert result(f"try:\n    os.kill({victim.pid}, 9)\nexcept ProcessLookupError:\n    return 'none'") == "none"
        ran("import os\ndef transform(row):\n    try: os.kill(1, 9)\n    except OSError: pass\n")
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


@pytest.mark.parametrize(
    "body",
    [
        "os.fork()",
        "subprocess.run(['/bin/ls'])",
        "os.posix_spawn('/bin/ls', ['ls'], {})",
        "threading.Thread(target=print).start()",
        "ctypes.CDLL(None).syscall(435, 0, 0) == -1 and 1 / 0",
        "socket.socketpair()",
        "ctypes.CDLL(None).unshare(0x10000000) == -1 and 1 / 0",
        "os.memfd_create('x')",
        "resource.setrlimit(resource.RLIMIT_DATA, (-1, -1))",
    ],
)
def test_what_makes_processes_sockets_and_name_spaces_is_refused(body: str) -> None:
    code = (
        f"import ctypes, os, resource, socket, subprocess, threading\ndef transform(row):\n    {body}\n    return row\n"
    )
    assert "row 1 of 1 (a:1)" in told(code)


def test_site_packages_are_not_there_and_hashes_are_the_same_each_time() -> None:
    assert "ModuleNotFoundError" in told("import numpy\ndef transform(row): return row")
    code = "import random\ndef transform(row):\n    return {'hash': hash('a'), 'drawn': random.random(), 'set': list({'a', 'b', 'c', 'd'})}"
    first = ran(code, seed=7).answers
    assert ran(code, seed=7).answers == first
    assert ran(code, seed=8).answers != first


# ---- limits ------------------------------------------------------------------------------------------------------------


def test_an_endless_loop_is_ended_in_time() -> None:
    began = time.monotonic()
    assert told("def transform(row):\n    while True: pass", limits=QUICK._replace(seconds=1)).endswith(
        "ran longer than 1 s"
    )
    assert time.monotonic() - began < 5


def test_code_that_swallows_every_exception_and_signal_is_ended_all_the_same() -> None:
    code = (
        "import signal, time\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        "def transform(row):\n    while True:\n        try: time.sleep(60)\n        except BaseException: pass\n"
    )
    assert "ran longer than" in told(code, limits=QUICK._replace(seconds=1))


def test_a_fork_bomb_makes_no_process_at_all() -> None:
    before = len(psutil.pids())
    code = "import os\ndef transform(row):\n    while True:\n        try: os.fork()\n        except OSError: pass\n"
    assert "ran longer than" in told(code, limits=QUICK._replace(seconds=1))
    assert len(psutil.pids()) < before + 20


def test_where_calls_cannot_be_filtered_the_watch_ends_code_that_starts_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As root the kernel's limit on processes does not count either: nothing but the watch is left."""
    module = importlib.import_module("hpc_trex.sandbox.run")
    text = module.program().replace("platform.machine()", "'vax'")
    monkeypatch.setattr(module, "program", lambda: text)
    assert ran("def transform(row): return row").walls == {"calls": False}
    code = "import os, time\ndef transform(row):\n    for n in range(30):\n        if os.fork() == 0: time.sleep(60)\n    time.sleep(60)"
    message = told(code)
    assert "started processes" in message or "Resource temporarily unavailable" in message
    assert not [one for one in psutil.Process().children(recursive=True) if one.is_running() and one.name() == "bwrap"]


def test_a_memory_hog_is_stopped() -> None:
    hog = "def transform(row):\n    held = []\n    while True: held.append(bytearray(1 << 20))"
    assert "MemoryError" in told(hog)
    shared = "import mmap\ndef transform(row):\n    held = []\n    while True:\n        held.append(mmap.mmap(-1, 1 << 24)); held[-1].write(b'x' * (1 << 24))"
    assert "Cannot allocate memory" in told(shared) or "used more memory" in told(shared)


def test_the_watch_ends_what_passes_a_limit_that_the_kernel_did_not_hold() -> None:
    """As root, and for shared memory, some of the kernel's limits do not count: here the watch's own is lower."""
    code = "import time\nheld = bytearray(150 << 20)\ndef transform(row): time.sleep(30)"
    from hpc_trex.sandbox import watch

    process = subprocess.Popen([sys.executable, "-c", "held = bytearray(200 << 20); input()"], stdin=subprocess.PIPE)
    try:
        wait = time.monotonic() + 10
        looked = watch.Watch(process.pid, Path(__file__).parent, QUICK._replace(memory_bytes=2**26))
        while not looked.trouble() and time.monotonic() < wait:
            time.sleep(0.05)
        assert "used more memory" in looked.trouble()
        looked.kill()
        assert process.wait(5) == -signal.SIGKILL
    finally:
        process.kill()
        process.communicate()
    assert "MemoryError" in told(code, limits=QUICK._replace(memory_bytes=2**27))


def test_a_gigabyte_of_output_is_cut_while_it_is_read() -> None:
    rss = psutil.Process().memory_info().rss
    big = "def transform(row):\n    return {'prompt': 'x' * 100_000_000}"
    assert told(big, limits=Limits(seconds=20, output_bytes=2**22)).endswith("returned more than 4 MB")
    endless = "def transform(row):\n    while True: print('x' * 100_000)"
    assert told(endless, limits=Limits(seconds=20, output_bytes=2**22)).endswith("printed more than 4 MB")
    assert psutil.Process().memory_info().rss - rss < 2**27


def test_too_many_rows_are_too_many() -> None:
    assert told("def transform(row): return [row] * 11", limits=QUICK._replace(output_rows=10)).endswith(
        "more than 10 rows"
    )
    assert len(ran("def transform(row): return [row] * 10", limits=QUICK._replace(output_rows=10)).answers[0]) == 10


def test_files_in_the_work_folder_are_bounded_by_size_and_number() -> None:
    one = "def transform(row):\n    with open('big', 'wb') as file:\n        while True: file.write(b'x' * (1 << 20))"
    assert "File too large" in told(one, limits=QUICK._replace(file_bytes=2**21))
    many = "import os, time\ndef transform(row):\n    for n in range(2000): os.mkdir(f'{n}')\n    time.sleep(30)"
    assert "1000 files" in told(many)
    heavy = "import time\ndef transform(row):\n    for n in range(20): open(f'{n}', 'wb').write(b'x' * (1 << 20))\n    time.sleep(30)"
    assert "wrote more than 4 MB" in told(heavy, limits=QUICK._replace(folder_bytes=2**22))


def test_folders_that_the_code_locks_are_removed_too() -> None:
    ran(
        "import os\ndef transform(row):\n    os.makedirs('a/b/c'); os.chmod('a/b', 0); os.symlink('/', 'root'); return row"
    )
    assert work_folders() == []


# ---- how it ended -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("return row['nosuch']", "KeyError: 'nosuch'"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("os._exit(0)", "ended with exit code 0 before its last answer"),
        ("os._exit(7)", "ended with exit code 7"),
        ("os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
        ("os.kill(0, 15)", "was killed by SIGTERM"),
        ("os.kill(os.getpid(), 2)", "KeyboardInterrupt"),
        ("os.abort()", "was killed by SIGABRT"),
        ("import ctypes; ctypes.string_at(0)", "was killed by SIGSEGV"),
        ("return transform(row)", "RecursionError"),
        ("return {'prompt': {1, 2}}", "not JSON serializable"),
        ("x = []; x.append(x); return x", "Circular reference"),
        ("raise type('Mean', (Exception,), {'__str__': lambda self: 1 / 0})()", "Mean"),
        ("for n in range(3, 20): os.close(n)\n    return row", "row 1 of 1"),
        ("os.write(4, b'{\"answer\": ' + b'[' * 100000 + b'\\n')", "cannot be read"),
        ("os.write(4, b'{\"done\": true}\\n'); os._exit(0)", "before its last answer"),
    ],
)
def test_the_message_names_the_row_and_what_happened(body: str, said: str) -> None:
    message = told(f"import os, sys\nseen = 0\ndef transform(row):\n    {body}\n")
    assert message.startswith("row 1 of 1 (a:1): ")
    assert said in message
    assert len(message) < 3000


def test_the_row_at_which_it_failed_is_the_one_that_is_named_with_the_line_of_the_code() -> None:
    rows = [{**ROW, "row_id": f"a:{n}", "prompt": str(n)} for n in range(1, 101)]
    message = told("def transform(row):\n    value = 10 / (int(row['prompt']) - 42)\n    return row", rows)
    assert message.startswith("row 42 of 100 (a:42): ZeroDivisionError")
    assert "value = 10 / (int(row['prompt']) - 42)" in message
    assert "<string>" not in message, "frames of ours are no help"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = (", "SyntaxError"),
        ("x = 1", "defines no function transform"),
        ("raise ValueError('no')", "ValueError: no"),
    ],
)
def test_code_that_does_not_come_to_its_first_row_says_so(code: str, said: str) -> None:
    message = told(code)
    assert message.startswith("before the first row: ")
    assert said in message


def test_what_the_code_prints_does_not_disturb_its_answers() -> None:
    code = (
        "import os, sys\ndef transform(row):\n    print('{\"answer\": 1}'); sys.stderr.write('x\\n'); os.write(1, b'{}\\n')\n"
        "    sys.__stdout__.write('{\"done\": true}\\n'); assert sys.stdin.read() == ''\n    return row\n"
    )
    assert ran(code, [ROW] * 50).answers == [ROW] * 50


def test_numbers_that_are_none_and_half_characters_come_out_as_they_are() -> None:
    assert str(ran("def transform(row): return float('nan')").answers) == "[nan]"
    assert ran("def transform(row): return '\\ud800'").answers == ["\ud800"]


def test_a_sandbox_that_cannot_start_is_missing_not_the_codes_fault(tmp_path: Path) -> None:
    with pytest.raises(SandboxMissing, match="does not start here"):
        run("def transform(row): return row", [ROW], QUICK, RUNG._replace(program="/bin/false"))
    with pytest.raises(SandboxMissing, match="cannot be started"):
        run("def transform(row): return row", [ROW], QUICK, RUNG._replace(program=str(tmp_path / "nosuch")))


def test_paths_to_hide_below_the_interpreter_are_refused() -> None:
    with pytest.raises(SandboxMissing, match="would be readable"):
        ran("def transform(row): return row", hidden=[Path(sys.base_prefix) / "lib" / "search"])


def test_a_home_that_would_be_seen_is_a_reason_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/usr/home/somebody")
    with pytest.raises(SandboxMissing, match="/usr/home/somebody would be readable"):
        ran("def transform(row): return row")


def test_a_tick_that_raises_ends_the_code() -> None:
    def stop(answered: int) -> None:
        raise KeyboardInterrupt

    began = {process.pid for process in psutil.Process().children(recursive=True)}
    with pytest.raises(KeyboardInterrupt):
        ran("import time\ndef transform(row): time.sleep(60)", tick=stop)
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= began
    assert work_folders() == []


def test_another_program_in_the_place_of_ours_has_the_same_limits() -> None:
    """It can read what the system has installed, and is bound as before; it gives no answer."""
    shell = (
        "import os\ndef transform(row):\n    os.execv('/bin/sh', ['sh', '-c', 'ls /root; (exit 3) && echo x; exit 3'])"
    )
    message = told(shell)
    assert "ended with exit code" in message
    assert "fork" in message.lower() or "permitted" in message


def test_nothing_is_left_when_the_job_itself_is_killed(tmp_path: Path) -> None:
    program = (
        "from hpc_trex.sandbox import *\nprint('here', flush=True)\n"
        "run('import time\\ndef transform(row): time.sleep(600)', [{}], Limits(seconds=600), choose('bwrap'),"
        " tick=lambda n: print('tick', flush=True))"
    )
    job = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert job.stdout is not None
    while job.stdout.readline().strip() != "tick":
        assert job.poll() is None
    time.sleep(0.3)
    below = psutil.Process(job.pid).children(recursive=True)
    assert below
    job.kill()
    job.wait()
    job.stdout.close()
    _, alive = psutil.wait_procs(below, timeout=10)
    assert alive == []


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"prompt": st.text(max_size=40), "answer": st.text(max_size=40), "row_id": st.text(max_size=5)}
        ),
        min_size=1,
        max_size=40,
    )
)
def test_code_that_changes_nothing_changes_nothing(rows: list[dict[str, str]]) -> None:
    assert ran("def transform(row): return row", rows).answers == rows


def test_many_rows_go_through_without_waiting_for_each_other() -> None:
    rows = [{**ROW, "prompt": "x" * 2000}] * 5000
    assert ran("def transform(row): return [row, row]", rows, Limits(seconds=60)).answers == [
        [row, row] for row in rows
    ]
