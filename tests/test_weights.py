"""The table of names: published models decay the weights of layers, and no others.

The trees have the names that the models use; shapes are small, with as many axes.
"""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import jaxdrop
from jaxdrop import constraints, penalties
from jaxdrop._paths import map_with_name
from jaxdrop._weights import check_where

D = 4
VECTOR, MATRIX = (D,), (D, D)
DENSE = {"kernel": MATRIX, "bias": VECTOR}
LINEAR = {"weight": MATRIX, "bias": VECTOR}
NORM = {"scale": VECTOR, "bias": VECTOR}
TORCH_NORM = {"weight": VECTOR, "bias": VECTOR}
HEADS = {"kernel": (D, 2, 2), "bias": (2, 2)}
PATCHES = {"kernel": (2, 2, 3, D), "bias": VECTOR}
TABLE = {"embedding": (7, D)}

# Vision transformers of Google Research, in Linen; big_vision pools with a probe.
GOOGLE_BLOCK = {
    "LayerNorm_0": NORM,
    "MultiHeadDotProductAttention_1": {
        **{part: HEADS for part in ("query", "key", "value")},
        "out": {"kernel": (2, 2, D), "bias": VECTOR},
    },
    "LayerNorm_2": NORM,
    "MlpBlock_3": {"Dense_0": DENSE, "Dense_1": DENSE},
}
GOOGLE_VIT = {
    "cls": (1, 1, D),
    "embedding": PATCHES,
    "Transformer": {
        "posembed_input": {"pos_embedding": (1, 5, D)},
        "encoderblock_0": GOOGLE_BLOCK,
        "encoder_norm": NORM,
    },
    "MAPHead_0": {"probe": (1, 1, D), "LayerNorm_0": NORM},
    "pre_logits": DENSE,
    "head": DENSE,
}
GOOGLE_WEIGHTS = {
    "embedding/kernel",
    *(
        f"Transformer/encoderblock_0/MultiHeadDotProductAttention_1/{part}/kernel"
        for part in ("query", "key", "value", "out")
    ),
    *(f"Transformer/encoderblock_0/MlpBlock_3/Dense_{i}/kernel" for i in (0, 1)),
    *("pre_logits/kernel", "head/kernel"),
}

# The names of timm: ViT with registers and distillation, BEiT, Swin, LeViT, SAM.
TIMM = {
    **{token: (1, 1, D) for token in ("cls_token", "dist_token", "mask_token")},
    **{name: (1, 5, D) for name in ("pos_embed", "absolute_pos_embed", "reg_token")},
    "patch_embed": {"proj": {"weight": (D, 3, 2, 2), "bias": VECTOR}, "norm": NORM},
    "blocks": {
        "0": {
            "norm1": TORCH_NORM,
            "attn": {
                "qkv": LINEAR,
                "proj": LINEAR,
                **{"q_bias": VECTOR, "v_bias": VECTOR, "logit_scale": (2, 1, 1)},
                **{"rel_pos_h": (3, 2), "rel_pos_w": (3, 2)},
                **{"relative_position_bias_table": (9, 2), "attention_biases": (2, 9)},
            },
            **{"ls1": {"gamma": VECTOR}, "gamma_1": (1, 1, D)},
            "norm2": TORCH_NORM,
            "mlp": {"fc1": LINEAR, "fc2": LINEAR},
        }
    },
    "rel_pos_bias": {"relative_position_bias_table": (9, 2)},
    "attn_pool": {"latent": (1, 1, D), "kv": LINEAR},
    "norm": TORCH_NORM,
    "head": LINEAR,
}
TIMM_WEIGHTS = {
    "patch_embed/proj/weight",
    *(f"blocks/0/attn/{layer}/weight" for layer in ("qkv", "proj")),
    *(f"blocks/0/mlp/{layer}/weight" for layer in ("fc1", "fc2")),
    *("attn_pool/kv/weight", "head/weight"),
}

# minGPT and nanoGPT, ported to Flax with tables as modules or as arrays.
GPT_BLOCK = {
    "ln_1": NORM,
    "attn": {"c_attn": DENSE, "c_proj": DENSE},
    "ln_2": TORCH_NORM,
    "mlp": {"c_fc": DENSE, "c_proj": DENSE},
}
GPT = {
    **{"wte": (7, D), "wpe": (5, D)},
    "transformer": {"wte": TABLE, "wpe": {"weight": (5, D)}, "h": {"0": GPT_BLOCK}},
    **{"tok_emb": {"weight": (7, D)}, "pos_emb": (1, 5, D)},
    **{"ln_f": NORM, "lm_head": {"kernel": MATRIX}},
}
GPT_WEIGHTS = {
    "lm_head/kernel",
    *(f"transformer/h/0/attn/{layer}/kernel" for layer in ("c_attn", "c_proj")),
    *(f"transformer/h/0/mlp/{layer}/kernel" for layer in ("c_fc", "c_proj")),
}

