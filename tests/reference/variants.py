#!/usr/bin/env python3
"""Other configurations of the golden families, random weights, and what transformers computes with them.

    tests/reference/variants.py OUT [family ...]     # small ones, kept in executors/src/test/resources/variants
    tests/reference/variants.py OUT --sweep [...]    # about 150, to be held to once in a while:
    tests/reference/variants.py OUT --keys [...]     # a key at a time, left out or changed, about 1,850, likewise

    ./mvnw -o -pl executors surefire:test -Dtest=GoldenTest -Dnightmill.shared=FOLDER        # with OUT = FOLDER/golden

Needs torch, transformers and safetensors, of which this project's machines have wheels:

    pip install --no-index --find-links /opt/wheels --find-links /opt/pypi/files --find-links /opt/pypi-more/files \\
      torch==2.13.0+cpu transformers==5.18.0

and the golden folders in ../shared, whose configurations are changed. The families of flash-linear-attention have to be named, and need
what fla_naive.py says. A folder has the published form of its configuration; with --written, the form that transformers writes. Where
transformers 5.18 disagrees with the commit that the golden folders are of, the golden folders decide: whole heads rotate in
recurrent_gemma, so partial_rotary_factor is 1 here.
"""
import argparse
import json
import math
import pathlib
import shutil
import zlib

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from defaults import given

GOLDEN = pathlib.Path(__file__).resolve().parents[3] / "shared" / "golden"
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 32}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "attention_factor": 1.3}
YARN_TURNS = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64, "beta_fast": 16, "beta_slow": 2}
YARN_MSCALE = {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64, "beta_fast": 32, "beta_slow": 1, "mscale": 0.5,
               "mscale_all_dim": 0.8}
LINEAR = {"rope_type": "linear", "factor": 2.5}

# A key that the configuration is to be without.
OUT = "left out"

# Layers of attention among linear ones.
FIRST = {"layers": [0], "num_heads": 2, "qkv_bias": True, "rope_theta": 500.0}
SECOND = {"layers": [1], "num_heads": 4, "num_kv_heads": 2, "window_size": 8}

# Models that have no golden folder: changes of one that has.
BASES = {"mesa_net": "fla_gla", "log_linear_mamba2": "mamba2", "granite": "llama", "granitemoe": "mixtral", "granitemoeshared": "mixtral"}
FLA = ("fla_", "mesa_net", "log_linear_mamba2")
# Keys that change nothing that is computed.
UNREAD = {"architectures", "model_type", "transformers_version", "torch_dtype", "bos_token_id", "eos_token_id", "pad_token_id", "vocab_size",
          "use_cache", "initializer_range", "output_router_logits", "router_aux_loss_coef", "attention_dropout", "output_hidden_states",
          "output_attentions", "return_dict", "chunk_size_feed_forward", "is_encoder_decoder", "problem_type"}
MESA = {"model_type": "mesa_net", "architectures": ["MesaNetForCausalLM"], "head_dim": 16, "num_heads": 4, "use_short_conv": True}
LOG_LINEAR = {"model_type": "log_linear_mamba2", "architectures": ["LogLinearMamba2ForCausalLM"], "chunk_size": 64, "norm_eps": 1e-5,
              "residual_in_fp32": False, "layer_norm_epsilon": None}

GRANITE = {"vocab_size": 48, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24, "num_hidden_layers": 2,
           "sliding_window": None, "rope_scaling": None, "embedding_multiplier": 3.0, "attention_multiplier": 0.2, "residual_multiplier": 0.5,
           "logits_scaling": 2.0}
