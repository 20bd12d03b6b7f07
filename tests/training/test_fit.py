"""A fit that was killed and resumed ends where one that ran through ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cfx.images.sets.labelled import Labelled
from cfx.training.course import one_cycle
from cfx.training.fit import Fit, FitError, set_learning_rate


class LinearFit(Fit):
    """Softmax regression with noise on its input, so that the generator's state matters too."""

    def __init__(self, data: Labelled, epochs: float = 5) -> None:
        super().__init__(data, batch_size=32, epochs=epochs, seed=3)
        torch.manual_seed(self.seed)
        self.model = nn.Linear(784, 10)
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        self.modules = {"model": self.model}
        self.optimizers = {"model": self.optimizer}

    def step(self, index: int) -> dict[str, Tensor]:
        set_learning_rate(self.optimizer, 1e-2 * self.cycle(index))
        images, labels = self.batch(index)
        noisy = images.flatten(1) + 0.1 * torch.randn(len(images), 784)
        loss = F.cross_entropy(self.model(noisy), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}


class Killed(Exception):
    pass


@pytest.fixture
def data(digits: tuple[Tensor, Tensor]) -> Labelled:
    images, labels = digits
    return Labelled((images * 255).round().to(torch.uint8), labels)


def weights(fit: Fit) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in fit.modules["model"].state_dict().items()}


def kill_at(step: int):
    def tell(_label: str, done: int, _total: int | None, _losses: dict[str, float]) -> None:
        if done > step:
            raise Killed

    return tell


def test_killed_and_resumed_equals_run_through(data: Labelled, tmp_path: Path, told: Any) -> None:
    whole = LinearFit(data)
    whole.run()

    checkpoint = tmp_path / "fit.checkpoint"
    for step in (20, 40):  # killed twice, each time in another process for all that the fit knows
        with pytest.raises(Killed):
            LinearFit(data).run(checkpoint, told(kill_at(step)), every_s=0)
        assert checkpoint.exists()
    torch.manual_seed(99)
    resumed = LinearFit(data)
    first = []
    resumed.run(checkpoint, told(lambda _label, done, _total, _losses: first.append(done)), every_s=0)

    assert first[0] == 41, "it went on from the checkpoint rather than from the start"
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name


def test_it_learns(data: Labelled, told: Any) -> None:
    fit = LinearFit(data, epochs=20)
    losses: list[float] = []
    fit.run(progress=told(lambda _label, _done, _total, latest: losses.append(latest["loss"])))
    assert losses[-1] < losses[0] / 2


def test_finished_run_is_not_run_again(data: Labelled, tmp_path: Path, told: Any) -> None:
    checkpoint = tmp_path / "fit.checkpoint"
    done = LinearFit(data)
    done.run(checkpoint)
    again = LinearFit(data)
    again.run(checkpoint, told(lambda *_: pytest.fail("there was nothing left to do")))
    assert all(torch.equal(tensor, weights(again)[name]) for name, tensor in weights(done).items())


def test_checkpoint_of_a_run_of_other_length_is_ignored(data: Labelled, tmp_path: Path) -> None:
    checkpoint = tmp_path / "fit.checkpoint"
    LinearFit(data, epochs=1).run(checkpoint)
    fresh, with_old = LinearFit(data), LinearFit(data)
    fresh.run()
    with_old.run(checkpoint)
    assert all(torch.equal(tensor, weights(with_old)[name]) for name, tensor in weights(fresh).items())


def test_leaves_no_partial_files_and_the_global_generator_alone(data: Labelled, tmp_path: Path) -> None:
    fit = LinearFit(data, epochs=1)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    fit.run(tmp_path / "fit.checkpoint", every_s=0)
    assert torch.equal(torch.rand(3), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["fit.checkpoint"]
    assert not fit.modules["model"].training


def test_an_epoch_sees_each_image_once(data: Labelled) -> None:
    data = Labelled(data.images, torch.arange(len(data)))
    fit = LinearFit(data)
    seen = torch.cat([fit.batch(index)[1] for index in range(fit.steps_per_epoch)])
    assert len(seen.unique()) == len(seen) == 12 * 32
    following = torch.cat([fit.batch(fit.steps_per_epoch + index)[1] for index in range(fit.steps_per_epoch)])
    assert not torch.equal(seen, following), "each epoch has its own order"


def test_one_cycle_rises_and_falls() -> None:
    shares = [one_cycle(index / 100, least=0.01) for index in range(100)]
    assert shares[0] > 0
    assert max(shares) <= 1
    assert shares.index(max(shares)) in (14, 15, 16)
    assert shares[-1] < 0.01


class Overfitting(LinearFit):
    """Learns few images by heart: the loss of others soon rises."""

    def check(self, data: Labelled) -> Tensor:
        return F.cross_entropy(self.model(data.floats().flatten(1)), data.labels)


def test_it_stops_where_held_out_images_no_longer_improve_and_keeps_the_best(data: Labelled) -> None:
    fit = Overfitting(data[:40], epochs=2000)
    fit.held_out = data[200:]
    seen: list[float] = []
    should_stop = fit._should_stop

    def look(index: int) -> bool:
        result = should_stop(index)
        seen.append(float(fit.check(data[200:]).detach()))
        return result

    fit._should_stop = look  # type: ignore[method-assign]
    fit.run()
    assert len(seen) < 20, "it ended early"
    assert seen[-1] > min(seen)
    assert float(fit.check(data[200:]).detach()) == pytest.approx(min(seen), rel=1e-4)


def test_a_killed_run_remembers_its_best(data: Labelled, tmp_path: Path, told: Any) -> None:
    def made() -> Overfitting:
        fit = Overfitting(data[:40], epochs=2000)
        fit.held_out = data[200:]
        return fit

    whole = made()
    whole.run()
    with pytest.raises(Killed):
        made().run(tmp_path / "c", told(kill_at(900)), every_s=0)
    resumed = made()
    resumed.run(tmp_path / "c")
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(whole).items())


