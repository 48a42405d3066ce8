#!/usr/bin/env python3
"""Runs nightmill and its peers on the same weights, one after the other, and writes the tables into BENCHMARKS.md.

    tests/peers/compare.py [--work /tmp/peers] [--sections peers,large,profiles,workloads] [--shapes dense,moe,granite] [--dtypes bf16,int8,int4]
                           [--workloads "shared prefix,ragged"] [--rows 1000] [--skip-jlama]

A row that is measured again takes the place of the one before; the others stay. All of it takes about an hour and a half. peers: prompts of 512
and decoding at batch 1, 8 and 32; large: decoding at batch 64 and 128 behind prompts of 128; profiles: where nightmill's time goes in int8;
workloads: whole tables through `generate` and through llama-server. What ran, and what the machine did meanwhile, is written behind a table.
CPUs without AVX-512 and Zen 4 have tables of their own.

Needs python3-numpy, root (llama.cpp comes from Debian sid into a chroot made by debootstrap, unless llama-batched-bench is on
the PATH), and a JDK of 21 or later for Jlama ($JLAMA_JAVA_HOME). Weights come from ../shared/peers/make_models.py.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "peers"
THREADS = os.cpu_count()
# The GGUF format that is compared with a dtype.
FORMS = {"bf16": "bf16", "int8": "q8_0", "int4": "q4_0"}
PROMPT, DECODE = 512, 32
BATCHES, LARGE = [1, 8, 32], [64, 128]
# Of the larger batches; reading their prompts takes llama.cpp minutes.
LARGE_PROMPT = 128
SLOTS, PORT = 32, 8089
JLAMA = "0.8.4"
# CPUs without AVX-512, and Zen 4 (family 25), whose units take an AVX-512 instruction in halves, have tables of their own.
CPU = pathlib.Path("/proc/cpuinfo").read_text()
TABLES = "-avx2" if " avx512f " not in CPU else "-zen4" if re.search(r"AuthenticAMD.*\ncpu family\s*: 25\n", CPU) else ""


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


def llama(work, path, batches, prompt):
    """{batch: decode}, prefill, peak GB."""
    command, place = llama_command(work)
    context = (prompt + DECODE) * max(batches) + 512
    out, err = run(
        ["/usr/bin/time", "-v", *command, "-m", place(path), "-c", str(context), "-b", "2048", "-ub", "512", "-fa", "on",
         "-npp", str(prompt), "-ntg", str(DECODE), "-npl", ",".join(map(str, batches)), "-t", str(THREADS)])
    rows = [line.split("|") for line in out.splitlines() if re.match(r"\|\s+\d", line)]
    decode = {int(row[3]): float(row[8]) for row in rows}
    prefill = max(float(row[6]) for row in rows)
    peak = 1024 * int(re.search(r"Maximum resident set size \(kbytes\): (\d+)", err).group(1)) / 1e9
    return decode, prefill, peak


def llama_version(work):
    command, _ = llama_command(work)
    version = re.search(r"version: (.*\))", "".join(run([*command, "--version"])))
    backend = re.search(r"libggml-cpu-(\w+)\.so", "".join(run([*command[:-1], "llama-bench", "--list-devices"])))
    return f"llama.cpp {version.group(1)}, backend {backend.group(1) if backend else 'not said'}"


def bench(path, dtype, batches, prompt, *more):
    return run([ROOT / "nightmill", "bench", "--only", "MODELS", "--model", path, "--dtype", dtype, "--batches",
                ",".join(map(str, batches)), "--prompt-tokens", str(prompt), "--decode-tokens", str(DECODE), *more])[0]


def ours(path, dtype, batches, prompt):
    """{batch: decode and its share of the bandwidth}, prefill, its share of the products' FLOP/s, peak GB, the machine's."""
    out = bench(path, dtype, batches, prompt)
    rows = [[cell.strip() for cell in line.split("|")] for line in out.splitlines() if line.startswith(f"| {path.name} |")]
    machine = next(line for line in out.splitlines() if "threads," in line)
    speed = re.search(r"([\d.]+) GFLOP/s.* ([\d.]+) GB/s", machine)
    decode = {int(r[5]): (float(r[6]), r[8]) for r in rows}
    return decode, float(rows[0][3]), rows[0][4], float(rows[-1][9]), [float(n) for n in speed.groups()]


def jlama(work):
    home = pathlib.Path(os.environ.get("JLAMA_JAVA_HOME", "/usr/lib/jvm/temurin-25-jdk-amd64"))
    place = work / "jlama"
    if not (place / "lib").exists():
        place.mkdir(parents=True, exist_ok=True)
        dependency = "<dependency><groupId>com.github.tjake</groupId><artifactId>%s</artifactId><version>" + JLAMA + "</version>%s</dependency>"
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
                  "--enable-preview", "-Xmx10g", f"-Dpp={PROMPT}", "-Dnprompts=2", "-Dbatches=1,8", "-cp", jars,
                  "com.github.tjake.jlama.model.JlamaBench", model(work, "dense", "hf"), "F32", "BF16", "none"])
    decode = {int(b): float(t) for b, t in re.findall(r"decode,ctx=\d+,B=(\d+),([\d.]+)", out)}
    return decode, float(re.search(r"prompts=\d+,([\d.]+)", out).group(1))


def ratio(mine, theirs, share):
    numbers = f"{mine:.0f} / {theirs:.0f}" if mine >= 100 else f"{mine:.1f} / {theirs:.1f}"
    return f"{numbers} = **{mine / theirs:.1f}x** ({share})"


def ran(section, parties, speeds):
    """Writes what was compared last behind the section's table."""
    java = "".join(run(["java", "-version"])).splitlines()
    library = re.search(r"<artifactId>dnnl</artifactId><version>([\d.]+)", (ROOT / "pom.xml").read_text()).group(1)
    commit = run(["git", "-C", ROOT, "describe", "--always", "--dirty"])[0].strip()
    flops, bandwidth = zip(*speeds)
    text = (f"Last run: {time.strftime('%Y-%m-%d')}, nightmill {commit} on {java[1]}, oneDNN {library}; {'; '.join(parties)}; {THREADS} threads, which "
            f"did {min(flops):.0f} to {max(flops):.0f} GFLOP/s of multiply-adds in registers and read {min(bandwidth):.0f} to "
            f"{max(bandwidth):.0f} GB/s.")
    print(text, flush=True)
    place(f"{section}-run", lambda old: text)


