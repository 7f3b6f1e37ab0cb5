"""Training of `reelprint`, the frame descriptor learned from pictures drawn by formula.

    reelspace train descriptor FOLDER [--steps N] [--decay N] [--resume] [--device cuda]

The loss is InfoNCE (Oord et al. 2018) between a picture as a library holds it and copies of it, against all other
pictures of the step (and, if asked for, of the steps before: Wang et al. 2020, cross-batch memory), and the entropy
term of SSCD (Pizzi et al. 2022, Eq. 4), which spreads strangers over the sphere. The learning rate warms up, stays,
and falls to zero over the last steps; any checkpoint of the steady phase can be finished by resuming it with other
`steps`. What each step sees follows from the seed and the step's number, so a resumed run is the run it would have
been: on a CPU to the last bit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from reelspace.errors import FormatError, InvalidArgument, UnknownName
from reelspace.training import edits, images
from reelspace.training.edits import light, strong
from reelspace.training.images import Draw, scenes

__all__ = ["INGREDIENTS", "Recipe", "ReelprintNet", "contrastive_loss", "export", "folded", "recipe_of", "train"]

INGREDIENTS = {**images.INGREDIENTS, **edits.INGREDIENTS}
"""What of the generator and of the edits a recipe can go without, and what each is."""

_COPIES = (0.5, 0.75, 1.0)  # strength of the edits of each copy of a picture: some lessons are easier
_LOG_EVERY = 25
_LEAST = {
    "steps": 1,
    "warmup": 0,
    "weight_decay": 0,
    "entropy": 0,
    "memory": 0,
    "hardening": 0,
    "dimensions": 1,
    "seed": 0,
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a training run follows from.

    Attributes:
        steps: of the whole run.
        decay: the last steps, over which the learning rate falls to zero.
        warmup: the first steps, over which it rises.
        films: scenes per step; each gives two pictures, each picture one light view and three copies.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        temperature: of InfoNCE.
        entropy: weight of the entropy term.
        memory: views of earlier steps that serve as strangers. They did harm (weights/ABLATION.md): all views of
            a step grow alike, away from those of the past.
        hardening: steps over which the edits grow to full strength.
        averaging: decay of the moving average of the weights, which is what is kept.
        dimensions: of the descriptor.
        seed: of the weights, the pictures and the edits.
        without: `INGREDIENTS` left out, to see what they bring.
    """

    steps: int = 20_000
    decay: int = 3_000
    warmup: int = 100
    films: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    temperature: float = 0.06
    entropy: float = 3.0
    memory: int = 0
    hardening: int = 500
    averaging: float = 0.997
    dimensions: int = 256
    seed: int = 0
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "without", tuple(self.without))  # JSON has lists
        for name in self.without:
            if name not in INGREDIENTS:
                raise UnknownName("ingredient to go without", name, INGREDIENTS)
        for name, least in _LEAST.items():
            if not getattr(self, name) >= least:
                raise InvalidArgument(f"{name} is at least {least}, got {getattr(self, name)}")
        if not (self.learning_rate > 0 and self.temperature > 0):
            got = f"{self.learning_rate} and {self.temperature}"
            raise InvalidArgument(f"learning rate and temperature are above 0, got {got}")
        if not 0 <= self.averaging < 1:
            raise InvalidArgument(f"averaging is a decay in [0, 1), got {self.averaging}")
        if not 0 <= self.decay <= self.steps:
            raise InvalidArgument(f"the decay is part of the run: got {self.decay} of {self.steps} steps")
        if self.films < 2:
            raise InvalidArgument(f"pictures are told from strangers: at least 2 films per step, got {self.films}")

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        rising = min(1.0, (step + 1) / max(self.warmup, 1))
        falling = min(1.0, (self.steps - step) / max(self.decay, 1))
        return self.learning_rate * min(rising, falling)


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the first halves the size (He et al. 2016)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, 2, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.short = nn.Conv2d(before, after, 1, 2, bias=False)
        self.short_norm = nn.BatchNorm2d(after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(inner)) + self.short_norm(self.short(x)))


