"""flash-linear-attention without Triton: its models as they are, with its own naive functions, or their formulas, in place of its kernels.

Held to: the golden folders of fla, within 3e-5 (fla 0.5.2). Needs fla_core, flash_linear_attention, einops and triton, which is imported
only; in an environment of its own, since transformers takes fla's kernels where it finds them.
"""
import inspect

import fla.layers.attn
import fla.layers.delta_net
import fla.layers.gated_deltanet
import fla.layers.gla
import fla.layers.gsa
import fla.layers.hgrn
import fla.layers.hgrn2
import fla.layers.kda
import fla.layers.log_linear_mamba2
import fla.layers.mesa_net
import fla.layers.multiscale_retention
import fla.layers.rwkv6
import fla.layers.rwkv7
import fla.models
import fla.models.rwkv6.modeling_rwkv6
import fla.models.rwkv7.modeling_rwkv7
import fla.modules.activations
import fla.modules.convolution
import fla.modules.feature_map
import fla.modules.fused_norm_gate
import fla.modules.layernorm
import fla.modules.layernorm_gated
import fla.modules.mlp
import fla.modules.rotary
import torch
import torch.nn.functional as F
from fla.ops.delta_rule.naive import delta_rule_recurrence
from fla.ops.gated_delta_rule.naive import naive_recurrent_gated_delta_rule
from fla.ops.gla.naive import naive_recurrent_gla
from fla.ops.gsa.naive import naive_recurrent_gsa
from fla.ops.hgrn.naive import naive_recurrent_hgrn
from fla.ops.kda.gate import naive_kda_gate, naive_kda_lowerbound_gate
from fla.ops.kda.naive import naive_recurrent_kda
from fla.ops.generalized_delta_rule.dplr.naive import dplr_recurrence
from fla.ops.log_linear_attn.naive import naive_log_linear_attn
from fla.ops.mesa_net.naive import naive_mesa_net_exact
from fla.ops.retention.naive import naive_retention
from fla.ops.rwkv6.recurrent_naive import naive_recurrent_rwkv6
from fla.ops.rwkv7.fused_addcmul import torch_addcmul_rwkv7
from fla.ops.rwkv7.fused_k_update import k_update_ref
from fla.ops.rwkv7.gate_output_correction import gate_output_correction_ref

ACTIVATIONS = {"swish": F.silu, "silu": F.silu, "sigmoid": torch.sigmoid}


def rms(x, weight, eps, bias=None):
    y = x.float()
    y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def unit(x):
    return x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) + 1e-6)


def swiglu(x, y):
    return F.silu(x) * y


def norm(self, x, residual=None, prenorm=False, residual_in_fp32=False):
    x = x if residual is None else x + residual
    y = rms(x, self.weight, self.eps, getattr(self, "bias", None))
    return (y, x) if prenorm else y


def gated_norm(self, x, g, *_, **__):
    return rms(x, self.weight, self.eps, getattr(self, "bias", None)) * ACTIVATIONS[self.activation](g.float())


def norm_linear(x, norm_weight, norm_bias, weight, bias, residual=None, eps=1e-5, **_):
    return F.linear(rms(x, norm_weight, eps, norm_bias), weight, bias)


def causal_conv(x, weight, bias, activation, **_):
    kernel = weight.shape[-1]
    padded = F.pad(x.transpose(1, 2), (kernel - 1, 0))
    y = F.conv1d(padded, weight.reshape(-1, 1, kernel), bias, groups=x.shape[-1]).transpose(1, 2)
    return ACTIVATIONS[activation](y) if activation else y, None


def rotate(self, q, k, **_):
    inverse = 1 / self.base ** (torch.arange(0, self.dim, 2, dtype=torch.float32) / self.dim)
    angles = torch.outer(torch.arange(q.shape[1], dtype=torch.float32), inverse)
    return tuple(fla.modules.rotary.rotary_embedding_ref(x, angles.cos(), angles.sin(), self.interleaved) for x in (q, k))


