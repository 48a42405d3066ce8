#!/usr/bin/env python3
"""Folders of models converted to GGUF by llama.cpp's own converter, in float32 and without tokenizers.

    tests/reference/convert_gguf.py CONVERTER OUT FOLDER ...        # of executors/src/test/resources/variants, for OUT = .../resources/gguf
    ref3/bin/python tests/reference/convert_gguf.py debian OUT ../shared/golden/*

CONVERTER has the packages `conversion` and `gguf`: Debian's llama.cpp-tools and python3-gguf, unpacked (dpkg-deb -x), 0.7.0 here:

    usr/share/llama.cpp/llama.cpp-tools/conversion and usr/lib/python3/dist-packages/gguf

What GGUF cannot say, or this converter does not, it refuses or leaves out; llama.cpp then computes something else than the reference does.
"""
import json
import logging
import pathlib
import sys
import tempfile
import types

ROOT = pathlib.Path(sys.argv[1])
sys.path[1:1] = [str(ROOT / "usr/lib/python3/dist-packages"), str(ROOT / "usr/share/llama.cpp/llama.cpp-tools")]
# Imported, and used for downloads only.
sys.modules.setdefault("requests", types.ModuleType("requests"))
import gguf  # noqa: E402
import torch  # noqa: E402
from conversion import ModelBase, ModelType, get_model_architecture, get_model_class  # noqa: E402


def convert(source, folder, target):
    """What the converter asks for and a published folder has, the tiny ones lack."""
    for file in source.iterdir():
        (folder / file.name).symlink_to(file.resolve())
    config = json.loads((source / "config.json").read_text())
    if "mamba_head_dim" in config:
        config["d_head"] = config["mamba_head_dim"]
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config))
    if not (folder / "tokenizer.json").exists():
        vocabulary = {str(i): i for i in range(config["vocab_size"])}
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}, "added_tokens": []}))
        (folder / "tokenizer_config.json").write_text("{}")
    known = get_model_class(get_model_architecture(ModelBase.load_hparams(folder, False), ModelType.TEXT), mmproj=False)
    plain = {"model_arch": known.model_arch, "no_mtp": True, "set_vocab": lambda self: self.gguf_writer.add_tokenizer_model("none")}
    with torch.inference_mode():
        model = type(known.__name__, (known,), plain)(folder, gguf.LlamaFileType.ALL_F32, target, eager=True)
        model.gguf_writer.add_vocab_size(config["vocab_size"])
        model.write()


def main():
    logging.disable(logging.WARNING)
    out = pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for source in map(pathlib.Path, sys.argv[3:]):
        with tempfile.TemporaryDirectory() as folder:
            try:
                convert(source, pathlib.Path(folder), out / f"{source.name}.gguf")
            except Exception as e:
                (out / f"{source.name}.gguf").unlink(missing_ok=True)
                print(f"{source.name}: {type(e).__name__}: {e}")


if __name__ == "__main__":
    main()
