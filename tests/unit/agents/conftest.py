"""Make ``tree_view.py`` importable for the tests of this folder: they run in import mode ``importlib``."""

import importlib.util
import sys
from pathlib import Path

if "tree_view" not in sys.modules:
    spec = importlib.util.spec_from_file_location("tree_view", Path(__file__).with_name("tree_view.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["tree_view"] = module
    spec.loader.exec_module(module)