def attention(q, k, v, causal=True, window_size=(-1, -1)):
    k, v = (x.repeat_interleave(q.shape[2] // x.shape[2], 2) for x in (k, v))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
    place = torch.arange(q.shape[1])
    hidden = place[None] > place[:, None]
    if window_size[0] >= 0:
        hidden = hidden | (place[:, None] - place[None] > window_size[0])
    return torch.einsum("bhqk,bkhd->bqhd", scores.masked_fill(hidden, -torch.inf).softmax(-1), v)


def gla(q, k, v, gk=None, g=None, **_):
    return naive_recurrent_gla(q, k, v, g if gk is None else gk)


def retention(q, k, v, **_):
    return naive_retention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2), None


def delta_rule(q, k, v, beta, use_qk_l2norm_in_kernel=False, **_):
    if use_qk_l2norm_in_kernel:
        q, k = unit(q), unit(k)
    return delta_rule_recurrence(*(x.transpose(1, 2) for x in (q, k, v, beta)))[0].transpose(1, 2), None


def gated_delta_rule(q, k, v, g, beta, A_log, dt_bias, allow_neg_eigval=False, **_):
    q, k = (unit(x).repeat_interleave(v.shape[2] // x.shape[2], 2) for x in (q, k))
    g = -A_log.float().exp() * F.softplus(g.float() + dt_bias)
    return naive_recurrent_gated_delta_rule(q, k, v, beta.sigmoid() * (2 if allow_neg_eigval else 1), g)


def kda(q, k, v, g, beta, A_log, dt_bias, allow_neg_eigval=False, lower_bound=None, **_):
    g = naive_kda_gate(g, A_log, dt_bias) if lower_bound is None else naive_kda_lowerbound_gate(g, A_log, dt_bias, lower_bound)
    return naive_recurrent_kda(unit(q), unit(k), v, g, beta.sigmoid() * (2 if allow_neg_eigval else 1))


def gsa(q, k, v, s, g, scale=None, **_):
    return naive_recurrent_gsa(q, k, v, s, g, scale)[0], None


def hgrn(x, g, **_):
    return naive_recurrent_hgrn(x, g)


def group_norm(self, x, residual=None, prenorm=False, residual_in_fp32=False):
    """Of groups of columns; a layer norm is one group."""
    x = x if residual is None else x + residual
    groups = x.float().unflatten(-1, (getattr(self, "num_groups", 1), -1))
    groups = groups - (0 if getattr(self, "is_rms_norm", False) else groups.mean(-1, keepdim=True))
    y = (groups * torch.rsqrt(groups.pow(2).mean(-1, keepdim=True) + self.eps)).flatten(-2)
    y = y if self.weight is None else y * self.weight
    y = y if self.bias is None else y + self.bias
    return (y, x) if prenorm else y


def token_shift(x, cu_seqlens=None, output_cache=False, **_):
    delta = F.pad(x, (0, 0, 1, 0))[:, :-1] - x
    return (delta, None) if output_cache else delta


def rwkv6(r, k, v, w, u, scale=1.0, **_):
    return naive_recurrent_rwkv6(*(x.transpose(1, 2) for x in (r, k, v, w)), u, scale)[0].transpose(1, 2), None


def rwkv7(r, w, k, v, a, b, scale=1.0, **_):
    r = r * scale * r.shape[-1] ** 0.5
    return dplr_recurrence(*(x.transpose(1, 2) for x in (r, k, v, a, b, w)))[0].transpose(1, 2), None


def rwkv7_of_unit_keys(r, w, k, v, kk, a, scale=1.0, **_):
    return rwkv7(r, w, k, v, -kk, kk * a, scale)


def mesa_net(q, k, v, g, beta, lamb, **_):
    return naive_mesa_net_exact(unit(q), unit(k), v, g, lamb, beta)


def log_linear_attn(q, k, v, g, level_scales, **_):
    q, k = (x.repeat_interleave(v.shape[2] // x.shape[2], 2) for x in (q, k))
    return naive_log_linear_attn(q, k, v, g, level_scales), None


def log_linear_mamba2(self, hidden_states, *_, **__):
    return self.cuda_kernels_forward(hidden_states)[0], None, None


def conv_of_columns(x, weight, bias, activation, **_):
    """[batch, columns, tokens], as the CUDA package's."""
    return causal_conv(x.transpose(1, 2), weight, bias, activation)[0].transpose(1, 2), None


def norm_of_groups(self, x, z=None):
    return fla.modules.layernorm_gated.rms_norm_ref(
        x, self.weight, self.bias, z, self.eps, self.group_size, self.norm_before_gate)


fla.modules.layernorm.RMSNorm.forward = norm
fla.modules.layernorm.LayerNorm.forward = group_norm
fla.modules.layernorm.GroupNorm.forward = group_norm
fla.modules.activations.ACT2FN.update(swish=F.silu, silu=F.silu, sqrelu=lambda x: F.relu(x).square(), sigmoid=torch.sigmoid)
fla.modules.fused_norm_gate.FusedRMSNormGated.forward = gated_norm
fla.modules.convolution.ShortConvolution.forward = lambda self, x, *_, **__: causal_conv(x, self.weight, self.bias, self.activation)
fla.modules.convolution.causal_conv1d = conv_of_columns
fla.modules.layernorm_gated.RMSNormGated.forward = norm_of_groups
fla.modules.rotary.RotaryEmbedding.forward = rotate
fla.modules.feature_map.swish = F.silu
fla.modules.mlp.swiglu = swiglu
fla.modules.mlp.swiglu_linear = lambda x, y, weight, bias: F.linear(swiglu(x, y), weight, bias)
fla.layers.attn.flash_attn_func = attention
fla.layers.gated_deltanet.causal_conv1d = causal_conv
fla.layers.hgrn.swiglu = swiglu
fla.layers.log_linear_mamba2.LogLinearMamba2.forward = log_linear_mamba2
fla.layers.log_linear_mamba2.chunk_log_linear_attn = log_linear_attn
fla.layers.mesa_net.chunk_mesa_net = mesa_net
fla.layers.hgrn2.swish = F.silu
for layer, name, function in [
    (fla.layers.gla, "gla", gla),
    (fla.layers.hgrn2, "gla", gla),
    (fla.layers.multiscale_retention, "retention", retention),
    (fla.layers.delta_net, "delta_rule", delta_rule),
    (fla.layers.gated_deltanet, "gated_delta_rule", gated_delta_rule),
    (fla.layers.kda, "kda", kda),
    (fla.layers.gsa, "gsa", gsa),
    (fla.layers.hgrn, "hgrn", hgrn),
    (fla.layers.rwkv6, "rwkv6", rwkv6),
    (fla.layers.rwkv7, "rwkv7", rwkv7),
]:
    for form in ("chunk", "fused_chunk", "fused_recurrent", "parallel"):
        setattr(layer, f"{form}_{name}", function)
fla.layers.rwkv7.fused_mul_recurrent_rwkv7 = rwkv7_of_unit_keys
fla.layers.rwkv7.fused_addcmul_rwkv7 = torch_addcmul_rwkv7
fla.layers.rwkv7.fused_k_rwkv7 = k_update_ref
fla.layers.rwkv7.gate_output_correction = gate_output_correction_ref
fla.layers.rwkv7.l2_norm = unit
for module in (fla.layers.rwkv6, fla.layers.rwkv7, fla.models.rwkv6.modeling_rwkv6, fla.models.rwkv7.modeling_rwkv7):
    module.token_shift = token_shift
for layer in (fla.layers.gsa, fla.layers.hgrn2):
    layer.rms_norm_linear = norm_linear
for name, model in inspect.getmembers(fla.models):
    if name.endswith("ForCausalLM"):
        stem = "backbone" if "Mamba" in name else "model"
        model._tied_weights_keys = {"lm_head.weight": f"{stem}.embeddings.weight"}
