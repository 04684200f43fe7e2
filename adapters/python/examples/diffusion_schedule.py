#!/usr/bin/env python3
"""A diffusers pipeline as an evaluator: at which few time steps to call its network, and which
layers to leave out at each.

    pip install ./adapters/python diffusers torch
    paretod serve --config adapters/python/examples/diffusion-paretod.json
    paretod submit adapters/python/examples/diffusion-job.json --watch

The pipeline here is a small one with random weights, so that nothing has to be downloaded, and the
score is how far its samples are from those of many steps.  For a model of your own, change
load_pipeline() to DDIMPipeline.from_pretrained(...), features() to the network that you judge by,
and reference() to real images.
"""
import collections
import contextlib
import json
import os
import time

import numpy
import paretod
import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D

BATCH = 50  # images; noise is named by batch, so that fewer images are a prefix of more
MOST_STEPS = 6
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def load_pipeline():
    torch.manual_seed(0)
    unet = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, layers_per_block=1,
                       block_out_channels=(16, 32), norm_num_groups=4,
                       down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                       up_block_types=("AttnUpBlock2D", "UpBlock2D"))
    return DDIMPipeline(unet.eval(), DDIMScheduler(num_train_timesteps=1000))


def features(images):
    """What the Frechet distance is taken on, [n, d]: here the pixels themselves."""
    return images.flatten(1).double().numpy()


# ---------------------------------------------------------------- layers that a step can leave out
def without_residual(block):
    """Only the shortcut of a residual block runs."""
    def forward(x, *args, **kwargs):
        shortcut = x if block.conv_shortcut is None else block.conv_shortcut(x)
        return shortcut / block.output_scale_factor
    return forward


def without_attention(block):
    return lambda x, *args, **kwargs: x


def droppable_layers(unet):
    """Name to module and the forward that replaces its own.  Blocks that change the resolution are
    not among them."""
    layers = {}
    for name, module in unet.named_modules():
        if isinstance(module, ResnetBlock2D) and module.upsample is None and module.downsample is None:
            layers[name] = module, without_residual(module)
        elif isinstance(module, Attention) and module.residual_connection:
            layers[name] = module, without_attention(module)
    return layers


@contextlib.contextmanager
def dropped(names):
    for name in names:
        module, forward = LAYERS[name]
        module.forward = forward  # found before the class's own
    try:
        yield
    finally:
        for name in names:
            del LAYERS[name][0].forward


# ---------------------------------------------------------------- sampling
def noise(replicate, batch):
    generator = torch.Generator().manual_seed(replicate * 1_000_003 + batch)
    unet = PIPELINE.unet.config
    return torch.randn(BATCH, unet.in_channels, unet.sample_size, unet.sample_size,
                       generator=generator)


@torch.inference_mode()
def sample(schedule, x):
    """DDIM without noise along any increasing time steps.  (The scheduler's own step() takes it that
    they are evenly spaced.)"""
    scheduler = PIPELINE.scheduler
    steps = list(reversed(schedule))
    for step, after in zip(steps, steps[1:] + [None]):
        a = scheduler.alphas_cumprod[step["at"]]
        b = torch.tensor(1.0) if after is None else scheduler.alphas_cumprod[after["at"]]
        with dropped(step.get("mask", [])):
            said = PIPELINE.unet(x, step["at"]).sample
        if scheduler.config.prediction_type == "v_prediction":
            image = a.sqrt() * x - (1 - a).sqrt() * said
            noisy = a.sqrt() * said + (1 - a).sqrt() * x
        else:
            image, noisy = (x - (1 - a).sqrt() * said) / a.sqrt(), said
        if scheduler.config.clip_sample:
            image = image.clamp(-1, 1)
        x = b.sqrt() * image + (1 - b).sqrt() * noisy
    return x


# ---------------------------------------------------------------- statistics that extend
class Statistics:
    """Number, sum and outer products of features, batch by batch."""

    def __init__(self):
        self.batches = []
        self.seconds = 0.0

    def extend(self, schedule, replicate, batches, trial=None):
        while len(self.batches) < batches:
            if trial is not None:
                trial.check()
                trial.report(done=len(self.batches) / batches)
            start = time.perf_counter()
            found = features(sample(schedule, noise(replicate, len(self.batches))))
            if not numpy.isfinite(found).all():
                raise paretod.Infeasible("the samples are not finite")
            self.seconds += time.perf_counter() - start
            self.batches.append((len(found), found.sum(0), found.T @ found))
        return self

    def moments(self, batches, without=None):
        used = [b for i, b in enumerate(self.batches[:batches]) if i != without]
        n, total, products = (sum(part) for part in zip(*used))
        mean = total / n
        return mean, (products - n * numpy.outer(mean, mean)) / (n - 1)


def frechet(a, b):
    (mean_a, cov_a), (mean_b, cov_b) = a, b
    w, v = numpy.linalg.eigh(cov_a)
    root = (v * numpy.sqrt(w.clip(0))) @ v.T
    w = numpy.linalg.eigvalsh(root @ cov_b @ root)
    return (((mean_a - mean_b) ** 2).sum() + numpy.trace(cov_a) + numpy.trace(cov_b) -
            2 * numpy.sqrt(w.clip(0)).sum())


def uniform(count):
    """As the "trailing" spacing of diffusers."""
    timesteps = PIPELINE.scheduler.config.num_train_timesteps
    return [{"at": round((i + 1) * timesteps / count) - 1} for i in range(count)]


def reference():
    return Statistics().extend(uniform(50), 10**9, 10).moments(10)


PIPELINE = load_pipeline()
LAYERS = droppable_layers(PIPELINE.unet)
REFERENCE = reference()
KEPT = collections.OrderedDict()  # schedule and replicate to its statistics, oldest first


@paretod.evaluator(objectives={"fd": "min", "cost": "min"}, metrics=["calls", "seconds"],
                   version="tiny diffusion 1", fidelity=("images", 200),
                   space={"schedule": paretod.schedule(
                       0, PIPELINE.scheduler.config.num_train_timesteps - 1, least=1,
                       most=MOST_STEPS, whole=True, mask=list(LAYERS))})
def diffusion(trial):
    schedule = trial["schedule"]
    batches = max(2, (trial.fidelity or 200) // BATCH)
    key = json.dumps([schedule, trial.replicate])
    statistics = KEPT.setdefault(key, Statistics())
    KEPT.move_to_end(key)
    while len(KEPT) > 200:
        KEPT.popitem(last=False)
    statistics.extend(schedule, trial.replicate, batches, trial)
    fd = frechet(REFERENCE, statistics.moments(batches))
    # Jackknife over batches.
    without = [frechet(REFERENCE, statistics.moments(batches, without=i)) for i in range(batches)]
    stderr = ((batches - 1) * numpy.var(without)) ** 0.5
    cost = sum(len(LAYERS) - len(step.get("mask", [])) for step in schedule)
    images = len(statistics.batches) * BATCH
    return paretod.Result({"fd": paretod.Measured(fd, stderr=stderr, n=batches * BATCH),
                           "cost": cost},
                          metrics={"calls": len(schedule), "seconds": statistics.seconds / images})


if __name__ == "__main__":
    diffusion.run()
