"""The training loop: CTC on batches of like length, averaged weights, exact resumption, one run folder."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from carousel.common import calibration
from carousel.common.ctc.loss import can_align, ctc_loss
from carousel.common.data.batching import bucketed_batches, share
from carousel.common.data.layouts.report import told_figures
from carousel.common.decoding import Hypothesis
from carousel.common.errors import InputError
from carousel.common.model import file as model_file
from carousel.common.network import Network
from carousel.common.text.alphabet import Alphabet
from carousel.common.text.metrics import Report
from carousel.common.text.written import told
from carousel.common.train.boards import Board, open_boards
from carousel.common.train.data import (
    Batch,
    Batches,
    Corpus,
    MemoryCache,
    Reader,
    build_corpus,
    load_samples,
    loader,
)
from carousel.common.train.device import leave, make_fabric
from carousel.common.train.interrupt import deferred
from carousel.common.train.keep import drawn_samples, kept_samples
from carousel.common.train.optimizers import (
    averaged,
    make_optimizer,
    update_average,
    weight_noise,
)
from carousel.common.train.runs import BEST, claimed, save_config
from carousel.common.train.start import choose_alphabet, take_over
from carousel.common.train.training import Training
from carousel.common.train.validation import report, validate

log = logging.getLogger(__name__)

# of an epoch, so far; unvaried: samples that had to be taken as they are
SUMS = {"loss": 0.0, "symbols": 0, "frames": 0, "seconds": 0.0, "skipped": 0, "unvaried": 0}


def train(
    config: dict[str, Any],
    read: Reader,
    size: Callable[[Mapping[str, Any]], int],
    folder: Path,
    finish: Callable[[Corpus], None] = lambda valid: None,
) -> Path:
    """Trains by a resolved configuration (common.settings.training) and returns the best model's file.

    read, size: `asr.reader.read`, `asr.features.size` or those of hwr. folder: of the run; gets
    best.safetensors (the model of the lowest valid CER), last.safetensors (to resume from), config.yaml,
    metrics.csv and curves.png. finish: what is done last, with the valid set, by one process.
    Raises InputError for what the user gave, and for a folder that holds another run unless `resume` is set.
    """
    fabric = make_fabric(config["trainer"])
    with claimed(folder, config["resume"], fabric):
        training = _Training(config, read, size, folder, fabric)
        if not fabric.global_rank:
            save_config(config, folder)  # only now: a run that cannot begin changes nothing in its folder
        training.run()
        state = training.state
        log.info(
            "best valid CER %.2f %% in epoch %d: %s", 100 * state["best"], state["best_epoch"], folder / BEST
        )
        if not fabric.global_rank:
            finish(training.valid_corpus)
        del training  # the network's part in the processes' connection ends before the connection
    leave()
    return folder / BEST


class _Training(Training):
    """The training of a recogniser: batches of like length in epochs, averaged weights, several processes."""

    unit, measure, pace = "epoch", "valid CER", "epochs"
    network: Network

    def __init__(
        self,
        config: dict[str, Any],
        read: Reader,
        size: Callable[[Mapping[str, Any]], int],
        folder: Path,
        fabric: Any,
    ):
        # epoch: the one that runs; done: batches of it that are done
        super().__init__(config, folder, fabric, epoch=0, done=0, sums=dict(SUMS))
        # what a training was started from has no part in going on with it
        start = model_file.load(config["init"]) if config["init"] and not self.saved else None
        before = Alphabet(self.saved[1]["alphabet"]) if self.saved else start.alphabet if start else None
        self._load_data(read, size(config["features"]), before)
        self._build(start)
        if self.saved:
            self.saved[1]["state"]["sums"].setdefault("unvaried", 0)  # from before it was counted
            self._resume(*self.saved, model_file.load)
        rows = self.state["rows"]
        self.board: Board | None = None
        if not fabric.global_rank:
            self.board = open_boards(self.trainer, config, folder, rows)

    # -- setting up

    def _load_data(self, read: Reader, size: int, before: Alphabet | None) -> None:
        config = self.config
        train_samples, valid_samples = (
            load_samples(config["data"][part], config.get("text")) for part in ("train", "valid")
        )
        texts = [sample.text for sample in train_samples]
        train_samples += kept_samples(config, len(texts), self.seed)
        for line in told_figures(texts):
            log.info("train: %s", line)
        self.alphabet = choose_alphabet(config["alphabet"], texts, before, config["resume"])
        self.size = size
        with torch.random.fork_rng(devices=[]):
            self.network = Network(size, len(self.alphabet), config["network"])
        stride = self.network.stride
        cache = MemoryCache(self.trainer["cache_megabytes"] * 1e6)

        def build(samples: list, augment: dict | None, training: bool) -> Corpus:
            def frames_out(n: int) -> int:
                return -(-n // stride)

            return build_corpus(
                samples,
                self.alphabet,
                read,
                config["features"],
                augment,
                cache,
                frames_out if training else None,
            )

        self.train_corpus = build(train_samples, config["augment"], training=True)
        self.valid_corpus = build(valid_samples, None, training=False)
        watched = self.trainer.get("watch")
        if watched is not None and watched > len(self.valid_corpus.samples):
            raise InputError(
                f"trainer.watch={watched}: the valid set has only {len(self.valid_corpus.samples)} samples"
            )
        log.info(
            "train: %d samples, %d frames; valid: %d samples, %d frames; %d symbols",
            len(self.train_corpus.samples),
            sum(self.train_corpus.lengths),
            len(self.valid_corpus.samples),
            sum(self.valid_corpus.lengths),
            len(self.alphabet.symbols),
        )

    def _build(self, start: model_file.Model | None) -> None:
        if start:
            taken = take_over(self.network, self.alphabet, start, self.config["init"])
            log.info("from %s: %s", self.config["init"], taken)
        weights = sum(p.numel() for p in self.network.parameters())
        log.info(
            "network: %s weights, one output frame for %d input frames", f"{weights:,}", self.network.stride
        )
        optimizer = make_optimizer(self.network, self.optimizing)
        self.module, self.optimizer = self.fabric.setup(self.network, optimizer)
        use_average = self.trainer["ema"] > 0
        self.average = (
            {n: t.detach().clone() for n, t in self.network.state_dict().items()} if use_average else {}
        )

    # -- the loop

    def _where(self) -> str:
        return f"epoch {self.state['epoch'] + 1}, step {self.state['step']}"

    def _validate_again(self) -> None:
        rates, _, read = self._validate()
        self.state["best"], self.state["best_epoch"] = rates["cer"], self.state["epoch"]
        self._save_model(rates, read)

    def _advance(self) -> None:
        self._epoch()
        self._end_of_epoch()

    def _epoch(self) -> None:
        state, trainer, epoch = self.state, self.trainer, self.state["epoch"]
        lengths = self.train_corpus.lengths
        drawn = drawn_samples(self.train_corpus, self.config["data"], self.seed, epoch)
        batches = bucketed_batches(
            [lengths[i] for i in drawn], trainer["max_frames"], trainer["max_items"], self.seed, epoch
        )
        batches = [[drawn[k] for k in batch] for batch in batches]
        batches = share(batches, self.fabric.global_rank, self.fabric.world_size)
        rest = loader(
            Batches(self.train_corpus, batches[state["done"] :], self.seed, epoch), trainer["workers"]
        )
        self.module.train()
        saved = clock = time.monotonic()
        with (
            _progress(f"epoch {epoch + 1}", len(batches), state["done"]) as bar,
            deferred(self.fabric.world_size == 1) as stop,
        ):
            for batch in rest:
                self._step(batch, self._schedule(epoch + state["done"] / len(batches)))
                now = time.monotonic()
                sums = state["sums"]
                sums["seconds"] += now - clock
                state["seconds"] += now - clock
                clock = now
                state["done"] += 1
                bar.update()
                rate = sums["frames"] / max(sums["seconds"], 1e-9)
                bar.set_postfix_str(
                    f"loss {sums['loss'] / max(sums['symbols'], 1):.3f}, {rate:,.0f} frames/s"
                )
                if now - saved > 60 * trainer["checkpoint_minutes"]:
                    self._save_checkpoint()
                    saved = clock = time.monotonic()
                if stop():
                    self._save_checkpoint()
                    raise KeyboardInterrupt
                if self._schedule_is_over():
                    break

    def _step(self, batch: Batch, progress: float) -> None:
        state, sums = self.state, self.state["sums"]
        state["step"] += 1
        sums["unvaried"] += batch.unvaried
        self._begin_step(progress, self.fabric.global_rank)
        device = self.fabric.device
        with weight_noise(self.network, self.optimizing["weight_noise"]):
            log_probs, lengths = self.module(batch.features.to(device), batch.lengths.to(device))
            targets = batch.targets.to(device)
            losses = ctc_loss(log_probs, lengths, targets, batch.target_lengths, zero_infinity=True)
            symbols = max(int(batch.target_lengths.sum()), 1)
            self.fabric.backward(losses.sum() / symbols)
        # a sped-up recording can be too short for its text, and then has no part in this step
        left_out = int((~can_align(lengths, batch.targets, batch.target_lengths)).sum())
        if self._take_step(losses, lambda: self._names(batch, losses)):
            update_average(self.average, self.network, self.trainer["ema"], self.state["step"])
        else:
            left_out = len(batch.indices)
        sums["skipped"] += left_out
        if left_out < len(batch.indices):
            sums["loss"] += float(losses.detach().sum())
            sums["symbols"] += symbols
        sums["frames"] += int(batch.lengths.sum()) * self.fabric.world_size

    def _names(self, batch: Batch, losses: Tensor) -> str:
        """The samples whose loss is not finite, or all of the batch where only the gradient is not, after a
        colon."""
        bad = (~torch.isfinite(losses)).nonzero().flatten().tolist() or range(len(batch.indices))
        names = [self.train_corpus.samples[batch.indices[k]].where for k in bad]
        return ": " + ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

    # -- after an epoch

    def _end_of_epoch(self) -> None:
        """Validates, keeps what is best, and writes all down."""
        state, sums = self.state, self.state["sums"]
        state["epoch"] += 1
        state["done"] = 0
        row = {
            "epoch": state["epoch"],
            "step": state["step"],
            "minutes": round(state["seconds"] / 60, 3),
            "rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": sums["loss"] / max(sums["symbols"], 1),
            "frames_per_second": sums["frames"] / max(sums["seconds"], 1e-9),
            "skipped": sums["skipped"],
            "unvaried": sums["unvaried"],
        }
        state["sums"] = dict.fromkeys(sums, 0)
        # the last one always
        if state["epoch"] % self.trainer["validate_every"] == 0 or self._reason_to_stop():
            started = time.monotonic()
            rates, loss, read = self._validate()
            state["seconds"] += time.monotonic() - started
            self._watch()
            row |= {"valid_loss": loss, "valid_cer": rates["cer"], "valid_wer": rates["wer"]}
            self._keep(row, rates["cer"], lambda: self._save_model(rates, read))
        else:
            self._keep(row, None, lambda: None)
        self._report()

    def _validate(self) -> tuple[Report, float, list[tuple[str, Hypothesis]]]:
        """As `validate`, with the averaged weights if there are."""
        self.module.eval()
        with averaged(self.network, self.average), torch.inference_mode(), self.fabric.autocast():
            return validate(self.network, self.valid_corpus, self.alphabet, self.trainer, self.fabric.device)

    def _watch(self) -> None:
        """Draws what the network makes of the sample that is watched."""
        number, corpus = self.trainer.get("watch"), self.valid_corpus
        if number is None or self.fabric.global_rank:
            return
        sample = corpus.samples[number - 1]
        features = corpus.read(sample, None)
        inputs = torch.from_numpy(features)[None].to(self.fabric.device)
        with averaged(self.network, self.average), torch.inference_mode(), self.fabric.autocast():
            log_probs, _ = self.network(inputs, torch.tensor([len(features)], device=inputs.device))
        from carousel.common.train.spikes import add_picture

        scores = log_probs[0].float().cpu().numpy()
        add_picture(
            self.folder,
            self.state["epoch"],
            features,
            scores,
            sample.text,
            self.alphabet,
            self.config["features"],
        )

    def _save_model(self, rates: Report, read: list[tuple[str, Hypothesis]]) -> None:
        if self.fabric.global_rank:
            return
        config = self.config
        card = {
            "name": config["name"],
            "training": self._training_card(),
            "valid": {"cer": rates["cer"], "wer": rates["wer"]},
            "confidence": calibration.fit(read).as_json(),
        }
        if told(config.get("text") or {}):
            card["text"] = config["text"]
        model_file.save(
            self.folder / BEST,
            tensors=self.average or self.network.state_dict(),
            alphabet=self.alphabet,
            domain=config["domain"],
            features=config["features"],
            network_settings=config["network"],
            size=self.size,
            decoder=config["decoder"],
            card=card | config["card"],
            half=self.trainer["half"],
        )

    def _known(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"alphabet": list(self.alphabet.symbols)}, {}

    def _report(self) -> None:
        if self.fabric.global_rank:
            return
        left = self.state["seconds"] / self.state["epoch"] * (self.trainer["epochs"] - self.state["epoch"])
        if self.trainer["minutes"] is not None:
            left = min(left, max(60 * self.trainer["minutes"] - self.state["seconds"], 0.0))
        report(self.folder, self.state["rows"], left / 60)
        if self.board:
            self.board(self.state["rows"][-1])


# -- parts without state


def _progress(title: str, total: int, done: int) -> tqdm:
    """A bar with the time left; nothing at all where the output is not a terminal."""
    return tqdm(total=total, initial=done, desc=title, disable=None, leave=False, unit="batch")
