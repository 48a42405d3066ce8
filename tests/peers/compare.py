#!/usr/bin/env python3
"""Runs nightmill and its peers on the same weights, one after the other, and writes the table into BENCHMARKS.md.

    tests/peers/compare.py [--work /tmp/peers] [--shapes dense,moe] [--dtypes bf16,int8,int4] [--batches 1,8,32] [--prompt 512] [--decode 32] [--skip-jlama]

Needs python3-numpy, root (llama.cpp comes from Debian sid into a chroot made by debootstrap, unless llama-batched-bench is on
the PATH), and a JDK of 21 or later for Jlama ($JLAMA_JAVA_HOME). Weights come from ../shared/peers/make_models.py.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "peers"
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
THREADS = os.cpu_count()
# The GGUF format that is compared with a dtype.
FORMS = {"bf16": "bf16", "int8": "q8_0", "int4": "q4_0"}


def run(command, **options):
    """Standard output and standard error."""
    print("+", " ".join(map(str, command)), file=sys.stderr, flush=True)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        out, err = process.communicate()
    if process.returncode != 0:
        sys.exit(f"{command[0]} failed with {process.returncode}:\n{(out + err)[-2000:]}")
    return out, err


def model(work, kind, form):
    path = work / "models" / (f"{kind}-hf" if form == "hf" else f"{kind}-{form}.gguf")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        maker = ["hf", kind, "bf16"] if form == "hf" else ["gguf", kind, form]
        run([sys.executable, SHARED / "make_models.py", *maker, path])
    return path


def llama_command(work):
    if shutil.which("llama-batched-bench"):
        return ["llama-batched-bench"], lambda path: path
    sid = work / "sid"
    if not (sid / "usr/bin/llama-batched-bench").exists():
        run(["debootstrap", "--variant=minbase", "sid", sid, "http://deb.debian.org/debian"])
        packages = ["llama.cpp-tools", "llama.cpp-tools-extra"]
        run(["chroot", sid, "apt-get", "install", "-y", "--no-install-recommends", *packages])
    inside = sid / "models"
    inside.mkdir(exist_ok=True)
    if not any(inside.iterdir()):
        run(["mount", "--bind", work / "models", inside])
    return ["chroot", sid, "llama-batched-bench"], lambda path: f"/models/{path.name}"


def llama(work, path, a):
    """{batch: decode}, prefill, peak GB, backend."""
    command, place = llama_command(work)
    batches = [int(b) for b in a.batches.split(",")]
    context = (a.prompt + a.decode) * max(batches) + 512
    out, err = run(
        ["/usr/bin/time", "-v", *command, "-m", place(path), "-c", str(context), "-b", "2048", "-ub", "512", "-fa", "on",
         "-npp", str(a.prompt), "-ntg", str(a.decode), "-npl", a.batches, "-t", str(THREADS)])
    rows = [line.split("|") for line in out.splitlines() if re.match(r"\|\s+\d", line)]
    decode = {int(row[3]): float(row[8]) for row in rows}
    prefill = max(float(row[6]) for row in rows)
    peak = int(re.search(r"Maximum resident set size \(kbytes\): (\d+)", err).group(1)) / 1e6
    listed = run([*command[:-1], "llama-bench", "--list-devices"])
    backend = re.search(r"libggml-cpu-(\w+)\.so", listed[0] + listed[1])
    return decode, prefill, peak, backend.group(1) if backend else "not said"


def ours(path, dtype, a):
    out, _ = run([ROOT / "nightmill", "bench", "--only", "MODELS", "--model", path, "--dtype", dtype, "--batches", a.batches,
                  "--prompt-tokens", str(a.prompt), "--decode-tokens", str(a.decode)])
    rows = [[cell.strip() for cell in line.split("|")] for line in out.splitlines() if line.startswith(f"| {path.name}")]
    machine = next(line for line in out.splitlines() if "threads," in line)
    return {int(r[5]): float(r[6]) for r in rows}, float(rows[0][3]), float(rows[-1][9]), machine


def jlama(work, a):
    home = pathlib.Path(os.environ.get("JLAMA_JAVA_HOME", "/usr/lib/jvm/temurin-25-jdk-amd64"))
    place = work / "jlama"
    if not (place / "lib").exists():
        place.mkdir(parents=True, exist_ok=True)
        dependency = "<dependency><groupId>com.github.tjake</groupId><artifactId>%s</artifactId><version>0.8.4</version>%s</dependency>"
        (place / "pom.xml").write_text(
            '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>x</groupId>'
            "<artifactId>x</artifactId><version>1</version><dependencies>"
            + dependency % ("jlama-core", "")
            + dependency % ("jlama-native", "<classifier>linux-x86_64</classifier>")
            + "</dependencies></project>")
        run([ROOT / "mvnw", "-B", "-q", "-f", place / "pom.xml",
             "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies", "-DoutputDirectory=lib"])
    jars = f"{place}/out:{place}/lib/*"
    if not (place / "out").exists():
        run([home / "bin/javac", "--add-modules", "jdk.incubator.vector", "-cp", jars, "-d", place / "out",
             SHARED / "jlama/JlamaBench.java"])
    # Without batches of its own, Jlama takes minutes for 32 sessions; 1 and 8 show what it does.
    out, _ = run([home / "bin/java", "--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED",
                  "--enable-preview", "-Xmx10g", f"-Dpp={a.prompt}", "-Dnprompts=2", "-Dbatches=1,8", "-cp", jars,
                  "com.github.tjake.jlama.model.JlamaBench", model(work, "dense", "hf"), "F32", "BF16", "none"])
    decode = {int(b): float(t) for b, t in re.findall(r"decode,ctx=\d+,B=(\d+),([\d.]+)", out)}
    return decode, float(re.search(r"prompts=\d+,([\d.]+)", out).group(1))


def ratio(mine, theirs):
    return f"{mine:.0f} / {theirs:.0f} = **{mine / theirs:.1f}x**" if mine >= 100 else f"{mine:.1f} / {theirs:.1f} = **{mine / theirs:.1f}x**"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/tmp/peers"))
    parser.add_argument("--shapes", default="dense,moe")
    parser.add_argument("--dtypes", default="bf16,int8,int4")
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--skip-jlama", action="store_true")
    a = parser.parse_args()
    batches = [int(b) for b in a.batches.split(",")]
    lines = []
    versions = ""
    for kind in a.shapes.split(","):
        for dtype in a.dtypes.split(","):
            form = FORMS[dtype]
            mine, prefill, peak, machine = ours(model(a.work, kind, "bf16"), dtype, a)
            theirs, their_prefill, their_peak, backend = llama(a.work, model(a.work, kind, form), a)
            versions = f"{machine}; llama.cpp's backend: {backend}."
            lines.append(f"| {kind} | `--dtype {dtype}` | llama.cpp {form.upper()} | {ratio(prefill, their_prefill)} | "
                         + " | ".join(ratio(mine[b], theirs[b]) for b in batches)
                         + f" | {peak:.1f} / {their_peak:.1f} |")
            print(lines[-1], flush=True)
    if not a.skip_jlama and "dense" in a.shapes:
        mine, prefill, peak, _ = ours(model(a.work, "dense", "hf"), "f32", a)
        theirs, their_prefill = jlama(a.work, a)
        cells = [ratio(mine[b], theirs[b]) if b in theirs else f"{mine[b]:.0f} / -" for b in batches]
        lines.append(f"| dense | `--dtype f32` (Java alone) | Jlama 0.8.4 BF16 | {ratio(prefill, their_prefill)} | "
                     + " | ".join(cells) + f" | {peak:.1f} / |")
    head = ("| shape | nightmill | peer | prefill | " + " | ".join(f"decode, batch {b}" for b in batches) + " | peak GB |\n"
            + "|" + "---|" * (5 + len(batches)))
    table = f"{BEGIN}\n{head}\n" + "\n".join(lines) + f"\n\n{versions}\n{END}"
    file = ROOT / "BENCHMARKS.md"
    text = file.read_text()
    if BEGIN not in text:
        sys.exit(f"BENCHMARKS.md has no line '{BEGIN}'")
    file.write_text(text[: text.index(BEGIN)] + table + text[text.index(END) + len(END):])
    print(table)


if __name__ == "__main__":
    main()
