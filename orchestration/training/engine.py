"""The DeepSpeed engine of a stage's model."""

import logging
import os
from typing import Any

import torch
from torch import nn

from hia.config import Config, Stage
from hia.training.optimizer import learning_rate_factor, make_optimizer


def start_engine(model: nn.Module, config: Config, stage: Stage, workers: int, universal: bool = False) -> Any:
    """Start a DeepSpeed engine for the model's trainable weights, on this process' device.

    universal: it will read a checkpoint that other workers wrote, brought into DeepSpeed's universal form. The process
    group must exist. Micro-batches go through `engine(...)`, `engine.backward(loss)` and `engine.step()`.
    """
    deepspeed = import_deepspeed()
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(trainable, config.optimizer, stage)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, config.optimizer, stage.iterations)
    )
    if config.training.offload_optimizer:
        optimizer = deepspeed.ops.adam.DeepSpeedCPUAdam(
            trainable, **{key: optimizer.defaults[key] for key in ("lr", "betas", "weight_decay")}, adamw_mode=True
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.lr_lambdas[0])
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=optimizer, lr_scheduler=schedule, config=settings(config, stage, workers, universal)
    )
    return engine


def settings(config: Config, stage: Stage, workers: int, universal: bool) -> dict[str, Any]:
    """DeepSpeed's configuration."""
    training = config.training
    zero: dict[str, Any] = {"stage": training.zero_stage, "overlap_comm": bool(training.gpus_per_worker)}
    if training.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    half = training.dtype == "bfloat16"
    # DeepSpeed casts parameters alone by default; the motion layers add a buffer, the positions, to activations.
    buffers = {"data_types": {"buffer_dtype": "bf16"}} if half else {}
    return buffers | {
        "train_micro_batch_size_per_gpu": stage.micro_batch_size,
        "gradient_accumulation_steps": stage.accumulation(workers),
        "gradient_clipping": config.optimizer.clip_norm,
        "bf16": {"enabled": half},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
        "checkpoint": {"load_universal": universal},
    }


def import_deepspeed() -> Any:
    """Import DeepSpeed, with few log lines and without an operator that it would compile for minutes on CPUs."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "error")
    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # It serves only inference over several CPU processes, needs a compiler, and a killed build blocks later ones.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
