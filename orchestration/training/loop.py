"""The training loop of one stage, the same in all of its processes: steps, logging, validation, checkpoints."""

import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from hia.config import LossWeights
from hia.data.sampling import Sample, TrainingSamples
from hia.data.sampling.epoch_sampler import positions
from hia.data.sampling.loader import collate, sample_batches
from hia.data.store.clip_store import open_store
from hia.models.animator import Animator
from hia.models.parts import part_parameters
from hia.training.flops import training_flops
from hia.training.optimizer import MovingAverage
from hia.training.step import generator_for, training_loss
from orchestration.training import checkpoints
from orchestration.training.context import TrainingContext, held_out_samples, load_training_context, training_samples
from orchestration.training.distributed import Process, process_group, this_process
from orchestration.training.engine import start_engine
from orchestration.training.meters import MeanMeter, StepTimer, throughput
from orchestration.training.run import WEIGHTS, TrainingFailed, TrainingRun
from orchestration.training.validation import validation_losses, write_previews
from orchestration.training.weights import full_weights, load_animator, write_weights


class Journal(Protocol):
    """The log of metrics and artifacts that rank 0 writes; `orchestration.tracking.journal.JournalWriter`."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Log values after a step."""

    def artifact(self, path_in_stage_folder: str, under: str) -> None:
        """Log a file of the stage's folder."""


def train_stage(run: TrainingRun, journal: Journal | None = None) -> dict[str, float]:
    """Train a stage to its end, from its newest checkpoint if there is one; writes its weights, returns its last loss.

    `torch.distributed` must be initialised. Only rank 0 writes the journal. Raises TrainingFailed when the loss is not
    finite or a checkpoint does not fit; ValueError or OSError for input that cannot be used.
    """
    process = this_process(gpu=bool(run.config.training.gpus_per_worker))
    trainer = Trainer.start(run, process, journal if process.first else None)
    return trainer.train()


def train_in_process(run: TrainingRun, journal: Journal | None = None) -> dict[str, float]:
    """`train_stage` without Ray: in this process, or as one of torchrun's. Raises what `train_stage` raises."""
    with process_group(run):
        return train_stage(run, journal)