class ReelprintNet(nn.Module):
    """(N, 3, 64, 64) in [0, 1] -> (N, D) of unit length: 5x5 stem, three residual blocks, GeM, one linear map."""

    def __init__(self, dimensions: int = 256) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 5, 2, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(32)
        self.blocks = nn.ModuleList([_Block(32, 64), _Block(64, 128), _Block(128, 256)])
        self.head = nn.Linear(256, dimensions)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """The descriptors."""
        x = F.relu(self.stem_norm(self.stem((pictures - 0.5) * 4)))
        for block in self.blocks:
            x = block(x)
        pooled = x.float().clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)  # GeM, Radenovic et al. 2018
        with torch.autocast(x.device.type, enabled=False):
            return F.normalize(self.head(pooled), dim=1)


def contrastive_loss(
    vectors: torch.Tensor, memory: torch.Tensor, *, temperature: float, entropy: float
) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of one step, and what to log of it.

    Args:
        vectors: (V, N, D) of unit length: view 0 the pictures as a library holds them, the others copies. Pictures
            2i and 2i + 1 are frames of one film; picture i may be the background of a copy of picture i + N / 2.
        memory: (Q, D), views of other pictures, without gradient.
        temperature: of InfoNCE.
        entropy: weight of the entropy term.
    """
    views, n, _ = vectors.shape
    flat = vectors.flatten(0, 1)
    picture = torch.arange(n, device=vectors.device).repeat(views)
    related = (picture[:, None] - picture[None, :]) % (n // 2) == 0
    similar = flat @ flat.T
    old = flat @ memory.T
    apart = torch.cat([similar.masked_fill(related, -2.0), old], dim=1)
    strangers = torch.logsumexp(apart / temperature, dim=1).reshape(views, n)
    agree = (vectors[:1] * vectors[1:]).sum(2)  # (V - 1, N)
    pulled = agree / temperature
    found = F.softplus(strangers[1:] - pulled).mean() + F.softplus(strangers[:1] - pulled).mean()
    film = (picture[:, None] // 2 == picture[None, :] // 2) | related
    nearest = torch.cat([similar.masked_fill(film, -2.0), old], dim=1).amax(dim=1)
    spread = -0.5 * torch.log((2 - 2 * nearest).clamp(min=1e-4)).mean()  # Eq. 4: distance of the nearest stranger
    with torch.no_grad():
        ranks = apart[n:].amax(dim=1).reshape(views - 1, n)
        log = {
            "loss": float(found) / 2,
            "entropy": float(spread),
            "first": float((agree > ranks).float().mean()),
            "copies": float(agree.mean()),
            "nearest": float(nearest.mean()),
        }
    return found / 2 + entropy * spread, log


def _views(recipe: Recipe, step: int, device: torch.device) -> torch.Tensor:
    """What a step sees: (4, N, 3, 64, 64)."""
    generator = torch.Generator(device)
    generator.manual_seed(recipe.seed * 1_000_003 + step)
    draw = Draw(generator)
    pictures = scenes(draw, recipe.films, without=recipe.without)
    strength = 0.35 + 0.65 * min(1.0, step / max(recipe.hardening, 1))
    copies = [strong(draw, pictures, strength=strength * share, without=recipe.without) for share in _COPIES]
    return torch.stack([light(draw, pictures), *copies])


def _ahead(recipe: Recipe, first: int, device: torch.device) -> Iterator[torch.Tensor]:
    """What each step from the first on sees, the next drawn while the net learns from this one."""
    with ThreadPoolExecutor(1) as drawing:
        coming = [drawing.submit(_views, recipe, step, device) for step in range(first, recipe.steps)[:1]]
        for step in range(first, recipe.steps):
            views = coming.pop().result()
            if step + 1 < recipe.steps:
                coming.append(drawing.submit(_views, recipe, step + 1, device))
            yield views


@torch.no_grad()
def _move(average: nn.Module, net: nn.Module, decay: float) -> None:
    """The moving average of weights and of the norms' statistics."""
    for slow, fast in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if slow.is_floating_point():
            slow.lerp_(fast, 1 - decay)
        else:
            slow.copy_(fast)