# T5, as in T5X and as in Hugging Face's Flax models.
T5 = {
    "token_embedder": TABLE,
    "shared": TABLE,
    "encoder": {
        "relpos_bias": {"rel_embedding": (2, 8)},
        "layers_0": {
            "pre_attention_layer_norm": {"scale": VECTOR},
            "attention": {"query": {"kernel": MATRIX}, "out": {"kernel": MATRIX}},
            "mlp": {"wi_0": {"kernel": MATRIX}, "wo": {"kernel": MATRIX}},
        },
        "block": {
            "0": {
                "SelfAttention": {
                    **{part: {"kernel": MATRIX} for part in ("q", "k", "v", "o")},
                    "relative_attention_bias": {"embedding": (8, 2)},
                },
                "layer_norm": {"weight": VECTOR},
            }
        },
    },
    "torch": {"relative_attention_bias": {"weight": (8, 2)}},
    "decoder": {"logits_dense": {"kernel": MATRIX}},
}
T5_WEIGHTS = {
    *(f"encoder/layers_0/attention/{part}/kernel" for part in ("query", "out")),
    *(f"encoder/layers_0/mlp/{part}/kernel" for part in ("wi_0", "wo")),
    *(f"encoder/block/0/SelfAttention/{part}/kernel" for part in "qkvo"),
    "decoder/logits_dense/kernel",
}

# BERT of Hugging Face, whose head for pre-training is a module named cls.
BERT = {
    "embeddings": {
        **{f"{kind}_embeddings": TABLE for kind in ("word", "position", "token_type")},
        "LayerNorm": NORM,
    },
    "encoder": {"layer": {"0": {"self": {"query": DENSE}, "LayerNorm": NORM}}},
    "pooler": {"dense": DENSE},
    "cls": {"predictions": {"transform": {"dense": DENSE}, "bias": (7,)}},
}
BERT_WEIGHTS = {
    *("encoder/layer/0/self/query/kernel", "pooler/dense/kernel"),
    "cls/predictions/transform/dense/kernel",
}

MODELS = [
    pytest.param(GOOGLE_VIT, GOOGLE_WEIGHTS, id="Google's ViT"),
    pytest.param(TIMM, TIMM_WEIGHTS, id="timm"),
    pytest.param(GPT, GPT_WEIGHTS, id="GPT"),
    pytest.param(T5, T5_WEIGHTS, id="T5"),
    pytest.param(BERT, BERT_WEIGHTS, id="BERT"),
]


def abstract(shapes, num_layers=None):
    """A tree of abstract arrays; with ``num_layers`` each has one more axis."""
    front = () if num_layers is None else (num_layers,)
    return jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct((*front, *shape), jnp.float32),
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def marked(mask) -> set[str]:
    """The paths of the leaves that a mask marks."""
    found: dict[str, bool] = {}
    map_with_name(lambda name, leaf: found.update({name: leaf}), mask)
    return {name for name, is_marked in found.items() if is_marked}


@pytest.mark.parametrize("num_layers", [None, 12])
@pytest.mark.parametrize("shapes, weights", MODELS)
def test_published_models_decay_the_weights_of_their_layers(
    shapes, weights, num_layers
):
    """Also where a scan has stacked the layers, and vectors have two axes."""
    assert marked(constraints.decay_mask(abstract(shapes, num_layers))) == weights


@pytest.mark.parametrize(
    "name",
    [
        *("cls", "class_token", "class_tokens", "clstoken", "register_tokens"),
        *("query_tokens", "mask_token", "memory_tokens", "soft_prompt", "probe"),
        *("latents", "object_queries", "pos_emb", "tok_emb", "type_emb", "posemb"),
        *("wpe", "wte", "pe", "pos", "pos_embed_x", "time_pos_emb", "emb_out_pos"),
        *("positional_encoding", "position_bias", "temporal_positional_embedding"),
        *("relative_position_bias_table", "rel_pos_bias", "rel_pos_h", "relpos"),
        *("embedding_table", "codebook", "class_embedding", "Embedding", "CLS"),
        *("layer_scale_1", "gamma_1", "gamma1", "logit_scale", "scale_mlp"),
        *("bias_hh", "in_proj_bias", "pos_bias_u", "attention_biases"),
        *("kernel_log_variance", "log_alpha", "A_log", "log_sigma2"),
        # HF's Wav2Vec2, S5, RWKV, VMamba, Imagen, RoPE-ViT, XCiT, StyleGAN, Set
        # Transformer and Bayes by Backprop; hand-written and recurrent layers.
        *("codevectors", "weight_g", "log_step", "Lambda_re", "nu_log", "A_logs"),
        *("time_decay", "time_mix_k", "null_kv", "mem_kv", "freqs", "temperature"),
        *("const", "inducing_points", "slots_mu", "kernel_rho", "beta", "lambda_1"),
        *("b", "b1", "b_ih", "bq", "h0", "initial_state", "registers", "ctx"),
    ],
)
def test_arrays_with_names_in_wide_use_are_not_decayed(name):
    array = jnp.ones((1, 4, 8))
    assert constraints.decay_mask({name: array}) == {name: False}
    assert constraints.decay_mask({"model": {name: array}}) == {"model": {name: False}}
    model = nnx.state(nnx.Dict({name: nnx.Param(array)}))
    assert marked(constraints.decay_mask(model)) == set()
    assert constraints.decay_mask({name: array}, include=name) == {name: True}


