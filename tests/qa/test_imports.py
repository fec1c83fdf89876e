from __future__ import annotations

import subprocess
import sys


def test_settings_of_the_gate_and_the_verifier_load_nothing_heavy():
    code = (
        "import sys, qa.gate, qa.metric_rows, qa.verifier_config; "
        "print(sorted({'torch', 'cv2', 'pandas', 'matplotlib', 'pyarrow'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