HEADS = {"vocab_size": 48, "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1}
QWEN3_NEXT = {**HEADS, "head_dim": 16, "layer_types": ["linear_attention", "full_attention"], "num_hidden_layers": 2, "linear_num_key_heads": 1,
              "linear_num_value_heads": 2, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8,
              "shared_expert_intermediate_size": 8}
# What a reference does that its configuration does not say, or that a golden folder's configuration leaves open.
KEPT = {
    # Dynamic ropes stretch what max_position_embeddings says; what stands beside a rope counts before what stands in it.
    "llama": [{**HEADS, "intermediate_size": 32, "num_hidden_layers": 1, "max_position_embeddings": 21,
               "rope_scaling": {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 8}},
              {**HEADS, "intermediate_size": 32, "num_hidden_layers": 1, "max_position_embeddings": 48, "original_max_position_embeddings": 12,
               "rope_scaling": {"rope_type": "longrope", "factor": 2.0, "original_max_position_embeddings": 24, "long_mscale": 1.3,
                                "short_mscale": 1.1, "long_factor": [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5],
                                "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]}}],
    "granite": [{**GRANITE, "model_type": "granite", "architectures": ["GraniteForCausalLM"], "attention_bias": True, "mlp_bias": True}],
    "granitemoe": [{**GRANITE, "model_type": "granitemoe", "architectures": ["GraniteMoeForCausalLM"], "tie_word_embeddings": True}],
    "granitemoeshared": [{**GRANITE, "model_type": "granitemoeshared", "architectures": ["GraniteMoeSharedForCausalLM"], "shared_intermediate_size": 16}],
    # Soft caps on attention are not looked at.
    "gemma3_text": [{**HEADS, "head_dim": 8, "intermediate_size": 32, "num_hidden_layers": 2, "attn_logit_softcapping": 0.5,
                     "final_logit_softcapping": 5.0, "layer_types": ["full_attention", "sliding_attention"], "sliding_window": 5}],
    # No rope is YaRN; the gate's limit is 7.
    "gpt_oss": [{**HEADS, "head_dim": 16, "intermediate_size": 16, "num_local_experts": 3, "num_experts_per_tok": 2, "rope_scaling": None,
                 "swiglu_limit": 0.5, "sliding_window": 5}],
    # Half of each head rotates.
    "bamba": [{**HEADS, "attn_rotary_emb": 16, "mamba_n_heads": 4, "mamba_d_state": 8, "intermediate_size": 32, "num_hidden_layers": 2}],
    # Windows in every other layer below max_window_layers.
    "qwen2_moe": [{**HEADS, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1, "num_experts": 4, "num_experts_per_tok": 2,
                   "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "intermediate_size": 32}],
    # Embeddings are scaled always, and by a root in bfloat16.
    "recurrent_gemma": [{**HEADS, "hidden_size": 24, "head_dim": 12, "lru_width": 24, "intermediate_size": 48, "num_hidden_layers": 2,
                         "block_types": ["recurrent", "attention"], "partial_rotary_factor": 1.0, "attention_window_size": 5,
                         "embeddings_scale_by_sqrt_dim": False}],
    # Groups that are not chosen from have no experts, below 0 neither. Norms between factors have their own epsilon, moe_layer_freq is
    # not looked at.
    "deepseek_v3": [{**HEADS, "num_key_value_heads": 2, "rope_scaling": None, "num_hidden_layers": 1, "first_k_dense_replace": 0,
                     "moe_intermediate_size": 16, "kv_lora_rank": 16, "q_lora_rank": None, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
                     "v_head_dim": 8},
                    {**HEADS, "num_key_value_heads": 2, "rope_scaling": None, "num_hidden_layers": 2, "first_k_dense_replace": 0,
                     "moe_layer_freq": 2, "n_routed_experts": 4, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 1,
                     "moe_intermediate_size": 8, "kv_lora_rank": 16, "q_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
                     "v_head_dim": 8, "rms_norm_eps": 0.05, "n_shared_experts": OUT, "routed_scaling_factor": OUT}],
    # What is left out is what the reference's class has; null is none.
    "gemma2": [{**HEADS, "head_dim": 16, "intermediate_size": 32, "attn_logit_softcapping": None, "final_logit_softcapping": OUT,
                "query_pre_attn_scalar": OUT, "rms_norm_eps": OUT}],
    "lfm2": [{**HEADS, "num_heads": 2, "block_dim": 32, "conv_dim": 32, "conv_dim_out": 32, "block_ff_dim": 48, "num_hidden_layers": 2,
              "full_attn_idxs": OUT, "rope_theta": OUT, "tie_embedding": True, "tie_word_embeddings": False}],
    # Norms behind linear attention and in Mamba-2 have their own epsilons.
    "minimax": [{**HEADS, "head_dim": 16, "intermediate_size": 16, "num_hidden_layers": 2, "rms_norm_eps": 0.05, "layer_types": OUT,
                 "rope_theta": OUT, "num_experts_per_tok": OUT}],
    "zamba2": [{"vocab_size": 48, "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2, "num_query_groups": 2,
                "attention_head_dim": 32, "kv_channels": 16, "attention_hidden_size": 64, "n_mamba_heads": 4, "intermediate_size": 32,
                "layers_block_type": ["mamba", "hybrid"], "hybrid_layer_ids": [1], "num_hidden_layers": 2, "adapter_rank": 4,
                "rms_norm_eps": 0.05, "hidden_act": OUT}],
    # The shared experts' width is what the configuration says, whatever their number; latent experts.
    "nemotron_h_moe": [{**HEADS, "hybrid_override_pattern": "E*", "num_hidden_layers": 2, "n_shared_experts": 2, "n_routed_experts": 4,
                        "num_experts_per_tok": 2, "moe_latent_size": 8, "moe_intermediate_size": 16, "moe_shared_expert_intermediate_size": 16}],
    # Tied, with a head of its own in the file, which is taken. Of two epsilons and of two numbers of layers, the ones that count.
    "nemotron_h": [{**HEADS, "hybrid_override_pattern": "M-", "num_hidden_layers": 3, "layer_norm_epsilon": 0.05, "mamba_num_heads": 2, "ssm_state_size": 8,
                    "intermediate_size": 32, "n_groups": 1, "use_bias": True, "tie_word_embeddings": True}],
    # A tied head with a bias, and two experts.
    "phimoe": [{**HEADS, "tie_word_embeddings": True, "num_hidden_layers": 1, "num_local_experts": 3, "intermediate_size": 16,
                "num_experts_per_tok": 3}],
    # Biases of queries that lie among gates. Left out, a quarter of each head rotates, and weights are normed.
    "qwen3_next": [{**QWEN3_NEXT, "attention_bias": True}, {**QWEN3_NEXT, "partial_rotary_factor": OUT, "norm_topk_prob": OUT}],
    # A bounded gate, and more value heads than keys.
    "fla_kda": [{"vocab_size": 48, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1, "num_heads": 2, "num_v_heads": 4,
                 "head_dim": 8, "safe_gate": True, "lower_bound": -2.0}],
    # Shared keys, values and gates, a bound on these, and norms without weights.
    "fla_gla": [{"vocab_size": 48, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_kv_heads": 2, "clamp_min": -0.02,
                 "use_short_conv": True, "elementwise_affine": False}],
    "fla_gsa": [{"vocab_size": 48, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_kv_heads": 2, "num_slots": 8,
                 "use_short_conv": True}],
    # Norm and gate apart.
    "fla_retnet": [{"vocab_size": 48, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_kv_heads": 2,
                    "fuse_norm": False}],
    "mesa_net": [{**MESA, "vocab_size": 48, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "use_output_gate": True}],
    "log_linear_mamba2": [{**LOG_LINEAR, "vocab_size": 48, "hidden_size": 16, "num_heads": 4, "head_dim": 8, "state_size": 4,
                           "num_hidden_layers": 1}],
    # A norm whose epsilon is not the configuration's, a number of heads that their width overrules, convolutions before gates.
    "fla_hgrn2": [{"vocab_size": 48, "hidden_size": 32, "intermediate_size": 32, "norm_eps": 0.1, "num_heads": 8, "use_short_conv": True}],
    "fla_hgrn": [{"vocab_size": 48, "hidden_size": 32, "intermediate_size": 32, "use_short_conv": True, "conv_bias": True}],
    "fla_delta_net": [{"vocab_size": 48, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_heads": 2,
                       "qk_activation": "relu"}],
    # Attention among time mixing, and another activation.
    "fla_rwkv6": [{"vocab_size": 48, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "gate_low_rank_dim": 4, "proj_low_rank_dim": 4,
                   "hidden_act": "silu", "attn": FIRST}],
    # The activation is the convolution's, and not the gate's.
    "mamba2": [{"vocab_size": 48, "hidden_size": 16, "num_heads": 4, "head_dim": 8, "n_groups": 1, "state_size": 8, "hidden_act": "gelu"}],
    "mamba": [{"vocab_size": 48, "hidden_size": 16, "intermediate_size": 32, "state_size": 4, "num_hidden_layers": 1, "hidden_act": "gelu"}],
}
SWEEP = {
    "llama": [
        {"attention_bias": True, "mlp_bias": True, "head_dim": 24, "rope_scaling": None, "hidden_size": 40, "num_attention_heads": 5,
         "num_key_value_heads": 1, "intermediate_size": 52, "vocab_size": 130},
        {"num_key_value_heads": 4, "tie_word_embeddings": True, "rope_scaling": YARN, "hidden_act": "gelu"},
        {"rope_scaling": LINEAR, "num_hidden_layers": 1},
        {"rope_scaling": YARN_TURNS, "hidden_act": "gelu_pytorch_tanh"},
        {"rope_scaling": LLAMA3, "pretraining_tp": 2},
        {"hidden_size": 72, "num_attention_heads": 6, "num_key_value_heads": 2, "rope_scaling": {"factor": 32.0, "high_freq_factor":
         4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 32, "rope_type": "llama3"}, "head_dim": 12},
    ],
    "mistral": [
        {"sliding_window": None, "head_dim": 20},
        {"sliding_window": 5, "num_attention_heads": 8, "num_key_value_heads": 8, "rope_scaling": YARN_TURNS},
        {"sliding_window": 64, "tie_word_embeddings": True},
        {"rope_scaling": YARN, "hidden_size": 40, "num_attention_heads": 5, "num_key_value_heads": 1},
    ],
    "qwen2": [
        {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 1, "tie_word_embeddings": False},
        {"num_key_value_heads": 1, "num_attention_heads": 8, "rope_scaling": YARN_TURNS, "max_position_embeddings": 512},
        {"hidden_size": 40, "num_attention_heads": 5, "num_key_value_heads": 1, "layer_types": ["sliding_attention", "full_attention",
         "sliding_attention"], "use_sliding_window": True, "sliding_window": 6},
    ],
    "qwen3": [
        {"attention_bias": True, "head_dim": 16, "tie_word_embeddings": False, "use_sliding_window": True, "sliding_window": 9,
         "max_window_layers": 2},
        {"num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 8, "rope_scaling": YARN, "hidden_size": 72},
    ],
    "qwen2_moe": [
        {"norm_topk_prob": True, "decoder_sparse_step": 2, "num_hidden_layers": 3, "num_experts_per_tok": 1},
        {"mlp_only_layers": [0], "num_key_value_heads": 2, "num_experts": 6, "num_experts_per_tok": 6, "use_sliding_window": True,
         "sliding_window": 10, "max_window_layers": 1},
        {"qkv_bias": False, "tie_word_embeddings": True},
    ],
    "qwen3_moe": [
        {"norm_topk_prob": False, "mlp_only_layers": [], "decoder_sparse_step": 2, "num_experts_per_tok": 1, "attention_bias": True},
        {"num_key_value_heads": 4, "num_experts": 5, "num_experts_per_tok": 2, "tie_word_embeddings": True, "head_dim": 8,
         "use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1},
        {"hidden_size": 40, "num_attention_heads": 5, "num_key_value_heads": 1, "decoder_sparse_step": 3, "mlp_only_layers": [0]},
    ],
    "qwen3_next": [
        {"full_attention_interval": 2, "decoder_sparse_step": 2, "norm_topk_prob": False, "linear_num_value_heads": 2,
         "linear_conv_kernel_dim": 3, "partial_rotary_factor": 0.5},
        {"mlp_only_layers": [0, 2], "linear_num_key_heads": 1, "linear_num_value_heads": 3, "linear_key_head_dim": 20,
         "linear_value_head_dim": 16, "head_dim": 24, "partial_rotary_factor": 1.0, "num_key_value_heads": 4, "attention_bias": True,
         "tie_word_embeddings": True},
        {"layer_types": ["full_attention", "linear_attention", "linear_attention", "full_attention"], "rope_scaling": YARN_TURNS,
         "num_experts_per_tok": 1},
        {"num_experts": 0, "layer_types": ["linear_attention", "full_attention", "linear_attention", "linear_attention"]},
    ],
    "gemma": [
        {"num_key_value_heads": 4, "head_dim": 12, "hidden_activation": "gelu", "attention_bias": True},
        {"num_key_value_heads": 2, "rope_scaling": LINEAR, "hidden_activation": None, "hidden_act": "gelu"},
        {"hidden_size": 56, "head_dim": 20, "num_attention_heads": 2},
    ],
    "gemma2": [
        {"attn_logit_softcapping": None, "final_logit_softcapping": None, "num_hidden_layers": 3, "query_pre_attn_scalar": 100,
         "sliding_window": 7},
        {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0, "num_key_value_heads": 8, "attention_bias": True},
        {"layer_types": ["full_attention", "sliding_attention"], "head_dim": 20},
    ],
    "gemma3_text": [
        {"rope_scaling": None, "num_hidden_layers": 7, "sliding_window_pattern": 3, "sliding_window": 5},
        {"attn_logit_softcapping": 4.0, "final_logit_softcapping": 5.0, "num_hidden_layers": 2, "layer_types": ["full_attention",
         "sliding_attention"], "num_key_value_heads": 2, "attention_bias": True},
        {"rope_scaling": YARN_TURNS, "rope_local_base_freq": 500},
        {"hidden_size": 56, "head_dim": 20, "num_attention_heads": 2, "num_key_value_heads": 1, "rope_scaling": LLAMA3,
         "query_pre_attn_scalar": 20},
    ],
    "gpt_oss": [
        {"num_experts_per_tok": 1, "experts_per_token": 1, "sliding_window": 5, "num_hidden_layers": 3, "layer_types":
         ["full_attention", "sliding_attention", "sliding_attention"], "head_dim": 20},
        {"num_local_experts": 5, "num_experts_per_tok": 3, "experts_per_token": 3, "rope_scaling": None, "attention_bias": False,
         "swiglu_limit": 1.5},
        {"tie_word_embeddings": True, "num_key_value_heads": 8},
        {"hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 12, "intermediate_size": 40,
         "num_local_experts": 3, "num_experts_per_tok": 2},
    ],
    "mixtral": [
        {"sliding_window": 9, "num_experts_per_tok": 1, "head_dim": 20},
        {"num_local_experts": 7, "num_experts_per_tok": 4, "num_key_value_heads": 4, "tie_word_embeddings": True, "rope_scaling":
         LINEAR},
        {"hidden_size": 40, "num_attention_heads": 5, "num_key_value_heads": 1},
    ],
    "olmo2": [
        {"num_key_value_heads": 2, "attention_bias": True},
        {"num_key_value_heads": 1, "tie_word_embeddings": True, "rope_scaling": YARN_TURNS, "hidden_act": "gelu"},
        {"hidden_size": 40, "num_attention_heads": 5, "num_key_value_heads": 1},
    ],
    "olmoe": [
        {"norm_topk_prob": True, "clip_qkv": 0.8, "num_key_value_heads": 2},
        {"num_experts": 5, "num_experts_per_tok": 4, "tie_word_embeddings": True, "attention_bias": True},
        {"hidden_size": 40, "num_attention_heads": 5, "num_key_value_heads": 5, "clip_qkv": 0.3, "rope_scaling": LINEAR},
    ],
    "phi3": [
        {"rope_scaling": None, "sliding_window": None, "partial_rotary_factor": 0.5, "num_key_value_heads": 4, "tie_word_embeddings":
         True},
        {"sliding_window": 11, "original_max_position_embeddings": 100, "max_position_embeddings": 1000},
        {"head_dim": 24, "rope_scaling": None, "partial_rotary_factor": 1.0},
        {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 1},
    ],
    "phimoe": [
        {"num_local_experts": 4, "num_key_value_heads": 4, "lm_head_bias": False, "attention_bias": False, "rope_scaling": None,
         "sliding_window": 10},
        {"sliding_window": 7, "router_jitter_noise": 0.2, "num_local_experts": 3, "tie_word_embeddings": True},
        {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 1, "num_local_experts": 8},
    ],
    "deepseek_v2": [
        {"q_lora_rank": None, "topk_method": "greedy", "rope_scaling": None, "first_k_dense_replace": 0, "n_shared_experts": 1},
        {"first_k_dense_replace": 2, "num_hidden_layers": 3, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 2, "attention_bias":
         True, "routed_scaling_factor": 1.0},
        {"n_group": 1, "topk_group": 1, "v_head_dim": 20, "qk_nope_head_dim": 8, "moe_layer_freq": 1, "tie_word_embeddings": True,
         "norm_topk_prob": True},
        {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3, "kv_lora_rank": 20, "q_lora_rank": None,
         "qk_nope_head_dim": 12, "qk_rope_head_dim": 4, "v_head_dim": 16},
    ],
    "deepseek_v3": [
        {"q_lora_rank": None, "rope_scaling": None, "first_k_dense_replace": 0, "norm_topk_prob": False, "n_shared_experts": 2},
        {"n_group": 1, "topk_group": 1, "num_experts_per_tok": 1, "attention_bias": True, "rope_interleave": False},
        {"n_group": 2, "topk_group": 1, "num_hidden_layers": 2, "rope_scaling": YARN_MSCALE, "tie_word_embeddings": True},
        {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3, "kv_lora_rank": 20, "q_lora_rank": 20,
         "qk_nope_head_dim": 12, "qk_rope_head_dim": 4, "v_head_dim": 16, "n_routed_experts": 12, "n_group": 3, "topk_group": 2,
         "num_experts_per_tok": 4},
    ],
    "mamba": [
        {"use_bias": True, "use_conv_bias": False, "conv_kernel": 3, "state_size": 7, "time_step_rank": 3, "residual_in_fp32": False},
        {"expand": 3, "intermediate_size": 144, "num_hidden_layers": 1, "n_layer": 1, "tie_word_embeddings": False},
        {"hidden_size": 40, "intermediate_size": 80, "time_step_rank": "auto"},
    ],
    "falcon_mamba": [
        {"use_bias": True, "use_conv_bias": False, "conv_kernel": 2, "state_size": 9, "mixer_rms_eps": 0.001},
        {"tie_word_embeddings": True, "intermediate_size": 80, "expand": 2, "hidden_size": 40},
        {"hidden_size": 40, "intermediate_size": 80, "time_step_rank": "auto"},
    ],
    "mamba2": [
        {"n_groups": 1, "use_bias": True, "use_conv_bias": False, "conv_kernel": 3, "state_size": 12},
        {"n_groups": 4, "expand": 3, "num_heads": 12, "time_step_limit": [0.01, 0.2], "tie_word_embeddings": True},
        {"n_groups": 8, "head_dim": 16, "chunk_size": 64, "num_hidden_layers": 3},
        {"hidden_size": 40, "head_dim": 10, "num_heads": 8, "n_groups": 2, "state_size": 20, "rms_norm": False},
    ],
    "jamba": [
        {"attn_layer_offset": 0, "attn_layer_period": 3, "expert_layer_offset": 0, "expert_layer_period": 1, "mamba_conv_bias": False,
         "mamba_proj_bias": True, "num_hidden_layers": 4},
        {"num_experts": 1, "num_experts_per_tok": 1, "mamba_d_state": 5, "mamba_d_conv": 3, "mamba_expand": 1, "tie_word_embeddings":
         True, "num_key_value_heads": 4},
        {"num_experts_per_tok": 1, "mamba_dt_rank": 7, "attn_layer_period": 8, "attn_layer_offset": 4},
        {"hidden_size": 40, "num_attention_heads": 5, "num_key_value_heads": 1, "mamba_dt_rank": "auto"},
    ],
    "bamba": [
        {"attn_layer_indices": [0, 2], "mamba_n_groups": 2, "mamba_conv_bias": False, "mamba_proj_bias": True, "attention_bias": True,
         "mlp_bias": True, "mamba_d_conv": 3},
        {"attn_layer_indices": [], "mamba_n_heads": 16, "mamba_d_head": 8, "mamba_d_state": 24, "tie_word_embeddings": True},
        {"attn_layer_indices": [1], "num_attention_heads": 8, "num_key_value_heads": 8, "partial_rotary_factor": 1.0, "rope_scaling":
         LINEAR},
        {"hidden_size": 48, "num_attention_heads": 4, "num_key_value_heads": 1, "mamba_n_heads": 6, "mamba_d_head": "auto",
         "attn_rotary_emb": 6},
    ],
    "granitemoehybrid": [
        {"position_embedding_type": "rope", "num_local_experts": 0, "num_experts_per_tok": 0, "mamba_n_groups": 2, "attention_bias":
         True, "tie_word_embeddings": False},
        {"layer_types": ["attention", "attention", "mamba"], "mamba_conv_bias": False, "mamba_proj_bias": True, "num_local_experts": 5,
         "num_experts_per_tok": 3, "residual_multiplier": 1.0, "logits_scaling": 1, "embedding_multiplier": 1, "attention_multiplier":
         0.3},
        {"layer_types": ["mamba", "mamba", "mamba"], "mamba_d_head": 8, "mamba_n_heads": 16, "mamba_d_conv": 2},
        {"layer_types": ["attention", "attention", "attention"], "position_embedding_type": "rope", "rope_scaling": YARN_TURNS},
        {"hidden_size": 48, "mamba_n_heads": 6, "mamba_d_head": "auto", "num_attention_heads": 3, "num_key_value_heads": 1,
         "num_local_experts": 6, "num_experts_per_tok": 1, "position_embedding_type": "rope"},
        {"shared_intermediate_size": 24, "tie_word_embeddings": False, "num_local_experts": 0, "layer_types": ["mamba", "mamba",
         "attention"]},
    ],
    "falcon_h1": [
        {"mamba_rms_norm": False, "mamba_n_groups": 1, "mamba_conv_bias": False, "attention_bias": True, "mlp_bias": True,
         "projectors_bias": True, "mamba_proj_bias": True},
        {"mamba_norm_before_gate": True, "mamba_n_groups": 3, "mamba_d_conv": 3, "tie_word_embeddings": True, "head_dim": 24,
         "num_key_value_heads": 4},
        {"mamba_d_ssm": 128, "mamba_n_heads": 8, "mamba_n_groups": 4, "num_hidden_layers": 3, "rope_scaling": LINEAR},
        {"hidden_size": 48, "mamba_d_ssm": None, "mamba_n_heads": 6, "mamba_d_head": 16, "mamba_n_groups": 1, "head_dim": 12,
         "mamba_rms_norm": True},
    ],
    "nemotron_h": [
        {"hybrid_override_pattern": "*M-M", "num_hidden_layers": 4, "n_groups": 3, "use_conv_bias": False, "mamba_proj_bias": True,
         "attention_bias": True, "mlp_bias": True, "mlp_hidden_act": "silu"},
        {"hybrid_override_pattern": "MM*-", "num_hidden_layers": 4, "n_groups": 1, "head_dim": 24, "conv_kernel": 3, "use_bias": True,
         "tie_word_embeddings": True, "time_step_limit": [0.01, 0.1], "time_step_min": 0.02},
        {"hidden_size": 40, "mamba_num_heads": 5, "n_groups": 1, "head_dim": 10, "num_attention_heads": 4, "num_key_value_heads": 1,
         "hybrid_override_pattern": "M*-M-"},
    ],
    "nemotron_h_moe": [
        {"n_group": 4, "topk_group": 2, "norm_topk_prob": False, "routed_scaling_factor": 1.0, "n_shared_experts": 2},
        {"num_experts_per_tok": 1, "hybrid_override_pattern": "E*EM-", "n_groups": 1, "moe_intermediate_size": 20, "mlp_bias": True},
        {"moe_latent_size": 16},
        {"n_routed_experts": 6, "num_experts_per_tok": 2, "n_group": 3, "topk_group": 2, "moe_shared_expert_intermediate_size": 20},
    ],
    "zamba2": [
        {"use_mem_rope": False, "use_shared_attention_adapter": False, "adapter_rank": 4, "mamba_ngroups": 1},
        {"layers_block_type": ["hybrid", "mamba", "mamba", "hybrid", "mamba"], "hybrid_layer_ids": [0, 3], "num_hidden_layers": 5,
         "mamba_ngroups": 3, "add_bias_linear": True, "use_conv_bias": False, "mamba_d_conv": 3},
        {"num_attention_heads": 2, "attention_head_dim": 48, "kv_channels": 24, "num_key_value_heads": 2, "num_query_groups": 2,
         "n_mamba_heads": 6},
        {"adapter_rank": 3, "use_mem_rope": True, "rope_theta": 500.0, "use_long_context": True},
    ],
    "minimax": [
        {"layer_types": ["full_attention", "linear_attention", "linear_attention", "linear_attention"], "num_hidden_layers": 4,
         "block_size": 7, "linear_attn_alpha_factor": 2.0, "full_attn_beta_factor": 0.7, "mlp_beta_factor": 1.3, "num_local_experts": 5,
         "num_experts_per_tok": 3},
        {"num_key_value_heads": 4, "head_dim": 24, "sliding_window": 9, "tie_word_embeddings": True, "num_experts_per_tok": 1},
        {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 16, "rotary_dim": 16},
        {"layer_types": ["linear_attention", "linear_attention", "linear_attention"]},
    ],
    "lfm2": [
        {"full_attn_idxs": [0, 3], "conv_L_cache": 4, "conv_bias": True, "block_auto_adjust_ff_dim": False, "num_key_value_heads": 4,
         "tie_embedding": False},
        {"block_multiple_of": 16, "block_ffn_dim_multiplier": 1.3, "layer_types": ["conv", "conv", "full_attention", "full_attention"],
         "full_attn_idxs": None},
        {"hidden_size": 48, "block_dim": 48, "conv_dim": 48, "conv_dim_out": 48, "num_attention_heads": 3, "num_heads": 3,
         "num_key_value_heads": 1},
        {"rope_theta": 5000.0, "full_attn_idxs": [], "intermediate_size": 128, "block_ff_dim": 128, "block_auto_adjust_ff_dim": False},
    ],
    "lfm2_moe": [
        {"norm_topk_prob": False, "use_expert_bias": False, "num_dense_layers": 0, "num_experts_per_tok": 1, "routed_scaling_factor":
         2.0},
        {"conv_bias": True, "conv_L_cache": 2, "num_dense_layers": 2, "num_key_value_heads": 4, "tie_embedding": False, "layer_types":
         ["full_attention", "conv", "full_attention"]},
        {"hidden_size": 40, "num_attention_heads": 5, "num_key_value_heads": 1, "num_experts": 5, "num_experts_per_tok": 4},
    ],
    "recurrent_gemma": [
        {"hidden_size": 72, "head_dim": 18, "lru_width": 80, "partial_rotary_factor": 1.0, "num_attention_heads": 4,
         "num_key_value_heads": 1},
        {"partial_rotary_factor": 1.0, "lru_width": 48, "num_attention_heads": 4, "block_types": ["attention", "recurrent"],
         "logits_soft_cap": 3.0, "attention_window_size": 5, "num_key_value_heads": 2},
        {"num_hidden_layers": 5, "conv1d_width": 3, "attention_bias": True, "embeddings_scale_by_sqrt_dim": False,
         "num_key_value_heads": 4, "partial_rotary_factor": 1.0},
        {"hidden_size": 40, "head_dim": 10, "lru_width": None, "partial_rotary_factor": 1.0, "block_types": ["recurrent", "attention"]},
    ],
    "kimi_linear": [
        {"num_experts_per_token": 1, "routed_scaling_factor": 1.0, "moe_renormalize": False},
        {"hidden_size": 40, "num_shared_experts": 2, "first_k_dense_replace": 0},
        {"q_lora_rank": 16, "num_expert_group": 2, "topk_group": 1},
        {"tie_word_embeddings": True, "v_head_dim": 20},
    ],
    "fla_retnet": [
        {"expand_v": 1, "use_output_gate": False, "attn": SECOND},
        {"use_short_conv": True, "num_heads": 2, "expand_k": 0.5, "feature_map": "relu", "conv_size": 3},
        {"num_kv_heads": 2},
        {"fuse_norm": False, "tie_word_embeddings": True, "fuse_swiglu": False, "hidden_ratio": 4, "intermediate_size": None},
    ],
    "fla_gla": [
        {"expand_k": 1.0, "use_output_gate": False, "gate_logit_normalizer": 8, "gate_low_rank_dim": 6},
        {"use_short_conv": True, "conv_size": 3, "feature_map": "relu"},
        {"num_kv_heads": 2},
        {"clamp_min": -0.5},
    ],
    "fla_delta_net": [
        {"use_gate": True, "use_beta": False, "expand_k": 0.5, "expand_v": 1.5},
        {"use_short_conv": False, "allow_neg_eigval": True},
        {"use_short_conv": False, "qk_activation": "relu"},
        {"attn": SECOND, "conv_size": 2, "norm_eps": 0.01},
        {"use_output_norm": False},
    ],
    "fla_gated_deltanet": [
        {"use_gate": False, "num_v_heads": 8, "expand_v": 1},
        {"use_short_conv": False, "allow_neg_eigval": True},
        {"conv_bias": True, "attn": FIRST, "norm_eps": 0.01},
        {"conv_size": 2, "num_heads": 2, "head_dim": 24, "tie_word_embeddings": True},
    ],
    "fla_kda": [
        {"allow_neg_eigval": True, "num_v_heads": 8, "expand_v": 2},
        {"use_short_conv": False, "head_dim": 12, "num_heads": 3, "attn": SECOND},
        {"safe_gate": True, "lower_bound": -4.0},
        {"conv_bias": True, "conv_size": 3, "norm_eps": 0.01},
    ],
    "fla_gsa": [
        {"use_short_conv": True, "conv_size": 3, "feature_map": "relu"},
        {"num_kv_heads": 2},
        {"expand_k": 0.5, "attn": SECOND, "num_slots": None},
        {"use_norm": False},
        {"use_output_gate": True},
    ],
    "fla_hgrn": [
        {"expand_ratio": 2, "use_lower_bound": False},
        {"num_hidden_layers": 4, "norm_eps": 0.01, "tie_word_embeddings": True},
    ],
    "fla_hgrn2": [
        {"num_heads": 2, "expand_ratio": 32},
        {"num_hidden_layers": 4, "norm_eps": 0.01, "use_lower_bound": False},
        {"num_heads": 8, "expand_ratio": None},
    ],
    "mesa_net": [
        MESA,
        {**MESA, "use_output_gate": True, "conv_size": 3, "lambda_lower_bound": 0.1, "num_heads": 3, "head_dim": 12, "norm_eps": 0.01},
        {**MESA, "attn": SECOND, "tie_word_embeddings": True},
    ],
    "log_linear_mamba2": [
        LOG_LINEAR,
        {**LOG_LINEAR, "n_groups": 1, "use_bias": True, "use_conv_bias": False, "conv_kernel": 3, "state_size": 8},
        {**LOG_LINEAR, "norm_eps": 0.01, "tie_word_embeddings": True, "norm_before_gate": False},
    ],
    "fla_rwkv6": [
        {"num_heads": 2, "expand_k": 0.5, "norm_bias": False, "proj_low_rank_dim": 5, "gate_low_rank_dim": 7},
        {"norm_first": False, "hidden_ratio": 3.0, "intermediate_size": None, "norm_eps": 0.001},
        {"expand_v": 2.0, "num_hidden_layers": 3, "attn": SECOND, "tie_word_embeddings": True},
        {"hidden_act": "silu", "attn": FIRST},
    ],
    "fla_rwkv7": [
        {"head_dim": 32, "norm_bias": False, "a_low_rank_dim": 5, "v_low_rank_dim": 3, "decay_low_rank_dim": 6, "gate_low_rank_dim": 7},
        {"norm_first": False, "hidden_ratio": 3.0, "intermediate_size": None, "norm_eps": 0.001, "fuse_norm": True},
        {"num_hidden_layers": 3, "value_dim": [64, 64, 64], "tie_word_embeddings": True, "head_dim": 8, "hidden_act": "silu"},
    ],
}


def randomize(model, seed):
    """Weights that let every part count, rounded to bfloat16; vectors stay about where the family begins."""
    generator = torch.Generator().manual_seed(seed)
    buffers = [(name, buffer) for name, buffer in model.named_buffers() if "bias" in name]
    done = set()
    for name, p in list(model.named_parameters()) + buffers:
        r = torch.randn(p.shape, generator=generator)
        # Tied ones are one; hub code and transformers disagree on Kimi's bias of choices.
        if p.data_ptr() in done or "correction" in name and "Kimi" in type(model).__name__:
            continue
        done.add(p.data_ptr())
        if p.dim() <= 1 or "A_log" in name or "norm" in name:
            p.data = p.data.float() + 0.2 * r
        elif "embed" in name:
            p.data = 0.7 * r
        elif "conv" in name:
            p.data = 0.5 * r
        else:
            transposed = p.dim() == 3 and "GptOss" in type(model).__name__
            p.data = 1.2 * r / math.sqrt(p.shape[1 if transposed else -1])
        if "correction" in name:
            p.data -= 0.4
        p.data = p.data.to(torch.bfloat16).float()


def save(model, folder, config, written):
    model.to(torch.bfloat16).save_pretrained(folder)
    file = folder / "model.safetensors"
    if config["model_type"] == "kimi_linear":
        # transformers 5.18 writes dense layers under the experts' name.
        dense = (".block_sparse_moe.gate_proj", ".block_sparse_moe.up_proj", ".block_sparse_moe.down_proj")
        tensors = load_file(file)
        for name in [name for name in tensors if any(part in name for part in dense)]:
            tensors[name.replace("block_sparse_moe", "mlp")] = tensors.pop(name)
        save_file(tensors, file, metadata={"format": "pt"})
    (folder / "generation_config.json").unlink(missing_ok=True)
    if not written:
        (folder / "config.json").write_text(json.dumps(config, indent=1))


@torch.no_grad()
def logits(model, ids):
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def case(model, ids, steps=16):
    all_logits = logits(model, ids)
    logprobs = torch.log_softmax(all_logits.double(), -1)
    tokens, greedy, margins = list(ids), [], []
    for _ in range(steps):
        best = torch.topk(logits(model, tokens)[-1], 2)
        greedy.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
        tokens.append(greedy[-1])
    return {
        "name": f"len{len(ids)}",
        "input_ids": ids,
        "last_logits": [float(x) for x in all_logits[-1]],
        "token_logprobs": [float(logprobs[i, ids[i + 1]]) for i in range(len(ids) - 1)],
        "greedy": greedy,
        "greedy_margin_top1_top2": margins,
    }, float(all_logits.std())


def configuration(family):
    return json.loads((GOLDEN / BASES.get(family, family) / "config.json").read_text())


def changed(family, change):
    return {key: value for key, value in {**configuration(family), **change}.items() if value is not OUT}


def make(folder, family, change, seed, lengths, written):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = changed(family, change)
    (folder / "config.json").write_text(json.dumps(config))
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), attn_implementation="eager").float().eval()
    with torch.no_grad():
        randomize(model, seed)
    model.tie_weights()
    save(model, folder, config, written)
    model, loading = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True)
    if any(loading.values()):
        raise ValueError(f"it does not load as it was saved: {loading}")
    generator = torch.Generator().manual_seed(7)
    cases, deviation = [], 0
    for length in lengths:
        ids = torch.randint(0, config["vocab_size"], (length,), generator=generator).tolist()
        made, deviation = case(model.eval(), ids)
        cases.append(made)
    golden = {
        "reference": f"transformers {transformers.__version__}, torch {torch.__version__}, float32, eager",
        "changes": change,
        "tolerance": {"suggested_abs_logits": 1e-3 * deviation},
        "cases": cases,
    }
    (folder / "golden.json").write_text(json.dumps(golden))
    print(f"{folder.name}: logits deviate by {deviation:.2f}", flush=True)


def values(key, value):
    """What a key might be instead."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, float):
        return [0.01] if "eps" in key else [value * 1.7, value * 0.6]
    if isinstance(value, int):
        return [value + 1, value * 2, value // 2]
    if isinstance(value, str) and "act" in key:
        return [name for name in ("gelu", "relu") if name != value]
    if isinstance(value, list) and len(value) > 1 and all(isinstance(x, str) for x in value):
        return [value[1:] + value[:1]]
    return []


def is_small(family, change, folder):
    """Left out, a size may be that of a real model."""
    folder.mkdir(parents=True, exist_ok=True)
    config = changed(family, change)
    (folder / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), attn_implementation="eager")
    return sum(p.numel() for p in model.parameters()) < 3_000_000


def make_by_key(out, family):
    """Each key left out, and changed to the first value with which the reference runs."""
    base = KEPT[family][0] if family in BASES else {"partial_rotary_factor": 1.0} if family == "recurrent_gemma" else {}
    config = type(AutoConfig.for_model(configuration(family)["model_type"]))
    for key, value in {**dict(given(config)), **configuration(family), **base}.items():
        if key in UNREAD or value is OUT:
            continue
        done = False
        left_out = [OUT] if key in configuration(family) else []
        for i, other in enumerate(left_out + values(key, value)):
            if done:
                break
            folder = out / f"{family}_{key}_{i}"
            try:
                change = {**base, key: other}
                if is_small(family, change, folder):
                    make(folder, family, change, zlib.crc32(folder.name.encode()), [1, 33], False)
                    done = other is not OUT
                    continue
                reason = "too large"
            except Exception as e:  # The reference's refusals are of every type.
                reason = f"{type(e).__name__} {e}"
            print(f"{folder.name}: not made, {reason[:200]}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("families", nargs="*")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--keys", action="store_true")
    parser.add_argument("--written", action="store_true")
    options = parser.parse_intermixed_args()
    transformers.logging.set_verbosity_error()
    table = SWEEP if options.sweep or options.keys else KEPT
    # fla's own are made apart from transformers', which would take its kernels: name them.
    families = options.families or [family for family in table if not family.startswith(FLA)]
    if any(family.startswith(FLA) for family in families):
        import fla_naive  # noqa: F401
    for family in families:
        if options.keys:
            make_by_key(options.out, family)
            continue
        for i, change in enumerate(table[family]):
            make(options.out / f"{family}_{i}", family, change, 100 + i, [1, 7, 24, 65, 140] if options.sweep else [1, 7, 20], options.written)


if __name__ == "__main__":
    main()