def test_a_loss_that_is_no_number_ends_it_with_a_sentence(data: Labelled, tmp_path: Path) -> None:
    fit = LinearFit(data)
    step = fit.step

    def diverging(index: int) -> dict[str, Tensor]:
        return {"loss": torch.tensor(torch.nan)} if index >= 20 else step(index)

    fit.step = diverging  # type: ignore[method-assign]
    with pytest.raises(FitError, match="training diverged: loss is nan at step 21 of"):
        fit.run(tmp_path / "c", every_s=0)
    state = torch.load(tmp_path / "c", weights_only=True)
    assert state["step"] <= 20, "the checkpoint is older than the accident"


class Clocked(Overfitting):
    """On a clock of its own, on which steps take longer and longer, and evaluations longer still."""

    def __init__(self, data: Labelled, seconds: float, *, step: float = 1.0, growth: float = 1.0, check: float = 0.0):
        super().__init__(data, epochs=100_000)
        self.now, self.costs, self.growth, self.of_a_check = 0.0, step, growth, check
        self.seconds = seconds
        self.clock = lambda: self.now
        self.rates: list[float] = []
        self.preludes: list[bool] = []
        self.looks = 0

    def step(self, index: int) -> dict[str, Tensor]:
        losses = super().step(index)
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        self.preludes.append(self.in_prelude(index))
        self.now += self.costs
        self.costs *= self.growth
        return losses

    def check(self, data: Labelled) -> Tensor:
        self.now += self.of_a_check
        self.looks += 1
        return super().check(data)


@pytest.mark.parametrize("growth", [1.0, 1.02])
def test_a_fit_ends_when_its_time_is_over_however_slow_its_steps_become(data: Labelled, growth: float) -> None:
    fit = Clocked(data, 200, growth=growth)
    fit.prelude = 0.5
    fit.run()
    course = fit.trained
    assert course is not None and course.cut_short
    assert 200 <= fit.now <= 200 + fit.costs
    assert course.steps == len(fit.rates) < course.planned
    assert fit.rates[-1] < 0.02 * max(fit.rates), "the learning rate has come down nevertheless"
    changed = fit.preludes.index(False)
    assert sum(growth**index for index in range(changed)) == pytest.approx(100, abs=3), "the prelude took half the time"


def test_evaluations_count_in_the_time_and_take_a_fifth_of_it_at_most(data: Labelled) -> None:
    fit = Clocked(data[:200], 1000, check=20)
    fit.held_out = data[200:]
    fit.run()
    assert 2 <= fit.looks <= 0.2 * 1000 / 20 + 2
    assert fit.now <= 1000 + 20 + 1


def test_who_has_learned_enough_leaves_time_to_others(data: Labelled) -> None:
    fit = Clocked(data[:200], 1000)
    fit.held_out = data[:200]  # the loss of which goes on falling
    fit.has_learned = lambda data: fit.now > 200  # type: ignore[method-assign]
    fit.run()
    assert 250 < fit.now < 500 and fit.rates[-1] < 0.05 * max(fit.rates)
    assert fit.trained is not None and not fit.trained.cut_short


def test_without_any_time_there_is_one_step(data: Labelled) -> None:
    fit = Clocked(data, 1e-3)
    fit.run()
    assert fit.trained is not None and (fit.trained.steps, fit.trained.cut_short) == (1, True)


def test_with_time_enough_the_course_is_that_of_the_steps(data: Labelled) -> None:
    whole, timed = LinearFit(data), LinearFit(data)
    timed.seconds = 1e6
    whole.run()
    timed.run()
    assert timed.trained is not None and not timed.trained.cut_short
    assert all(torch.equal(tensor, weights(timed)[name]) for name, tensor in weights(whole).items())


def test_time_before_a_kill_counts(data: Labelled, tmp_path: Path, told: Any) -> None:
    def kill(_label: str, done: int, _total: int | None, _losses: dict[str, float]) -> None:
        if done >= 60:
            raise Killed

    with pytest.raises(Killed):
        Clocked(data, 200).run(tmp_path / "c", told(kill), every_s=0)
    resumed = Clocked(data, 200)
    resumed.run(tmp_path / "c")
    assert 70 <= len(resumed.rates) <= 90, "60 per cent of the time were over"
    again = Clocked(data, 200)
    again.run(tmp_path / "c")
    assert not again.rates and again.trained == resumed.trained


@pytest.mark.parametrize(("prelude", "first"), [(0.0, 50), (0.5, 0.7 * 1000)])
def test_held_out_images_are_looked_at_once_a_beginning_or_prelude_has_worn_off(
    data: Labelled, prelude: float, first: float
) -> None:
    """The running means of batch norms say nothing for some dozen steps: a judge once stopped at chance for that."""
    fit = Overfitting(data[:40], epochs=1000)
    fit.held_out, fit.prelude = data[200:], prelude
    looked: list[int] = []
    should_stop = fit._should_stop

    def look(index: int) -> bool:
        looked.append(index)
        return should_stop(index)

    fit._should_stop = look  # type: ignore[method-assign]
    fit.run()
    assert first - 1 <= min(looked) < first + 50
