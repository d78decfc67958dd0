"""Reference attention: the denoiser's self-attentions also read the tokens of the reference image.

The appearance encoder yields the tokens; they are projected to keys and values once per clip; each self-attention of
the denoiser appends those to its own. Everything is passed as data: no module holds state between calls.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

Tokens = dict[str, Tensor]
"""Name of a self-attention → its input [B, L, C]."""
KeysValues = dict[str, tuple[Tensor, Tensor]]
"""Name of a self-attention → keys and values of the reference, each [B, L, C]."""
Attend = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""(query, key, value, scale) → output; all [B, L, heads, channels per head]."""


def self_attentions(unet: nn.Module) -> list[str]:
    """Names of the spatial self-attentions, the same in a 2D UNet and in the motion UNet made from it."""
    return [name for name, _ in unet.named_modules() if ".attentions." in name and name.endswith(".attn1")]


# ------------------------------------------------------------------------------------------- appearance encoder


class AppearanceEncoder(nn.Module):
    """A 2D UNet run once, at t = 0, on the clean reference; it returns the inputs of its self-attentions."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, latents: Tensor, image_token: Tensor) -> Tokens:
        """Tokens of the reference for every self-attention.   latents [B, C, h, w]; image_token [B, 1, D]."""
        tokens: Tokens = {}

        def tap(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            def read(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                tokens[name] = inputs[0]

            return read

        names = self_attentions(self.unet)
        hooks = [self.unet.get_submodule(name).register_forward_pre_hook(tap(name)) for name in names]
        try:
            self.unet(latents, torch.zeros((), device=latents.device), image_token, return_dict=False)
        finally:
            for hook in hooks:
                hook.remove()
        return tokens

    def trainable(self) -> Iterator[nn.Parameter]:
        """All weights before the last tap. Those behind it never get a gradient, and DDP would wait for it."""
        behind = {id(parameter) for module in self._tail() for parameter in module.parameters()}
        return (parameter for parameter in self.unet.parameters() if id(parameter) not in behind)

    def _tail(self) -> Iterator[nn.Module]:
        """Modules that run after the last self-attention has been read."""
        unet = self.unet
        last = max(i for i, block in enumerate(unet.up_blocks) if getattr(block, "attentions", None))
        transformer = unet.up_blocks[last].attentions[-1]
        block = transformer.transformer_blocks[-1]
        yield from (block.attn1, block.norm2, block.attn2, block.norm3, block.ff, transformer.proj_out)
        yield from unet.up_blocks[last].upsamplers or ()
        yield from unet.up_blocks[last + 1 :]
        yield from (unet.conv_norm_out, unet.conv_out)


# -------------------------------------------------------------------------------------------------- the reading


def reference_keys_values(unet: nn.Module, tokens: Tokens) -> KeysValues:
    """Project the reference's tokens by the denoiser's own weights, once per clip whatever its length."""
    projected = {}
    for name, value in tokens.items():
        attention: Any = unet.get_submodule(name)
        projected[name] = (attention.to_k(value), attention.to_v(value))
    return projected


class ReferenceAttention:
    """Attention processor over [own tokens ; reference tokens].

    Without a reference it computes what diffusers' own processor does.
    """

    def __init__(self, name: str, attend: Attend) -> None:
        self.name = name
        self.attend = attend

    def __call__(
        self,
        attention: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        reference: KeysValues | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """hidden_states [B·F, L, C]; reference by clip [B, L', C]; keep bool [B], False: drop that clip's reference."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        project, dropout = attention.to_out
        if encoder_hidden_states is not None and context.shape[1] == 1 and not torch.is_grad_enabled():
            # Softmax over the single image token is 1 whatever the query; in training, the query keeps its (zero)
            # gradient, which distributed training waits for.
            return dropout(project(attention.to_v(context))).expand_as(hidden_states)
        query, key, value = attention.to_q(hidden_states), attention.to_k(context), attention.to_v(context)
        if reference is not None and self.name in reference:
            reference_key, reference_value = reference[self.name]
            key, value = _append(key, reference_key, keep), _append(value, reference_value, keep)
        query, key, value = (x.unflatten(-1, (attention.heads, -1)) for x in (query, key, value))
        hidden_states = self.attend(query, key, value, attention.scale).flatten(-2)
        return dropout(project(hidden_states))


def _append(own: Tensor, reference: Tensor, keep: Tensor | None) -> Tensor:
    """[own ; reference] along the tokens.   own [B·F, L, C], reference [B, L', C] → [B·F, L + L', C]

    A dropped clip reads its own tokens twice: softmax over a sequence and its copy equals softmax over the sequence,
    so shapes and the graph stay as they are.
    """
    own = own.unflatten(0, (len(reference), -1))
    repeated = reference[:, None].expand(-1, own.shape[1], -1, -1)
    if keep is not None:
        repeated = torch.where(keep[:, None, None, None], repeated, own)
    return torch.cat([own, repeated], dim=2).flatten(0, 1)


def install_reference_attention(network: nn.Module, kind: str) -> None:
    """Give every spatial attention of a network a processor that takes `reference` and `keep`.

    Motion layers keep theirs. Calling diffusers' set_attn_processor later would undo this silently.
    """
    attend = attention_function(kind)
    for name, module in network.named_modules():
        if isinstance(module, Attention) and ".attentions." in name:
            module.set_processor(ReferenceAttention(name, attend))


# ---------------------------------------------------------------------------------------------- attention kernels


def attention_function(kind: str) -> Attend:
    """The attention kernel by name: `sdpa` (PyTorch) or `xformers`.

    Raises ValueError when xformers is wanted and is not installed or has no GPU to run on.
    """
    if kind == "sdpa":
        return _sdpa
    if kind != "xformers":
        raise ValueError(f"attention must be sdpa or xformers, not {kind!r}")
    try:
        from xformers.ops import memory_efficient_attention
    except ImportError:
        raise ValueError(
            "attention: xformers is not installed (pip install 'hia-animation[gpu]'); or use sdpa"
        ) from None
    if not torch.cuda.is_available():
        raise ValueError("attention: xformers runs on GPUs only and none is visible; use sdpa")

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        return memory_efficient_attention(query, key, value, scale=scale)

    return attend


def _sdpa(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, scale=scale).transpose(1, 2)
