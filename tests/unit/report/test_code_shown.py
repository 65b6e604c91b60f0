"""``hpc-trex show`` gives the code of a python step whole, and nothing in it can steer the terminal."""

from __future__ import annotations

from hpc_trex.models import NodeState, NodeView, RoundPlan
from hpc_trex.report.tables import node_text


def test_the_code_stands_below_the_recipe_line_by_line_and_tame():
    code = "def transform(row):\n\treturn row  # \x1b[2J\u202e naive ü\r\n"
    steps = [{"op": "load", "source": "a"}, {"op": "python", "code": code}]
    plan = RoundPlan.model_validate({"hypothesis": "h", "data": {"steps": steps}, "trials": [{}]})
    text = node_text(NodeView(id=1, parent=0, depth=1, state=NodeState.DONE, plan=plan), [])
    lines = text.splitlines()
    assert "  python map (2 lines, sha " in text
    at = lines.index("code of step 2")
    assert lines[at + 1] == "  def transform(row):"
    assert lines[at + 2] == "  \treturn row  # \\x1b[2J\\u202e naive ü"
    assert "\x1b" not in text