def place(name, change):
    """Changes what BENCHMARKS.md has between two marks."""
    begin, end = f"<!-- {name}{TABLES}: begin -->", f"<!-- {name}{TABLES}: end -->"
    file = ROOT / "BENCHMARKS.md"
    text = file.read_text()
    if begin not in text:
        sys.exit(f"BENCHMARKS.md has no line '{begin}'")
    first = text.index(begin) + len(begin)
    last = text.index(end)
    file.write_text(text[:first] + "\n" + change(text[first:last].strip()) + "\n" + text[last:])


def write(section, head, row):
    """Puts a row into a table of BENCHMARKS.md; one that begins with the same three cells goes."""
    print(row, flush=True)

    def changed(old):
        table = old.splitlines()
        lines = table if table and table[0] == head else [head, "|" + "---|" * (head.count("|") - 1)]
        key = [cell.strip() for cell in row.split("|")][1:4]
        same = [n for n, line in enumerate(lines) if [cell.strip() for cell in line.split("|")][1:4] == key]
        if same:
            lines[same[0]] = row
        else:
            lines.append(row)
        return "\n".join(lines)

    place(section, changed)


def head(batches):
    return "| shape | nightmill | peer | prefill | " + " | ".join(f"decode, batch {b}" for b in batches) + " | peak GB |"


def peers(a, section, batches, prompt):
    speeds, parties = [], [llama_version(a.work)]
    for kind in a.shapes.split(","):
        for dtype in a.dtypes.split(","):
            form = FORMS[dtype]
            mine, prefill, share, peak, machine = ours(model(a.work, kind, "bf16"), dtype, batches, prompt)
            theirs, their_prefill, their_peak = llama(a.work, model(a.work, kind, form), batches, prompt)
            speeds.append(machine)
            write(section, head(batches),
                  f"| {kind} | `--dtype {dtype}` | llama.cpp {form.upper()} | {ratio(prefill, their_prefill, share)} | "
                  + " | ".join(ratio(mine[b][0], theirs[b], mine[b][1]) for b in batches) + f" | {peak:.2f} / {their_peak:.2f} |")
    if section == "peers" and not a.skip_jlama and "dense" in a.shapes:
        speeds.append(java_alone(a))
        parties.append(f"Jlama {JLAMA}")
    ran(section, parties, speeds)


def java_alone(a):
    mine, prefill, share, peak, machine = ours(model(a.work, "dense", "hf"), "f32", BATCHES, PROMPT)
    theirs, their_prefill = jlama(a.work)
    cells = [ratio(mine[b][0], theirs[b], mine[b][1]) if b in theirs else f"{mine[b][0]:.0f} / - ({mine[b][1]})" for b in BATCHES]
    write("peers", head(BATCHES), f"| dense | `--dtype f32` (Java alone) | Jlama {JLAMA} BF16 | {ratio(prefill, their_prefill, share)} | "
          + " | ".join(cells) + f" | {peak:.2f} / |")
    return machine


def profiles(a):
    """The operations that take the most of reading prompts and of decoding."""
    tables = {}
    for kind in a.shapes.split(","):
        path = model(a.work, kind, "bf16")
        out = bench(path, "int8", [32], PROMPT, "--profile")
        blocks = [block.splitlines() for block in out.split("\n\n") if block.startswith(f"| {path.name}, ")]
        phases = [[[cell.strip() for cell in line.split("|")] for line in block if line.endswith("% |")] for block in blocks]
        lines = [f"| {kind}, prompts of {PROMPT} | share | {kind}, decoding at batch 32 | share |", "|---|---|---|---|"]
        for reading, decoding in zip(*[phase[:6] + phase[-1:] for phase in phases]):
            lines.append(f"| {reading[1]} | {reading[4]} | {decoding[1]} | {decoding[4]} |")
        tables[lines[0]] = "\n".join(lines)
    print("\n\n".join(tables.values()), flush=True)
    place("profiles", lambda old: "\n\n".join(({block.splitlines()[0]: block for block in old.split("\n\n") if block} | tables).values()))


