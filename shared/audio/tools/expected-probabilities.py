#!/usr/bin/env python3
"""Makes the fixture of the network's test: 256 steps of sound, and the probability of speech that ONNX Runtime finds.

    python3 -m venv VENV && VENV/bin/pip install onnxruntime==1.32.0 numpy silero-vad==6.2.3 --no-deps
    VENV/bin/python shared/audio/tools/expected-probabilities.py VENV/lib/python3*/site-packages/silero_vad/data

Needs sox, and the prompts of the Debian package asterisk-core-sounds-en-wav.
"""

import subprocess
import sys
from pathlib import Path

import numpy
import onnxruntime

PROMPTS = "/usr/share/asterisk/sounds/en_US_f_Allison"
STEPS, STEP, CONTEXT = 256, 256, 32
fixtures = Path(__file__).parent.parent / "src/signal/voice/tests"
sound = fixtures / "steps.al"

# Prompts, one of them soft, with pink noise in which the second half of them is hard to hear.
parts = f"""sox -R -D -c 1 -r 8000 -n {sound}.pink.wav synth 9 pinknoise vol 0.01
sox -R -D {PROMPTS}/agent-pass.wav {PROMPTS}/activated.wav {sound}.said.wav pad 0.4 9
sox -R -D {PROMPTS}/conf-invalid.wav {sound}.soft.wav vol 0.05 pad 5 9
sox -R -D -m -v 1 {sound}.said.wav -v 1 {sound}.soft.wav -v 1 {sound}.pink.wav -e a-law -t al {sound} trim 0 {STEPS * STEP}s"""
for command in parts.splitlines():
    subprocess.run(command.split(), check=True)
for scratch in ("pink", "said", "soft"):
    Path(f"{sound}.{scratch}.wav").unlink()
raw = subprocess.run(
    ["sox", "-t", "al", "-r", "8000", "-c", "1", str(sound), "-t", "s16", "-"], check=True, capture_output=True
).stdout
samples = (numpy.frombuffer(raw, "<i2") / 32768).astype(numpy.float32)

session = onnxruntime.InferenceSession(f"{sys.argv[1]}/silero_vad_op18_ifless.onnx")
state = numpy.zeros((2, 1, 128), numpy.float32)
context = numpy.zeros(CONTEXT, numpy.float32)
with open(fixtures / "probabilities.txt", "w", encoding="ascii") as out:
    for step in samples.reshape(STEPS, STEP):
        given = {"input": numpy.concatenate([context, step])[None], "state": state, "sr": numpy.array(8000)}
        probability, state = session.run(None, given)
        context = step[-CONTEXT:]
        out.write(f"{probability[0][0]:.6f}\n")
