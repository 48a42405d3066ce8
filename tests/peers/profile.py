#!/usr/bin/env python3
"""Where the engine's time goes, by JFR's samples of its threads.

    tests/peers/profile.py --model MODEL [--dtype int8] [--batch 32] [--top 8]

Prints the largest costs of reading prompts of 512 tokens and of decoding behind them. JFR takes as many samples of Java code as of native code,
each twenty milliseconds apart, so their shares may be added; oneDNN is native.
"""
import argparse
import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Measuring the machine and loading are not what is asked for.
OTHER = ("Peaks.", "ModelLoader.", "PackedWeights.pack", "NativeMatmul.prepare", "NativeMatmul.chunk", "NativeShape.prepare")
NAMES = [("Workers.", "waiting for other threads"), ("NativeMatmul$Context.run", "oneDNN's products")]


def samples(recording):
    for event in ("jdk.ExecutionSample", "jdk.NativeMethodSample"):
        out = subprocess.run(["jfr", "print", "--events", event, "--stack-depth", "24", recording],
                             capture_output=True, text=True, check=True).stdout
        for block in out.split(event + " {")[1:]:
            frames = re.findall(r"\n\s+(io\.nightmill\.[\w.$]+)\(", block)
            short = [".".join(frame.split(".")[-2:]) for frame in frames]
            short = [re.sub(r"\$\$?[Ll]ambda.*|lambda\$(\w+)\$\d+", r"\1", frame) for frame in short]
            if short and any("engine." in frame or "kernels." in frame for frame in frames) and not any(
                    frame.startswith(OTHER) for frame in short):
                yield short


def cost(stack):
    for prefix, name in NAMES:
        if stack[0].startswith(prefix):
            return name
    return stack[0]


def profile(title, a, prompt, decode, batch):
    with tempfile.TemporaryDirectory() as folder:
        recording = f"{folder}/run.jfr"
        environment = dict(os.environ, JDK_JAVA_OPTIONS=f"-XX:StartFlightRecording=filename={recording},settings=profile")
        done = subprocess.run([ROOT / "nightmill", "bench", "--only", "MODELS", "--model", a.model, "--dtype", a.dtype, "--batches",
                               str(batch), "--prompt-tokens", str(prompt), "--decode-tokens", str(decode)],
                              env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr[-2000:])
        counted = collections.Counter(cost(stack) for stack in samples(recording))
    total = sum(counted.values())
    print(f"\n| {title} | share of {total} samples |\n|---|---|")
    for name, count in counted.most_common(a.top):
        print(f"| {name} | {100 * count / total:.0f}% |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="int8")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--top", type=int, default=8)
    a = parser.parse_args()
    profile("reading prompts of 512", a, 512, 1, 1)
    # Short prompts, or reading them would take most of the run.
    profile(f"decoding, batch {a.batch}", a, 64, 600, a.batch)


if __name__ == "__main__":
    main()