def prompts(workload, count):
    """Rows of token ids, and what each is to write."""
    ids = random.Random(1)

    def tokens(n):
        return [ids.randrange(3, 32000) for _ in range(n)]

    if workload == "shared prefix":
        header = tokens(800)
        return [{"prompt_token_ids": header + tokens(ids.randrange(20, 81)), "max_tokens": 32} for _ in range(count)]
    folder = ROOT.parent / "shared/data/gsm8k"
    train = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    test = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    # Four characters a token, as English has them.
    header = tokens(sum(len(row["question"]) + len(row["answer"]) for row in train[:8]) // 4)
    return [{"prompt_token_ids": header + tokens(len(row["question"]) // 4), "max_tokens": max(1, len(row["answer"]) // 4)}
            for row in test[:count]]


def generated(work, path, dtype, rows):
    """Seconds of inference and writing, and from start to end."""
    table, out = work / "rows.jsonl", work / "out"
    table.write_text("\n".join(json.dumps({"id": str(n), **row}) for n, row in enumerate(rows)))
    shutil.rmtree(out, ignore_errors=True)
    start = time.time()
    run([ROOT / "nightmill", "generate", "--model", path, "--dtype", dtype, "--input", table, "--output", out, "--ignore-eos"])
    whole = time.time() - start
    report = json.loads((out / "_nightmill/report.json").read_text())
    written = report["tokens"]["completion"]
    if written != sum(row["max_tokens"] for row in rows):
        sys.exit(f"{written} tokens were written, expected {sum(row['max_tokens'] for row in rows)}")
    return report["seconds"]["infer_and_write"], whole


def served(work, path, rows):
    """Seconds from the first request to the last answer of a llama-server that is ready."""
    command, place = llama_command(work)
    longest = max(len(row["prompt_token_ids"]) + row["max_tokens"] for row in rows) + 16
    server = subprocess.Popen(
        [*command[:-1], "llama-server", "-m", place(path), "-c", str(SLOTS * longest), "-np", str(SLOTS), "-b", "2048", "-ub", "512",
         "-fa", "on", "-t", str(THREADS), "--port", str(PORT)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(row):
        body = {"prompt": row["prompt_token_ids"], "n_predict": row["max_tokens"], "temperature": 0, "ignore_eos": True}
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}/completion", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=7200) as answer:
            return json.loads(answer.read())["tokens_predicted"]

    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5).close()
                break
            except OSError:
                if server.poll() is not None:
                    sys.exit(f"llama-server ended with {server.returncode}")
                time.sleep(0.5)
        start = time.time()
        with concurrent.futures.ThreadPoolExecutor(2 * SLOTS) as pool:
            written = sum(pool.map(ask, rows))
        seconds = time.time() - start
    finally:
        server.terminate()
        server.wait()
    if written != sum(row["max_tokens"] for row in rows):
        sys.exit(f"llama-server wrote {written} tokens, expected {sum(row['max_tokens'] for row in rows)}")
    return seconds


def workloads(a):
    for workload in a.workloads.split(","):
        rows = prompts(workload, a.rows)
        for kind in a.shapes.split(","):
            for dtype in a.dtypes.split(","):
                inference, whole = generated(a.work, model(a.work, kind, "bf16"), dtype, rows)
                theirs = served(a.work, model(a.work, kind, FORMS[dtype]), rows)
                write("workloads", "| workload | nightmill | peer | rows | prompt tokens | written tokens | seconds, inference and writing"
                      " | seconds, start to end | llama-server's seconds | ratio |",
                      f"| {workload} | {kind}, `--dtype {dtype}` | llama-server {FORMS[dtype].upper()} | {len(rows)} "
                      f"| {sum(len(row['prompt_token_ids']) for row in rows):,} | {sum(row['max_tokens'] for row in rows):,} "
                      f"| {inference:.0f} | {whole:.0f} | {theirs:.0f} | **{theirs / inference:.1f}x**, **{theirs / whole:.1f}x** |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/tmp/peers"))
    parser.add_argument("--sections", default="peers,large,profiles,workloads")
    parser.add_argument("--shapes", default="dense,moe,granite")
    parser.add_argument("--dtypes", default="bf16,int8,int4")
    parser.add_argument("--workloads", default="shared prefix,ragged")
    parser.add_argument("--rows", type=int, default=1000, help="of a workload")
    parser.add_argument("--skip-jlama", action="store_true")
    a = parser.parse_args()
    sections = a.sections.split(",")
    if "peers" in sections:
        peers(a, "peers", BATCHES, PROMPT)
    if "large" in sections:
        peers(a, "large", LARGE, LARGE_PROMPT)
    if "profiles" in sections:
        profiles(a)
    if "workloads" in sections:
        workloads(a)


if __name__ == "__main__":
    main()
