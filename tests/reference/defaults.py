#!/usr/bin/env python3
"""What the reference's configuration classes take for keys that a config.json leaves out.

    tests/reference/defaults.py > executors/src/main/resources/io/nightmill/models/defaults.json

Of keys that the families read, but for ids of tokens, the vocabulary's size and whether the embedding is tied: the tensors say that. Where
a class knows a key by several names, all are listed, that of its files first. Needs what variants.py and fla_naive.py say.
"""
import inspect
import json
import pathlib
import re

from transformers import PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "executors/src/main/java/io/nightmill/models"
LEFT_OUT = {"model_type", "vocab_size", "bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings"}


def classes(names):
    """transformers' own before fla's, which has a Mamba as well and puts it in its place."""
    own = {name: CONFIG_MAPPING[name] for name in names if name in CONFIG_MAPPING}
    import fla.models

    found = [config for config in vars(fla.models).values() if isinstance(config, type) and issubclass(config, PretrainedConfig)]
    return {**{config.model_type: config for config in found}, **own}


def given(config):
    """Keys and what they are where nobody says; what a class makes of other keys is not among them."""
    parameters = inspect.signature(config.__init__).parameters
    for name, parameter in parameters.items():
        # Without attention, a model's context has no end.
        if name != "max_position_embeddings" or "num_attention_heads" in parameters:
            yield name, parameter.default
    if "rope_parameters" in parameters:
        theta = config.default_theta
        yield "rope_theta", theta["global"] if isinstance(theta, dict) else theta


def plain(value):
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(x, str) for x in value)
    return isinstance(value, (bool, int, str)) or isinstance(value, float) and abs(value) != float("inf")


def main():
    read = set(re.findall(r'"([A-Za-z]\w*)"', "".join(file.read_text() for file in sorted(MODELS.glob("*.java")))))
    names = re.findall(r"^\| `([\w-]+)`", (ROOT / "docs/MODELS.md").read_text(), re.M)
    configs = classes(names)
    defaults = {}
    for name in names:
        if name not in configs:
            continue
        aliases = getattr(configs[name], "attribute_map", {})
        for key, value in given(configs[name]):
            stored = aliases.get(key, key)
            known = [stored] + [alias for alias, of in aliases.items() if of == stored]
            if plain(value) and read & set(known) and not LEFT_OUT & set(known):
                defaults.setdefault(name, {})[" ".join(known)] = value
    print(json.dumps(defaults, indent=1))


if __name__ == "__main__":
    main()