@pytest.mark.parametrize(
    "path",
    [
        *("cls/kernel", "cls_head/kernel", "patch_embed/proj/weight", "embed/kernel"),
        *("norm_mlp/fc1/weight", "PreNormBlock_0/dense/weight", "position_mlp/kernel"),
        *("embedder/linear_0/w", "decomposition", "token_mixer/kernel", "w_out"),
        *("tokens_mlp/kernel", "table_head/kernel", "lora_a", "lora_b", "in_proj"),
        *("patch_embedding/weight", "probe/kernel", "biaser", "w1", "c_attn"),
        *("lora/b", "time_mixer/kernel", "w_b", "logits/kernel", "shift_mlp/w"),
    ],
)
def test_layers_with_similar_names_are_decayed(path):
    tree = jnp.ones((4, 8))
    for name in reversed(path.split("/")):
        tree = {name: tree}
    assert marked(constraints.decay_mask(tree)) == {path}


KEY = jax.random.key(0)
TREE = {"head": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
MISTYPED = {
    "decay_mask exclude": lambda p, **k: constraints.decay_mask(TREE, exclude=p, **k),
    "decay_mask include": lambda p, **k: constraints.decay_mask(TREE, include=p, **k),
    "decay_mask stacked": lambda p, **k: constraints.decay_mask(TREE, stacked=p, **k),
    "max_norm stacked": lambda p, **k: constraints.max_norm(1.0, stacked=p, **k).init(
        TREE
    ),
    "unit_norm stacked": lambda p, **k: constraints.unit_norm(stacked=p, **k).init(
        TREE
    ),
    "group_lasso stacked": lambda p, **k: penalties.group_lasso(TREE, stacked=p, **k),
    "spectral stacked": lambda p, **k: penalties.spectral(TREE, stacked=p, **k),
    "orthogonal stacked": lambda p, **k: penalties.orthogonal(TREE, stacked=p, **k),
}


@pytest.mark.parametrize("patterns", ["haed/*", ["haed/*", "Kernal"]])
@pytest.mark.parametrize("use", MISTYPED)
def test_patterns_that_match_nothing_are_refused(use, patterns):
    caller, argument = use.split()
    message = rf"^{caller}: {argument}=.*haed/\*.* matches none .*'head/bias', 'head/ke"
    with pytest.raises(ValueError, match=message):
        MISTYPED[use](patterns)
    MISTYPED[use](patterns, allow_empty=True)


@pytest.mark.parametrize("use", MISTYPED)
def test_one_of_several_patterns_is_enough(use):
    argument = use.split()[1]
    MISTYPED[use](["haed/*", "bias" if argument == "stacked" else "HEAD/*"])


@pytest.mark.parametrize(
    "call",
    [
        lambda where: jaxdrop.drop_connect(KEY, TREE, rate=0.5, where=where),
        lambda where: jaxdrop.mixout(KEY, TREE, TREE, rate=0.5, where=where),
    ],
)
def test_a_selection_of_no_weights_to_drop_is_refused(call):
    with pytest.raises(ValueError, match=r"where selects none .*'head/bias', 'head/k"):
        call(lambda path, leaf: path.startswith("haed"))
    call(lambda path, leaf: path.startswith("head"))


@pytest.mark.parametrize(
    "choose",
    [
        lambda where: jaxdrop.drop_connect(
            jax.random.key(0), {"kernel": jnp.ones(3)}, rate=0.5, where=where
        ),
        lambda where: penalties.l2({"kernel": jnp.ones((2, 3))}, where=where),
        check_where,
    ],
    ids=["technique", "penalty", "check"],
)
def test_leaves_are_chosen_by_a_function(choose):
    message = r"where must be a function of a path and a leaf, .* got 'kernel'\.$"
    with pytest.raises(TypeError, match=message):
        choose("kernel")
    choose(None)
