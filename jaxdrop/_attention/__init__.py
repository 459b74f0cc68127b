"""Attention with dropout: public functions, and the files behind them.

- ``dot_product_attention``, ``drop_head``, ``drop_key``: the functions that the package
  exports; ``batches``: attention for the modules of Flax.
- ``_arguments``, ``_call``: checks of arguments; the static facts about a call.
- ``_dispatch``, ``_levels``: one primitive, lowered to kernels or to loops of plain
  operations; the levels of ``jax.vmap`` around it.
- ``_plan``, ``_groups``, ``_loops``, ``_tiles``, ``_attend``: the loops. docs/design.md
  has a drawing of their nested units: group, strip, pane, block and tile.
- ``_flash``, ``_flash_tile``: what kernels for TPUs and GPUs share; ``_flash_tpu`` and
  ``_flash_grid``, ``_flash_gpu`` and ``_flash_blocks``: the kernels;
  ``_flash_spread``: kernels on several devices.
- ``_flash_hopper``, ``_flash_hopper_pull``, ``_flash_hopper_bias``,
  ``_flash_warpgroup``: kernels for Hopper GPUs.
"""