class _Run:
    """A run between two steps: what a checkpoint holds.

    Attributes:
        net: what learns.
        average: the moving average of its weights.
        optimizer: of the net.
        memory: (Q, D), views of earlier steps.
        step: how many are done.
        log: an entry for each `_LOG_EVERY` of them.
        recent: figures of the steps since the last entry.
        seconds: spent.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.net = ReelprintNet(recipe.dimensions).to(device, memory_format=torch.channels_last)
        self.average = ReelprintNet(recipe.dimensions).to(device)
        self.average.load_state_dict(self.net.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.memory = torch.zeros(0, recipe.dimensions, device=device)
        self.step, self.seconds = 0, 0.0
        self.log: list[dict[str, float]] = []
        self.recent: list[dict[str, float]] = []

    def load(self, file: Path, recipe: Recipe) -> None:
        """Goes back to a checkpoint.

        Raises:
            FormatError: when the file is none.
            InvalidArgument: when it is not one of a run of this recipe's size and length.
        """
        try:
            saved = torch.load(file, map_location=self.memory.device, weights_only=True)
        except (RuntimeError, UnpicklingError, EOFError, LookupError) as error:
            raise FormatError(f"{file} is no checkpoint that can be read: start in another folder") from error
        had = len(saved["average"]["head.bias"])
        if had != recipe.dimensions:
            raise InvalidArgument(f"the run in {file.parent} has {had} dimensions, not {recipe.dimensions}")
        if saved["step"] > recipe.steps:
            done = saved["step"]
            raise InvalidArgument(f"the run in {file.parent} is at step {done}, past the {recipe.steps} asked for")
        self.net.load_state_dict(saved["net"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.memory, self.step, self.log = saved["memory"], saved["step"], saved["log"]
        self.recent, self.seconds = saved.get("recent", []), saved.get("seconds", 0.0)  # not in the first release's

    def save(self, file: Path) -> None:
        """Writes a checkpoint that is whole or not there."""
        parts = {name: getattr(self, name).state_dict() for name in ("net", "average", "optimizer")}
        plain = {name: getattr(self, name) for name in ("memory", "step", "log", "recent", "seconds")}
        beside = file.with_suffix(".new")
        torch.save(parts | plain, beside)
        beside.replace(file)

    def learn(self, recipe: Recipe, views: torch.Tensor) -> dict[str, float]:
        """One step; gives what to log of it."""
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate(self.step)
        self.net.train()
        with torch.autocast(views.device.type, dtype=torch.bfloat16):
            vectors = self.net(views.flatten(0, 1).to(memory_format=torch.channels_last))
        vectors = vectors.reshape(*views.shape[:2], -1)
        loss, figures = contrastive_loss(
            vectors, self.memory, temperature=recipe.temperature, entropy=recipe.entropy
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimizer.step()
        if self.step >= recipe.warmup:  # before, the views of earlier steps say little about this net
            self.memory = torch.cat([vectors.detach()[:2].flatten(0, 1), self.memory])[: recipe.memory]
        _move(self.average, self.net, min(recipe.averaging, (1 + self.step) / (10 + self.step)))
        self.step += 1
        self.recent.append(figures)
        return figures

    def summed_up(self, rate: float) -> dict[str, float]:
        """The log's next entry: means over the steps since the last."""
        means = {name: round(float(np.mean([r[name] for r in self.recent])), 4) for name in self.recent[0]}
        self.recent = []
        return {"step": self.step, "seconds": round(self.seconds, 1), **means, "rate": rate}


