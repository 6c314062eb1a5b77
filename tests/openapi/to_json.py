#!/usr/bin/env python3
"""Writes docs/openapi.json, which the program serves, from docs/openapi.yaml. `--check`: compares them instead."""

import json
import pathlib
import sys

import yaml

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"

document = yaml.safe_load((DOCS / "openapi.yaml").read_text(encoding="utf-8"))
text = json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"
target = DOCS / "openapi.json"
if sys.argv[1:] != ["--check"]:
    target.write_text(text, encoding="utf-8")
elif not target.exists() or target.read_text(encoding="utf-8") != text:
    sys.exit("docs/openapi.json is not docs/openapi.yaml: run `make openapi`")
