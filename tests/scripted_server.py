"""A server of :mod:`tests.llm_server` as a program: what a profile's ``serve.command`` starts.

python tests/scripted_server.py PORT KEY_FILE [ANSWER_JSON]
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.llm_server import LlmServer


def main() -> None:
    port, key_file = int(sys.argv[1]), Path(sys.argv[2])
    answer = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    script: Any = answer
    if len(sys.argv) > 4 and not Path(sys.argv[4]).exists():
        Path(sys.argv[4]).touch()

        def script(_request: object) -> dict[str, Any]:
            os._exit(9)

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    with LlmServer(script, key=key_file.read_text().strip(), port=port):
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main()