@dataclass
class Trainer:
    """The state of a stage's training after `step` optimizer steps."""

    run: TrainingRun
    process: Process
    journal: Journal | None
    animator: Animator
    engine: Any
    samples: TrainingSamples
    held_out: TrainingSamples | None
    context: TrainingContext
    average: MovingAverage | None
    timer: StepTimer
    meter: MeanMeter
    step: int = 0

    @classmethod
    def start(cls, run: TrainingRun, process: Process, journal: Journal | None) -> "Trainer":
        """Load model, data and engine, and restore the newest checkpoint."""
        config, stage = run.config, run.settings
        store = open_store(run.store, check="size")
        animator = load_animator(config, run.weights, motion="motion" in stage.trains)
        animator.train_only(stage.trains)
        if config.training.gradient_checkpointing:
            animator.enable_gradient_checkpointing()
        animator.train()
        context = load_training_context(config, stage, store, process.device, animator.image_token_dim)
        samples = training_samples(context)
        checkpoint = checkpoints.newest(run.path, run.fingerprint)
        convert = checkpoint is not None and checkpoints.needs_conversion(
            checkpoint, process.world_size, config.training.zero_stage
        )
        trainer = cls(
            run=run,
            process=process,
            journal=journal,
            animator=animator,
            engine=start_engine(animator, config, stage, process.world_size, universal=convert),
            samples=samples,
            held_out=held_out_samples(context),
            context=context,
            average=None,
            timer=StepTimer(process.device),
            meter=MeanMeter(),
        )
        if process.first and config.optimizer.ema_decay is not None:
            trainer.average = MovingAverage(trainer._trained(), config.optimizer.ema_decay)
        if process.first:
            checkpoints.tidy(run.path)
        if checkpoint is not None:
            trainer._restore(checkpoint, convert)
        return trainer

    def train(self) -> dict[str, float]:
        """Train the remaining steps and write the weights."""
        settings, iterations = self.run.config.training, self.run.settings.iterations
        flops = self._flops()
        last: dict[str, float] = {}
        self.timer.restart()
        with closing(self._batches()) as batches:
            while self.step < iterations:
                self._optimizer_step(batches)
                if self.step % settings.log_every == 0 or self.step == iterations:
                    last = self._log(flops)
                if settings.validate_every and (self.step % settings.validate_every == 0 or self.step == iterations):
                    with self.timer.pause():
                        self._validate()
                if self.step % settings.checkpoint_every == 0 and self.step < iterations:
                    with self.timer.pause():
                        self._save()
        self._export()
        return {name: value for name, value in last.items() if name.startswith("loss")}

    # ------------------------------------------------------------------------------------------------ one step

    def _batches(self) -> Generator[Sample, None, None]:
        """Micro-batches of this process from the present step to the end."""
        stage, process = self.run.settings, self.process
        accumulation = stage.accumulation(process.world_size)
        ranges = (
            micro_batch
            for step in range(self.step, stage.iterations)
            for micro_batch in positions(step, process.rank, process.world_size, stage.micro_batch_size, accumulation)
        )
        yield from sample_batches(self.samples, ranges, self.run.config.samples.workers)

    def _optimizer_step(self, batches: Iterator[Sample]) -> None:
        """One optimizer step over the global batch."""
        stage, process = self.run.settings, self.process
        accumulation = stage.accumulation(process.world_size)
        firsts = positions(self.step, process.rank, process.world_size, stage.micro_batch_size, accumulation)
        terms: list[dict[str, Tensor]] = []
        sample_ids: list[str] = []
        for micro_batch in firsts:
            with self.timer.measure("data"):
                batch = self.context.batch(next(batches))
            generator = generator_for(self.run.config.seed, stage.name, micro_batch[0])
            with self.timer.measure("forward"):
                loss, parts = training_loss(
                    self.engine, self.context.schedule, batch, stage, generator, self.context.supervision
                )
            with self.timer.measure("backward"):
                self.engine.backward(loss)
            terms.append({"loss": loss.detach()} | {f"loss/{name}": part.detach() for name, part in parts.items()})
            sample_ids += batch.sample_ids
            if micro_batch is firsts[-1]:
                self.meter.add(self._means(terms, sample_ids))
            with self.timer.measure("optimizer"):
                self.engine.step()
        self.step += 1
        self._check_gradient(sample_ids)
        if self.average is not None:
            self.average.update(self._trained(), self.step)
        self.timer.count_step()

    def _means(self, terms: list[dict[str, Tensor]], sample_ids: list[str]) -> dict[str, float]:
        """Means of the loss and its terms over the global batch. Raises TrainingFailed when one is not finite."""
        table = torch.stack([torch.stack(list(row.values())) for row in terms]).double()
        means = table.mean(dim=0)
        dist.all_reduce(means)
        values = (means / self.process.world_size).tolist()
        if not all(map(math.isfinite, values)):
            size = self.run.settings.micro_batch_size
            bad = torch.isfinite(table).all(dim=1).logical_not().nonzero().flatten().tolist()
            self._fail("the loss is not finite", [name for i in bad for name in sample_ids[i * size : (i + 1) * size]])
        return dict(zip(terms[0], values, strict=True))

    def _check_gradient(self, sample_ids: list[str]) -> None:
        norm = self._gradient_norm()
        if norm is not None and not math.isfinite(norm):
            self._fail(f"the gradient's norm is {norm}", sample_ids)

    def _fail(self, what: str, sample_ids: list[str]) -> None:
        everyone: list[list[str]] = [[] for _ in range(self.process.world_size)]
        dist.all_gather_object(everyone, sample_ids)
        named = ", ".join(name for ids in everyone for name in ids) or "unknown (all processes' own losses are finite)"
        raise TrainingFailed(
            f"stage {self.run.stage}, step {self.step}: {what}. Samples: {named}. Look at them (hia inspect), or lower "
            "the learning rate; the checkpoint before this step is intact"
        )

    def _gradient_norm(self) -> float | None:
        norm = self.engine.get_global_grad_norm()
        return None if norm is None else float(norm)

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        parts = (part_parameters(self.animator, part) for part in self.run.settings.trains)
        return {name: parameter for part in parts for name, parameter in part.items()}

    # ----------------------------------------------------------------------------------- logging and checkpoints

    def _log(self, flops: float) -> dict[str, float]:
        """Log the means since the last line; flops: of one process in one step."""
        seconds = self.timer.read()
        values = self.meter.read() | {"learning_rate": self.engine.get_lr()[0]}
        norm = self._gradient_norm()
        if norm is not None:
            values["gradient_norm"] = norm
        batch = self.run.settings.global_batch_size
        values["epoch"] = self.step * batch / len(self.samples)
        values |= {f"seconds/{part}": value for part, value in seconds.items()}
        values |= {
            "samples_per_second": batch / seconds["step"],
            **throughput(flops, seconds["step"], self.process.device),
        }
        if self.journal is not None:
            self.journal.metrics(self.step, values)
        return values

    def _flops(self) -> float:
        """FLOPs of this process in one optimizer step, counted on one sample."""
        stage = self.run.settings
        batch = self.context.batch(collate([self.samples[0]]))
        one = training_flops(
            self.animator,
            lambda: training_loss(
                self.animator, self.context.schedule, batch, replace(stage, losses=LossWeights()), generator_for(0)
            ),
        )
        return one * stage.global_batch_size / self.process.world_size

    def _validate(self) -> None:
        """Validation losses and preview videos; every process computes its share of both."""
        if self.held_out is not None:
            losses = validation_losses(self.engine.module, self.held_out, self.context, self.process)
            if self.journal is not None:
                self.journal.metrics(self.step, losses)
        files = write_previews(self.run, self.animator, self.context, self.process, self.step)
        if self.journal is not None:
            for file in files:
                self.journal.artifact(file, "samples")

    def _save(self) -> None:
        settings = self.run.config.training
        checkpoints.save(
            self.engine,
            self.run.path,
            self.step,
            settings.zero_stage,
            self.run.fingerprint,
            self.meter.state(),
            self.average.weights if self.average else None,
            settings.num_to_keep,
        )

    def _restore(self, checkpoint: checkpoints.Checkpoint, convert: bool) -> None:
        average = checkpoints.load(self.engine, checkpoint, convert)
        if self.average is not None and average is not None:
            self.average.load(average)
        self.step = checkpoint.step
        self.meter.load(checkpoint.memory)

    def _export(self) -> None:
        """Write the trained parts, or their moving average, in float32."""
        whole: dict[str, dict[str, Tensor]] = {
            part: full_weights(self.engine, part_parameters(self.animator, part)) for part in self.run.settings.trains
        }
        if not self.process.first:
            dist.barrier()
            return
        if self.average is not None:
            averages = {name: tensor.cpu() for name, tensor in self.average.weights.items()}
            whole = {part: {name: averages[name] for name in tensors} for part, tensors in whole.items()}
        write_weights(self.run.path / WEIGHTS, whole)
        dist.barrier()