def train(
    folder: Path,
    recipe: Recipe,
    *,
    device: str = "cpu",
    resume: bool = False,
    save_every: int = 200,
    keep_going: Callable[[int, Mapping[str, float]], bool] | None = None,
) -> list[dict[str, float]]:
    """Runs the recipe; leaves ``checkpoint.pt``, ``log.jsonl`` and ``recipe.json`` in a folder. Returns the log.

    Args:
        folder: made if it is not there.
        recipe: with ``resume``, its `steps` and `decay` may differ from those the run began with.
        device: of torch.
        resume: go on from the folder's checkpoint. On a CPU, and with as many threads, the run is then to the last
            bit what it would have been.
        save_every: steps between checkpoints; a kill loses no more than these.
        keep_going: told after each step how many are done and what came of it; False ends the run there, with a
            checkpoint to resume from.

    Raises:
        InvalidArgument: with ``resume``, when there is no checkpoint, or it is past the recipe's end or of other
            dimensions; without, when there is one.
        FormatError: when the checkpoint is damaged.
    """
    kept, where = folder / "checkpoint.pt", torch.device(device)
    if kept.exists() != resume:
        raise InvalidArgument(
            f"nothing to resume in {folder}: leave --resume out for a fresh run"
            if resume
            else f"{folder} holds a run: --resume goes on with it, or name another folder"
        )
    run = _Run(recipe, where)
    if resume:
        run.load(kept, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")
    began = time.perf_counter() - run.seconds
    for views in _ahead(recipe, run.step, where):
        figures = run.learn(recipe, views)
        run.seconds = time.perf_counter() - began
        going = keep_going is None or keep_going(run.step, figures)
        last = run.step == recipe.steps
        if run.step % _LOG_EVERY == 0 or last:
            run.log.append(run.summed_up(recipe.rate(run.step - 1)))
            (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in run.log))
        if run.step % save_every == 0 or last or not going:
            run.save(kept)
        if not going:
            break
    return run.log


def recipe_of(folder: Path) -> Recipe:
    """The recipe a folder's run was last started with.

    Raises:
        InvalidArgument: when there is none, or it is not one of this release.
    """
    file = folder / "recipe.json"
    try:
        return Recipe(**json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        raise InvalidArgument(f"nothing to resume in {folder}: leave --resume out for a fresh run") from None
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"{file} is not a recipe of this release: {error}") from error


def folded(net: ReelprintNet) -> dict[str, NDArray[np.float32]]:
    """The weights `reelspace.encoders.models.reelprint` runs on: each norm folded into its convolution.

    ``stem``, ``K.first``, ``K.second``, ``K.short`` for blocks K = 0, 1, 2, and ``head``, each as ``.weight``
    (rows, columns, in, out), or (in, out) for the head, and ``.bias`` (out,).
    """
    pairs: dict[str, tuple[nn.Conv2d, nn.BatchNorm2d]] = {"stem": (net.stem, net.stem_norm)}
    for index, block in enumerate(net.blocks):
        for name in ("first", "second", "short"):
            pairs[f"{index}.{name}"] = getattr(block, name), getattr(block, f"{name}_norm")
    arrays: dict[str, NDArray[np.float32]] = {}
    for name, (convolution, norm) in pairs.items():
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = convolution.weight * gain[:, None, None, None]
        arrays[f"{name}.weight"] = weight.detach().cpu().permute(2, 3, 1, 0).contiguous().numpy()
        arrays[f"{name}.bias"] = (norm.bias - norm.running_mean * gain).detach().cpu().numpy()
    arrays["head.weight"] = net.head.weight.detach().cpu().T.contiguous().numpy()
    arrays["head.bias"] = net.head.bias.detach().cpu().numpy()
    return arrays


def export(folder: Path, file: Path) -> None:
    """Writes the averaged weights of a run's checkpoint as half-precision numpy arrays."""
    saved = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    net = ReelprintNet(saved["average"]["head.weight"].shape[0])
    net.load_state_dict(saved["average"])
    halves: dict[str, Any] = {name: values.astype(np.float16) for name, values in folded(net).items()}
    np.savez(file, **halves)
